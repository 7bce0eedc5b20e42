//! The few file-system operations that durability hangs on, behind one narrow door.
//!
//! The stage, the component and the journal change files only through a [`Disk`], so that a test can
//! make any single operation fail, or write them all down and ask what a power cut between two of
//! them leaves. An [`Operation`] is data for the same reason. Reading needs no door, only a limit.
//! The room must not know what the files are for.
//!
//! Blocking, on purpose: what must survive never goes through `tokio::fs` (design section 7).

#[cfg(test)]
pub(crate) mod faulty;
pub(crate) mod file_system;
mod locking;
#[cfg(test)]
pub(crate) mod mounted;
pub(crate) mod mounts;
#[cfg(test)]
pub(crate) mod recording;
pub(crate) mod stamp;

use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, RenameFlags};
use rustix::fs::{FallocateFlags, IFlags, StatVfs};
use xattr::FileExt as _;

pub(crate) use locking::{
    is_locked, lock_within, open_lock, open_lock_to_hold, wait_until_unlocked,
};

/// Mode of a directory that is nobody's business: a program that was replaced, be it set-id, is
/// nobody's to run any more.
pub(crate) const DIRECTORY_MODE: u32 = 0o700;
/// Mode of a file that is nobody's business yet.
pub(crate) const PRIVATE_MODE: u32 = 0o600;
/// Mode of a file that a person may read.
const READABLE_MODE: u32 = 0o644;

