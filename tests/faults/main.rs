//! What can go wrong, through the real binaries: the rows of docs/faults.md that no other test has.
//! systemd is a script of one unit, disks are real ones, and a phase is held by what holds it in
//! life: a lock, a program that never ends.

#![allow(clippy::disallowed_methods, reason = "files of a test need not survive anything")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that can't go on should stop where it is"
)]

mod by_hand;
mod change;
mod clock;
mod full_disk;
mod hanging;
mod killed_twice;
mod lost_files;
#[allow(dead_code, reason = "shared with the restarts, and each uses its part")]
#[path = "../restart_unit/payload.rs"]
mod payload;
#[path = "../world/programs.rs"]
mod programs;
mod story;
mod table;
mod versions;
#[path = "../world/watched.rs"]
mod watched;
mod way_back;

use std::path::{Path, PathBuf};
use std::process::Command;

/// Something mounted on a directory; dropped, it is unmounted.
struct Mounted(PathBuf);

impl Mounted {
    fn on(directory: &Path, options: &[&str]) -> Self {
        assert!(nix::unistd::geteuid().is_root(), "this test mounts file systems: run it as root");
        let status = Command::new("mount").args(options).arg(directory).status().unwrap();
        assert!(status.success(), "mount {options:?} {}", directory.display());
        Self(directory.to_owned())
    }

    /// The same, read-only (`ro`) or not (`rw`).
    fn remount(&self, how: &str) {
        let status = Command::new("mount")
            .args(["-o", &format!("remount,{how},bind")])
            .arg(&self.0)
            .status()
            .unwrap();
        assert!(status.success(), "remount {how}");
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}
