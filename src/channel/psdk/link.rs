//! The link: finds the aircraft on the serial port and carries frames (docs/payload-link.md sections 1 and 2).
//!
//! Waits for a device that is not there, probes through the rates, says "psdk" once a second, and notices when the
//! device or the aircraft goes away. It knows the probe and the presence, no other message, and never who upgrades what.

mod port;
mod probe;
mod waiting;

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::BytesMut;
use tokio::time::{Instant, sleep_until};
use tokio_util::codec::{Decoder as _, Encoder as _};

pub(crate) use self::port::held_back;
use self::port::{Port, request_low_latency};
use self::probe::{Probe, Rates};
use self::waiting::Waiting;
use super::frame::{Frame, FrameCodec, IDLE_LIMIT, Kind};
use super::guess;
use super::message::{HOST, PAYLOAD, PRESENCE, aircraft_type, id};
use crate::alarm::Alarm;
use crate::config;
use crate::log::message as message_id;
use crate::model::{LinkState, LinkStatus};

/// The presence is pushed so often.
const PRESENCE_INTERVAL: Duration = Duration::from_secs(1);
/// Room for what one read brings; grows only when a frame does not fit behind what is there.
const READ_SIZE: usize = 4096;

/// The payload link's serial port, open or not.
#[derive(Debug)]
pub struct Link {
    device: PathBuf,
    rates: Rates,
    state: State,
    alarm: Alarm,
    codec: FrameCodec,
    incoming: BytesMut,
    /// No byte came for [`IDLE_LIMIT`]: what is in `incoming` is searched to its end.
    line_is_idle: bool,
    /// The status changed with the frame that was brought last.
    status_changed: bool,
    sequence: u16,
    in_use: bool,
    /// How long a device that is lost is left alone; grows while devices come and go without an aircraft behind them.
    pause: Duration,
}

#[derive(Debug)]
enum State {
    /// There is no device that can be opened.
    Waiting(Waiting),
    Open(Open),
}

#[derive(Debug)]
struct Open {
    port: Port,
    /// What keeps the adapter from being fast.
    notice: Option<String>,
    /// When the last byte came.
    last_byte: Instant,
    aircraft: Aircraft,
}

#[derive(Debug)]
enum Aircraft {
    /// Looked for.
    Sought(Probe),
    /// Found at the rate in use.
    Found {
        kind: Option<u8>,
        /// When it was heard last.
        heard: Instant,
        presence_at: Instant,
    },
}

/// What the silence of a linked aircraft means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Silence {
    Usual,
    /// It is probed at the rate that worked.
    Suspicious,
    /// It is looked for again, at all rates.
    Lost,
}

impl Silence {
    /// While an upgrade goes on, the rate is kept: a host may be silent for as long as an upload takes.
    fn of(time: Duration, in_use: bool) -> Self {
        if time < guess::PROBE_AGAIN_AFTER {
            Self::Usual
        } else if time < guess::LINK_LOST_AFTER || in_use {
            Self::Suspicious
        } else {
            Self::Lost
        }
    }
}

/// What [`Link::next`] brings.
#[derive(Debug)]
pub enum News {
    /// A frame for this payload that wants something.
    Frame(Frame),
    /// [`Link::status`] changed.
    Status,
}

/// What became of a frame that the link looked at.
enum Meaning {
    /// The aircraft's answer to the probe.
    Aircraft(u8),
    /// For the session.
    Command,
    Nothing,
}

impl Link {
    /// A link that has not tried to open its device yet.
    pub fn new(config: &config::Link) -> Self {
        Self {
            device: config.device.clone(),
            rates: Rates::new(config.baud),
            state: State::Waiting(Waiting::first(&config.device)),
            alarm: Alarm::default(),
            codec: FrameCodec::new(),
            incoming: BytesMut::with_capacity(READ_SIZE),
            line_is_idle: false,
            status_changed: false,
            sequence: 0,
            in_use: false,
            pause: waiting::FIRST_PAUSE,
        }
    }

    /// Tells the link whether something is going on: then the rate that works is kept, however silent the aircraft is.
    pub fn set_in_use(&mut self, in_use: bool) {
        self.in_use = in_use;
    }

