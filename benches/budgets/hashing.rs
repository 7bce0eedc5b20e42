//! How fast files are hashed, against the hash function's own crate.

use std::hint::black_box;
use std::io::{Seek as _, Write as _};

use anyhow::Result;
use sha2::Digest as _;
use uplift::digest::{BUFFER_SIZE, Beside, Hasher, program_digest};

use super::payload::MIB;
use super::statistics::timed;
use super::table::Row;

const RUNS: usize = 25;
/// Percent of the crate's own speed.
const BAR: f64 = 90.0;

pub(crate) fn measure() -> Result<Vec<Row>> {
    let content: Vec<u8> = (0..64 * MIB).map(|byte| byte.to_le_bytes()[0]).collect();
    let mut file = tempfile::tempfile()?;
    file.write_all(&content)?;
    let (mut ceiling, mut receiving, mut from_file) = (f64::INFINITY, f64::INFINITY, f64::INFINITY);
    // In turn, so that all meet the same machine.
    for _ in 0..RUNS {
        ceiling = ceiling.min(seconds(|| black_box(sha2::Sha256::digest(&content)))?);
        receiving = receiving.min(seconds(|| {
            let mut hasher = Hasher::new(Beside::default());
            content.chunks(BUFFER_SIZE).for_each(|piece| hasher.update(piece));
            black_box(hasher.finish())
        })?);
        file.rewind()?;
        from_file = from_file.min(seconds(|| black_box(program_digest(&file)))?);
    }
    let share = |seconds: f64| 100.0 * ceiling / seconds;
    Ok(vec![
        Row::note(
            "hashing: the crate's own speed, best of 25",
            content.len() as f64 / 1e6 / ceiling,
            "MB/s",
        ),
        Row::at_least(
            "hashing while receiving, of the crate's own speed",
            share(receiving),
            BAR,
            "%",
        ),
        Row::note("hashing a file at its path, reading it included", share(from_file), "%"),
    ])
}

fn seconds<T>(act: impl FnOnce() -> T) -> Result<f64> {
    let time = timed(|| {
        act();
        Ok(())
    })?;
    Ok(time.as_secs_f64())
}
