//! The wall clock jumps. libfaketime gives the daemon a clock that the test sets.

use std::fs;

use uplift::model::Phase;

use super::story::{SUCCEEDED, TRIAL, UNIT};
use crate::world::clock;
use crate::world::payload::{NEW, Payload};

impl Payload {
    /// The wall clock of the daemon is the real one and so many days.
    fn set_clock(&self, days: &str) {
        fs::write(self.root().join("run/clock"), days).unwrap();
    }
}

#[test]
fn set_back_by_two_years_it_changes_nothing_but_the_stamps() {
    let mut payload = Payload::linked(UNIT, TRIAL);
    payload.set_clock("+0d");
    payload.kill_daemon();
    let clock = payload.root().join("run/clock");
    clock::by_file(&mut payload, &clock);
    payload.start_daemon().unwrap();
    payload.systemd_has("waits", NEW);
    let aircraft = payload.plug_aircraft();
    payload.wait_for_phase(Phase::Trial);
    // Under a daemon that runs, and then for one that finds a state from the future.
    payload.set_clock("-730d");
    payload.dies_in(Phase::Trial);
    payload.wait_for_phase(Phase::Trial);
    payload.systemd_has("waits", "");
    payload.start_unit();
    aircraft.hears("success");
    let report = payload.ends(SUCCEEDED, NEW);
    assert!(
        report.ended < report.began,
        "the clock was not set back: {} to {}",
        report.began,
        report.ended
    );
    payload.next_upgrade_works();
    let last = payload.history().pop().unwrap();
    assert!(last.ended < report.began, "the history is in the order of events: {last:?}");
}
