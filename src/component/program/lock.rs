//! The lock of a swap: whoever replaces the program holds it, in whatever process. It ends with its
//! holder.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::Flock;

use crate::disk::{lock_within, open_lock, open_lock_to_hold};
use crate::model::{Failure, FailureKind};

/// How long to wait for the lock; a swap takes milliseconds, on a slow card a second.
const PATIENCE: Duration = Duration::from_secs(10);

/// The lock, held until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: Flock<File>,
}

impl Lock {
    /// Takes the lock file at `path`, which is created if need be.
    pub(super) fn acquire(path: &Path) -> Result<Self, Failure> {
        Self::acquire_within(PATIENCE, path)
    }

    pub(super) fn acquire_within(patience: Duration, path: &Path) -> Result<Self, Failure> {
        Self::take(patience, path, open_lock(path))
    }

    /// [`Lock::acquire`] for who only keeps others from a replacement: a read-only file system is
    /// no obstacle.
    pub(super) fn acquire_to_hold(path: &Path) -> Result<Self, Failure> {
        Self::take(PATIENCE, path, open_lock_to_hold(path))
    }

    fn take(patience: Duration, path: &Path, opened: io::Result<File>) -> Result<Self, Failure> {
        let file = opened.map_err(|error| unlockable(path, error))?;
        match lock_within(patience, file) {
            Ok(file) => Ok(Self { _file: file }),
            Err(Errno::EWOULDBLOCK) => {
                Err(Failure::new(FailureKind::Busy, "another process is replacing the program"))
            }
            Err(errno) => Err(unlockable(path, errno.into())),
        }
    }
}

pub(super) fn unlockable(path: &Path, error: io::Error) -> Failure {
    Failure::from_io(
        FailureKind::InstallFailed,
        format!("the lock {} can't be taken", path.display()),
        error,
    )
}
