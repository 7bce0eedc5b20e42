//! How the devices of a fleet stay apart that start together, or whose server comes back: each waits
//! a time of its own choice, so that a server is asked about once a device in a spread. Knows neither
//! a platform nor a clock.

use std::time::Duration;

/// Shortest spread of what failed: whoever is refused at once must not ask at once.
pub(crate) const LEAST: Duration = Duration::from_secs(5);

/// Where chance comes from: numbers from 0 to below 1.
pub type Chance = fn() -> f64;

/// Any time of a spread.
pub(crate) fn part(spread: Duration, chance: f64) -> Duration {
    // What is no number between 0 and 1 is the whole.
    let chance = if (0.0..1.0).contains(&chance) { chance } else { 1.0 };
    let part = Duration::try_from_secs_f64(spread.as_secs_f64() * chance);
    part.map_or(spread, |part| part.min(spread))
}

/// Time from a failure to the next try: from half a spread to one and a half, or from as long on as
/// the server wants.
///
/// It does not grow. Devices that waited for different times would be a burst when the server is
/// back, and with any wait below half a spread more would ask at once than twice the mean.
pub(crate) fn again(spread: Duration, least: Option<Duration>, chance: f64) -> Duration {
    let spread = spread.max(LEAST);
    least.unwrap_or_default().max(spread / 2).saturating_add(part(spread, chance))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DEVICES: usize = 10_000;
    const SPREAD: f64 = 60.0;
    /// Windows of a spread in which requests are counted.
    const WINDOWS: f64 = 60.0;

    /// A fleet that has tried since devices failed over a time before, until the server is back
    /// after another: the busiest window of the tries that it sees, of the mean of a spread, and the
    /// spreads until 95 % and all were there.
    fn back(failing: f64, away: f64, seed: u64) -> (f64, f64, f64) {
        let mut random = fastrand::Rng::with_seed(seed);
        let spread = Duration::from_secs_f64(SPREAD);
        let mut came: Vec<f64> = std::iter::repeat_with(|| {
            let mut now = random.f64() * failing;
            while now < away {
                now += again(spread, None, random.f64()).as_secs_f64();
            }
            (now - away) / SPREAD
        })
        .take(DEVICES)
        .collect();
        came.sort_by(f64::total_cmp);
        let mut windows = vec![0.0; (2.0 * WINDOWS) as usize];
        came.iter().for_each(|at| windows[(at * WINDOWS) as usize] += 1.0);
        let busiest = windows.into_iter().fold(0.0, f64::max);
        (busiest * WINDOWS / DEVICES as f64, came[DEVICES * 95 / 100], came[DEVICES - 1])
    }

    /// However they failed, together or one after the other, and however long the server was away.
    #[test]
    fn a_fleet_comes_back_within_one_and_a_half_spreads_and_nowhere_in_a_burst() {
        for failing in [0.0, 0.2, 1.0, 5.0] {
            for away in 1..40 {
                let away = (failing + f64::from(away) / 10.0) * SPREAD;
                let (busiest, most, all) = back(failing * SPREAD, away, 1);
                let told = format!("{failing} {away}: {busiest} {most} {all}");
                assert!(busiest <= 2.0 && most <= 1.5 && all <= 1.5, "{told}");
            }
        }
    }

    #[test]
    fn a_server_that_names_a_time_is_left_alone_until_then_and_a_spread_comes_behind_it() {
        let (minute, hour) = (Duration::from_secs(60), Duration::from_secs(3600));
        assert_eq!(again(minute, Some(hour), 0.0), hour);
        assert_eq!(again(minute, Some(hour), 0.5), hour + minute / 2);
        assert_eq!(again(minute, Some(Duration::ZERO), 0.0), minute / 2);
    }

    proptest! {
        /// Nobody is asked without a pause, and nobody is forgotten.
        #[test]
        fn whatever_happens_there_is_a_next_time(
            spread in 0..u64::MAX,
            chance in prop::num::f64::ANY,
        ) {
            let spread = Duration::from_secs(spread);
            let wait = again(spread, None, chance);
            prop_assert!(wait >= LEAST / 2 && wait >= spread / 2);
            prop_assert!(wait <= spread.max(LEAST).saturating_mul(2));
            prop_assert!(part(spread, chance) <= spread);
        }
    }
}
