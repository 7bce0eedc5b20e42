//! What is known of the file systems on which a program or the state may lie, by the number that
//! the kernel gives each kind.
//!
//! An upgrade needs three things of one: a name that was synced stays, an exchange of two names is
//! done whole or not at all, and a program keeps its owner, its mode and its attributes.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::fcntl::OFlag;
use rustix::fs::IFlags;

/// A kind of file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileSystem {
    /// As `mount -t` has it.
    pub(crate) name: &'static str,
    pub(crate) standing: Standing,
}

/// What is known of a kind of file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The power was cut on it again and again, and it kept what it had promised
    /// (docs/design/power-cuts.md).
    Proved,
    /// It keeps what a sync of file and directory promises; the power was not cut on it here.
    Promising,
    /// It lies in memory, so that nothing of it outlives a restart of the machine.
    InMemory,
    /// It lacks what the proof needs.
    Refused,
    /// Nobody here knows it.
    NotKnown,
}

const KNOWN: &[(u32, FileSystem)] = &[
    (0xef53, FileSystem { name: "ext4", standing: Standing::Proved }),
    (0x5846_5342, FileSystem { name: "xfs", standing: Standing::Promising }),
    (0x9123_683e, FileSystem { name: "btrfs", standing: Standing::Promising }),
    (0xf2f5_2010, FileSystem { name: "f2fs", standing: Standing::Promising }),
    (0x2011_bab0, FileSystem { name: "exfat", standing: Standing::Promising }),
    (0x0102_1994, FileSystem { name: "tmpfs", standing: Standing::InMemory }),
    (0x8584_58f6, FileSystem { name: "ramfs", standing: Standing::InMemory }),
    // The old `msdos` has the same number, and the same faults.
    (0x4d44, FileSystem { name: "vfat", standing: Standing::Refused }),
];

/// The file system of this number.
pub(crate) fn of_number(number: u32) -> FileSystem {
    let unknown = FileSystem { name: "unknown", standing: Standing::NotKnown };
    KNOWN.iter().find(|(known, _)| *known == number).map_or(unknown, |(_, found)| *found)
}

/// The file system that a path lies on.
pub(crate) fn of(path: &Path) -> io::Result<FileSystem> {
    // The type differs from machine to machine, the number does not: it has 32 bits.
    #[allow(clippy::unnecessary_cast, reason = "not on each machine")]
    let number = rustix::fs::statfs(path)?.f_type as u32;
    Ok(of_number(number))
}

/// The same of an open file.
pub(crate) fn of_file(file: &File) -> io::Result<FileSystem> {
    #[allow(clippy::unnecessary_cast, reason = "not on each machine")]
    let number = rustix::fs::fstatfs(file)?.f_type as u32;
    Ok(of_number(number))
}

/// Whether the file or directory at a path has a flag that keeps even root from changing it; not
/// where it can't be asked.
pub(crate) fn is_immutable(path: &Path) -> bool {
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path).ok();
    let found = opened.and_then(|file| rustix::fs::ioctl_getflags(file).ok());
    found.is_some_and(|found| found.intersects(IFlags::IMMUTABLE | IFlags::APPEND))
}

impl FileSystem {
    /// Whether each change of a file sets its inode's time by the kernel's clock, a write through a
    /// mapping with the first one to a clean page. In memory there are no clean pages, an overlay's
    /// files may lie anywhere, and of a network's or a user's file system nobody knows.
    pub(crate) fn stamps_changes(self) -> bool {
        matches!(self.name, "ext4" | "xfs" | "btrfs" | "f2fs")
    }

    /// Whether a file that got another name must be synced once more, because the sync of the
    /// directory makes the name durable and not what it stands for. Where nobody knows, it does no
    /// harm.
    pub(crate) fn needs_sync_of_moved(self) -> bool {
        match self.standing {
            Standing::Proved | Standing::Promising | Standing::InMemory => false,
            Standing::Refused | Standing::NotKnown => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_its_number_vfat_is_refused_and_what_was_proved_is_not() {
        let standing = |number| of_number(number).standing;
        assert_eq!((of_number(0x4d44).name, standing(0x4d44)), ("vfat", Standing::Refused));
        assert_eq!(
            (standing(0xef53), standing(0x0102_1994), standing(0x6573_5546)),
            (Standing::Proved, Standing::InMemory, Standing::NotKnown)
        );
        let syncs_again: Vec<&str> = KNOWN
            .iter()
            .filter(|(_, known)| known.needs_sync_of_moved())
            .map(|(_, known)| known.name)
            .collect();
        assert_eq!(syncs_again, ["vfat"]);
        assert!(of_number(0x6573_5546).needs_sync_of_moved());
    }

    #[test]
    fn the_kernel_gives_the_number() {
        assert_eq!(of(Path::new("/dev/shm")).unwrap().name, "tmpfs");
        assert_eq!(of(Path::new("/proc")).unwrap().standing, Standing::NotKnown);
    }
}
