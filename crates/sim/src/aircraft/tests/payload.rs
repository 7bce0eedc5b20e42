//! A payload by script, for tests of the aircraft alone: it does what it is told, and remembers
//! what it was given.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::frame::{Command, Device, Frame, Inbox, Kind};

/// Time between pushes; the real one is a second.
const PUSH: Duration = Duration::from_millis(40);
/// Bits a second; a socket has none, and nothing here is overdue.
const RATE: u32 = 115_200;
/// Ends every script; no test needs so long.
const DEADLINE: Duration = Duration::from_secs(30);

/// What the payload does.
pub(super) struct Script {
    /// Its address.
    pub(super) address: u8,
    /// The routes on which it looks for the aircraft, in order. It is there only once it was
    /// answered.
    pub(super) routes: Vec<(u8, u8)>,
    /// It looks for the aircraft, and never says that it is there.
    pub(super) silent: bool,
    /// Seconds that it asks for before the file.
    pub(super) wait: u16,
    /// What it pushes while it works, and before it restarts.
    pub(super) statuses: [Vec<u8>; 2],
    /// FTP port to announce; DCFTP without.
    pub(super) ftp_port: Option<u16>,
    /// How many answers to a command are lost although it was carried out.
    pub(super) lost_answers: HashMap<u8, u32>,
    /// How many times a transfer is refused because the store is not ready.
    pub(super) not_ready: u32,
    /// Answer to "check and start".
    pub(super) start: u8,
    /// Answer when that comes again.
    pub(super) start_again: u8,
    /// The end that is reported.
    pub(super) end: Vec<u8>,
    /// Versions before and after, as on the wire.
    pub(super) versions: [[u8; 4]; 2],
    /// Answer to "enter".
    pub(super) enter: u8,
    /// Whether the restart is announced and takes a while.
    pub(super) restart: Duration,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            address: 0x13,
            routes: vec![(0xE5, 0x65)],
            silent: false,
            wait: 0,
            statuses: [
                vec![3, 50, 0, 0, 0, 0, 0, 0, 0, 0, 0],
                vec![6, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            ],
            ftp_port: None,
            lost_answers: HashMap::new(),
            not_ready: 0,
            start: 0x06,
            start_again: 0x06,
            end: vec![4, 1, 0],
            versions: [[0, 0, 0, 1], [0, 0, 0, 2]],
            enter: 0xC7,
            restart: Duration::from_millis(100),
        }
    }
}

/// What the payload was given.
#[derive(Debug, Default)]
pub(super) struct Given {
    pub(super) name: String,
    pub(super) size: u32,
    pub(super) data: Vec<u8>,
    pub(super) md5: Vec<u8>,
    pub(super) acknowledged: u32,
    /// How often each command came.
    pub(super) commands: HashMap<u8, u32>,
    /// The route that was answered, and the aircraft's type.
    pub(super) answered: Option<((u8, u8), u8)>,
    /// From "enter" to the first word of the file.
    pub(super) waited: Option<Duration>,
}

/// A payload at work on its port.
pub(super) struct Payload<P> {
    port: P,
    script: Script,
    given: Given,
    next: u32,
    /// Since the word to start, counted in pushes: on a busy machine each of them is made all the
    /// same.
    began: Option<Duration>,
    pushed: Instant,
    entered: Option<Instant>,
    probes: usize,
}

impl<P: Read + Write + AsFd> Payload<P> {
    /// A payload on a port that does not block.
    pub(super) fn new(port: P, script: Script) -> Self {
        Self {
            port,
            script,
            given: Given::default(),
            next: 0,
            began: None,
            pushed: Instant::now(),
            entered: None,
            probes: 0,
        }
    }

    /// The payload after its restart: it has a report to make.
    pub(super) fn reports_at_once(&mut self) {
        self.began = Some(DEADLINE);
    }

