//! How long a program takes from the first byte to its path: `cargo bench --bench swap`. Prints a table and asserts
//! nothing. The disk is the one of the target directory; its own floor is printed beside the swap.

use std::fs::{self, File, OpenOptions};
use std::hint::black_box;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use sha2::Digest as _;
use uplift::config::Config;
use uplift::package::check::{Checked, Policy, check};
use uplift::package::digest::{BUFFER_SIZE, Hasher, program_digest};
use uplift::stage::{Announced, Stage, Staged};
use uplift::target::program::Program;

const MIB: usize = 1024 * 1024;
const RUNS: usize = 15;
const FILE_NAME: &str = "BENCH_V01.00.00.00.bin";

fn main() -> Result<()> {
    let bench = Bench::new()?;
    bench.swap()?;
    bench.reception()?;
    bench.hashing()
}

struct Bench {
    directory: PathBuf,
    config: Config,
}

impl Bench {
    fn new() -> Result<Self> {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("swap");
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory)?;
        let configuration = directory.join("uplift.toml");
        let path = directory.join("program");
        // What lies behind the end of the program below makes it as large as wanted.
        writeln!(
            File::create(&configuration)?,
            "[program]\npath = {path:?}\nproduct = \"BENCH\"\n[package]\nallow_unproven_end = true\nallow_same_version = true"
        )?;
        Ok(Self { config: Config::load(&configuration)?, directory })
    }

    fn stage(&self) -> Stage {
        Stage::beside(&self.config.program.path, self.config.package.max_size.0)
    }

    fn receive(&self, content: &[u8], with_md5: bool) -> Result<Staged> {
        let announced = Announced { file_name: FILE_NAME.into(), size: content.len() as u64, with_md5 };
        let mut receiving = self.stage().receive(announced, Box::new(|_| {}))?;
        content.chunks(BUFFER_SIZE).try_for_each(|piece| receiving.write(piece))?;
        Ok(receiving.finish(None)?)
    }

    fn checked(&self, content: &[u8]) -> Result<Checked> {
        let policy = Policy::new(&self.config.program, &self.config.package);
        Ok(check(self.receive(content, false)?, &policy)?)
    }

    /// Synced and checked → committed.
    fn swap(&self) -> Result<()> {
        println!("synced and checked -> committed, median of {RUNS} (at most 30 ms, whatever the size)");
        let program = Program::new(&self.config.program.path);
        for mebibytes in [1, 10, 64] {
            let content = elf(mebibytes * MIB)?;
            program.install(self.checked(&content)?)?;
            let swap = median(|| {
                let checked = self.checked(&content)?;
                timed(|| Ok(program.install(checked).map(drop)?))
            })?;
            println!("  {mebibytes:>3} MiB  {:>7.2} ms   disk's own floor {:.2} ms", milliseconds(swap), milliseconds(self.floor()?));
        }
        Ok(())
    }

    /// Link, rename, sync of the directory: no durable swap without them.
    fn floor(&self) -> Result<Duration> {
        let [file, link, directory] = ["floor", "floor.link", "floor.directory"].map(|name| self.directory.join(name));
        fs::create_dir_all(&directory)?;
        median(|| {
            let _ = fs::remove_file(&file); // a rename between two names of one file would do nothing
            File::create(&file)?.sync_all()?;
            timed(|| {
                fs::hard_link(&file, &link)?;
                fs::rename(&link, directory.join("program"))?;
                File::open(&directory)?.sync_all()?;
                Ok(File::open(&self.directory)?.sync_all()?)
            })
        })
    }

    /// Received, hashed and durable, against what the vendor's sample does with a file that has been received already.
    fn reception(&self) -> Result<()> {
        let content = elf(64 * MIB)?;
        println!("64 MiB, median of {RUNS}");
        let rows: [(&str, &dyn Fn() -> Result<()>); 4] = [
            ("received, SHA-256, durable", &|| self.receive(&content, false).map(drop)),
            ("received, SHA-256 and MD5, durable", &|| self.receive(&content, true).map(drop)),
            ("written and synced, no more", &|| self.write_durably(&content)),
            ("written, then cp -f, chmod, sync of both", &|| self.write_and_copy(&content)),
        ];
        for (what, act) in rows {
            let time = median(|| timed(act))?;
            println!("  {what:<42} {:>8.1} ms  {:>6.0} MB/s", milliseconds(time), content.len() as f64 / time.as_secs_f64() / 1e6);
        }
        Ok(())
    }

    fn write_durably(&self, content: &[u8]) -> Result<()> {
        let path = self.directory.join("plain");
        let mut file = File::create(&path)?;
        content.chunks(BUFFER_SIZE).try_for_each(|piece| file.write_all(piece))?;
        file.sync_all()?;
        Ok(fs::remove_file(path)?)
    }

    fn write_and_copy(&self, content: &[u8]) -> Result<()> {
        let [upload, installed] = ["upload", "installed"].map(|name| self.directory.join(name));
        let mut received = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&upload)?;
        content.chunks(BUFFER_SIZE).try_for_each(|piece| received.write_all(piece))?;
        let (mut from, mut to) = (File::open(&upload)?, File::create(&installed)?);
        std::io::copy(&mut from, &mut to)?;
        to.set_permissions(fs::Permissions::from_mode(0o755))?;
        received.sync_all()?;
        to.sync_all()?;
        fs::remove_file(upload)?;
        Ok(fs::remove_file(installed)?)
    }

    fn hashing(&self) -> Result<()> {
        let content = elf(64 * MIB)?;
        let path = self.directory.join("hashed");
        File::create(&path)?.write_all(&content)?;
        println!("SHA-256 of 64 MiB, best of {RUNS} (at least 90 % of the crate's own speed)");
        let crate_itself = best(|| {
            timed(|| {
                black_box(sha2::Sha256::digest(&content));
                Ok(())
            })
        })?;
        let while_receiving = best(|| {
            timed(|| {
                let mut hasher = Hasher::new(false);
                content.chunks(BUFFER_SIZE).for_each(|piece| hasher.update(piece));
                black_box(hasher.finish());
                Ok(())
            })
        })?;
        let of_a_file = best(|| {
            timed(|| {
                black_box(program_digest(File::open(&path)?)?);
                Ok(())
            })
        })?;
        for (what, time) in [("the crate itself", crate_itself), ("while receiving", while_receiving), ("of a file at its path", of_a_file)]
        {
            let speed = content.len() as f64 / time.as_secs_f64() / 1e9;
            println!("  {what:<22} {speed:>5.2} GB/s  {:>4.0} %", 100.0 * crate_itself.as_secs_f64() / time.as_secs_f64());
        }
        Ok(())
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// A program of this machine, with bytes behind its end.
fn elf(size: usize) -> Result<Vec<u8>> {
    let mut content = Vec::with_capacity(size);
    File::open("/bin/true").context("no /bin/true to make a program of")?.read_to_end(&mut content)?;
    let mut byte = 0_u32;
    content.resize_with(size, || {
        byte = byte.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        byte.to_be_bytes()[0]
    });
    Ok(content)
}

fn timed(act: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let start = Instant::now();
    act()?;
    Ok(start.elapsed())
}

fn sorted(run: impl Fn() -> Result<Duration>) -> Result<Vec<Duration>> {
    let mut times = (0..RUNS).map(|_| run()).collect::<Result<Vec<_>>>()?;
    times.sort_unstable();
    Ok(times)
}

fn median(run: impl Fn() -> Result<Duration>) -> Result<Duration> {
    Ok(sorted(run)?[RUNS / 2])
}

fn best(run: impl Fn() -> Result<Duration>) -> Result<Duration> {
    Ok(sorted(run)?[0])
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
