//! When the next request goes out (LU-3). A fleet that starts together, or whose server comes back,
//! is spread over `spread`: each waits a time of its own choice.

use std::time::Duration;

use super::heard::Heard;
use crate::config::Luatos;

/// How much more rarely a server is asked that somebody must first correct something for.
const SLOW: u32 = 6;
/// Until the server has made a file.
const NOT_YET: Duration = Duration::from_secs(30);
/// As long as a block lasts that nobody ends before.
const BLOCKED: Duration = Duration::from_secs(24 * 60 * 60);
/// Longest wait after the first failure.
const BACK_OFF: Duration = Duration::from_secs(10);
/// Shortest wait after a failure: whoever is refused at once must not ask at once.
const LEAST: Duration = Duration::from_secs(1);

/// How often is asked.
#[derive(Debug, Clone)]
pub(crate) struct Pace {
    poll: Duration,
    spread: Duration,
    /// Failures in a row.
    failures: u32,
}

impl Pace {
    /// The pace of a section.
    pub(crate) fn new(section: &Luatos) -> Self {
        Self { poll: section.poll, spread: section.spread, failures: 0 }
    }

    /// Time from an answer to the next request. `chance` is from 0 to below 1, here and below.
    pub(crate) fn next(&mut self, heard: &Heard, chance: f64) -> Duration {
        let usual = match heard {
            Heard::Retry { .. } => return self.back_off(chance),
            Heard::NotYet { .. } => NOT_YET,
            Heard::Blocked { .. } => BLOCKED.max(self.poll),
            Heard::WrongSetting { is_slow: true, .. } => self.poll.saturating_mul(SLOW),
            Heard::WrongSetting { .. } | Heard::Nothing { .. } | Heard::File { .. } => self.poll,
        };
        self.failures = 0;
        // The platform makes the file within minutes: many that wait for it are few seconds apart.
        let spread = self.spread.min(usual);
        usual.saturating_add(part(spread, chance))
    }

    /// Time from a failure, of the network or of an answer, to the next request: any up to a limit
    /// that doubles until it is the spread.
    pub(crate) fn back_off(&mut self, chance: f64) -> Duration {
        let doubled = BACK_OFF.saturating_mul(2_u32.saturating_pow(self.failures));
        self.failures = self.failures.saturating_add(1);
        part(doubled.min(self.spread.max(BACK_OFF)), chance).max(LEAST)
    }
}

fn part(whole: Duration, chance: f64) -> Duration {
    // What is no number between 0 and 1 is the whole.
    let chance = if (0.0..1.0).contains(&chance) { chance } else { 1.0 };
    Duration::try_from_secs_f64(whole.as_secs_f64() * chance).map_or(whole, |part| part.min(whole))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const SPREAD: Duration = Duration::from_secs(300);

    fn pace() -> Pace {
        Pace { poll: 4 * HOUR, spread: SPREAD, failures: 0 }
    }

    fn sentence() -> String {
        "x".into()
    }

    #[test]
    fn lu_3_it_asks_every_poll_and_is_spread() {
        let nothing = Heard::Nothing { why: sentence() };
        assert_eq!(pace().next(&nothing, 0.0), 4 * HOUR);
        assert_eq!(pace().next(&nothing, 0.5), 4 * HOUR + SPREAD / 2);
    }

    #[test]
    fn lu_5_what_is_wrong_with_the_payload_is_asked_six_times_more_rarely() {
        let wrong = |is_slow| Heard::WrongSetting { sentence: sentence(), is_slow };
        assert_eq!(pace().next(&wrong(true), 0.0), 24 * HOUR);
        assert_eq!(pace().next(&wrong(false), 0.0), 4 * HOUR);
    }

    #[test]
    fn code_43_waits_half_a_minute_and_code_40_a_day() {
        let wait = |heard: Heard| pace().next(&heard, 0.0);
        assert_eq!(wait(Heard::NotYet { why: sentence() }), Duration::from_secs(30));
        assert_eq!(wait(Heard::Blocked { sentence: sentence() }), 24 * HOUR);
        let longest = pace().next(&Heard::NotYet { why: sentence() }, 0.99);
        assert!(longest < Duration::from_secs(60), "{longest:?}");
    }

    #[test]
    fn failures_wait_longer_up_to_the_spread_until_an_answer_comes() {
        let mut pace = pace();
        let waits: Vec<u64> = (0..7).map(|_| pace.back_off(0.999_999).as_secs() + 1).collect();
        assert_eq!(waits, [10, 20, 40, 80, 160, 300, 300]);
        pace.next(&Heard::Nothing { why: sentence() }, 0.0);
        assert_eq!(pace.back_off(0.5), Duration::from_secs(5));
    }

    proptest! {
        /// Nobody is asked without a pause, and nobody is forgotten.
        #[test]
        fn whatever_happens_there_is_a_next_time(
            poll in 1u64..u64::MAX,
            spread in 0..u64::MAX,
            chance in prop::num::f64::ANY,
            failures in 0..u32::MAX,
        ) {
            let (poll, spread) = (Duration::from_secs(poll), Duration::from_secs(spread));
            let mut pace = Pace { poll, spread, failures };
            let wait = pace.back_off(chance);
            prop_assert!((LEAST..=spread.max(BACK_OFF)).contains(&wait));
            let wait = pace.next(&Heard::Nothing { why: sentence() }, chance);
            prop_assert!(wait >= poll);
        }
    }
}
