//! 64 MiB by `uplift install URL` and by `uplift install FILE`, by `rauc install` of a local bundle,
//! and by `swupdate -d` from the same server: processor time, bytes written, and memory of all
//! processes of each. Ours are held against each of the others: RAUC does what `install FILE` does,
//! and SWUpdate what `install URL` does.
//!
//! Whoever can choose has the way that costs it least: SWUpdate streams to its place, RAUC's bundle
//! is plain. A local file and a local bundle lie on the disk already, which is not counted. A sync
//! belongs to each of the others. With us counts all to the restart request: daemon, client, and a
//! process of idle channels beside. The restart is nobody's, nor is the proof behind it, which the
//! others don't give.
//! RAUC streams bundles with verity alone, by the kernel's device mapper and network block device.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use super::archives::{self, HARDWARE, Place, done};
use super::disk::sectors;
use super::download::written;
use super::fetching::{Fetching, forget, name};
use super::group::Group;
use super::nginx::Nginx;
use super::payload::MIB;
use super::statistics::median;
use super::table::Row;
use super::upload::{run, settle};

const SIZE: u64 = 64 * MIB;
const ROUNDS: usize = 7;
/// Of the smaller of the others.
const CPU: f64 = 0.6;
const MEMORY: f64 = 0.5;
const UNUSED: u64 = 1 << 40;
/// Ours, and the others.
const NAMES: [&str; 5] = [
    "uplift install URL",
    "uplift install FILE",
    "rauc install",
    "swupdate -d, file",
    "swupdate -d, raw image",
];

pub(crate) fn measure() -> Result<Vec<Row>> {
    let disk = std::env::var("UPLIFT_DISK")
        .context("start this by benches/run updaters, which makes a slow disk")?;
    let nginx = Nginx::start(None, UNUSED)?;
    let mut ours = Ours::start()?;
    let content = ours.payload.firmware(&nginx.files(), SIZE)?;
    let root = tempfile::tempdir()?;
    let rauc = Rauc::start(root.path(), &content)?;
    let at = |name: &str| root.path().join(name);
    let (file, device) = (at("installed"), at("device"));
    fill(&device)?;
    let to_file = Swupdate::new("file", &nginx, &content, &Place::File(&file))?;
    let to_device = Swupdate::new("raw image", &nginx, &content, &Place::Device(&device))?;
    let local = at("local");
    std::fs::create_dir(&local)?;
    let mut results = vec![Vec::new(); NAMES.len()];
    let mut peaks = [0.0_f64; NAMES.len()];
    for round in 0..=ROUNDS {
        // The first one is for memory alone: to look at it costs time.
        let samples = round == 0;
        for turn in 0..NAMES.len() {
            settle(root.path())?;
            let which = (round + turn) % NAMES.len();
            let (job, peak) = match which {
                0 => ours.job(&nginx.files(), Some(&nginx), samples)?,
                1 => ours.job(&local, None, samples)?,
                2 => rauc.job(samples)?,
                3 => to_file.job(root.path(), samples)?,
                _ => to_device.job(root.path(), samples)?,
            };
            if samples {
                peaks[which] = peak;
            } else {
                results[which].push(job);
            }
        }
    }
    let of = |value: fn(&Job) -> f64| -> Vec<f64> {
        results.iter().map(|jobs| median(jobs.iter().map(value).collect())).collect()
    };
    let (cpu, bytes, seconds) = (of(|job| job.cpu), of(|job| job.bytes), of(|job| job.seconds));
    let mut rows = Vec::new();
    for which in 0..NAMES.len() {
        let name = format!("64 MiB, {}, a disk {disk}", NAMES[which]);
        rows.extend([
            Row::note(format!("{name}: processor"), 1e3 * cpu[which], "ms"),
            Row::note(format!("{name}: written, of the size"), bytes[which] / SIZE as f64, ""),
            Row::note(format!("{name}: peak memory"), peaks[which], "MiB"),
            Row::note(format!("{name}: time"), seconds[which], "s"),
        ]);
    }
    for (which, ours) in ["URL", "FILE"].into_iter().enumerate() {
        for (others, those) in [("rauc", 2..3), ("the smaller swupdate", 3..5)] {
            let of = |values: &[f64]| {
                values[which] / values[those.clone()].iter().copied().fold(f64::INFINITY, f64::min)
            };
            let name = |what: &str| format!("{what}: install {ours}, of {others}");
            rows.extend([
                Row::at_most(name("processor"), of(&cpu), CPU, ""),
                Row::at_most(name("written"), of(&bytes), 1.0, ""),
                Row::at_most(name("peak memory"), of(&peaks), MEMORY, ""),
            ]);
        }
    }
    Ok(rows)
}

/// What one installation took.
#[derive(Debug, Clone)]
struct Job {
    /// Seconds of processors.
    cpu: f64,
    bytes: f64,
    seconds: f64,
}

/// Measures what `act` does with the members of the group, and a sync; and their memory, if told.
fn job(group: &Group, samples: bool, act: impl FnOnce() -> Result<()>) -> Result<(Job, f64)> {
    let (cpu, sectors) = (group.cpu()?, sectors()?);
    let sampler = samples.then(|| group.sample());
    let began = Instant::now();
    act()?;
    let seconds = began.elapsed().as_secs_f64();
    let peak = sampler.map_or(Ok(0.0), super::group::Sampler::peak)?;
    let cpu = group.cpu()? - cpu;
    Ok((Job { cpu, bytes: written(sectors)?, seconds }, peak))
}

