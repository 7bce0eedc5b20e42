//! The observer of the stand-in's callbacks (`tests/bridge/stand-in/src/observer.c`): the thread
//! that calls them waits at each call and each return until the observer lets it go on.

use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{getsockopt, sockopt};
use nix::unistd::Pid;

/// Longer than each event of the stand-in.
const LONGEST_EVENT: usize = 64;

/// Where callbacks are told; once it is dropped, they wait for nobody.
pub(super) struct Observer {
    listener: UnixListener,
    path: PathBuf,
}

/// A thread that waits, before a callback or behind it; dropped, it goes on.
pub(super) struct Held {
    /// `NAME is called` or `NAME has returned`.
    pub(super) event: String,
    /// Whose thread it is.
    pub(super) application: Pid,
    _connection: UnixStream,
}

impl Observer {
    pub(super) fn at(path: &Path) -> Self {
        Self { listener: UnixListener::bind(path).unwrap(), path: path.to_owned() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The next event, if there is one within this time.
    pub(super) fn next_within(&self, time: Duration) -> Option<Held> {
        let mut descriptors = [PollFd::new(self.listener.as_fd(), PollFlags::POLLIN)];
        poll(&mut descriptors, PollTimeout::try_from(time).unwrap()).unwrap();
        if descriptors[0].any() != Some(true) {
            return None;
        }
        let (mut connection, _) = self.listener.accept().unwrap();
        let application = getsockopt(&connection, sockopt::PeerCredentials).unwrap().pid();
        let mut event = [0; LONGEST_EVENT];
        // An application that is killed at this moment has said nothing.
        let length = connection.read(&mut event).unwrap_or(0);
        let event = String::from_utf8_lossy(&event[..length]).into_owned();
        Some(Held { event, application: Pid::from_raw(application), _connection: connection })
    }
}
