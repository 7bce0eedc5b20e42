//! The upload area: one flat directory. Only this file touches it.
//!
//! Every access is relative to the directory's own descriptor, by a single name, and follows no symbolic link: whatever else
//! has write access to the directory, nothing outside it can be reached. An upload is written under a hidden name and
//! takes its own by a rename; there is no state in which a client, or the daemon that pulls, sees a part of it.
//!
//! Uploads side by side share the free space: each takes a part of it before it writes ([`space`]), so that together they leave
//! what has to stay free.
//!
//! All calls block: they are for blocking threads. Nothing is synced; the area is temporary, the daemon's stage is what lasts.

mod space;

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use nix::fcntl::{Flock, FlockArg};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};
use rustix::fs::{fstat, fstatvfs, futimens, openat, renameat, statat, unlinkat};
use rustix::io::Errno;

use super::listing::{Entry, Modified};
use super::name::{FileName, RemotePath};
use super::reply::Reply;
use crate::disk;
use space::{Share, Taken};

/// Hidden name of an upload that is not complete; the rest is a number.
const UNFINISHED_PREFIX: &str = ".uplift-upload-";
/// Files at a time. An upload area holds one; the limit keeps a peer from filling it with empty ones.
const MOST_FILES: usize = 64;

/// Why the area refused something.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AreaError {
    #[error("No such file")]
    NotFound,
    #[error("A file is named by its name alone, without a directory or a leading dot")]
    NameRefused,
    #[error("Something that is not a file has this name")]
    NotAFile,
    #[error("There are {MOST_FILES} files already; delete some")]
    TooManyFiles,
    #[error("The file may have at most {largest} bytes")]
    TooLarge { largest: u64 },
    #[error("Not enough space is free")]
    NoSpace,
    #[error("The offset lies beyond the end of the file")]
    OffsetBeyondEnd,
    #[error("The upload area failed: {0}")]
    Io(#[from] io::Error),
}

impl From<Errno> for AreaError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOENT => Self::NotFound,
            // A symbolic link where O_NOFOLLOW met one, or a name that is a directory.
            Errno::LOOP | Errno::ISDIR | Errno::NOTDIR => Self::NotAFile,
            Errno::NOSPC | Errno::DQUOT => Self::NoSpace,
            other => Self::Io(other.into()),
        }
    }
}

impl AreaError {
    /// A failed write; a full disk has its own name.
    fn from_write(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace,
            _ => Self::Io(error),
        }
    }

    /// The reply of RFC 959 that says it.
    pub(crate) fn reply(&self) -> Reply {
        let code = match self {
            Self::NotFound | Self::NotAFile => 550,
            Self::NameRefused => 553,
            Self::TooManyFiles | Self::TooLarge { .. } => 552,
            Self::NoSpace => 452,
            Self::OffsetBeyondEnd => 554,
            Self::Io(_) => 451,
        };
        Reply::new(code, self.to_string())
    }
}

/// How much may be uploaded, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Largest file.
    pub(crate) max_size: u64,
    /// Space that stays free on the file system.
    pub(crate) keep_free: u64,
}

/// The directory, held open and locked.
#[derive(Debug)]
pub(crate) struct Area {
    directory: Flock<OwnedFd>,
    home: PathBuf,
    limits: Limits,
    uploads: AtomicU64,
    taken: Taken,
    /// The time of change of the last upload that got its name.
    published: Mutex<SystemTime>,
}

