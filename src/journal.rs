//! The only writer of the state file and the history.
//!
//! Both are JSON that a person can read, written whole and atomically, durable before the call
//! returns. A damaged or unknown file is set aside under another name, reported in a notice, and
//! never stops the daemon. Of a state file in the form of another version all is kept that can be
//! read (`salvage`): a daemon that was rolled back must not let in again what it refused before.
//! What became of an upgrade whose state is lost, the rescue may know.

mod history;
mod lost;
pub(crate) mod mark;
pub(crate) mod parts;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Serialize, de::DeserializeOwned};

use crate::disk::{self, Disk, LocalDisk, Operation};
use crate::log::{self, About, message};
use crate::machine::State;
use crate::model::version::Version;
use crate::model::{
    ChannelName, ComponentName, Entry, Failure, FailureKind, Outcome, ProgramDigest, Reference,
    Report, Upgrade,
};

use crate::record::checksum::{self, FIRST_FORMAT, FORMAT, Wrong};
use crate::record::memory::Forgotten;
use crate::record::past::{Past, PastReport};
use crate::record::salvage::{self, Salvaged};
use crate::record::state::{Recorded, StateFile};
use crate::record::{HISTORY_FILE, InstalledRecord, LARGEST_FILE, STATE_FILE};
use history::History;

/// The journal of one daemon.
#[derive(Debug, Clone)]
pub struct Journal {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    state: StateFile,
    history: History,
    left: Left,
    recovered: Option<String>,
}

