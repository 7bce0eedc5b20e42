//! The dialogue with a module, pure: it is told what was heard and what is wanted here, and says
//! which command is next, until when something is waited for, and what has come of it.
//!
//! One command is under way at a time, and all follow from the state: what was lost on the wire is
//! said again, whatever it was (QT-2). Nothing here knows a port, a clock, a file or the daemon.

mod announce;
mod plan;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::words::{Command, Event, FileInfo, PlanInfo, Said};
use crate::config::QuectelVersions;
use crate::model::version::Version;
use announce::Announcing;
use plan::Plan;
pub(super) use plan::Resumed;

/// How long a module has to answer, beside what the bytes take on the line (QT-2).
const PATIENCE: Duration = Duration::from_secs(3);
/// The longest that a module takes for an answer, as its documents have it.
const LONGEST_ANSWER: Duration = Duration::from_millis(300);
/// A module that is silent for so many tries is tried less often.
const EAGER_TRIES: u32 = 10;
/// So often.
const SLOW: Duration = Duration::from_secs(15);
/// How often a module is asked how it stands with the platform while it is not connected: its own
/// word of that may be lost.
const LOOK_AT_PLATFORM: Duration = Duration::from_secs(60);
/// A state of the module towards its platform.
const READY: u8 = 8;
/// States in which it does not try to connect by itself: it needs what is configured here.
const UNCONFIGURED: [u8; 6] = [0, 1, 4, 7, 11, 12];

/// What the dialogue must know.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// What a module that is not connected is told: product, server, that it connects.
    pub(super) product: Vec<Command>,
    /// How versions are written.
    pub(super) form: QuectelVersions,
    /// How often a plan is asked for.
    pub(super) period: Duration,
    /// Bytes that are read at a time.
    pub(super) block: u32,
    /// Bits a second of the line, ten a byte.
    pub(super) baud: u32,
    /// Whether SHA-256 is asked for.
    pub(super) sha256: bool,
}

/// What has come of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum News {
    /// The platform plans an upgrade, at this signal in dBm.
    Plan(PlanInfo, Option<i32>),
    /// The plan was refused, or is not open any more.
    Refused,
    /// The module fetches this file.
    File(FileInfo),
    /// Bytes of it.
    Bytes {
        /// The first one's place.
        start: u64,
        /// They.
        bytes: Vec<u8>,
    },
    /// The module waits: it may be installed.
    MayInstall,
    /// The plan has ended; whether with success.
    Over(bool),
    /// The plan can't go on, and the module does not know that yet.
    Broken(String),
    /// What was to be announced at once is.
    Announced,
}

/// How it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// The module does not answer.
    Silent,
    /// It is not connected to the platform; its state.
    NotConnected(u8),
    /// The platform does not let it in; type and code of the event.
    Alarm(u32, u32),
    /// A version can't be told.
    Untellable(String),
    /// All is well.
    Connected,
}

/// The dialogue.
#[derive(Debug)]
pub(super) struct Dialogue {
    settings: Settings,
    contact: Contact,
    /// The command that is under way.
    asked: Option<Asked>,
    /// The most that the module lets read at a time.
    most: u32,
    state: u8,
    alarm: Option<(u32, u32)>,
    /// The product was told since the module's start.
    is_configured: bool,
    look_at: Option<Instant>,
    plan: Plan,
    /// What runs, where that may be told.
    truth: Option<BTreeMap<String, Version>>,
    announcing: Announcing,
    request_at: Option<Instant>,
    with_sha256: bool,
    news: VecDeque<News>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Contact {
    /// There is no port.
    Closed,
    /// Whether somebody is there; so many tries, and the next one not before.
    Sought {
        tries: u32,
        not_before: Option<Instant>,
    },
    /// It is. What it still answers of what was given up is not heard until then.
    Settles(Instant),
    /// These commands are left.
    Begun(VecDeque<Command>),
    Up,
}

#[derive(Debug)]
struct Asked {
    command: Command,
    until: Instant,
    /// What came of it before its end.
    brought: Option<Brought>,
}

#[derive(Debug)]
enum Brought {
    Data { start: u64, bytes: Vec<u8> },
    Version(String),
    Signal(Option<i32>),
}

impl Dialogue {
    /// A dialogue that has no port yet.
    pub(super) fn new(settings: Settings) -> Self {
        let (most, with_sha256) = (settings.block, settings.sha256);
        Self {
            settings,
            contact: Contact::Closed,
            asked: None,
            most,
            state: 0,
            alarm: None,
            is_configured: false,
            look_at: None,
            plan: Plan::None,
            truth: None,
            announcing: Announcing::default(),
            request_at: None,
            with_sha256,
            news: VecDeque::new(),
        }
    }