    /// What the link does, for the status.
    pub fn status(&self) -> LinkStatus {
        let device = self.device.display().to_string();
        match &self.state {
            State::Waiting(waiting) => {
                let notice = Some(waiting.reason().to_owned());
                LinkStatus { device, state: LinkState::Waiting, baud: None, aircraft_type: None, notice }
            }
            State::Open(open) => {
                let (state, aircraft_type) = match open.aircraft {
                    Aircraft::Sought(_) => (LinkState::Probing, None),
                    Aircraft::Found { kind, .. } => (LinkState::Linked, kind),
                };
                LinkStatus { device, state, baud: Some(self.rates.current()), aircraft_type, notice: open.notice.clone() }
            }
        }
    }

    /// Sends a frame at once. Without a linked aircraft it is dropped: nobody would hear it.
    pub fn send(&mut self, frame: &Frame) {
        if let State::Open(Open { port, aircraft: Aircraft::Found { .. }, .. }) = &mut self.state {
            transmit(port, &mut self.codec, frame);
        }
    }

    /// The number of the next push or request.
    pub fn next_sequence(&mut self) -> u16 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    /// Keeps the link going until there is news. Dropped and called again, it loses nothing.
    pub async fn next(&mut self) -> News {
        if std::mem::take(&mut self.status_changed) {
            return News::Status;
        }
        loop {
            match &mut self.state {
                State::Waiting(waiting) => {
                    waiting.until_worth_a_try().await;
                    if self.open() {
                        return News::Status;
                    }
                }
                State::Open(_) => {
                    if let Some(news) = self.carry().await {
                        return news;
                    }
                }
            }
        }
    }

    /// One attempt to open the device; true when the status changed.
    fn open(&mut self) -> bool {
        let State::Waiting(waiting) = &mut self.state else { return false };
        let port = match Port::open(&self.device, self.rates.current()) {
            Ok(port) => port,
            Err(error) => {
                let news = waiting.failed(error.to_string());
                if news {
                    tracing::warn!(MESSAGE_ID = message_id::DEVICE_MISSING, "{}", waiting.reason());
                }
                return news;
            }
        };
        let notice = request_low_latency(Path::new("/sys"), &self.device);
        self.incoming.clear();
        self.line_is_idle = false;
        tracing::info!("{} is open at {} baud", self.device.display(), self.rates.current());
        let now = Instant::now();
        self.state = State::Open(Open { port, notice, last_byte: now, aircraft: Aircraft::Sought(Probe::new(now)) });
        true
    }

    /// Deals with a frame that has come, or waits for bytes and for what is due.
    async fn carry(&mut self) -> Option<News> {
        if let Some(frame) = self.decode() {
            return self.receive(frame);
        }
        let State::Open(open) = &mut self.state else { return None };
        let idle_at = (!self.incoming.is_empty()).then(|| open.last_byte + IDLE_LIMIT);
        let due = open.aircraft.due();
        tokio::select! {
            biased;
            () = self.alarm.until(due) => self.do_what_is_due(),
            read = open.port.read(&mut self.incoming) => match read {
                Ok(0) => self.lose("the device is gone"),
                Ok(_) => {
                    open.last_byte = Instant::now();
                    self.line_is_idle = false;
                    None
                }
                Err(error) => self.lose(&error.to_string()),
            },
            () = sleep_until(idle_at.unwrap_or(due)), if idle_at.is_some() => {
                self.line_is_idle = true;
                None
            }
        }
    }

    fn decode(&mut self) -> Option<Frame> {
        if self.line_is_idle {
            self.codec.decode_idle(&mut self.incoming)
        } else {
            // The codec has no errors of its own: what is no frame is dropped.
            self.codec.decode(&mut self.incoming).ok().flatten()
        }
    }

    /// A frame that makes sense shows that the rate is right, be it an answer to the probe or a command.
    fn receive(&mut self, frame: Frame) -> Option<News> {
        let State::Open(open) = &mut self.state else { return None };
        let meaning = meaning(&frame);
        let kind = match meaning {
            Meaning::Aircraft(kind) => Some(kind),
            Meaning::Command => None,
            Meaning::Nothing => {
                tracing::debug!("ignored {} from {} to {}", frame.command, frame.sender, frame.receiver);
                return None;
            }
        };
        let news = open.aircraft.heard(kind, Instant::now());
        if news {
            tracing::info!(MESSAGE_ID = message_id::LINKED, "linked to the aircraft at {} baud", self.rates.current());
            self.rates.keep();
            self.pause = waiting::FIRST_PAUSE;
        }
        match meaning {
            Meaning::Command => {
                self.status_changed |= news;
                Some(News::Frame(frame))
            }
            _ => news.then_some(News::Status),
        }
    }

