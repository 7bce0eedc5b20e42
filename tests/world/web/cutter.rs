//! A way to a server on which connections break.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use nix::sys::socket::{setsockopt, sockopt};

/// Passes on what goes to and fro; of the first connections only so many bytes of the answer.
pub(crate) struct Cutter {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl Cutter {
    /// The first connection is reset after `cuts[0]` bytes of the answer, and so on.
    pub(crate) fn before(server: SocketAddr, cuts: &[usize]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let mut cuts: VecDeque<usize> = cuts.iter().copied().collect();
        let acceptor = thread::spawn(move || {
            for client in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let (client, cut) = (client.unwrap(), cuts.pop_front().unwrap_or(usize::MAX));
                let server = TcpStream::connect(server).unwrap();
                let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Write);
                });
                thread::spawn(move || pass(server, client, cut));
            }
        });
        Self { address, stop, acceptor: Some(acceptor) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Cutter {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

fn pass(mut server: TcpStream, mut client: TcpStream, mut left: usize) {
    let mut buffer = vec![0; 16 << 10];
    while left > 0 {
        let most = buffer.len().min(left);
        match server.read(&mut buffer[..most]) {
            Ok(count @ 1..) if client.write_all(&buffer[..count]).is_ok() => left -= count,
            _ => {
                let _ = client.shutdown(Shutdown::Both);
                return;
            }
        }
    }
    reset(&client);
}

/// Breaks a connection as a lost link does: what was not read yet is lost, too. Both copies of it
/// must be closed for that; the other one is when the client has noticed.
pub(super) fn reset(client: &TcpStream) {
    let at_once = nix::libc::linger { l_onoff: 1, l_linger: 0 };
    let _ = setsockopt(client, sockopt::Linger, &at_once);
    let _ = client.shutdown(Shutdown::Both);
}