/// One change of the file system.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Operation<'a> {
    /// Makes a directory of [`DIRECTORY_MODE`], whatever the umask.
    MakeDirectory { path: &'a Path },
    /// Allocates the blocks of a file that will have `size` bytes.
    Allocate { file: &'a File, size: u64 },
    /// Cuts a file to `size` bytes.
    Resize { file: &'a File, size: u64 },
    /// Writes all bytes at the file's position.
    Write { file: &'a File, bytes: &'a [u8] },
    /// Makes the file's data durable, and what is needed to read it.
    SyncData { file: &'a File },
    /// Makes the file durable: data, owner, mode, attributes. Not its name.
    Sync { file: &'a File },
    /// Makes the names in a directory durable.
    SyncDirectory { path: &'a Path },
    /// Makes what a name stands for durable, where the sync of its directory does not: there the
    /// file that was moved is synced once more. Nothing where the file system needs no such thing,
    /// or nothing has the name.
    SyncMoved { path: &'a Path },
    /// Sets owner and group. The kernel clears file capabilities and the set-id bits.
    SetOwner { file: &'a File, user: u32, group: u32 },
    /// Sets the mode bits.
    SetMode { file: &'a File, mode: u32 },
    /// Sets an extended attribute.
    SetAttribute { file: &'a File, name: &'a OsStr, value: &'a [u8] },
    /// Removes an extended attribute.
    RemoveAttribute { file: &'a File, name: &'a OsStr },
    /// Sets the flags that `lsattr` shows.
    SetFlags { file: &'a File, flags: IFlags },
    /// Swaps two names in one step; both exist before and after.
    Exchange { one: &'a Path, other: &'a Path },
    /// Renames, replacing what had the new name in one step.
    Rename { from: &'a Path, to: &'a Path },
    /// Renames, and fails with `AlreadyExists` if the new name is taken.
    RenameToFree { from: &'a Path, to: &'a Path },
    /// Gives a file a second name.
    Link { original: &'a Path, name: &'a Path },
    /// Makes a symbolic link.
    MakeLink { target: &'a Path, path: &'a Path },
    /// Removes a name.
    Remove { path: &'a Path },
    /// Removes a directory, which must be empty.
    RemoveDirectory { path: &'a Path },
}

/// Who carries out the operations.
pub(crate) trait Disk: fmt::Debug + Send + Sync {
    /// Creates a file that does not exist yet, open for reading and writing.
    fn create(&self, path: &Path, mode: u32) -> io::Result<File>;

    /// Carries out one operation.
    fn apply(&self, operation: Operation<'_>) -> io::Result<()>;
}

/// The real disk: one system call an operation.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LocalDisk;

impl Disk for LocalDisk {
    fn create(&self, path: &Path, mode: u32) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create_new(true).mode(mode).open(path)
    }

    fn apply(&self, operation: Operation<'_>) -> io::Result<()> {
        match operation {
            Operation::MakeDirectory { path } => make_directory(path),
            Operation::Allocate { file, size } => {
                Ok(rustix::fs::fallocate(file, FallocateFlags::empty(), 0, size)?)
            }
            Operation::Resize { file, size } => file.set_len(size),
            Operation::Write { mut file, bytes } => file.write_all(bytes),
            Operation::SyncData { file } => file.sync_data(),
            Operation::Sync { file } => file.sync_all(),
            Operation::SyncDirectory { path } => sync_directory(path),
            Operation::SyncMoved { path } => sync_moved(path),
            Operation::SetOwner { file, user, group } => {
                std::os::unix::fs::fchown(file, Some(user), Some(group))
            }
            Operation::SetMode { file, mode } => file.set_permissions(Permissions::from_mode(mode)),
            Operation::SetAttribute { file, name, value } => file.set_xattr(name, value),
            Operation::RemoveAttribute { file, name } => file.remove_xattr(name),
            Operation::SetFlags { file, flags } => Ok(rustix::fs::ioctl_setflags(file, flags)?),
            Operation::Exchange { one, other } => {
                rename_with(RenameFlags::RENAME_EXCHANGE, one, other)
            }
            Operation::Rename { from, to } => fs::rename(from, to),
            Operation::RenameToFree { from, to } => {
                rename_with(RenameFlags::RENAME_NOREPLACE, from, to)
            }
            Operation::Link { original, name } => fs::hard_link(original, name),
            Operation::MakeLink { target, path } => std::os::unix::fs::symlink(target, path),
            Operation::Remove { path } => fs::remove_file(path),
            Operation::RemoveDirectory { path } => fs::remove_dir(path),
        }
    }
}

fn make_directory(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(DIRECTORY_MODE).create(path)?;
    fs::set_permissions(path, Permissions::from_mode(DIRECTORY_MODE))
}

/// Some network file systems have no sync of a directory and say `EINVAL`: their renames are as
/// durable as they get.
fn sync_directory(path: &Path) -> io::Result<()> {
    sync_as_far_as_possible(
        &OpenOptions::new().read(true).custom_flags(OFlag::O_DIRECTORY.bits()).open(path)?,
    )
}

fn sync_moved(path: &Path) -> io::Result<()> {
    if !file_system::of(path.parent().unwrap_or(path))?.needs_sync_of_moved() {
        return Ok(());
    }
    match OpenOptions::new()
        .read(true)
        .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits())
        .open(path)
    {
        Ok(file) => sync_as_far_as_possible(&file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn sync_as_far_as_possible(file: &File) -> io::Result<()> {
    match file.sync_all() {
        Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => Ok(()),
        result => result,
    }
}

fn rename_with(flags: RenameFlags, from: &Path, to: &Path) -> io::Result<()> {
    Ok(nix::fcntl::renameat2(AT_FDCWD, from, AT_FDCWD, to, flags)?)
}

/// Removes a name that may be gone already.
pub(crate) fn remove_if_present(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    match disk.apply(Operation::Remove { path }) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Bytes of a file system that anybody may still take.
pub(crate) fn free_bytes(space: &StatVfs) -> u64 {
    space.f_bavail.saturating_mul(space.f_frsize)
}

/// The bytes that are free in a directory, where `needed` more don't fit. A file system that does not
/// tell its free space (it says 0 of 0) is tried.
pub(crate) fn shortage(directory: &Path, needed: u64) -> io::Result<Option<u64>> {
    let space = rustix::fs::statvfs(directory)?;
    let free = free_bytes(&space);
    Ok((space.f_blocks != 0 && needed > free).then_some(free))
}

/// Allocates the space of a file that is to be written. Not every file system can; there, writing
/// shows whether it was enough.
pub(crate) fn allocate(disk: &dyn Disk, file: &File, size: u64) -> io::Result<()> {
    if size == 0 {
        return Ok(()); // fallocate refuses it
    }
    match disk.apply(Operation::Allocate { file, size }) {
        Err(error)
            if matches!(
                error.raw_os_error().map(Errno::from_raw),
                Some(Errno::EOPNOTSUPP | Errno::ENOSYS)
            ) =>
        {
            Ok(())
        }
        result => result,
    }
}

/// Reads a small file, if there is one; a damaged one must not fill the memory.
pub(crate) fn read_limited(path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        Err(io::Error::other("the file is too large"))
    } else {
        Ok(Some(bytes))
    }
}

/// Nothing but a directory, wherever a link leads.
pub(crate) fn open_directory(path: &Path) -> io::Result<File> {
    let flags = (OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW).bits();
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// Reads once; a call that a signal has interrupted is none.
pub(crate) fn read(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match from.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// How much of a file is in memory while it is copied.
pub(crate) const COPY_BUFFER_SIZE: usize = 256 * 1024;

/// Copies what is left of `from` to `to`, and counts it; nothing is synced.
pub(crate) fn copy(disk: &dyn Disk, from: &mut impl Read, to: &File) -> io::Result<u64> {
    let (mut buffer, mut copied) = (vec![0; COPY_BUFFER_SIZE], 0);
    loop {
        match read(from, &mut buffer)? {
            0 => return Ok(copied),
            n => {
                disk.apply(Operation::Write { file: to, bytes: &buffer[..n] })?;
                copied += n as u64;
            }
        }
    }
}

/// The name of a small file while it is written.
pub(crate) fn unfinished(name: &str) -> String {
    format!("{name}.new")
}

/// Writes a small file so that its name always stands for the old or the new content, complete, and
/// the new content is durable on return. The mode is 0644. One writer a name: what an earlier,
/// interrupted writer left is replaced.
pub(crate) fn write_atomic(
    disk: &dyn Disk,
    directory: &Path,
    name: &str,
    bytes: &[u8],
) -> io::Result<()> {
    write_atomic_with(READABLE_MODE, disk, directory, name, bytes)
}

/// The same for what is nobody else's to read: the mode is 0600.
pub(crate) fn write_atomic_private(
    disk: &dyn Disk,
    directory: &Path,
    name: &str,
    bytes: &[u8],
) -> io::Result<()> {
    write_atomic_with(PRIVATE_MODE, disk, directory, name, bytes)
}

fn write_atomic_with(
    mode: u32,
    disk: &dyn Disk,
    directory: &Path,
    name: &str,
    bytes: &[u8],
) -> io::Result<()> {
    write_by(mode, disk, directory, name, &mut |write| write(bytes))
}

/// Says the content, one piece a call of what it is given.
type Content<'a> = dyn FnMut(&mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> + 'a;

/// [`write_atomic`] of what is not in memory as a whole.
pub(crate) fn write_atomic_by(
    disk: &dyn Disk,
    directory: &Path,
    name: &str,
    content: &mut Content<'_>,
) -> io::Result<()> {
    write_by(READABLE_MODE, disk, directory, name, content)
}

fn write_by(
    mode: u32,
    disk: &dyn Disk,
    directory: &Path,
    name: &str,
    content: &mut Content<'_>,
) -> io::Result<()> {
    let temporary = directory.join(unfinished(name));
    remove_if_present(disk, &temporary)?;
    let file = disk.create(&temporary, mode)?;
    let written = content(&mut |bytes| disk.apply(Operation::Write { file: &file, bytes }))
        .and_then(|()| disk.apply(Operation::Sync { file: &file }))
        .and_then(|()| {
            disk.apply(Operation::Rename { from: &temporary, to: &directory.join(name) })
        });
    if let Err(error) = written {
        // The first error is the one to tell; a temporary file that stays is replaced by the next
        // writer.
        let _ = disk.apply(Operation::Remove { path: &temporary });
        return Err(error);
    }
    sync_name(disk, directory, name)
}

/// Makes durable what a name of this directory stands for, after it was moved there.
pub(crate) fn sync_name(disk: &dyn Disk, directory: &Path, name: &str) -> io::Result<()> {
    disk.apply(Operation::SyncDirectory { path: directory })?;
    disk.apply(Operation::SyncMoved { path: &directory.join(name) })
}

#[cfg(test)]
mod tests {
    use super::faulty::FaultyDisk;
    use super::*;

    #[test]
    fn an_atomic_write_replaces_the_content_and_leaves_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        fs::File::create(directory.path().join("state.json.new")).unwrap();
        for content in ["first", "second"] {
            write_atomic(&LocalDisk, directory.path(), "state.json", content.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(directory.path().join("state.json")).unwrap(), content);
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_atomic_write_syncs_the_file_before_and_the_directory_after_the_rename() {
        let directory = tempfile::tempdir().unwrap();
        let disk = FaultyDisk::sound().of_fat_kind();
        write_atomic(&disk, directory.path(), "state.json", b"content").unwrap();
        assert_eq!(
            disk.log(),
            ["Remove", "create", "Write", "Sync", "Rename", "SyncDirectory", "SyncMoved"]
        );
    }

    #[test]
    fn a_failed_atomic_write_leaves_the_old_content_and_no_temporary_file() {
        for step in ["create", "Write", "Sync", "Rename"] {
            let directory = tempfile::tempdir().unwrap();
            write_atomic(&LocalDisk, directory.path(), "state.json", b"old").unwrap();
            let disk = FaultyDisk::failing(step, Errno::EIO);
            let error = write_atomic(&disk, directory.path(), "state.json", b"new").unwrap_err();
            assert_eq!(error.raw_os_error(), Some(Errno::EIO as i32), "{step}");
            assert_eq!(
                fs::read_to_string(directory.path().join("state.json")).unwrap(),
                "old",
                "{step}"
            );
            assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "{step}");
        }
    }
}
