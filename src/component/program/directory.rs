//! What is different where the program is a tree: a directory is laid, read, renamed and removed.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::{MutexGuard, PoisonError};

use super::rollback::nothing;
use super::swap::can_not;
use super::{Incoming, Program, digest_at, not_installed};
use crate::disk::mounts::Mounts;
use crate::disk::{self, Operation};
use crate::model::{Failure, FailureKind, Form, ProgramDigest};
use crate::stage::{RESERVED_SPACE, Staged};
use crate::tree::{self, Archive, Owners, Scan, TreeError};

/// Suffix of a tree that is not complete yet.
pub(super) const LAYING: &str = ".laying";
/// Names of two directories that are exchanged to see whether that can be done.
const TRIED: [&str; 2] = [".uplift-tried-1", ".uplift-tried-2"];

/// What a directory was when all of it was read last: its stamp, and what it is known by.
#[derive(Debug, Clone, Copy)]
pub(super) struct TreeReading {
    stamp: [u8; 32],
    digest: ProgramDigest,
}

impl Program {
    /// The digest of the tree at the path. Reads all of it.
    pub(super) fn tree_digest(&self) -> io::Result<Option<ProgramDigest>> {
        self.read_tree(|_, _| false)
    }

    /// The same, but a tree in which nothing has changed since is not read again.
    pub(super) fn known_tree_digest(&self) -> io::Result<Option<ProgramDigest>> {
        self.read_tree(|last, stamp| last.stamp == stamp)
    }

