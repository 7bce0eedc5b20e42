//! Addresses for servers that don't choose one themselves. Knows none of them.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The ports that are given: below those that Linux gives to whoever
/// connects or asks for any port. So nobody takes one between the look and the use, and a client that
/// tries one again and again while its server is away is never connected with itself.
const PORTS: Range<u16> = 10_000..32_000;

/// How many this process has looked at. It begins anywhere: another process does the same.
static NEXT: LazyLock<AtomicU32> = LazyLock::new(|| AtomicU32::new(fastrand::u32(..)));

/// Longest time for which a child that is being started keeps a listener that is closed here: it has a
/// copy until it runs its own program.
const LEFT_OPEN: Duration = Duration::from_secs(10);

/// A loopback address at which nobody listens, and that is given to nobody else in this process until
/// all others were. It is asked by connecting: a listener of our own could be in use for a moment more.
pub fn free_address() -> io::Result<SocketAddr> {
    let next = || NEXT.fetch_add(1, Ordering::Relaxed) as usize % PORTS.len();
    PORTS
        .filter_map(|_| PORTS.clone().nth(next()))
        .map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        .find(|address| {
            TcpStream::connect(address)
                .is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
        })
        .ok_or_else(|| ErrorKind::AddrInUse.into())
}

/// Listens where this process listened before, and waits for its children to let go of that.
pub(crate) fn listen_again(address: SocketAddr) -> io::Result<TcpListener> {
    let began = Instant::now();
    loop {
        match TcpListener::bind(address) {
            Err(error) if error.kind() == ErrorKind::AddrInUse && began.elapsed() < LEFT_OPEN => {
                // Nothing tells when a child has begun.
                thread::sleep(Duration::from_millis(5));
            }
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::process::Command;
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[test]
    fn no_address_is_given_twice() {
        let all: HashSet<_> = (0..2000).map(|_| free_address().unwrap()).collect();
        assert_eq!(all.len(), 2000);
    }
    /// Found red: with three threads that start children, half of all listeners that are closed are still
    /// in use when the next one is asked for.
    #[test]
    fn children_that_are_being_started_keep_no_address_from_its_server() {
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        assert!(Command::new("true").status().unwrap().success());
                    }
                });
            }
            for _ in 0..200 {
                let address = free_address().unwrap();
                let listener = TcpListener::bind(address);
                let again = listener.and_then(|listener| {
                    drop(listener);
                    listen_again(address)
                });
                let is_well = again.is_ok();
                done.fetch_or(!is_well, Ordering::Relaxed);
                assert!(is_well, "{again:?}");
            }
            done.store(true, Ordering::Relaxed);
        });
    }
}
