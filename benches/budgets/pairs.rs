//! Two versions, one after the other, again and again: what the machine gives differs from minute to
//! minute, and a pair's two halves have about the same of it.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::statistics::median;
use super::table::Row;

/// The older version, for parts that are nothing without one.
pub(crate) fn before() -> Result<PathBuf> {
    let before = std::env::var_os("UPLIFT_BEFORE");
    Ok(before.context("UPLIFT_BEFORE names no older `uplift`")?.into())
}

/// Measures `pairs` of them, the older version (0) first in every second one, against this one (1).
/// `run` takes the version and the number of the pair, and tells seconds; the bar is of the older
/// version's median.
pub(crate) fn measure(
    what: &str,
    pairs: usize,
    no_worse: f64,
    mut run: impl FnMut(usize, usize) -> Result<f64>,
) -> Result<Vec<Row>> {
    let mut times = [Vec::new(), Vec::new()];
    let mut ratios = Vec::new();
    for pair in 0..pairs {
        let first = pair % 2;
        for which in [first, 1 - first] {
            times[which].push(run(which, pair)?);
        }
        ratios.push(times[1][pair] / times[0][pair]);
    }
    let [before, now] = times.map(|times| 1e3 * median(times));
    Ok(vec![
        Row::note(format!("{what}, before"), before, "ms"),
        Row::note(format!("{what}, now"), now, "ms"),
        Row::at_most(
            format!("the same, of before, by {pairs} pairs: of medians"),
            now / before,
            no_worse,
            "",
        ),
        Row::note("the same, median of the pairs", median(ratios), ""),
    ])
}
