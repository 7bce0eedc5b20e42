//! The daemon's start against that of an older `uplift`, which `UPLIFT_BEFORE` names, in pairs: with
//! the same configuration, and a program of a usual size installed.

use std::path::Path;

use anyhow::Result;

use super::pairs;
use super::payload::{MIB, Payload, shipped};
use super::statistics::timed;
use super::table::Row;

const PAIRS: usize = 75;
/// Of the older version's time.
const NO_WORSE: f64 = 1.05;

pub(crate) fn measure() -> Result<Vec<Row>> {
    let mut payloads = [payload(&pairs::before()?)?, payload(&shipped()?)?];
    pairs::measure("started -> ready", PAIRS, NO_WORSE, |which, _| {
        let sandbox = &mut payloads[which].sandbox;
        let time = timed(|| sandbox.start_daemon())?;
        sandbox.kill_daemon();
        Ok(time.as_secs_f64())
    })
}

fn payload(uplift: &Path) -> Result<Payload> {
    Payload::of(uplift, Some(10 * MIB))
}