/// What the last daemon left of the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Whole,
    /// All of it is kept but the upgrade that was under way.
    AllButUpgrade,
    /// There is no file.
    Nothing,
    /// There is one, and nothing in it can be used.
    Damage,
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
    /// Opens the journal in `directory`, which is made if it is missing. Damaged files come back
    /// beside it.
    pub fn open(directory: &Path) -> io::Result<(Self, Vec<Damaged>)> {
        Self::open_on(Arc::new(LocalDisk), directory)
    }

    /// [`Journal::open`] on a disk of the caller's.
    pub(crate) fn open_on(
        disk: Arc<dyn Disk>,
        directory: &Path,
    ) -> io::Result<(Self, Vec<Damaged>)> {
        std::fs::create_dir_all(directory)?;
        remove_unfinished(&*disk, directory);
        let mut damaged = Vec::new();
        let history = History::open(directory).unwrap_or_else(|unusable| {
            damaged.push(unusable.set_aside(&*disk, directory, HISTORY_FILE));
            None
        });
        let (state, left) = match read(directory, STATE_FILE, |file: &StateFile| file.format) {
            Ok(Some(state)) => (state, Left::Whole),
            Ok(None) => (StateFile { format: FORMAT, ..StateFile::default() }, Left::Nothing),
            Err(unusable) => match unusable
                .text
                .as_deref()
                .filter(|_| unusable.is_intact)
                .and_then(salvage::state)
            {
                Some(Salvaged { state, lost }) => {
                    damaged.push(unusable.replace(&*disk, directory, STATE_FILE, &state));
                    (state, if lost { Left::AllButUpgrade } else { Left::Whole })
                }
                None => {
                    // What is not as it was written is believed where the history says the same.
                    let told = unusable.text.as_deref().and_then(salvage::state);
                    let told = told.map(|salvaged| Vec::from(salvaged.state.unacknowledged));
                    let known = |told: &Entry| {
                        let mut entries =
                            history.iter().flat_map(|history| history.entries(directory));
                        entries.any(|entry| entry == *told)
                    };
                    let told: Vec<Entry> = told.into_iter().flatten().filter(known).collect();
                    let unacknowledged = told.into();
                    damaged.push(unusable.set_aside(&*disk, directory, STATE_FILE));
                    (
                        StateFile { format: FORMAT, unacknowledged, ..StateFile::default() },
                        Left::Damage,
                    )
                }
            },
        };
        let lost = left != Left::Whole || matches!(state.upgrade, Recorded::Foreign(_));
        let history = history.unwrap_or_else(|| History::empty(state.format.min(FORMAT)));
        let mut journal =
            Self { disk, directory: directory.to_owned(), state, history, left, recovered: None };
        journal.state.format = journal.state.format.min(FORMAT);
        if let Err(error) = journal.complete_history() {
            // It stands in memory, and the next report writes it too.
            warn("the history can't be written", error);
        }
        if matches!(left, Left::Nothing | Left::Damage) {
            journal.recover();
        }
        if lost {
            journal.absorb_rescue();
        }
        Ok((journal, damaged))
    }

    /// What the state held, as far as the history tells it too, and the trial that the rescue has a
    /// copy of.
    fn recover(&mut self) {
        let remembered = StateFile::remembered(self.history.entries(&self.directory));
        let trial = lost::trial(&self.directory, |upgrade| self.history.has(upgrade));
        let is_remembered = remembered != StateFile::default();
        if self.left == Left::Nothing && !is_remembered && trial.is_none() {
            return; // nothing is missing
        }
        if is_remembered {
            let told = "the state was lost; what was installed, what failed here and the lowest version come from history.json";
            self.recovered = Some(format!("{told}, as far as it reaches back"));
        }
        let unacknowledged = std::mem::take(&mut self.state.unacknowledged);
        // With a trial in it the file keeps the format in which the rescue has written: an older
        // daemon may have to read it.
        let (upgrade, format) = trial.unwrap_or((Recorded::default(), FORMAT));
        self.state =
            StateFile { format: format.min(FORMAT), upgrade, unacknowledged, ..remembered };
        self.state.note_gap();
        if let Err(error) =
            write(&*self.disk, &self.directory, STATE_FILE, &self.state, self.state.format)
        {
            warn("what is left of the state can't be written", error); // the next start tries again
        }
    }

    /// What was read from the history because the state was lost: a sentence for a person.
    pub fn recovered(&self) -> Option<&str> {
        self.recovered.as_deref()
    }

    /// Whether there is no state, and nothing says that there ever was.
    pub fn is_new(&self) -> bool {
        self.left == Left::Nothing && !self.state.program.incomplete
    }

    /// Programs were replaced here, and a journal that [is new](Self::is_new) knows nothing of it.
    pub fn note_gap(&mut self) -> io::Result<()> {
        self.change_state(StateFile::note_gap)
    }

    /// Every program of this component whose version is known, the surest first.
    pub fn known_programs(&self, component: ComponentName) -> Vec<InstalledRecord> {
        let of_it = |upgrade: &Upgrade| upgrade.component() == component;
        let on_trial = self
            .upgrade()
            .filter(|state| state.upgrade().is_some_and(of_it))
            .and_then(State::swap)
            .map(|swap| &swap.package);
        let on_trial = on_trial.map(|package| InstalledRecord {
            version: package.version,
            digest: package.program_digest,
        });
        let reports = self.history.known().rev().filter(|report| report.component == component);
        let reported = reports.filter_map(|report| report.program);
        let memory = self.state.of(component);
        let surest = [memory.installed, memory.previous, on_trial].into_iter().flatten();
        surest.chain(reported).collect()
    }

    /// Whether a program of which it knows no version may be the one that was installed by hand,
    /// whose version the configuration tells.
    pub fn may_be_by_hand(&self, component: ComponentName, program: ProgramDigest) -> bool {
        let memory = self.state.of(component);
        !memory.incomplete && !memory.known_bad.contains(&program)
    }

    /// The report that the rescue has to make up for: the state of its trial is lost, or in the
    /// format of a newer daemon that was rolled back.
    fn absorb_rescue(&mut self) {
        let Some((report, on_trial)) = lost::report(&self.directory) else { return };
        let is_it = |known: &Past| known.is(&report.id.0);
        if self.history.pasts().rev().skip(1).any(is_it) {
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
            self.state.of_mut(report.component()).remember_bad(on_trial); // the report may not know its package
        }
        let concluded = self.conclude(&report, !report.request.is_acknowledged());
        // Even where nothing has changed: the state is not lost any more.
        let kept = concluded.and_then(|()| {
            write(&*self.disk, &self.directory, STATE_FILE, &self.state, self.state.format)
        });
        if let Err(error) = kept {
            warn("the report of a lost upgrade can't be written", error); // it stands in memory, and the next start tries again
        }
        log::about(None);
    }

    /// A history that could not be written when a report was made lacks its entry.
    fn complete_history(&mut self) -> io::Result<()> {
        let missing: Vec<Report> = self
            .state
            .unacknowledged
            .reports
            .iter()
            .filter(|report| !self.history.has(&report.id))
            .cloned()
            .collect();
        if missing.is_empty() { Ok(()) } else { self.append_history(missing) }
    }

    /// The upgrade that the last daemon left.
    pub fn upgrade(&self) -> Option<&State> {
        match &self.state.upgrade {
            Recorded::Known(state) => state.as_deref(),
            Recorded::Foreign(_) => None,
        }
    }

    /// Whether it left a trial in the form of another version, of which this one knows nothing and
    /// the rescue enough.
    pub fn has_foreign_trial(&self) -> bool {
        matches!(self.state.upgrade, Recorded::Foreign(_))
    }

    /// Reports that their receivers have not acknowledged.
    pub fn unacknowledged(&self) -> &[Report] {
        &self.state.unacknowledged.reports
    }

    /// The last entries of the history, oldest first; all of them are read.
    pub fn history(&self) -> Vec<Entry> {
        self.history.entries(&self.directory).collect()
    }

    /// Those of them that this version can read.
    pub fn reports(&self) -> impl DoubleEndedIterator<Item = Report> {
        self.history.entries(&self.directory).filter_map(Entry::into_report)
    }

    /// The entry behind the one of this key ([`Entry::key`]), or the oldest one.
    pub fn entry_after(&self, before: Option<&str>) -> Option<Entry> {
        self.history.after(&self.directory, before)
    }

    /// The newest report of which this holds.
    pub(crate) fn newest_report(&self, is_wanted: impl Fn(&PastReport) -> bool) -> Option<Report> {
        self.history.newest(&self.directory, is_wanted)
    }

    /// How the last upgrades ended, oldest first; nothing is read for it.
    pub(crate) fn past_reports(&self) -> impl DoubleEndedIterator<Item = &PastReport> {
        self.history.known()
    }

    /// The request of a network channel that brought this program, or the one installed last; nothing
    /// where none did.
    pub(crate) fn brought_by(
        &self,
        component: ComponentName,
        program: Option<ProgramDigest>,
    ) -> Option<(ChannelName, Reference)> {
        let program = program.or(self.installed(component).map(|installed| installed.digest))?;
        let brought = |report: &&PastReport| {
            let is_it = report.program.is_some_and(|one| one.digest == program);
            report.component == component && report.outcome == Outcome::Succeeded && is_it
        };
        self.history.known().rev().find(brought)?.asked.clone()
    }

    /// What `uplift` installed last.
    pub fn installed(&self, component: ComponentName) -> Option<InstalledRecord> {
        self.state.of(component).installed
    }

    /// What it installed before that.
    pub fn previous(&self, component: ComponentName) -> Option<InstalledRecord> {
        self.state.of(component).previous
    }

    /// Programs that failed on trial, or were rolled back by hand.
    pub fn known_bad(&self, component: ComponentName) -> &[ProgramDigest] {
        &self.state.of(component).known_bad
    }

    /// The highest version that succeeded here with a trusted seal, and that no person took back.
    /// An older file does not come back, were it signed ten times.
    pub fn minimum_version(&self, component: ComponentName) -> Option<Version> {
        self.state.of(component).minimum_version
    }

    /// Forgets the lowest version, for a repair; who did is written down. What it was; nothing
    /// where there was none.
    pub fn forget_minimum(
        &mut self,
        component: ComponentName,
        by: String,
    ) -> io::Result<Option<Version>> {
        let Some(version) = self.minimum_version(component) else { return Ok(None) };
        self.change_state(|file| {
            let memory = file.of_mut(component);
            memory.minimum_version = None;
            memory.minimum_raised = None;
            memory.minimum_forgotten = Some(Forgotten { version, by, at: stamp() });
        })?;
        Ok(Some(version))
    }

    /// Writes down where the upgrade is.
    pub fn record(&mut self, state: &State) -> io::Result<()> {
        self.change_state(|file| file.upgrade = Recorded::Known(Some(Box::new(state.clone()))))
    }

    /// Writes down the end of an upgrade: the report is kept until it is acknowledged (unless
    /// `acknowledged` says that it has no receiver), and in the history.
    pub fn conclude(&mut self, report: &Report, acknowledged: bool) -> io::Result<()> {
        // The history first: until it is durable the state file holds the upgrade, and the next
        // daemon concludes it again.
        let listed = self.append_history(vec![report.clone()]);
        let mut earlier: Vec<Past> = self.history.pasts().cloned().collect();
        earlier.pop();
        let kept = self.change_state(|file| {
            file.upgrade = Recorded::Known(None);
            file.unacknowledged
                .reports
                .retain(|other| other.request.channel != report.request.channel);
            if !acknowledged {
                file.unacknowledged.reports.push(report.clone());
            }
            file.take_in(report, &earlier);
        });
        // Each file for itself: what can't be written in one must not cost the other its entry.
        listed.and(kept)
    }

    /// Forgets the unacknowledged report of a channel.
    pub fn acknowledge(&mut self, channel: ChannelName) -> io::Result<()> {
        self.change_state(|file| {
            file.unacknowledged.reports.retain(|report| report.request.channel != channel);
        })
    }

    fn append_history(&mut self, reports: Vec<Report>) -> io::Result<()> {
        // An upgrade whose end was written here only is concluded again by the next daemon.
        self.history.push(reports);
        if !self.state.has_trial() {
            self.history.format = FORMAT;
        }
        self.history.write(&*self.disk, &self.directory)
    }

    /// The change stands in memory even when the disk refuses it: the daemon goes on with the truth
    /// that it knows. The format is the newest one, but while something is on trial: it may be this
    /// daemon, and the one before it would have to read that.
    fn change_state(&mut self, change: impl FnOnce(&mut StateFile)) -> io::Result<()> {
        let before = self.state.clone();
        change(&mut self.state);
        if self.state == before {
            return Ok(());
        }
        if !self.state.has_trial() {
            self.state.format = FORMAT;
        }
        write(&*self.disk, &self.directory, STATE_FILE, &self.state, self.state.format)
    }
}

