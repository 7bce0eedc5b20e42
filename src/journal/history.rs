//! The history: on the disk, and read when it is asked for. In memory there is what every upgrade
//! needs of it ([`Past`]), and where each entry stands in the file.
//!
//! A report that the disk refused stands in memory until the next one is written. Whoever changes
//! the file while a daemon runs is noticed when it is written again: what is there by then is set
//! aside.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::{Damaged, Unusable};
use crate::disk::{self, Disk};
use crate::model::{Entry, Failure, FailureKind, Report, UpgradeId};
use crate::record::checksum::{FORMAT, Written, Wrong};
use crate::record::history::{self, HISTORY_LENGTH};
use crate::record::past::{Past, PastReport};
use crate::record::{HISTORY_FILE, LARGEST_FILE};

/// Bytes that are copied at a time.
const PIECE: usize = 32 * 1024;
/// What stands before the entries of a file that is written, behind its format.
const BEGINNING: &str = ",\n  \"reports\": [";

/// The history of one daemon.
#[derive(Debug, Clone)]
pub(super) struct History {
    pub(super) format: u32,
    /// Oldest first.
    kept: Vec<Kept>,
}

#[derive(Debug, Clone)]
struct Kept {
    past: Past,
    place: Place,
}

/// Where an entry is.
#[derive(Debug, Clone)]
enum Place {
    File(Range<u64>),
    Memory(Box<Report>),
}

impl History {
    /// Without an entry.
    pub(super) const fn empty(format: u32) -> Self {
        Self { format, kept: Vec::new() }
    }

    /// What is in the directory; nothing where there is no such file.
    pub(super) fn open(directory: &Path) -> Result<Option<Self>, Unusable> {
        let unusable = |why: String, is_intact| Unusable { text: None, is_intact, why };
        let Some(file) = open(directory).map_err(|error| unusable(error.to_string(), false))?
        else {
            return Ok(None);
        };
        let (format, entries) = history::read(&file)
            .map_err(|wrong| unusable(wrong.to_string(), matches!(wrong, Wrong::Json(_))))?;
        let kept =
            entries.into_iter().map(|(past, range)| Kept { past, place: Place::File(range) });
        Ok(Some(Self { format: format.min(FORMAT), kept: kept.collect() }))
    }

    /// What is remembered of each entry, oldest first.
    pub(super) fn pasts(&self) -> impl DoubleEndedIterator<Item = &Past> + ExactSizeIterator {
        self.kept.iter().map(|kept| &kept.past)
    }

    /// The same of the reports that this version can read.
    pub(super) fn known(&self) -> impl DoubleEndedIterator<Item = &PastReport> {
        self.pasts().filter_map(|past| past.report.as_ref())
    }

    /// Whether it has the report of this upgrade, in whatever form.
    pub(super) fn has(&self, upgrade: &UpgradeId) -> bool {
        self.pasts().any(|past| past.is(&upgrade.0))
    }

