//! How often a server is asked: the channel's own record against loops (LU-3).
//!
//! The platform blocks a payload that asks for the same firmware again and again, and a payload
//! whose upgrade fails after each restart would do just that. So the record outlives restarts: the
//! loop of the channel keeps it in a small file of its own.
//!
//! Its hours are those in which the machine is on, asleep or not, by the clock that begins at each
//! boot. The wall clock is not asked: it stands in 1970 until somebody sets it, so that it would
//! open the gate at each boot that sets it late, or close it for years when it goes back. The time
//! in which the machine is off does not count, so that a wait ends later than it must and never
//! earlier; a person ends it by deleting the file.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::words::{Heard, Target, Validators};
use crate::channel::offer::What;
use crate::model::FailureKind;

/// Largest record in bytes.
pub(crate) const LARGEST_RECORD: usize = 8 << 10;
/// Requests in a day that are answered with the same file: the platform blocks after the sixth.
const MOST_OF_A_FILE: usize = 5;
/// Of these, what a request leaves for fetching the file that it may find.
const FOR_THE_FILE: usize = 1;
/// The same of all files: a server that says something else of its file each time has a limit, too.
const MOST_OF_ALL: usize = 20;
/// How often a server is asked again that is still making its file.
const MOST_NOT_YET: u32 = 10;
const DAY: u64 = 24 * 60 * 60;
/// After this time a file that was refused is tried once more: somebody may have corrected the
/// configuration, such as a key that is trusted.
const REFUSED: u64 = 7 * DAY;
/// What is counted of the time between two looks: longer than anything here lasts.
const LONGEST_LEAP: u64 = 30 * DAY;
/// A clock that is further has not been counted.
const LATEST: u64 = u64::MAX / 2;

/// How far the machine's clock is: of which boot, and how long ago that was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Now {
    /// The kernel's name of the boot.
    pub(crate) boot: String,
    /// Since then, asleep or not.
    pub(crate) up: Duration,
}

/// Whether something may be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Gate {
    /// It may.
    Open,
    /// Not yet.
    Shut {
        /// Time until it may.
        left: Duration,
        /// Why, a sentence.
        why: String,
    },
}

/// How the upgrade with a file ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Ending {
    /// It is installed.
    Installed,
    /// It is refused, and would be again.
    Refused,
    /// It failed, and another time it may not.
    Failed,
}

/// A record that can't be read: a new one takes its place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the record of what the LuatOS server was asked is damaged, and a new one begins")]
pub(crate) struct Damaged;

