//! The link: finds the aircraft on the serial port and carries frames (docs/wire/payload-link.md
//! sections 1 and 2).
//!
//! Waits for a device that is not there, probes through routes and rates, says "psdk" about once a
//! second, and notices when the device or the aircraft goes away. It knows the probe and the
//! presence, no other message, and never who upgrades what.

mod latency;
mod probe;

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tokio_util::codec::Encoder as _;

pub(crate) use self::latency::held_back;
use self::latency::request_low_latency;
use self::probe::{Due, Search};
use super::super::guess;
use super::frame::{Address, Frame, FrameCodec, Kind, Reader};
use super::route::{self, Route};
use super::wire::{HOST, PRESENCE, aircraft_type, id};
use crate::config::{self, Baud};
use crate::host::alarm::Alarm;
use crate::host::device::{self, Waiting};
use crate::log::message as message_id;
use crate::model::{LinkState, LinkStatus};
use crate::wire::serial::Port;

/// The presence is pushed so often.
const PRESENCE_INTERVAL: Duration = Duration::from_millis(1100);

/// The payload link's serial port, open or not.
#[derive(Debug)]
pub struct Link {
    device: PathBuf,
    baud: Baud,
    /// The rate at which an aircraft was heard last, or else the first one: a search starts with
    /// it.
    good_rate: u32,
    state: State,
    alarm: Alarm,
    codec: FrameCodec,
    reader: Reader,
    /// The status changed with the frame that was brought last.
    status_changed: bool,
    sequence: u16,
    keeps_rate: bool,
    /// How long a device that is lost is left alone; grows while devices come and go without an
    /// aircraft behind them.
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
    /// The rate in use; none where the device did not take the one that was tried.
    rate: Option<u32>,
    /// What keeps the adapter from being fast.
    notice: Option<String>,
    aircraft: Aircraft,
}

#[derive(Debug)]
enum Aircraft {
    /// Looked for.
    Sought {
        search: Search,
        /// When a good frame came at the rate in use: then that is the right one.
        heard: Option<Instant>,
    },
    /// Found at the rate in use.
    Found {
        place: Place,
        /// When a good frame came last, whoever it was for.
        heard: Instant,
        presence_at: Instant,
    },
}

