//! The live view: the status with rate, times and the last events, as lines for a terminal of some
//! size. Pure; the time is handed in.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::watch::{AWAY, Seen};
use crate::cli::fold::fold;
use crate::cli::paint;
use crate::cli::view::{self, Size};
use crate::model::{LinkState, LinkStatus, Phase, Progress, Status};

/// Events that are shown.
const EVENTS: usize = 8;
/// The rate of a transfer is that of its last seconds.
const RATE_WINDOW: Duration = Duration::from_secs(5);
/// What stands before the events, in the column of the labels.
const LABEL: &str = "  Events";
/// Where the values begin.
const LABEL_WIDTH: usize = 10;
/// Where the words of an event begin, behind its time.
const EVENT_INDENT: usize = LABEL_WIDTH + 8;
/// A rate over less than this is noise.
const SHORTEST_WINDOW: Duration = Duration::from_millis(500);

/// What was seen so far.
#[derive(Debug)]
pub(super) struct Live {
    began: Instant,
    status: Option<Box<Status>>,
    /// When the status came.
    seen_at: Instant,
    away: bool,
    samples: VecDeque<(Instant, u64)>,
    events: VecDeque<(Instant, String)>,
}

impl Live {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            began: now,
            status: None,
            seen_at: now,
            away: false,
            samples: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Whether something in the view changes with the time alone.
    pub(super) fn is_moving(&self) -> bool {
        !self.away && self.status.as_ref().is_some_and(|status| status.upgrade.is_some())
    }

    /// Takes news.
    pub(super) fn see(&mut self, seen: Seen, now: Instant) {
        match seen {
            // One that goes away before it has said anything is away still.
            Seen::Away if self.away => {}
            Seen::Away => {
                self.away = true;
                self.tell(now, self.absence().into());
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
                self.samples.clear();
                self.tell(now, status.phase.to_string());
            }
            if let Some(doing) = news(&before, &status) {
                self.tell(now, doing.to_owned());
            }
            if let Some(report) = status
                .last
                .as_ref()
                .filter(|report| before.last.as_ref().is_none_or(|last| last.id != report.id))
            {
                self.tell(now, view::ending(report));
            }
        }
        self.sample(&status, now);
        self.seen_at = now;
        self.status = Some(status);
    }

    /// What is said of a daemon that is away.
    fn absence(&self) -> &'static str {
        match self.status.as_ref().map(|status| status.phase) {
            Some(Phase::Restarting) => "the payload restarts; waiting for the daemon",
            _ => AWAY,
        }
    }

    fn tell(&mut self, now: Instant, event: String) {
        self.events.push_back((now, event));
        if self.events.len() > EVENTS {
            self.events.pop_front();
        }
    }

    fn sample(&mut self, status: &Status, now: Instant) {
        let Some(upgrade) = status.upgrade.as_ref().filter(|_| status.phase == Phase::Receiving)
        else {
            return;
        };
        let done = upgrade.progress.done;
        // A file that is sent once more begins a new rate.
        if self.samples.back().is_some_and(|(_, before)| *before > done) {
            self.samples.clear();
        }
        self.samples.push_back((now, done));
        while self.samples.len() > 2
            && self.samples.get(1).is_some_and(|(then, _)| now.duration_since(*then) >= RATE_WINDOW)
        {
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

    /// The view, in no more lines than a terminal of this size has above the one of its cursor. The
    /// oldest events give way first.
    pub(super) fn lines(&self, now: Instant, size: Size) -> Vec<String> {
        let Some(status) = &self.status else { return Vec::new() };
        let text = if self.away {
            view::status(&without_link(status), self.absence())
        } else {
            view::status(status, &self.phase(status, now))
        };
        let mut lines: Vec<String> =
            text.lines().flat_map(|line| fold(line, LABEL_WIDTH, size.columns)).collect();
        let most = size.rows.saturating_sub(1);
        let hint = fold(
            &format!("{:LABEL_WIDTH$}(Ctrl-C ends the view, not the upgrade)", ""),
            LABEL_WIDTH,
            size.columns,
        );
        let room = most.saturating_sub(lines.len() + hint.len());
        lines.extend(self.events(room, size.columns));
        lines.extend(hint);
        lines.truncate(most);
        lines
    }

    /// The last events that have room, with the time since the view began.
    fn events(&self, room: usize, columns: usize) -> Vec<String> {
        let mut lines = VecDeque::new();
        for (then, event) in self.events.iter().rev() {
            let seconds = then.duration_since(self.began).as_secs();
            let event = fold(
                &format!("{:LABEL_WIDTH$}{:>3}:{:02}  {event}", "", seconds / 60, seconds % 60),
                EVENT_INDENT,
                columns,
            );
            if lines.len() + event.len() > room {
                break;
            }
            event.into_iter().rev().for_each(|line| lines.push_front(line));
        }
        if let Some(first) = lines.front_mut() {
            first.replace_range(..LABEL.len(), &paint::heading(LABEL));
        }
        lines.into()
    }

    fn phase(&self, status: &Status, now: Instant) -> String {
        let mut text = view::phase(status);
        let Some(upgrade) = &status.upgrade else { return text };
        if let Some(seconds) = upgrade.seconds_left {
            let left = seconds.saturating_sub(now.duration_since(self.seen_at).as_secs());
            return format!(
                "{}, at most {} more{}",
                status.phase,
                view::seconds(left),
                view::waits_for(upgrade)
            );
        }
        if status.phase == Phase::Receiving {
            let Progress { done, total } = upgrade.progress;
            if let Some(rate) = self.rate(now) {
                let left = total.saturating_sub(done).div_ceil(rate);
                let _ = write!(text, ", {}, {} left", view::rate(rate), view::seconds(left));
            }
        }
        text
    }
}

/// What another updater does now, and did not before.
fn news<'a>(before: &Status, now: &'a Status) -> Option<&'a str> {
    let doing = |status: &'a Status| status.upgrade.as_ref().and_then(|one| one.doing.as_deref());
    let before = before.upgrade.as_ref().and_then(|one| one.doing.as_deref());
    doing(now).filter(|now| before != Some(*now))
}