    /// Plays until the aircraft hangs up.
    pub(super) fn play(mut self) -> Given {
        let (mut inbox, mut bytes, begun) = (Inbox::new(RATE), [0; 4096], Instant::now());
        while begun.elapsed() < DEADLINE {
            let left = Timespec::try_from(PUSH.saturating_sub(self.pushed.elapsed())).unwrap();
            poll(&mut [PollFd::new(&self.port, PollFlags::IN)], Some(&left)).unwrap();
            match self.port.read(&mut bytes) {
                Ok(0) => break,
                Ok(count) => inbox.put(&bytes[..count], Instant::now()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => break,
            }
            while let Some(frame) = inbox.next() {
                self.hear(&frame);
            }
            if self.pushed.elapsed() >= PUSH {
                self.pushed = Instant::now();
                self.push();
            }
        }
        self.given
    }

    fn hear(&mut self, frame: &Frame) {
        let id = frame.command.1;
        if (frame.kind, frame.command) == (Kind::Response, Command(3, 0xFD)) {
            self.given.answered = self
                .given
                .answered
                .or(Some(((frame.receiver.0, frame.sender.0), frame.payload[0])));
            return;
        }
        if frame.receiver.0 != self.script.address {
            return;
        }
        if let (0x2A | 0x84, Some(entered), None) = (id, self.entered, self.given.waited) {
            self.given.waited = Some(entered.elapsed());
        }
        *self.given.commands.entry(id).or_default() += 1;
        let answer = match (frame.kind, id) {
            (Kind::Request, 0x4F) => self.version(),
            (Kind::Request, 0x83) => self.enter(),
            (Kind::Request, 0x2A) => self.dcftp(&frame.payload),
            (Kind::Request, 0x84) => self.transferred(),
            (Kind::Request, 0x85) => self.start(),
            (Kind::Request, 0x41) => return self.given.acknowledged += 1,
            _ => return,
        };
        if let Some(left) = self.script.lost_answers.get_mut(&id).filter(|left| **left > 0) {
            *left -= 1;
            return;
        }
        self.send(&frame.answer(answer));
    }

    fn send(&mut self, frame: &Frame) {
        // An aircraft that has hung up is noticed by the next read.
        let _ = self.port.write_all(&frame.to_bytes().unwrap());
    }

    fn push(&mut self) {
        let (pc, aircraft) = (0x2A, 0xED);
        let Some(since) = self.began else {
            if self.given.answered.is_none() || self.script.silent {
                let (from, to) = self.script.routes[self.probes % self.script.routes.len()];
                self.probes += 1;
                return self.send(&frame((from, to), Kind::Request, Command(3, 0xFD), Vec::new()));
            }
            let mut presence = [0; 64];
            presence[..4].copy_from_slice(b"psdk");
            return self.push_to(aircraft, Command(0, 0x82), presence.to_vec());
        };
        self.began = Some(since + PUSH);
        let status = match since {
            _ if self.given.acknowledged > 0 => return,
            _ if self.script.start != 0x06 => self.script.end.clone(),
            _ if since < 3 * PUSH => self.script.statuses[0].clone(),
            _ if since < 5 * PUSH => self.script.statuses[1].clone(),
            _ if since < 5 * PUSH + self.script.restart => return,
            _ => self.script.end.clone(),
        };
        for to in [pc, aircraft] {
            self.push_to(to, Command(0, 0x42), status.clone());
        }
    }

    fn push_to(&mut self, receiver: u8, command: Command, payload: Vec<u8>) {
        self.send(&frame((self.script.address, receiver), Kind::Push, command, payload));
    }

    fn version(&self) -> Vec<u8> {
        let [before, after] = self.script.versions;
        let version = if self.given.acknowledged > 0 { after } else { before };
        [&[0, 4, 0, 0, 0, 0, 0, 0, 0][..], &version].concat()
    }

    fn enter(&mut self) -> Vec<u8> {
        self.entered = Some(Instant::now());
        let [low, high] = self.script.wait.to_le_bytes();
        vec![
            self.script.enter,
            if self.script.ftp_port.is_some() { 1 } else { 2 },
            0,
            low,
            high,
            0,
            0,
            0,
            0,
            0,
            0,
        ]
    }

    fn dcftp(&mut self, payload: &[u8]) -> Vec<u8> {
        match payload {
            [1, ..] if self.refuses() => vec![1],
            [1, a, b, c, d, _, name @ ..] => {
                (self.given.size, self.given.name) = (
                    u32::from_le_bytes([*a, *b, *c, *d]),
                    String::from_utf8(name.to_vec()).unwrap(),
                );
                vec![0, 0, 1, 1, 0, 1, 0]
            }
            [2, a, b, c, d, data @ ..] => {
                if u32::from_le_bytes([*a, *b, *c, *d]) == self.next {
                    self.given.data.extend_from_slice(data);
                    self.next += 1;
                }
                [&[0][..], &self.next.wrapping_sub(1).to_le_bytes(), &self.next.to_le_bytes()]
                    .concat()
            }
            [3, md5 @ ..] => {
                self.given.md5 = md5.to_vec();
                vec![0]
            }
            _ => vec![1],
        }
    }

    fn transferred(&mut self) -> Vec<u8> {
        let Some(port) = self.script.ftp_port else { return vec![0] };
        if self.refuses() {
            return vec![1];
        }
        let mut answer = vec![0; 71];
        answer[5..9].copy_from_slice(&u32::from(port).to_le_bytes());
        answer
    }

    fn refuses(&mut self) -> bool {
        let refuses = self.script.not_ready > 0;
        self.script.not_ready = self.script.not_ready.saturating_sub(1);
        refuses
    }

    fn start(&mut self) -> Vec<u8> {
        if self.began.replace(self.began.unwrap_or_default()).is_some() {
            return vec![self.script.start_again];
        }
        vec![self.script.start]
    }
}

fn frame((sender, receiver): (u8, u8), kind: Kind, command: Command, payload: Vec<u8>) -> Frame {
    Frame {
        sender: Device(sender),
        receiver: Device(receiver),
        sequence: 0,
        kind,
        command,
        payload,
    }
}
