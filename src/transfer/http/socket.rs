//! A connection whose every wait can be stopped and has a deadline, the search for its address
//! included.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, SockaddrIn6, connect, getsockopt, socket,
    sockopt,
};

use super::Stop;
use super::trouble::Late;

/// How long a wait goes on before it is looked whether it is to stop.
pub(super) const LOOK: Duration = Duration::from_millis(500);
/// Addresses of one host that are tried.
const MOST_ADDRESSES: usize = 8;

/// Watches over the waits of one exchange.
#[derive(Debug)]
pub(super) struct Watch {
    stop: Stop,
    limit: Mutex<Limit>,
}

/// How long may be waited.
#[derive(Debug, Clone, Copy)]
pub(super) enum Limit {
    /// Until then, for all of it.
    Until(Instant, Late),
    /// So long for each piece.
    Silence(Duration),
}

/// Why a wait ended. Travels through the library within an [`io::Error`].
#[derive(Debug, Clone, Copy, thiserror::Error)]
pub(super) enum Halt {
    /// Somebody said so.
    #[error("it was stopped")]
    Stopped,
    /// It was too long.
    #[error("{0}")]
    Late(Late),
}

impl Halt {
    /// The halt that an error is, if it is one.
    pub(super) fn in_error(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref().copied()
    }
}

impl From<Halt> for io::Error {
    fn from(halt: Halt) -> Self {
        Self::other(halt)
    }
}

impl Watch {
    pub(super) fn new(stop: Stop, limit: Limit) -> Self {
        Self { stop, limit: Mutex::new(limit) }
    }

    /// From now on.
    pub(super) fn limit(&self, limit: Limit) {
        *self.limit.lock().unwrap_or_else(PoisonError::into_inner) = limit;
    }

    /// How long the next look at a wait may take that began then.
    fn next(&self, since: Instant) -> Result<Duration, Halt> {
        if self.stop.is_set() {
            return Err(Halt::Stopped);
        }
        let limit = *self.limit.lock().unwrap_or_else(PoisonError::into_inner);
        let (end, late) = match limit {
            Limit::Until(end, late) => (end, late),
            Limit::Silence(longest) => (since + longest, Late::Body),
        };
        match end.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(Halt::Late(late)),
            left => Ok(left.min(LOOK)),
        }
    }
}

/// The addresses of a host, asked for on a thread of its own: nothing can interrupt the C library's
/// question.
pub(super) fn addresses(host: &str, port: u16, watch: &Watch) -> io::Result<Vec<SocketAddr>> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let (sender, answer) = mpsc::channel();
    let name = bare.to_owned();
    thread::Builder::new().name("addresses".into()).spawn(move || {
        let found = (name.as_str(), port).to_socket_addrs();
        // Nobody waits for it any more where the wait was stopped.
        let _ = sender.send(found.map(|found| found.take(MOST_ADDRESSES).collect()));
    })?;
    let since = Instant::now();
    loop {
        match answer.recv_timeout(watch.next(since)?) {
            Ok(found) => return found,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(io::ErrorKind::NotFound.into()),
        }
    }
}

/// A connection under watch.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    watch: Arc<Watch>,
}

