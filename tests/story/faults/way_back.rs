//! The old program is back at its path and not restarted yet: whoever comes next carries that out,
//! and the report says what runs.

use std::fs;
use std::process::{Child, Command, Output, Stdio};

use uplift::model::Phase;

use super::payload::{NEW, OLD, Payload};
use super::story::{ROLLED_BACK, TRIAL, UNIT};
use crate::world::watched::Watched as _;

const REBOOT: &str = "restart = \"reboot\"\nrestart_deadline = \"60s\"";
/// A command that leaves its evidence in the unit.
const COMMAND: &str =
    "restart = [\"systemctl\", \"restart\", \"payload.service\"]\nrestart_deadline = \"60s\"";

impl Payload {
    /// A call of `uplift-rescue` at its deadline, this many seconds after the machine started.
    fn rescue_at(&self, uptime: u64) -> Command {
        let path = self.sandbox.root().join("run/uptime");
        fs::write(path, format!("{uptime}.00 1.00\n")).unwrap();
        let mut command = self.systemd().rescue(&[], "deadline");
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn call_rescue(&self, uptime: u64) -> Output {
        self.rescue_at(uptime).output().unwrap()
    }

    /// The new program runs, is on trial, and gives no sign; its daemon is dead.
    fn on_trial_alone(program: &str) -> (Self, Child) {
        let mut payload = Self::with_trial(program, TRIAL);
        payload.systemd_has("silent", NEW);
        let client = payload.install();
        if program == REBOOT {
            payload.wait_for(Phase::Restarting);
            payload.reboot();
        }
        payload.wait_for(Phase::Trial);
        payload.sandbox.kill_daemon();
        assert_eq!(payload.running().as_deref(), Some(NEW));
        assert!(payload.call_rescue(100).status.success());
        (payload, client)
    }

    /// The next daemon sees to the restart that is owed, and reports what runs then.
    fn carry_out_by_the_next_daemon(mut self, client: Child, restart: &str) {
        assert_eq!(
            (self.sandbox.reported_version().unwrap().as_str(), self.running().as_deref()),
            (OLD, Some(NEW)),
            "it runs on"
        );
        let asked = self.asked(restart);
        self.sandbox.start_daemon().unwrap();
        if restart == "reboot" {
            self.wait_for(Phase::Restarting);
            assert!(self.history().is_empty(), "nothing is claimed before the restart");
            self.reboot();
        }
        self.ends(ROLLED_BACK, OLD);
        assert!(self.asked(restart) > asked);
        assert_eq!(client.wait_with_output().unwrap().status.code(), Some(1));
        let asked = self.asked(restart);
        assert!(self.call_rescue(9_900).status.success());
        assert_eq!(self.asked(restart), asked, "and nothing is owed any more");
    }
}

#[test]
fn a_restart_that_was_refused_to_the_rescue() {
    for (program, restart) in [(UNIT, "restart"), (REBOOT, "reboot"), (COMMAND, "restart")] {
        let (payload, client) = Payload::on_trial_alone(program);
        payload.systemd_has("refuse", restart);
        let output = payload.call_rescue(9_000);
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
        payload.sandbox.start_daemon().unwrap();
        payload.systemd_has("state", "failed");
        payload.wait_until_hung(1);
        payload.sandbox.kill_daemon();
        payload.systemd_has("hang", "");
        assert_eq!(
            (payload.sandbox.reported_version().unwrap().as_str(), payload.running().as_deref()),
            (OLD, Some(NEW))
        );
        let asked = payload.asked(restart);
        for uptime in [200, 230, 300] {
            assert!(payload.call_rescue(uptime).status.success());
        }
        assert_eq!(payload.asked(restart), asked + 1, "once it had its time");
        if restart == "reboot" {
            payload.reboot();
        } else {
            payload.sandbox.start_daemon().unwrap();
        }
        payload.sandbox.wait_until_settled().unwrap();
        payload.ends(ROLLED_BACK, OLD);
        client.wait_with_output().unwrap();
    }
}

#[test]
fn a_request_of_the_daemon_that_is_refused_once() {
    let payload = Payload::linked(UNIT, TRIAL);
    payload.systemd_has("waits", NEW);
    let aircraft = payload.aircraft(&[]);
    payload.wait_for(Phase::Trial);
    payload.systemd_has("refuse-once", "restart");
    payload.systemd_has("state", "failed");
    aircraft.hears("failure");
    let report = payload.ends(ROLLED_BACK, OLD);
    assert!(!report.failure.unwrap().to_string().contains("not restarted"));
}
