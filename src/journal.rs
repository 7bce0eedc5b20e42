//! The only writer of the state file and the history.
//!
//! Both are JSON that a person can read, written whole and atomically, durable before the call returns. A damaged or
//! unknown file is set aside under another name, reported in a notice, and never stops the daemon.
//!
//! | file | field | meaning |
//! |---|---|---|
//! | `state.json` | `format` | 1; another number is set aside as damaged |
//! | | `upgrade` | the [`State`] of an upgrade that a restart must find again, or `null` |
//! | | `unacknowledged` | reports that their receivers have not acknowledged, one a channel |
//! | | `installed` | version and digest of the program that `uplift` installed last |
//! | | `known_bad` | digests of programs that failed on trial |
//! | `history.json` | `format` | 1 |
//! | | `reports` | the last [`HISTORY_LENGTH`] reports, oldest first |

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::disk::{self, Disk, LocalDisk};
use crate::machine::State;
use crate::model::{Channel, Outcome, Report};
use crate::package::digest::ProgramDigest;
use crate::package::version::Version;

/// How many reports the history keeps.
pub const HISTORY_LENGTH: usize = 100;
/// How many known-bad digests are kept; the oldest is forgotten first.
const KNOWN_BAD_LENGTH: usize = 100;
/// Number of the format of both files.
const FORMAT: u32 = 1;
/// Largest file that is read: both are far smaller, and a damaged one must not fill the memory.
const LARGEST_FILE: u64 = 4 << 20;
const STATE_FILE: &str = "state.json";
const HISTORY_FILE: &str = "history.json";

