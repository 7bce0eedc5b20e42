//! 256 MiB over HTTP from nginx, sealed, until they are committed, against `curl` to the same disk
//! and one fsync of its file, in pairs.
//!
//! The disk is as slow as a payload's (benches/slow-disk) and the server as fast as it can be, so
//! that what must be on the disk decides; then once more with a server that has a pace of its own.
//! What is served lies in memory.

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result};

use super::disk::{SECTOR, sectors};
use super::fetching::{Fetching, forget, name};
use super::nginx::Nginx;
use super::payload::MIB;

use super::statistics::median;
use super::table::Row;
use super::upload::{run, settle};

const SIZE: u64 = 256 * MIB;
const PAIRS: usize = 5;
/// Of curl's time.
const BAR: f64 = 1.05;
/// Bytes written, of the size.
const WRITTEN: f64 = 1.02;
/// Bytes a second of the server with a pace.
const PACE: u64 = 60_000_000;

pub(crate) fn measure() -> Result<Vec<Row>> {
    let disk = std::env::var("UPLIFT_DISK")
        .context("start this by benches/run download, which makes a slow disk")?;
    let nginx = Nginx::start(None, PACE)?;
    let mut payload = Fetching::start("")?;
    let mut rows = Vec::new();
    for (place, server) in [("", "nginx"), ("paced/", "nginx at 60 MB/s")] {
        let what = format!("256 MiB sealed from {server}, a disk {disk}");
        let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        let (mut written, mut theirs_written) = (Vec::new(), Vec::new());
        for pair in 0..PAIRS {
            let firmware = payload.firmware(&nginx.files(), SIZE)?;
            let url = format!("http://{}/{place}{}", nginx.address, name(&firmware)?);
            let (our, their) = if pair % 2 == 0 {
                let our = install(&mut payload, &url)?;
                (our, curl(payload.sandbox.root(), &url)?)
            } else {
                let their = curl(payload.sandbox.root(), &url)?;
                (install(&mut payload, &url)?, their)
            };
            let size = firmware.metadata()?.len() as f64;
            ratios.push(our.seconds / their.seconds);
            ours.push(our.seconds);
            theirs.push(their.seconds);
            written.push(our.bytes / size);
            theirs_written.push(their.bytes / size);
            forget(&firmware);
        }
        rows.extend([
            Row::note(format!("{what}: asked -> committed"), median(ours), "s"),
            Row::note(format!("{what}: curl, fsync"), median(theirs), "s"),
            Row::at_most(format!("{what}: of curl, {PAIRS} pairs"), median(ratios), BAR, ""),
            Row::at_most(
                format!("{what}: bytes written, of the size"),
                median(written),
                WRITTEN,
                "",
            ),
            Row::note(format!("{what}: bytes written by curl"), median(theirs_written), ""),
        ]);
    }
    Ok(rows)
}

/// What one way took.
struct Job {
    seconds: f64,
    /// Written to the disk, all that was left to be written included.
    bytes: f64,
}

fn install(payload: &mut Fetching, url: &str) -> Result<Job> {
    settle(payload.sandbox.root())?;
    let (before, began) = (sectors()?, Instant::now());
    let client = payload.install(url).spawn()?;
    payload.committed()?;
    let seconds = began.elapsed().as_secs_f64();
    let bytes = written(before)?;
    payload.succeed(client)?;
    Ok(Job { seconds, bytes })
}

fn curl(directory: &Path, url: &str) -> Result<Job> {
    settle(directory)?;
    let path = directory.join("fetched");
    let (before, began) = (sectors()?, Instant::now());
    run(Command::new("curl")
        .args(["--silent", "--fail", "--noproxy", "*", "-o"])
        .arg(&path)
        .arg(url))?;
    File::open(&path)?.sync_all()?;
    let seconds = began.elapsed().as_secs_f64();
    let bytes = written(before)?;
    forget(&path);
    Ok(Job { seconds, bytes })
}

/// Bytes since then.
pub(crate) fn written(before: u64) -> Result<f64> {
    run(&mut Command::new("sync"))?;
    Ok(((sectors()? - before) * SECTOR) as f64)
}
