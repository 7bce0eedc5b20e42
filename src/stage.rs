//! The staging area: bytes are received into it, hashed while they are written, and leave it only
//! by the swap.
//!
//! It is the sub-directory `.uplift` of the program's own directory, so that it is on the same file
//! system and the same mount: the swap is a rename, whatever the size. The room knows sizes and
//! digests, not what a package is.

mod kept;
mod part;
mod receiving;
mod staged;
#[cfg(test)]
mod tests;
mod write_back;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::{self, DIRECTORY_MODE, Disk, LocalDisk, Operation, PRIVATE_MODE};
use crate::model::{AnnouncedDigests, Failure, FailureKind};

pub(crate) use part::Keeper;
use part::Turns;
pub use receiving::{Observer, Receiving, Watch};
pub use staged::Staged;
pub(crate) use staged::names;

use staged::Reception;

/// Name of the staging area in the program's directory.
pub(crate) const DIRECTORY_NAME: &str = ".uplift";

/// Begins the name of every file that is being received, and of no other file in the staging area.
const RECEPTION_PREFIX: &str = "incoming-";

/// Bytes that stay free on the file system beside the file: room for the state file, the history
/// and the swap itself.
pub(crate) const RESERVED_SPACE: u64 = 1024 * 1024;

/// What a peer says of a file before it sends it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Announced {
    /// The file's name as the peer gave it: data, never a path. Absent where its seal is to say it.
    pub file_name: Option<String>,
    /// Size in bytes: not one more is taken, not one less is enough. Absent where the peer itself
    /// learns it at the end.
    pub size: Option<u64>,
    /// Whether the peer will give an MD5 at the end.
    pub with_md5: bool,
    /// Digests that the peer gives beforehand.
    pub digests: AnnouncedDigests,
    /// Whether it begins anew, whatever came of it before.
    pub anew: bool,
}

impl Announced {
    /// A file of this name and size, and no word more.
    pub fn named(file_name: impl Into<String>, size: Option<u64>) -> Self {
        Self { file_name: Some(file_name.into()), size, ..Self::default() }
    }
}

/// The staging area of one program.
#[derive(Debug, Clone)]
pub struct Stage {
    directory: PathBuf,
    max_size: u64,
    disk: Arc<dyn Disk>,
    whole: Whole,
    turns: Turns,
}

/// The files that were received whole and are still there; all others are receptions that run, or
/// that somebody left.
#[derive(Debug, Clone, Default)]
struct Whole(Arc<Mutex<BTreeSet<PathBuf>>>);

impl Whole {
    fn lock(&self) -> MutexGuard<'_, BTreeSet<PathBuf>> {
        // Each call leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The staging area's directory for this program.
pub(crate) fn directory_beside(program: &Path) -> PathBuf {
    program.parent().unwrap_or(Path::new("/")).join(DIRECTORY_NAME)
}

impl Stage {
    /// The staging area beside `program`; files above `max_size` bytes are refused.
    pub fn beside(program: &Path, max_size: u64) -> Self {
        Self::on(Arc::new(LocalDisk), program, max_size)
    }

    /// [`Stage::beside`] on a disk of the caller's.
    pub(crate) fn on(disk: Arc<dyn Disk>, program: &Path, max_size: u64) -> Self {
        let (whole, turns) = (Whole::default(), Turns::default());
        Self { directory: directory_beside(program), max_size, disk, whole, turns }
    }

    /// Starts to receive a file: its space is allocated, where its size is known, so a full disk
    /// shows here and not at the end.
    ///
    /// Fails with `too-large` above the limit, `no-space`, or `install-failed` where the directory
    /// can't be written.
    pub fn receive(&self, announced: Announced, observer: Observer) -> Result<Receiving, Failure> {
        let (reception, file) = self.begin(&announced)?;
        Ok(Receiving::new(announced, reception, file, observer))
    }

    /// A new file with room for what is announced.
    fn begin(&self, announced: &Announced) -> Result<(Reception, File), Failure> {
        let size = announced.size.unwrap_or(0);
        self.check_size(size)?;
        self.prepare().map_err(|error| self.unusable(error))?;
        self.check_space(size, "the file has")?;
        let (path, file) = self.create().map_err(|error| self.unusable(error))?;
        let reception = Reception::new(self.clone(), path);
        // An empty file is the check's, which has a better word for it.
        let allocated = disk::allocate(&*self.disk, &file, size);
        allocated.map_err(|error| self.unusable(error))?;
        Ok((reception, file))
    }

