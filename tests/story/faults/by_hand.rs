//! Somebody replaces the program, empties the staging area or holds the lock while an upgrade runs.

use std::fs;

use uplift::model::{FailureKind, Outcome, Phase};

use super::story::{ROLLED_BACK, SUCCEEDED, TRIAL, UNIT, ending};
use crate::world::payload::{Aircraft, NEW, OLD, Payload};
use crate::world::watched::Watched as _;

pub(crate) const BY_HAND: &str = "V07.00.00.00";

impl Payload {
    pub(crate) fn replace_by_hand(&self) {
        fs::remove_file(self.program()).unwrap();
        self.install_by_hand(BY_HAND.parse().unwrap()).unwrap();
    }

    fn empty_stage(&self) {
        fs::remove_dir_all(self.stage()).unwrap();
    }

    /// The new program's start goes well after all.
    fn comes_up(&self) {
        self.systemd_has("waits", "");
        self.start_unit();
    }
}

/// A new program whose start does not end yet.
fn on_trial() -> (Payload, Aircraft) {
    let payload = Payload::linked(UNIT, TRIAL);
    payload.systemd_has("waits", NEW);
    let aircraft = payload.plug_aircraft();
    payload.wait_for_phase(Phase::Trial);
    (payload, aircraft)
}

#[test]
fn a_lock_that_somebody_holds_for_a_moment_is_waited_for() {
    let payload = Payload::linked(UNIT, TRIAL);
    let lock = payload.hold_lock();
    let aircraft = payload.plug_aircraft();
    payload.wait_for_phase(Phase::Installing);
    assert_eq!(payload.reported_version().unwrap(), OLD);
    drop(lock);
    aircraft.hears("success");
    payload.ends(SUCCEEDED, NEW);
}

#[test]
fn a_lock_that_somebody_keeps_is_not_waited_for_for_ever() {
    let payload = Payload::linked(UNIT, TRIAL);
    let lock = payload.hold_lock();
    payload.plug_aircraft().hears("failure");
    payload.ends((Outcome::Failed, Some(FailureKind::Busy)), OLD);
    drop(lock);
    payload.next_upgrade_works();
}

#[test]
fn a_lock_that_somebody_keeps_when_the_old_program_is_wanted_back() {
    let (payload, aircraft) = on_trial();
    let lock = payload.hold_lock();
    payload.systemd_has("state", "failed");
    aircraft.hears("failure");
    drop(lock);
    let report = payload.history().remove(0);
    assert_eq!(ending(&report), (Outcome::Failed, Some(FailureKind::Unhealthy)));
    let failure = report.failure.unwrap().to_string();
    assert!(
        failure.contains("could not be put back: another process is replacing the program"),
        "{failure}"
    );
    assert_eq!(payload.reported_version().unwrap(), NEW, "as the report says");
    payload.next_upgrade_works();
}

#[test]
fn the_program_is_replaced_by_hand_while_it_installs() {
    let payload = Payload::linked(UNIT, TRIAL);
    let lock = payload.hold_lock();
    let aircraft = payload.plug_aircraft();
    payload.wait_for_phase(Phase::Installing);
    payload.replace_by_hand();
    let by_hand = fs::read(payload.program()).unwrap();
    drop(lock);
    aircraft.hears("success");
    payload.ends(SUCCEEDED, NEW);
    assert_eq!(
        fs::read(payload.previous()).unwrap(),
        by_hand,
        "what the swap replaced is kept, whatever it was"
    );
}

#[test]
fn the_program_is_replaced_by_hand_while_it_is_on_trial() {
    let payload = Payload::linked(UNIT, "window = \"100ms\"\ndeadline = \"3s\"");
    payload.systemd_has("waits", NEW);
    let aircraft = payload.plug_aircraft();
    payload.wait_for_phase(Phase::Trial);
    payload.replace_by_hand();
    payload.comes_up();
    aircraft.hears("failure");
    let report = payload.ends((Outcome::Failed, Some(FailureKind::InstallFailed)), BY_HAND);
    assert!(report.failure.unwrap().to_string().contains("something else replaced it"));
    assert!(
        payload.status().unwrap().components[0].known_bad.is_empty(),
        "nobody knows how the new program would have done"
    );
    payload.uplift(&["install", "--force", payload.new_firmware().to_str().unwrap()]);
    assert_eq!(payload.running().as_deref(), Some(NEW));
}

#[test]
fn the_staging_area_is_emptied_by_hand_while_it_installs() {
    let payload = Payload::linked(UNIT, TRIAL);
    let lock = payload.hold_lock();
    let aircraft = payload.plug_aircraft();
    payload.wait_for_phase(Phase::Installing);
    payload.empty_stage();
    drop(lock);
    aircraft.hears("failure");
    payload.ends((Outcome::Failed, Some(FailureKind::InstallFailed)), OLD);
    payload.next_upgrade_works();
}

#[test]
fn the_staging_area_is_emptied_by_hand_while_the_new_program_is_on_trial() {
    let (payload, aircraft) = on_trial();
    payload.empty_stage();
    payload.comes_up();
    aircraft.hears("success");
    payload.ends(SUCCEEDED, NEW);
}

#[test]
fn the_staging_area_is_emptied_by_hand_and_the_new_program_fails() {
    let (payload, aircraft) = on_trial();
    payload.empty_stage();
    payload.systemd_has("state", "failed");
    aircraft.hears("failure");
    let report = payload.history().remove(0);
    assert_eq!(ending(&report), (Outcome::Failed, Some(FailureKind::Unhealthy)));
    let failure = report.failure.unwrap().to_string();
    assert!(
        failure.contains("could not be put back: there is no previous program to put back"),
        "{failure}"
    );
    assert_eq!(payload.reported_version().unwrap(), NEW, "as the report says");
}

/// A disk that gives errors: this file can be opened, and reading it is EIO.
#[test]
fn a_program_that_can_not_be_read_when_the_daemon_starts_again_is_rolled_back() {
    let (mut payload, aircraft) = on_trial();
    payload.kill_daemon();
    fs::remove_file(payload.program()).unwrap();
    std::os::unix::fs::symlink("/proc/self/mem", payload.program()).unwrap();
    payload.systemd_has("waits", "");
    payload.start_daemon().unwrap();
    aircraft.hears("failure");
    let report = payload.ends(ROLLED_BACK, OLD);
    let failure = report.failure.unwrap().to_string();
    assert!(
        failure.contains("can't be read after the restart")
            && failure.contains("Input/output error"),
        "{failure}"
    );
    payload.next_upgrade_works();
}
