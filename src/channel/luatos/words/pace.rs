//! When the next request goes out (LU-3). A fleet that starts together, or whose server comes back,
//! is spread over `spread`: each waits a time of its own choice.

use std::time::Duration;

use super::heard::Heard;
use crate::config::Luatos;
use crate::wire::spread::{again, part};

/// How much more rarely a server is asked that somebody must first correct something for.
const SLOW: u32 = 6;
/// Until the server has made a file.
const NOT_YET: Duration = Duration::from_secs(30);
/// As long as a block lasts that nobody ends before.
const BLOCKED: Duration = Duration::from_secs(24 * 60 * 60);

/// How often is asked.
#[derive(Debug, Clone)]
pub(crate) struct Pace {
    poll: Duration,
    spread: Duration,
}

impl Pace {
    /// The pace of a section.
    pub(crate) fn new(section: &Luatos) -> Self {
        Self { poll: section.poll, spread: section.spread }
    }

    /// Time from an answer to the next request; `chance` is from 0 to below 1.
    pub(crate) fn next(&self, heard: &Heard, chance: f64) -> Duration {
        let usual = match heard {
            Heard::Retry { .. } => return again(self.spread, None, chance),
            Heard::NotYet { .. } => NOT_YET,
            Heard::Blocked { .. } => BLOCKED.max(self.poll),
            Heard::WrongSetting { is_slow: true, .. } => self.poll.saturating_mul(SLOW),
            Heard::WrongSetting { .. } | Heard::Nothing { .. } | Heard::File { .. } => self.poll,
        };
        // The platform makes the file within minutes: many that wait for it are few seconds apart.
        let spread = self.spread.min(usual);
        usual.saturating_add(part(spread, chance))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const SPREAD: Duration = Duration::from_secs(300);

    fn pace() -> Pace {
        Pace { poll: 4 * HOUR, spread: SPREAD }
    }

    fn sentence() -> String {
        "x".into()
    }

    #[test]
    fn lu_3_it_asks_every_poll_and_that_is_spread() {
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
    fn what_failed_is_tried_again_about_a_spread_later() {
        let wait = |chance| pace().next(&Heard::Retry { why: sentence() }, chance);
        assert_eq!((wait(0.0), wait(0.5)), (SPREAD / 2, SPREAD));
    }

    proptest! {
        /// Nobody is asked without a pause, and nobody is forgotten.
        #[test]
        fn whatever_happens_there_is_a_next_time(
            poll in 1u64..u64::MAX,
            spread in 0..u64::MAX,
            chance in prop::num::f64::ANY,
        ) {
            let (poll, spread) = (Duration::from_secs(poll), Duration::from_secs(spread));
            let pace = Pace { poll, spread };
            let wait = pace.next(&Heard::Nothing { why: sentence() }, chance);
            prop_assert!(wait >= poll);
        }
    }
}
