//! The bytes below a line: a pseudo-terminal, a terminal device, or a socket, opened again whenever
//! it goes away.

use std::fmt;
use std::fs::OpenOptions;
use std::io;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

use super::pty::PtyLine;

/// How often a port that is away is tried again; for a socket or a device there is no event to wait
/// for.
const REOPEN: Duration = Duration::from_millis(50);
/// How long a full port is waited for before what is left is lost.
const FULL: Duration = Duration::from_millis(100);
/// How soon a made pseudo-terminal notices that it was pulled out, or that the payload's end is
/// taken.
const UNPLUG_NOTICE: Duration = Duration::from_millis(20);

/// Where a port is, as written on a command line: `unix:PATH`, `tcp:ADDRESS`, or the path of a
/// terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortName {
    /// A terminal device.
    Terminal(PathBuf),
    /// A listening UNIX stream socket.
    Unix(PathBuf),
    /// A listening TCP socket, `host:port`.
    Tcp(String),
}

/// No address of a TCP socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("tcp:HOST:PORT is expected, with a port from 1 to 65535")]
pub struct NoAddress;

impl FromStr for PortName {
    type Err = NoAddress;

    fn from_str(text: &str) -> Result<Self, NoAddress> {
        Ok(match text.split_once(':') {
            Some(("unix", path)) => Self::Unix(path.into()),
            Some(("tcp", address)) if is_address(address) => Self::Tcp(address.to_owned()),
            Some(("tcp", _)) => return Err(NoAddress),
            _ => Self::Terminal(text.into()),
        })
    }
}

fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0)
}

impl fmt::Display for PortName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Terminal(path) => write!(formatter, "{}", path.display()),
            Self::Unix(path) => write!(formatter, "unix:{}", path.display()),
            Self::Tcp(address) => write!(formatter, "tcp:{address}"),
        }
    }
}

/// Why there is no port.
#[derive(Debug, thiserror::Error)]
#[error("the port {port} can't be opened: {cause}")]
pub struct NoPort {
    port: PortName,
    cause: io::Error,
}

/// A port, open or on its way to be.
#[derive(Debug)]
pub struct Port {
    source: Source,
    open: Option<Arc<OwnedFd>>,
    /// What the last try to open it gave, while it is away.
    trouble: Option<NoPort>,
}

#[derive(Debug)]
enum Source {
    Named(PortName, Option<u32>),
    Made(PtyLine),
    Given,
}

/// What a read gave.
#[derive(Debug)]
pub(crate) enum Input {
    Bytes(usize),
    Nothing,
    Lost,
    Opened,
}

impl Port {
    /// The port of that name; a terminal is set to `speed` if one is given. It is opened when first
    /// used.
    #[must_use]
    pub const fn named(name: PortName, speed: Option<u32>) -> Self {
        Self { source: Source::Named(name, speed), open: None, trouble: None }
    }

    /// Our end of a made pseudo-terminal.
    #[must_use]
    pub const fn made(line: PtyLine) -> Self {
        Self { source: Source::Made(line), open: None, trouble: None }
    }

    /// A descriptor that is open already (a socket of a pair, for instance) and can't be opened
    /// again.
    ///
    /// # Errors
    /// It can't be made non-blocking.
    pub fn given(descriptor: impl Into<OwnedFd>) -> io::Result<Self> {
        let descriptor = descriptor.into();
        rustix::io::ioctl_fionbio(&descriptor, true)?;
        Ok(Self { source: Source::Given, open: Some(Arc::new(descriptor)), trouble: None })
    }

    /// Why the port is away, if it could not be opened.
    pub(super) const fn take_trouble(&mut self) -> Option<NoPort> {
        self.trouble.take()
    }

    /// The speed that the other end of a pseudo-terminal is set to.
    pub(super) fn peer_speed(&self) -> Option<u32> {
        let modes = tcgetattr(self.open.as_ref()?).ok()?;
        Some(modes.output_speed())
    }