/// Where the payload is, as the aircraft told it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    /// The payload's address.
    address: Address,
    /// The route that was answered, and the aircraft's type; nothing where a command came before
    /// any answer.
    answer: Option<(Route, u8)>,
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
    /// While an upgrade goes on, the rate is kept: a host may be silent for as long as an upload
    /// takes. A report that waits is none: it reaches nobody at a dead rate.
    fn of(time: Duration, keeps_rate: bool) -> Self {
        if time < guess::PROBE_AGAIN_AFTER {
            Self::Usual
        } else if time < guess::LINK_LOST_AFTER || keeps_rate {
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
    Answer(Place),
    /// For the session; the address is the payload's.
    Command(Address),
    /// For somebody else, or of no use; it shows all the same that the rate is right.
    Nothing,
    /// Our own frame, which the line brings back.
    Echo,
}

impl Link {
    /// A link that has not tried to open its device yet.
    pub fn new(config: &config::Link) -> Self {
        let good_rate = match config.baud {
            Baud::Auto => probe::RATES[0],
            Baud::Fixed(rate) => rate,
        };
        Self {
            device: config.device.clone(),
            baud: config.baud,
            good_rate,
            state: State::Waiting(Waiting::first(&config.device)),
            alarm: Alarm::default(),
            codec: FrameCodec::new(),
            reader: Reader::new(good_rate),
            status_changed: false,
            sequence: 0,
            keeps_rate: false,
            pause: device::FIRST_PAUSE,
        }
    }

    /// Tells the link whether an upgrade goes on: then the rate that works is kept, however silent
    /// the aircraft is.
    pub fn set_keeps_rate(&mut self, keeps_rate: bool) {
        self.keeps_rate = keeps_rate;
    }

    /// The payload's address on the port that it is at, as far as that is known.
    pub fn address(&self) -> Address {
        match &self.state {
            State::Open(Open { aircraft: Aircraft::Found { place, .. }, .. }) => place.address,
            _ => route::PAYLOAD_PORT,
        }
    }

    /// What the link does, for the status.
    pub fn status(&self) -> LinkStatus {
        let device = self.device.display().to_string();
        match &self.state {
            State::Waiting(waiting) => {
                let notice = Some(waiting.reason().to_owned());
                LinkStatus {
                    device,
                    state: LinkState::Waiting,
                    baud: None,
                    aircraft_type: None,
                    notice,
                }
            }
            State::Open(open) => {
                let (state, baud, aircraft_type) = match open.aircraft {
                    // Ten rates a second are tried: that is no news.
                    Aircraft::Sought { .. } if matches!(self.baud, Baud::Auto) => {
                        (LinkState::Probing, None, None)
                    }
                    Aircraft::Sought { .. } => (LinkState::Probing, open.rate, None),
                    Aircraft::Found { place, .. } => {
                        (LinkState::Linked, open.rate, place.answer.map(|(_, kind)| kind))
                    }
                };
                LinkStatus { device, state, baud, aircraft_type, notice: open.notice.clone() }
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
        let port = match Port::open(&self.device, self.good_rate) {
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
        self.reader.restart_at(self.good_rate);
        tracing::info!("{} is open at {} baud", self.device.display(), self.good_rate);
        let aircraft = self.sought(Instant::now());
        self.state = State::Open(Open { port, rate: Some(self.good_rate), notice, aircraft });
        true
    }

    fn sought(&self, now: Instant) -> Aircraft {
        Aircraft::Sought { search: Search::new(self.baud, self.good_rate, now), heard: None }
    }

    /// Deals with a frame that has come, or waits for bytes and for what is due.
    async fn carry(&mut self) -> Option<News> {
        if let Some(frame) = self.reader.frame() {
            return self.receive(frame);
        }
        let State::Open(open) = &mut self.state else { return None };
        let given_up_at = self.reader.due().map(Instant::from_std);
        let due = open.aircraft.due();
        tokio::select! {
            biased;
            () = self.alarm.until(due) => self.do_what_is_due(),
            read = open.port.read(self.reader.buffer()) => match read {
                Ok(0) => self.lose("the device is gone"),
                Ok(length) => {
                    self.reader.came(length, Instant::now().into_std());
                    None
                }
                Err(error) => self.lose(&error.to_string()),
            },
            // Behind the read: what has come is in the reader.
            () = sleep_until(given_up_at.unwrap_or(due)), if given_up_at.is_some() => {
                self.reader.give_up(Instant::now().into_std());
                None
            }
        }
    }

    /// A good frame shows that the rate is right, whoever it is for.
    fn receive(&mut self, frame: Frame) -> Option<News> {
        let State::Open(open) = &mut self.state else { return None };
        let now = Instant::now();
        let news = match open.aircraft.meaning(&frame) {
            Meaning::Echo => return None,
            Meaning::Nothing => {
                tracing::debug!(
                    "ignored {} from {} to {}",
                    frame.command,
                    frame.sender,
                    frame.receiver
                );
                open.aircraft.noticed(now);
                return None;
            }
            Meaning::Answer(place) => {
                return self.found(place, now).then_some(News::Status);
            }
            Meaning::Command(address) => self.found(Place { address, answer: None }, now),
        };
        self.status_changed |= news;
        Some(News::Frame(frame))
    }

    /// Takes note of where the payload is; true when that is news for the status.
    fn found(&mut self, place: Place, now: Instant) -> bool {
        let State::Open(open) = &mut self.state else { return false };
        let was_sought = matches!(open.aircraft, Aircraft::Sought { .. });
        let news = open.aircraft.found(place, now);
        if was_sought {
            self.good_rate = open.rate.unwrap_or(self.good_rate);
            self.pause = device::FIRST_PAUSE;
            let (rate, address) = (self.good_rate, place.address);
            tracing::info!(
                MESSAGE_ID = message_id::LINKED,
                "linked to the aircraft at {rate} baud, as its device {address}"
            );
        }
        news
    }

    fn do_what_is_due(&mut self) -> Option<News> {
        let sequence = self.next_sequence();
        let State::Open(open) = &mut self.state else { return None };
        let now = Instant::now();
        match &mut open.aircraft {
            Aircraft::Sought { search, .. } => match search.next(now) {
                Due::Probe(route) => {
                    transmit(&mut open.port, &mut self.codec, &route.request(sequence));
                    None
                }
                Due::ProbeAll => {
                    for route in Route::ALL {
                        transmit(&mut open.port, &mut self.codec, &route.request(sequence));
                    }
                    None
                }
                Due::Rate(rate) => self.try_rate(rate, now),
            },
            Aircraft::Found { place, heard, presence_at } => {
                *presence_at = next_presence(*presence_at, now);
                let silence = Silence::of(now.duration_since(*heard), self.keeps_rate);
                let presence =
                    Frame::push(place.address, HOST, sequence, id::PRESENCE, &PRESENCE[..]);
                transmit(&mut open.port, &mut self.codec, &presence);
                match silence {
                    Silence::Usual => None,
                    Silence::Suspicious => {
                        let routes =
                            place.answer.map_or(Route::ALL.to_vec(), |(route, _)| vec![route]);
                        for route in routes {
                            transmit(&mut open.port, &mut self.codec, &route.request(sequence));
                        }
                        None
                    }
                    Silence::Lost => {
                        tracing::warn!(
                            MESSAGE_ID = message_id::AIRCRAFT_SILENT,
                            "the aircraft is silent; looking for it again"
                        );
                        let search = Search::new(self.baud, self.good_rate, now);
                        open.aircraft = Aircraft::Sought { search, heard: None };
                        Some(News::Status)
                    }
                }
            }
        }
    }

    /// A rate at which good frames come is the right one, and is kept.
    fn try_rate(&mut self, rate: u32, now: Instant) -> Option<News> {
        let State::Open(Open {
            port,
            rate: current,
            aircraft: Aircraft::Sought { search, heard },
            ..
        }) = &mut self.state
        else {
            return None;
        };
        if *current == Some(rate)
            || heard.is_some_and(|heard| now.duration_since(heard) < guess::LINK_LOST_AFTER)
        {
            return None;
        }
        match port.set_rate(rate) {
            Ok(()) => {
                (*current, *heard) = (Some(rate), None);
                self.reader.restart_at(rate);
                None
            }
            Err(error) if matches!(self.baud, Baud::Fixed(_)) => self.lose(&error.to_string()),
            Err(error) => {
                tracing::debug!("{error}");
                *current = None;
                search.skip(now);
                None
            }
        }
    }

    fn lose(&mut self, reason: &str) -> Option<News> {
        tracing::warn!(
            MESSAGE_ID = message_id::DEVICE_MISSING,
            "{}: {reason}",
            self.device.display()
        );
        self.pause = device::longer(self.pause);
        self.state = State::Waiting(Waiting::again(
            &self.device,
            format!("{}: {reason}", self.device.display()),
            self.pause,
        ));
        Some(News::Status)
    }
}

/// In steady steps, without making up for pushes that were missed.
fn next_presence(due: Instant, now: Instant) -> Instant {
    let next = due + PRESENCE_INTERVAL;
    if next <= now { now + PRESENCE_INTERVAL } else { next }
}

impl Aircraft {
    fn due(&self) -> Instant {
        match self {
            Self::Sought { search, .. } => search.due(),
            Self::Found { presence_at, .. } => *presence_at,
        }
    }

    /// What a frame means here. Before the address is known, a request to one that a payload can
    /// have is meant for this payload: the line has two ends.
    fn meaning(&self, frame: &Frame) -> Meaning {
        if Route::is_probe(frame)
            || matches!(self, Self::Found { place, .. } if place.address == frame.sender)
        {
            return Meaning::Echo;
        }
        if let Some(route) = Route::answered_by(frame) {
            let place = aircraft_type(&frame.payload).and_then(|kind| {
                let address = route.address(kind)?;
                Some(Place { address, answer: Some((route, kind)) })
            });
            return place.map_or(Meaning::Nothing, Meaning::Answer);
        }
        match (self, frame.kind) {
            (Self::Found { place, .. }, Kind::Request(_) | Kind::Push)
                if place.address == frame.receiver =>
            {
                Meaning::Command(frame.receiver)
            }
            (Self::Sought { .. }, Kind::Request(_))
                if route::ADDRESSES.contains(&frame.receiver) =>
            {
                Meaning::Command(frame.receiver)
            }
            _ => Meaning::Nothing,
        }
    }

    /// A good frame came that is not for us.
    fn noticed(&mut self, now: Instant) {
        match self {
            Self::Sought { heard, search } => {
                *heard = Some(now);
                search.shows_life(now);
            }
            Self::Found { heard, .. } => *heard = now,
        }
    }

    /// Takes note of where the payload is; true when that is news for the status. The first route
    /// that is answered decides, until the aircraft is lost.
    fn found(&mut self, new: Place, now: Instant) -> bool {
        match self {
            Self::Sought { .. } => {
                *self = Self::Found { place: new, heard: now, presence_at: now };
                true
            }
            Self::Found { place, heard, .. } => {
                *heard = now;
                let is_other_route = matches!((place.answer, new.answer), (Some((taken, _)), Some((route, _))) if taken != route);
                if new.answer.is_none() || new == *place || is_other_route {
                    return false;
                }
                *place = new;
                true
            }
        }
    }
}

fn transmit(port: &mut Port, codec: &mut FrameCodec, frame: &Frame) {
    let sent = port.send(|buffer| codec.encode(frame, buffer).is_ok());
    if !sent {
        tracing::debug!(
            "dropped {} to {}: the line does not take it",
            frame.command,
            frame.receiver
        );
    }
}

#[cfg(test)]
mod tests;
