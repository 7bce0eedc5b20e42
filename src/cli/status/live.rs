//! The live view: the status with rate, times and the last events, drawn in place. Pure but for the drawing; the time is
//! handed in.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::{Duration, Instant};

use super::watch::{AWAY, Seen};
use crate::cli::view;
use crate::model::{LinkState, Phase, Progress, Status};

/// Events that are shown.
const EVENTS: usize = 8;
/// The rate of a transfer is that of its last seconds.
const RATE_WINDOW: Duration = Duration::from_secs(5);
/// A rate over less than this is noise.
const SHORTEST_WINDOW: Duration = Duration::from_millis(500);

/// What was seen so far.
#[derive(Debug)]
pub(super) struct Live {
    began: Instant,
    status: Option<Box<Status>>,
    away: bool,
    phase_began: Instant,
    samples: VecDeque<(Instant, u64)>,
    events: VecDeque<(Instant, String)>,
}

impl Live {
    pub(super) fn new(now: Instant) -> Self {
        Self { began: now, status: None, away: false, phase_began: now, samples: VecDeque::new(), events: VecDeque::new() }
    }

    /// Whether something in the view changes with the time alone.
    pub(super) fn is_moving(&self) -> bool {
        !self.away && self.status.as_ref().is_some_and(|status| status.upgrade.is_some())
    }

    /// Takes news.
    pub(super) fn see(&mut self, seen: Seen, now: Instant) {
        match seen {
            Seen::Away => {
                self.away = true;
                self.tell(now, AWAY.into());
            }
            Seen::Status(status) => self.take(status, now),
        }
    }

    fn take(&mut self, status: Box<Status>, now: Instant) {
        if self.away {
            self.tell(now, "the daemon is back".into());
        }
        self.away = false;
        if let Some(before) = self.status.take() {
            if before.link.state != status.link.state && status.link.state != LinkState::Disabled {
                self.tell(now, format!("link: {}", status.link.state));
            }
            if before.phase != status.phase {
                self.phase_began = now;
                self.samples.clear();
                self.tell(now, status.phase.to_string());
            }
            if let Some(report) = status.last.as_ref().filter(|report| before.last.as_ref().is_none_or(|last| last.id != report.id)) {
                self.tell(now, view::outcome(report));
            }
        }
        self.sample(&status, now);
        self.status = Some(status);
    }

    fn tell(&mut self, now: Instant, event: String) {
        self.events.push_back((now, event));
        if self.events.len() > EVENTS {
            self.events.pop_front();
        }
    }

    fn sample(&mut self, status: &Status, now: Instant) {
        let Some(upgrade) = status.upgrade.as_ref().filter(|_| status.phase == Phase::Receiving) else { return };
        let done = upgrade.progress.done;
        // A file that is sent once more begins a new rate.
        if self.samples.back().is_some_and(|(_, before)| *before > done) {
            self.samples.clear();
        }
        self.samples.push_back((now, done));
        while self.samples.len() > 2 && self.samples.get(1).is_some_and(|(then, _)| now.duration_since(*then) >= RATE_WINDOW) {
            self.samples.pop_front();
        }
    }

    /// Bytes a second.
    fn rate(&self, now: Instant) -> Option<u64> {
        let ((first, from), (_, to)) = (self.samples.front()?, self.samples.back()?);
        let time = now.duration_since(*first);
        if time < SHORTEST_WINDOW {
            return None;
        }
        u64::try_from(u128::from(to - from) * 1000 / time.as_millis()).ok().filter(|&rate| rate > 0)
    }

    /// The view.
    pub(super) fn text(&self, now: Instant) -> String {
        let Some(status) = &self.status else { return String::new() };
        let mut text = view::status(status, &self.phase(status, now));
        for (number, (then, event)) in self.events.iter().enumerate() {
            let label = if number == 0 { "Events" } else { "" };
            let seconds = then.duration_since(self.began).as_secs();
            // Writing to a String can't fail.
            let _ = writeln!(text, "{label:>8}  {:>3}:{:02}  {event}", seconds / 60, seconds % 60);
        }
        text.push_str("          (Ctrl-C ends the view, not the upgrade)\n");
        text
    }

