//! DCFTP over an emulated line of 921600 baud: ten bits a byte, both directions held to the line's
//! pace by absolute deadlines, one frame with 256 bytes of data at a time, and the next only after
//! its answer.
//!
//! The bar is a share of what the line itself lets through: data bytes ÷ (time of request frame +
//! time of answer frame). It is judged while the processors are kept awake; beside it stands what
//! the machine gives by itself.

use anyhow::{Context as _, Result, ensure};
use uplift_sim::aircraft::Via;

use super::payload::{BAUD, MIB, Payload};
use super::processors::KeptAwake;
use super::statistics::median;
use super::table::Row;

const SIZE: u64 = MIB / 2;
const RUNS: usize = 5;
/// Data bytes of a frame.
const DATA: f64 = 256.0;
/// Header and checksum (docs/wire/payload-link.md section 1), sub-command and sequence number
/// (section 3).
const REQUEST: f64 = 13.0 + 5.0 + DATA;
/// Header and checksum, return code, last and next sequence number.
const ANSWER: f64 = 13.0 + 9.0;
/// Percent.
const BAR: f64 = 95.0;

pub(crate) fn measure() -> Result<Vec<Row>> {
    let ceiling = DATA / ((REQUEST + ANSWER) * 10.0 / f64::from(BAUD));
    let mut payload = Payload::new(None)?;
    payload.sandbox.start_daemon()?;
    let (mut by_itself, mut awake) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        by_itself.push(share(&mut payload, ceiling)?);
        let _kept_awake = KeptAwake::new()?;
        awake.push(share(&mut payload, ceiling)?);
    }
    let formula = format!("{DATA} B / (({REQUEST} + {ANSWER}) B x 10 bit / {BAUD} bit/s)");
    Ok(vec![
        Row::note(format!("what the line lets through: {formula}"), ceiling / 1e3, "kB/s"),
        Row::note(
            format!("DCFTP at {BAUD} baud, of that, median of {RUNS}"),
            median(by_itself),
            "%",
        ),
        Row::at_least("the same, processors kept awake", median(awake), BAR, "%"),
    ])
}

/// Percent of the ceiling, both in bytes a second.
fn share(payload: &mut Payload, ceiling: f64) -> Result<f64> {
    Ok(100.0 * speed(payload)? / ceiling)
}

/// Bytes a second, from the first answer to the last.
fn speed(payload: &mut Payload) -> Result<f64> {
    let firmware = payload.next_firmware(SIZE)?;
    let upgrade = payload.upgrade(&firmware, Via::Dcftp, Some(BAUD))?;
    ensure!(
        upgrade.repeats == 0,
        "the aircraft had to repeat {} requests: this run measures nothing",
        upgrade.repeats
    );
    let (began, first) = upgrade.transferred().next().context("nothing was transferred")?;
    let (ended, last) = upgrade.transferred().next_back().context("nothing was transferred")?;
    Ok((last - first) as f64 / (ended - began).as_secs_f64())
}
