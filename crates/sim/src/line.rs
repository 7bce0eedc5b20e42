//! The serial line between a simulated aircraft and a payload: frames in and out, at a real line's
//! pace and with a real line's faults. It knows frames, bytes and time, and nothing of what the
//! frames mean.

mod damage;
pub(crate) mod pace;
mod port;
mod pty;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

pub use self::damage::Damage;
pub use self::port::{NoAddress, NoPort, Port, PortName};
pub use self::pty::PtyLine;

use self::pace::Pace;
pub(crate) use self::port::Input;
use crate::frame::{Frame, Inbox, TooLong};

/// What a read takes from the port at most.
const READ: usize = 4096;
/// How long a frame may take is reckoned by this rate where none is given: the slowest of the link.
const SLOWEST: u32 = 115_200;

/// What the line brought.
#[derive(Debug)]
pub(crate) enum Received {
    /// A good frame.
    Frame(Frame),
    /// Nothing until the deadline.
    Silence,
    /// The port has gone; the line goes on trying to open it again.
    Lost,
    /// The port is there (again).
    Opened,
}

/// How the line treats what passes over it.
#[derive(Debug, Clone, Default)]
pub struct LineOptions {
    /// Holds the pace of a serial line at so many bits a second, ten bits a byte, each direction
    /// for itself.
    pub baud: Option<u32>,
    /// Hears the payload only while its end of the pseudo-terminal is set to this speed.
    pub answer_baud: Option<u32>,
    /// Faults in both directions.
    pub damage: Damage,
    /// Where the random faults start; the same seed gives the same faults for the same bytes.
    pub seed: u64,
}

/// One end of a serial line. Works on its caller's thread: nothing lies between a byte's arrival
/// and its use.
#[derive(Debug)]
pub struct Line {
    port: Port,
    pace: Option<Pace>,
    answer_baud: Option<u32>,
    damage: Damage,
    random: fastrand::Rng,
    inbox: Inbox,
    ready: VecDeque<Frame>,
}

impl Line {
    /// A line over `port`.
    #[must_use]
    pub fn new(port: Port, options: &LineOptions) -> Self {
        Self {
            port,
            pace: options.baud.map(Pace::new),
            answer_baud: options.answer_baud,
            damage: options.damage,
            random: fastrand::Rng::with_seed(options.seed),
            inbox: Inbox::new(options.baud.unwrap_or(SLOWEST)),
            ready: VecDeque::new(),
        }
    }

    /// Time that `bytes` need on the line.
    pub(crate) fn wire_time(&self, bytes: usize) -> Duration {
        self.pace.as_ref().map_or(Duration::ZERO, |pace| pace.time_of(bytes))
    }

    /// Why the line is dead, if its port could not be opened.
    pub(crate) const fn take_trouble(&mut self) -> Option<NoPort> {
        self.port.take_trouble()
    }

    /// Sends a frame; returns when its last bit would have left. What the port does not take is
    /// lost, as on a line.
    ///
    /// # Errors
    /// A payload that fits into no frame.
    pub(crate) fn send(&mut self, frame: &Frame) -> Result<(), TooLong> {
        let bytes = frame.to_bytes()?;
        for _ in 0..self.damage.copies(&mut self.random) {
            let mut copy = bytes.clone();
            self.damage.flip_bits(&mut copy, &mut self.random);
            if let Some(pace) = &mut self.pace {
                pace::wait_until(pace.send(Instant::now(), copy.len()));
            }
            self.port.write(&copy);
        }
        Ok(())
    }

    /// Waits for the next frame, at most until `deadline`.
    pub(crate) fn receive(&mut self, deadline: Instant) -> Received {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                return Received::Frame(frame);
            }
            let overdue = self.inbox.due();
            let mut bytes = [0; READ];
            match self
                .port
                .read(&mut bytes, overdue.map_or(deadline, |overdue| deadline.min(overdue)))
            {
                Input::Bytes(count) => self.take(&mut bytes[..count]),
                Input::Lost => {
                    self.inbox.clear();
                    return Received::Lost;
                }
                Input::Opened => return Received::Opened,
                Input::Nothing if overdue.is_some_and(|overdue| Instant::now() >= overdue) => {
                    let now = Instant::now();
                    while let Some(frame) = self.inbox.next_by(now) {
                        self.deliver(frame);
                    }
                }
                Input::Nothing if Instant::now() >= deadline => return Received::Silence,
                Input::Nothing => {}
            }
        }
    }

    fn take(&mut self, bytes: &mut [u8]) {
        let now = Instant::now();
        if let Some(pace) = &mut self.pace {
            pace::wait_until(pace.receive(now, bytes.len()));
        }
        if self.answer_baud.is_some_and(|baud| self.port.peer_speed() != Some(baud)) {
            return;
        }
        self.damage.flip_bits(bytes, &mut self.random);
        self.inbox.put(bytes, Instant::now());
        while let Some(frame) = self.inbox.next() {
            self.deliver(frame);
        }
    }

    fn deliver(&mut self, frame: Frame) {
        let copies = self.damage.copies(&mut self.random);
        self.ready.extend(std::iter::repeat_n(frame, copies));
    }
}