/// What the server was asked for, and what came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ration {
    /// Seconds that were counted since the record began; all times below are by this clock.
    clock: u64,
    /// How far the machine's clock was then.
    seen: Option<Now>,
    /// Requests that were answered with a file, of the last day, the earliest first.
    served: Vec<Served>,
    /// When the server's block is over.
    blocked_until: Option<u64>,
    /// Answers in a row that the file is still being made.
    not_yet: u32,
    /// The file that was taken last: how that ends may be heard after a restart.
    #[serde(default)]
    taken: Option<Target>,
    /// The file of the upgrade that ended last.
    ended: Option<Ended>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Served {
    name: String,
    at: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Ended {
    target: Target,
    how: Ending,
    at: u64,
}

impl Ending {
    /// The ending that a telling is; none while nothing has ended.
    pub(crate) fn of(what: &What) -> Option<Self> {
        match what {
            What::Succeeded { .. } => Some(Self::Installed),
            What::Failed { failure, .. } if refuses(failure.kind) => Some(Self::Refused),
            what => what.is_final().then_some(Self::Failed),
        }
    }
}

/// Whether a failure lies in the file, so that the same file fails again.
fn refuses(kind: FailureKind) -> bool {
    use FailureKind as Kind;
    matches!(
        kind,
        Kind::TooLarge
            | Kind::NameInvalid
            | Kind::WrongProduct
            | Kind::WrongVersion
            | Kind::Downgrade
            | Kind::SameVersion
            | Kind::Truncated
            | Kind::WrongMachine
            | Kind::WrongBase
            | Kind::SealMissing
            | Kind::SealInvalid
            | Kind::KnownBad
            | Kind::PreflightFailed
            | Kind::Unhealthy
    )
}

/// The earliest of the last `most` times, where there are so many.
fn earliest_of_most(times: &[u64], most: usize) -> Option<u64> {
    times.len().checked_sub(most).and_then(|first| times.get(first).copied())
}

impl Ration {
    /// The record that these bytes are, or an empty one with the reason; no bytes are the first
    /// record.
    pub(crate) fn read(bytes: &[u8]) -> (Self, Option<Damaged>) {
        if bytes.is_empty() {
            return (Self::default(), None);
        }
        let is_small = bytes.len() <= LARGEST_RECORD;
        let record = is_small.then(|| serde_json::from_slice::<Self>(bytes).ok()).flatten();
        match record.filter(Self::is_plausible) {
            Some(record) => (record, None),
            None => (Self::default(), Some(Damaged)),
        }
    }

    /// The record as bytes, at most [`LARGEST_RECORD`].
    pub(crate) fn write(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// A time of a day that is yet to come would close the gate for as long as somebody likes.
    fn is_plausible(&self) -> bool {
        let is_past = |at: u64| at <= self.clock;
        let is_short = |text: &str| text.len() <= 256;
        self.clock <= LATEST
            && self.served.len() <= MOST_OF_ALL
            && self.served.iter().all(|served| is_past(served.at) && is_short(&served.name))
            && self.blocked_until.is_none_or(|until| is_past(until.saturating_sub(DAY)))
            && self
                .ended
                .as_ref()
                .is_none_or(|ended| is_past(ended.at) && ended.target.is_plausible())
            && self.taken.as_ref().is_none_or(Target::is_plausible)
            && self.seen.as_ref().is_none_or(|seen| is_short(&seen.boot))
            && self.not_yet <= MOST_NOT_YET
    }

    /// Counts the time since the last look. It is to be called before each question below.
    pub(crate) fn advance(&mut self, now: Now) {
        let passed = match &self.seen {
            Some(seen) if seen.boot == now.boot => now.up.saturating_sub(seen.up),
            // The record is older than this boot.
            Some(_) => now.up,
            None => Duration::ZERO,
        };
        // What is less than a second is left for the next look.
        let whole = Duration::from_secs(passed.as_secs());
        let up = now.up.saturating_sub(passed - whole);
        self.clock = self.clock.saturating_add(whole.as_secs().min(LONGEST_LEAP));
        self.seen = Some(Now { boot: now.boot, up });
        let clock = self.clock;
        self.served.retain(|served| clock - served.at < DAY);
        self.blocked_until = self.blocked_until.filter(|until| *until > clock);
    }

    /// The same, still in the boot of the last look.
    pub(crate) fn advance_in_boot(&mut self, up: Duration) {
        if let Some(Now { boot, .. }) = self.seen.clone() {
            self.advance(Now { boot, up });
        }
    }

    /// Whether the server may be asked: its answer may be any file that it had before. One that is
    /// settled would not be fetched.
    pub(crate) fn may_ask(&self) -> Gate {
        let settled = self.settled_target().map(|ended| ended.target.name());
        let reached = |served: &Served| {
            let is_settled = settled.as_ref() == Some(&served.name);
            let reserve = if is_settled { 0 } else { FOR_THE_FILE };
            self.reached(&served.name, MOST_OF_A_FILE - reserve)
        };
        self.gate(self.served.iter().filter_map(reached).max())
    }

    /// Whether a file may be fetched, or gone on with.
    pub(crate) fn may_fetch(&self, target: &Target) -> Gate {
        self.gate(self.reached(&target.name(), MOST_OF_A_FILE))
    }

    fn gate(&self, of_a_file: Option<u64>) -> Gate {
        if let Some(until) = self.blocked_until {
            return self.shut(until, "the server has blocked this payload");
        }
        let of_all: Vec<u64> = self.served.iter().map(|served| served.at).collect();
        match of_a_file.max(earliest_of_most(&of_all, MOST_OF_ALL)) {
            Some(at) => self.shut(
                at.saturating_add(DAY),
                "the server has sent the same file as often as it may in a day",
            ),
            None => Gate::Open,
        }
    }

    /// Where so many requests were answered with a file: after which of them there is room again.
    fn reached(&self, name: &str, most: usize) -> Option<u64> {
        let of_file = self.served.iter().filter(|served| served.name == name);
        earliest_of_most(&of_file.map(|served| served.at).collect::<Vec<_>>(), most)
    }

    fn shut(&self, until: u64, why: &str) -> Gate {
        Gate::Shut { left: Duration::from_secs(until.saturating_sub(self.clock)), why: why.into() }
    }

    /// A request was answered with this file: the one that found it, each that fetched it or went
    /// on with it. In the turnkey protocol the answer that offers it counts as well: otherwise a
    /// file that never comes would be asked for without end.
    pub(crate) fn served(&mut self, target: &Target) {
        if self.served.len() >= MOST_OF_ALL {
            self.served.remove(0);
        }
        self.served.push(Served { name: target.name(), at: self.clock });
    }

    /// Writes down what an answer means for later ones; says what it comes to then.
    pub(crate) fn hear(&mut self, heard: Heard) -> Heard {
        let not_yet = std::mem::take(&mut self.not_yet);
        match heard {
            Heard::NotYet { .. } if not_yet < MOST_NOT_YET => self.not_yet = not_yet + 1,
            Heard::NotYet { why } => {
                let why = format!("{why}, and was after {MOST_NOT_YET} more requests");
                return Heard::Nothing { why };
            }
            Heard::Blocked { .. } => self.blocked_until = Some(self.clock.saturating_add(DAY)),
            _ => {}
        }
        heard
    }

    /// This file is to be installed.
    pub(crate) fn take(&mut self, target: Target) {
        self.taken = Some(target);
    }

    /// The file that was taken last.
    pub(crate) fn taken(&self) -> Option<&Target> {
        self.taken.as_ref()
    }

    /// The upgrade with the file of this name has ended.
    pub(crate) fn end(&mut self, name: &str, how: Ending) {
        if let Some(target) = self.taken.take_if(|target| target.name() == name) {
            self.ended = Some(Ended { target, how, at: self.clock });
        }
    }

    /// How the upgrade with this very file ended, if it is not to be tried again.
    pub(crate) fn settled(&self, target: &Target) -> Option<Ending> {
        self.settled_target().filter(|ended| ended.target == *target).map(|ended| ended.how)
    }

    /// What the next request says, so that a server which sees to it does not send again what is
    /// settled.
    pub(crate) fn validators(&self) -> Validators {
        self.settled_target().map(|ended| ended.target.validators()).unwrap_or_default()
    }

    fn settled_target(&self) -> Option<&Ended> {
        self.ended.as_ref().filter(|ended| {
            let holds = match ended.how {
                Ending::Installed => true,
                Ending::Refused => self.clock.saturating_sub(ended.at) < REFUSED,
                Ending::Failed => false,
            };
            holds && ended.target.is_certain()
        })
    }
}

#[cfg(test)]
mod tests;
