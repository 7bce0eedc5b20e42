//! File systems for tests that the machine must lend: only root may mount. Where it can't, the test says so, and what
//! the injected errors of [`super::faulty`] cover is covered still.

use std::path::Path;
use std::process::Command;

/// A directory with a file system of its own; dropped, it is unmounted and gone.
#[derive(Debug)]
pub(crate) struct Mounted {
    directory: tempfile::TempDir,
}

impl Mounted {
    /// A file system in memory of this size.
    pub(crate) fn memory(kibibytes: u32) -> Option<Self> {
        Self::mount(&["mount", "-t", "tmpfs", "-o", &format!("size={kibibytes}k"), "tmpfs"])
    }

    /// The files of `original`, which can't be changed through this directory.
    pub(crate) fn read_only(original: &Path) -> Option<Self> {
        let mounted = Self::mount(&["mount", "--bind", original.to_str().unwrap()])?;
        run(&["mount", "-o", "remount,ro,bind"], mounted.path());
        Some(mounted)
    }

    /// The files of `original` through bindfs, which refuses the flags of a rename (exchange, free name only).
    pub(crate) fn without_rename_flags(original: &Path) -> Option<Self> {
        if !Path::new("/dev/fuse").exists() {
            eprintln!("this machine has no /dev/fuse: tested by injected errors only");
            return None;
        }
        Self::mount(&["bindfs", original.to_str().unwrap()])
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    fn mount(command: &[&str]) -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("only root may mount: tested by injected errors only");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        run(command, directory.path());
        Some(Self { directory })
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        run(&["umount", "--lazy"], self.path());
    }
}

fn run(command: &[&str], directory: &Path) {
    let status = Command::new(command[0]).args(&command[1..]).arg(directory).status();
    let succeeded = status.as_ref().is_ok_and(std::process::ExitStatus::success);
    assert!(succeeded, "{command:?} failed with {status:?}; tests/run installs the Debian packages that tests need");
}