    /// There is a port.
    pub(super) fn opened(&mut self) {
        self.seek();
    }

    /// It is gone. What runs goes on when it is back.
    pub(super) fn lost(&mut self) {
        self.seek();
        self.contact = Contact::Closed;
    }

    fn seek(&mut self) {
        self.asked = None;
        self.contact = Contact::Sought { tries: 0, not_before: None };
        self.announcing.forget_reading();
    }

    /// What has come of it, the oldest first.
    pub(super) fn news(&mut self) -> Option<News> {
        self.news.pop_front()
    }

    /// What runs here and may be told (QT-4); nothing while an upgrade or its report is under way.
    pub(super) fn set_truth(&mut self, truth: Option<BTreeMap<String, Version>>) {
        self.truth = truth;
    }

    /// How it stands.
    pub(super) fn standing(&self) -> Standing {
        match &self.contact {
            Contact::Closed | Contact::Sought { .. } | Contact::Settles(_) | Contact::Begun(_) => {
                Standing::Silent
            }
            Contact::Up => match self.alarm {
                Some((kind, code)) => Standing::Alarm(kind, code),
                None if self.state != READY => Standing::NotConnected(self.state),
                None => match self.announcing.untellable() {
                    Some(component) => Standing::Untellable(component.to_owned()),
                    None => Standing::Connected,
                },
            },
        }
    }

    /// The next command, which is under way then. `room`: whether bytes of a file may come.
    pub(super) fn next(&mut self, room: bool, now: Instant) -> Option<Command> {
        if self.asked.is_some() {
            return None;
        }
        let command = match &mut self.contact {
            Contact::Closed => None,
            Contact::Settles(until) if *until > now => None,
            Contact::Settles(_) => {
                let first = [Command::EchoOff, Command::ReadLimits, Command::State];
                self.contact = Contact::Begun(first.into());
                Some(Command::EchoOff)
            }
            Contact::Sought { not_before, .. } => {
                not_before.is_none_or(|time| time <= now).then_some(Command::Attention)
            }
            Contact::Begun(left) => left.front().cloned(),
            Contact::Up => self.next_of_plan(room, now).or_else(|| self.next_without_plan(now)),
        }?;
        let bytes = match command {
            Command::Read { length, .. } => length,
            _ => 0,
        };
        // Twice, because the line may bring something else before.
        let on_line = f64::from(bytes) * 20.0 / f64::from(self.settings.baud);
        let until = now + PATIENCE + Duration::from_secs_f64(on_line);
        self.asked = Some(Asked { command: command.clone(), until, brought: None });
        Some(command)
    }

    fn next_without_plan(&mut self, now: Instant) -> Option<Command> {
        if let Some(command) = self.next_announcement() {
            return Some(command);
        }
        if self.state != READY {
            if UNCONFIGURED.contains(&self.state) && !self.is_configured {
                self.is_configured = true;
                self.contact = Contact::Begun(self.settings.product.iter().cloned().collect());
                if let Contact::Begun(left) = &mut self.contact {
                    left.push_back(Command::State);
                    return left.front().cloned();
                }
            }
            return self.look_at.is_none_or(|time| time <= now).then_some(Command::State);
        }
        let may_ask = matches!(self.plan, Plan::None) && self.truth.is_some();
        let is_due = self.request_at.is_none_or(|time| time <= now);
        if may_ask && is_due {
            return Some(Command::Request(self.with_sha256));
        }
        let looks = self.plan_waits() && self.look_at.is_some_and(|time| time <= now);
        looks.then_some(Command::State)
    }

    /// When there is something to do, whatever is heard.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        let asked = self.asked.as_ref().map(|asked| asked.until);
        let sought = match self.contact {
            Contact::Sought { not_before, .. } if asked.is_none() => not_before,
            Contact::Settles(until) => Some(until),
            _ => None,
        };
        let is_up = self.contact == Contact::Up && asked.is_none();
        // A module that has gone is missed while a plan waits for this side, too.
        let look = self.look_at.filter(|_| is_up && (self.state != READY || self.plan_waits()));
        let may_ask = is_up && matches!(self.plan, Plan::None) && self.truth.is_some();
        let request = self.request_at.filter(|_| may_ask && self.state == READY);
        let all = [asked, sought, look, request, self.plan.deadline()];
        all.into_iter().flatten().min().map(|time| time.max(now))
    }

