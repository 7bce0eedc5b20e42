//! The programs of a microcontroller that this computer keeps, so that there is a way back (ST-10).
//!
//! | file | what it is |
//! |---|---|
//! | `installed.bin` | what was proved to be there, unless `writing` is there too |
//! | `previous.bin` | what was there before that; empty where that was no program |
//! | `writing` | made before the chip is told to change its program, and removed once that is proved: meanwhile nobody knows what is there |
//!
//! It must not know how a chip is written.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::disk::{self, Disk, Operation};
use crate::model::{Failure, FailureKind, ProgramDigest};

const INSTALLED: &str = "installed.bin";
const PREVIOUS: &str = "previous.bin";
const WRITING: &str = "writing";
/// Largest file: the whole flash.
const LARGEST: u64 = 1 << 20;

/// The directory of one microcontroller.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
}

/// What is known of the program in a chip before it is replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Before {
    /// It is this one.
    Known(Vec<u8>),
    /// Nothing was installed here before.
    Unknown,
    /// It was being replaced; the one before that is kept, and stays.
    Unfinished,
}

impl Kept {
    pub(super) fn at(disk: Arc<dyn Disk>, directory: &Path) -> Self {
        Self { disk, directory: directory.to_owned() }
    }

    /// What the chip has, as far as it is known.
    pub(super) fn before(&self) -> Result<Before, Failure> {
        if self.is_unfinished() {
            return Ok(Before::Unfinished);
        }
        Ok(self.read(INSTALLED)?.map_or(Before::Unknown, Before::Known))
    }

    /// Whether the chip was told to change its program, and nothing has proved since what it has.
    pub(super) fn is_unfinished(&self) -> bool {
        // Where that can't be seen, nothing is known of the chip.
        self.directory.join(WRITING).try_exists().unwrap_or(true)
    }

    /// Whether the chip has, or may have, this program.
    pub(super) fn may_have(&self, program: &ProgramDigest) -> Result<bool, Failure> {
        Ok(match self.before()? {
            Before::Known(installed) => digest(&installed) == *program,
            Before::Unfinished => true,
            Before::Unknown => false,
        })
    }

    /// What there is to go back to.
    pub(super) fn previous(&self) -> Result<Option<Vec<u8>>, Failure> {
        Ok(self.read(PREVIOUS)?.filter(|bytes| !bytes.is_empty()))
    }

    /// From now on nobody knows what the chip has; what it had is kept, unless that is kept already.
    pub(super) fn begin(&self, previous: Option<&[u8]>) -> Result<(), Failure> {
        let begun = self.prepare().and_then(|()| {
            if let Some(previous) = previous {
                self.write(PREVIOUS, previous)?;
            }
            self.write(WRITING, b"")
        });
        begun.map_err(|error| self.unusable(error))
    }

    /// The chip was proved to have this.
    pub(super) fn conclude(&self, installed: &[u8]) -> Result<(), Failure> {
        let concluded = self.prepare().and_then(|()| {
            self.write(INSTALLED, installed)?;
            self.remove(WRITING)
        });
        concluded.map_err(|error| self.unusable(error))
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Failure> {
        let read = disk::read_limited(&self.directory.join(name), LARGEST);
        read.map_err(|error| self.unusable(error))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        disk::write_atomic_private(&*self.disk, &self.directory, name, bytes)
    }

    /// Removes it, durably.
    fn remove(&self, name: &str) -> io::Result<()> {
        match self.disk.apply(Operation::Remove { path: &self.directory.join(name) }) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed
                .and_then(|()| self.disk.apply(Operation::SyncDirectory { path: &self.directory })),
        }
    }

    /// Makes the directory and the one above it, durably.
    fn prepare(&self) -> io::Result<()> {
        let above = self.directory.parent().unwrap_or(Path::new("/"));
        for path in [above, &self.directory] {
            match self.disk.apply(Operation::MakeDirectory { path }) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                made => made?,
            }
            let parent = path.parent().unwrap_or(Path::new("/"));
            self.disk.apply(Operation::SyncDirectory { path: parent })?;
        }
        Ok(())
    }

    fn unusable(&self, error: io::Error) -> Failure {
        let directory = self.directory.display();
        let sentence = format!("the programs that are kept in {directory} can't be used");
        Failure::from_io(FailureKind::InstallFailed, sentence, error)
            .with_hint("see that the directory `state` of the [paths] section can be written")
    }
}

/// The digest of a program, which is that of its firmware file without its seal.
fn digest(program: &[u8]) -> ProgramDigest {
    ProgramDigest(Sha256::digest(program).into())
}
