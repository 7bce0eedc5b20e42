//! A payload in a sandbox that runs the shipped binary, and upgrades of it by a simulated aircraft,
//! step by step with their times.

use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use uplift_sim::Version;
use uplift_sim::aircraft::{self, Options, Step, Verdict, Via};
use uplift_sim::line::{Line, LineOptions, Port, PtyLine};
use uplift_sim::ports::free_address;
use uplift_sim::sandbox::Sandbox;

pub(crate) const MIB: u64 = 1 << 20;
/// A program that is whole pages has the bytes behind it where they were in a file of their own.
const PAGE: u64 = 4096;
/// The fastest rate that is usual.
pub(crate) const BAUD: u32 = 921_600;
/// Longer than any upgrade here: 31 MB over DCFTP take 390 s, and twice as long where others work.
const UPGRADE: Duration = Duration::from_secs(1800);

/// The binary as it is shipped, which `benches/run` builds. It is read from the disk, as after a
/// boot: one that was just written has larger folios in memory, of which more is mapped at a touch.
pub(crate) fn shipped() -> Result<PathBuf> {
    let path: PathBuf = std::env::var_os("UPLIFT_SHIPPED")
        .context("start this with benches/run, which builds the binary that is measured")?
        .into();
    let file = File::open(&path)?;
    file.sync_all()?;
    let advice = nix::fcntl::PosixFadviseAdvice::POSIX_FADV_DONTNEED;
    nix::fcntl::posix_fadvise(&file, 0, 0, advice)?;
    Ok(path)
}

pub(crate) struct Payload {
    pub(crate) sandbox: Sandbox,
    line: PtyLine,
    installed: u8,
    /// Where the FTP server listens.
    pub(crate) ftp: SocketAddr,
}

/// An aircraft at work.
pub(crate) struct Aircraft {
    thread: JoinHandle<(Verdict, Vec<(Instant, Step)>)>,
}

/// An upgrade up to its restart, seen from outside.
pub(crate) struct Upgrade {
    steps: Vec<(Instant, Step)>,
    /// Requests that the aircraft sent again, for want of an answer in time.
    pub(crate) repeats: u32,
    /// When the daemon asked for the restart: everything before it is committed.
    pub(crate) restart_requested: Instant,
    /// Sectors that were written to the disk by then, since it is there.
    pub(crate) sectors: u64,
    /// From the aircraft's first frame to the verdict that it was told.
    pub(crate) whole: Duration,
}

impl Upgrade {
    /// When the aircraft came to a step for the first time.
    pub(crate) fn first(&self, wanted: impl Fn(&Step) -> bool) -> Result<Instant> {
        self.steps
            .iter()
            .find(|(_, step)| wanted(step))
            .map(|(at, _)| *at)
            .context("the aircraft did not come to a step")
    }

    /// Bytes handed over, and when.
    pub(crate) fn transferred(&self) -> impl DoubleEndedIterator<Item = (Instant, u64)> {
        self.steps.iter().filter_map(|(at, step)| match step {
            Step::Transferred { bytes, .. } => Some((*at, *bytes)),
            _ => None,
        })
    }
}

impl Payload {
    /// With a program of `size` bytes; nothing runs yet.
    pub(crate) fn new(size: Option<u64>) -> Result<Self> {
        Self::of(&shipped()?, size)
    }

    /// The same with this `uplift`.
    pub(crate) fn of(uplift: &Path, size: Option<u64>) -> Result<Self> {
        let mut sandbox = Sandbox::new(uplift)?;
        // As in the units.
        sandbox.set_environment("MALLOC_ARENA_MAX", "1");
        let ftp = free_address()?;
        let sections = sandbox.link_sections(&BAUD, ftp);
        sandbox.install_by_hand(version(1))?;
        if let Some(size) = size {
            let firmware = sandbox.firmware(version(1), Some(size))?;
            std::io::copy(&mut File::open(firmware)?, &mut File::create(sandbox.program())?)?;
        }
        sandbox.configure(&sandbox.restart_line(), &sections)?;
        let line = PtyLine::new(sandbox.root().join("run/ttyPayload"))
            .context("no pseudo-terminal can be made")?;
        Ok(Self { sandbox, line, installed: 1, ftp })
    }

    /// A newer program than any before.
    pub(crate) fn next_firmware(&mut self, size: u64) -> Result<PathBuf> {
        self.installed += 1;
        self.sandbox.firmware(version(self.installed), Some(size))
    }

    /// The same, with these bytes behind its end.
    pub(crate) fn next_firmware_with(&mut self, behind: &[u8]) -> Result<PathBuf> {
        let firmware = self.next_firmware(PAGE)?;
        File::options().append(true).open(&firmware)?.write_all(behind)?;
        Ok(firmware)
    }

    /// Installs the program of a firmware file by hand.
    pub(crate) fn install(&self, firmware: &Path) -> Result<()> {
        std::io::copy(&mut File::open(firmware)?, &mut File::create(self.sandbox.program())?)?;
        Ok(())
    }

    /// An aircraft at the other end of the line, which holds a real line's pace if `baud` is given.
    pub(crate) fn aircraft(&self, options: Options, baud: Option<u32>) -> Aircraft {
        let line = Line::new(
            Port::made(self.line.clone()),
            &LineOptions { baud, ..LineOptions::default() },
        );
        let thread = thread::spawn(move || {
            let mut steps = Vec::new();
            let verdict = aircraft::run(&options, line, &mut |step| {
                steps.push((Instant::now(), step.clone()));
            });
            (verdict, steps)
        });
        Aircraft { thread }
    }

    /// Upgrades with a file up to the restart, and restarts.
    pub(crate) fn upgrade(
        &mut self,
        firmware: &Path,
        via: Via,
        baud: Option<u32>,
    ) -> Result<Upgrade> {
        self.upgrade_with(Options { via, ..Options::new(firmware) }, baud)
    }

    /// The same by an aircraft of these options.
    pub(crate) fn upgrade_with(&mut self, options: Options, baud: Option<u32>) -> Result<Upgrade> {
        let began = Instant::now();
        let aircraft = self.aircraft(options, baud);
        let requested =
            self.sandbox.wait_for_restart_request_within(UPGRADE).map(|()| Instant::now());
        let sectors = super::disk::sectors()?;
        let restarted = requested.and_then(|at| self.sandbox.reboot().map(|()| at));
        let (verdict, steps) = aircraft.wait()?;
        let whole = began.elapsed();
        let restart_requested =
            restarted.with_context(|| format!("the aircraft says: {}", verdict.message))?;
        ensure!(verdict.is_success(), "the upgrade failed: {}", verdict.message);
        Ok(Upgrade { steps, restart_requested, repeats: verdict.repeats, sectors, whole })
    }
}

impl Aircraft {
    pub(crate) fn wait(self) -> Result<(Verdict, Vec<(Instant, Step)>)> {
        let Ok(ended) = self.thread.join() else { bail!("the simulated aircraft crashed") };
        Ok(ended)
    }
}

fn version(number: u8) -> Version {
    Version([number, 0, 0, 0])
}
