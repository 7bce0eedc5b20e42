//! Upgrades with small files against the same program as it is: over DCFTP on a line of 921600 baud, from the first frame
//! to the verdict, and 64 MiB by FTP from a host of 60 MB a second until they are installed.

use std::path::Path;

use anyhow::Result;
use uplift_sim::aircraft::{FtpOptions, Options, Step, Via};
use uplift_sim::signer::Signer;

use super::payload::{BAUD, MIB, Payload, shipped};
use super::real::{self, PAIR};
use super::statistics::median;
use super::table::Row;
use super::upload::settle;

/// Bytes a second.
const HOST: u64 = 60_000_000;
const SIZE: u64 = 64 * MIB;
const PAIRS: usize = 5;

/// How a file is sent.
#[derive(Clone, Copy, PartialEq)]
enum Cover {
    Plain,
    Whole,
    Changes,
}

impl Cover {
    fn put(self, signer: &Signer, firmware: &Path, old: (&str, &Path)) -> Result<()> {
        match self {
            Self::Plain => signer.seal_file(firmware),
            Self::Whole => signer.compress(firmware),
            Self::Changes => signer.change(firmware, old, true),
        }
    }
}

/// The pair over the payload link, one after the other, each from the old program.
pub(crate) fn over_dcftp() -> Result<Vec<Row>> {
    let covers = [
        (Cover::Changes, "what changes it", Some(0.06)),
        (Cover::Whole, "compressed", Some(0.3)),
        (Cover::Plain, "sealed as it is", None),
    ];
    let mut rows = Vec::new();
    let mut taken = Vec::new();
    for (cover, what, _) in covers {
        let mut payload = Payload::new(None)?;
        let old = payload.next_firmware_with(&real::bytes(PAIR[0])?)?;
        payload.install(&old)?;
        payload.sandbox.start_daemon()?;
        let firmware = payload.next_firmware_with(&real::bytes(PAIR[1])?)?;
        cover.put(&Signer::new(&shipped()?)?, &firmware, ("V02.00.00.00", &old))?;
        let bytes = firmware.metadata()?.len() as f64;
        let upgrade = payload.upgrade(&firmware, Via::Dcftp, Some(BAUD))?;
        let whole = upgrade.whole.as_secs_f64();
        eprintln!("{what}: {bytes} bytes, {whole:.1} s, {} repeats", upgrade.repeats);
        rows.push(Row::note(
            format!("DCFTP at {BAUD} baud, {}, {what}: sent", PAIR[1]),
            bytes / 1e6,
            "MB",
        ));
        rows.push(Row::note("the same, first frame to verdict", whole, "s"));
        let last = upgrade.transferred().next_back().map(|(at, _)| at);
        if let Some(last) = last {
            let seconds = (upgrade.restart_requested - last).as_secs_f64();
            rows.push(Row::note("the same, last byte to request for the restart", seconds, "s"));
        }
        taken.push(whole);
    }
    let plain = taken.pop().unwrap_or(f64::NAN);
    for ((_, what, bar), whole) in covers.into_iter().zip(taken) {
        let what = format!("first frame to verdict of {}, {what}, of the time plain", PAIR[1]);
        rows.extend(bar.map(|bar| Row::at_most(what, whole / plain, bar, "")));
    }
    Ok(rows)
}

/// The same program plain and compressed, in turns.
pub(crate) fn over_ftp() -> Result<Vec<Row>> {
    let mut payload = Payload::new(None)?;
    payload.sandbox.start_ftp_server()?;
    payload.sandbox.start_daemon()?;
    let mut program = Vec::new();
    for name in ["uv-0.13.9", "ruff-0.17.6", PAIR[1]] {
        program.extend(real::bytes(name)?);
    }
    program.truncate(SIZE as usize - 4096);
    let signer = Signer::new(&shipped()?)?;
    let (mut plain, mut compressed, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for pair in 0..PAIRS {
        let mut taken = [0.0; 2];
        for which in [pair % 2, 1 - pair % 2] {
            let firmware = payload.next_firmware_with(&program)?;
            let cover = if which == 0 { Cover::Plain } else { Cover::Whole };
            cover.put(&signer, &firmware, ("", Path::new("")))?;
            settle(payload.sandbox.root())?;
            let ftp = FtpOptions { rate: Some(HOST), ..FtpOptions::default() };
            let options = Options { via: Via::Ftp, ftp, ..Options::new(&firmware) };
            let upgrade = payload.upgrade_with(options, None)?;
            let entered = upgrade.first(|step| matches!(step, Step::Entered { .. }))?;
            taken[which] = (upgrade.restart_requested - entered).as_secs_f64();
            std::fs::remove_file(firmware)?;
        }
        plain.push(taken[0]);
        compressed.push(taken[1]);
        ratios.push(taken[1] / taken[0]);
    }
    let what = "64 MiB by FTP at 60 MB/s to request for the restart";
    Ok(vec![
        Row::note(format!("{what}, plain"), 1e3 * median(plain), "ms"),
        Row::note(format!("{what}, compressed"), 1e3 * median(compressed), "ms"),
        Row::at_most(
            format!("compressed, of the time plain, median of {PAIRS} pairs"),
            median(ratios),
            1.0,
            "",
        ),
    ])
}
