//! The other end of the line: a pseudo-terminal, and a scripted aircraft with a host behind it.

use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::openpty;
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::{read, ttyname, write};
use tokio_util::codec::{Decoder as _, Encoder as _};
use uplift::channel::psdk::frame::{Address, CommandId, Frame, FrameCodec, Kind};
use uplift::channel::psdk::message::id;

pub(crate) const PAYLOAD: Address = Address(0x13);
pub(crate) const PC: Address = Address(0x2A);
pub(crate) const HOST: Address = Address(0xED);

/// No answer within this time is a failure of the test.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// When the aircraft answers a probe.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Probes {
    Always,
    Never,
    AtRate(u32),
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
    /// Pushes as they came.
    pub(crate) pushes: Vec<(Instant, Frame)>,
}

impl Aircraft {
    /// Plugs in a line whose payload side is at `device`.
    pub(crate) fn plug(device: &Path) -> Self {
        let pty = openpty(None, None).expect("a pseudo-terminal");
        let mut settings = tcgetattr(&pty.slave).expect("settings");
        cfmakeraw(&mut settings);
        tcsetattr(&pty.slave, SetArg::TCSANOW, &settings).expect("raw mode");
        symlink(ttyname(&pty.slave).expect("a name"), device).expect("a link to the line");
        Self {
            master: pty.master,
            _slave: pty.slave,
            codec: FrameCodec::new(),
            incoming: BytesMut::new(),
            sequence: 0,
            probes: Probes::Always,
            aircraft_type: 60,
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

    /// The next frame that is no probe; probes are answered and pushes remembered on the way. `None` when time is up.
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
        let answers = match self.probes {
            Probes::Always => true,
            Probes::Never => false,
            Probes::AtRate(rate) => self.rate() == rate,
        };
        if answers {
            let answer = probe.response(vec![self.aircraft_type]);
            self.send(&answer);
        }
    }

    /// Keeps the aircraft answering until `until`.
    pub(crate) fn listen(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while self.next(until).is_some() {}
    }

    /// Asks, and waits for the answer's payload.
    pub(crate) fn ask_as(&mut self, asker: Address, command: CommandId, payload: impl Into<Bytes>) -> Bytes {
        self.sequence += 1;
        let question = Frame::request(asker, PAYLOAD, self.sequence, command, payload);
        self.send(&question);
        let until = Instant::now() + PATIENCE;
        loop {
            let frame = self.next(until).unwrap_or_else(|| panic!("no answer to {command}"));
            if frame.kind == Kind::Response && frame.command == command && frame.sequence == self.sequence {
                assert_eq!((frame.sender, frame.receiver), (PAYLOAD, asker));
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
            if let Some(push) =
                self.pushes.iter().map(|(_, push)| push).find(|push| push.command == command && push.payload.starts_with(start))
            {
                return push.clone();
            }
            assert!(self.next(until).is_some(), "no push {command} {start:02x?}; there were {:?}", self.pushes);
        }
    }

    pub(crate) fn start_dcftp(&mut self, size: u32, name: &str) -> Bytes {
        let length = u8::try_from(name.len()).expect("a short name");
        self.ask(id::DCFTP, [&[1][..], &size.to_le_bytes(), &[length], name.as_bytes()].concat())
    }

    /// Sends a chunk; returns result code, last good and next expected sequence number.
    pub(crate) fn chunk(&mut self, sequence: u32, data: &[u8]) -> (u8, u32, u32) {
        let answer = self.ask(id::DCFTP, [&[2][..], &sequence.to_le_bytes(), data].concat());
        let number = |at: usize| u32::from_le_bytes(answer[at..at + 4].try_into().expect("nine bytes"));
        assert_eq!(answer.len(), 9);
        (answer[0], number(1), number(5))
    }

    pub(crate) fn finish_dcftp(&mut self, md5: &[u8; 16]) -> Bytes {
        self.ask(id::DCFTP, [&[3][..], md5].concat())
    }
}
