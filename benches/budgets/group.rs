//! Processes that are counted as one: their processor time by a control group (v1), their memory by
//! the sum of their shares.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::process::pss_kib_of_all;

const HIERARCHY: &str = "/sys/fs/cgroup/cpuacct";
const SAMPLE_EVERY: Duration = Duration::from_millis(2);

/// A control group, which must be empty when it is dropped.
pub(crate) struct Group(PathBuf);

impl Group {
    pub(crate) fn new(name: &str) -> Result<Self> {
        let path = PathBuf::from(format!("{HIERARCHY}/uplift-bench-{}-{name}", std::process::id()));
        fs::create_dir(&path).with_context(|| {
            format!("needs root and the cpuacct controller of cgroup v1: {}", path.display())
        })?;
        Ok(Self(path))
    }

    /// A process that runs already belongs to it from now on, with what it starts.
    pub(crate) fn adopt(&self, process: u32) -> Result<()> {
        let mut members = fs::OpenOptions::new().write(true).open(self.0.join("cgroup.procs"))?;
        Ok(write!(members, "{process}")?)
    }

    /// A command that belongs to it from its first instruction on.
    pub(crate) fn command(&self, command: &Command) -> Command {
        let mut within = Command::new("/bin/sh");
        within.args(["-c", "echo $$ >\"$0\" && exec \"$@\""]).arg(self.0.join("cgroup.procs"));
        within.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => within.env(name, value),
                None => within.env_remove(name),
            };
        }
        if let Some(directory) = command.get_current_dir() {
            within.current_dir(directory);
        }
        within
    }

    /// Seconds of processor time that its members have had, those that have ended included.
    pub(crate) fn cpu(&self) -> Result<f64> {
        let nanoseconds: f64 = fs::read_to_string(self.0.join("cpuacct.usage"))?.trim().parse()?;
        Ok(nanoseconds / 1e9)
    }

    /// Watches the memory of all members.
    pub(crate) fn sample(&self) -> Sampler {
        let (path, stop) = (self.0.join("cgroup.procs"), Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut peak = 0;
            while !stopped.load(Ordering::Relaxed) {
                let members = fs::read_to_string(&path)?;
                let members: Vec<u32> =
                    members.lines().filter_map(|line| line.parse().ok()).collect();
                peak = peak.max(pss_kib_of_all(&members));
                thread::sleep(SAMPLE_EVERY);
            }
            Ok(peak)
        });
        Sampler { stop, thread }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // With a member left it stays, and does no harm.
        let _ = fs::remove_dir(&self.0);
    }
}

/// The memory of a group while it works.
pub(crate) struct Sampler {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<u64>>,
}

impl Sampler {
    /// The largest sum of proportional set sizes in MiB.
    pub(crate) fn peak(self) -> Result<f64> {
        self.stop.store(true, Ordering::Relaxed);
        let Ok(peak) = self.thread.join() else { bail!("the sampler crashed") };
        Ok(peak? as f64 / 1024.0)
    }
}
