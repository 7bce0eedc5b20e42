//! The program at its path: which one it is, the swap to a new one, and back.
//!
//! At every instant the path names a complete program, the old one or the new one (design, I1). The files of a swap lie
//! in the staging area, on the same file system and the same mount:
//!
//! | file in `.uplift/` | what it is |
//! |---|---|
//! | `<name>.next` | the new program on its way to the path; for an instant of the swap, the old one on its way to `.previous` |
//! | `<name>.previous` | the program that the last swap replaced; empty if there was none |
//! | `<name>.failed` | the last program that was rolled back, for inspection |
//! | `<name>.kept` | the old program's second name while a swap without exchange runs |
//! | `lock` | held for the time of a swap or a rollback, by whoever does it |
//!
//! The room must not know why a program is installed or put back. All of it blocks, for some milliseconds.

mod attributes;
mod lock;
mod swap;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::fcntl::OFlag;

use crate::disk::{self, Disk, LocalDisk, Operation, PRIVATE_MODE};
use crate::model::{Failure, FailureKind, PackageSummary};
use crate::package::check::Checked;
use crate::package::digest::{ProgramDigest, program_digest};
use crate::stage::{self, Staged};

use lock::Lock;
use swap::Swap;

pub use swap::Means;

/// The program at a path.
#[derive(Debug, Clone)]
pub struct Program {
    path: PathBuf,
    stage: PathBuf,
    disk: Arc<dyn Disk>,
}

/// A swap that is done and durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swapped {
    /// What is at the path now.
    pub summary: PackageSummary,
    /// How it came there.
    pub means: Means,
}

/// How a rollback ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reverted {
    /// The program before the swap is at the path again.
    PutBack,
    /// There was no program before the swap, so the new one was taken away.
    Removed,
    /// Another program than the one on trial is at the path, such as after a first rollback: nothing was done to it.
    NotOnTrial,
}

/// What is at the path before a swap.
enum Present {
    Nothing,
    Program(File),
}

