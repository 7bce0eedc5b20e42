//! The only writer of the state file and the history.
//!
//! Both are JSON that a person can read, written whole and atomically, durable before the call returns. A damaged or
//! unknown file is set aside under another name, reported in a notice, and never stops the daemon. Of a state file in the form
//! of another version all is kept that can be read (`salvage`): a daemon that was rolled back must not let in again what it
//! refused before. What became of an upgrade whose state is lost, the rescue may know.
//!
//! | file | field | meaning |
//! |---|---|---|
//! | `state.json` | `format` | 1; with another number the fields below are taken over one by one |
//! | | `upgrade` | the [`State`] of an upgrade that a restart must find again, or `null`; a trial of another version's form stays as it is |
//! | | `unacknowledged` | reports that their receivers have not acknowledged, one a channel |
//! | | `installed` | version and digest of the program that `uplift` installed last |
//! | | `previous` | the same of the program that this one replaced, if `uplift` had installed that too |
//! | | `known_bad` | digests of programs that failed on trial, or were rolled back by hand |
//! | | `minimum_version` | highest version that ever succeeded, or `null`; never lowered. May be absent |
//! | `history.json` | `format` | 1 |
//! | | `reports` | the last [`HISTORY_LENGTH`] reports, oldest first |

mod lost;
mod salvage;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::disk::{self, Disk, LocalDisk, Operation};
use crate::log::{self, About, message};
use crate::machine::State;
use crate::model::{Channel, Failure, FailureKind, Outcome, Report};
use crate::package::digest::ProgramDigest;
use crate::package::version::Version;

use salvage::Salvaged;

/// How many reports the history keeps.
pub const HISTORY_LENGTH: usize = 100;
/// How many known-bad digests are kept; the oldest is forgotten first.
const KNOWN_BAD_LENGTH: usize = 100;
/// Number of the format of both files.
const FORMAT: u32 = 1;
/// Largest file that is read: both are far smaller, and a damaged one must not fill the memory.
const LARGEST_FILE: u64 = 4 << 20;
pub(crate) const STATE_FILE: &str = "state.json";
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
    upgrade: Recorded,
    unacknowledged: Vec<Report>,
    installed: Option<InstalledRecord>,
    #[serde(default)]
    previous: Option<InstalledRecord>,
    known_bad: Vec<ProgramDigest>,
    #[serde(default)]
    minimum_version: Option<Version>,
}

/// The upgrade that a restart must find again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, try_from = "Value")]
enum Recorded {
    Known(Option<Box<State>>),
    /// A trial in the form of another version: its words stay for `uplift-rescue`, which can read enough of them.
    Foreign(Value),
}

impl Default for Recorded {
    fn default() -> Self {
        Self::Known(None)
    }
}

impl TryFrom<Value> for Recorded {
    type Error = serde_json::Error;

