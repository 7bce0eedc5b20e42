//! An application at the bridge that says what it likes, written from docs/wire/bridge.md.

use std::collections::HashMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::world::local_socket;

pub(super) const WELCOME: u8 = 0x81;
pub(super) const GONE: u8 = 0x83;
pub(super) const ENTERED: u8 = 0x90;
const STARTED: u8 = 0x91;
pub(super) const WRITTEN: u8 = 0x92;
pub(super) const FAILED: u8 = 0x93;
const FINISHED: u8 = 0x94;
const CHECKED: u8 = 0x95;
const PUSH: u8 = 0xA0;
pub(super) const REPORT: u8 = 0xA2;

/// An application.
pub(super) struct Client {
    stream: UnixStream,
    number: u8,
    welcome: Vec<u8>,
    /// All messages of a kind so far.
    heard: HashMap<u8, Vec<Vec<u8>>>,
}

impl Client {
    /// One that has said HELLO, and that its library is up.
    pub(super) fn connect(socket: &Path) -> Self {
        let mut client = Self::without_hello(socket);
        client.hello([1, 1], "an application");
        client.welcome = client.expect(WELCOME).1;
        client.say(0x02, &[1]);
        client
    }

    pub(super) fn without_hello(socket: &Path) -> Self {
        let stream = local_socket::connect(socket);
        Self { stream, number: 0, welcome: Vec::new(), heard: HashMap::new() }
    }

    pub(super) fn hello(&mut self, [lowest, highest]: [u16; 2], name: &str) {
        let length = u8::try_from(name.len()).unwrap();
        let body = [
            &b"UPBR"[..],
            &lowest.to_le_bytes(),
            &highest.to_le_bytes(),
            &[length],
            name.as_bytes(),
        ];
        self.say(0x01, &body.concat());
    }

    pub(super) fn welcome(&self) -> &[u8] {
        &self.welcome
    }

    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    pub(super) fn say(&mut self, kind: u8, body: &[u8]) {
        let message = self.message(kind, body);
        self.send(&message);
    }

    /// False where that would have to wait, or nobody is there.
    pub(super) fn try_say(&mut self, kind: u8, body: &[u8]) -> bool {
        let message = self.message(kind, body);
        self.stream.set_nonblocking(true).unwrap();
        let said = self.stream.write_all(&message).is_ok();
        self.stream.set_nonblocking(false).unwrap();
        said
    }

    fn message(&mut self, kind: u8, body: &[u8]) -> Vec<u8> {
        self.number = self.number % 255 + 1;
        let length = u16::try_from(body.len()).unwrap().to_le_bytes();
        [&[kind, self.number, length[0], length[1]], body].concat()
    }

    /// The next message: kind, number, body. Nothing, where the daemon has closed.
    fn hear(&mut self) -> Option<(u8, u8, Vec<u8>)> {
        let mut head = [0; 4];
        match self.stream.read_exact(&mut head) {
            Ok(()) => {}
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset
                ) =>
            {
                return None;
            }
            Err(error) => panic!("{error}"),
        }
        let mut body = vec![0; usize::from(u16::from_le_bytes([head[2], head[3]]))];
        self.stream.read_exact(&mut body).unwrap();
        self.heard.entry(head[0]).or_default().push(body.clone());
        Some((head[0], head[1], body))
    }

    /// The next message of this kind: its number and body.
    #[track_caller]
    pub(super) fn expect(&mut self, wanted: u8) -> (u8, Vec<u8>) {
        loop {
            let heard = self.hear().unwrap_or_else(|| panic!("closed before {wanted:02X} came"));
            if heard.0 == wanted {
                return (heard.1, heard.2);
            }
        }
    }

    /// The answer of this kind to what was just asked.
    #[track_caller]
    fn ask(&mut self, kind: u8, body: &[u8], answer: u8) -> Vec<u8> {
        self.say(kind, body);
        loop {
            let (number, body) = self.expect(answer);
            if number == self.number {
                return body;
            }
        }
    }

    #[track_caller]
    pub(super) fn enter(&mut self) {
        assert_eq!(self.ask(0x10, &[2], ENTERED), [0, 0, 0]);
    }

    /// From where the file is expected, where it is.
    #[track_caller]
    pub(super) fn start(&mut self, name: &str, size: u32, from: u32) -> Option<u32> {
        let answer = self.ask(0x11, &start_of(name, size, from), STARTED);
        (answer[0] == 0).then(|| number(&answer[1..]))
    }

    pub(super) fn data(&mut self, offset: u32, data: &[u8]) {
        self.say(0x12, &[&offset.to_le_bytes(), data].concat());
    }

    #[track_caller]
    pub(super) fn finish(&mut self, content: &[u8]) -> bool {
        let md5 = md5(content);
        self.ask(0x13, &md5, FINISHED) == [0]
    }

    /// A whole file and what follows it, without waiting for any answer.
    pub(super) fn say_all_of(&mut self, name: &str, content: &[u8]) {
        self.say(0x11, &start_of(name, u32::try_from(content.len()).unwrap(), 0));
        for (at, chunk) in content.chunks(4096).enumerate() {
            self.data(u32::try_from(at * 4096).unwrap(), chunk);
        }
        self.say(0x13, &md5(content));
        self.say(0x14, &[]);
    }

    #[track_caller]
    pub(super) fn check(&mut self) -> u8 {
        self.ask(0x14, &[], CHECKED)[0]
    }

    /// The check refuses the file: at once or, where it takes longer than an application waits, by the
    /// end alone.
    #[track_caller]
    pub(super) fn is_refused(&mut self) {
        let answer = self.check();
        assert!(answer <= 1, "{answer}");
        assert_eq!(self.wait_for_push(4), 2);
    }

    pub(super) fn end(&mut self) {
        self.say(0x15, &[]);
    }

    /// How far the file is written, once it is as far as this.
    #[track_caller]
    pub(super) fn wait_for_written(&mut self, least: u32) -> u32 {
        loop {
            let written = number(&self.expect(WRITTEN).1);
            if written >= least {
                return written;
            }
        }
    }

    /// The value of the next push of this stage.
    #[track_caller]
    pub(super) fn wait_for_push(&mut self, stage: u8) -> u8 {
        loop {
            let (_, push) = self.expect(PUSH);
            if push[0] == stage {
                return push[1];
            }
        }
    }

    /// The last message of this kind, waited for.
    #[track_caller]
    pub(super) fn wait_for(&mut self, kind: u8) -> Vec<u8> {
        match self.last_body(kind) {
            Some(body) => body,
            None => self.expect(kind).1,
        }
    }

    pub(super) fn last_body(&self, kind: u8) -> Option<Vec<u8>> {
        self.heard.get(&kind)?.last().cloned()
    }

    /// The number in the last message of this kind.
    pub(super) fn last(&self, kind: u8) -> Option<u32> {
        self.last_body(kind).map(|body| number(&body))
    }

    /// Waits until the daemon closes.
    pub(super) fn is_closed(&mut self) -> bool {
        while self.hear().is_some() {}
        true
    }
}

fn start_of(name: &str, size: u32, from: u32) -> Vec<u8> {
    let length = u16::try_from(name.len()).unwrap();
    [&size.to_le_bytes()[..], &from.to_le_bytes(), &length.to_le_bytes(), name.as_bytes()].concat()
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(bytes[..4].try_into().unwrap())
}

fn md5(content: &[u8]) -> [u8; 16] {
    use md5::{Digest as _, Md5};
    Md5::digest(content).into()
}
