//! The lock of a file or directory, by whatever process holds it. It ends with its holder.

use std::fs::File;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

/// Pause between attempts: the kernel offers no wait for a lock that ends.
const PAUSE: Duration = Duration::from_millis(20);

/// Locks `file` for this process alone. `EWOULDBLOCK` where another one still holds it after `patience`: also one that is
/// gone may for a moment, in a child that was about to become another program.
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
