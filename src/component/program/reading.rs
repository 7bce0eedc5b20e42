//! What was read of a program, and how long that is known of it without reading it again.
//!
//! A large program takes seconds to hash, on a processor without instructions for it, and a trial
//! wants its digest three times: at the path when the trial begins, as the executable of the
//! process, and at the path again when its success is written down. So what was read is remembered by
//! the file's [`Stamp`], as long as every change of the file is bound to change that:
//!
//! - The file system is one whose ways are known: each write changes the time of change of the inode,
//!   and that has the kernel's own clock, with a fraction of a second.
//! - That clock has gone on since the last change. Another write in the same tick would leave the
//!   same time behind.
//! - No page of the file is dirty. A write through a mapping changes the time when the page becomes
//!   dirty, and not again while it is; a sync makes all pages clean, and has the kernel notice the
//!   next write to each.
//!
//! Where one of these is not so, all of it is read again, as if nothing were remembered. It must not
//! know what is proved with it; whoever needs to know what is there after a restart forgets first
//! what was read before.

use std::fs::File;
use std::io;
use std::thread;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use crate::digest::program_digest;
use crate::disk::file_system::{self, FileSystem};
use crate::disk::stamp::{Stamp, Time, stamp, time};
use crate::model::ProgramDigest;

/// Longest wait for the kernel's clock to go on: it does at least a hundred times a second.
const LONGEST_TICK: Duration = Duration::from_millis(50);
/// Between two looks at it.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);

/// What a file was when all of it was read last.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    stamp: Stamp,
    digest: ProgramDigest,
    /// Every change since is bound to show in the stamp.
    tells: bool,
}

impl Reading {
    /// Reads all of it, to say what is there.
    pub(super) fn of(file: File) -> io::Result<Self> {
        // Taken before the content is read: what changes meanwhile has another one.
        let stamp = stamp(&file.metadata()?);
        Ok(Self { stamp, digest: program_digest(file)?, tells: false })
    }

    /// The same, and so that a later change is bound to show, where that can be had.
    pub(super) fn that_tells(file: File) -> io::Result<Self> {
        let is_known = file_system::of_file(&file).is_ok_and(FileSystem::stamps_changes);
        let before = stamp(&file.metadata()?);
        // In this order: whatever becomes dirty from the wait on, during the sync too, has another
        // time, and whatever was dirty by then is clean behind it.
        let is_clean = is_known && is_past(before.4) && file.sync_data().is_ok();
        let stamp = stamp(&file.metadata()?);
        let tells = is_clean && stamp == before;
        Ok(Self { digest: program_digest(file)?, stamp, tells })
    }

    pub(super) fn digest(&self) -> ProgramDigest {
        self.digest
    }

    /// Whether this is the file that was read, as far as its stamp says so.
    pub(super) fn is_of(&self, stamp: Stamp) -> bool {
        self.stamp == stamp
    }

    /// Whether it is, for sure.
    pub(super) fn is_surely_of(&self, stamp: Stamp) -> bool {
        self.tells && self.is_of(stamp)
    }
}

/// Whether the clock by which the kernel stamps files has gone on since; it is waited for. A time in
/// the future is none of this clock's: somebody has set it.
fn is_past(changed: Time) -> bool {
    if changed.1 == 0 {
        return false; // most likely of a file system that counts whole seconds
    }
    for _ in 0..=LONGEST_TICK.as_millis() / LOOK_INTERVAL.as_millis() {
        let Ok(now) = clock_gettime(ClockId::CLOCK_REALTIME_COARSE) else { return false };
        let now = time(now);
        if now > changed {
            return true;
        }
        if now.0 + 1 < changed.0 {
            return false;
        }
        thread::sleep(LOOK_INTERVAL);
    }
    false
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Seek as _, Write as _};
    use std::process::{Command, Stdio};

    use super::*;
    use crate::disk::mounted::Mounted;

    /// A file in a directory of a file system that is known; nothing where there is no such one.
    fn file(content: &[u8]) -> Option<(tempfile::TempDir, File)> {
        let directory = tempfile::tempdir().unwrap();
        if !file_system::of(directory.path()).unwrap().stamps_changes() {
            uplift_fixtures::untested::say("the temporary directory is on another file system");
            return None;
        }
        let mut options = File::options();
        let mut file = options
            .read(true)
            .write(true)
            .create_new(true)
            .open(directory.path().join("f"))
            .unwrap();
        file.write_all(content).unwrap();
        file.rewind().unwrap();
        Some((directory, file))
    }

    fn reading(directory: &tempfile::TempDir) -> Reading {
        Reading::that_tells(File::open(directory.path().join("f")).unwrap()).unwrap()
    }

    fn now(directory: &tempfile::TempDir) -> Stamp {
        stamp(&std::fs::metadata(directory.path().join("f")).unwrap())
    }

    /// However soon it comes: within the tick of the last change as well.
    #[test]
    fn a_write_right_behind_the_reading_shows() {
        for round in 0..200_u8 {
            let Some((directory, mut file)) = file(&[round]) else { return };
            let reading = reading(&directory);
            assert!(reading.is_surely_of(now(&directory)), "{reading:?}");
            file.write_all(&[round + 1]).unwrap();
            assert!(!reading.is_of(now(&directory)), "round {round}");
        }
    }

    #[test]
    fn what_was_read_to_say_what_is_there_is_not_sure() {
        let Some((directory, file)) = file(b"content") else { return };
        let reading = Reading::of(file).unwrap();
        assert!(reading.is_of(now(&directory)) && !reading.is_surely_of(now(&directory)));
    }

    #[test]
    fn a_time_that_has_not_passed_or_counts_whole_seconds_tells_nothing() {
        let now = time(clock_gettime(ClockId::CLOCK_REALTIME_COARSE).unwrap());
        assert!(is_past((now.0 - 1, 1)) && is_past((now.0, now.1.max(1))));
        assert!(!is_past((now.0 + 3600, 1)) && !is_past((now.0 - 3600, 0)));
    }

    /// A write through a mapping that was there, and had dirty pages, before the file was read.
    #[test]
    fn a_write_through_a_mapping_of_before_shows() {
        let Some((directory, _)) = file(&[7; 8192]) else { return };
        let script = "import mmap, sys\nf = open(sys.argv[1], 'r+b')\nm = mmap.mmap(f.fileno(), 0)\nm[0] = 1\nprint(flush=True)\nsys.stdin.readline()\nm[1] = 2\nprint(flush=True)\nsys.stdin.readline()\n";
        let mut writer = Command::new("python3")
            .args(["-c", script])
            .arg(directory.path().join("f"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut told, mut said) =
            (writer.stdin.take().unwrap(), BufReader::new(writer.stdout.take().unwrap()));
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        let reading = reading(&directory);
        assert!(reading.is_surely_of(now(&directory)), "{reading:?}");
        told.write_all(b"\n").unwrap();
        said.read_line(&mut line).unwrap();
        assert!(
            !reading.is_of(now(&directory)),
            "its page was clean again, and the kernel noticed"
        );
        drop(told);
        writer.wait().unwrap();
    }

    #[test]
    fn in_memory_a_mapping_leaves_no_trace_and_nothing_is_remembered() {
        let Some(memory) = Mounted::memory(1024) else { return };
        let path = memory.path().join("f");
        File::create(&path).unwrap().write_all(b"content").unwrap();
        let reading = Reading::that_tells(File::open(&path).unwrap()).unwrap();
        assert!(!reading.is_surely_of(stamp(&std::fs::metadata(&path).unwrap())));
    }
}