    fn read_tree(
        &self,
        is_known: impl FnOnce(&TreeReading, [u8; 32]) -> bool,
    ) -> io::Result<Option<ProgramDigest>> {
        match fs::symlink_metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Ok(found) if !found.is_dir() => return digest_at(&self.path),
            found => found?,
        };
        // Taken before the content is read: what changes meanwhile has another one.
        let stamp = Scan::stamp(&self.path).map_err(io::Error::other)?;
        let mut last_tree = self.last_tree();
        let reading = match *last_tree {
            Some(last) if is_known(&last, stamp) => last,
            _ => TreeReading { stamp, digest: tree_at(&self.path)? },
        };
        *last_tree = Some(reading);
        Ok(Some(reading.digest))
    }

    pub(super) fn forget_tree(&self) {
        *self.last_tree() = None;
    }

    fn last_tree(&self) -> MutexGuard<'_, Option<TreeReading>> {
        // Each holder leaves it whole.
        self.last_tree.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is at the path counts as this in an upgrade to `on_trial`, in the place of `old`. A tree
    /// into which something has written, as a program may that runs in it, is none of both any more,
    /// and it must not stay for that: where the old one lies where the swap has put it, it is the new
    /// one, and where the new one lies where a rollback has put it, it is the old one.
    pub(crate) fn counts_as(
        &self,
        at_path: Option<ProgramDigest>,
        on_trial: ProgramDigest,
        old: Option<ProgramDigest>,
    ) -> Option<ProgramDigest> {
        let is_one = at_path.is_none() || at_path == Some(on_trial) || at_path == old;
        if self.form == Form::File || is_one {
            return at_path;
        }
        let lies = |name: &Path, digest: ProgramDigest| {
            self.digest_of(name).is_ok_and(|found| found == Some(digest))
        };
        let before = old.unwrap_or_else(nothing);
        if [self.beside(".previous"), self.next(on_trial)].iter().any(|name| lies(name, before)) {
            return Some(on_trial);
        }
        match lies(&self.beside(".failed"), on_trial) {
            true => old.or(at_path),
            false => at_path,
        }
    }

    /// The digest of what has this name in the staging area.
    pub(super) fn digest_of(&self, path: &Path) -> io::Result<Option<ProgramDigest>> {
        let is_directory = || path.symlink_metadata().is_ok_and(|found| found.is_dir());
        match self.form {
            Form::Tree if is_directory() => tree_at(path).map(Some),
            Form::File | Form::Tree => digest_at(path),
        }
    }

    /// Makes a directory of the archive that was received, which is gone then; durable on return,
    /// but for its name.
    pub(super) fn lay(&self, staged: &Staged) -> Result<Incoming, Failure> {
        self.must_exchange()?;
        let (archive, laying) = (staged.file(), self.beside(LAYING));
        self.remove(&laying).map_err(not_installed("removing what is left of another tree"))?;
        let not_laid = |error: TreeError| match error {
            TreeError::Unreadable(error) => not_installed("laying the new tree")(error),
            other => other.into(),
        };
        let archive = Archive::open(archive, 0..staged.size).map_err(not_laid)?;
        let size = archive.manifest().content_size().map_err(not_laid)?;
        self.must_have_room(size)?;
        let laid = tree::take_out(&archive, &*self.disk, &laying, Owners::Theirs);
        laid.map_err(not_laid).inspect_err(|_| drop(self.remove(&laying)))?;
        // Nobody needs it any more; what stays goes before the next reception.
        let _ = disk::remove_if_present(&*self.disk, staged.path());
        let file = disk::open_directory(&laying).map_err(not_installed("opening the new tree"))?;
        Ok(Incoming { path: laying, file })
    }

    /// The archive has taken its room already, and the directory takes as much again.
    fn must_have_room(&self, size: u64) -> Result<(), Failure> {
        let short = disk::shortage(&self.stage, size.saturating_add(RESERVED_SPACE))
            .map_err(not_installed("looking for room"))?;
        let Some(free) = short else { return Ok(()) };
        let sentence = format!(
            "the tree has {size} bytes, which are written beside the archive that it came in, and {free} are free"
        );
        Err(Failure::new(FailureKind::NoSpace, sentence))
    }

    /// Whether two directories can change places where the tree lies: it is no mount, and two empty
    /// ones can, in the staging area, or beside the tree where there is none yet. `install-failed` where
    /// they can't.
    pub(crate) fn must_exchange(&self) -> Result<(), Failure> {
        if self.form == Form::File {
            return Ok(());
        }
        if Mounts::read().is_ok_and(|mounts| mounts.is_mount(&self.path)) {
            let path = self.path.display();
            let sentence =
                format!("{path} is a mount of its own, so no other tree can take its name");
            return Err(Failure::new(FailureKind::InstallFailed, sentence)
                .with_hint("make the tree a directory below the mount"));
        }
        let area = match self.stage.is_dir() {
            true => &self.stage,
            false => self.path.parent().unwrap_or(Path::new("/")),
        };
        let [one, other] = TRIED.map(|name| area.join(name));
        let tried = || {
            for path in [&one, &other] {
                self.remove(path)?;
                self.disk.apply(Operation::MakeDirectory { path })?;
            }
            self.disk.apply(Operation::Exchange { one: &one, other: &other })
        };
        let tried = tried();
        for path in [&one, &other] {
            // It is empty, and in nobody's way.
            let _ = self.remove(path);
        }
        let error = match tried {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        let directory = area.display();
        let (sentence, hint) = match can_not(&error) {
            true => (
                format!(
                    "the file system of {directory} can't exchange two directories, so no tree can be replaced there in one step"
                ),
                "set `path` of the component to a directory on ext4, xfs, btrfs or f2fs",
            ),
            false => (
                format!("whether directories can be exchanged in {directory} can't be tried"),
                "the daemon must be allowed to write the directory above the tree; `uplift config sandbox` prints the drop-in for that",
            ),
        };
        Err(Failure::from_io(FailureKind::InstallFailed, sentence, error).with_hint(hint))
    }

    /// Renames, and what had the new name is gone: in one step, but for a directory, which no rename
    /// replaces. Nobody needs what is replaced so.
    pub(super) fn rename_over(&self, from: &Path, to: &Path) -> io::Result<()> {
        if self.form == Form::Tree {
            self.remove(to)?;
        }
        self.disk.apply(Operation::Rename { from, to })
    }

    /// Removes a name that may be gone already, with all that is below it.
    pub(super) fn remove(&self, path: &Path) -> io::Result<()> {
        match self.form {
            Form::File => disk::remove_if_present(&*self.disk, path),
            Form::Tree => tree::remove(&*self.disk, path),
        }
    }

    /// A power cut may have left two names to a file that was renamed, and a rename to the other one
    /// does nothing then. A directory has one name.
    pub(super) fn remove_second_name(&self, path: &Path) -> io::Result<()> {
        match self.form {
            Form::File => disk::remove_if_present(&*self.disk, path),
            Form::Tree => Ok(()),
        }
    }
}

fn tree_at(path: &Path) -> io::Result<ProgramDigest> {
    let scan = Scan::of(path, Owners::Theirs).map_err(io::Error::other)?;
    scan.manifest().digest().map_err(io::Error::other)
}
