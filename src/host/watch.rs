//! Waiting for something to happen to a name in a directory, by the kernel's word and not by
//! looking again.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::net::unix::pipe;

/// A watched directory.
#[derive(Debug)]
pub(crate) struct Watch {
    /// The runtime's only door for a plain descriptor that needs no `unsafe`; reading is all that
    /// is done with it.
    events: pipe::Receiver,
}

impl Watch {
    /// From now on, what happens of this kind in `directory` is seen.
    pub(crate) fn on(directory: &Path, kinds: AddWatchFlags) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        inotify.add_watch(directory, kinds | AddWatchFlags::IN_ONLYDIR)?;
        Ok(Self { events: pipe::Receiver::from_owned_fd_unchecked(inotify.into())? })
    }

    /// Resolves once something has happened to this name.
    pub(crate) async fn sees(&self, wanted: &OsStr) -> io::Result<()> {
        // Room for several events; the kernel gives whole ones only.
        let mut buffer = [0; 4096];
        loop {
            self.events.readable().await?;
            match self.events.try_read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) if names(&buffer[..length]).any(|name| name == wanted.as_bytes()) => {
                    return Ok(());
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// The names in a buffer of inotify events: watch, mask and cookie, the length of the name, the
/// name and zeros.
fn names(mut events: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (_, rest) = events.split_at_checked(12)?;
        let (length, rest) = rest.split_first_chunk()?;
        let (name, rest) =
            rest.split_at_checked(usize::try_from(u32::from_ne_bytes(*length)).ok()?)?;
        events = rest;
        name.split(|&byte| byte == 0).next()
    })
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "files of a test need not survive anything")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_is_seen_among_others() {
        let directory = tempfile::tempdir().unwrap();
        let watch = Watch::on(directory.path(), AddWatchFlags::IN_CREATE).unwrap();
        for name in ["a", "a-long-name-that-needs-more-room", "wanted"] {
            std::fs::write(directory.path().join(name), "").unwrap();
        }
        watch.sees(OsStr::new("wanted")).await.unwrap();
    }

    #[tokio::test]
    async fn only_a_directory_can_be_watched() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(Watch::on(file.path(), AddWatchFlags::IN_CREATE).is_err());
    }
}