/// Of the link of a daemon that is away nothing is known.
fn without_link(status: &Status) -> Status {
    Status { link: LinkStatus::default(), ..status.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        ComponentName, CurrentUpgrade, Installed, Request, SCHEMA, TransferKind, UpgradeId,
    };

    fn status(phase: Phase, done: u64, seconds_left: Option<u64>) -> Seen {
        let request = Request::of_link("0x2a".into(), TransferKind::Dcftp);
        let progress = Progress { done, total: 1000 << 10 };
        let upgrade = CurrentUpgrade {
            id: UpgradeId("1".into()),
            request,
            component: None,
            file_name: None,
            progress,
            failure: None,
            package: None,
            percent: None,
            doing: None,
            seconds_left,
            waits_for: None,
            deferred_because: None,
        };
        Seen::Status(Box::new(Status {
            schema: SCHEMA,
            phase,
            components: vec![Installed {
                component: ComponentName::PROGRAM,
                product: "P".into(),
                path: Some("/program".into()),
                version: None,
                digest: None,
                looking: false,
                known_bad: vec![],
                minimum_version: None,
                brought_by: None,
            }],
            upgrade: (phase != Phase::Idle).then_some(upgrade),
            unacknowledged: vec![],
            policy: Default::default(),
            last: None,
            link: LinkStatus::default(),
            channels: Vec::new(),
            notices: vec![],
        }))
    }

    fn text(live: &Live, now: Instant) -> String {
        plain(&live.lines(now, Size { rows: 24, columns: 80 })).join("\n")
    }

    fn plain(lines: &[String]) -> Vec<String> {
        lines.iter().map(|line| anstream::adapter::strip_str(line).to_string()).collect()
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
        let text = text(&live, after(began, 20));
        assert!(text.contains("600.0 KiB of 1000.0 KiB, 50 KiB/s, 8 s left"), "{text}");
    }

    #[test]
    fn a_deadline_counts_down_and_phases_are_events() {
        let began = Instant::now();
        let mut live = Live::new(began);
        live.see(status(Phase::Idle, 0, None), began);
        assert!(!live.is_moving());
        live.see(status(Phase::Restarting, 0, Some(60)), after(began, 65));
        assert!(live.is_moving());
        let text = text(&live, after(began, 77));
        assert!(
            text.contains("restarting, at most 48 s more")
                && text.contains("Events    1:05  restarting"),
            "{text}"
        );
    }

    #[test]
    fn a_daemon_that_goes_away_and_comes_back_is_told() {
        let began = Instant::now();
        let mut live = Live::new(began);
        live.see(status(Phase::Idle, 0, None), began);
        live.see(Seen::Away, after(began, 1));
        assert!(text(&live, after(began, 1)).contains("Phase  the daemon went away"));
        live.see(status(Phase::Idle, 0, None), after(began, 2));
        let text = text(&live, after(began, 2));
        assert!(
            text.contains("Phase  idle") && text.contains("0:02  the daemon is back"),
            "{text}"
        );
    }

    #[test]
    fn a_restart_that_belongs_to_the_upgrade_is_told_as_one_and_once() {
        let began = Instant::now();
        let mut live = Live::new(began);
        live.see(status(Phase::Restarting, 0, Some(60)), began);
        live.see(Seen::Away, after(began, 1));
        live.see(Seen::Away, after(began, 2));
        assert_eq!(
            text(&live, after(began, 2))
                .matches("the payload restarts; waiting for the daemon")
                .count(),
            2
        );
    }

    #[test]
    fn no_line_is_too_long_and_on_a_small_terminal_the_oldest_events_give_way() {
        let began = Instant::now();
        let mut live = Live::new(began);
        for second in 0..10 {
            live.see(Seen::Away, after(began, second));
            live.see(status(Phase::Idle, 0, None), after(began, second));
        }
        for size in [
            Size { rows: 24, columns: 80 },
            Size { rows: 8, columns: 30 },
            Size { rows: 2, columns: 12 },
            Size { rows: 1, columns: 1 },
        ] {
            let lines = plain(&live.lines(after(began, 20), size));
            assert!(lines.len() < size.rows.max(2), "{lines:#?}");
            assert!(
                lines.iter().all(|line| line.chars().count() <= size.columns.max(EVENT_INDENT + 1)),
                "{lines:#?}"
            );
        }
        let lines = plain(&live.lines(after(began, 20), Size { rows: 9, columns: 80 }));
        assert!(
            lines[5].starts_with("  Events    0:09  the daemon went away")
                && lines[6].contains("0:09  the daemon is back"),
            "{lines:#?}"
        );
    }
}
