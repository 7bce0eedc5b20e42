//! What was written to the disk, where `benches/slow-disk` counts it.

use anyhow::{Context as _, Result};

/// A sector of the kernel's counts.
pub(crate) const SECTOR: u64 = 512;

/// Sectors that were written to the disk so far.
pub(crate) fn sectors() -> Result<u64> {
    let Some(path) = std::env::var_os("UPLIFT_DISK_STAT") else { return Ok(0) };
    let text = std::fs::read_to_string(path)?;
    let sectors = text.split_ascii_whitespace().nth(6).context("the kernel's counts of a disk")?;
    Ok(sectors.parse()?)
}
