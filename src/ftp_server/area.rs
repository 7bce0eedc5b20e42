//! The upload area: one flat directory. Only this file touches it.
//!
//! Every access is relative to the directory's own descriptor, by a single name, and follows no
//! symbolic link: whatever else has write access to the directory, nothing outside it can be
//! reached. An upload is written under a hidden name and takes its own by a rename; there is no
//! state in which a client, or the daemon that pulls, sees a part of it.
//!
//! Uploads side by side share the free space: each takes a part of it before it writes ([`space`]),
//! so that together they leave what has to stay free.
//!
//! Whose a file is decides who may replace, delete, rename or read it ([`owners`]).
//!
//! All calls block: they are for blocking threads. Nothing is synced; the area is temporary, the
//! daemon's stage is what lasts.

mod owners;
mod refusal;
mod space;

use std::cmp::Reverse;
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use nix::fcntl::{Flock, FlockArg};
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT,
};
use rustix::fs::{fstat, fstatvfs, futimens, openat, renameat, statat, unlinkat};
use rustix::io::Errno;

use super::command::PathText;
use super::listing::{Entry, Modified};
use super::name::{FileName, RemotePath};
use super::who::Who;
use crate::disk;
use owners::Owners;
pub(crate) use refusal::AreaError;
use space::{Share, Taken};

/// Hidden name of an upload that is not complete; the rest is a number.
const UNFINISHED_PREFIX: &str = ".uplift-upload-";
/// Files at a time. An upload area holds one; the limit keeps a peer from filling it with empty
/// ones.
const MOST_FILES: usize = 64;
/// Surplus files are deleted for so long at a time.
const THINNING_LIMIT: Duration = Duration::from_millis(250);
/// Files of one owner, so that no one peer takes all.
const MOST_FILES_OF_ONE: usize = 16;

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
    owners: Mutex<Owners>,
    /// What nobody owns and was changed no later than this is one file too many.
    hidden_to: Mutex<Option<Modified>>,
}

