//! The search for the aircraft: which route is probed when, at which rate (docs/payload-link.md
//! section 2). Knows no port.
//!
//! The order is that of the vendor's library. Two of its steps are left out, because nobody has
//! seen what their frames hold: the V3 frame before the last route, and the frame that begins with
//! `AA` at the end.

use std::time::Duration;

use tokio::time::Instant;

use super::super::route::Route;
use crate::config::Baud;

/// The rates that are tried.
pub(super) const RATES: [u32; 5] = [115_200, 230_400, 460_800, 921_600, 1_000_000];
/// Time between two probes.
const INTERVAL: Duration = Duration::from_millis(20);
/// Probes of a step.
const PROBES: u16 = 5;

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// A step begins, at this rate.
    Rate(u32),
    /// Probe this route.
    Probe(Route),
}

/// The cycle, and where it is.
#[derive(Debug)]
pub(super) struct Search {
    steps: Vec<(Route, u32)>,
    step: usize,
    sent: u16,
    due: Instant,
}

impl Search {
    /// Begins now, with the rate that was right last or is configured.
    pub(super) fn new(baud: Baud, first: u32, now: Instant) -> Self {
        let rates = match baud {
            Baud::Auto => RATES.to_vec(),
            Baud::Fixed(rate) => vec![rate],
        };
        let mut steps = vec![(Route::FromCa, first)];
        for route in [Route::FromE5, Route::FromCa, Route::FromEa] {
            steps.extend(rates.iter().map(|rate| (route, *rate)));
        }
        // As if the last step were over.
        Self { step: steps.len() - 1, steps, sent: PROBES, due: now }
    }

    /// When [`Search::next`] is to be called.
    pub(super) const fn due(&self) -> Instant {
        self.due
    }

    /// What is due.
    pub(super) fn next(&mut self, now: Instant) -> Due {
        if self.sent < PROBES {
            self.sent += 1;
            self.due = now + INTERVAL;
            return Due::Probe(self.steps[self.step].0);
        }
        self.step = (self.step + 1) % self.steps.len();
        self.sent = 0;
        self.due = now;
        Due::Rate(self.steps[self.step].1)
    }

    /// The device does not have the rate of this step: the next one is due soon, but not at once.
    pub(super) fn skip(&mut self, now: Instant) {
        self.sent = PROBES;
        self.due = now + INTERVAL;
    }
}
