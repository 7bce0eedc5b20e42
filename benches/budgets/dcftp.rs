//! DCFTP over an emulated line of 921600 baud: ten bits a byte, both directions held to the line's pace by absolute deadlines,
//! one frame with 256 bytes of data at a time, and the next only after its answer.
//!
//! The bar is a share of what the line itself lets through: data bytes ÷ (time of request frame + time of answer frame).

use anyhow::{Context as _, Result, ensure};
use uplift::sim::aircraft::Via;

use super::payload::{BAUD, MIB, Payload};
use super::statistics::median;
use super::table::Row;

const SIZE: u64 = MIB / 2;
const RUNS: usize = 3;
/// Data bytes of a frame.
const DATA: f64 = 256.0;
/// Header and checksum (docs/payload-link.md section 1), sub-command and sequence number (section 3).
const REQUEST: f64 = 13.0 + 5.0 + DATA;
/// Header and checksum, return code, last and next sequence number.
const ANSWER: f64 = 13.0 + 9.0;
/// Percent.
const BAR: f64 = 95.0;

pub(crate) fn measure() -> Result<Vec<Row>> {
    let ceiling = DATA / ((REQUEST + ANSWER) * 10.0 / f64::from(BAUD));
    let mut payload = Payload::new(None)?;
    payload.sandbox.start_daemon()?;
    let mut speeds = Vec::new();
    for _ in 0..RUNS {
        speeds.push(speed(&mut payload)?);
    }
    let speed = median(speeds);
    let formula = format!("{DATA} B / (({REQUEST} + {ANSWER}) B x 10 bit / {BAUD} bit/s)");
    Ok(vec![
        Row::note(format!("what the line lets through: {formula}"), ceiling / 1e3, "kB/s"),
        Row::note(format!("DCFTP at {BAUD} baud, median of {RUNS}"), speed / 1e3, "kB/s"),
        Row::at_least("the same, of what the line lets through", 100.0 * speed / ceiling, BAR, "%"),
    ])
}

/// Bytes a second, from the first answer to the last.
fn speed(payload: &mut Payload) -> Result<f64> {
    let firmware = payload.next_firmware(SIZE)?;
    let upgrade = payload.upgrade(&firmware, Via::Dcftp, Some(BAUD))?;
    ensure!(upgrade.repeats == 0, "the aircraft had to repeat {} requests: this run measures nothing", upgrade.repeats);
    let (began, first) = upgrade.transferred().next().context("nothing was transferred")?;
    let (ended, last) = upgrade.transferred().next_back().context("nothing was transferred")?;
    Ok((last - first) as f64 / (ended - began).as_secs_f64())
}
