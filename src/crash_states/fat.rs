//! Why a program may not lie on a file system of the vfat kind: the same stories there, and what a
//! power cut leaves of them.
//!
//! The state lies elsewhere, on a file system that keeps what it promises.

use super::recording::{Case, Promise, Recording};
use super::stories::{Proved as _, Story};

/// What is wrong in the states after which the peer was told of a success, and in all the others.
#[derive(Debug, Default)]
struct Wrong {
    once_reported: Vec<String>,
    before: Vec<String>,
}

fn wrong(story: &Story, recording: &Recording) -> Wrong {
    let mut wrong = Wrong::default();
    for (_, case) in recording.crash_states().unwrap() {
        if let Err(why) = story.prove(&case) {
            if is_reported(&case) { &mut wrong.once_reported } else { &mut wrong.before }.push(why);
        }
    }
    wrong
}

fn is_reported(case: &Case) -> bool {
    matches!(
        case.promise,
        Promise::Reported(_) | Promise::Acknowledging(_) | Promise::Acknowledged(_)
    )
}

#[test]
fn without_a_sync_of_what_was_moved_a_power_cut_undoes_an_upgrade_that_was_reported() {
    for story in Story::all_on_fat() {
        let wrong = wrong(&story, &story.record().on_fat().without_syncs_of_moved());
        assert!(!wrong.once_reported.is_empty(), "{story:?}");
    }
}

#[test]
fn with_it_what_was_reported_stays_and_the_swap_itself_is_no_single_step_all_the_same() {
    for story in Story::all_on_fat() {
        let wrong = wrong(&story, &story.record().on_fat());
        assert_eq!(wrong.once_reported, [""; 0], "{story:?}");
        assert!(!wrong.before.is_empty(), "a power cut in the swap must do harm: {story:?}");
    }
}
