//! One program takes the path of another, in a single step at which no power cut can strike.
//!
//! Three ways, the best that the file system allows: exchange of the two names; a second name for
//! the old program, then a rename over the path; a copy of the old program, then a rename over the
//! path.

use std::io;
use std::path::Path;

use nix::errno::Errno;

use super::{attributes, open_no_follow};
use crate::disk::{self, Disk, Operation, PRIVATE_MODE};
use crate::model::{Failure, FailureKind, Form};
use crate::tree;

/// How a program came to its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Means {
    /// The names of old and new were exchanged.
    Exchange,
    /// The old program got a second name, then the new one was renamed over it.
    Link,
    /// The old program was copied, then the new one was renamed over it.
    Copy,
    /// There was no old program.
    FirstInstallation,
}

/// A swap to be done. The files are regular and on one file system.
#[derive(Clone, Copy)]
pub(super) struct Swap<'a> {
    pub(super) disk: &'a dyn Disk,
    /// What names a complete program all the time.
    pub(super) path: &'a Path,
    /// The program that shall be at the path, durable.
    pub(super) incoming: &'a Path,
    /// Where the program at the path goes; replaced if it exists.
    pub(super) outgoing: &'a Path,
    /// A temporary name.
    pub(super) kept: &'a Path,
    /// What old and new are. Directories are exchanged, or not replaced at all.
    pub(super) form: Form,
    /// Whether no power cut may cost the program at `incoming` its name, as if the exchange had
    /// never been and what came after it had: a program to be put back has no other name, a new one
    /// is sent again.
    pub(super) irreplaceable: bool,
}

/// A swap that an error stopped.
#[derive(Debug)]
pub(super) struct Unfinished {
    step: &'static str,
    error: io::Error,
    at_path: AtPath,
}

/// Which program the path names after an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AtPath {
    Old,
    /// The new one; the old one is at `incoming`.
    NewAndOldIncoming,
    /// The new one; the old one is at `outgoing`.
    NewAndOldOutgoing,
}