    fn phase(&self, status: &Status, now: Instant) -> String {
        if self.away {
            return AWAY.into();
        }
        let mut text = view::phase(status);
        let Some(upgrade) = &status.upgrade else { return text };
        if let Some(seconds) = upgrade.seconds_left {
            let left = seconds.saturating_sub(now.duration_since(self.phase_began).as_secs());
            return format!("{}, at most {left} s more{}", status.phase, view::waits_for(upgrade));
        }
        if status.phase == Phase::Receiving {
            let Progress { done, total } = upgrade.progress;
            if let Some(rate) = self.rate(now) {
                let left = total.saturating_sub(done).div_ceil(rate);
                let _ = write!(text, ", {}/s, {left} s left", view::bytes(rate));
            }
        }
        text
    }
}

/// Draws over what it drew before, so that nothing flickers and what stood above stays.
#[derive(Debug, Default)]
pub(super) struct Screen {
    lines: usize,
}

impl Screen {
    pub(super) fn draw(&mut self, text: &str) -> std::io::Result<()> {
        let mut frame = String::new();
        if self.lines > 0 {
            let _ = write!(frame, "\x1b[{}A", self.lines);
        }
        // Without automatic margins a long line is cut and not wrapped, so that each takes one row.
        frame.push_str("\r\x1b[?7l");
        self.lines = 0;
        for line in text.lines() {
            self.lines += 1;
            let _ = writeln!(frame, "{line}\x1b[K");
        }
        frame.push_str("\x1b[J\x1b[?7h");
        let mut out = std::io::stdout().lock();
        out.write_all(frame.as_bytes())?;
        out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Channel, CurrentUpgrade, Installed, LinkStatus, Request, SCHEMA, TransferKind, UpgradeId};

    fn status(phase: Phase, done: u64, seconds_left: Option<u64>) -> Seen {
        let request = Request { channel: Channel::Psdk, requester: "0x2a".into(), transfer: TransferKind::Dcftp, forced: false };
        let progress = Progress { done, total: 1000 << 10 };
        let upgrade = CurrentUpgrade { id: UpgradeId("1".into()), request, progress, package: None, seconds_left, waits_for: None };
        Seen::Status(Box::new(Status {
            schema: SCHEMA,
            phase,
            installed: Installed { product: "P".into(), path: "/program".into(), version: None, digest: None },
            upgrade: (phase != Phase::Idle).then_some(upgrade),
            unacknowledged: vec![],
            last: None,
            link: LinkStatus::default(),
            notices: vec![],
            known_bad: vec![],
            minimum_version: None,
        }))
    }

    fn after(began: Instant, seconds: u64) -> Instant {
        began + Duration::from_secs(seconds)
    }

    #[test]
    fn a_transfer_shows_the_rate_of_its_last_seconds_and_the_time_left() {
        let began = Instant::now();
        let mut live = Live::new(began);
        for second in 0..=20 {
            // Ten seconds at 10 KiB/s, then at 50 KiB/s.
            let done = if second <= 10 { second * 10 } else { 100 + (second - 10) * 50 };
            live.see(status(Phase::Receiving, done << 10, None), after(began, second));
        }
        let text = live.text(after(began, 20));
        assert!(text.contains("600.0 KiB of 1000.0 KiB, 50.0 KiB/s, 8 s left"), "{text}");
    }

    #[test]
    fn a_deadline_counts_down_and_phases_are_events() {
        let began = Instant::now();
        let mut live = Live::new(began);
        live.see(status(Phase::Idle, 0, None), began);
        assert!(!live.is_moving());
        live.see(status(Phase::Restarting, 0, Some(60)), after(began, 65));
        assert!(live.is_moving());
        let text = live.text(after(began, 77));
        assert!(text.contains("restarting, at most 48 s more") && text.contains("Events    1:05  restarting"), "{text}");
    }

    #[test]
    fn a_daemon_that_goes_away_and_comes_back_is_told() {
        let began = Instant::now();
        let mut live = Live::new(began);
        live.see(status(Phase::Idle, 0, None), began);
        live.see(Seen::Away, after(began, 1));
        assert!(live.text(after(began, 1)).contains("Phase  the daemon went away"));
        live.see(status(Phase::Idle, 0, None), after(began, 2));
        let text = live.text(after(began, 2));
        assert!(text.contains("Phase  idle") && text.contains("0:02  the daemon is back"), "{text}");
    }
}
