//! From the end of a new program, on trial as a unit, until the one before runs again: seen,
//! judged, written down, swapped back, restarted.
//!
//! `UPLIFT_BEFORE` names an older `uplift`, against which this one is held in pairs, one after the
//! other: by the same script, with the same files.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::pairs;
use super::payload::{MIB, shipped};
use super::statistics::median_time;
use super::table::Row;
use super::unit::{Unit, version};

const WHAT: &str = "unhealthy -> previous program runs, 10 MiB, restart of a unit";
const SIZE: u64 = 10 * MIB;
/// Longer than a program takes to fail.
const WINDOW: &str = "10s";
const RUNS: u8 = 7;
const BAR: f64 = 2.0;
/// Pairs with an older version.
const PAIRS: usize = 25;
/// Of the older version's time.
const NO_WORSE: f64 = 1.03;

pub(crate) fn measure() -> Result<Vec<Row>> {
    if let Some(before) = std::env::var_os("UPLIFT_BEFORE") {
        let units = [unit(Path::new(&before))?, unit(&shipped()?)?];
        return pairs::measure(WHAT, PAIRS, NO_WORSE, |which, pair| {
            // What was rolled back once is refused.
            let number = u8::try_from(pair)? + 2;
            Ok(rollback(&units[which], number)?.as_secs_f64())
        });
    }
    let unit = unit(&shipped()?)?;
    let mut number = 1;
    let seconds = median_time(RUNS.into(), || {
        number += 1; // what was rolled back once is refused
        rollback(&unit, number)
    })?;
    Ok(vec![Row::below(WHAT, seconds, BAR, "s")])
}

fn unit(uplift: &Path) -> Result<Unit> {
    Unit::new(uplift, SIZE, WINDOW)
}

/// An upgrade whose program fails; the time from there until the unit is active again.
fn rollback(unit: &Unit, number: u8) -> Result<Duration> {
    unit.fails_from_now_on(version(number))?;
    let upgrade = unit.begin(version(number))?;
    let failed = unit.wait_for("failed")?;
    let active = unit.wait_for("active")?;
    upgrade.end("rolled-back")?;
    Ok(active - failed)
}