    fn try_from(upgrade: Value) -> Result<Self, Self::Error> {
        match Option::deserialize(&upgrade) {
            Ok(state) => Ok(Self::Known(state)),
            Err(_) if upgrade.get("swap").is_some() => Ok(Self::Foreign(upgrade)),
            Err(error) => Err(error),
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HistoryFile {
    format: u32,
    reports: Vec<Report>,
}

impl StateFile {
    /// A program that failed on trial; the newest is last.
    fn remember_bad(&mut self, program: ProgramDigest) {
        self.known_bad.retain(|digest| *digest != program);
        self.known_bad.push(program);
        let excess = self.known_bad.len().saturating_sub(KNOWN_BAD_LENGTH);
        self.known_bad.drain(..excess);
    }
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
#[error("{} is damaged or another version's, and was set aside as {}: {why}", file.display(), set_aside.display())]
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

    /// [`Journal::open`] on a disk of the caller's.
    pub(crate) fn open_on(disk: Arc<dyn Disk>, directory: &Path) -> io::Result<(Self, Vec<Damaged>)> {
        std::fs::create_dir_all(directory)?;
        let mut damaged = Vec::new();
        let (state, lost) = match read(directory, STATE_FILE, |file: &StateFile| file.format) {
            Ok(Some(state)) => (state, false),
            Ok(None) => (StateFile::default(), true),
            Err(unusable) => match unusable.text.as_deref().and_then(salvage::state) {
                Some(Salvaged { state, lost }) => {
                    damaged.push(unusable.replace(&*disk, directory, STATE_FILE, &state));
                    (state, lost)
                }
                None => {
                    damaged.push(unusable.set_aside(&*disk, directory, STATE_FILE));
                    (StateFile::default(), true)
                }
            },
        };
        let history = read(directory, HISTORY_FILE, |file: &HistoryFile| file.format).unwrap_or_else(|unusable| {
            damaged.push(unusable.set_aside(&*disk, directory, HISTORY_FILE));
            None
        });
        let lost = lost || matches!(state.upgrade, Recorded::Foreign(_));
        let mut journal = Self { disk, directory: directory.to_owned(), state, history: history.unwrap_or_default() };
        journal.state.format = FORMAT;
        journal.history.format = FORMAT;
        if let Err(error) = journal.complete_history() {
            // It stands in memory, and the next report writes it too.
            warn("the history can't be written", error);
        }
        if lost {
            journal.absorb_rescue();
        }
        Ok((journal, damaged))
    }

    /// The report that the rescue has to make up for: the state of its trial is lost, or in the format of a newer daemon that
    /// was rolled back.
    fn absorb_rescue(&mut self) {
        let Some((report, on_trial)) = lost::report(&self.directory) else { return };
        let is_it = |known: &Report| known.id == report.id;
        if self.history.reports.split_last().is_some_and(|(_, earlier)| earlier.iter().any(is_it)) {
            return; // told long ago; only the newest one may lack its other half
        }
        log::about(Some(&About::report(&report)));
        let kind = report.failure.as_ref().map(|failure| tracing::field::display(failure.kind));
        let id = message::of_outcome(report.outcome);
        tracing::warn!(
            MESSAGE_ID = id,
            UPLIFT_KIND = kind,
            "the state of an upgrade is lost; it is only known that it was {}",
            report.outcome
        );
        if report.blames_program() {
            self.state.remember_bad(on_trial); // the report may not know its package
        }
        let concluded = self.conclude(&report, !report.request.channel.acknowledges());
        // Even where nothing has changed: the state is not lost any more.
        let kept = concluded.and_then(|()| write(&*self.disk, &self.directory, STATE_FILE, &self.state));
        if let Err(error) = kept {
            warn("the report of a lost upgrade can't be written", error); // it stands in memory, and the next start tries again
        }
        log::about(None);
    }

    /// A history that could not be written when a report was made lacks its entry.
    fn complete_history(&mut self) -> io::Result<()> {
        let missing: Vec<Report> = self.state.unacknowledged.iter().filter(|report| !self.knows(report)).cloned().collect();
        if missing.is_empty() { Ok(()) } else { self.append_history(missing) }
    }

    fn knows(&self, report: &Report) -> bool {
        self.history.reports.iter().any(|known| known.id == report.id)
    }

    /// The upgrade that the last daemon left.
    pub fn upgrade(&self) -> Option<&State> {
        match &self.state.upgrade {
            Recorded::Known(state) => state.as_deref(),
            Recorded::Foreign(_) => None,
        }
    }

    /// Whether it left a trial in the form of another version, of which this one knows nothing and the rescue enough.
    pub fn has_foreign_trial(&self) -> bool {
        matches!(self.state.upgrade, Recorded::Foreign(_))
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

    /// What it installed before that.
    pub fn previous(&self) -> Option<InstalledRecord> {
        self.state.previous
    }

    /// Programs that failed on trial, or were rolled back by hand.
    pub fn known_bad(&self) -> &[ProgramDigest] {
        &self.state.known_bad
    }

    /// The highest version that ever succeeded here. An older file does not come back, were it signed ten times.
    pub fn minimum_version(&self) -> Option<Version> {
        self.state.minimum_version
    }

    /// Writes down where the upgrade is.
    pub fn record(&mut self, state: &State) -> io::Result<()> {
        self.change_state(|file| file.upgrade = Recorded::Known(Some(Box::new(state.clone()))))
    }

    /// Writes down the end of an upgrade: the report is kept until it is acknowledged (unless `acknowledged` says that
    /// it has no receiver), and in the history.
    pub fn conclude(&mut self, report: &Report, acknowledged: bool) -> io::Result<()> {
        // The history first: until it is durable the state file holds the upgrade, and the next daemon concludes it again.
        let listed = self.append_history(vec![report.clone()]);
        let kept = self.change_state(|file| {
            file.upgrade = Recorded::Known(None);
            file.unacknowledged.retain(|other| other.request.channel != report.request.channel);
            if !acknowledged {
                file.unacknowledged.push(report.clone());
            }
            let Some(package) = &report.package else { return };
            let digest = package.program_digest;
            if report.outcome == Outcome::Succeeded {
                let installed = file.installed.replace(InstalledRecord { version: package.version, digest });
                file.previous = installed.filter(|installed| installed.digest != digest).or(file.previous);
                file.minimum_version = file.minimum_version.max(Some(package.version));
                file.known_bad.retain(|bad| *bad != digest);
            } else if report.blames_program() {
                file.remember_bad(digest);
            }
            if report.outcome == Outcome::RolledBack && file.installed.is_some_and(|installed| installed.digest == digest) {
                file.installed = file.previous.take();
            }
        });
        // Each file for itself: what can't be written in one must not cost the other its entry.
        listed.and(kept)
    }

    /// Forgets the unacknowledged report of a channel.
    pub fn acknowledge(&mut self, channel: Channel) -> io::Result<()> {
        self.change_state(|file| file.unacknowledged.retain(|report| report.request.channel != channel))
    }

    fn append_history(&mut self, reports: Vec<Report>) -> io::Result<()> {
        // An upgrade whose end was written here only is concluded again by the next daemon.
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

fn warn(sentence: &str, error: io::Error) {
    let failure = Failure::from_io(FailureKind::Internal, sentence, error);
    tracing::warn!(MESSAGE_ID = message::TROUBLE, UPLIFT_KIND = %failure.kind, "{failure}");
}

fn write(disk: &dyn Disk, directory: &Path, name: &str, value: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    disk::write_atomic(disk, directory, name, &text)
}

/// A file that can't be used as it is, and what it holds, as far as that was read.
struct Unusable {
    text: Option<Vec<u8>>,
    why: String,
}

impl Unusable {
    /// Gives it another name.
    fn set_aside(self, disk: &dyn Disk, directory: &Path, name: &str) -> Damaged {
        let (file, set_aside) = (directory.join(name), directory.join(free_name(directory, name)));
        let why = match disk.apply(Operation::Rename { from: &file, to: &set_aside }) {
            Ok(()) => self.why,
            Err(error) => format!("{}; it could not be moved: {error}", self.why),
        };
        Damaged { file, set_aside, why }
    }

    /// Puts `salvaged` in its place. A copy is set aside, so that no power cut finds neither.
    fn replace(self, disk: &dyn Disk, directory: &Path, name: &str, salvaged: &impl Serialize) -> Damaged {
        let copy = free_name(directory, name);
        let text = self.text.unwrap_or_default();
        let replaced = disk::write_atomic(disk, directory, &copy, &text).and_then(|()| write(disk, directory, name, salvaged));
        let why = match replaced {
            Ok(()) => format!("{}; what can be read of it was kept", self.why),
            Err(error) => format!("{}; it could not be replaced: {error}", self.why),
        };
        Damaged { file: directory.join(name), set_aside: directory.join(copy), why }
    }
}

/// Nothing where there is no such file.
fn read<T: DeserializeOwned>(directory: &Path, name: &str, format: impl Fn(&T) -> u32) -> Result<Option<T>, Unusable> {
    let text = match disk::read_limited(&directory.join(name), LARGEST_FILE) {
        Ok(None) => return Ok(None),
        Ok(Some(text)) => text,
        Err(error) => return Err(Unusable { text: None, why: error.to_string() }),
    };
    let why = match serde_json::from_slice::<T>(&text) {
        Ok(value) if format(&value) == FORMAT => return Ok(Some(value)),
        Ok(value) => format!("format {} is not known to this version", format(&value)),
        Err(error) => error.to_string(),
    };
    Err(Unusable { text: Some(text), why })
}

/// `state.json.damaged`, or the first free number behind it; the tenth is overwritten, so that damage can't fill a disk.
fn free_name(directory: &Path, name: &str) -> String {
    let mut candidates = (1..=10).map(|number| if number == 1 { format!("{name}.damaged") } else { format!("{name}.damaged.{number}") });
    candidates.clone().find(|name| !directory.join(name).exists()).or_else(|| candidates.next_back()).unwrap_or_default()
}

/// The wall clock for people to read, RFC 3339 in UTC. Nothing may depend on it.
#[allow(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub fn stamp() -> String {
    humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string()
}

#[cfg(test)]
mod tests;