impl Socket {
    /// Connects to the first address that answers. Each but the last has half of the time that is
    /// left, until `end`.
    pub(super) fn open(
        addresses: &[SocketAddr],
        end: Instant,
        watch: &Arc<Watch>,
    ) -> io::Result<Self> {
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for (index, address) in addresses.iter().enumerate() {
            let left = end.saturating_duration_since(Instant::now());
            let is_last = index + 1 == addresses.len();
            let own_end = if is_last { end } else { Instant::now() + left / 2 };
            match connected(*address, own_end, watch) {
                Ok(stream) => return Ok(Self { stream, watch: Arc::clone(watch) }),
                Err(error) if matches!(Halt::in_error(&error), Some(Halt::Stopped)) => {
                    return Err(error);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Waits as long as it may, or until the kernel has something.
    fn wait<T>(
        &mut self,
        set: fn(&TcpStream, Option<Duration>) -> io::Result<()>,
        mut act: impl FnMut(&mut TcpStream) -> io::Result<T>,
    ) -> io::Result<T> {
        let since = Instant::now();
        loop {
            set(&self.stream, Some(self.watch.next(since)?))?;
            match act(&mut self.stream) {
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                    ) => {}
                result => return result,
            }
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.wait(TcpStream::set_read_timeout, |stream| stream.read(buffer))
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.wait(TcpStream::set_write_timeout, |stream| stream.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// `TcpStream::connect_timeout` could not be stopped, and tried again each moment it would never
/// get through a slow link.
fn connected(address: SocketAddr, end: Instant, watch: &Watch) -> io::Result<TcpStream> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let stream = TcpStream::from(socket(family, SockType::Stream, flags, None)?);
    let begun = match address {
        SocketAddr::V4(address) => connect(stream.as_raw_fd(), &SockaddrIn::from(address)),
        SocketAddr::V6(address) => connect(stream.as_raw_fd(), &SockaddrIn6::from(address)),
    };
    match begun {
        Ok(()) | Err(Errno::EINPROGRESS | Errno::EINTR) => {}
        Err(errno) => return Err(errno.into()),
    }
    let since = Instant::now();
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Halt::Late(Late::Connection).into());
        }
        let next = PollTimeout::try_from(watch.next(since)?.min(left)).unwrap_or(PollTimeout::ZERO);
        let mut ready = [PollFd::new(stream.as_fd(), PollFlags::POLLOUT)];
        match poll(&mut ready, next) {
            Ok(0) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
            Ok(_) => match getsockopt(&stream, sockopt::SocketError)? {
                0 => break,
                number => return Err(io::Error::from_raw_os_error(number)),
            },
        }
    }
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn watch(limit: Limit) -> Arc<Watch> {
        Arc::new(Watch::new(Stop::default(), limit))
    }

    #[test]
    fn a_wait_ends_at_its_deadline_and_says_of_what() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let silent = watch(Limit::Silence(Duration::from_millis(30)));
        let end = Instant::now() + Duration::from_secs(9);
        let mut socket = Socket::open(&[listener.local_addr().unwrap()], end, &silent).unwrap();
        let error = socket.read(&mut [0]).unwrap_err();
        assert!(matches!(Halt::in_error(&error), Some(Halt::Late(Late::Body))), "{error:?}");
        silent.limit(Limit::Until(Instant::now(), Late::Answer));
        let error = socket.read(&mut [0]).unwrap_err();
        assert!(matches!(Halt::in_error(&error), Some(Halt::Late(Late::Answer))), "{error:?}");
    }

    #[test]
    fn a_wait_is_stopped() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stop = Stop::default();
        let watch = Arc::new(Watch::new(stop.clone(), Limit::Silence(Duration::from_secs(60))));
        let end = Instant::now() + Duration::from_secs(9);
        let mut socket = Socket::open(&[listener.local_addr().unwrap()], end, &watch).unwrap();
        let reader = thread::spawn(move || socket.read(&mut [0]).unwrap_err());
        stop.set();
        assert!(matches!(Halt::in_error(&reader.join().unwrap()), Some(Halt::Stopped)));
        assert!(addresses("localhost", 80, &watch).is_err());
        assert!(Socket::open(&[listener.local_addr().unwrap()], end, &watch).is_err());
    }

    #[test]
    fn the_next_address_is_tried_where_nobody_listens() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        // The port of a client has no listener, and nobody else gets it.
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let nobody = client.local_addr().unwrap();
        let watch = watch(Limit::Silence(Duration::from_secs(9)));
        let end = Instant::now() + Duration::from_secs(9);
        let both = [nobody, listener.local_addr().unwrap()];
        assert!(Socket::open(&both, end, &watch).is_ok());
        let error = Socket::open(&[nobody], end, &watch).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn an_address_in_numbers_is_not_asked_for() {
        let watch = watch(Limit::Silence(Duration::from_secs(9)));
        let found = addresses("[::1]", 80, &watch).unwrap();
        assert_eq!(found, ["[::1]:80".parse().unwrap()]);
        assert_eq!(
            addresses("127.0.0.1", 8080, &watch).unwrap(),
            ["127.0.0.1:8080".parse().unwrap()]
        );
    }
}