    /// Removes every file that was received or is being received, and nothing else. A reception
    /// that still runs will fail.
    pub fn clean(&self) -> Result<(), Failure> {
        self.remove_receptions(|_| true)
    }

    /// The same, but the file of this name stays: that of an upgrade that was put off.
    pub(crate) fn clean_but(&self, kept: Option<&str>) -> Result<(), Failure> {
        let kept = kept.map(|kept| self.directory.join(kept));
        self.remove_receptions(|path| kept.as_deref() != Some(path))
    }

    /// Removes what is not received whole, but for the file of this name, of which a part is kept.
    /// A reception that still runs will fail; who holds a file that is whole still has it.
    pub(crate) fn drop_receptions(&self, kept: Option<&str>) -> Result<(), Failure> {
        let whole = self.whole.lock().clone();
        let kept = kept.map(|kept| self.directory.join(kept));
        self.remove_receptions(|path| !whole.contains(path) && kept.as_deref() != Some(path))
    }

    fn remove_receptions(&self, goes: impl Fn(&Path) -> bool) -> Result<(), Failure> {
        match self.remove_each(goes) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let sentence =
                    format!("the staging area {} can't be emptied", self.directory.display());
                Err(Failure::from_io(FailureKind::InstallFailed, sentence, error))
            }
            _ => Ok(()),
        }
    }

    fn remove_each(&self, goes: impl Fn(&Path) -> bool) -> io::Result<()> {
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let is_received = entry.file_name().to_string_lossy().starts_with(RECEPTION_PREFIX);
            if is_received && goes(&entry.path()) {
                disk::remove_if_present(&*self.disk, &entry.path())?;
            }
        }
        Ok(())
    }

    fn check_size(&self, size: u64) -> Result<(), Failure> {
        if size <= self.max_size {
            return Ok(());
        }
        Err(Failure::new(
            FailureKind::TooLarge,
            format!("the file has {size} bytes, and the limit is {}", self.max_size),
        ))
    }

    /// Whether so many bytes may be written; `what` says of what they are.
    fn check_space(&self, bytes: u64, what: &str) -> Result<(), Failure> {
        let needed = bytes.saturating_add(RESERVED_SPACE);
        let shortage = disk::shortage(&self.directory, needed);
        let Some(free) = shortage.map_err(|error| self.unusable(error))? else { return Ok(()) };
        let directory = self.directory.display();
        let sentence = format!(
            "{what} {bytes} bytes, and {directory} has {free} free, of which {RESERVED_SPACE} are reserved"
        );
        Err(Failure::new(FailureKind::NoSpace, sentence))
    }

    /// Creates the directory durably, or proves that what is there is a directory that nobody else
    /// can write.
    fn prepare(&self) -> io::Result<()> {
        match self.disk.apply(Operation::MakeDirectory { path: &self.directory }) {
            Ok(()) => match self.directory.parent() {
                Some(parent) => self.disk.apply(Operation::SyncDirectory { path: parent }),
                None => Ok(()),
            },
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.adopt(),
            Err(error) => Err(error),
        }
    }

    fn adopt(&self) -> io::Result<()> {
        let directory = disk::open_directory(&self.directory)?;
        let metadata = directory.metadata()?;
        if ![0, nix::unistd::geteuid().as_raw()].contains(&metadata.uid()) {
            return Err(io::Error::other(format!(
                "it belongs to user {}, who could change what is staged",
                metadata.uid()
            )));
        }
        if metadata.permissions().mode() & 0o7777 == DIRECTORY_MODE {
            return Ok(());
        }
        self.disk.apply(Operation::SetMode { file: &directory, mode: DIRECTORY_MODE })
    }

    /// A new name for each reception, so that an old one that is dropped late can't remove a newer
    /// one's file.
    fn create(&self) -> io::Result<(PathBuf, File)> {
        static RECEPTIONS: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = RECEPTIONS.fetch_add(1, Ordering::Relaxed);
            let path =
                self.directory.join(format!("{RECEPTION_PREFIX}{}-{number}", std::process::id()));
            match self.disk.create(&path, PRIVATE_MODE) {
                // Left by an earlier process of the same number.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                result => return result.map(|file| (path, file)),
            }
        }
    }

    fn unusable(&self, error: io::Error) -> Failure {
        let sentence = format!("the staging area {} can't be written", self.directory.display());
        Failure::from_io(FailureKind::InstallFailed, sentence, error)
    }
}

fn unwritable(error: io::Error) -> Failure {
    Failure::from_io(
        FailureKind::InstallFailed,
        "the received file can't be written to the staging area",
        error,
    )
}
