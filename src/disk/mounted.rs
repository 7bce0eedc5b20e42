//! File systems for tests that the machine must lend: to mount takes CAP_SYS_ADMIN, which a
//! container's root lacks. Where that is so, the test says so, and what the injected errors of
//! [`super::faulty`] cover is covered still.

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

    /// The files of `original` through bindfs, which refuses the flags of a rename (exchange, free
    /// name only).
    pub(crate) fn without_rename_flags(original: &Path) -> Option<Self> {
        Self::bindfs(&[], original)
    }

    /// The same, and a change of a file's mode is taken and forgotten.
    pub(crate) fn without_modes(original: &Path) -> Option<Self> {
        Self::bindfs(&["--chmod-ignore"], original)
    }

    /// The same, and files have no extended attributes.
    pub(crate) fn without_attributes(original: &Path) -> Option<Self> {
        Self::bindfs(&["--xattr-none"], original)
    }

    fn bindfs(options: &[&str], original: &Path) -> Option<Self> {
        if !Path::new("/dev/fuse").exists() {
            uplift_fixtures::untested::say(
                "this machine has no /dev/fuse: tested by injected errors only",
            );
            return None;
        }
        Self::mount(&[&["bindfs"], options, &[original.to_str().unwrap()]].concat())
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    fn mount(command: &[&str]) -> Option<Self> {
        if !may_mount() {
            uplift_fixtures::untested::say(
                "this process may not mount: tested by injected errors only",
            );
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

/// Whether the effective capabilities have CAP_SYS_ADMIN, number 21.
fn may_mount() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let capabilities = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
    u64::from_str_radix(capabilities.trim(), 16).unwrap() & 1 << 21 != 0
}

fn run(command: &[&str], directory: &Path) {
    let status = Command::new(command[0]).args(&command[1..]).arg(directory).status();
    let succeeded = status.as_ref().is_ok_and(std::process::ExitStatus::success);
    assert!(
        succeeded,
        "{command:?} failed with {status:?}; tests/run installs the Debian packages that tests need"
    );
}
