//! The mark of a part: how much of it is in its file, durable or not.
//!
//! True as long as the kernel lives, so it lies where the sockets do, and a boot forgets it. A sender
//! on this machine that keeps what is not yet in the file loses nothing to a daemon that dies.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

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

    /// The pen for the file of this name.
    pub(crate) fn pen(&self, staged: &str) -> io::Result<Pen> {
        let flags = OFlag::O_NOFOLLOW.bits();
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(true).mode(0o600);
        let file = options.custom_flags(flags).open(&self.path)?;
        Ok(Pen { file, words: format!("{} {staged}", self.boot_id) })
    }
}

/// Writes the mark of one file, over and over.
#[derive(Debug)]
pub(crate) struct Pen {
    file: File,
    words: String,
}

impl Pen {
    /// So many bytes are in the file. One write: a process that dies leaves the old mark or the new
    /// one.
    pub(crate) fn write(&self, offset: u64) -> io::Result<()> {
        self.file.write_all_at(format!("{} {offset:020}\n", self.words).as_bytes(), 0)
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
        let pen = mark("a").pen("incoming-1-1").unwrap();
        assert_eq!(mark("a").read("incoming-1-1"), None, "nothing is told yet");
        for offset in [u64::MAX, 1 << 40, 7] {
            pen.write(offset).unwrap();
            assert_eq!(mark("a").read("incoming-1-1"), Some(offset));
        }
        assert_eq!(mark("a").read("incoming-1-2"), None);
        assert_eq!(mark("b").read("incoming-1-1"), None);
        mark("a").pen("incoming-1-2").unwrap();
        assert_eq!(mark("a").read("incoming-1-1"), None, "another file's reception began");
    }
}
