//! The file that another updater is handed: a copy of its own, which nobody can change.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::{Change, PAYLOAD};
use crate::disk::{self, Operation, PRIVATE_MODE};
use crate::model::{Failure, FailureKind};
use crate::stage::RESERVED_SPACE;

/// For everybody to read, and nobody to write.
const MODE: u32 = 0o444;

impl Change {
    /// Copies the `length` bytes of `source` to a file of this name, instead of what the last job has
    /// left; durable on return. What it copies is not looked at. `busy` while that
    /// job runs. Blocks.
    pub fn copy(
        &self,
        source: &mut impl Read,
        length: u64,
        name: &str,
    ) -> Result<PathBuf, Failure> {
        if Path::new(name).file_name().is_none_or(|file| file != name) {
            return Err(Failure::new(
                FailureKind::NameInvalid,
                format!("{name:?} is no name for a file"),
            ));
        }
        let unusable = |error| self.unusable(error);
        self.prepare().map_err(unusable)?;
        self.clear()?;
        self.check_space(length)?;
        let (directory, path) = (self.payload(), self.payload().join(name));
        self.make_directory(&directory).map_err(unusable)?;
        let copied = self
            .disk
            .create(&path, PRIVATE_MODE)
            .and_then(|copy| self.fill(&copy, source, length))
            .and_then(|()| self.disk.apply(Operation::SyncDirectory { path: &directory }));
        copied.map_err(|error| {
            // The error that stopped it is the one to tell; what stays goes with the next copy.
            let _ = self.forget_payload();
            let sentence = "the file can't be copied for another updater";
            Failure::from_io(FailureKind::InstallFailed, sentence, error)
        })?;
        Ok(path)
    }

    pub(super) fn forget_payload(&self) -> io::Result<()> {
        let entries = match fs::read_dir(self.payload()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            disk::remove_if_present(&*self.disk, &entry?.path())?;
        }
        Ok(())
    }

    fn payload(&self) -> PathBuf {
        self.directory.join(PAYLOAD)
    }

    fn fill(&self, copy: &File, source: &mut impl Read, length: u64) -> io::Result<()> {
        disk::allocate(&*self.disk, copy, length)?;
        let copied = disk::copy(&*self.disk, &mut source.take(length), copy)?;
        if copied != length {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("it has {copied} bytes instead of {length} there"),
            ));
        }
        self.disk.apply(Operation::SetMode { file: copy, mode: MODE })?;
        self.disk.apply(Operation::Sync { file: copy })
    }

    fn check_space(&self, size: u64) -> Result<(), Failure> {
        let needed = size.saturating_add(RESERVED_SPACE);
        let shortage = disk::shortage(&self.directory, needed);
        let Some(free) = shortage.map_err(|error| self.unusable(error))? else { return Ok(()) };
        let directory = self.directory.display();
        let sentence = format!(
            "the copy for another updater has {size} bytes, and {directory} has {free} free, of which {RESERVED_SPACE} are reserved"
        );
        Err(Failure::new(FailureKind::NoSpace, sentence).with_hint(
            "free space on the file system of the directory `state` of the [paths] section",
        ))
    }
}