/// Version and digest of the program that `uplift` installed last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstalledRecord {
    /// Version by the package's name.
    pub version: Version,
    /// Digest of the program.
    pub digest: ProgramDigest,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StateFile {
    format: u32,
    upgrade: Option<State>,
    unacknowledged: Vec<Report>,
    installed: Option<InstalledRecord>,
    known_bad: Vec<ProgramDigest>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HistoryFile {
    format: u32,
    reports: Vec<Report>,
}

/// The journal of one daemon.
#[derive(Debug, Clone)]
pub struct Journal {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    state: StateFile,
    history: HistoryFile,
}

/// A file of the journal that could not be used, and where it lies now.
#[derive(Debug, thiserror::Error)]
#[error("{} is damaged and was set aside as {}: {why}", file.display(), set_aside.display())]
pub struct Damaged {
    file: PathBuf,
    set_aside: PathBuf,
    why: String,
}

impl Journal {
    /// Opens the journal in `directory`, which is made if it is missing. Damaged files come back beside it.
    pub fn open(directory: &Path) -> io::Result<(Self, Vec<Damaged>)> {
        Self::open_on(Arc::new(LocalDisk), directory)
    }

    fn open_on(disk: Arc<dyn Disk>, directory: &Path) -> io::Result<(Self, Vec<Damaged>)> {
        std::fs::create_dir_all(directory)?;
        let mut damaged = Vec::new();
        let state: StateFile = read(directory, STATE_FILE, |file: &StateFile| file.format, &mut damaged);
        let history: HistoryFile = read(directory, HISTORY_FILE, |file: &HistoryFile| file.format, &mut damaged);
        let mut journal = Self { disk, directory: directory.to_owned(), state, history };
        journal.state.format = FORMAT;
        journal.history.format = FORMAT;
        if let Err(error) = journal.complete_history() {
            // It stands in memory, and the next report writes it too.
            tracing::warn!("the history can't be written: {error}");
        }
        Ok((journal, damaged))
    }

    /// A report reaches the state file first; a crash between the two writes must not cost the history its entry.
    fn complete_history(&mut self) -> io::Result<()> {
        let missing: Vec<Report> = self.state.unacknowledged.iter().filter(|report| !self.knows(report)).cloned().collect();
        if missing.is_empty() { Ok(()) } else { self.append_history(missing) }
    }

    fn knows(&self, report: &Report) -> bool {
        self.history.reports.iter().any(|known| known.id == report.id)
    }

    /// The upgrade that the last daemon left.
    pub fn upgrade(&self) -> Option<&State> {
        self.state.upgrade.as_ref()
    }

    /// Reports that their receivers have not acknowledged.
    pub fn unacknowledged(&self) -> &[Report] {
        &self.state.unacknowledged
    }

    /// The last reports, oldest first.
    pub fn history(&self) -> &[Report] {
        &self.history.reports
    }

    /// What `uplift` installed last.
    pub fn installed(&self) -> Option<InstalledRecord> {
        self.state.installed
    }

    /// Programs that failed on trial.
    pub fn known_bad(&self) -> &[ProgramDigest] {
        &self.state.known_bad
    }

    /// Writes down where the upgrade is.
    pub fn record(&mut self, state: &State) -> io::Result<()> {
        self.change_state(|file| file.upgrade = Some(state.clone()))
    }

    /// Writes down the end of an upgrade: the report is kept until it is acknowledged (unless `acknowledged` says that
    /// it has no receiver), and in the history.
    pub fn conclude(&mut self, report: &Report, acknowledged: bool) -> io::Result<()> {
        let kept = self.change_state(|file| {
            file.upgrade = None;
            file.unacknowledged.retain(|other| other.request.channel != report.request.channel);
            if !acknowledged {
                file.unacknowledged.push(report.clone());
            }
            let Some(package) = &report.package else { return };
            let blamed = report.failure.as_ref().is_some_and(|failure| failure.kind.blames_program());
            if report.outcome == Outcome::Succeeded || blamed {
                file.known_bad.retain(|digest| *digest != package.program_digest);
            }
            if report.outcome == Outcome::Succeeded {
                file.installed = Some(InstalledRecord { version: package.version, digest: package.program_digest });
            } else if blamed {
                file.known_bad.push(package.program_digest);
                let excess = file.known_bad.len().saturating_sub(KNOWN_BAD_LENGTH);
                file.known_bad.drain(..excess);
            }
        });
        // Each file for itself: a state file that can't be written must not cost the history its entry.
        kept.and(self.append_history(vec![report.clone()]))
    }

    /// Forgets the unacknowledged report of a channel.
    pub fn acknowledge(&mut self, channel: Channel) -> io::Result<()> {
        self.change_state(|file| file.unacknowledged.retain(|report| report.request.channel != channel))
    }

    fn append_history(&mut self, reports: Vec<Report>) -> io::Result<()> {
        // A report that could not be kept is made again by the next daemon.
        self.history.reports.retain(|known| reports.iter().all(|report| report.id != known.id));
        self.history.reports.extend(reports);
        let excess = self.history.reports.len().saturating_sub(HISTORY_LENGTH);
        self.history.reports.drain(..excess);
        write(&*self.disk, &self.directory, HISTORY_FILE, &self.history)
    }

    /// The change stands in memory even when the disk refuses it: the daemon goes on with the truth that it knows.
    fn change_state(&mut self, change: impl FnOnce(&mut StateFile)) -> io::Result<()> {
        let before = self.state.clone();
        change(&mut self.state);
        if self.state == before { Ok(()) } else { write(&*self.disk, &self.directory, STATE_FILE, &self.state) }
    }
}

fn write(disk: &dyn Disk, directory: &Path, name: &str, value: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    disk::write_atomic(disk, directory, name, &text)
}

fn read<T: DeserializeOwned + Default>(directory: &Path, name: &str, format: impl Fn(&T) -> u32, damaged: &mut Vec<Damaged>) -> T {
    let path = directory.join(name);
    let why = match read_limited(&path) {
        Ok(None) => return T::default(),
        Ok(Some(text)) => match serde_json::from_slice::<T>(&text) {
            Ok(value) if format(&value) == FORMAT => return value,
            Ok(value) => format!("format {} is not known to this version", format(&value)),
            Err(error) => error.to_string(),
        },
        Err(error) => error.to_string(),
    };
    let set_aside = free_name(directory, name);
    let why = match std::fs::rename(&path, &set_aside) {
        Ok(()) => why,
        Err(error) => format!("{why}; it could not be moved: {error}"),
    };
    damaged.push(Damaged { file: path, set_aside, why });
    T::default()
}

fn read_limited(path: &Path) -> io::Result<Option<Vec<u8>>> {
    use io::Read;
    let file = match std::fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let mut text = Vec::new();
    file.take(LARGEST_FILE + 1).read_to_end(&mut text)?;
    if text.len() as u64 > LARGEST_FILE { Err(io::Error::other("the file is too large")) } else { Ok(Some(text)) }
}

/// `state.json.damaged`, or the first free number behind it; the tenth is overwritten, so that damage can't fill a disk.
fn free_name(directory: &Path, name: &str) -> PathBuf {
    let mut candidates =
        (1..=10).map(|number| directory.join(if number == 1 { format!("{name}.damaged") } else { format!("{name}.damaged.{number}") }));
    candidates.clone().find(|path| !path.exists()).or_else(|| candidates.next_back()).unwrap_or_default()
}

/// The wall clock for people to read, RFC 3339 in UTC. Nothing may depend on it.
#[allow(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub fn stamp() -> String {
    humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string()
}

#[cfg(test)]
mod tests;