    fn do_what_is_due(&mut self) -> Option<News> {
        let sequence = self.next_sequence();
        let State::Open(open) = &mut self.state else { return None };
        let now = Instant::now();
        match &mut open.aircraft {
            Aircraft::Sought(probe) => match probe.next(now) {
                Some(route) => {
                    transmit(&mut open.port, &mut self.codec, &route.request(sequence));
                    None
                }
                None => self.try_next_rate(now),
            },
            Aircraft::Found { heard, presence_at, .. } => {
                *presence_at = next_presence(*presence_at, now);
                let silence = Silence::of(now.duration_since(*heard), self.in_use);
                transmit(&mut open.port, &mut self.codec, &Frame::push(PAYLOAD, HOST, sequence, id::PRESENCE, &PRESENCE[..]));
                match silence {
                    Silence::Usual => None,
                    Silence::Suspicious => {
                        for route in probe::ROUTES {
                            transmit(&mut open.port, &mut self.codec, &route.request(sequence));
                        }
                        None
                    }
                    Silence::Lost => {
                        tracing::warn!(MESSAGE_ID = message_id::AIRCRAFT_SILENT, "the aircraft is silent; looking for it again");
                        open.aircraft = Aircraft::Sought(Probe::new(now));
                        Some(News::Status)
                    }
                }
            }
        }
    }

    fn try_next_rate(&mut self, now: Instant) -> Option<News> {
        let State::Open(open) = &mut self.state else { return None };
        let rate = self.rates.advance();
        self.incoming.clear();
        match open.port.set_rate(rate) {
            Ok(()) => {
                open.aircraft = Aircraft::Sought(Probe::new(now));
                Some(News::Status)
            }
            Err(error) if self.rates.is_fixed() => self.lose(&error.to_string()),
            Err(error) => {
                tracing::debug!("{error}");
                open.aircraft = Aircraft::Sought(Probe::skipped(now));
                None
            }
        }
    }

    fn lose(&mut self, reason: &str) -> Option<News> {
        tracing::warn!(MESSAGE_ID = message_id::DEVICE_MISSING, "{}: {reason}", self.device.display());
        self.rates.restart();
        self.pause = waiting::longer(self.pause);
        self.state = State::Waiting(Waiting::again(&self.device, format!("{}: {reason}", self.device.display()), self.pause));
        Some(News::Status)
    }
}

/// Once a second, without making up for pushes that were missed.
fn next_presence(due: Instant, now: Instant) -> Instant {
    let next = due + PRESENCE_INTERVAL;
    if next <= now { now + PRESENCE_INTERVAL } else { next }
}

impl Aircraft {
    fn due(&self) -> Instant {
        match self {
            Self::Sought(probe) => probe.due(),
            Self::Found { presence_at, .. } => *presence_at,
        }
    }

    /// Takes note of a frame from the aircraft; true when that is news for the status.
    fn heard(&mut self, answered: Option<u8>, now: Instant) -> bool {
        match self {
            Self::Sought(_) => {
                *self = Self::Found { kind: answered, heard: now, presence_at: now };
                true
            }
            Self::Found { kind, heard, .. } => {
                *heard = now;
                let news = answered.is_some() && *kind != answered;
                *kind = answered.or(*kind);
                news
            }
        }
    }
}

fn meaning(frame: &Frame) -> Meaning {
    match frame.kind {
        Kind::Response if frame.command == id::PROBE && probe::ROUTES.iter().any(|route| route.is_answered_by(frame)) => {
            aircraft_type(&frame.payload).map_or(Meaning::Nothing, Meaning::Aircraft)
        }
        Kind::Request(_) | Kind::Push if frame.receiver == PAYLOAD => Meaning::Command,
        _ => Meaning::Nothing,
    }
}

fn transmit(port: &mut Port, codec: &mut FrameCodec, frame: &Frame) {
    let sent = port.send(|buffer| codec.encode(frame, buffer).is_ok());
    if !sent {
        tracing::debug!("dropped {} to {}: the line does not take it", frame.command, frame.receiver);
    }
}

#[cfg(test)]
mod tests;
