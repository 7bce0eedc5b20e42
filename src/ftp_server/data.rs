//! The data connection: a passive listener or an active connection, and the thread that moves the
//! bytes of one transfer.
//!
//! A transfer blocks on a thread of its own: socket, one buffer, file. What the transfer is for,
//! and what is answered, is for the session.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;

use super::area::AreaError;
use super::files::Upload;
use super::who::Who;
use crate::wire::places::{Place, Places};

/// The buffer of an upload: small ones cost system calls, and larger ones gain less than their
/// memory is worth with all places taken.
const BUFFER: usize = 256 << 10;

/// An upload that is slower than this, in bytes a second, over a whole `stall_timeout` is held by
/// somebody who means harm: one byte now and then would keep its place for ever.
const SLOWEST_UPLOAD: u64 = 1024;

/// Why a transfer ended without being complete.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransferError {
    #[error("no byte came or went for {}", humantime::format_duration(*.0))]
    Stalled(Duration),
    #[error("fewer than {SLOWEST_UPLOAD} bytes a second came for {}", humantime::format_duration(*.0))]
    TooSlow(Duration),
    #[error("the data connection broke: {0}")]
    Broken(io::Error),
    #[error(transparent)]
    Area(#[from] AreaError),
    #[error("the transfer thread failed: {0}")]
    Thread(#[from] tokio::task::JoinError),
}

/// Lowest port that is connected to: below it the services of a machine listen.
const LOWEST_PORT: u16 = 1024;

/// How the client wants its next data connection.
#[derive(Debug)]
pub(crate) enum Way {
    /// It comes.
    Passive(Passive),
    /// It waits for us.
    Active(Active),
}

impl Way {
    /// The data connection.
    pub(crate) async fn connect(self) -> io::Result<TcpStream> {
        match self {
            Self::Passive(passive) => passive.accept().await,
            Self::Active(active) => active.connect().await,
        }
    }
}

/// A client that waits for the data connection.
#[derive(Debug)]
pub(crate) struct Active {
    from: SocketAddr,
    to: SocketAddr,
}

impl Active {
    /// From the address of `local` to `to`, where that is an unprivileged port of `peer` itself;
    /// for anybody else's we would be the one who attacks.
    pub(crate) fn new(mut local: SocketAddr, peer: SocketAddr, mut to: SocketAddr) -> Option<Self> {
        if to.ip().to_canonical() != peer.ip().to_canonical() || to.port() < LOWEST_PORT {
            return None;
        }
        local.set_port(0);
        // The peer's own, which has its scope.
        to.set_ip(peer.ip());
        if let (SocketAddr::V6(to), SocketAddr::V6(peer)) = (&mut to, peer) {
            to.set_scope_id(peer.scope_id());
        }
        Some(Self { from: local, to })
    }

    async fn connect(self) -> io::Result<TcpStream> {
        let socket = if self.to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.bind(self.from)?;
        socket.connect(self.to).await?.into_std()
    }
}

/// A data port that waits for the client. Its place is one of all that wait.
#[derive(Debug)]
pub(crate) struct Passive {
    listener: TcpListener,
    peer: IpAddr,
    place: Place<Who>,
}

impl Passive {
    /// Listens at the address of `local`, on one of `ports` (port 0: the kernel's choice), for a
    /// connection from `peer`. Where none is free, a port on which nobody has connected yet makes
    /// room.
    pub(crate) async fn listen(
        local: SocketAddr,
        peer: IpAddr,
        ports: &RangeInclusive<u16>,
        waiting: &Places<Who>,
        who: Who,
    ) -> io::Result<Self> {
        let mut bound = bind(local, ports).await;
        if bound.is_err() {
            let number = waiting.number();
            waiting.make_room(&who, false, || waiting.number() < number).await;
            bound = bind(local, ports).await;
        }
        Ok(Self { listener: bound?, peer, place: waiting.seat(who) })
    }

    /// Resolves when another needs the port.
    pub(crate) async fn told_to_leave(&self) {
        self.place.told_to_leave().await;
    }

    /// The port.
    pub(crate) fn port(&self) -> io::Result<u16> {
        Ok(self.listener.local_addr()?.port())
    }

    /// The client's connection. One from another address is closed: it would be somebody who reads
    /// or feeds another's transfer.
    pub(crate) async fn accept(self) -> io::Result<TcpStream> {
        loop {
            let (stream, from) = tokio::select! {
                accepted = self.listener.accept() => accepted?,
                () = self.place.told_to_leave() => return Err(io::Error::other("another needs its port")),
            };
            if from.ip().to_canonical() == self.peer {
                return stream.into_std();
            }
            tracing::warn!(%from, peer = %self.peer, "a data connection from {from} is refused: it is for {}", self.peer);
        }
    }
}

async fn bind(mut local: SocketAddr, ports: &RangeInclusive<u16>) -> io::Result<TcpListener> {
    let (first, count) = (*ports.start(), ports.len());
    // A start at random: a port that was just in use may still be known to a firewall or a late
    // packet.
    let start = fastrand::usize(..count.max(1));
    let mut refused = io::Error::from(ErrorKind::AddrInUse);
    for index in 0..count {
        local.set_port(first.saturating_add(u16::try_from((start + index) % count).unwrap_or(0)));
        match TcpListener::bind(local).await {
            Ok(listener) => return Ok(listener),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

/// What a transfer moves.
#[derive(Debug)]
pub(crate) enum Work {
    /// From the client into a file.
    Receive(Upload),
    /// A file to the client, from its position on.
    SendFile(File),
    /// A listing to the client.
    SendText(Vec<u8>),
}

/// A transfer that came to its end in order.
#[derive(Debug)]
pub(crate) enum Completed {
    /// All that the client sent is in the file, which has not got its name yet.
    Received(Upload),
    /// All was given to the connection.
    Sent,
}

/// A running transfer. Dropped, it is broken off, and an upload leaves nothing behind.
#[derive(Debug)]
pub(crate) struct Transfer {
    thread: JoinHandle<Result<Completed, TransferError>>,
    connection: Arc<Connection>,
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    stall_timeout: Duration,
}

impl Transfer {
    /// Starts the thread, which holds the place as well.
    pub(crate) fn start(
        stream: TcpStream,
        stall_timeout: Duration,
        work: Work,
        place: Place<Who>,
    ) -> io::Result<Self> {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(stall_timeout))?;
        stream.set_write_timeout(Some(stall_timeout))?;
        let connection = Arc::new(Connection { stream, stall_timeout });
        let on_thread = Arc::clone(&connection);
        let thread = tokio::task::spawn_blocking(move || {
            let result = on_thread.perform(work);
            // The client takes the end of a download from the end of the connection, which must
            // come before the reply.
            let _ = on_thread.stream.shutdown(Shutdown::Both);
            drop(place);
            result
        });
        Ok(Self { thread, connection })
    }

    /// Breaks the transfer off; it still has to be waited for. The thread takes that for the end of
    /// the client's stream: what it says of it is to be dropped.
    pub(crate) fn abort(&self) {
        let _ = self.connection.stream.shutdown(Shutdown::Both);
    }

    /// Waits for the end. Dropping this future loses nothing.
    pub(crate) async fn finished(&mut self) -> Result<Completed, TransferError> {
        (&mut self.thread).await?
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        self.abort();
    }
}

/// Whether bytes come fast enough, judged over one window after the other. Pure.
#[derive(Debug)]
struct Pace {
    window: Duration,
    began: Instant,
    bytes: u64,
}

impl Pace {
    fn new(now: Instant, window: Duration) -> Self {
        Self { window, began: now, bytes: 0 }
    }

    /// Counts bytes that came; true when a window is over in which too few did.
    fn is_too_slow(&mut self, now: Instant, length: usize) -> bool {
        self.bytes += length as u64;
        let time = now.saturating_duration_since(self.began);
        if time < self.window {
            return false;
        }
        let least = u128::from(SLOWEST_UPLOAD) * time.as_millis() / 1000;
        let bytes = std::mem::take(&mut self.bytes);
        self.began = now;
        u128::from(bytes) < least
    }
}

impl Connection {
    fn perform(&self, work: Work) -> Result<Completed, TransferError> {
        match work {
            Work::Receive(upload) => self.receive(&self.stream, upload).map(Completed::Received),
            // The kernel moves the bytes from file to socket itself (sendfile).
            Work::SendFile(mut file) => self.sent(io::copy(&mut file, &mut &self.stream)),
            Work::SendText(text) => self.sent((&self.stream).write_all(&text)),
        }
    }

    fn receive(&self, mut from: impl Read, mut upload: Upload) -> Result<Upload, TransferError> {
        let mut buffer = vec![0; BUFFER];
        let mut pace = Pace::new(Instant::now(), self.stall_timeout);
        loop {
            match from.read(&mut buffer) {
                Ok(0) => return Ok(upload),
                Ok(length) => {
                    upload.write(&buffer[..length])?;
                    if pace.is_too_slow(Instant::now(), length) {
                        return Err(TransferError::TooSlow(self.stall_timeout));
                    }
                }
                // By a signal: where a read has a deadline the kernel does not begin it anew.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(error)),
            }
        }
    }

    fn sent<T>(&self, result: io::Result<T>) -> Result<Completed, TransferError> {
        result.map(|_| Completed::Sent).map_err(|error| self.failed(error))
    }

    fn failed(&self, error: io::Error) -> TransferError {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                TransferError::Stalled(self.stall_timeout)
            }
            _ => TransferError::Broken(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ftp_server::area::{Area, Limits};
    use crate::ftp_server::files::Files;
    use crate::handover::client::Uploads;

    /// Says something else than bytes first.
    struct Disturbed(Option<ErrorKind>, &'static [u8]);

    impl Read for Disturbed {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.take() {
                Some(kind) => Err(kind.into()),
                None => self.1.read(buffer),
            }
        }
    }

    #[test]
    fn a_signal_breaks_no_upload_and_what_does_is_told() {
        let home = tempfile::tempdir().unwrap();
        let area = Area::open(home.path(), Limits { max_size: 100, keep_free: 0 }).unwrap();
        let nobody = Uploads::new(&home.path().join("nobody"));
        let files = Files::new(Arc::new(area), nobody);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let connection = Connection { stream, stall_timeout: Duration::from_secs(20) };
        let received = |kind| {
            let upload = files.upload(&b"a"[..].into(), None, 0, &Who::Machine).unwrap();
            connection.receive(Disturbed(Some(kind), b"bytes"), upload)
        };
        assert_eq!(received(ErrorKind::Interrupted).unwrap().written(), 5);
        let stalled = received(ErrorKind::WouldBlock).unwrap_err();
        assert!(matches!(stalled, TransferError::Stalled(_)), "{stalled}");
        let broken = received(ErrorKind::ConnectionReset).unwrap_err();
        assert!(matches!(broken, TransferError::Broken(_)), "{broken}");
    }

    #[tokio::test]
    async fn the_one_port_of_a_range_that_is_free_is_found() {
        const RANGE: RangeInclusive<u16> = 20001..=20003;
        // Of this process alone, and each of them once: a child of another test, which is about to run
        // its program, still has a copy of a listener that is closed here.
        let [.., high, low] = std::process::id().to_be_bytes();
        for (round, free) in (100..160).zip(RANGE.cycle()) {
            let at = |port| SocketAddr::from(([127, round, high, low], port));
            let others = RANGE.filter(|port| *port != free);
            let _taken: Vec<_> =
                others.map(|port| std::net::TcpListener::bind(at(port)).unwrap()).collect();
            let found = bind(at(0), &RANGE).await.unwrap();
            assert_eq!(found.local_addr().unwrap().port(), free);
        }
    }

    #[test]
    fn a_byte_now_and_then_is_too_slow_and_a_slow_line_is_not() {
        let (start, window) = (Instant::now(), Duration::from_secs(20));
        for (bytes_a_second, too_slow) in
            [(1, true), (1000, true), (1024, false), (1_000_000, false)]
        {
            let mut pace = Pace::new(start, window);
            let slow = (1..=60).any(|second| {
                pace.is_too_slow(start + Duration::from_secs(second), bytes_a_second)
            });
            assert_eq!(slow, too_slow, "{bytes_a_second}");
        }
    }

    #[test]
    fn each_window_counts_for_itself() {
        let (start, window) = (Instant::now(), Duration::from_secs(20));
        let mut pace = Pace::new(start, window);
        assert!(!pace.is_too_slow(start + window / 2, 1), "it may still come");
        assert!(!pace.is_too_slow(start + window, 1 << 30));
        assert!(!pace.is_too_slow(start + window + Duration::from_secs(1), 1));
        assert!(pace.is_too_slow(start + 2 * window, 1));
    }
}
