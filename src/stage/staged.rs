//! A received file as it lies in the staging area: its name, and the inode that the name must stand
//! for.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::fcntl::OFlag;

use super::{Announced, Receiving, Stage, unwritable};
use crate::digest::{BUFFER_SIZE, Digests};
use crate::disk::{self, Disk, Operation};
use crate::model::{Failure, FailureKind};

/// A file that was received whole and is durable, but not yet proved. Dropped, it leaves nothing
/// behind.
///
/// No descriptor of it is open for writing, so that it may be executed (`ETXTBSY` otherwise). One
/// is open for reading: as long as it is, no other file can come by the same inode number.
#[derive(Debug)]
pub struct Staged {
    /// Name as announced; absent where its seal is to say it.
    pub file_name: Option<String>,
    /// Size in bytes.
    pub size: u64,
    /// Digests of all bytes.
    pub digests: Digests,
    pub(super) reception: Reception,
    pub(super) file: File,
}

impl Staged {
    /// Where the file lies.
    pub fn path(&self) -> &Path {
        &self.reception.path
    }

    /// The very file that was received and hashed, open for reading, whatever its name stands for
    /// by now.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// What stands in it behind its first `start` bytes, as a staged file of its own: received from
    /// the disk as another one from a peer, with room, digests and syncs of its own.
    pub(crate) fn behind(&self, start: u64) -> Result<Self, Failure> {
        let stage = Stage { max_size: self.size, ..self.reception.stage.clone() };
        let size = Some(self.size.saturating_sub(start));
        let announced =
            Announced { file_name: self.file_name.clone(), size, ..Announced::default() };
        let mut receiving = stage.receive(announced, Box::new(|_| ())).map_err(|failure| {
            let why = "a file with its seal before it needs room twice, to be installed without it";
            with_room_for_both(why, failure)
        })?;
        let mut from = &self.file;
        from.seek(SeekFrom::Start(start)).map_err(unwritable)?;
        let mut buffer = Vec::with_capacity(BUFFER_SIZE);
        while from.take(BUFFER_SIZE as u64).read_to_end(&mut buffer).map_err(unwritable)? > 0 {
            receiving.write(&buffer)?;
            buffer.clear();
        }
        receiving.finish(None)
    }

    /// A place for `size` bytes that come of this file, which stays beside them.
    pub(crate) fn begin_beside(&self, size: u64) -> Result<Receiving, Failure> {
        let stage = Stage { max_size: size, ..self.reception.stage.clone() };
        let announced = Announced {
            file_name: self.file_name.clone(),
            size: Some(size),
            ..Announced::default()
        };
        stage.receive(announced, Box::new(|_| ())).map_err(|failure| {
            with_room_for_both("a container needs room for itself and for what is in it", failure)
        })
    }

    /// Moves the very file that was received to `to` on the same file system: cut to its first
    /// `length` bytes, with this mode, durable but for its new name, and gone from here.
    pub(crate) fn move_to(self, to: &Path, length: u64, mode: u32) -> io::Result<()> {
        let (disk, from) = (self.reception.disk(), self.path());
        let file =
            OpenOptions::new().write(true).custom_flags(OFlag::O_NOFOLLOW.bits()).open(from)?;
        if !names(from, &self.file)? || !names(from, &file)? {
            return Err(io::Error::other("its name stands for another file by now"));
        }
        if self.size < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if self.size != length {
            disk.apply(Operation::Resize { file: &file, size: length })?;
        }
        disk.apply(Operation::SetMode { file: &file, mode })?;
        disk.apply(Operation::Sync { file: &file })?;
        disk.apply(Operation::Rename { from, to })?;
        disk.apply(Operation::SyncDirectory { path: &self.reception.stage.directory })
    }
}

/// Says why a file needs more room than its own size.
fn with_room_for_both(why: &str, failure: Failure) -> Failure {
    match failure.kind {
        FailureKind::NoSpace => {
            Failure { sentence: format!("{why}: {}", failure.sentence), ..failure }
        }
        _ => failure,
    }
}

/// The name of a received file. Dropped, it removes the name, unless the swap has moved the file
/// away.
#[derive(Debug)]
pub(super) struct Reception {
    stage: Stage,
    path: PathBuf,
    /// Dropped, it leaves the file where it is.
    is_kept: bool,
}

impl Reception {
    pub(super) fn new(stage: Stage, path: PathBuf) -> Self {
        Self { stage, path, is_kept: false }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn stage(&self) -> &Stage {
        &self.stage
    }

    pub(super) fn set_kept(&mut self, is_kept: bool) {
        self.is_kept = is_kept;
    }

    pub(super) fn disk(&self) -> &Arc<dyn Disk> {
        &self.stage.disk
    }

    /// The file is whole from now on.
    pub(super) fn is_whole(&self) {
        self.stage.whole.lock().insert(self.path.clone());
    }

    /// Opens the name for reading; `None` if it does not stand for `file`, which was created under
    /// it, any more.
    pub(super) fn reopen(&self, file: &File) -> io::Result<Option<File>> {
        if !names(&self.path, file)? {
            return Ok(None);
        }
        OpenOptions::new()
            .read(true)
            .custom_flags(OFlag::O_NOFOLLOW.bits())
            .open(&self.path)
            .map(Some)
    }
}

impl Drop for Reception {
    fn drop(&mut self) {
        self.stage.whole.lock().remove(&self.path);
        if self.is_kept {
            return;
        }
        // Nobody is left to tell; `Stage::clean` tries again before the next reception.
        let _ = disk::remove_if_present(&*self.stage.disk, &self.path);
    }
}

/// Whether `path` names `file`: while a file is open, device and inode number are its own.
pub(crate) fn names(path: &Path, file: &File) -> io::Result<bool> {
    let identity = |metadata: Metadata| (metadata.dev(), metadata.ino());
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(identity(metadata) == identity(file.metadata()?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
