//! `uplift check` of a large file, against reading it and hashing as many bytes; and the memory
//! that it takes.

use std::fs::File;
use std::hint::black_box;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use sha2::Digest as _;
use uplift::digest::BUFFER_SIZE;
use uplift_sim::Version;
use uplift_sim::sandbox::Sandbox;

use super::payload::{MIB, shipped};
use super::process::peak_resident_kib;
use super::statistics::{median_time, timed};
use super::table::Row;

const SIZE: u64 = 1024 * MIB;
const RUNS: usize = 5;
/// Percent of the slower of the two.
const BAR: f64 = 85.0;
const SAMPLE_EVERY: Duration = Duration::from_millis(1);

pub(crate) fn measure() -> Result<Vec<Row>> {
    let sandbox = Sandbox::new(&shipped()?)?;
    sandbox.configure("", "")?;
    sandbox.install_by_hand(version(1))?;
    let (small, large) =
        (sandbox.firmware(version(2), Some(64 * MIB))?, sandbox.firmware(version(3), Some(SIZE))?);
    File::open(&large)?.sync_all()?;
    let block: Vec<u8> = (0..64 * MIB).map(|byte| byte.to_le_bytes()[0]).collect();
    let reading = median_time(RUNS, || timed(|| read(&large)))?;
    let hashing = median_time(RUNS, || {
        timed(|| {
            let mut sha256 = sha2::Sha256::new();
            (0..SIZE / (64 * MIB)).for_each(|_| sha256.update(&block));
            black_box(sha256.finalize());
            Ok(())
        })
    })?;
    let checking = median_time(RUNS, || timed(|| check(&sandbox, &large).map(drop)))?;
    let growth = check(&sandbox, &large)? as f64 - check(&sandbox, &small)? as f64;
    Ok(vec![
        Row::at_least(
            "uplift check, 1 GiB, of the slower of reading and SHA-256",
            100.0 * reading.max(hashing) / checking,
            BAR,
            "%",
        ),
        Row::note(
            "reading 1 GiB (from memory, where it has room)",
            SIZE as f64 / 1e6 / reading,
            "MB/s",
        ),
        Row::note("SHA-256 of 1 GiB", SIZE as f64 / 1e6 / hashing, "MB/s"),
        Row::below("memory of uplift check, 1 GiB more than 64 MiB", growth / 1024.0, 1.0, "MiB"),
    ])
}

fn version(number: u8) -> Version {
    Version([number, 0, 0, 0])
}

fn read(path: &Path) -> Result<()> {
    let (mut file, mut buffer) = (File::open(path)?, vec![0; BUFFER_SIZE]);
    while file.read(&mut buffer)? > 0 {}
    Ok(())
}

/// The peak of its memory in KiB.
fn check(sandbox: &Sandbox, firmware: &Path) -> Result<u64> {
    let mut command: Command = sandbox.command(&["check"]);
    let mut child = command.arg(firmware).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let mut peak = 0;
    loop {
        // The kernel keeps the peak itself; it is gone with the process.
        peak = peak_resident_kib(child.id()).unwrap_or(peak);
        if let Some(status) = child.try_wait()? {
            ensure!(status.success(), "uplift check ended with {status}");
            return Ok(peak);
        }
        thread::sleep(SAMPLE_EVERY);
    }
}