    /// Time has passed. True where what was begun on the wire is given up.
    pub(super) fn tick(&mut self, now: Instant) -> bool {
        self.tick_plan(now);
        if self.asked.as_ref().is_none_or(|asked| asked.until > now) {
            return false;
        }
        let tries = match self.contact {
            Contact::Sought { tries, .. } => tries + 1,
            _ => 0,
        };
        let not_before = (tries > EAGER_TRIES).then_some(now + SLOW);
        self.seek();
        self.contact = Contact::Sought { tries, not_before };
        true
    }

    /// Bytes of a file.
    pub(super) fn data(&mut self, start: u64, bytes: Vec<u8>) {
        if let Some(Asked { command: Command::Read { .. }, brought, .. }) = &mut self.asked {
            *brought = Some(Brought::Data { start, bytes });
        }
    }

    /// A line.
    pub(super) fn hear(&mut self, said: Said, now: Instant) {
        match said {
            Said::Ok => self.answered(true, now),
            Said::Error => self.answered(false, now),
            Said::Reset => {
                self.seek();
                self.announcing.forget();
                (self.is_configured, self.state) = (false, 0);
                self.plan_after_reset();
            }
            Said::State(state) => self.take_state(state),
            Said::Signal(signal) => self.bring(Brought::Signal(signal)),
            Said::ReadLimit(most) if most > 0 => self.most = most.min(self.settings.block),
            Said::Version(component, version) => {
                let is_asked = matches!(&self.asked, Some(Asked { command: Command::VersionOf(of), .. }) if *of == component);
                if is_asked {
                    self.bring(Brought::Version(version));
                }
            }
            Said::Event(Event::Connection(kind, code)) => self.connection(kind, code, now),
            Said::Event(event) => self.event(event, now),
            Said::ReadLimit(_) | Said::Other => {}
        }
    }

    fn bring(&mut self, brought: Brought) {
        if let Some(asked) = &mut self.asked {
            asked.brought = Some(brought);
        }
    }

    fn take_state(&mut self, state: u8) {
        if state == READY && self.state != READY {
            self.announcing.forget();
        }
        self.state = state;
        if state == READY {
            self.alarm = None;
        }
    }

    /// Section 5.3 of the wire: what is not named there passes by itself.
    fn connection(&mut self, kind: u32, code: u32, now: Instant) {
        match (kind, code) {
            (3, 10200) => {
                // It may have been away, and is told anew what runs.
                self.announcing.forget();
                (self.state, self.alarm) = (READY, None);
            }
            (1, 10421..=10425 | 10431) | (2, 10430 | 10431 | 10471 | 10475 | 10477) => {
                self.alarm = Some((kind, code));
            }
            // The platform is asked too often.
            (8, 10428 | 10429) => self.request_at = Some(now + self.settings.period),
            (1 | 2, 10450) | (2, 10473 | 10474 | 10476) | (6, 10200) => {
                self.state = if kind == 6 { 11 } else { 2 };
            }
            _ => {}
        }
    }

    /// The end of the command that is under way.
    fn answered(&mut self, is_ok: bool, now: Instant) {
        let Some(Asked { command, brought, .. }) = self.asked.take() else { return };
        match &mut self.contact {
            Contact::Sought { .. } if is_ok => {
                self.contact = Contact::Settles(now + LONGEST_ANSWER);
                return;
            }
            // It answers late to what was given up.
            Contact::Sought { .. } | Contact::Settles(_) | Contact::Closed => return,
            Contact::Begun(left) => {
                left.pop_front();
                if left.is_empty() {
                    self.contact = Contact::Up;
                }
            }
            Contact::Up => {}
        }
        match command {
            Command::State => self.look_at = Some(now + LOOK_AT_PLATFORM),
            Command::Request(with_sha256) if !is_ok && with_sha256 => self.with_sha256 = false,
            Command::Request(_) => self.request_at = Some(now + self.settings.period),
            Command::VersionOf(component) => {
                let version = match brought {
                    Some(Brought::Version(version)) if is_ok => Some(version),
                    _ => None,
                };
                self.announcing.read(component, version.filter(|version| !version.is_empty()));
            }
            Command::Announce(component, version) => {
                self.was_announced(component, &version, is_ok, now);
            }
            command => self.answered_of_plan(&command, brought, is_ok, now),
        }
    }
}
