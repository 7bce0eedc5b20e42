//! The search for the aircraft: which route is probed when, at which rate
//! (docs/wire/payload-link.md section 2). Knows no port.
//!
//! The order is that of the vendor's library. Two of its steps are left out, because nobody has
//! seen what their frames hold: the V3 frame before the last route, and the frame that begins with
//! `AA` at the end.
//!
//! A payload may lie on a shelf for days with its port open. After a minute of silence one probe
//! of each route is sent at a rate, and the next rate is tried after a pause: so each is tried as
//! often as before, with a twentieth of the wake-ups.

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
/// So long after the beginning, or after a sign of life, probes follow each other quickly.
const QUICK_FOR: Duration = Duration::from_secs(60);
/// Later: all rates once.
const SELDOM_CYCLE: Duration = Duration::from_secs(2);
/// Later: longest time between two rates, where there are few.
const SELDOM_INTERVAL: Duration = Duration::from_secs(1);

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// A step begins, at this rate.
    Rate(u32),
    /// Probe this route.
    Probe(Route),
    /// Probe all routes, in the order of [`Route::ALL`].
    ProbeAll,
}

/// The cycle, and where it is.
#[derive(Debug)]
pub(super) struct Search {
    steps: Vec<(Route, u32)>,
    step: usize,
    sent: u16,
    due: Instant,
    quick_until: Instant,
    rates: Vec<u32>,
    /// Which rate was tried last where that is seldom done.
    rate: usize,
    /// All routes are to be probed at that.
    probes_all: bool,
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
        let quick_until = now + QUICK_FOR;
        // As if the last step were over.
        Self {
            step: steps.len() - 1,
            steps,
            sent: PROBES,
            due: now,
            quick_until,
            rate: rates.len() - 1,
            rates,
            probes_all: false,
        }
    }

    /// Somebody is there, at whatever rate. What comes at the rate in use may be on its way still.
    pub(super) fn shows_life(&mut self, now: Instant) {
        self.quick_until = now + QUICK_FOR;
        self.due = self.due.min(now + INTERVAL);
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
        if now >= self.quick_until {
            return self.next_seldom(now);
        }
        self.probes_all = false;
        self.step = (self.step + 1) % self.steps.len();
        self.sent = 0;
        self.due = now;
        Due::Rate(self.steps[self.step].1)
    }

    fn next_seldom(&mut self, now: Instant) -> Due {
        self.probes_all = !self.probes_all;
        if self.probes_all {
            self.rate = (self.rate + 1) % self.rates.len();
            self.due = now;
            return Due::Rate(self.rates[self.rate]);
        }
        self.due = now + self.seldom_interval();
        Due::ProbeAll
    }

    fn seldom_interval(&self) -> Duration {
        let rates = u32::try_from(self.rates.len()).unwrap_or(u32::MAX);
        (SELDOM_CYCLE / rates).min(SELDOM_INTERVAL)
    }

    /// The device does not have the rate of this step: the next one is due soon, but not at once.
    pub(super) fn skip(&mut self, now: Instant) {
        self.sent = PROBES;
        self.due = now + if self.probes_all { self.seldom_interval() } else { INTERVAL };
        self.probes_all = false;
    }
}
