//! What a seal costs the reception: the same program received sealed and unsealed in turns, and
//! proved.

use anyhow::Context as _;
use std::io::Write as _;
use std::path::Path;

use anyhow::Result;
use tempfile::TempDir;
use uplift::config::Config;
use uplift::digest::BUFFER_SIZE;
use uplift::package::check::{Rules, check};
use uplift::stage::{Announced, Stage};
use uplift_fixtures::elf::{Architecture, Program};
use uplift_sim::signer::Signer;

use super::payload::{MIB, shipped};
use super::statistics::{median, timed};
use super::table::Row;

const PAIRS: usize = 31;
const SIZE: u64 = 64 * MIB;
const NAME: &str = "BENCH_V01.00.00.00.bin";
/// Times an unsealed one.
const BAR: f64 = 1.05;

pub(crate) fn measure() -> Result<Vec<Row>> {
    let directory = TempDir::with_prefix("uplift-sealed-")?;
    let (path, firmware, signer) =
        (directory.path().join("program"), directory.path().join(NAME), Signer::new(&shipped()?)?);
    let unsealed = Program::new(Architecture::host()?, [1, 0, 0, 0]).filled_to(SIZE).bytes();
    std::fs::File::create(&firmware)?.write_all(&unsealed)?;
    signer.seal_file(&firmware)?;
    let sealed = std::fs::read(&firmware)?;
    let text = format!(
        "[component.program]\npath = {path:?}\nproduct = \"BENCH\"\n[package]\nseal = \"optional\"\n{}",
        signer.trusted_section()
    );
    let config = Config::parse(&text, Path::new("bench.toml"))?;
    let (mut ratios, mut times) = (Vec::new(), Vec::new());
    for pair in 0..PAIRS {
        // The first of a pair meets a disk that still writes the one before: they take turns at
        // that.
        let (first, second) =
            if pair % 2 == 0 { (&unsealed, &sealed) } else { (&sealed, &unsealed) };
        let (first, second) = (receive(&config, first)?, receive(&config, second)?);
        let (plain, with_seal) = if pair % 2 == 0 { (first, second) } else { (second, first) };
        ratios.push(with_seal / plain);
        times.push(with_seal);
    }
    Ok(vec![
        Row::at_most(
            "64 MiB sealed, received and checked, of the time unsealed",
            median(ratios),
            BAR,
            "times",
        ),
        Row::note("the same, sealed", 1e3 * median(times), "ms"),
    ])
}

/// Seconds.
fn receive(config: &Config, content: &[u8]) -> Result<f64> {
    let stage = Stage::beside(
        &config.components.programs().next().context("a component")?.path,
        config.package.max_size.0,
    );
    let rules =
        Rules::new(config.components.iter().next().context("a component")?, &config.package);
    let time = timed(|| {
        let announced = Announced::named(NAME, Some(content.len() as u64));
        let mut receiving = stage.receive(announced, Box::new(|_| {}))?;
        content.chunks(BUFFER_SIZE).try_for_each(|piece| receiving.write(piece))?;
        check(receiving.finish(None)?, &rules)?;
        Ok(())
    })?;
    Ok(time.as_secs_f64())
}
