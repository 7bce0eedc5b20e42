//! Time that runs out without a wall clock.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A moment of the kernel's clock, which begins with each boot and also counts while the machine
/// sleeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uptime {
    /// Which boot.
    pub boot_id: String,
    /// Since it began.
    pub since_boot: Duration,
}

/// Time that runs out, as it is kept in a file. In the boot in which it was written the kernel's
/// clock tells what is left. In any other boot that is what was left at the last writing: what the
/// boot before it took after that, and the time without power, nobody has measured.
///
/// | field | meaning |
/// |---|---|
/// | `boot_id` | the boot in which it was written |
/// | `at` | seconds since that boot began, when it was written, rounded up |
/// | `left` | seconds that were left then |
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Countdown {
    boot_id: String,
    at: u64,
    left: u64,
}

impl Countdown {
    /// Begins with so much left. By whole seconds it ends late rather than early.
    pub fn begin(left: Duration, now: &Uptime) -> Self {
        let begun = u64::from(now.since_boot.subsec_nanos() > 0);
        let at = now.since_boot.as_secs().saturating_add(begun);
        Self { boot_id: now.boot_id.clone(), at, left: left.as_secs() }
    }

    /// What is left.
    pub fn left(&self, now: &Uptime) -> Duration {
        let gone =
            if self.is_of(now) { now.since_boot.as_secs().saturating_sub(self.at) } else { 0 };
        Duration::from_secs(self.left.saturating_sub(gone))
    }

    /// After this time one with so much left is surely over: it ends between two whole seconds.
    pub(crate) fn past(left: Duration) -> Duration {
        left.saturating_add(Duration::from_secs(1))
    }

    /// The same, as it is to be written down now.
    #[must_use]
    pub fn renewed(&self, now: &Uptime) -> Self {
        Self::begin(self.left(now), now)
    }

    /// Whether it was written so long ago, or in another boot.
    pub fn is_older_than(&self, age: Duration, now: &Uptime) -> bool {
        !self.is_of(now) || now.since_boot.as_secs().saturating_sub(self.at) >= age.as_secs()
    }

    fn is_of(&self, now: &Uptime) -> bool {
        self.boot_id == now.boot_id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(boot: &str, seconds: u64) -> Uptime {
        Uptime { boot_id: boot.into(), since_boot: Duration::from_secs(seconds) }
    }

    #[test]
    fn it_runs_by_the_clock_of_its_boot_and_goes_on_in_the_next_from_what_was_written() {
        let hold = Countdown::begin(Duration::from_secs(100), &at("first", 1_000));
        let left = |countdown: &Countdown, now| countdown.left(&now).as_secs();
        assert_eq!(left(&hold, at("first", 1_000)), 100);
        assert_eq!(left(&hold, at("first", 1_040)), 60);
        assert_eq!(left(&hold, at("first", 9_999)), 0);
        assert_eq!(left(&hold, at("second", 5_000)), 100, "nobody knows what was before it");
        let renewed = hold.renewed(&at("first", 1_090));
        assert_eq!(left(&renewed, at("second", 3)), 10);
        assert_eq!(left(&renewed.renewed(&at("second", 3)), at("second", 8)), 5);
    }

    #[test]
    fn it_is_never_over_too_early() {
        let now =
            |millis| Uptime { boot_id: "a".into(), since_boot: Duration::from_millis(millis) };
        let hold = Countdown::begin(Duration::from_secs(1), &now(10_900));
        assert_eq!(hold.left(&now(11_000)).as_secs(), 1);
        assert_eq!(hold.left(&now(11_999)).as_secs(), 1);
        assert_eq!(hold.left(&now(12_000)).as_secs(), 0);
    }

    #[test]
    fn it_is_old_after_a_while_and_in_another_boot() {
        let (hold, age) =
            (Countdown::begin(Duration::from_secs(100), &at("a", 10)), Duration::from_secs(60));
        assert!(!hold.is_older_than(age, &at("a", 69)));
        assert!(hold.is_older_than(age, &at("a", 70)));
        assert!(hold.is_older_than(age, &at("b", 11)));
    }
}
