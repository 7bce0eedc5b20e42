//! A file system that a test mounts.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Something mounted on a directory; dropped, it is unmounted.
pub(crate) struct Mounted(PathBuf);

impl Mounted {
    pub(crate) fn on(directory: &Path, options: &[&str]) -> Self {
        assert!(nix::unistd::geteuid().is_root(), "this test mounts file systems: run it as root");
        let status = Command::new("mount").args(options).arg(directory).status().unwrap();
        assert!(status.success(), "mount {options:?} {}", directory.display());
        Self(directory.to_owned())
    }

    /// The same, read-only (`ro`) or not (`rw`).
    #[allow(dead_code, reason = "not every binary needs it")]
    pub(crate) fn remount(&self, how: &str) {
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
