//! The process at the other end of a local socket, pinned: a number that the kernel gives to another
//! process later is not taken for it.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::{PeerCredentials, PeerPidfd};

use super::{executable, start_in};

/// A process that connected.
#[derive(Debug)]
pub struct Peer {
    /// Its number.
    pub pid: u32,
    /// Its user.
    pub uid: u32,
    /// When it started, in clock ticks since the boot.
    start: u64,
    /// The kernel's own handle, from 6.5 on.
    handle: Option<OwnedFd>,
}

impl Peer {
    /// The one at the other end, as it was when it connected.
    pub fn of(socket: &impl AsFd) -> io::Result<Self> {
        let credentials = getsockopt(socket, PeerCredentials)?;
        let pid = u32::try_from(credentials.pid()).map_err(io::Error::other)?;
        let handle = match getsockopt(socket, PeerPidfd) {
            Ok(handle) => Some(handle),
            Err(Errno::ENOPROTOOPT) => None,
            Err(errno) => return Err(errno.into()),
        };
        Ok(Self { pid, uid: credentials.uid(), start: start_of(pid)?, handle })
    }

    /// Whether it runs still, so that what was read of its number was read of it.
    pub fn runs(&self) -> bool {
        let has_ended = self.handle.as_ref().is_some_and(|handle| {
            // It can be read once its process has ended.
            let mut ended = [PollFd::new(handle.as_fd(), PollFlags::POLLIN)];
            poll(&mut ended, PollTimeout::ZERO) != Ok(0)
        });
        !has_ended && start_of(self.pid).is_ok_and(|now| now == self.start)
    }

    /// Whether it started no earlier than this process, as everything that it started did.
    pub fn is_no_older_than(&self, pid: u32) -> io::Result<bool> {
        Ok(self.start >= start_of(pid)?)
    }

    /// Its control group, such as `/system.slice/payload.service`.
    pub fn control_group(&self) -> io::Result<String> {
        let text = fs::read_to_string(format!("/proc/{}/cgroup", self.pid))?;
        let of = |hierarchy: &str| {
            text.lines().find_map(|line| line.split_once(':')?.1.strip_prefix(hierarchy))
        };
        // systemd's own hierarchy, or the one for all.
        let group = of("name=systemd:").or_else(|| of(":"));
        group.map(str::to_owned).ok_or_else(|| io::Error::other("it is in no control group"))
    }

    /// The file that it runs, whatever became of its name.
    pub fn executable(&self) -> io::Result<File> {
        File::open(executable(self.pid))
    }
}

fn start_of(pid: u32) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let start = start_in(&text).and_then(|start| start.parse().ok());
    start.ok_or_else(|| io::Error::other("the kernel does not tell when it started"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_peer_is_known_and_runs() {
        let (one, _other) = UnixStream::pair().unwrap();
        let peer = Peer::of(&one).unwrap();
        assert_eq!(peer.pid, std::process::id());
        assert!(peer.runs() && peer.executable().is_ok());
    }

    fn child(seconds: &str) -> (std::process::Child, Peer) {
        let child = std::process::Command::new("sleep").arg(seconds).spawn().unwrap();
        let start = start_of(child.id()).unwrap();
        let peer = Peer { pid: child.id(), uid: 0, start, handle: None };
        (child, peer)
    }

    #[test]
    fn a_process_that_has_ended_does_not_run_and_another_start_is_another_process() {
        let (mut child, peer) = child("60");
        let later = Peer { start: peer.start + 1, handle: None, ..peer };
        assert!(peer.runs() && !later.runs());
        assert!(peer.is_no_older_than(std::process::id()).unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!peer.runs());
    }

    #[test]
    fn a_control_group_is_told() {
        let (one, _other) = UnixStream::pair().unwrap();
        assert!(Peer::of(&one).unwrap().control_group().unwrap().starts_with('/'));
    }
}
