//! How long a broker is left alone after a connection to it has ended. Pure: nothing here knows a
//! clock.

use std::time::Duration;

use super::library::Loss;
use crate::wire::spread;

/// First pause of a device that is alone.
const FIRST: Duration = Duration::from_secs(1);
/// Longest one, and that after a broker has turned us away.
const LONGEST: Duration = Duration::from_secs(5 * 60);
/// A connection that ends sooner than this has proved nothing.
const SHORT: Duration = Duration::from_secs(10);
/// As many short ones in a row, and somebody else has our name: each of us throws the other out.
const TOO_MANY: u32 = 3;

/// What has failed so far.
#[derive(Debug)]
pub(super) struct Retry {
    spread: Duration,
    /// Tries in a row that brought no connection that lasted.
    failures: u32,
    /// Connections in a row that did not last.
    short: u32,
}

impl Retry {
    /// Nothing has failed yet. With a `spread` of zero the pauses grow, from 1 s to 5 minutes, as it
    /// suits one device; with another one they stay, as it suits a fleet (see [`spread::again`]).
    pub(super) fn new(spread: Duration) -> Self {
        Self { spread, failures: 0, short: 0 }
    }

    /// The pause after a loss; `lasted` is how long the connection was ready, if it ever was.
    pub(super) fn after(&mut self, loss: &Loss, lasted: Option<Duration>, chance: f64) -> Duration {
        let has_lasted = lasted.is_some_and(|lasted| lasted >= SHORT);
        let was_short = lasted.is_some() && !has_lasted;
        self.failures = if has_lasted { 0 } else { self.failures + 1 };
        self.short = if was_short { self.short + 1 } else { 0 };
        if *loss == Loss::Slept {
            return Duration::ZERO;
        }
        if matches!(loss, Loss::NotAllowed(_)) || self.suspicion().is_some() {
            return around(LONGEST, chance);
        }
        if self.spread.is_zero() {
            let doubled = FIRST.saturating_mul(1 << self.failures.saturating_sub(1).min(16));
            return around(doubled.min(LONGEST), chance);
        }
        spread::again(self.spread, None, chance)
    }

    /// What a person should look at, if the broker is left alone for that.
    pub(super) fn suspicion(&self) -> Option<Suspicion> {
        (self.short >= TOO_MANY).then_some(Suspicion::AnotherHasOurName)
    }
}

/// What a row of losses looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Suspicion {
    /// Each of two throws the other out.
    #[error(
        "it ends shortly after it was made, again and again: another client seems to have our `client_id`"
    )]
    AnotherHasOurName,
}

/// From half of it to one and a half.
fn around(pause: Duration, chance: f64) -> Duration {
    pause / 2 + spread::part(pause, chance)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Option<Duration> = Some(Duration::from_secs(60));
    const BRIEF: Option<Duration> = Some(Duration::from_secs(1));

    fn lost() -> Loss {
        Loss::Else("reset".into())
    }

    fn seconds(pause: Duration) -> f64 {
        pause.as_secs_f64()
    }

    /// MQ-6.
    #[test]
    fn a_single_device_comes_back_after_a_second_and_then_ever_later() {
        let mut retry = Retry::new(Duration::ZERO);
        let pauses: Vec<f64> = (0..12).map(|_| seconds(retry.after(&lost(), None, 0.5))).collect();
        assert_eq!(&pauses[..5], [1.0, 2.0, 4.0, 8.0, 16.0]);
        assert!(pauses[10..].iter().all(|pause| *pause == 300.0), "{pauses:?}");
        assert_eq!(seconds(retry.after(&lost(), LONG, 0.5)), 1.0, "it had lasted");
        let (least, most) =
            (retry.after(&lost(), LONG, 0.0), retry.after(&lost(), LONG, 0.999_999));
        assert!(seconds(least) == 0.5 && (1.49..1.5).contains(&seconds(most)));
    }

    #[test]
    fn a_fleet_keeps_its_spread() {
        let spread = Duration::from_secs(60);
        let mut retry = Retry::new(spread);
        for _ in 0..20 {
            assert_eq!(retry.after(&lost(), None, 0.0), spread / 2);
        }
    }

    /// MQ-6.
    #[test]
    fn a_broker_that_turns_us_away_is_left_alone_for_minutes() {
        for spread in [0, 60] {
            let mut retry = Retry::new(Duration::from_secs(spread));
            let away = Loss::NotAllowed("bad password".into());
            assert_eq!(seconds(retry.after(&away, None, 0.5)), 300.0);
        }
    }

    /// MQ-6.
    #[test]
    fn the_third_loss_shortly_after_a_connection_is_that_of_a_name_that_two_have() {
        let mut retry = Retry::new(Duration::ZERO);
        let pauses: Vec<f64> = (0..4).map(|_| seconds(retry.after(&lost(), BRIEF, 0.5))).collect();
        assert_eq!(pauses, [1.0, 2.0, 300.0, 300.0]);
        assert_eq!(retry.suspicion(), Some(Suspicion::AnotherHasOurName));
        assert_eq!(seconds(retry.after(&lost(), LONG, 0.5)), 1.0);
        assert_eq!(retry.suspicion(), None);
    }

    /// MQ-5.
    #[test]
    fn after_a_sleep_of_the_machine_the_broker_is_tried_at_once() {
        let mut retry = Retry::new(Duration::from_secs(60));
        assert_eq!(retry.after(&Loss::Slept, LONG, 0.9), Duration::ZERO);
    }
}
