//! The way back: the program on trial leaves the path, the one before it returns.

use std::io;
use std::path::{Path, PathBuf};

use super::swap::{Swap, sync_directories};
use super::{Lock, Program};
use crate::digest::{Beside, Hasher};
use crate::disk;
use crate::model::{Failure, FailureKind, ProgramDigest};

/// How a rollback ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reverted {
    /// The program before the swap is at the path again.
    PutBack,
    /// There was no program before the swap, so the new one was taken away.
    Removed,
    /// Another program than the one on trial is at the path, such as after a first rollback:
    /// nothing was done to it.
    NotOnTrial,
}

/// What was at the path before the program on trial.
enum Before {
    /// A program, and where it is now.
    At(PathBuf, ProgramDigest),
    /// Nothing, by the word of the empty file that is here.
    Nothing(PathBuf),
}

impl Before {
    fn digest(&self) -> Option<ProgramDigest> {
        match self {
            Self::At(_, digest) => Some(*digest),
            Self::Nothing(_) => None,
        }
    }
}

impl Program {
    /// The program that a rollback would put back, by its digest; none where the last swap was a
    /// first installation, was rolled back already, or never was.
    pub fn previous(&self) -> io::Result<Option<ProgramDigest>> {
        let cut_off = match self.known_digest()? {
            Some(at_path) => self.not_set_aside(at_path)?,
            None => None,
        };
        match cut_off {
            Some(before) => Ok(Some(before)),
            None => {
                Ok(self.digest_of(&self.beside(".previous"))?.filter(|digest| *digest != nothing()))
            }
        }
    }

    /// Whether a swap has brought the program at the path, by what lies beside it. Nothing is read.
    pub(crate) fn was_replaced(&self) -> bool {
        self.beside(".previous").exists()
    }

    /// Completes a swap to the program at the path that was cut off right after its exchange: the
    /// program before goes to where everybody looks for it.
    pub(super) fn set_aside(&self, at_path: ProgramDigest) -> io::Result<()> {
        if self.not_set_aside(at_path)?.is_none() {
            return Ok(());
        }
        let (next, previous) = (self.next(at_path), self.beside(".previous"));
        self.rename_over(&next, &previous)?;
        sync_directories(&*self.disk, &[&previous])?;
        self.remove_second_name(&next)
    }

    /// The program before this one, if it still has the name under which this one came.
    fn not_set_aside(&self, at_path: ProgramDigest) -> io::Result<Option<ProgramDigest>> {
        Ok(self.digest_of(&self.next(at_path))?.filter(|digest| *digest != at_path))
    }

    /// Takes the program on trial away from the path and puts the one before it back, which is
    /// `old`; durable on return. Done twice, it does nothing the second time.
    pub fn revert(
        &self,
        on_trial: ProgramDigest,
        old: Option<ProgramDigest>,
    ) -> Result<Reverted, Failure> {
        self.revert_under(&self.lock()?, on_trial, old)
    }

    /// [`Program::revert`] by the holder of the lock.
    pub(crate) fn revert_under(
        &self,
        _lock: &Lock,
        on_trial: ProgramDigest,
        old: Option<ProgramDigest>,
    ) -> Result<Reverted, Failure> {
        let before = match self.digest() {
            Ok(at_path) if self.counts_as(at_path, on_trial, old) == Some(on_trial) => {
                self.before(on_trial)?
            }
            Ok(_) => {
                self.finish_reverting(on_trial)?;
                // It may be cut off anywhere, and whoever comes next tries again.
                let _ = self.restore_older_if_free();
                return Ok(Reverted::NotOnTrial);
            }
            // What can't be read can't run, and it is not the old program: that is elsewhere.
            Err(error) => {
                let before = self.before(on_trial).ok().filter(|before| before.digest() == old);
                before.ok_or_else(|| not_reverted("reading the program")(error))?
            }
        };
        match before {
            Before::Nothing(marker) => {
                self.take_away(&marker).map_err(not_reverted("taking the new program away"))?;
                Ok(Reverted::Removed)
            }
            Before::At(before, _) => self.put_back(&before).map(|()| Reverted::PutBack),
        }
    }

    fn before(&self, on_trial: ProgramDigest) -> Result<Before, Failure> {
        let unreadable = || not_reverted("reading the previous program");
        if let Some(digest) = self.not_set_aside(on_trial).map_err(unreadable())? {
            return Ok(Before::At(self.next(on_trial), digest)); // the swap was cut off right after its exchange
        }
        let previous = self.beside(".previous");
        match self.digest_of(&previous).map_err(unreadable())? {
            Some(digest) if digest == nothing() => Ok(Before::Nothing(previous)),
            Some(digest) if digest != on_trial => Ok(Before::At(previous, digest)),
            _ => Err(Failure::new(
                FailureKind::InstallFailed,
                "there is no previous program to put back",
            )),
        }
    }

    fn put_back(&self, before: &Path) -> Result<(), Failure> {
        let (failed, kept) = (self.beside(".failed"), self.beside(".kept"));
        let swap = Swap {
            disk: &*self.disk,
            path: &self.path,
            incoming: before,
            outgoing: &failed,
            kept: &kept,
            form: self.form,
            irreplaceable: true,
        };
        swap.perform().map(drop).map_err(|unfinished| {
            unfinished.into_failure("the previous program was not put back")
        })?;
        // The program is back, durably, whatever becomes of the one before it; whoever comes next
        // tries again.
        let _ = self.restore_older();
        Ok(())
    }

    /// Undoes a first installation: the loser becomes `.failed`, nothing is at the path.
    fn take_away(&self, marker: &Path) -> io::Result<()> {
        self.rename_over(&self.path, &self.beside(".failed"))?;
        // Otherwise a power cut could undo the rename alone, and nothing would lead back from the
        // new program.
        sync_directories(&*self.disk, &[&self.path, marker])?;
        disk::remove_if_present(&*self.disk, marker)?;
        sync_directories(&*self.disk, &[marker])?;
        let _ = self.restore_older();
        Ok(())
    }

    /// A rollback that was cut off right after its exchange left the loser under the winner's old
    /// name.
    pub(super) fn finish_reverting(&self, on_trial: ProgramDigest) -> Result<(), Failure> {
        for left in [self.beside(".previous"), self.next(on_trial)] {
            if self.digest_of(&left).map_err(not_reverted("reading what the rollback left"))?
                != Some(on_trial)
            {
                continue;
            }
            let renamed = self.rename_over(&left, &self.beside(".failed"));
            let synced = renamed.and_then(|()| sync_directories(&*self.disk, &[&left]));
            synced.map_err(not_reverted("setting the failed program aside"))?;
        }
        Ok(())
    }
}

/// The digest of no bytes: of the file that says that no program was there.
pub(super) fn nothing() -> ProgramDigest {
    Hasher::new(Beside::default()).finish().program
}

fn not_reverted(step: &'static str) -> impl FnOnce(io::Error) -> Failure {
    move |error| {
        Failure::from_io(
            FailureKind::InstallFailed,
            format!("the previous program was not put back: {step} failed"),
            error,
        )
    }
}
