//! What a payload uses, as the kernel tells, and how much more of it is too much.

use std::fmt;
use std::fs;
use std::path::Path;

/// KiB that a process may grow by: the history fills up to its length, and a heap is never quite
/// the same.
const MEMORY_ALLOWANCE: u64 = 1024;

/// A process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    /// Proportional set size in KiB. What is mapped of the program counts by how many processes
    /// share it just then.
    pss: u64,
    /// The part of it in KiB that is no file's: heap and stacks, where a leak would be.
    anonymous: u64,
    descriptors: usize,
    threads: usize,
    /// Children, those included that ended and were not waited for.
    children: usize,
}

/// Names in a directory, and the bytes of all files below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Left {
    names: Vec<String>,
    bytes: u64,
}

/// What a payload uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) daemon: Process,
    pub(crate) ftp_server: Option<Process>,
    pub(crate) stage: Left,
    pub(crate) state: Left,
    pub(crate) uploads: Left,
    pub(crate) programs: Left,
    pub(crate) files: Left,
}

impl Process {
    pub(crate) fn read(pid: u32) -> Self {
        let process = Path::new("/proc").join(pid.to_string());
        let memory = fs::read_to_string(process.join("smaps_rollup")).unwrap();
        let kib = |name: &str| -> u64 {
            let value = memory.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            value.split_whitespace().next().unwrap().parse().unwrap()
        };
        let threads: Vec<_> = fs::read_dir(process.join("task")).unwrap().flatten().collect();
        // A thread may end while it is looked at.
        let children = threads
            .iter()
            .map(|thread| fs::read_to_string(thread.path().join("children")).unwrap_or_default());
        Self {
            pss: kib("Pss:"),
            anonymous: kib("Pss_Anon:"),
            descriptors: fs::read_dir(process.join("fd")).unwrap().count(),
            threads: threads.len(),
            children: children.map(|pids| pids.split_whitespace().count()).sum(),
        }
    }

    fn or_less(self, other: &Self) -> Self {
        Self {
            pss: self.pss,
            anonymous: self.anonymous,
            descriptors: self.descriptors.min(other.descriptors),
            threads: self.threads.min(other.threads),
            children: self.children.min(other.children),
        }
    }

    fn growth_since(&self, first: &Self, name: &str) -> Vec<String> {
        let mut grown = Vec::new();
        let mut compare = |what: &str, before: u64, now: u64, allowance: u64| {
            if now > before + allowance {
                grown.push(format!("{name}: {before} {what} became {now}"));
            }
        };
        compare("KiB of its own", first.anonymous, self.anonymous, MEMORY_ALLOWANCE);
        compare("descriptors", first.descriptors as u64, self.descriptors as u64, 0);
        compare("threads", first.threads as u64, self.threads as u64, 0);
        compare("children", first.children as u64, self.children as u64, 0);
        grown
    }
}

impl Usage {
    /// This, with the counts of another reading where they are less.
    pub(crate) fn or_less(self, other: &Self) -> Self {
        let server =
            self.ftp_server.zip(other.ftp_server.as_ref()).map(|(now, other)| now.or_less(other));
        Self { daemon: self.daemon.or_less(&other.daemon), ftp_server: server, ..self }
    }

    /// What is more than it was, beyond the allowances. The names of the files must be the same;
    /// there is no allowance for descriptors, threads and children.
    pub(crate) fn growth_since(&self, first: &Self) -> Vec<String> {
        let mut grown = self.daemon.growth_since(&first.daemon, "daemon");
        if let (Some(now), Some(before)) = (&self.ftp_server, &first.ftp_server) {
            grown.extend(now.growth_since(before, "FTP server"));
        }
        for (name, now, kept) in [
            ("stage", &self.stage, &["lock", "payload.failed", "payload.previous"][..]),
            ("state", &self.state, &["history.json", "lock", "state.json"]),
            ("upload area", &self.uploads, &[]),
            ("program's directory", &self.programs, &[".uplift", "payload"]),
        ] {
            let others: Vec<_> =
                now.names.iter().filter(|name| !kept.contains(&name.as_str())).collect();
            if !others.is_empty() {
                grown.push(format!("{name}: {others:?} left behind"));
            }
        }
        if self.files.names != first.files.names {
            grown.push(format!(
                "the payload: {:?} became {:?}",
                first.files.names, self.files.names
            ));
        }
        grown
    }
}

/// What lies in a directory; nothing where there is none.
pub(crate) fn left_in(directory: &Path) -> Left {
    let entries: Vec<_> = fs::read_dir(directory).into_iter().flatten().flatten().collect();
    let mut names: Vec<String> =
        entries.iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    let bytes = entries
        .iter()
        .filter_map(|entry| entry.metadata().ok())
        .filter(fs::Metadata::is_file)
        .map(|file| file.len())
        .sum();
    Left { names, bytes }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pss, anonymous, descriptors, threads, children } = self;
        write!(
            f,
            "{pss} KiB ({anonymous} its own), {descriptors} descriptors, {threads} threads, {children} children"
        )
    }
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} files of {} bytes", self.names.len(), self.bytes)
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "daemon {}", self.daemon)?;
        if let Some(server) = &self.ftp_server {
            write!(f, "; FTP server {server}")?;
        }
        write!(f, "; stage {}, state {}, uploads {}", self.stage, self.state, self.uploads)
    }
}
