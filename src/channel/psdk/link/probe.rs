//! The probe and its cycle through the rates (docs/payload-link.md section 2).

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::super::frame::{Address, Frame};
use super::super::message::id;
use crate::config::Baud;

/// The rates of the cycle.
pub(super) const RATES: [u32; 5] = [115_200, 230_400, 460_800, 921_600, 1_000_000];
/// Time between two probes.
const INTERVAL: Duration = Duration::from_millis(20);
/// Probes at one rate; five rates make about 3.2 s a cycle.
const PROBES_A_RATE: u16 = 32;

/// From whom to whom a probe goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Route {
    from: Address,
    to: Address,
}

/// The two probes, sent in turn.
pub(super) const ROUTES: [Route; 2] = [Route { from: Address(0xE5), to: Address(0x65) }, Route { from: Address(0xCA), to: Address(0x03) }];

impl Route {
    pub(super) fn request(self, sequence: u16) -> Frame {
        Frame::request(self.from, self.to, sequence, id::PROBE, Bytes::new())
    }

    pub(super) fn is_answered_by(self, frame: &Frame) -> bool {
        frame.sender == self.to && frame.receiver == self.from
    }
}

/// The probes at one rate.
#[derive(Debug)]
pub(super) struct Probe {
    sent: u16,
    due: Instant,
}

impl Probe {
    /// The first probe is due now.
    pub(super) fn new(now: Instant) -> Self {
        Self { sent: 0, due: now }
    }

    /// A rate that the device does not have: the next one is due soon, but not at once.
    pub(super) fn skipped(now: Instant) -> Self {
        Self { sent: PROBES_A_RATE, due: now + INTERVAL }
    }

    /// When [`Probe::next`] is to be called.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// The next probe; `None` when there were enough at this rate.
    pub(super) fn next(&mut self, now: Instant) -> Option<Route> {
        if self.sent >= PROBES_A_RATE {
            return None;
        }
        let route = ROUTES[usize::from(self.sent) % ROUTES.len()];
        self.sent += 1;
        self.due = now + INTERVAL;
        Some(route)
    }
}

/// The rates to try, and the one in use.
#[derive(Debug)]
pub(super) struct Rates {
    rates: Vec<u32>,
    current: usize,
    /// The rate at which an aircraft was heard last: a new search starts with it.
    good: usize,
}

impl Rates {
    pub(super) fn new(baud: Baud) -> Self {
        let rates = match baud {
            Baud::Auto => RATES.to_vec(),
            Baud::Fixed(rate) => vec![rate],
        };
        Self { rates, current: 0, good: 0 }
    }

    pub(super) fn current(&self) -> u32 {
        self.rates[self.current]
    }

    pub(super) fn is_fixed(&self) -> bool {
        self.rates.len() == 1
    }

    /// Goes on to the next rate.
    pub(super) fn advance(&mut self) -> u32 {
        self.current = (self.current + 1) % self.rates.len();
        self.current()
    }

    /// The rate in use is the right one.
    pub(super) fn keep(&mut self) {
        self.good = self.current;
    }

    /// Starts over with the rate that was right last.
    pub(super) fn restart(&mut self) {
        self.current = self.good;
    }
}