impl Program {
    /// The program at `path`, which need not exist yet; its directory must.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self::on(Arc::new(LocalDisk), path)
    }

    /// [`Program::new`] on a disk of the caller's.
    pub(crate) fn on(disk: Arc<dyn Disk>, path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self { stage: stage::directory_beside(&path), path, disk }
    }

    /// Where the program lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether what is at the path can be replaced: nothing, or a regular file. Otherwise `install-failed`, for a person
    /// to read before anything is sent.
    pub fn examine(&self) -> Result<(), Failure> {
        self.present().map(drop)
    }

    /// The digest of the program at the path; `None` if there is none. Reads all of it.
    pub fn digest(&self) -> io::Result<Option<ProgramDigest>> {
        digest_at(&self.path)
    }

    /// Puts the checked file at the path, with owner, mode and extended attributes of the program that is there; durable
    /// on return. After a failure (`install-failed` or `no-space`) the old program is at the path.
    pub fn install(&self, checked: Checked) -> Result<Swapped, Failure> {
        let (staged, summary) = checked.into_parts();
        let _lock = self.lock()?;
        let present = self.present()?;
        self.prepare(staged.file(), &present)?;
        let means = self.bring_in(&staged, &present).inspect_err(|_| self.discard(&staged))?;
        Ok(Swapped { summary, means })
    }

    /// Takes the program on trial away from the path and puts the one before it back; durable on return. Done twice, it
    /// does nothing the second time.
    pub fn revert(&self, on_trial: ProgramDigest) -> Result<Reverted, Failure> {
        if !self.stage.is_dir() {
            return Ok(Reverted::NotOnTrial); // no swap was ever done here
        }
        let _lock = self.lock()?;
        if self.digest().map_err(not_reverted("reading the program"))? != Some(on_trial) {
            return self.finish_reverting(on_trial).map(|()| Reverted::NotOnTrial);
        }
        let before = self.before(on_trial)?;
        if fs::symlink_metadata(&before).map_err(not_reverted("looking for the program before"))?.len() == 0 {
            self.take_away(&before).map_err(not_reverted("taking the new program away"))?;
            return Ok(Reverted::Removed);
        }
        let swap =
            Swap { disk: &*self.disk, path: &self.path, incoming: &before, outgoing: &self.beside(".failed"), kept: &self.beside(".kept") };
        swap.perform().map_err(|unfinished| unfinished.into_failure("the program before could not be put back"))?;
        Ok(Reverted::PutBack)
    }

    fn lock(&self) -> Result<Lock, Failure> {
        Lock::acquire(&self.stage.join("lock"))
    }

    /// `<name><suffix>` in the staging area.
    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.path.file_name().map_or_else(OsString::new, OsString::from);
        name.push(suffix);
        self.stage.join(name)
    }

    fn present(&self) -> Result<Present, Failure> {
        let metadata = match fs::symlink_metadata(&self.path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Present::Nothing),
            Err(error) => return Err(not_installed("looking at the program's path")(error)),
        };
        if !metadata.is_file() {
            return Err(Failure::new(FailureKind::InstallFailed, self.describe(&metadata)));
        }
        open_no_follow(&self.path).map(Present::Program).map_err(not_installed("opening the installed program"))
    }

    /// A link would be replaced, and not what it points to: whoever made it would find it gone.
    fn describe(&self, metadata: &Metadata) -> String {
        let path = self.path.display();
        match fs::canonicalize(&self.path) {
            Ok(file) if metadata.is_symlink() => {
                format!("{path} is a symbolic link; give `path` in the [program] section as {}", file.display())
            }
            _ if metadata.is_symlink() => format!("{path} is a symbolic link to nothing"),
            _ if metadata.is_dir() => format!("{path} is a directory, not a program"),
            _ => format!("{path} is not a regular file"),
        }
    }

    /// Makes the staged file what the program at the path is, but for its bytes; durable on return.
    fn prepare(&self, file: &File, present: &Present) -> Result<(), Failure> {
        match present {
            Present::Program(old) => attributes::copy(&*self.disk, old, file),
            Present::Nothing => attributes::set_default(&*self.disk, file),
        }
        .map_err(not_installed("setting owner, mode and attributes of the new program"))?;
        self.disk.apply(Operation::Sync { file }).map_err(not_installed("syncing the new program"))
    }

    fn bring_in(&self, staged: &Staged, present: &Present) -> Result<Means, Failure> {
        let next = self.beside(".next");
        let from = staged.path();
        self.disk.apply(Operation::Rename { from, to: &next }).map_err(not_installed("naming the new program"))?;
        self.disk.apply(Operation::SyncDirectory { path: &self.stage }).map_err(not_installed("syncing the staging area"))?;
        if !staged.is_at(&next) {
            return Err(Failure::new(FailureKind::InstallFailed, "the staged file is not the one that was checked any more"));
        }
        match present {
            Present::Nothing => self.put_first(&next),
            Present::Program(_) => self.replace(&next),
        }
    }

    /// Removes the new program after a failure, but never an old one that the name `.next` stands for.
    fn discard(&self, staged: &Staged) {
        let next = self.beside(".next");
        if staged.is_at(&next) {
            // What stays is replaced by the next swap.
            let _ = self.disk.apply(Operation::Remove { path: &next });
        }
    }

    fn replace(&self, next: &Path) -> Result<Means, Failure> {
        let previous = self.beside(".previous");
        let swap = Swap { disk: &*self.disk, path: &self.path, incoming: next, outgoing: &previous, kept: &self.beside(".kept") };
        swap.perform().map_err(|unfinished| swap.undo(unfinished).into_failure("the program was not replaced"))
    }

    /// The first installation. The empty `.previous` says so, and replaces one that a program of long ago left.
    fn put_first(&self, next: &Path) -> Result<Means, Failure> {
        self.remember_nothing().map_err(not_installed("noting that no program was there"))?;
        let put = Operation::RenameToFree { from: next, to: &self.path };
        self.disk.apply(put).map_err(not_installed("giving the new program its name"))?;
        let synced = self.sync_directories();
        if synced.is_err() {
            let _ = self.disk.apply(Operation::Remove { path: &self.path });
        }
        synced.map(|()| Means::FirstInstallation).map_err(not_installed("syncing the program's directory"))
    }

    fn remember_nothing(&self) -> io::Result<()> {
        let kept = self.beside(".kept");
        disk::remove_if_present(&*self.disk, &kept)?;
        self.disk.create(&kept, PRIVATE_MODE)?;
        self.disk.apply(Operation::Rename { from: &kept, to: &self.beside(".previous") })?;
        self.disk.apply(Operation::SyncDirectory { path: &self.stage })
    }

    fn sync_directories(&self) -> io::Result<()> {
        swap::sync_directories(&*self.disk, &[&self.path, &self.beside(".next")])
    }

    /// Where the program before the one on trial is: `.next` if a swap was cut off right after its exchange.
    fn before(&self, on_trial: ProgramDigest) -> Result<PathBuf, Failure> {
        let reading = "reading the program before";
        let [next, previous] = [".next", ".previous"].map(|suffix| self.beside(suffix));
        if digest_at(&next).map_err(not_reverted(reading))?.is_some_and(|digest| digest != on_trial) {
            return Ok(next);
        }
        match digest_at(&previous).map_err(not_reverted(reading))? {
            Some(digest) if digest != on_trial => Ok(previous),
            _ => Err(Failure::new(FailureKind::InstallFailed, "there is no program before to put back")),
        }
    }

    /// Undoes a first installation: the loser becomes `.failed`, nothing is at the path.
    fn take_away(&self, marker: &Path) -> io::Result<()> {
        self.disk.apply(Operation::Rename { from: &self.path, to: &self.beside(".failed") })?;
        disk::remove_if_present(&*self.disk, marker)?;
        self.sync_directories()
    }

    /// A rollback that was cut off right after its exchange left the loser under the winner's old name.
    fn finish_reverting(&self, on_trial: ProgramDigest) -> Result<(), Failure> {
        for suffix in [".previous", ".next"] {
            let left = self.beside(suffix);
            if digest_at(&left).map_err(not_reverted("reading what the rollback left"))? != Some(on_trial) {
                continue;
            }
            let rename = Operation::Rename { from: &left, to: &self.beside(".failed") };
            self.disk.apply(rename).and_then(|()| self.sync_directories()).map_err(not_reverted("setting the failed program aside"))?;
        }
        Ok(())
    }
}

fn digest_at(path: &Path) -> io::Result<Option<ProgramDigest>> {
    match File::open(path) {
        Ok(file) => program_digest(file).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn open_no_follow(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(OFlag::O_NOFOLLOW.bits()).open(path)
}

fn not_installed(step: &'static str) -> impl FnOnce(io::Error) -> Failure {
    move |error| Failure::from_io(FailureKind::InstallFailed, format!("the program was not replaced: {step} failed"), error)
}

fn not_reverted(step: &'static str) -> impl FnOnce(io::Error) -> Failure {
    move |error| Failure::from_io(FailureKind::InstallFailed, format!("the program before was not put back: {step} failed"), error)
}
