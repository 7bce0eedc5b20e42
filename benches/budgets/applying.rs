//! What it costs to make the new program of an old one: processor time and time against bspatch, in pairs, in a
//! directory in memory, where nobody waits for a disk; and the memory of the daemon and its helper together while
//! one is upgraded.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;
use uplift_sim::aircraft::{Options, Via};
use uplift_sim::signer::Signer;

use super::memory::Sampler;
use super::payload::{Payload, shipped};
use super::process::time_of_children;
use super::real::{self, PAIR};
use super::statistics::median;
use super::table::Row;
use super::upload::run;

const PAIRS: usize = 15;
const MEMORY: &str = "/dev/shm";

pub(crate) fn measure() -> Result<Vec<Row>> {
    let mut rows = against_bspatch()?;
    for (what, is_delta) in [("what changes it", true), ("the whole, compressed", false)] {
        let what = format!("peak PSS of daemon and helper, {}, {what}", PAIR[1]);
        rows.push(Row::at_most(what, peak(is_delta)?, 16.0, "MiB"));
    }
    Ok(rows)
}

/// Seconds and seconds of processors.
struct Times {
    wall: Vec<f64>,
    processor: Vec<f64>,
}

fn against_bspatch() -> Result<Vec<Row>> {
    let directory = TempDir::with_prefix_in("uplift-", MEMORY)?;
    let at = |name: &str| directory.path().join(name);
    let (old, out) = (at("old"), at("out"));
    File::create(&old)?.write_all(&real::bytes(PAIR[0])?)?;
    let (patch, packed) = (at("patch"), at("BENCH_V02.00.00.00.bin"));
    File::create(&patch)?.write_all(&real::bytes(&format!("{}.bsdiff", PAIR[1]))?)?;
    let (uplift, mut from) = (shipped()?, std::ffi::OsString::from("V01.00.00.00="));
    from.push(&old);
    run(Command::new(&uplift)
        .args(["pack", "--unsigned", "--delta-only", "--product", "BENCH"])
        .args(["--version", "V02.00.00.00", "--out"])
        .arg(directory.path())
        .arg("--from")
        .arg(&from)
        .arg(real::path(PAIR[1])))?;
    let mut times = [(); 2].map(|()| Times { wall: Vec::new(), processor: Vec::new() });
    let mut ratios = Vec::new();
    for pair in 0..PAIRS {
        for which in [pair % 2, 1 - pair % 2] {
            let mut command =
                Command::new(if which == 0 { "bspatch".as_ref() } else { uplift.as_os_str() });
            match which {
                0 => command.arg(&old).arg(&out).arg(&patch),
                _ => command
                    .arg("unpack")
                    .arg(&packed)
                    .arg("--from")
                    .arg(&old)
                    .arg("--out")
                    .arg(&out)
                    .arg("--force"),
            };
            let (wall, processor) = cost(&mut command, &out)?;
            times[which].wall.push(wall);
            times[which].processor.push(processor);
        }
        ratios.push(times[1].wall[pair] / times[0].wall[pair]);
    }
    let [theirs, ours] = times;
    let (their_processor, our_processor) = (median(theirs.processor), median(ours.processor));
    let what = format!("applying what changes {} into {}", PAIR[0], PAIR[1]);
    Ok(vec![
        Row::note(format!("{what}, bspatch"), 1e3 * median(theirs.wall), "ms"),
        Row::note(format!("{what}, uplift unpack"), 1e3 * median(ours.wall), "ms"),
        Row::at_most(
            format!("the same, of bspatch's, median of {PAIRS} pairs"),
            median(ratios),
            1.0,
            "",
        ),
        Row::note("processor time, bspatch", 1e3 * their_processor, "ms"),
        Row::note("processor time, uplift unpack", 1e3 * our_processor, "ms"),
        // Without a bar: ours hashes both programs besides.
        Row::note("the same, of bspatch's", our_processor / their_processor, ""),
    ])
}

fn cost(command: &mut Command, out: &Path) -> Result<(f64, f64)> {
    // Neither writes over pages that the other has left.
    let _ = std::fs::remove_file(out);
    let (before, start) = (time_of_children()?, Instant::now());
    run(command.stdout(std::process::Stdio::null()))?;
    Ok((start.elapsed().as_secs_f64(), time_of_children()? - before))
}

/// MiB, of an upgrade with one program of the pair to the other one.
fn peak(is_delta: bool) -> Result<f64> {
    let mut payload = Payload::new(None)?;
    let old = payload.next_firmware_with(&real::bytes(PAIR[0])?)?;
    payload.install(&old)?;
    payload.sandbox.start_daemon()?;
    let firmware = payload.next_firmware_with(&real::bytes(PAIR[1])?)?;
    let signer = Signer::new(&shipped()?)?;
    match is_delta {
        true => signer.change(&firmware, ("V02.00.00.00", &old), true)?,
        false => signer.compress(&firmware)?,
    }
    let sampler = Sampler::start(vec![payload.sandbox.daemon_pid().context("no daemon runs")?]);
    let aircraft = payload.aircraft(Options { via: Via::Dcftp, ..Options::new(firmware) }, None);
    let requested =
        payload.sandbox.wait_for_restart_request_within(std::time::Duration::from_secs(300));
    let peak = sampler.peak()?;
    requested.and_then(|()| payload.sandbox.reboot())?;
    let (verdict, _) = aircraft.wait()?;
    if !verdict.is_success() {
        bail!("the upgrade failed: {}", verdict.message);
    }
    Ok(peak as f64 / 1024.0)
}
