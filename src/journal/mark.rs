//! The mark of a part: how much of it is in its file, durable or not.
//!
//! True as long as the kernel lives, so it lies where the sockets do, and a boot forgets it. A sender
//! on this machine that keeps what is not yet in the file loses nothing to a daemon that dies.

use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use crate::disk::{LocalDisk, remove_if_present};

/// The file's name, beside the control socket.
const MARK_FILE: &str = "part.mark";
/// Longest mark that is read.
const LONGEST: u64 = 512;

/// Where the mark lies, and the boot in which it counts.
#[derive(Debug, Clone)]
pub(crate) struct Mark {
    path: PathBuf,
    boot_id: String,
}

impl Mark {
    /// The mark in this directory, in this boot.
    pub(crate) fn new(directory: &Path, boot_id: String) -> Self {
        Self { path: directory.join(MARK_FILE), boot_id }
    }

    /// How much is in the file of this name in the staging area, if that was told in this boot.
    pub(crate) fn read(&self, staged: &str) -> Option<u64> {
        let mut text = String::new();
        let flags = OFlag::O_NOFOLLOW.bits();
        let file = OpenOptions::new().read(true).custom_flags(flags).open(&self.path).ok()?;
        file.take(LONGEST).read_to_string(&mut text).ok()?;
        let mut words = text.lines().next()?.split(' ');
        let is_meant = words.next() == Some(&*self.boot_id) && words.next() == Some(staged);
        words.next()?.parse().ok().filter(|_| is_meant)
    }

    /// So many bytes are in the file of this name. One write of one length: a process that dies
    /// leaves the old mark or the new one.
    pub(crate) fn write(&self, staged: &str, offset: u64) -> io::Result<()> {
        let flags = OFlag::O_NOFOLLOW.bits();
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(false).mode(0o600);
        let file = options.custom_flags(flags).open(&self.path)?;
        file.write_all_at(format!("{} {staged} {offset:020}\n", self.boot_id).as_bytes(), 0)
    }

    /// Nothing is told: a name may come again.
    pub(crate) fn forget(&self) -> io::Result<()> {
        remove_if_present(&LocalDisk, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_counts_for_its_file_in_its_boot() {
        let directory = tempfile::tempdir().unwrap();
        let mark = |boot: &str| Mark::new(directory.path(), boot.into());
        assert_eq!(mark("a").read("incoming-1-1"), None);
        for offset in [u64::MAX, 1 << 40, 7] {
            mark("a").write("incoming-1-1", offset).unwrap();
            assert_eq!(mark("a").read("incoming-1-1"), Some(offset));
        }
        assert_eq!(mark("a").read("incoming-1-2"), None);
        assert_eq!(mark("b").read("incoming-1-1"), None);
        mark("a").forget().unwrap();
        mark("a").forget().unwrap();
        assert_eq!(mark("a").read("incoming-1-1"), None);
    }
}
