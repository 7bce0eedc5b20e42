//! The daemon dies at every file-system change of an upgrade, one after the other, and is started
//! again.
//!
//! `strace` delivers SIGKILL at the n-th call of one of the system calls that durability hangs on,
//! for each of them and each n until an upgrade gets through. Whatever the moment: the program at
//! the path is byte for byte the old or the new one, the report says which, and the next upgrade
//! works.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};

use crate::world::watched::Watched as _;
use uplift::model::{Outcome, Report};
use uplift_sim::sandbox::Sandbox;

const CHANGES: [&str; 12] = [
    "fsync",
    "fdatasync",
    "fallocate",
    "rename",
    "renameat2",
    "link",
    "linkat",
    "unlink",
    "unlinkat",
    "mkdir",
    "fchown",
    "fchmod",
];
/// No upgrade makes as many calls of one kind; a loop that gets here would never end.
const MOST_CALLS: usize = 50;
/// An upgrade makes at least as many changes; fewer deaths would mean that the tracer does not
/// work.
const FEWEST_DEATHS: usize = 15;

struct Payload {
    sandbox: Sandbox,
    old: Vec<u8>,
    new: Vec<u8>,
}

impl Payload {
    fn new() -> Self {
        let sandbox = Sandbox::new(Path::new(env!("CARGO_BIN_EXE_uplift"))).unwrap();
        sandbox.install_by_hand("V01.00.00.00".parse().unwrap()).unwrap();
        sandbox.configure(&sandbox.restart_line(), "").unwrap();
        let firmware = sandbox.firmware("V02.00.00.00".parse().unwrap(), Some(100_000)).unwrap();
        let (old, new) = (fs::read(sandbox.program()).unwrap(), fs::read(firmware).unwrap());
        Self { sandbox, old, new }
    }

    fn install(&self) -> Child {
        let firmware = self.sandbox.root().join("PSDK_APPALIAS_V02.00.00.00.bin");
        let mut command = self.sandbox.command(&["install", firmware.to_str().unwrap()]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    fn history(&self) -> Vec<Report> {
        let output = self.sandbox.command(&["history", "--json"]).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn new_at_path(&self, when: &str) -> bool {
        let program = fs::read(self.sandbox.program()).unwrap();
        assert!(
            program == self.old || program == self.new,
            "{when}: the program at the path is neither the old nor the new one"
        );
        program == self.new
    }

    /// Runs an upgrade until the daemon was killed at its n-th call; false if it asked for the
    /// restart unharmed.
    fn upgrade_and_die_at(&mut self, call: &str, n: usize) -> bool {
        let inject = format!("inject={call}:signal=KILL:when={n}");
        self.sandbox.wrap_daemon(&[
            "strace",
            "-D",
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            &format!("trace={call}"),
            "-e",
            &inject,
        ]);
        let started = self.sandbox.start_daemon();
        self.sandbox.wrap_daemon(&[]);
        if started.is_err() {
            return true;
        }
        let mut client = self.install();
        let survived = self.sandbox.daemon_dies_or_asks_for_restart().unwrap();
        client.kill().unwrap();
        client.wait().unwrap();
        !survived
    }

    /// The daemon's word on the upgrade that was cut off, after it has had its say.
    fn settle(&mut self, when: &str) {
        self.sandbox.reboot().unwrap();
        self.sandbox.wait_until_settled().unwrap();
        let new = self.new_at_path(when);
        match self.history().last() {
            Some(report) if new => {
                assert_eq!(report.outcome, Outcome::Succeeded, "{when}: {report:?}");
            }
            Some(report) => assert_ne!(report.outcome, Outcome::Succeeded, "{when}: {report:?}"),
            None => assert!(!new, "{when}: the new program runs and no report says so"),
        }
    }
}

fn dies_at_every_change(before_reboot: fn(&mut Sandbox)) {
    let deaths: usize = CHANGES.iter().map(|call| deaths_at(call, before_reboot)).sum();
    assert!(deaths >= FEWEST_DEATHS, "only {deaths} changes were met: does the tracer work?");
}

/// How many calls of this kind an upgrade makes, each of which the daemon has died at.
fn deaths_at(call: &str, before_reboot: fn(&mut Sandbox)) -> usize {
    for n in 1..MOST_CALLS {
        let mut payload = Payload::new();
        let died = payload.upgrade_and_die_at(call, n);
        let when = format!("killed at {call} {n}");
        payload.new_at_path(&when);
        before_reboot(&mut payload.sandbox);
        payload.new_at_path(&when);
        payload.settle(&when);
        if !payload.new_at_path(&when) {
            let mut client = payload.install();
            payload.sandbox.wait_for_restart_request().unwrap();
            payload.sandbox.reboot().unwrap();
            assert!(client.wait().unwrap().success(), "{when}: the next upgrade failed");
            assert!(payload.new_at_path(&when));
        }
        if !died {
            return n - 1;
        }
    }
    panic!("the upgrade never came through");
}

#[test]
fn killed_at_every_change_and_restarted_with_the_payload() {
    dies_at_every_change(|_| {});
}

#[test]
fn killed_at_every_change_and_started_again_before_the_payload_restarts() {
    dies_at_every_change(|sandbox| {
        sandbox.kill_daemon();
        sandbox.start_daemon().unwrap();
        sandbox.wait_until_restart_request_or_settled().unwrap();
    });
}
