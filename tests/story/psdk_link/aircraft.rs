//! The other end of the line: a pseudo-terminal, and a scripted aircraft with a host behind it.

use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::{read, ttyname, write};
use tokio_util::codec::{Decoder as _, Encoder as _};
use uplift::channel::psdk::serial::frame::{Address, CommandId, Frame, FrameCodec, Kind};
use uplift::channel::psdk::serial::wire::id;

use crate::world::terminal;

pub(crate) const PAYLOAD: Address = Address(0x13);
pub(crate) const PC: Address = Address(0x2A);
pub(crate) const HOST: Address = Address(0xED);

/// No answer within this time is a failure of the test.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// When the aircraft answers a probe.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Probes {
    Always,
    Never,
    AtRate(u32),
}

/// The CRC-16 of docs/wire/payload-link.md section 1, bit by bit.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0x3692, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte), |crc, _| {
            (crc >> 1) ^ if crc & 1 == 1 { 0x8408 } else { 0 }
        })
    })
}

/// An aircraft at the master side of a pseudo-terminal.
pub(crate) struct Aircraft {
    master: OwnedFd,
    /// Kept open, so that the line does not hang up while the payload has not opened it.
    _slave: OwnedFd,
    codec: FrameCodec,
    incoming: BytesMut,
    sequence: u16,
    pub(crate) probes: Probes,
    pub(crate) aircraft_type: u8,
    /// The routes whose probes are answered: from whom, to whom.
    pub(crate) routes: Vec<(u8, u8)>,
    /// The flag byte of an answer to a probe.
    pub(crate) answer_flags: u8,
    /// The payload's address on this port.
    pub(crate) payload: Address,
    /// Pushes as they came.
    pub(crate) pushes: Vec<(Instant, Frame)>,
}

impl Aircraft {
    /// Plugs in a line whose payload side is at `device`.
    pub(crate) fn plug(device: &Path) -> Self {
        let (master, slave) = terminal::pair();
        let mut settings = tcgetattr(&slave).expect("settings");
        cfmakeraw(&mut settings);
        tcsetattr(&slave, SetArg::TCSANOW, &settings).expect("raw mode");
        symlink(ttyname(&slave).expect("a name"), device).expect("a link to the line");
        Self {
            master,
            _slave: slave,
            codec: FrameCodec::new(),
            incoming: BytesMut::new(),
            sequence: 0,
            probes: Probes::Always,
            aircraft_type: 60,
            routes: vec![(0xE5, 0x65)],
            answer_flags: 0x80,
            payload: PAYLOAD,
            pushes: Vec::new(),
        }
    }

    /// Pulls the plug: the line hangs up and its device is gone.
    pub(crate) fn unplug(self, device: &Path) {
        std::fs::remove_file(device).expect("the link to the line");
    }

    /// The rate to which the payload has set its side.
    fn rate(&self) -> u32 {
        rustix::termios::tcgetattr(&self.master).expect("settings").output_speed()
    }

