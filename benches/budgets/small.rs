//! Uploads on a small computer (`benches/slow-disk` with `UPLIFT_SMALL=1`): 96 MiB of memory for all
//! processes, and a disk that takes what it takes.
//!
//! Three ways with the same file, one after the other: ours; the vendor's, as in `upload`; and one
//! pass, which is as little as can be done: a socket, SHA-256, a file, a sync.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};
use uplift_sim::aircraft::{FtpOptions, Options, Step, Via};

use super::disk::{SECTOR, sectors};
use super::payload::{MIB, Payload};
use super::statistics::median;
use super::table::Row;
use super::upload::{Paced, run, vendors_way};
use super::vsftpd::Vsftpd;

const BLOCK: usize = 256 << 10;
const ROUNDS: usize = 3;
/// Bytes a second of a host that is slower than the disk.
const SLOW_HOST: u64 = 15_000_000;
/// How long a host waits for the answer to its word.
const HOST_WAITS: f64 = 5.0;

/// What one upgrade took.
struct Job {
    /// From the upgrade mode to the request for the restart.
    whole: f64,
    /// From the host's last byte to the answer "checked, and begun".
    verdict: f64,
    /// From the host's word that all is there to that answer.
    answer: f64,
    /// Bytes written to the disk, of the size of the file.
    written: f64,
}

pub(crate) fn measure() -> Result<Vec<Row>> {
    let disk = std::env::var("UPLIFT_DISK")
        .context("start this by benches/run small, which makes a small computer")?;
    let mut payload = Payload::new(None)?;
    payload.sandbox.start_ftp_server()?;
    payload.sandbox.start_daemon()?;
    let vsftpd = Vsftpd::start();
    let mut rows = Vec::new();
    for (size, host) in [(64, None), (256, None), (256, Some(SLOW_HOST)), (1024, None)] {
        let of_host = if host.is_some() { ", a host of 15 MB/s" } else { "" };
        let what = format!("{size} MiB{of_host}, {disk}");
        let (mut jobs, mut vendors, mut passes) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..if size > 256 { 1 } else { ROUNDS } {
            let firmware = payload.next_firmware(size * MIB)?;
            jobs.push(job(&mut payload, &firmware, host)?);
            if size == 256 {
                vendors.push(by(&firmware, || {
                    Ok(vendors_way(&vsftpd, &firmware, host)?.as_secs_f64())
                })?);
                passes.push(by(&firmware, || one_pass(&firmware, host))?);
            }
            std::fs::remove_file(firmware)?;
        }
        let of = |value: fn(&Job) -> f64| median(jobs.iter().map(value).collect());
        let whole = of(|job| job.whole);
        rows.push(Row::note(format!("whole job, {what}"), whole, "s"));
        if size == 256 {
            let (vendor, pass) = (median(vendors), median(passes));
            rows.push(Row::note(format!("vsftpd, cp, chmod, sync, {what}"), vendor, "s"));
            rows.push(Row::note(format!("one pass, {what}"), pass, "s"));
            let bar = if host.is_some() { 0.8 } else { 0.55 };
            rows.push(Row::at_most(
                format!("of the vendor's way, {what}"),
                whole / vendor,
                bar,
                "",
            ));
            rows.push(Row::at_most(format!("of one pass, {what}"), whole / pass, 1.1, ""));
        }
        let written = of(|job| job.written);
        rows.push(Row::at_most(format!("bytes written, of the size, {what}"), written, 1.05, ""));
        let verdict = 1e3 * of(|job| job.verdict);
        rows.push(Row::note(format!("last byte -> checked, {what}"), verdict, "ms"));
        let longest = jobs.iter().map(|job| job.answer).fold(0.0, f64::max);
        rows.push(Row::below(
            format!("the host's word -> checked, longest, {what}"),
            longest,
            HOST_WAITS,
            "s",
        ));
    }
    Ok(rows)
}

/// Measures one of the other ways. Neither pays for what was written before it.
fn by(firmware: &Path, way: impl FnOnce() -> Result<f64>) -> Result<f64> {
    settle(firmware)?;
    way()
}

/// All is on the disk, and the file is read anew.
fn settle(firmware: &Path) -> Result<()> {
    run(&mut std::process::Command::new("sync"))?;
    let file = File::open(firmware)?;
    let advice = nix::fcntl::PosixFadviseAdvice::POSIX_FADV_DONTNEED;
    Ok(nix::fcntl::posix_fadvise(&file, 0, 0, advice)?)
}

fn job(payload: &mut Payload, firmware: &Path, host: Option<u64>) -> Result<Job> {
    settle(firmware)?;
    let before = sectors()?;
    let ftp = FtpOptions { rate: host, ..FtpOptions::default() };
    let options = Options { via: Via::Ftp, ftp, ..Options::new(firmware) };
    let upgrade = payload.upgrade_with(options, None)?;
    let entered = upgrade.first(|step| matches!(step, Step::Entered { .. }))?;
    let (last, _) = upgrade.transferred().next_back().context("nothing was handed over")?;
    let complete = upgrade.first(|step| matches!(step, Step::Complete))?;
    let started = upgrade.first(|step| matches!(step, Step::Started))?;
    let written = (upgrade.sectors - before) * SECTOR;
    Ok(Job {
        whole: (upgrade.restart_requested - entered).as_secs_f64(),
        verdict: (started - last).as_secs_f64(),
        answer: (started - complete).as_secs_f64(),
        written: written as f64 / firmware.metadata()?.len() as f64,
    })
}

/// A host's bytes through a socket into a hash and a file, which is synced.
fn one_pass(firmware: &Path, host: Option<u64>) -> Result<f64> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let began = Instant::now();
    std::thread::scope(|scope| {
        let sending = scope.spawn(move || -> io::Result<()> {
            let mut from = Paced::new(File::open(firmware)?, host);
            let mut to = TcpStream::connect(address)?;
            let mut block = vec![0; BLOCK];
            loop {
                match from.read(&mut block)? {
                    0 => return Ok(()),
                    count => to.write_all(&block[..count])?,
                }
            }
        });
        let (mut from, _) = listener.accept()?;
        let path = firmware.with_extension("pass");
        let (mut to, mut hash) = (File::create(&path)?, Sha256::new());
        let mut block = vec![0; BLOCK];
        loop {
            match from.read(&mut block)? {
                0 => break,
                count => {
                    hash.update(&block[..count]);
                    to.write_all(&block[..count])?;
                }
            }
        }
        to.sync_all()?;
        let took = began.elapsed();
        std::hint::black_box(hash.finalize());
        std::fs::remove_file(path)?;
        match sending.join() {
            Ok(sent) => sent?,
            Err(_) => bail!("the host of one pass crashed"),
        }
        Ok(took.as_secs_f64())
    })
}
