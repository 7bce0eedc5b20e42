//! The lock of a file, by whatever process holds it. It ends with its holder.
//!
//! Whoever can open a file can hold its lock for as long as he likes, and needs no right to write
//! it. So the file of a lock is opened by nobody else.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};

use super::PRIVATE_MODE;

/// Pause between attempts: the kernel offers no wait for a lock that ends.
const PAUSE: Duration = Duration::from_millis(20);

/// Opens the file of a lock, which is made if need be.
pub(crate) fn open_lock(path: &Path) -> io::Result<File> {
    let file = open(path, OpenOptions::new().write(true).create(true).truncate(false))?;
    // An earlier version, or a person, may have made it for everybody.
    if file.metadata()?.permissions().mode() & !PRIVATE_MODE & 0o777 != 0 {
        file.set_permissions(Permissions::from_mode(PRIVATE_MODE))?;
    }
    Ok(file)
}

/// The same for a holder who changes nothing: on a read-only file system it is enough to read the
/// file.
pub(crate) fn open_lock_to_hold(path: &Path) -> io::Result<File> {
    match open_lock(path) {
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {
            open(path, OpenOptions::new().read(true))
        }
        opened => opened,
    }
}

fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    options.mode(PRIVATE_MODE).custom_flags(OFlag::O_NOFOLLOW.bits()).open(path)
}

/// Locks `file` for this process alone. `EWOULDBLOCK` where another one still holds it after
/// `patience`: also one that is gone may for a moment, in a child that was about to become another
/// program.
pub(crate) fn lock_within(patience: Duration, mut file: File) -> Result<Flock<File>, Errno> {
    let deadline = Instant::now() + patience;
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(locked) => return Ok(locked),
            Err((unlocked, Errno::EINTR)) => file = unlocked,
            Err((unlocked, Errno::EWOULDBLOCK)) if Instant::now() < deadline => file = unlocked,
            Err((_, errno)) => return Err(errno),
        }
        thread::sleep(PAUSE);
    }
}

/// Whether a process holds the lock of this file; of one that is not there, nobody does.
pub(crate) fn is_locked(path: &Path) -> io::Result<bool> {
    match share(path, FlockArg::LockSharedNonblock) {
        Err(Errno::EWOULDBLOCK) => Ok(true),
        Err(errno) => Err(errno.into()),
        Ok(()) => Ok(false),
    }
}

/// Waits until nobody holds the lock of this file, however long that takes.
pub(crate) fn wait_until_unlocked(path: &Path) -> io::Result<()> {
    Ok(share(path, FlockArg::LockShared)?)
}

/// Takes the lock beside others who only look, and lets go of it.
fn share(path: &Path, how: FlockArg) -> Result<(), Errno> {
    let opened = open(path, OpenOptions::new().read(true));
    let mut file = match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)),
        Ok(file) => file,
    };
    loop {
        match Flock::lock(file, how) {
            Ok(_) => return Ok(()),
            Err((unlocked, Errno::EINTR)) => file = unlocked,
            Err((_, errno)) => return Err(errno),
        }
    }
}
