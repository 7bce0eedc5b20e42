//! A pseudo-terminal that stands for an adapter and its cable: the payload opens a stable path (a
//! symbolic link), and the adapter can be pulled out and put in again while both sides run.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, ptsname, unlockpt};
use rustix::termios::ioctl_tiocnxcl;

/// A pseudo-terminal behind a link. Clones are the same one; the link goes with the last of them.
#[derive(Debug, Clone)]
pub struct PtyLine {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    link: PathBuf,
    plugged: Mutex<Option<Pair>>,
    changed: Condvar,
}

#[derive(Debug)]
struct Pair {
    controller: Arc<OwnedFd>,
    /// Kept open: while nobody has the payload's end open, reads from ours fail.
    payload: OwnedFd,
}

impl PtyLine {
    /// Makes a pseudo-terminal and lets `link` point to the payload's end of it.
    ///
    /// # Errors
    /// No pseudo-terminal left, or the link can't be made; a file that is no symbolic link is never
    /// replaced.
    pub fn new(link: impl Into<PathBuf>) -> io::Result<Self> {
        let shared =
            Shared { link: link.into(), plugged: Mutex::new(None), changed: Condvar::new() };
        let line = Self { shared: Arc::new(shared) };
        line.plug()?;
        Ok(line)
    }

    /// The path that the payload opens.
    #[must_use]
    pub fn link(&self) -> &Path {
        &self.shared.link
    }

    /// Pulls the adapter out: the link is gone, and whoever has it open reads an end.
    pub fn unplug(&self) {
        let mut plugged = self.shared.lock();
        self.shared.remove_link();
        *plugged = None;
        self.shared.changed.notify_all();
    }

    /// Puts the adapter in: a new device under the same link. Does nothing when it is in.
    ///
    /// # Errors
    /// As [`PtyLine::new`].
    pub fn plug(&self) -> io::Result<()> {
        let mut plugged = self.shared.lock();
        if plugged.is_some() {
            return Ok(());
        }
        let (pair, device) = open_pair()?;
        self.shared.make_link(&device)?;
        *plugged = Some(pair);
        self.shared.changed.notify_all();
        Ok(())
    }

    /// Our end, if the adapter is in.
    pub(super) fn controller(&self) -> Option<Arc<OwnedFd>> {
        self.shared.lock().as_ref().map(|pair| Arc::clone(&pair.controller))
    }

    /// Lets the payload's end be opened again by whoever comes next. A daemon takes it for itself,
    /// and a real terminal is free again when that daemon ends; this one, which we keep open, would
    /// stay taken for everybody but root.
    pub(super) fn free(&self) {
        if let Some(pair) = self.shared.lock().as_ref() {
            // It can't fail on a terminal; if it did, the next daemon would say that the port is
            // busy.
            let _ = ioctl_tiocnxcl(&pair.payload);
        }
    }

    /// Waits until the adapter is in, at most until `deadline`.
    pub(super) fn wait_plugged(&self, deadline: Instant) -> Option<Arc<OwnedFd>> {
        let left = deadline.saturating_duration_since(Instant::now());
        let waited = self
            .shared
            .changed
            .wait_timeout_while(self.shared.lock(), left, |plugged| plugged.is_none());
        let (plugged, _) = waited.unwrap_or_else(PoisonError::into_inner);
        plugged.as_ref().map(|pair| Arc::clone(&pair.controller))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Option<Pair>> {
        self.plugged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn make_link(&self, device: &Path) -> io::Result<()> {
        self.remove_link();
        symlink(device, &self.link)
    }

    fn remove_link(&self) {
        if self.link.is_symlink() {
            // If it stays, making the next one fails and says so.
            let _ = fs::remove_file(&self.link);
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.remove_link();
    }
}

fn open_pair() -> io::Result<(Pair, PathBuf)> {
    let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&controller)?;
    unlockpt(&controller)?;
    let device = ptsname(&controller, Vec::new())?;
    let payload = ioctl_tiocgptpeer(
        &controller,
        OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC,
    )?;
    // Raw before anybody opens it: otherwise the terminal would echo our own frames. Through the C
    // library, whose calls older emulators of other machines know; at the speed that a new terminal
    // has, nix is right.
    let mut modes = tcgetattr(&payload)?;
    cfmakeraw(&mut modes);
    tcsetattr(&payload, SetArg::TCSANOW, &modes)?;
    rustix::io::ioctl_fionbio(&controller, true)?;
    let device = PathBuf::from(std::ffi::OsString::from_vec(device.into_bytes()));
    Ok((Pair { controller: Arc::new(controller), payload }, device))
}