    /// Each entry, oldest first; one that can't be read any more is left out.
    pub(super) fn entries<'a>(
        &'a self,
        directory: &Path,
    ) -> impl DoubleEndedIterator<Item = Entry> + use<'a> {
        let file = open(directory).ok().flatten();
        self.kept.iter().filter_map(move |kept| kept.entry(file.as_ref()))
    }

    /// The entry behind the one of this key, or the oldest one. One that the history has forgotten
    /// was older than all that it still has.
    pub(super) fn after(&self, directory: &Path, before: Option<&str>) -> Option<Entry> {
        let at = before.and_then(|before| self.pasts().rposition(|past| past.is(before)));
        let file = open(directory).ok().flatten();
        let rest = self.kept.get(at.map_or(0, |at| at + 1)..).unwrap_or_default();
        rest.iter().find_map(|kept| kept.entry(file.as_ref()))
    }

    /// The newest report of which this holds.
    pub(super) fn newest(
        &self,
        directory: &Path,
        is_wanted: impl Fn(&PastReport) -> bool,
    ) -> Option<Report> {
        let of_report = |kept: &&Kept| kept.past.report.as_ref().is_some_and(&is_wanted);
        let kept = self.kept.iter().rev().find(of_report)?;
        kept.entry(open(directory).ok().flatten().as_ref())?.into_report()
    }

    /// Puts reports behind all others, in the place of what was known of them, and forgets what is
    /// too old. They are in memory until [`History::write`].
    pub(super) fn push(&mut self, reports: Vec<Report>) {
        self.kept.retain(|kept| !reports.iter().any(|report| kept.past.is(&report.id.0)));
        self.kept.extend(reports.into_iter().map(|report| {
            let past = Past::of_report(&report);
            Kept { past, place: Place::Memory(Box::new(report)) }
        }));
        let excess = self.kept.len().saturating_sub(HISTORY_LENGTH);
        self.kept.drain(..excess);
    }

    /// Writes it, durably. What is in the file already is copied as it is.
    pub(super) fn write(&mut self, disk: &dyn Disk, directory: &Path) -> io::Result<()> {
        let old = self.old(disk, directory)?;
        let mut places = Vec::with_capacity(self.kept.len());
        disk::write_atomic_by(disk, directory, HISTORY_FILE, &mut |write| {
            let mut text =
                Text { write, pending: Vec::new(), written: Written::new(self.format), at: 0 };
            text.add(format!("{{\n  \"format\": {}{BEGINNING}", self.format).as_bytes())?;
            for kept in &self.kept {
                let between: &[u8] = if places.is_empty() { b"\n    " } else { b",\n    " };
                text.add(between)?;
                let from = text.at;
                match (&kept.place, &old) {
                    (Place::File(range), Some(old)) => text.copy(old, range.clone())?,
                    (Place::File(_), None) => text.add(b"null")?,
                    (Place::Memory(report), _) => text.add(&indented(report)?)?,
                }
                places.push(from..text.at);
            }
            text.end(if places.is_empty() { b"]" } else { b"\n  ]" })
        })?;
        for (kept, range) in self.kept.iter_mut().zip(places) {
            kept.place = Place::File(range);
        }
        Ok(())
    }

    /// The file with the entries that are not in memory. One that is not what it was is set aside,
    /// and they are lost.
    fn old(&mut self, disk: &dyn Disk, directory: &Path) -> io::Result<Option<File>> {
        let is_in_file = |kept: &Kept| matches!(kept.place, Place::File(_));
        if !self.kept.iter().any(is_in_file) {
            return Ok(None);
        }
        let there = Self::open(directory);
        let stands = |there: &Self| {
            let same = |kept: &Kept| match &kept.place {
                Place::File(range) => there.kept.iter().any(|other| {
                    other.past == kept.past
                        && matches!(&other.place, Place::File(at) if at == range)
                }),
                Place::Memory(_) => true,
            };
            self.kept.iter().all(same)
        };
        let why = match there {
            Ok(Some(there)) if stands(&there) => return open(directory),
            Ok(None) => {
                self.kept.retain(|kept| !is_in_file(kept));
                return Ok(None);
            }
            Ok(Some(_)) => Unusable {
                text: None,
                is_intact: false,
                why: "somebody else has changed it".into(),
            },
            Err(unusable) => unusable,
        };
        self.kept.retain(|kept| !is_in_file(kept));
        tell(&why.set_aside(disk, directory, HISTORY_FILE));
        Ok(None)
    }
}

impl Kept {
    fn entry(&self, file: Option<&File>) -> Option<Entry> {
        let range = match &self.place {
            Place::Memory(report) => return Some(Entry::Known((**report).clone())),
            Place::File(range) => range,
        };
        let mut text = vec![0; usize::try_from(range.end - range.start).ok()?];
        file?.read_exact_at(&mut text, range.start).ok()?;
        let entry: Entry = serde_json::from_slice(&text).ok()?;
        self.past.is(&entry.key()).then_some(entry)
    }
}

/// A text that is written in pieces.
struct Text<'a> {
    write: &'a mut dyn FnMut(&[u8]) -> io::Result<()>,
    pending: Vec<u8>,
    written: Written,
    at: u64,
}

impl Text<'_> {
    fn add(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.written.update(bytes);
        self.at += bytes.len() as u64;
        self.pend(bytes)
    }

    fn pend(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.pending.extend_from_slice(bytes);
        if self.pending.len() < PIECE {
            return Ok(());
        }
        (self.write)(&self.pending)?;
        self.pending.clear();
        Ok(())
    }

    fn copy(&mut self, file: &File, range: Range<u64>) -> io::Result<()> {
        let mut piece = vec![0; PIECE];
        let mut at = range.start;
        while at < range.end {
            let left = usize::try_from(range.end - at).map_or(PIECE, |left| left.min(PIECE));
            file.read_exact_at(&mut piece[..left], at)?;
            self.add(&piece[..left])?;
            at += left as u64;
        }
        Ok(())
    }

    /// Ends the list, and the text.
    fn end(mut self, list: &[u8]) -> io::Result<()> {
        self.add(list)?;
        let Self { write, mut pending, written, .. } = self;
        pending.extend(written.end());
        write(&pending)
    }
}

/// As an element of the list stands in the file.
fn indented(report: &Report) -> io::Result<Vec<u8>> {
    let text = serde_json::to_string_pretty(report)?;
    Ok(text.replace('\n', "\n    ").into_bytes())
}

fn open(directory: &Path) -> io::Result<Option<File>> {
    let file = match File::open(directory.join(HISTORY_FILE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    // A damaged one must not be read for ever.
    if file.metadata()?.len() > LARGEST_FILE {
        return Err(io::Error::other("the file is too large"));
    }
    Ok(Some(file))
}

fn tell(damaged: &Damaged) {
    tracing::warn!(
        MESSAGE_ID = crate::log::message::STATE_DAMAGED, UPLIFT_KIND = %FailureKind::Internal,
        "{}", Failure::new(FailureKind::Internal, damaged.to_string())
    );
}
