//! Many upgrades in a row, good ones and bad ones: each ends as it must, and nothing is left behind
//! by any. `tests/soak` runs as many as it is told; without it there are a few.
//!
//! Three payloads share them, side by side, because an upgrade mostly waits: one that is upgraded
//! over FTP and one over DCFTP, whose daemons go on all the time, and one whose daemon is killed in
//! between.

mod round;
mod soaked;
mod usage;

use std::thread;

use round::Round;
use soaked::{Life, Soaked};
use usage::Usage;

/// Upgrades of a run that nobody told how many.
const FEW: usize = 50;
/// Upgrades of a payload after which its history is full; not each leaves a report.
const HISTORY_IS_FULL: usize = 150;
/// A usage is printed after so many upgrades of a payload.
const EVERY: usize = 100;

#[test]
fn upgrades_in_a_row_leave_nothing_behind() {
    let count = std::env::var("UPLIFT_SOAK")
        .map_or(FEW, |count| count.parse().expect("UPLIFT_SOAK is how many upgrades"));
    let each = count.div_ceil(Life::ALL.len());
    let payloads = Life::ALL.map(|life| {
        thread::Builder::new().name(format!("{life:?}")).spawn(move || soak(life, each)).unwrap()
    });
    let sound = payloads.map(|payload| payload.join().is_ok());
    assert_eq!(sound, [true; 3], "the payload that stopped says why above");
}

/// So many upgrades of one payload, each kind in its turn, and a good one at the end.
fn soak(life: Life, count: usize) {
    let kinds = Round::of(life);
    let mut payload = Soaked::new(life);
    println!("{life:?} at the start: {}", payload.usage());
    // By then there is what each kind of upgrade needs once, such as buffers and the program
    // before, and in a long run the history is full.
    let settled = HISTORY_IS_FULL.min(count / 2).max(kinds.len().min(count - 1));
    let mut first: Option<Usage> = None;
    for number in 1..=count {
        let round = if number == count { Round::Good } else { kinds[(number - 1) % kinds.len()] };
        round.perform(&mut payload);
        if number == settled {
            let usage = payload.usage_at_rest();
            println!("{life:?} after {number}, from here on nothing may grow: {usage}");
            first = Some(usage);
        } else if number % EVERY == 0 || number == count {
            println!("{life:?} after {number}: {}", payload.usage());
        }
    }
    let first = first.expect("there are two upgrades at least");
    let grown = payload.usage_like(&first).growth_since(&first);
    assert!(grown.is_empty(), "{life:?} after {count} upgrades: {}", grown.join("; "));
}
