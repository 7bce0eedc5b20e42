//! The rescue dies at every file-system change that it makes; the next call completes what it
//! began.

use std::fs;

use super::left::DEADLINE;
use super::unit;
use crate::world::payload::{NEW, OLD, Payload};

const CHANGES: [&str; 6] = ["fsync", "rename", "renameat2", "unlink", "write", "flock"];
/// No call makes as many of one kind; a loop that gets here would never end.
const MOST_CALLS: usize = 100;
/// It makes at least as many changes; fewer deaths would mean that the tracer does not work.
const FEWEST_DEATHS: usize = 15;

#[test]
fn killed_at_every_change_it_leaves_a_whole_program_and_a_later_call_completes() {
    let deaths: usize = CHANGES.iter().map(|call| deaths_at(call)).sum();
    assert!(deaths >= FEWEST_DEATHS, "only {deaths} changes were met: does the tracer work?");
}

/// How many calls of this kind the rescue makes, each of which it has died at.
fn deaths_at(call: &str) -> usize {
    for n in 1..MOST_CALLS {
        let when = format!("killed at {call} {n}");
        let payload = Payload::on_trial(&unit());
        payload.call_rescue("deadline");
        payload.clock(100 + DEADLINE);
        let programs = [NEW, OLD];
        let inject = format!("inject={call}:signal=KILL:when={n}");
        let strace =
            ["strace", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}"), "-e", &inject];
        let died = !payload.rescue(&strace, "deadline").output().unwrap().status.success();
        assert!(programs.contains(&payload.at_path().as_str()), "{when}");
        if payload.at_path() == OLD {
            let verdict = payload
                .rescue_file()
                .map(|file| file["ruling"]["verdict"]["failure"]["kind"].clone());
            assert_eq!(verdict, Some("unhealthy".into()), "{when}: rolled back without a verdict");
        }
        payload.call_rescue("deadline");
        payload.call_rescue("deadline");
        assert_eq!(payload.at_path(), OLD, "{when}");
        assert!(payload.asked("restart") >= 1, "{when}");
        assert_eq!(payload.rescue_file().unwrap()["ruling"]["rolled_back"], true, "{when}");
        let left = fs::read_dir(payload.stage()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut left: Vec<_> = left.collect();
        left.sort();
        assert_eq!(left, ["lock", "payload.failed"], "{when}");
        if !died {
            return n - 1;
        }
    }
    panic!("the rescue never came through");
}
