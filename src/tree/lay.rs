//! A directory made of an archive: written and synced file by file, then directory by directory, and
//! a directory that goes.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::archive::{Content, pass_on};
use super::scan::CAPABILITIES;
use super::{Archive, Entry, TreeError};
use crate::disk::{self, Disk, Operation, PRIVATE_MODE};

/// Whose the things of a tree are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owners {
    /// Those that the manifest, or the directory that is read, says.
    Theirs,
    /// Root's, who says it; made, they are those of whoever makes them.
    Root,
}

impl Owners {
    /// What a manifest says of a thing that belongs to these in the directory.
    pub(super) fn of(self, metadata: &Metadata) -> (u32, u32) {
        match self {
            Self::Theirs => (metadata.uid(), metadata.gid()),
            Self::Root => (0, 0),
        }
    }
}

/// Makes the directory `to`, which must not be there, of an archive; durable on return, but for its
/// own name. What an error leaves is the caller's to remove.
pub(crate) fn take_out(
    archive: &Archive<'_>,
    disk: &dyn Disk,
    to: &Path,
    owners: Owners,
) -> Result<(), TreeError> {
    let lay = Lay { disk, to, owners };
    let manifest = archive.manifest();
    disk.apply(Operation::MakeDirectory { path: to })?;
    let mut contents = archive.contents();
    for entry in &manifest.entries {
        let path = to.join(entry.path());
        match entry {
            Entry::Directory { .. } => disk.apply(Operation::MakeDirectory { path: &path })?,
            Entry::Link { target, .. } => {
                disk.apply(Operation::MakeLink { target: Path::new(target), path: &path })?;
            }
            Entry::File { .. } => {
                let content = contents.next().ok_or(TreeError::NoArchive)?;
                lay.file(entry, &path, content)?;
            }
            Entry::Other { path, what } => {
                return Err(TreeError::Other(path.clone(), what.clone()));
            }
        }
    }
    // The innermost first: a mode may forbid what comes behind it to who is not root.
    for entry in manifest.entries.iter().rev() {
        if let Entry::Directory { path, mode, user, group } = entry {
            lay.end_directory(&to.join(path), *mode, (*user, *group))?;
        }
    }
    let root = manifest.root;
    Ok(lay.end_directory(to, root.mode, (root.user, root.group))?)
}

struct Lay<'a> {
    disk: &'a dyn Disk,
    to: &'a Path,
    owners: Owners,
}

impl Lay<'_> {
    fn file(&self, entry: &Entry, place: &Path, content: Content<'_>) -> Result<(), TreeError> {
        let Entry::File { path, mode, user, group, size, sha256, capabilities } = entry else {
            return Ok(());
        };
        let disk = self.disk;
        let file = disk.create(place, PRIVATE_MODE)?;
        disk::allocate(disk, &file, *size)?;
        pass_on(path, sha256, content, &mut |bytes| {
            disk.apply(Operation::Write { file: &file, bytes })
        })?;
        self.own(&file, *mode, (*user, *group))?;
        if let Some(value) = capabilities.as_ref().filter(|_| self.owners == Owners::Theirs) {
            disk.apply(Operation::SetAttribute {
                file: &file,
                name: CAPABILITIES.as_ref(),
                value,
            })?;
        }
        Ok(disk.apply(Operation::Sync { file: &file })?)
    }

    /// In this order: a change of owner clears set-id bits and capabilities.
    fn own(&self, file: &File, mode: u32, (user, group): (u32, u32)) -> io::Result<()> {
        let there = file.metadata()?;
        if self.owners == Owners::Theirs && (there.uid(), there.gid()) != (user, group) {
            self.disk.apply(Operation::SetOwner { file, user, group })?;
        }
        if there.mode() & 0o7777 != mode {
            self.disk.apply(Operation::SetMode { file, mode })?;
        }
        Ok(())
    }

    fn end_directory(&self, path: &Path, mode: u32, owner: (u32, u32)) -> io::Result<()> {
        debug_assert!(path.starts_with(self.to));
        let directory = disk::open_directory(path)?;
        // Its names first: who may not read it any more can't open it again.
        self.disk.apply(Operation::SyncDirectory { path })?;
        let there = directory.metadata()?;
        if there.mode() & 0o7777 == mode && (there.uid(), there.gid()) == owner {
            return Ok(());
        }
        self.own(&directory, mode, owner)?;
        self.disk.apply(Operation::Sync { file: &directory })
    }
}

/// Removes what has this name, a directory with all that is in it. Follows no link.
pub(crate) fn remove(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    if !metadata.is_dir() {
        return disk::remove_if_present(disk, path);
    }
    for entry in fs::read_dir(path)? {
        remove(disk, &entry?.path())?;
    }
    disk.apply(Operation::RemoveDirectory { path })
}