    pub(crate) fn send_bytes(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let written = write(&self.master, bytes).expect("the line takes bytes");
            bytes = &bytes[written..];
        }
    }

    pub(crate) fn send(&mut self, frame: &Frame) {
        let mut bytes = BytesMut::new();
        self.codec.encode(frame, &mut bytes).expect("it fits");
        self.send_bytes(&bytes);
    }

    /// The next frame that is no probe; probes are answered and pushes remembered on the way.
    /// `None` when time is up.
    pub(crate) fn next(&mut self, until: Instant) -> Option<Frame> {
        loop {
            while let Some(frame) = self.codec.decode(&mut self.incoming).expect("never fails") {
                if frame.command == id::PROBE {
                    self.answer_probe(&frame);
                    continue;
                }
                if frame.kind == Kind::Push {
                    self.pushes.push((Instant::now(), frame.clone()));
                }
                return Some(frame);
            }
            let left = until.checked_duration_since(Instant::now())?;
            let mut line = [PollFd::new(self.master.as_fd(), PollFlags::POLLIN)];
            let timeout = PollTimeout::try_from(left.as_millis() + 1).expect("it fits");
            if poll(&mut line, timeout).expect("poll") > 0 {
                let mut bytes = [0; 4096];
                let length = read(&self.master, &mut bytes).expect("the line is there");
                self.incoming.extend_from_slice(&bytes[..length]);
            }
        }
    }

    fn answer_probe(&mut self, probe: &Frame) {
        assert_eq!(probe.payload, Bytes::new());
        let answers = self.routes.contains(&(probe.sender.0, probe.receiver.0))
            && match self.probes {
                Probes::Always => true,
                Probes::Never => false,
                Probes::AtRate(rate) => self.rate() == rate,
            };
        if answers {
            let mut bytes = BytesMut::new();
            self.codec
                .encode(&probe.response(vec![self.aircraft_type]), &mut bytes)
                .expect("it fits");
            bytes[8] = self.answer_flags;
            let content = bytes.len() - 2;
            let crc = crc16(&bytes[..content]);
            bytes[content..].copy_from_slice(&crc.to_le_bytes());
            self.send_bytes(&bytes);
        }
    }

    /// Keeps the aircraft answering until `until`.
    pub(crate) fn listen(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while self.next(until).is_some() {}
    }

    /// Sends all these bytes in one write, and waits for so many answers: to whom, with which
    /// number, what.
    pub(crate) fn answers_to(
        &mut self,
        bytes: &[u8],
        count: usize,
    ) -> Vec<(Address, u16, Vec<u8>)> {
        self.send_bytes(bytes);
        let until = Instant::now() + PATIENCE;
        let mut answers = Vec::new();
        while answers.len() < count {
            let frame =
                self.next(until).unwrap_or_else(|| panic!("there were only {answers:02x?}"));
            if frame.kind == Kind::Response {
                answers.push((frame.receiver, frame.sequence, frame.payload.to_vec()));
            }
        }
        answers
    }

    /// Asks, and waits for the answer's payload.
    pub(crate) fn ask_as(
        &mut self,
        asker: Address,
        command: CommandId,
        payload: impl Into<Bytes>,
    ) -> Bytes {
        self.sequence = self.sequence.wrapping_add(1);
        let question = Frame::request(asker, self.payload, self.sequence, command, payload);
        self.send(&question);
        let until = Instant::now() + PATIENCE;
        loop {
            let frame = self.next(until).unwrap_or_else(|| panic!("no answer to {command}"));
            if frame.kind == Kind::Response
                && frame.command == command
                && frame.sequence == self.sequence
            {
                assert_eq!((frame.sender, frame.receiver), (self.payload, asker));
                return frame.payload;
            }
        }
    }

    pub(crate) fn ask(&mut self, command: CommandId, payload: impl Into<Bytes>) -> Bytes {
        self.ask_as(PC, command, payload)
    }

    /// Waits for a push whose payload begins with these bytes, unless it has come already.
    pub(crate) fn await_push(&mut self, command: CommandId, start: &[u8]) -> Frame {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(push) = self
                .pushes
                .iter()
                .map(|(_, push)| push)
                .find(|push| push.command == command && push.payload.starts_with(start))
            {
                return push.clone();
            }
            assert!(
                self.next(until).is_some(),
                "no push {command} {start:02x?}; there were {:?}",
                self.pushes
            );
        }
    }

    pub(crate) fn start_dcftp(&mut self, size: u32, name: &str) -> Bytes {
        let length = u8::try_from(name.len()).expect("a short name");
        self.ask(id::DCFTP, [&[1][..], &size.to_le_bytes(), &[length], name.as_bytes()].concat())
    }

    /// Sends a chunk; returns result code, last good and next expected sequence number.
    pub(crate) fn chunk(&mut self, sequence: u32, data: &[u8]) -> (u8, u32, u32) {
        let answer = self.ask(id::DCFTP, [&[2][..], &sequence.to_le_bytes(), data].concat());
        let number =
            |at: usize| u32::from_le_bytes(answer[at..at + 4].try_into().expect("nine bytes"));
        assert_eq!(answer.len(), 9);
        (answer[0], number(1), number(5))
    }

    /// Sends a chunk; whether it is answered within `time`.
    pub(crate) fn try_chunk(&mut self, sequence: u32, data: &[u8], time: Duration) -> bool {
        self.sequence = self.sequence.wrapping_add(1);
        let payload = [&[2][..], &sequence.to_le_bytes(), data].concat();
        self.send(&Frame::request(PC, self.payload, self.sequence, id::DCFTP, payload));
        let until = Instant::now() + time;
        while let Some(frame) = self.next(until) {
            if frame.kind == Kind::Response && frame.sequence == self.sequence {
                return true;
            }
        }
        false
    }

    pub(crate) fn finish_dcftp(&mut self, md5: &[u8; 16]) -> Bytes {
        self.ask(id::DCFTP, [&[3][..], md5].concat())
    }
}
