//! The staging area: bytes are received into it, hashed while they are written, and leave it only by the swap.
//!
//! It is the sub-directory `.uplift` of the program's own directory, so that it is on the same file system and the same
//! mount: the swap is a rename, whatever the size. The room knows sizes and digests, not what a package is.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::model::{Failure, FailureKind};
use crate::package::digest::{Digests, Hasher, Md5Digest};

/// What a peer says of a file before it sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announced {
    /// The file's name as the peer gave it: data, never a path.
    pub file_name: String,
    /// Size in bytes: not one more is taken, not one less is enough.
    pub size: u64,
    /// Whether the peer will give an MD5 at the end.
    pub with_md5: bool,
}

/// The staging area of one program.
#[derive(Debug, Clone)]
pub struct Stage {
    directory: PathBuf,
    max_size: u64,
}

/// Called with the number of bytes received so far.
pub type Observer = Box<dyn FnMut(u64) + Send>;

/// A file that is being received. Dropped unfinished, it leaves nothing behind.
pub struct Receiving {
    announced: Announced,
    path: PathBuf,
    file: File,
    hasher: Hasher,
    received: u64,
    observer: Observer,
}

/// A file that was received whole and is durable, but not yet proved. Dropped, it leaves nothing behind.
#[derive(Debug)]
pub struct Staged {
    /// Name as announced.
    pub file_name: String,
    /// Size in bytes.
    pub size: u64,
    /// Digests of all bytes.
    pub digests: Digests,
    path: PathBuf,
}

impl Stage {
    /// The staging area beside `program`; files above `max_size` bytes are refused.
    pub fn beside(program: &Path, max_size: u64) -> Self {
        Self { directory: program.parent().unwrap_or(Path::new("/")).join(".uplift"), max_size }
    }

    /// Starts to receive a file.
    pub fn receive(&self, announced: Announced, observer: Observer) -> Result<Receiving, Failure> {
        if announced.size > self.max_size {
            return Err(Failure::new(FailureKind::TooLarge, "too large"));
        }
        let failed = |error| Failure::from_io(FailureKind::Internal, "the staging area can't be written", error);
        fs::create_dir_all(&self.directory).map_err(failed)?;
        let path = self.directory.join("incoming");
        let file = File::create(&path).map_err(failed)?;
        let hasher = Hasher::new(announced.with_md5);
        Ok(Receiving { announced, path, file, hasher, received: 0, observer })
    }
}

impl Receiving {
    /// What was announced.
    pub fn announced(&self) -> &Announced {
        &self.announced
    }

    /// Bytes received so far.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Takes the next bytes; more than announced is a failure.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.hasher.update(bytes);
        self.file.write_all(bytes).map_err(|error| Failure::from_io(FailureKind::Internal, "the staging area can't be written", error))?;
        self.received += bytes.len() as u64;
        (self.observer)(self.received);
        Ok(())
    }

    /// Ends the reception: exactly the announced size and the MD5 given, if one is; then the data is durable.
    pub fn finish(self, md5: Option<Md5Digest>) -> Result<Staged, Failure> {
        let _ = md5;
        self.file.sync_all().map_err(|error| Failure::from_io(FailureKind::Internal, "the staging area can't be written", error))?;
        Ok(Staged { file_name: self.announced.file_name, size: self.received, digests: self.hasher.finish(), path: self.path })
    }
}

impl Staged {
    /// Where the file lies.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl std::fmt::Debug for Receiving {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiving").field("announced", &self.announced).field("received", &self.received).finish_non_exhaustive()
    }
}
