//! The file that another updater is handed: what was received, which nobody can change.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Change, PAYLOAD};
use crate::disk;
use crate::model::{Failure, FailureKind};
use crate::stage::Staged;

/// For everybody to read, and nobody to write.
const MODE: u32 = 0o444;

impl Change {
    /// Makes the first `length` bytes of `file` the payload of this name, instead of what the last job
    /// has left; durable on return. What is in them is not looked at. The file is on the file system of
    /// the state, and is moved. `busy` while that job runs. Blocks.
    pub fn take(&self, file: Staged, length: u64, name: &str) -> Result<PathBuf, Failure> {
        if Path::new(name).file_name().is_none_or(|file| file != name) {
            return Err(Failure::new(
                FailureKind::NameInvalid,
                format!("{name:?} is no name for a file"),
            ));
        }
        let unusable = |error| self.unusable(error);
        self.prepare().map_err(unusable)?;
        self.clear()?;
        let (directory, path) = (self.payload(), self.payload().join(name));
        self.make_directory(&directory).map_err(unusable)?;
        let taken = file
            .move_to(&path, length, MODE)
            .and_then(|()| disk::sync_name(&*self.disk, &directory, name));
        taken.map_err(|error| {
            // The error that stopped it is the one to tell; what stays goes with the next file.
            let _ = self.forget_payload();
            let sentence = "the file can't be handed to another updater";
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
}
