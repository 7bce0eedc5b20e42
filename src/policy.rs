//! Whether an upgrade may begin, be installed, restart the machine: now, later, or not at all. A
//! person's hold, the maintenance window, a command that knows whether the payload is ready, free
//! space.
//!
//! [`ask`] is pure; [`Gatekeeper`] gathers what it is asked about, and is the only writer of the
//! hold's file. The room knows neither what an upgrade is nor who wants it. What goes back to the old
//! program is never asked about.

pub(crate) mod clock;
mod gatekeeper;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::config::Policy;
use crate::model::{Countdown, Failure, FailureKind, HoldStatus};

pub use gatekeeper::Gatekeeper;

/// Where an upgrade is when it asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Somebody wants to begin one.
    Begin,
    /// It is about to be installed.
    Install,
    /// It is installed, and the machine is about to restart. Whether the window is still open is no
    /// question any more.
    Restart,
}

/// What is known when somebody asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// A person insists.
    pub forced: bool,
    /// The hold, while there is one.
    pub hold: Option<HoldStatus>,
    /// The time of the day in UTC, where the clock can be trusted.
    pub time: Option<Duration>,
    /// What the readiness command says; nothing where there is none, or it was not asked yet.
    pub ready: Option<Result<(), String>>,
    /// Bytes that are free where the least are, if those are few.
    pub free: Option<u64>,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Go on.
    Now,
    /// Not now.
    Later(Later),
    /// Nor will it be by waiting.
    No(Failure),
}

/// Why not now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Later {
    /// What is waited for, for a person.
    pub why: String,
    /// When to ask again, at the latest.
    pub look_again: Duration,
    /// Whether a hold is waited for, of whose end somebody may have been told already.
    pub held: bool,
}

/// A clock that is set meanwhile moves the window.
const LOOK_AT_WINDOW: Duration = Duration::from_secs(10 * 60);
const LOOK_AT_CLOCK: Duration = Duration::from_secs(60);
const LOOK_AT_READINESS: Duration = Duration::from_secs(30);
/// Whoever releases a hold says so.
const LOOK_AT_HOLD: Duration = Duration::from_secs(10 * 60);

impl From<Later> for Failure {
    fn from(later: Later) -> Self {
        Self::new(FailureKind::NotNow, format!("no upgrade may begin now: {}", later.why))
    }
}

/// The answer that follows from what is known.
pub fn ask(policy: &Policy, moment: Moment, facts: &Facts) -> Answer {
    if moment != Moment::Restart
        && let Some(free) = facts.free.filter(|free| *free < policy.min_free_space.0)
    {
        return Answer::No(too_little(free, policy.min_free_space.0));
    }
    if facts.forced {
        return Answer::Now;
    }
    let later = hold(facts)
        .or_else(|| window(policy, facts).filter(|_| moment != Moment::Restart))
        .or_else(|| readiness(facts));
    later.map_or(Answer::Now, Answer::Later)
}

fn hold(facts: &Facts) -> Option<Later> {
    let hold = facts.hold.as_ref()?;
    let left = hold.seconds_left.map_or(LOOK_AT_HOLD, Duration::from_secs);
    let look_again = LOOK_AT_HOLD.min(Countdown::past(left));
    Some(Later { why: format!("upgrades are {hold}"), look_again, held: true })
}

fn window(policy: &Policy, facts: &Facts) -> Option<Later> {
    let windows = &policy.window_utc;
    let shown: Vec<String> = windows.iter().map(ToString::to_string).collect();
    let shown = shown.join(", ");
    let Some(time) = facts.time else {
        let why = format!(
            "the window {shown} UTC counts as closed, because the clock was not set since the boot"
        );
        let later = Later { why, look_again: LOOK_AT_CLOCK, held: false };
        return (!windows.is_empty()).then_some(later);
    };
    let opens_in = windows.iter().map(|window| window.opens_in(time)).min()?;
    let look_again = LOOK_AT_WINDOW.min(opens_in);
    let why = format!("the window {shown} UTC is closed");
    (!opens_in.is_zero()).then_some(Later { why, look_again, held: false })
}

fn readiness(facts: &Facts) -> Option<Later> {
    let Some(Err(why)) = &facts.ready else { return None };
    let why = format!("the payload is not ready: {why}");
    Some(Later { why, look_again: LOOK_AT_READINESS, held: false })
}

fn too_little(free: u64, wanted: u64) -> Failure {
    let sentence = format!("{free} bytes are free, and `min_free_space` wants {wanted}");
    Failure::new(FailureKind::NoSpace, sentence).with_hint(
        "free space on the file systems of the firmware and of the state, or lower `min_free_space` in the [policy] section",
    )
}
