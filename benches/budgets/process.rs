//! What the kernel tells of a process.

use std::fs;

use anyhow::{Context as _, Result};

/// Proportional set size in KiB: its own memory, and its share of what it shares.
pub(crate) fn pss_kib(pid: u32) -> Result<u64> {
    field(&fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?, "Pss:")
}

/// What it has resident now, in KiB.
pub(crate) fn resident_kib(pid: u32) -> Result<u64> {
    field(&fs::read_to_string(format!("/proc/{pid}/status"))?, "VmRSS:")
}

/// The most memory that it ever had resident, in KiB.
pub(crate) fn peak_resident_kib(pid: u32) -> Result<u64> {
    field(&fs::read_to_string(format!("/proc/{pid}/status"))?, "VmHWM:")
}

/// How often its threads went to sleep, and so were woken. A thread that was merely interrupted by
/// others is not counted.
pub(crate) fn wake_ups(pid: u32) -> Result<u64> {
    let mut sum = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        sum +=
            field(&fs::read_to_string(thread?.path().join("status"))?, "voluntary_ctxt_switches:")?;
    }
    Ok(sum)
}

fn field(text: &str, name: &str) -> Result<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .with_context(|| format!("no field {name}"))?;
    Ok(line.split_whitespace().next().context("an empty field")?.parse()?)
}
