//! The daemon is killed in a phase, and the next one in what it makes of that; the third one ends
//! the upgrade, and the aircraft hears how.

use uplift::model::Phase;

use super::story::{INTERRUPTED, ROLLED_BACK, SUCCEEDED, TRIAL, UNIT};
use crate::world::payload::{NEW, OLD, Payload, Transfer};
use crate::world::watched::Watched as _;

#[test]
fn while_it_is_ready() {
    let mut payload = Payload::linked(UNIT, TRIAL);
    payload.systemd_has("hang", "show");
    let aircraft = payload.plug_aircraft();
    payload.wait_until_hung(1);
    payload.systemd_has("hang", "");
    payload.dies_twice_in(Phase::Ready);
    aircraft.hears("failure");
    payload.ends(INTERRUPTED, OLD);
    payload.next_upgrade_works();
}

#[test]
fn while_it_installs() {
    let mut payload = Payload::linked(UNIT, TRIAL);
    let lock = payload.hold_lock();
    let aircraft = payload.plug_aircraft();
    payload.dies_twice_in(Phase::Installing);
    drop(lock);
    aircraft.hears("failure");
    payload.ends(INTERRUPTED, OLD);
    payload.next_upgrade_works();
}

#[test]
fn while_it_waits_for_the_restart() {
    let mut payload = Payload::linked(UNIT, TRIAL);
    payload.systemd_has("hang", "restart");
    let aircraft = payload.plug_aircraft();
    payload.wait_until_hung(1);
    payload.dies_in(Phase::Restarting);
    payload.wait_until_hung(2);
    payload.systemd_has("hang", "");
    payload.dies_in(Phase::Restarting);
    aircraft.hears("success");
    payload.ends(SUCCEEDED, NEW);
}

#[test]
fn while_the_new_program_is_on_trial() {
    let mut payload = Payload::linked(UNIT, TRIAL);
    payload.systemd_has("waits", NEW);
    let aircraft = payload.plug_aircraft();
    payload.dies_twice_in(Phase::Trial);
    payload.wait_for_phase(Phase::Trial);
    payload.systemd_has("waits", "");
    payload.start_unit();
    aircraft.hears("success");
    payload.ends(SUCCEEDED, NEW);
}

#[test]
fn while_the_old_program_is_put_back() {
    let mut payload = Payload::linked(UNIT, TRIAL);
    payload.systemd_has("waits", NEW);
    let aircraft = payload.plug_aircraft();
    payload.wait_for_phase(Phase::Trial);
    let lock = payload.hold_lock();
    payload.systemd_has("state", "failed");
    payload.dies_in(Phase::Reverting);
    payload.dies_in(Phase::Reverting);
    assert_eq!(payload.reported_version().unwrap(), NEW, "the lock is held");
    drop(lock);
    aircraft.hears("failure");
    payload.ends(ROLLED_BACK, OLD);
}

#[test]
fn while_the_old_program_is_restarted() {
    let mut payload = Payload::linked(UNIT, TRIAL);
    payload.systemd_has("waits", NEW);
    let aircraft = payload.plug_aircraft();
    payload.wait_for_phase(Phase::Trial);
    payload.systemd_has("hang", "restart");
    payload.systemd_has("state", "failed");
    payload.wait_until_hung(1);
    payload.dies_in(Phase::Restarting);
    payload.wait_until_hung(2);
    payload.systemd_has("hang", "");
    payload.dies_in(Phase::Restarting);
    aircraft.hears("failure");
    payload.ends(ROLLED_BACK, OLD);
}

#[test]
fn while_the_report_waits_for_the_aircraft() {
    let mut payload = Payload::linked(UNIT, TRIAL);
    let aircraft =
        payload.aircraft(Transfer::Dcftp, &payload.new_firmware(), &["--abort-at", "check"]);
    payload.dies_twice_in(Phase::Concluded);
    aircraft.hears("aborted");
    let report = payload.ends(SUCCEEDED, NEW);
    let status = payload.status().unwrap();
    assert_eq!(
        (status.phase, status.unacknowledged),
        (Phase::Concluded, vec![report]),
        "it still waits"
    );
}