/// As a partition is: all its blocks are there.
fn fill(device: &Path) -> Result<()> {
    std::io::copy(
        &mut std::io::Read::take(std::io::repeat(1), SIZE + MIB),
        &mut File::create(device)?,
    )?;
    Ok(())
}

struct Ours {
    payload: Fetching,
    group: Group,
}

impl Ours {
    fn start() -> Result<Self> {
        let mut payload =
            Fetching::start("[channel.loopback]\nsocket = \"ROOT/run/offers.sock\"\n")?;
        payload.sandbox.start_channels()?;
        let ours = Self { payload, group: Group::new("uplift")? };
        ours.adopt()?;
        Ok(ours)
    }

    fn adopt(&self) -> Result<()> {
        let sandbox = &self.payload.sandbox;
        for process in [sandbox.daemon_pid(), sandbox.channels_pid()] {
            self.group.adopt(process.context("a process that does not run")?)?;
        }
        Ok(())
    }

    /// Of a file in this directory, which a server gives or which is installed itself.
    fn job(
        &mut self,
        directory: &Path,
        server: Option<&Nginx>,
        samples: bool,
    ) -> Result<(Job, f64)> {
        let firmware = self.payload.firmware(directory, SIZE)?;
        let from = match server {
            Some(nginx) => format!("http://{}/{}", nginx.address, name(&firmware)?),
            None => firmware.display().to_string(),
        };
        run(&mut Command::new("sync"))?;
        let mut client = None;
        let install = || {
            let mut within = self.group.command(&self.payload.install(&from));
            client = Some(within.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?);
            self.payload.committed()
        };
        let measured = job(&self.group, samples, install)?;
        self.payload.succeed(client.context("no client")?)?;
        self.adopt()?;
        forget(&firmware);
        Ok(measured)
    }
}

/// Its service, on a bus of its own, which is not counted.
struct Rauc {
    group: Group,
    address: String,
    bundle: PathBuf,
    bus: Child,
    service: Child,
}

impl Rauc {
    fn start(root: &Path, content: &Path) -> Result<Self> {
        let directory = root.join("rauc");
        std::fs::create_dir(&directory)?;
        archives::certify(&directory)?;
        let copy = directory.join("content");
        std::io::copy(&mut File::open(content)?, &mut File::create(&copy)?)?;
        let bundle = archives::bundle(&directory, &copy)?;
        std::fs::create_dir(directory.join("mnt"))?;
        fill(&directory.join("slot"))?;
        let here = directory.display();
        let configuration = format!(
            "[system]\ncompatible=payload\nbootloader=noop\nmountprefix={here}/mnt\nstatusfile={here}/status\n\
             [keyring]\npath={here}/cert.pem\n\
             [slot.rootfs.0]\ndevice={here}/system\ntype=raw\nbootname=system0\n\
             [slot.application.0]\ndevice={here}/slot\ntype=raw\n"
        );
        let file = directory.join("system.conf");
        std::io::Write::write_all(&mut File::create(&file)?, configuration.as_bytes())?;
        let mut bus = Command::new("dbus-daemon")
            .args(["--session", "--nofork", "--print-address"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut address = String::new();
        BufReader::new(bus.stdout.take().context("no output")?).read_line(&mut address)?;
        let group = Group::new("rauc")?;
        let mut service = Command::new("rauc");
        service.arg(format!("--conf={}", file.display()));
        service.args(["--override-boot-slot=system0", "service"]);
        let service = on_bus(&mut group.command(&service), &address)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let this = Self { group, address, bundle, bus, service };
        let wait = ["wait", "--session", "--timeout", "20", "de.pengutronix.rauc"];
        done(on_bus(Command::new("gdbus").args(wait), &this.address))?;
        Ok(this)
    }

    fn job(&self, samples: bool) -> Result<(Job, f64)> {
        let mut install = Command::new("rauc");
        install.arg("install").arg(&self.bundle);
        job(&self.group, samples, || {
            done(on_bus(&mut self.group.command(&install), &self.address))?;
            run(&mut Command::new("sync"))
        })
    }
}

fn on_bus<'a>(command: &'a mut Command, address: &str) -> &'a mut Command {
    let bus = [("DBUS_SESSION_BUS_ADDRESS", address.trim()), ("DBUS_STARTER_BUS_TYPE", "session")];
    command.envs(bus)
}

impl Drop for Rauc {
    fn drop(&mut self) {
        for process in [&mut self.service, &mut self.bus] {
            // It may have ended.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// `swupdate -d`, to one kind of place.
struct Swupdate {
    group: Group,
    work: tempfile::TempDir,
    url: String,
}

impl Swupdate {
    fn new(version: &str, nginx: &Nginx, content: &Path, place: &Place<'_>) -> Result<Self> {
        let version = version.replace(' ', "-");
        let work = tempfile::tempdir_in(nginx.files())?;
        archives::certify(work.path())?;
        let archive = archives::swu(work.path(), &version, content, place)?;
        let below = archive.strip_prefix(nginx.files())?.display().to_string();
        let url = format!("http://{}/{below}", nginx.address);
        Ok(Self { group: Group::new(&version)?, work, url })
    }

    fn job(&self, temporary: &Path, samples: bool) -> Result<(Job, f64)> {
        let mut swupdate = Command::new("swupdate");
        swupdate
            .args(["-H", HARDWARE, "-k", "cert.pem", "-l", "2", "-d"])
            .arg(format!("-u {}", self.url))
            .current_dir(self.work.path())
            .env("TMPDIR", temporary);
        job(&self.group, samples, || {
            let output = self.group.command(&swupdate).stdin(Stdio::null()).output()?;
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            ensure!(output.status.success(), "swupdate: {said}");
            run(&mut Command::new("sync"))
        })
    }
}
