//! How fast files are hashed, against the hash function's own crate.

use std::fs::File;
use std::hint::black_box;
use std::io::{Seek as _, Write as _};

use anyhow::Result;
use sha2::Digest as _;
use uplift::package::digest::{BUFFER_SIZE, Hasher, program_digest};

use super::payload::MIB;
use super::statistics::{best_time, timed};
use super::table::Row;

const RUNS: usize = 25;
/// Percent of the crate's own speed.
const BAR: f64 = 90.0;

pub(crate) fn measure() -> Result<Vec<Row>> {
    let content: Vec<u8> = (0..64 * MIB).map(|byte| byte.to_le_bytes()[0]).collect();
    let mut file = tempfile::tempfile()?;
    file.write_all(&content)?;
    let ceiling = best_time(RUNS, || {
        timed(|| {
            black_box(sha2::Sha256::digest(&content));
            Ok(())
        })
    })?;
    let receiving = best_time(RUNS, || {
        timed(|| {
            let mut hasher = Hasher::new(false);
            content.chunks(BUFFER_SIZE).for_each(|piece| hasher.update(piece));
            black_box(hasher.finish());
            Ok(())
        })
    })?;
    let from_file = best_time(RUNS, || timed(|| hash(&file)))?;
    let share = |seconds: f64| 100.0 * ceiling / seconds;
    Ok(vec![
        Row::note("hashing: the crate's own speed, best of 25", content.len() as f64 / 1e6 / ceiling, "MB/s"),
        Row::at_least("hashing while receiving, of the crate's own speed", share(receiving), BAR, "%"),
        Row::note("hashing a file at its path, reading it included", share(from_file), "%"),
    ])
}

fn hash(mut file: &File) -> Result<()> {
    file.rewind()?;
    black_box(program_digest(file)?);
    Ok(())
}
