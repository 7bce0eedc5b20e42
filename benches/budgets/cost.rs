//! The processor time that the daemon needs for one upgrade by the shell, with the restart of a unit, against that
//! of an older `uplift`, which `UPLIFT_BEFORE` names, in pairs. What it starts, and the client, are not counted.

use std::path::Path;

use anyhow::{Context as _, Result};
use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;

use super::pairs;
use super::payload::{MIB, shipped};
use super::table::Row;
use super::unit::{Unit, version};

const SIZE: u64 = 64 * MIB;
const WINDOW: &str = "100ms";
const PAIRS: usize = 15;
/// Of the older version's time.
const BAR: f64 = 0.55;

pub(crate) fn measure() -> Result<Vec<Row>> {
    let units = [unit(&pairs::before()?)?, unit(&shipped()?)?];
    pairs::measure("the daemon's processor time, 64 MiB", PAIRS, BAR, |which, pair| {
        let unit = &units[which];
        let began = processor(unit)?;
        unit.begin(version(u8::try_from(pair)? + 2))?.end("succeeded")?;
        Ok(processor(unit)? - began)
    })
}

fn unit(uplift: &Path) -> Result<Unit> {
    Unit::new(uplift, SIZE, WINDOW)
}

/// Seconds that all threads of the daemon have had, those that have ended included.
fn processor(unit: &Unit) -> Result<f64> {
    let daemon = unit.sandbox.daemon_pid().context("the daemon has ended")?;
    let clock = clock_getcpuclockid(Pid::from_raw(i32::try_from(daemon)?))?;
    let time = clock.now()?;
    Ok(time.tv_sec() as f64 + time.tv_nsec() as f64 / 1e9)
}