impl Area {
    /// Opens the directory, takes its lock, and removes what a server that was killed left
    /// unfinished.
    pub(crate) fn open(home: &Path, limits: Limits) -> io::Result<Self> {
        let directory = rustix::fs::open(
            home,
            OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        // Two servers in one directory would remove each other's uploads as left-overs.
        let directory =
            Flock::lock(directory, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| {
                match errno {
                    nix::errno::Errno::EWOULDBLOCK => io::Error::new(
                        io::ErrorKind::ResourceBusy,
                        "another server serves this directory",
                    ),
                    other => other.into(),
                }
            })?;
        let area = Self {
            directory,
            home: home.to_owned(),
            limits,
            uploads: AtomicU64::new(0),
            taken: Taken::default(),
            published: Mutex::new(SystemTime::UNIX_EPOCH),
            owners: Mutex::default(),
            hidden_to: Mutex::default(),
        };
        for name in
            area.names()?.iter().filter(|name| name.starts_with(UNFINISHED_PREFIX.as_bytes()))
        {
            unlinkat(area.fd(), name.as_slice(), AtFlags::empty())?;
        }
        Ok(area)
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    fn owners(&self) -> MutexGuard<'_, Owners> {
        // Each call leaves it whole.
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hidden_to(&self) -> MutexGuard<'_, Option<Modified>> {
        // Each holder leaves it whole.
        self.hidden_to.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a client's path names.
    pub(crate) fn resolve(&self, path: &PathText) -> Result<RemotePath, AreaError> {
        RemotePath::parse(path.as_bytes(), &self.home).ok_or(AreaError::NameRefused)
    }

    /// The name of a file that a path names.
    pub(crate) fn file_name(&self, path: &PathText) -> Result<FileName, AreaError> {
        match self.resolve(path)? {
            RemotePath::File(name) => Ok(name),
            RemotePath::Root => Err(AreaError::NotAFile),
        }
    }

    /// A file's size and time, for `who`.
    pub(crate) fn entry(&self, path: &PathText, who: &Who) -> Result<Entry, AreaError> {
        let entry = self.stat(self.file_name(path)?)?;
        if who.is_machine() {
            self.owners().looked_at(&entry.name, Instant::now());
        }
        Ok(entry)
    }

    fn stat(&self, name: FileName) -> Result<Entry, AreaError> {
        let stat = statat(self.fd(), name.as_bytes(), AtFlags::SYMLINK_NOFOLLOW)?;
        if !is_regular(&stat) {
            return Err(AreaError::NotAFile);
        }
        Ok(Entry { name, size: size(&stat), modified: Modified::from_stat(&stat) })
    }

    /// What `path` lists: the files of the root, or the one file; sorted by name.
    pub(crate) fn list(&self, path: Option<&PathText>) -> Result<Vec<Entry>, AreaError> {
        match path.map_or(Ok(RemotePath::Root), |path| self.resolve(path))? {
            RemotePath::File(name) => Ok(vec![self.stat(name)?]),
            RemotePath::Root => self.files(),
        }
    }

    /// The visible files; what is no regular file, or has a name that a client can't say, is not
    /// there. Of more than there may be the newest are; the others go, as far as nobody owns them.
    fn files(&self) -> Result<Vec<Entry>, AreaError> {
        let mut files: Vec<Entry> = self
            .names()?
            .iter()
            .filter_map(|name| FileName::parse(name))
            .filter_map(|name| self.stat(name).ok())
            .collect();
        self.thin_out(&mut files);
        files.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        Ok(files)
    }

    /// Removes files that somebody else has put here, in pieces: a client waits. They are not listed
    /// whether or not they are gone yet, nor when those that are listed go first.
    fn thin_out(&self, files: &mut Vec<Entry>) {
        let (now, mut owners) = (Instant::now(), self.owners());
        let mut hidden_to = self.hidden_to();
        if files.len() <= MOST_FILES && hidden_to.is_none() {
            return;
        }
        files.sort_by_cached_key(|file| {
            (owners.is_nobodys(&file.name, now), Reverse(file.modified))
        });
        let too_many = files.get(MOST_FILES).map(|file| file.modified);
        let is_hidden = |file: &mut Entry| {
            owners.is_nobodys(&file.name, now) && Some(file.modified) <= too_many.max(*hidden_to)
        };
        let surplus: Vec<Entry> = files.extract_if(.., is_hidden).collect();
        *hidden_to = surplus.iter().map(|file| file.modified).max();
        let in_time = |_: &&Entry| now.elapsed() < THINNING_LIMIT;
        let mut removed = 0;
        for Entry { name, .. } in surplus.iter().take_while(in_time) {
            if unlinkat(self.fd(), name.as_bytes(), AtFlags::empty()).is_ok() {
                owners.removed(name);
                removed += 1;
            }
        }
        if !surplus.is_empty() {
            tracing::warn!(
                "{} files too many are in the upload area and are not listed, the oldest of those that nobody owns; {removed} of them are deleted now",
                surplus.len()
            );
        }
    }

    fn names(&self) -> io::Result<Vec<Vec<u8>>> {
        // Opens it anew: the position in a directory belongs to the open file.
        let directory = rustix::fs::Dir::read_from(self.fd())?;
        directory.map(|entry| Ok(entry?.file_name().to_bytes().to_vec())).collect()
    }

    /// Opens a file for a download by `who` from `offset` on; with it comes the number of bytes
    /// that follow.
    pub(crate) fn read(
        &self,
        path: &PathText,
        offset: u64,
        who: &Who,
    ) -> Result<(File, u64), AreaError> {
        let Entry { name, .. } = self.entry(path, who)?;
        // From here to the open file nobody can put another one in its place.
        let owners = self.owners();
        if !owners.may_read(&name, who) {
            return Err(AreaError::Anothers);
        }
        let (mut file, size) = self.open_regular(&name)?;
        let rest = size.checked_sub(offset).ok_or(AreaError::OffsetBeyondEnd)?;
        file.seek(SeekFrom::Start(offset))?;
        Ok((file, rest))
    }

    /// The file of this name and its size; nothing else that somebody may have put there since it
    /// was looked at.
    fn open_regular(&self, name: &FileName) -> Result<(File, u64), AreaError> {
        // Without O_NONBLOCK a pipe would block for ever.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(openat(self.fd(), name.as_bytes(), flags, Mode::empty())?);
        let stat = fstat(&file)?;
        if is_regular(&stat) { Ok((file, size(&stat))) } else { Err(AreaError::NotAFile) }
    }

    /// Removes a file for `who`.
    pub(crate) fn delete(&self, path: &PathText, who: &Who) -> Result<FileName, AreaError> {
        let Entry { name, .. } = self.stat(self.file_name(path)?)?;
        let mut owners = self.owners();
        if !owners.may_change(&name, who, Instant::now()) {
            return Err(AreaError::Anothers);
        }
        unlinkat(self.fd(), name.as_bytes(), AtFlags::empty())?;
        owners.removed(&name);
        Ok(name)
    }

    /// Whether `who` may rename the file at `path`: its name.
    pub(crate) fn may_rename(&self, path: &PathText, who: &Who) -> Result<FileName, AreaError> {
        let Entry { name, .. } = self.stat(self.file_name(path)?)?;
        if self.owners().may_change(&name, who, Instant::now()) {
            Ok(name)
        } else {
            Err(AreaError::Anothers)
        }
    }

    /// Gives a file of `who` another name, in one step, in place of one that had it before.
    pub(crate) fn rename(
        &self,
        from: &FileName,
        path: &PathText,
        who: &Who,
    ) -> Result<FileName, AreaError> {
        let (to, now) = (self.file_name(path)?, Instant::now());
        match self.stat(to.clone()) {
            Ok(_) | Err(AreaError::NotFound) => {}
            Err(other) => return Err(other),
        }
        let mut owners = self.owners();
        if !owners.may_change(from, who, now) || !owners.may_change(&to, who, now) {
            return Err(AreaError::Anothers);
        }
        // What another put in its place meanwhile is checked by name above, and is no directory.
        self.stat(from.clone())?;
        renameat(self.fd(), from.as_bytes(), self.fd(), to.as_bytes())?;
        owners.renamed(from, &to, who, now);
        Ok(to)
    }

    /// Whether an upload of this size would fit now. What nobody owns makes room.
    pub(crate) fn fits(&self, bytes: u64) -> Result<(), AreaError> {
        if bytes > self.limits.max_size {
            return Err(AreaError::TooLarge { largest: self.limits.max_size });
        }
        self.making_room(|| self.taken.leaves(bytes, || self.space()))
    }

    /// Does what needs space, again and again as long as a file that nobody owns can make room for
    /// it, the oldest one first.
    fn making_room<T>(
        &self,
        mut act: impl FnMut() -> Result<T, AreaError>,
    ) -> Result<T, AreaError> {
        loop {
            match act() {
                Err(AreaError::NoSpace) if self.remove_nobodys()? => {}
                result => return result,
            }
        }
    }

    /// Removes the oldest of the files that nobody owns, and says whether there was one.
    fn remove_nobodys(&self) -> Result<bool, AreaError> {
        let files = self.files()?;
        let mut owners = self.owners();
        let nobodys =
            files.into_iter().filter(|file| owners.is_nobodys(&file.name, Instant::now()));
        let Some(Entry { name, .. }) = nobodys.min_by_key(|file| file.modified) else {
            return Ok(false);
        };
        tracing::info!(file = ?name, "{name:?} is deleted: nobody owns it any more, and space is needed");
        unlinkat(self.fd(), name.as_bytes(), AtFlags::empty())?;
        owners.removed(&name);
        Ok(true)
    }

    /// Bytes that may be written until nothing but what has to stay free is left.
    fn space(&self) -> Result<u64, AreaError> {
        let free = disk::free_bytes(&fstatvfs(self.fd())?);
        // Where even that is not left, an empty file is too much: it would only be refused later.
        free.checked_sub(self.limits.keep_free).ok_or(AreaError::NoSpace)
    }

    /// Whether `who` may replace, delete or rename what has these names.
    pub(crate) fn may_change(&self, names: &[&FileName], who: &Who) -> Result<(), AreaError> {
        let (owners, now) = (self.owners(), Instant::now());
        let may = names.iter().all(|name| owners.may_change(name, who, now));
        may.then_some(()).ok_or(AreaError::Anothers)
    }

    /// A file that was elsewhere has another name.
    pub(crate) fn renamed(&self, from: &FileName, to: &FileName, who: &Who) {
        self.owners().renamed(from, to, who, Instant::now());
    }

    /// A file that was elsewhere is gone.
    pub(crate) fn removed(&self, name: &FileName) {
        self.owners().removed(name);
    }

    /// Removes what has a name here, as it stands for a file elsewhere now.
    pub(crate) fn gone(&self, name: &FileName) -> Result<(), AreaError> {
        match unlinkat(self.fd(), name.as_bytes(), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Starts an upload, of `announced` bytes as far as the client said.
    pub(crate) fn begin(
        self: &Arc<Self>,
        claim: Claim,
        announced: Option<u64>,
    ) -> Result<Upload, AreaError> {
        self.fits(announced.unwrap_or(0))?;
        let unfinished =
            format!("{UNFINISHED_PREFIX}{}", self.uploads.fetch_add(1, Ordering::Relaxed));
        // What is there already is neither written to nor followed.
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = File::from(openat(
            self.fd(),
            unfinished.as_str(),
            flags,
            Mode::RUSR | Mode::WUSR | Mode::RGRP,
        )?);
        Ok(Upload {
            share: self.taken.share(),
            claim,
            unfinished: Some(unfinished),
            file,
            written: 0,
        })
    }

    /// Makes the name that of an upload of `who`, as long as it runs. One file may be `elsewhere`.
    pub(crate) fn claim(
        self: &Arc<Self>,
        name: &FileName,
        who: &Who,
        elsewhere: Option<&FileName>,
    ) -> Result<Claim, AreaError> {
        let files = self.files()?;
        let is_there = |name: &FileName| {
            elsewhere == Some(name) || files.iter().any(|file| file.name == *name)
        };
        let is_new = match self.stat(name.clone()) {
            Err(AreaError::NotFound) => true,
            Ok(_) => false,
            Err(other) => return Err(other),
        };
        let mut owners = self.owners();
        owners.keep(is_there);
        if !owners.may_change(name, who, Instant::now()) {
            return Err(AreaError::Anothers);
        }
        // Where somebody else has put more than that here, what nobody owns goes by itself.
        let (now, thins_out) = (Instant::now(), self.hidden_to().is_some());
        let counts = |file: &&Entry| !thins_out || !owners.is_nobodys(&file.name, now);
        if is_new && files.iter().filter(counts).count() >= MOST_FILES {
            return Err(AreaError::TooManyFiles);
        }
        if is_new && !who.is_machine() && owners.number_of(who) >= MOST_FILES_OF_ONE {
            return Err(AreaError::TooManyFilesOfOne);
        }
        owners.begin(name, who);
        Ok(Claim { area: Arc::clone(self), name: name.clone(), who: who.clone() })
    }
}

fn is_regular(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

fn size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

/// The name of an upload that runs. Dropped, it is anybody's who may have it.
#[derive(Debug)]
pub(crate) struct Claim {
    area: Arc<Area>,
    name: FileName,
    who: Who,
}

impl Claim {
    /// The name.
    pub(crate) fn name(&self) -> &FileName {
        &self.name
    }

    /// What was uploaded has the name from now on, elsewhere.
    pub(crate) fn arrived(self) {
        self.area.owners().arrived(&self.name, &self.who, Instant::now());
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.area.owners().end(&self.name);
    }
}

/// A file that is being uploaded. Dropped before [`Upload::publish`], it leaves nothing behind.
#[derive(Debug)]
pub(crate) struct Upload {
    claim: Claim,
    /// The hidden name, until it is gone.
    unfinished: Option<String>,
    file: File,
    written: u64,
    share: Share,
}

impl Upload {
    /// The name that the file will have.
    pub(crate) fn name(&self) -> &FileName {
        &self.claim.name
    }

    /// Bytes so far.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Takes the next bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), AreaError> {
        let area = Arc::clone(&self.claim.area);
        let (length, largest) = (bytes.len() as u64, area.limits.max_size);
        let most = largest.saturating_sub(self.written);
        if length > most {
            return Err(AreaError::TooLarge { largest });
        }
        area.making_room(|| self.share.provide(length, most, || area.space()))?;
        self.file.write_all(bytes).map_err(AreaError::from_write)?;
        self.share.spend(length);
        self.written += length;
        Ok(())
    }

    /// Gives the file its name, in place of one that had it before.
    pub(crate) fn publish(mut self) -> Result<(), AreaError> {
        let (area, name, who) =
            (Arc::clone(&self.claim.area), self.claim.name.clone(), self.claim.who.clone());
        // Held over the rename: names appear in the order of their times.
        let mut last = area.published.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(unfinished) = &self.unfinished {
            let mut owners = area.owners();
            // This machine may have stored a file of its own meanwhile.
            if !owners.may_change(&name, &who, Instant::now()) {
                return Err(AreaError::Anothers);
            }
            *last = stamp(&self.file, *last)?;
            renameat(area.fd(), unfinished.as_str(), area.fd(), name.as_bytes())?;
            owners.arrived(&name, &who, Instant::now());
            drop(owners);
            self.unfinished = None;
        }
        Ok(())
    }
}

/// Makes the time of change now, and later than `last` in any case: whoever pulls takes a file with
/// the same size and time for the same one. The bytes of two uploads may have come at once, the
/// kernel's clock for files stands still for milliseconds, and the clock may have been set back.
fn stamp(file: &File, last: SystemTime) -> io::Result<SystemTime> {
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let unchanged = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    futimens(file, &Timestamps { last_access: unchanged, last_modification: now })?;
    let next =
        last.checked_add(Duration::from_nanos(1)).unwrap_or(last).max(file.metadata()?.modified()?);
    file.set_modified(next)?;
    Ok(next)
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(unfinished) = &self.unfinished
            && let Err(errno) =
                unlinkat(self.claim.area.fd(), unfinished.as_str(), AtFlags::empty())
        {
            tracing::warn!("an unfinished upload can't be removed: {errno}");
        }
    }
}

#[cfg(test)]
mod tests;
