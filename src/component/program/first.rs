//! The first installation: nothing is at the path, and whatever comes there meanwhile is not
//! replaced.

use std::io;
use std::path::Path;

use super::not_installed;
use super::swap::{Means, can_not, sync_directories};
use crate::disk::{self, Disk, Operation, PRIVATE_MODE};
use crate::model::{Failure, Form};

/// A first installation to be done.
pub(super) struct First<'a> {
    pub(super) disk: &'a dyn Disk,
    /// What names nothing yet.
    pub(super) path: &'a Path,
    /// The program that shall be at the path, durable.
    pub(super) incoming: &'a Path,
    /// The file that will say, by being empty, that no program was there. It replaces one that a
    /// program of long ago left.
    pub(super) marker: &'a Path,
    /// A temporary name.
    pub(super) kept: &'a Path,
    /// What it is.
    pub(super) form: Form,
}

impl First<'_> {
    /// Does it; durable on return. After a failure nothing is at the path.
    pub(super) fn perform(&self) -> Result<Means, Failure> {
        self.mark().map_err(not_installed("noting that no program was there"))?;
        self.occupy().inspect_err(|_| drop(disk::remove_if_present(self.disk, self.marker)))?;
        Ok(Means::FirstInstallation)
    }

    fn occupy(&self) -> Result<(), Failure> {
        self.take_path().map_err(not_installed("giving the new program its name"))?;
        let synced = sync_directories(self.disk, &[self.path, self.incoming]);
        if synced.is_err() {
            let away = match self.form {
                Form::File => Operation::Remove { path: self.path },
                Form::Tree => Operation::Rename { from: self.path, to: self.incoming },
            };
            // The error of the sync is the one to tell.
            let _ = self.disk.apply(away);
        }
        synced.map_err(not_installed("syncing the program's directory"))
    }

    fn mark(&self) -> io::Result<()> {
        disk::remove_if_present(self.disk, self.kept)?;
        self.disk.create(self.kept, PRIVATE_MODE)?;
        self.disk.apply(Operation::Rename { from: self.kept, to: self.marker })?;
        sync_directories(self.disk, &[self.marker])
    }

    /// Where there is no rename to a free name only, a hard link is one; where there is none
    /// either, a rename, which replaces what came to the path since it was looked at.
    fn take_path(&self) -> io::Result<()> {
        let (from, to) = (self.incoming, self.path);
        match self.disk.apply(Operation::RenameToFree { from, to }) {
            Err(error) if can_not(&error) => {}
            result => return result,
        }
        match self.disk.apply(Operation::Link { original: from, name: to }) {
            Ok(()) => {
                // The program has its name; a second one in the staging area harms nobody.
                let _ = self.disk.apply(Operation::Remove { path: from });
                Ok(())
            }
            Err(error) if can_not(&error) => self.disk.apply(Operation::Rename { from, to }),
            Err(error) => Err(error),
        }
    }
}
