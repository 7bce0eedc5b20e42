//! The old program is back at its path and not restarted yet: whoever comes next carries that out,
//! and the report says what runs.

use uplift::model::Phase;

use super::story::{ROLLED_BACK, TRIAL, UNIT};
use crate::world::payload::{NEW, OLD, Payload};
use crate::world::running::Running;
use crate::world::watched::Watched as _;

const REBOOT: &str = "restart = \"reboot\"\nrestart_deadline = \"60s\"";
/// A command that leaves its evidence in the unit.
const COMMAND: &str =
    "restart = [\"systemctl\", \"restart\", \"payload.service\"]\nrestart_deadline = \"60s\"";

impl Payload {
    /// The new program runs, is on trial, and gives no sign; its daemon is dead.
    fn on_trial_alone(program: &str) -> (Self, Running) {
        let mut payload = Self::with_trial(program, TRIAL);
        payload.systemd_has("silent", NEW);
        let client = payload.install();
        if program == REBOOT {
            payload.wait_for_phase(Phase::Restarting);
            payload.reboot();
        }
        payload.wait_for_phase(Phase::Trial);
        payload.kill_daemon();
        assert_eq!(payload.running().as_deref(), Some(NEW));
        payload.rescued_at(100);
        (payload, client)
    }

    /// The next daemon sees to the restart that is owed, and reports what runs then.
    fn carry_out_by_the_next_daemon(mut self, client: Running, restart: &str) {
        assert_eq!(
            (self.reported_version().unwrap().as_str(), self.running().as_deref()),
            (OLD, Some(NEW)),
            "it runs on"
        );
        let asked = self.asked(restart);
        self.start_daemon().unwrap();
        if restart == "reboot" {
            self.wait_for_phase(Phase::Restarting);
            assert!(self.history().is_empty(), "nothing is claimed before the restart");
            self.reboot();
        }
        self.ends(ROLLED_BACK, OLD);
        assert!(self.asked(restart) > asked);
        assert_eq!(client.wait_with_output().unwrap().status.code(), Some(1));
        let asked = self.asked(restart);
        self.rescued_at(9_900);
        assert_eq!(self.asked(restart), asked, "and nothing is owed any more");
    }
}

#[test]
fn a_restart_that_was_refused_to_the_rescue() {
    for (program, restart) in [(UNIT, "restart"), (REBOOT, "reboot"), (COMMAND, "restart")] {
        let (payload, client) = Payload::on_trial_alone(program);
        payload.systemd_has("refuse", restart);
        let output = payload.rescue_at(9_000).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        payload.systemd_has("refuse", "");
        payload.carry_out_by_the_next_daemon(client, restart);
    }
}

#[test]
fn a_rescue_that_is_killed_before_its_request() {
    for (program, restart) in [(UNIT, "restart"), (REBOOT, "reboot")] {
        let (payload, client) = Payload::on_trial_alone(program);
        payload.systemd_has("hang", restart);
        let mut rescue = payload.rescue_at(9_000).spawn().unwrap();
        payload.wait_until_hung(1);
        rescue.kill().unwrap();
        rescue.wait().unwrap();
        payload.systemd_has("hang", "");
        payload.carry_out_by_the_next_daemon(client, restart);
    }
}

#[test]
fn a_daemon_that_dies_before_its_request_and_does_not_come_back() {
    for (program, restart) in [(UNIT, "restart"), (REBOOT, "reboot")] {
        let (mut payload, client) = Payload::on_trial_alone(program);
        payload.systemd_has("hang", restart);
        payload.start_daemon().unwrap();
        payload.systemd_has("state", "failed");
        payload.wait_until_hung(1);
        payload.kill_daemon();
        payload.systemd_has("hang", "");
        assert_eq!(
            (payload.reported_version().unwrap().as_str(), payload.running().as_deref()),
            (OLD, Some(NEW))
        );
        let asked = payload.asked(restart);
        for uptime in [200, 230, 300] {
            payload.rescued_at(uptime);
        }
        assert_eq!(payload.asked(restart), asked + 1, "once it had its time");
        if restart == "reboot" {
            payload.reboot();
        } else {
            payload.start_daemon().unwrap();
        }
        payload.wait_until_settled().unwrap();
        payload.ends(ROLLED_BACK, OLD);
        client.wait_with_output().unwrap();
    }
}

#[test]
fn a_request_of_the_daemon_that_is_refused_once() {
    let payload = Payload::linked(UNIT, TRIAL);
    payload.systemd_has("waits", NEW);
    let aircraft = payload.plug_aircraft();
    payload.wait_for_phase(Phase::Trial);
    payload.systemd_has("refuse-once", "restart");
    payload.systemd_has("state", "failed");
    aircraft.hears("failure");
    let report = payload.ends(ROLLED_BACK, OLD);
    assert!(!report.failure.unwrap().to_string().contains("not restarted"));
}
