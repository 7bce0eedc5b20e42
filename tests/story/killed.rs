//! The daemon dies at every file-system change of an upgrade, one after the other, and is started
//! again.
//!
//! `strace` delivers SIGKILL at the n-th call of one of the system calls that durability hangs on,
//! for each of them and each n until an upgrade gets through. Whatever the moment: the program at
//! the path is byte for byte the old or the new one, the report says which, and the next upgrade
//! works.

use std::fs;

use crate::world::payload::Payload;
use crate::world::watched::Watched as _;
use uplift::model::Outcome;

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

/// A payload and the bytes of both programs.
struct Killed {
    payload: Payload,
    old: Vec<u8>,
    new: Vec<u8>,
}

impl Killed {
    fn new() -> Self {
        let payload = Payload::setup().stopped();
        let (old, new) =
            (fs::read(payload.program()).unwrap(), fs::read(payload.new_firmware()).unwrap());
        Self { payload, old, new }
    }

    fn new_at_path(&self, when: &str) -> bool {
        let program = fs::read(self.payload.program()).unwrap();
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
        self.payload.wrap_daemon(&[
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
        let started = self.payload.start_daemon();
        self.payload.wrap_daemon(&[]);
        if started.is_err() {
            return true;
        }
        let client = self.payload.install();
        let survived = self.payload.daemon_dies_or_asks_for_restart().unwrap();
        drop(client);
        !survived
    }

    /// The daemon's word on the upgrade that was cut off, after it has had its say.
    fn settle(&mut self, when: &str) {
        self.payload.reboot();
        self.payload.wait_until_settled().unwrap();
        let new = self.new_at_path(when);
        match self.payload.history().last() {
            Some(report) if new => {
                assert_eq!(report.outcome, Outcome::Succeeded, "{when}: {report:?}");
            }
            Some(report) => assert_ne!(report.outcome, Outcome::Succeeded, "{when}: {report:?}"),
            None => assert!(!new, "{when}: the new program runs and no report says so"),
        }
    }
}

fn dies_at_every_change(before_reboot: fn(&mut Payload)) {
    let deaths: usize = CHANGES.iter().map(|call| deaths_at(call, before_reboot)).sum();
    assert!(deaths >= FEWEST_DEATHS, "only {deaths} changes were met: does the tracer work?");
}

/// How many calls of this kind an upgrade makes, each of which the daemon has died at.
fn deaths_at(call: &str, before_reboot: fn(&mut Payload)) -> usize {
    for n in 1..MOST_CALLS {
        let mut killed = Killed::new();
        let died = killed.upgrade_and_die_at(call, n);
        let when = format!("killed at {call} {n}");
        killed.new_at_path(&when);
        before_reboot(&mut killed.payload);
        killed.new_at_path(&when);
        killed.settle(&when);
        if !killed.new_at_path(&when) {
            let client = killed.payload.install();
            killed.payload.restart_when_asked();
            let said = client.wait_with_output().unwrap();
            assert!(said.status.success(), "{when}: the next upgrade failed: {said:?}");
            assert!(killed.new_at_path(&when));
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
    dies_at_every_change(|payload| {
        payload.restart_daemon();
        payload.wait_until_restart_request_or_settled().unwrap();
    });
}