fn warn(sentence: &str, error: io::Error) {
    let failure = Failure::from_io(FailureKind::Internal, sentence, error);
    tracing::warn!(MESSAGE_ID = message::TROUBLE, UPLIFT_KIND = %failure.kind, "{failure}");
}

fn write(
    disk: &dyn Disk,
    directory: &Path,
    name: &str,
    value: &impl Serialize,
    format: u32,
) -> io::Result<()> {
    disk::write_atomic(disk, directory, name, &checksum::to_text(value, format)?)
}

/// What a daemon left that was killed while it wrote: it may be as large as the file itself. The
/// rescue's own is the rescue's.
fn remove_unfinished(disk: &dyn Disk, directory: &Path) {
    let is_ours = |name: &str| {
        [STATE_FILE, HISTORY_FILE].iter().any(|file| name.starts_with(file))
            && name.ends_with(".new")
    };
    let names =
        std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    for path in
        names.filter(|path| path.file_name().is_some_and(|name| is_ours(&name.to_string_lossy())))
    {
        // It harms nobody but by its size, and the next start tries again.
        let _ = disk::remove_if_present(disk, &path);
    }
}

/// A file that can't be used as it is, and what it holds, as far as that was read.
struct Unusable {
    text: Option<Vec<u8>>,
    /// Whether it is as it was written.
    is_intact: bool,
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
    fn replace(
        self,
        disk: &dyn Disk,
        directory: &Path,
        name: &str,
        salvaged: &StateFile,
    ) -> Damaged {
        let copy = free_name(directory, name);
        let text = self.text.unwrap_or_default();
        let replaced = disk::write_atomic(disk, directory, &copy, &text)
            .and_then(|()| write(disk, directory, name, salvaged, salvaged.format));
        let why = match replaced {
            Ok(()) => format!("{}; what can be read of it was kept", self.why),
            Err(error) => format!("{}; it could not be replaced: {error}", self.why),
        };
        Damaged { file: directory.join(name), set_aside: directory.join(copy), why }
    }
}

