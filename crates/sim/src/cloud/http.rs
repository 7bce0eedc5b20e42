//! A small HTTP/1.1 server that lets a platform answer rightly and wrongly: a thread a connection.
//! Knows nothing of what is asked for.

mod request;
mod response;

use std::collections::HashMap;
use std::io::{self, BufReader};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

pub(super) use self::request::Request;
pub(super) use self::response::{Body, Framing, Pace, Piece, Response};

use self::request::Unreadable;
use self::response::Sent;
use super::event::lock;
use crate::ports::listen_again;

/// How long a connection may say nothing, and take nothing.
const IDLE: Duration = Duration::from_secs(60);
/// Enough for what is called here, and thousands of them fit into memory.
const STACK: usize = 256 << 10;

/// Who answers.
pub(super) trait Site: Send + Sync + 'static {
    /// The answer. `None`: the connection is cut without one.
    fn answer(&self, request: &Request) -> Option<Response>;
}

/// A running server. Dropped, it closes.
pub(super) struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    site: Arc<dyn Site>,
    connections: Mutex<HashMap<u64, Arc<TcpStream>>>,
    /// Requests that are being answered.
    answering: Mutex<usize>,
    answered: Condvar,
    next: AtomicU64,
    is_down: AtomicBool,
}

impl Server {
    /// Listens; port 0 is any free one.
    pub(super) fn start(listen: SocketAddr, site: Arc<dyn Site>) -> io::Result<Self> {
        let listener = TcpListener::bind(listen)?;
        let shared = Arc::new(Shared {
            site,
            connections: Mutex::default(),
            answering: Mutex::default(),
            answered: Condvar::new(),
            next: AtomicU64::new(0),
            is_down: AtomicBool::new(true),
        });
        let server = Self { address: listener.local_addr()?, shared, accepting: Mutex::default() };
        server.accept(listener)?;
        Ok(server)
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts all connections.
    pub(super) fn drop_connections(&self) {
        for (_, stream) in lock(&self.shared.connections).drain() {
            // It may be cut already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Refuses and cuts all connections until [`Self::come_back`].
    pub(super) fn go_down(&self) {
        let accepting = lock(&self.accepting).take();
        if let Some(accepting) = accepting {
            self.shared.is_down.store(true, Ordering::SeqCst);
            // Wakes it.
            let _ = TcpStream::connect(self.address);
            let _ = accepting.join();
        }
        self.drop_connections();
    }

    /// Listens again, at the same port.
    pub(super) fn come_back(&self) -> io::Result<()> {
        if lock(&self.accepting).is_some() {
            return Ok(());
        }
        self.accept(listen_again(self.address)?)
    }

    /// Waits until nobody is being answered, but no longer than this.
    pub(super) fn settle(&self, within: Duration) {
        let answering = lock(&self.shared.answering);
        let settled =
            self.shared.answered.wait_timeout_while(answering, within, |count| *count > 0);
        drop(settled.unwrap_or_else(PoisonError::into_inner));
    }

    fn accept(&self, listener: TcpListener) -> io::Result<()> {
        self.shared.is_down.store(false, Ordering::SeqCst);
        let shared = Arc::clone(&self.shared);
        let accepting = thread::Builder::new()
            .name("platform".to_owned())
            .spawn(move || shared.run(&listener))?;
        *lock(&self.accepting) = Some(accepting);
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.go_down();
    }
}

impl Shared {
    fn run(self: &Arc<Self>, listener: &TcpListener) {
        loop {
            let accepted = listener.accept();
            if self.is_down.load(Ordering::SeqCst) {
                return;
            }
            let started = accepted.and_then(|(stream, _)| self.start(stream));
            if started.is_err() {
                // Out of descriptors or threads: some will end.
                thread::sleep(Duration::from_millis(10));
            }
        }
    }

    fn start(self: &Arc<Self>, stream: TcpStream) -> io::Result<()> {
        stream.set_read_timeout(Some(IDLE))?;
        stream.set_write_timeout(Some(IDLE))?;
        stream.set_nodelay(true)?;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        // One descriptor each: a fleet has thousands.
        let stream = Arc::new(stream);
        lock(&self.connections).insert(number, Arc::clone(&stream));
        let shared = Arc::clone(self);
        let serving = thread::Builder::new().name("connection".to_owned()).stack_size(STACK);
        let started = serving.spawn(move || {
            // Whoever asked has gone.
            let _ = shared.serve(&stream);
            let _ = stream.shutdown(Shutdown::Both);
            lock(&shared.connections).remove(&number);
        });
        started.map(drop).inspect_err(|_| drop(lock(&self.connections).remove(&number)))
    }

    fn serve(&self, stream: &TcpStream) -> io::Result<()> {
        let mut reader = BufReader::new(stream);
        loop {
            let request = match Request::read(&mut reader, &mut &*stream) {
                Ok(Some(request)) => request,
                Ok(None) => return Ok(()),
                Err(Unreadable::Lost(error)) => return Err(error),
                Err(Unreadable::Answered(status)) => {
                    return Response::new(status).send(&mut &*stream, false).map(drop);
                }
            };
            *lock(&self.answering) += 1;
            let sent = match self.site.answer(&request) {
                Some(response) => response.send(&mut &*stream, request.method == "HEAD"),
                None => Ok(Sent::Close),
            };
            *lock(&self.answering) -= 1;
            self.answered.notify_all();
            if sent? == Sent::Close || !request.keeps_open {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests;