impl Area {
    /// Opens the directory, takes its lock, and removes what a server that was killed left unfinished.
    pub(crate) fn open(home: &Path, limits: Limits) -> io::Result<Self> {
        let directory = rustix::fs::open(home, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        // Two servers in one directory would remove each other's uploads as left-overs.
        let directory = Flock::lock(directory, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
            nix::errno::Errno::EWOULDBLOCK => io::Error::new(io::ErrorKind::ResourceBusy, "another server serves this directory"),
            other => other.into(),
        })?;
        let area = Self {
            directory,
            home: home.to_owned(),
            limits,
            uploads: AtomicU64::new(0),
            taken: Taken::default(),
            published: Mutex::new(SystemTime::UNIX_EPOCH),
        };
        for name in area.names()?.iter().filter(|name| name.starts_with(UNFINISHED_PREFIX)) {
            unlinkat(area.fd(), name.as_str(), AtFlags::empty())?;
        }
        Ok(area)
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// What a client's path names.
    pub(crate) fn resolve(&self, path: &str) -> Result<RemotePath, AreaError> {
        RemotePath::parse(path, &self.home).ok_or(AreaError::NameRefused)
    }

    fn file_name(&self, path: &str) -> Result<FileName, AreaError> {
        match self.resolve(path)? {
            RemotePath::File(name) => Ok(name),
            RemotePath::Root => Err(AreaError::NotAFile),
        }
    }

    /// A file's size and time.
    pub(crate) fn entry(&self, path: &str) -> Result<Entry, AreaError> {
        self.stat(self.file_name(path)?)
    }

    fn stat(&self, name: FileName) -> Result<Entry, AreaError> {
        let stat = statat(self.fd(), name.as_str(), AtFlags::SYMLINK_NOFOLLOW)?;
        if !is_regular(&stat) {
            return Err(AreaError::NotAFile);
        }
        Ok(Entry { name, size: size(&stat), modified: Modified::from_stat(&stat) })
    }

    /// What `path` lists: the files of the root, or the one file; sorted by name.
    pub(crate) fn list(&self, path: Option<&str>) -> Result<Vec<Entry>, AreaError> {
        match self.resolve(path.unwrap_or_default())? {
            RemotePath::File(name) => Ok(vec![self.stat(name)?]),
            RemotePath::Root => self.files(),
        }
    }

    /// The visible files; what is no regular file, or has a name that a client can't say, is not there.
    fn files(&self) -> Result<Vec<Entry>, AreaError> {
        let mut files: Vec<Entry> =
            self.names()?.iter().filter_map(|name| FileName::parse(name)).filter_map(|name| self.stat(name).ok()).collect();
        files.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(files)
    }

    fn names(&self) -> io::Result<Vec<String>> {
        // Opens it anew: the position in a directory belongs to the open file.
        let directory = rustix::fs::Dir::read_from(self.fd())?;
        directory.map(|entry| Ok(entry?.file_name().to_str().unwrap_or_default().to_owned())).collect()
    }

    /// Opens a file for a download from `offset` on; with it comes the number of bytes that follow.
    pub(crate) fn read(&self, path: &str, offset: u64) -> Result<(File, u64), AreaError> {
        let name = self.file_name(path)?;
        // Without O_NONBLOCK a pipe that somebody put here would block for ever.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mut file = File::from(openat(self.fd(), name.as_str(), flags, Mode::empty())?);
        let stat = fstat(&file)?;
        if !is_regular(&stat) {
            return Err(AreaError::NotAFile);
        }
        let rest = size(&stat).checked_sub(offset).ok_or(AreaError::OffsetBeyondEnd)?;
        file.seek(SeekFrom::Start(offset))?;
        Ok((file, rest))
    }

    /// Removes a file.
    pub(crate) fn delete(&self, path: &str) -> Result<(), AreaError> {
        let entry = self.entry(path)?;
        Ok(unlinkat(self.fd(), entry.name.as_str(), AtFlags::empty())?)
    }

    /// Whether an upload of this size would fit now.
    pub(crate) fn fits(&self, bytes: u64) -> Result<(), AreaError> {
        if bytes > self.limits.max_size {
            return Err(AreaError::TooLarge { largest: self.limits.max_size });
        }
        self.taken.leaves(bytes, || self.space())
    }

    /// Bytes that may be written until nothing but what has to stay free is left.
    fn space(&self) -> Result<u64, AreaError> {
        let free = disk::free_bytes(&fstatvfs(self.fd())?);
        // Where even that is not left, an empty file is too much: it would only be refused later.
        free.checked_sub(self.limits.keep_free).ok_or(AreaError::NoSpace)
    }

    /// Starts an upload to `path` of `announced` bytes, as far as the client said.
    pub(crate) fn upload(self: &Arc<Self>, path: &str, announced: Option<u64>) -> Result<Upload, AreaError> {
        let name = self.file_name(path)?;
        self.fits(announced.unwrap_or(0))?;
        match self.stat(name.clone()) {
            Err(AreaError::NotFound) if self.files()?.len() >= MOST_FILES => return Err(AreaError::TooManyFiles),
            Ok(_) | Err(AreaError::NotFound) => {}
            Err(other) => return Err(other),
        }
        let unfinished = format!("{UNFINISHED_PREFIX}{}", self.uploads.fetch_add(1, Ordering::Relaxed));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = File::from(openat(self.fd(), unfinished.as_str(), flags, Mode::RUSR | Mode::WUSR | Mode::RGRP)?);
        Ok(Upload { share: self.taken.share(), area: Arc::clone(self), name, unfinished: Some(unfinished), file, written: 0 })
    }
}

fn is_regular(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

fn size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

/// A file that is being uploaded. Dropped before [`Upload::publish`], it leaves nothing behind.
#[derive(Debug)]
pub(crate) struct Upload {
    area: Arc<Area>,
    name: FileName,
    /// The hidden name, until it is gone.
    unfinished: Option<String>,
    file: File,
    written: u64,
    share: Share,
}

impl Upload {
    /// The name that the file will have.
    pub(crate) fn name(&self) -> &FileName {
        &self.name
    }

    /// Bytes so far.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Takes the next bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), AreaError> {
        let (length, largest) = (bytes.len() as u64, self.area.limits.max_size);
        let most = largest.saturating_sub(self.written);
        if length > most {
            return Err(AreaError::TooLarge { largest });
        }
        self.share.provide(length, most, || self.area.space())?;
        self.file.write_all(bytes).map_err(AreaError::from_write)?;
        self.share.spend(length);
        self.written += length;
        Ok(())
    }

    /// Gives the file its name, in place of one that had it before.
    pub(crate) fn publish(mut self) -> Result<(), AreaError> {
        let area = Arc::clone(&self.area);
        // Held over the rename: names appear in the order of their times.
        let mut last = area.published.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(unfinished) = &self.unfinished {
            *last = stamp(&self.file, *last)?;
            renameat(area.fd(), unfinished.as_str(), area.fd(), self.name.as_str())?;
            self.unfinished = None;
        }
        Ok(())
    }
}

/// Makes the time of change now, and later than `last` in any case: whoever pulls takes a file with the same size and time for the
/// same one. The bytes of two uploads may have come at once, the kernel's clock for files stands still for milliseconds, and the
/// clock may have been set back.
fn stamp(file: &File, last: SystemTime) -> io::Result<SystemTime> {
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let unchanged = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    futimens(file, &Timestamps { last_access: unchanged, last_modification: now })?;
    let next = last.checked_add(Duration::from_nanos(1)).unwrap_or(last).max(file.metadata()?.modified()?);
    file.set_modified(next)?;
    Ok(next)
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(unfinished) = &self.unfinished
            && let Err(errno) = unlinkat(self.area.fd(), unfinished.as_str(), AtFlags::empty())
        {
            tracing::warn!("an unfinished upload can't be removed: {errno}");
        }
    }
}

#[cfg(test)]
mod tests;
