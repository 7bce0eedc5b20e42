//! How often a server is told how an action fares (HB-7): seldom enough for its quota, and never
//! too seldom for its end.

use std::time::{Duration, Instant};

use super::feedback::percent;
use crate::channel::offer::What;

/// Shortest time between two intermediate feedbacks.
const APART: Duration = Duration::from_secs(10);
/// Shortest step of a download that is told, of 100.
const STEP: u8 = 10;
/// Most intermediate feedbacks of an action: a fifth of what hawkBit has room for.
const MOST: u32 = 200;

/// The pace of one action's feedback.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    last: Option<(What, Instant)>,
    count: u32,
    stopped: bool,
    given_up: bool,
}

/// Whether something is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// Now.
    Now,
    /// From then on, if it still holds then.
    At(Instant),
    /// No: it is no news, or the server takes no more.
    No,
}

impl Pace {
    /// Whether this is to be told.
    pub(crate) fn due(&self, what: &What, now: Instant) -> Due {
        if self.given_up {
            return Due::No;
        }
        if must_be_told(what) {
            return Due::Now;
        }
        // What closes an action that is only to be downloaded has a place kept for it.
        let is_room = !self.stopped && self.count < MOST;
        if !is_room && *what != What::Downloaded {
            return Due::No;
        }
        let Some((last, at)) = &self.last else { return Due::Now };
        if !is_news(last, what) {
            return Due::No;
        }
        let next = *at + APART;
        if next <= now { Due::Now } else { Due::At(next) }
    }

    /// It was told, and the server took it.
    pub(crate) fn told(&mut self, what: What, now: Instant) {
        self.count = self.count.saturating_add(1);
        self.last = Some((what, now));
    }

    /// The server takes no more but the end of it (HB-15).
    pub(crate) fn stop(&mut self) {
        self.stopped = true;
    }

    /// The server does not even understand the end of it.
    pub(crate) fn give_up(&mut self) {
        self.given_up = true;
    }
}

/// The end of an action, and the answer to a cancellation: without it the server waits for ever.
fn must_be_told(what: &What) -> bool {
    what.is_final() || *what == What::TooLate
}

fn is_news(last: &What, what: &What) -> bool {
    let (What::Downloading { received: before, .. }, What::Downloading { received, .. }) =
        (last, what)
    else {
        return last != what;
    };
    match (percent(last), percent(what)) {
        (Some(before), Some(now)) => now.abs_diff(before) >= STEP,
        _ => *received / 2 >= *before.max(&1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Failure, FailureKind};

    fn downloading(received: u64) -> What {
        What::Downloading { received, size: 100 }
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn ends() -> [What; 4] {
        let failure = Failure::new(FailureKind::Cancelled, "it was cancelled");
        [
            What::Succeeded { sentence: String::new() },
            What::Failed { failure, replaced: Vec::new(), kept: Vec::new() },
            What::Cancelled,
            What::TooLate,
        ]
    }

    /// HB-7.
    #[test]
    fn ten_seconds_and_ten_percent_lie_between_two_feedbacks() {
        let start = Instant::now();
        let mut pace = Pace::default();
        assert_eq!(pace.due(&downloading(1), start), Due::Now, "the first one");
        pace.told(downloading(1), start);
        for (received, after, due) in [
            (1, 60, Due::No),
            (10, 60, Due::No),
            (11, 9, Due::At(start + seconds(10))),
            (11, 10, Due::Now),
            (100, 0, Due::At(start + seconds(10))),
        ] {
            assert_eq!(pace.due(&downloading(received), start + seconds(after)), due, "{received}");
        }
    }

    #[test]
    fn another_state_is_news_and_the_same_one_is_not() {
        let start = Instant::now();
        let mut pace = Pace::default();
        let held = |why: &str| What::NotNow { why: why.to_owned() };
        pace.told(held("flight"), start);
        let later = start + seconds(10);
        assert_eq!(pace.due(&held("flight"), later), Due::No);
        assert_eq!(pace.due(&held("battery"), later), Due::Now);
        assert_eq!(pace.due(&What::Installing, start), Due::At(later));
        assert_eq!(pace.due(&downloading(0), later), Due::Now);
    }

    #[test]
    fn a_download_of_unknown_size_is_told_as_often_as_it_doubles() {
        let start = Instant::now();
        let mut pace = Pace::default();
        let unknown = |received| What::Downloading { received, size: 0 };
        pace.told(unknown(1000), start);
        assert_eq!(pace.due(&unknown(1999), start + seconds(60)), Due::No);
        assert_eq!(pace.due(&unknown(2000), start + seconds(60)), Due::Now);
        pace.told(unknown(0), start);
        assert_eq!(pace.due(&unknown(0), start + seconds(60)), Due::No);
    }

    /// HB-10, HB-11: without an end the server waits for ever.
    #[test]
    fn an_end_is_told_at_once_whatever_was_told() {
        let start = Instant::now();
        let mut pace = Pace::default();
        for _ in 0..2 * MOST {
            pace.told(What::Installing, start);
        }
        pace.stop();
        for end in ends() {
            assert_eq!(pace.due(&end, start), Due::Now, "{end:?}");
        }
    }

    /// HB-15, and hawkBit's thousand entries for an action.
    #[test]
    fn intermediate_feedback_ends_long_before_the_quota() {
        let start = Instant::now();
        let mut pace = Pace::default();
        let mut told = 0;
        for second in 0..100_000 {
            let (what, now) = (What::NotNow { why: second.to_string() }, start + seconds(second));
            if pace.due(&what, now) == Due::Now {
                pace.told(what, now);
                told += 1;
            }
        }
        assert_eq!(told, MOST);
        let late = start + seconds(200_000);
        assert_eq!(pace.due(&What::Installing, late), Due::No);
        assert_eq!(pace.due(&What::Downloaded, late), Due::Now, "it may be the end of the action");
        let mut stopped = Pace::default();
        stopped.stop();
        assert_eq!(stopped.due(&What::Accepted, start), Due::No);
    }

    /// HB-8.
    #[test]
    fn of_what_is_never_understood_nothing_is_told_again() {
        let mut pace = Pace::default();
        pace.give_up();
        for end in ends() {
            assert_eq!(pace.due(&end, Instant::now()), Due::No, "{end:?}");
        }
    }
}