/// Nothing where there is no such file.
fn read<T: DeserializeOwned>(
    directory: &Path,
    name: &str,
    format: impl Fn(&T) -> u32,
) -> Result<Option<T>, Unusable> {
    let text = match disk::read_limited(&directory.join(name), LARGEST_FILE) {
        Ok(None) => return Ok(None),
        Ok(Some(text)) => text,
        Err(error) => {
            return Err(Unusable { text: None, is_intact: false, why: error.to_string() });
        }
    };
    if let Err(wrong) = checksum::examine(&text) {
        return Err(Unusable {
            why: wrong.to_string(),
            is_intact: matches!(wrong, Wrong::Json(_)),
            text: Some(text),
        });
    }
    let why = match serde_json::from_slice::<T>(&text) {
        // A later version adds fields that this one passes over; what it has changed can't be read.
        Ok(value) if format(&value) >= FIRST_FORMAT => return Ok(Some(value)),
        Ok(value) => format!("format {} is not known to this version", format(&value)),
        Err(error) => error.to_string(),
    };
    Err(Unusable { text: Some(text), is_intact: true, why })
}

/// `state.json.damaged`, or the first free number behind it; the tenth is overwritten, so that
/// damage can't fill a disk.
fn free_name(directory: &Path, name: &str) -> String {
    let mut candidates = (1..=10).map(|number| {
        if number == 1 { format!("{name}.damaged") } else { format!("{name}.damaged.{number}") }
    });
    candidates
        .clone()
        .find(|name| !directory.join(name).exists())
        .or_else(|| candidates.next_back())
        .unwrap_or_default()
}

/// The wall clock for people to read, RFC 3339 in UTC. Nothing may depend on it.
#[allow(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub fn stamp() -> String {
    humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string()
}

#[cfg(test)]
mod tests;