impl Swap<'_> {
    /// Does it, by the best means that the file system has; durable on return.
    pub(super) fn perform(&self) -> Result<Means, Unfinished> {
        if self.form == Form::Tree {
            // No rename replaces a directory with something in it.
            tree::remove(self.disk, self.outgoing).map_err(|error| {
                let step = "removing what the last swap left";
                Unfinished { step, error, at_path: AtPath::Old }
            })?;
        }
        let exchange = Operation::Exchange { one: self.incoming, other: self.path };
        match self.disk.apply(exchange) {
            Ok(()) => self.finish_exchange().map(|()| Means::Exchange),
            Err(error) if can_not(&error) && self.form == Form::File => self.rename_over(),
            Err(error) => {
                Err(Unfinished { step: "exchanging old and new", error, at_path: AtPath::Old })
            }
        }
    }

    /// Puts the old program back at the path after an error, as far as the disk still obeys. Not
    /// durable before the caller syncs.
    pub(super) fn undo(&self, unfinished: Unfinished) -> Unfinished {
        let undone = match unfinished.at_path {
            AtPath::Old => return unfinished,
            AtPath::NewAndOldIncoming => {
                self.disk.apply(Operation::Exchange { one: self.incoming, other: self.path })
            }
            AtPath::NewAndOldOutgoing if self.form == Form::Tree => {
                self.disk.apply(Operation::Exchange { one: self.outgoing, other: self.path })
            }
            AtPath::NewAndOldOutgoing => {
                self.disk.apply(Operation::Rename { from: self.outgoing, to: self.path })
            }
        };
        if undone.is_err() {
            return unfinished;
        }
        Unfinished { at_path: AtPath::Old, ..unfinished }
    }

    fn finish_exchange(&self) -> Result<(), Unfinished> {
        let stop = |step, at_path| move |error| Unfinished { step, error, at_path };
        let touched_last: &[&Path] = if self.irreplaceable {
            sync_directories(self.disk, &[self.path, self.incoming])
                .map_err(stop("syncing the directories", AtPath::NewAndOldIncoming))?;
            &[self.outgoing]
        } else {
            &[self.path, self.outgoing]
        };
        let rename = Operation::Rename { from: self.incoming, to: self.outgoing };
        self.disk
            .apply(rename)
            .map_err(stop("setting the old program aside", AtPath::NewAndOldIncoming))?;
        sync_directories(self.disk, touched_last)
            .map_err(stop("syncing the directories", AtPath::NewAndOldOutgoing))
    }

    fn rename_over(&self) -> Result<Means, Unfinished> {
        let stop = |step, at_path| move |error| Unfinished { step, error, at_path };
        let means = self.keep_old().map_err(stop("keeping the old program", AtPath::Old))?;
        let rename = Operation::Rename { from: self.incoming, to: self.path };
        self.disk
            .apply(rename)
            .map_err(stop("renaming the new program over the old one", AtPath::Old))?;
        self.sync_directories()
            .map_err(stop("syncing the directories", AtPath::NewAndOldOutgoing))?;
        Ok(means)
    }

    /// Has the old program at `outgoing` too, durably, before the path changes hands.
    fn keep_old(&self) -> io::Result<Means> {
        disk::remove_if_present(self.disk, self.kept)?;
        let means = match self.disk.apply(Operation::Link { original: self.path, name: self.kept })
        {
            Ok(()) => Means::Link,
            Err(error) if can_not(&error) => match self.copy_over_outgoing() {
                Ok(()) => Means::Copy,
                // What failed is kept for inspection only, and must not cost the old program its
                // way back.
                Err(error) if self.irreplaceable && is_full(&error) => return Ok(Means::Copy),
                Err(error) => return Err(error),
            },
            Err(error) => return Err(error),
        };
        self.disk.apply(Operation::Rename { from: self.kept, to: self.outgoing })?;
        // A swap that was cut off here may have left both names to the old program; such a rename
        // does nothing.
        disk::remove_if_present(self.disk, self.kept)?;
        sync_directories(self.disk, &[self.outgoing])?;
        Ok(means)
    }

    /// A copy of what failed shall not take more room than there was before: the one that failed
    /// before it goes first.
    fn copy_over_outgoing(&self) -> io::Result<()> {
        if self.irreplaceable {
            disk::remove_if_present(self.disk, self.outgoing)?;
        }
        self.copy_old().inspect_err(|_| drop(disk::remove_if_present(self.disk, self.kept)))
    }

    fn copy_old(&self) -> io::Result<()> {
        let mut old = open_no_follow(self.path)?;
        let copy = self.disk.create(self.kept, PRIVATE_MODE)?;
        disk::copy(self.disk, &mut old, &copy)?;
        attributes::copy(self.disk, &old, &copy)?;
        self.disk.apply(Operation::Sync { file: &copy })
    }

    fn sync_directories(&self) -> io::Result<()> {
        sync_directories(self.disk, &[self.path, self.outgoing])
    }
}

/// Syncs the directories that these names are in, and what the names stand for where that takes
/// more.
pub(super) fn sync_directories(disk: &dyn Disk, names: &[&Path]) -> io::Result<()> {
    names
        .iter()
        .filter_map(|name| name.parent())
        .try_for_each(|path| disk.apply(Operation::SyncDirectory { path }))?;
    names.iter().try_for_each(|path| disk.apply(Operation::SyncMoved { path }))
}

impl Unfinished {
    /// The failure, with what the path names now said plainly.
    pub(super) fn into_failure(self, what: &str) -> Failure {
        let sentence = match self.at_path {
            AtPath::Old => format!("{what}: {} failed", self.step),
            AtPath::NewAndOldIncoming | AtPath::NewAndOldOutgoing => {
                format!("the swap is done but not known to be durable: {} failed", self.step)
            }
        };
        Failure::from_io(FailureKind::InstallFailed, sentence, self.error)
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Whether the file system (`EINVAL`, `EOPNOTSUPP`, for links `EPERM`), the kernel or a filter of
/// system calls (`ENOSYS`) can't do such a thing at all, or the file can't have one more name
/// (`EMLINK`).
pub(super) fn can_not(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(
        errno,
        Some(Errno::EINVAL | Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::EPERM | Errno::EMLINK)
    )
}
