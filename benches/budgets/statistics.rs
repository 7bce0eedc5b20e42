//! Times and what is taken of many: the median, which one slow sync of a busy disk does not move.

use std::time::{Duration, Instant};

use anyhow::Result;

/// The value in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The value below which this part of all is, such as 0.99.
pub(crate) fn most_of(values: &[f64], part: f64) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let place = (values.len() as f64 * part).ceil() as usize;
    values.get(place.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// The median time of so many runs; each says itself what counts.
pub(crate) fn median_time(runs: usize, mut run: impl FnMut() -> Result<Duration>) -> Result<f64> {
    let times: Result<Vec<f64>> = (0..runs).map(|_| run().map(|time| time.as_secs_f64())).collect();
    Ok(median(times?))
}

/// How long something took.
pub(crate) fn timed(act: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let start = Instant::now();
    act()?;
    Ok(start.elapsed())
}
