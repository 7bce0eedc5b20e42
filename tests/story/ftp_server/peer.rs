//! A client by hand: says exactly what a test wants, and breaks connections as no stock client
//! would.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::server::{PASSWORD, PATIENCE, USER};

/// A control connection.
pub(crate) struct Peer {
    reader: BufReader<TcpStream>,
    pub(crate) stream: TcpStream,
    connect: Box<dyn Fn(SocketAddr) -> TcpStream + Send>,
}

impl Peer {
    pub(crate) fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let connect = Box::new(|to| TcpStream::connect(to).unwrap());
        Self { reader: BufReader::new(stream.try_clone().unwrap()), stream, connect }
    }

    /// One whose data connections are made by another.
    pub(crate) fn with_data_by(
        self,
        connect: impl Fn(SocketAddr) -> TcpStream + Send + 'static,
    ) -> Self {
        Self { connect: Box::new(connect), ..self }
    }

    /// After its greeting and its login.
    pub(crate) fn logged_in(mut self) -> Self {
        self.expect(220);
        self.ask(&format!("USER {USER}"), 331);
        self.ask(&format!("PASS {PASSWORD}"), 230);
        self
    }

    /// Sends a line.
    pub(crate) fn say(&mut self, line: &str) {
        self.send(format!("{line}\r\n").as_bytes());
    }

    /// Sends bytes as they are.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// The next reply, all its lines.
    pub(crate) fn reply(&mut self) -> String {
        let mut text = String::new();
        loop {
            let start = text.len();
            assert_ne!(
                self.reader.read_line(&mut text).unwrap(),
                0,
                "the server closed the connection after {text:?}"
            );
            let line = &text.as_bytes()[start..];
            if line.len() > 3 && line[..3].iter().all(u8::is_ascii_digit) && line[3] == b' ' {
                return text;
            }
        }
    }

    /// The next reply, which must have this code.
    #[track_caller]
    pub(crate) fn expect(&mut self, code: u16) -> String {
        let reply = self.reply();
        assert!(reply.starts_with(&code.to_string()), "{reply:?} instead of {code}");
        reply
    }

    /// Sends a line; its reply must have this code.
    #[track_caller]
    pub(crate) fn ask(&mut self, line: &str, code: u16) -> String {
        self.say(line);
        let reply = self.reply();
        assert!(
            reply.starts_with(&code.to_string()),
            "{line:?} was answered by {reply:?} instead of {code}"
        );
        reply
    }

    /// The server says nothing more and closes.
    #[track_caller]
    pub(crate) fn expect_end(&mut self) {
        let mut line = String::new();
        assert_eq!(self.reader.read_line(&mut line).unwrap_or(0), 0, "{line:?} instead of the end");
    }

    /// Breaks the connection by a reset.
    pub(crate) fn reset(self) {
        drop(self.reader);
        reset(self.stream);
    }

    /// Where the server waits for the data connection.
    #[track_caller]
    pub(crate) fn data_port(&mut self) -> SocketAddr {
        let reply = self.ask("EPSV", 229);
        let port = reply.split('|').nth(3).unwrap().parse().unwrap();
        SocketAddr::new(self.stream.peer_addr().unwrap().ip(), port)
    }

    /// A data connection for the next transfer.
    #[track_caller]
    pub(crate) fn data(&mut self) -> TcpStream {
        let port = self.data_port();
        let stream = (self.connect)(port);
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Begins an upload; the server waits for its bytes.
    #[track_caller]
    pub(crate) fn begin_upload(&mut self, name: &str) -> TcpStream {
        let data = self.data();
        self.ask(&format!("STOR {name}"), 150);
        data
    }

    /// Uploads a file.
    #[track_caller]
    pub(crate) fn upload(&mut self, name: &str, content: &[u8]) {
        let mut data = self.begin_upload(name);
        data.write_all(content).unwrap();
        drop(data);
        self.expect(226);
    }

    /// Downloads what a command sends.
    #[track_caller]
    pub(crate) fn download(&mut self, command: &str) -> Vec<u8> {
        let data = self.data();
        self.ask(command, 150);
        let bytes = super::server::drain(data);
        self.expect(226);
        bytes
    }
}

/// Closes a connection by a reset instead of in order.
pub(crate) fn reset(stream: TcpStream) {
    let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
    nix::sys::socket::setsockopt(&stream, nix::sys::socket::sockopt::Linger, &linger).unwrap();
    drop(stream);
}

/// Writes until the server has had enough, or `limit` bytes went out.
pub(crate) fn pour(stream: &mut TcpStream, limit: usize) {
    let chunk = vec![7; 64 << 10];
    stream.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut sent = 0;
    while sent < limit && stream.write_all(&chunk).is_ok() {
        sent += chunk.len();
    }
}
