//! A received file that is kept over restarts: one whose upgrade was put off.

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;

use nix::fcntl::OFlag;

use super::staged::Reception;
use super::{RECEPTION_PREFIX, Stage, Staged, unwritable};
use crate::digest::{BUFFER_SIZE, Beside, Hasher};
use crate::disk::Operation;
use crate::model::{Failure, FailureKind};

impl Staged {
    /// Keeps the file, durably, whatever becomes of this value. Its name in the staging area.
    pub(crate) fn keep(mut self) -> Result<String, Failure> {
        let path = self.path().to_owned();
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Failure::new(FailureKind::Internal, "the staged file has no name"));
        };
        let synced = self.reception.disk().apply(Operation::SyncDirectory { path: directory });
        synced.map_err(unwritable)?;
        self.reception.set_kept(true);
        Ok(name.to_string_lossy().into_owned())
    }

    /// Keeps it no longer than this value.
    pub(crate) fn let_go(&mut self) {
        self.reception.set_kept(false);
    }
}

impl Stage {
    /// Whether a file lies here that was kept under this name, of this size.
    pub(crate) fn has_kept(&self, name: &str, size: u64) -> bool {
        is_reception(name)
            && fs::symlink_metadata(self.directory.join(name))
                .is_ok_and(|metadata| metadata.is_file() && metadata.len() == size)
    }

    /// The file that was kept under this name, read and hashed anew: what comes from the disk is
    /// believed no more than what comes from a peer. It stays where this value is dropped.
    pub(crate) fn reopen(&self, name: &str, file_name: String) -> Result<Staged, Failure> {
        let gone = |error: io::Error| {
            let sentence = "the file of the upgrade that was put off can't be read";
            Failure::from_io(FailureKind::Interrupted, sentence, error)
        };
        if !is_reception(name) {
            return Err(gone(io::Error::other(format!("{name:?} is no received file"))));
        }
        self.adopt().map_err(gone)?;
        let path = self.directory.join(name);
        let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
        let file = OpenOptions::new().read(true).custom_flags(flags).open(&path).map_err(gone)?;
        if !file.metadata().map_err(gone)?.is_file() {
            return Err(gone(io::Error::other("it is no regular file")));
        }
        let (mut hasher, mut size) = (Hasher::new(Beside::default()), 0);
        let mut buffer = vec![0; BUFFER_SIZE];
        loop {
            let n = (&file).read(&mut buffer).map_err(gone)?;
            if n == 0 {
                break;
            }
            hasher.update(&buffer[..n]);
            size += n as u64;
        }
        let mut reception = Reception::new(self.clone(), path);
        reception.set_kept(true);
        reception.is_whole();
        Ok(Staged { file_name: Some(file_name), size, digests: hasher.finish(), reception, file })
    }
}

/// The name of a received file, and no path to somewhere else.
pub(super) fn is_reception(name: &str) -> bool {
    name.starts_with(RECEPTION_PREFIX) && !name.contains('/')
}
