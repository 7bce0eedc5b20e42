//! What the kernel tells of a process.

use std::fs;
use std::ops::Deref;
use std::process::Child;

use anyhow::{Context as _, Result};

/// A process that ends with this.
pub(crate) struct Ended(Child);

impl From<Child> for Ended {
    fn from(child: Child) -> Self {
        Self(child)
    }
}

impl Deref for Ended {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Proportional set size in KiB: its own memory, and its share of what it shares.
pub(crate) fn pss_kib(pid: u32) -> Result<u64> {
    field(&fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?, "Pss:")
}

/// The same of all of these together, in KiB; of those that have ended nothing. One that has not begun its own
/// program yet has still all of its parent's memory (vfork), which counts once.
pub(crate) fn pss_kib_of_all(pids: &[u32]) -> u64 {
    let own = pids.iter().filter(|pid| !pids.iter().any(|other| is_still(**pid, *other)));
    own.filter_map(|pid| pss_kib(*pid).ok()).sum()
}

/// Whether a process is a child of the other one and has its command line still.
fn is_still(pid: u32, parent: u32) -> bool {
    let command = |pid: u32| fs::read(format!("/proc/{pid}/cmdline")).ok();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok();
    let is_child = status.and_then(|text| field(&text, "PPid:").ok()) == Some(parent.into());
    is_child && command(pid) == command(parent)
}

/// The processes that it has started and that are still there.
pub(crate) fn children(pid: u32) -> Result<Vec<u32>> {
    let mut children = Vec::new();
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may have ended meanwhile.
        let text = fs::read_to_string(thread?.path().join("children")).unwrap_or_default();
        children.extend(text.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
    }
    Ok(children)
}

/// Processor time in seconds of the children that have ended, theirs included.
pub(crate) fn time_of_children() -> Result<f64> {
    let times = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_CHILDREN)?;
    let seconds =
        |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    Ok(seconds(times.user_time()) + seconds(times.system_time()))
}

/// What it has resident now, in KiB.
pub(crate) fn resident_kib(pid: u32) -> Result<u64> {
    field(&fs::read_to_string(format!("/proc/{pid}/status"))?, "VmRSS:")
}

/// The most memory that it ever had resident, in KiB.
pub(crate) fn peak_resident_kib(pid: u32) -> Result<u64> {
    field(&fs::read_to_string(format!("/proc/{pid}/status"))?, "VmHWM:")
}

/// How often its threads went to sleep, and so were woken. A thread that was merely interrupted by
/// others is not counted.
pub(crate) fn wake_ups(pid: u32) -> Result<u64> {
    let mut sum = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        sum +=
            field(&fs::read_to_string(thread?.path().join("status"))?, "voluntary_ctxt_switches:")?;
    }
    Ok(sum)
}

fn field(text: &str, name: &str) -> Result<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .with_context(|| format!("no field {name}"))?;
    Ok(line.split_whitespace().next().context("an empty field")?.parse()?)
}
