//! Synced and checked → committed, beside what the disk needs for any durable swap.

use anyhow::Context as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Result;
use tempfile::TempDir;
use uplift::component::program::Program;
use uplift::config::Config;
use uplift::digest::BUFFER_SIZE;
use uplift::model::version::Version;
use uplift::package::check::{Checked, Rules, check};
use uplift::stage::{Announced, Stage};
use uplift_fixtures::elf::{Architecture, Program as TinyProgram};

use super::payload::MIB;
use super::statistics::{median_time, timed};
use super::table::Row;

const RUNS: usize = 15;
const BAR: f64 = 30.0;

pub(crate) fn measure() -> Result<Vec<Row>> {
    let bench = Bench::new()?;
    let mut rows = Vec::new();
    for mebibytes in [1, 64] {
        rows.push(Row::below(
            format!("synced and checked -> committed, {mebibytes} MiB"),
            bench.swap(mebibytes * MIB)?,
            BAR,
            "ms",
        ));
    }
    rows.push(Row::note(
        "the disk's own floor: link, rename, sync of two directories",
        bench.floor()?,
        "ms",
    ));
    Ok(rows)
}

struct Bench {
    directory: TempDir,
    config: Config,
}

impl Bench {
    fn new() -> Result<Self> {
        let directory = TempDir::with_prefix("uplift-swap-")?;
        let file = directory.path().join("uplift.toml");
        let path = directory.path().join("program");
        File::create(&file)?
            .write_all(format!("[component.program]\npath = {path:?}\nproduct = \"BENCH\"\n[package]\nallow_same_version = true\n").as_bytes())?;
        Ok(Self { config: Config::load(&file)?, directory })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn checked(&self, content: &[u8]) -> Result<Checked> {
        let announced = Announced::named("BENCH_V01.00.00.00.bin", Some(content.len() as u64));
        let stage = Stage::beside(
            &self.config.components.programs().next().context("a component")?.path,
            self.config.package.max_size.0,
        );
        let mut receiving = stage.receive(announced, Box::new(|_| {}))?;
        content.chunks(BUFFER_SIZE).try_for_each(|piece| receiving.write(piece))?;
        Ok(check(
            receiving.finish(None)?,
            &Rules::new(
                self.config.components.iter().next().context("a component")?,
                &self.config.package,
            ),
        )?)
    }

    /// Milliseconds.
    fn swap(&self, size: u64) -> Result<f64> {
        let version =
            Version::new([1, 0, 0, 0]).unwrap_or_else(|| unreachable!("all parts are below 100"));
        let content =
            TinyProgram::new(Architecture::host()?, version.numbers()).filled_to(size).bytes();
        let program =
            Program::new(&self.config.components.programs().next().context("a component")?.path);
        program.install(self.checked(&content)?)?;
        let seconds = median_time(RUNS, || {
            let checked = self.checked(&content)?;
            timed(|| Ok(program.install(checked).map(drop)?))
        })?;
        Ok(seconds * 1e3)
    }

    /// Milliseconds.
    fn floor(&self) -> Result<f64> {
        let [file, link, directory] =
            ["floor", "floor.link", "floor.directory"].map(|name| self.path(name));
        fs::create_dir_all(&directory)?;
        let seconds = median_time(RUNS, || {
            let _ = fs::remove_file(&file); // a rename between two names of one file would do nothing
            File::create(&file)?.sync_all()?;
            timed(|| {
                fs::hard_link(&file, &link)?;
                fs::rename(&link, directory.join("program"))?;
                File::open(&directory)?.sync_all()?;
                Ok(File::open(self.directory.path())?.sync_all()?)
            })
        })?;
        Ok(seconds * 1e3)
    }
}