    /// Waits for bytes, at most until `deadline`. While the port is away, tries to open it.
    pub(crate) fn read(&mut self, bytes: &mut [u8], deadline: Instant) -> Input {
        let Some(open) = self.open.clone() else { return self.reopen(deadline) };
        loop {
            match rustix::io::read(&open, &mut *bytes) {
                Ok(0) => return self.lose(),
                Ok(count) => return Input::Bytes(count),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(_) => return self.lose(),
            }
            let now = Instant::now();
            if now >= deadline {
                return Input::Nothing;
            }
            match &self.source {
                Source::Made(line)
                    if line.controller().is_none_or(|current| !Arc::ptr_eq(&current, &open)) =>
                {
                    return self.lose();
                }
                Source::Made(line) => {
                    // A daemon that has died is silent, too.
                    line.free();
                    wait(&open, PollFlags::IN, deadline.min(now + UNPLUG_NOTICE));
                }
                _ => wait(&open, PollFlags::IN, deadline),
            }
        }
    }

    /// Writes what the port takes; the rest is lost, as on a line that nobody listens to.
    pub(crate) fn write(&self, mut bytes: &[u8]) {
        let Some(open) = &self.open else { return };
        let deadline = Instant::now() + FULL;
        while !bytes.is_empty() {
            match rustix::io::write(open, bytes) {
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(Errno::AGAIN | Errno::INTR) if Instant::now() < deadline => {
                    wait(open, PollFlags::OUT, deadline);
                }
                // A port that is gone is noticed by the next read.
                Err(_) => return,
            }
        }
    }

    fn lose(&mut self) -> Input {
        self.open = None;
        Input::Lost
    }

    fn reopen(&mut self, deadline: Instant) -> Input {
        let opened = match &self.source {
            Source::Given => Ok(None),
            Source::Made(line) => Ok(line.wait_plugged(deadline)),
            Source::Named(name, speed) => open(name, *speed)
                .map(Arc::new)
                .map(Some)
                .map_err(|cause| NoPort { port: name.clone(), cause }),
        };
        (self.open, self.trouble) =
            opened.map_or_else(|trouble| (None, Some(trouble)), |open| (open, None));
        if self.open.is_some() {
            return Input::Opened;
        }
        thread::sleep(deadline.saturating_duration_since(Instant::now()).min(REOPEN));
        Input::Nothing
    }
}

fn wait(descriptor: &OwnedFd, flags: PollFlags, deadline: Instant) {
    let left = deadline.saturating_duration_since(Instant::now());
    let left = Timespec::try_from(left).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
    // An interrupted or failed poll shows at the read or write that follows.
    let _ = poll(&mut [PollFd::new(descriptor, flags)], Some(&left));
}

fn open(name: &PortName, speed: Option<u32>) -> io::Result<OwnedFd> {
    let descriptor: OwnedFd = match name {
        PortName::Terminal(path) => open_terminal(path, speed)?,
        PortName::Unix(path) => UnixStream::connect(path)?.into(),
        PortName::Tcp(address) => {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.into()
        }
    };
    rustix::io::ioctl_fionbio(&descriptor, true)?;
    Ok(descriptor)
}

fn open_terminal(path: &Path, speed: Option<u32>) -> io::Result<OwnedFd> {
    let flags = nix::libc::O_NOCTTY | nix::libc::O_NONBLOCK;
    let terminal = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?;
    let mut modes = tcgetattr(&terminal)?;
    modes.make_raw();
    if let Some(speed) = speed {
        modes.set_speed(speed)?;
    }
    tcsetattr(&terminal, OptionalActions::Now, &modes)?;
    Ok(terminal.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_has_a_host_and_a_port() {
        for wrong in [
            "tcp:",
            "tcp:host",
            "tcp:host:",
            "tcp::80",
            "tcp:host:0",
            "tcp:host:65536",
            "tcp:host:http",
        ] {
            assert_eq!(wrong.parse::<PortName>(), Err(NoAddress), "{wrong}");
        }
        for right in ["tcp:host:80", "tcp:[::1]:65535", "unix:/run/x:y", "/dev/ttyUSB0", "tcp"] {
            assert_eq!(
                right.parse::<PortName>().map(|name| name.to_string()),
                Ok(right.to_owned())
            );
        }
    }
}
