//! What `.previous` was before the swap that is on trial: it comes back with a rollback, and goes
//! with a success, so that the program before the last success is there until the next one.

use std::fs::File;
use std::io;
use std::path::Path;

use super::directory::LAYING;
use super::swap::sync_directories;
use super::{Program, free_later, not_installed};
use crate::disk::Operation;
use crate::model::{Failure, Form, PackageSummary};

impl Program {
    /// Makes the place free that the program at the path is to take. Durable with the next sync of
    /// the staging area, which comes before the path changes hands.
    pub(super) fn keep_older(&self) -> io::Result<()> {
        let (previous, older) = (self.beside(".previous"), self.beside(".older"));
        if previous.symlink_metadata().is_err() {
            return Ok(()); // nothing is there, or it is where it belongs already
        }
        self.rename_over(&previous, &older)
    }

    /// What [`Program::keep_older`] moved, where that takes more than a sync of the directory.
    pub(super) fn sync_older(&self) -> io::Result<()> {
        let older = self.beside(".older");
        if older.symlink_metadata().is_err() {
            return Ok(());
        }
        self.disk.apply(Operation::SyncMoved { path: &older })
    }

    /// Gives it its place back. By now that has nothing in it that anybody needs: the swap came to
    /// nothing, or was taken back.
    pub(super) fn restore_older(&self) -> io::Result<()> {
        let (previous, older) = (self.beside(".previous"), self.beside(".older"));
        if older.symlink_metadata().is_err() {
            return Ok(());
        }
        self.rename_over(&older, &previous)?;
        self.remove_second_name(&older)?;
        sync_directories(&*self.disk, &[&previous])
    }

    /// The swap has proved itself: nothing leads back to this one any more. If a power cut brings
    /// it back, the next daemon that finds nothing under way removes it again.
    pub(crate) fn forget_older(&self) -> io::Result<()> {
        let older = self.beside(".older");
        let freed = File::open(&older);
        self.remove(&older)?;
        freed.into_iter().for_each(free_later);
        Ok(())
    }

    /// Nothing is under way: what a daemon did not live to put in order is put in order.
    pub(crate) fn settle(&self) -> io::Result<()> {
        match self.beside(".previous").symlink_metadata() {
            Ok(_) => self.forget_older(),
            Err(_) => self.restore_older(),
        }
    }

    /// Completes the end of a swap to this program that came to nothing or was taken back, whoever
    /// was cut off in it: the program goes, to where the last one that ran and failed is kept if it
    /// `ran`, and the program before the one at the path has its place.
    pub(crate) fn finish(&self, package: &PackageSummary, ran: bool) -> Result<(), Failure> {
        let failed = || not_installed("putting the staging area in order");
        let (new, size) = (package.program_digest, |name: &Path| {
            name.symlink_metadata().map(|found| found.len()).ok()
        });
        let (next, previous) = (self.next(new), self.beside(".previous"));
        let (kept, laying) = (self.beside(".kept"), self.beside(LAYING));
        let is_left = [&next, &kept, &laying, &self.beside(".older")]
            .into_iter()
            .any(|name| size(name).is_some());
        let may_be_new = match self.form {
            Form::File => size(&previous) == Some(package.size),
            Form::Tree => size(&previous).is_some(),
        };
        let is_left = is_left || may_be_new;
        if !is_left || self.known_digest().map_err(failed())? == Some(new) {
            return Ok(());
        }
        let _lock = self.lock()?;
        self.remove(&kept).map_err(failed())?;
        self.remove(&laying).map_err(failed())?;
        if !ran {
            // Under its next name an old program may lie, whose way to `.previous` was cut off.
            for left in [&next, &previous] {
                if self.digest_of(left).map_err(failed())? == Some(new) {
                    self.remove(left).map_err(failed())?;
                }
            }
        }
        self.finish_reverting(new)?;
        self.restore_older_if_free().map_err(failed())
    }

    /// Does so where nothing, or another name or a copy of the program at the path, has its place.
    pub(super) fn restore_older_if_free(&self) -> io::Result<()> {
        if self.beside(".older").symlink_metadata().is_err() {
            return Ok(());
        }
        let previous = self.digest_of(&self.beside(".previous"))?;
        if previous.is_none() || previous == self.known_digest()? {
            self.restore_older()
        } else {
            Ok(())
        }
    }
}
