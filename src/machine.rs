//! The upgrade as a pure state machine: `State` × `Event` → `State` and `Action`s. No I/O, no
//! clock, no channel's words.
//!
//! The table of all transitions stands in docs/design/machine.md and is checked against this code
//! by a test. [`State::resume`] answers what a freshly started daemon does with what it finds;
//! every combination has an answer.

mod change;
mod failures;
mod resume;

use serde::{Deserialize, Serialize};

use crate::model::version::Version;
use crate::model::{
    Attempt, Change, ChangeTerms, ComponentName, Conclusion, Confirm, Deferral, Evidence, Failure,
    FailureKind, Origin, Outcome, PackageSummary, Phase, PhaseDuration, ProgramDigest, Step, Swap,
    Terms, Upgrade, Verdict,
};

pub(crate) use failures::boots_used_up;
pub(crate) use resume::replaced_by_hand;
pub use resume::{Found, Ruled};

/// How often a restart is asked for, by one daemon after the other, before it counts as one that
/// never comes: where the boot id never changes (a container has its host's), the evidence of the
/// restart would be awaited for ever.
const MOST_RESTART_REQUESTS: u32 = 3;

/// What is said where the old program came back to its path and its restart did not come.
const NOT_RESTARTED: &str = "the old program is at its path, but was not restarted, so that the new one may run until the next restart";

/// Where an upgrade is, with all that must be known there. From `Checking` on the journal holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the phases are documented on `Phase`, the data on its types")]
pub enum State {
    Idle,
    Preparing {
        upgrade: Upgrade,
    },
    Receiving {
        upgrade: Upgrade,
    },
    Checking {
        upgrade: Upgrade,
    },
    Ready {
        upgrade: Upgrade,
        package: PackageSummary,
    },
    /// It may not be installed yet.
    Deferred {
        upgrade: Upgrade,
        package: PackageSummary,
        deferral: Deferral,
    },
    Installing {
        upgrade: Upgrade,
        swap: Swap,
    },
    Restarting {
        upgrade: Upgrade,
        swap: Swap,
        /// How often the restart was asked for.
        requests: u32,
    },
    Trial {
        upgrade: Upgrade,
        swap: Swap,
        attempt: Attempt,
        /// Who has confirmed that the new program works.
        confirmed_by: Option<String>,
    },
    /// The verdict is why the old program comes back.
    Reverting {
        upgrade: Upgrade,
        swap: Swap,
        verdict: Verdict,
    },
    /// The old program is back at the path and is being restarted.
    RestartingBack {
        upgrade: Upgrade,
        swap: Swap,
        verdict: Verdict,
        /// How often the restart was asked for.
        requests: u32,
    },
    /// Another updater installs, or what it has installed is on trial, or it goes back.
    Changing {
        upgrade: Upgrade,
        change: Change,
        step: Step,
    },
    Concluded {
        upgrade: Upgrade,
        conclusion: Conclusion,
    },
}

/// What happens to an upgrade.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Somebody asks for an upgrade.
    Begin(Upgrade),
    /// A transfer knows what it is going to receive.
    Receive {
        /// The file's name as the peer gave it.
        file_name: Option<String>,
        /// What it is for, where that can be told.
        component: Option<ComponentName>,
        /// The version of that which runs.
        from: Option<Version>,
    },
    /// What comes of the file is kept over restarts from now on.
    Kept,
    /// What was to be received did not arrive as announced. The peer may begin again.
    ReceptionFailed,
    /// The file was received whole.
    Received {
        /// Its name: the peer may have given it another one since it began.
        file_name: Option<String>,
    },
    /// All checks passed.
    CheckPassed(PackageSummary),
    /// The upgrade can't go on, or is given up, before the word to install.
    Fail(Failure),
    /// It may not be installed yet.
    Later(Deferral),
    /// Somebody who may does not want it any more, before the word to install.
    Cancel(Failure),
    /// The word to install.
    Start {
        /// Digest of the program at the path.
        old: Option<ProgramDigest>,
        /// The boot and the invocation that run.
        origin: Origin,
        /// What restart and trial will be.
        terms: Terms,
    },
    /// The word to install by another updater.
    StartChange {
        /// The boot that runs.
        origin: Origin,
        /// What was agreed.
        terms: Box<ChangeTerms>,
    },
    /// The new program is at the path, durably; or another updater has installed.
    Swapped,
    /// The programs were not swapped; the old one is at the path. Or another updater has changed
    /// nothing.
    SwapFailed(Failure),
    /// The restart took place: the evidence of it was seen, this boot and invocation.
    Restarted(Origin),
    /// The restart was refused, did not come in time, or can't be asked for.
    RestartFailed(Failure),
    /// The trial ended well.
    Healthy(Evidence),
    /// The trial ended badly.
    Unhealthy(Verdict),
    /// A person says that the new program works.
    Confirm(String),
    /// A person ends the trial: the old program comes back.
    RollBack(Failure),
    /// A person wants the program back that was there before the last upgrade.
    GoBack {
        /// The way back is an upgrade of its own.
        upgrade: Upgrade,
        /// What is at the path, and what comes back.
        swap: Box<Swap>,
        /// Who asked.
        failure: Failure,
    },
    /// A person wants another updater to go back to what was there before.
    TakeBack {
        /// The way back is an upgrade of its own.
        upgrade: Upgrade,
        /// What goes.
        change: Box<Change>,
        /// Who asked.
        failure: Failure,
    },
    /// The old program is at the path again, durably; or another updater has gone back.
    Reverted {
        /// Where that took place, if a restart is needed; none is when the new program never ran.
        restart_from: Option<Origin>,
    },
    /// The old program could not be put back.
    RevertFailed(Failure),
    /// The report's receiver has seen it.
    Acknowledge,
}

/// What the engine does about it, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Throw away what lies in the staging area.
    EmptyStage,
    /// Throw away what is not received whole, and what was checked; who holds another file that is
    /// whole still has it.
    DropReceptions,
    /// Write the state to the journal, durably, before anything that follows.
    Record,
    /// Prove the staged file.
    Check,
    /// Swap the programs.
    Swap,
    /// Ask for the restart and watch for its evidence.
    Restart,
    /// Gather the evidence of the trial.
    Try,
    /// Put the old program back.
    SwapBack,
    /// Make the report, keep it in the history, and until it is acknowledged.
    Report,
    /// Forget the report: it was acknowledged.
    Forget,
}

/// An event that the state does not allow; the state is handed back unchanged.
#[derive(Debug)]
pub struct Refused {
    /// The state as it was.
    pub state: State,
    /// `busy` for a second request, `cancelled` for a step of an upgrade that is over, `internal`
    /// otherwise.
    pub failure: Failure,
}

/// The next state, and what to do.
pub type Transition = Result<(State, Vec<Action>), Box<Refused>>;

impl State {
    /// The phase that people and peers are told.
    pub const fn phase(&self) -> Phase {
        match self {
            Self::Idle => Phase::Idle,
            Self::Preparing { .. } => Phase::Preparing,
            Self::Receiving { .. } => Phase::Receiving,
            Self::Checking { .. } => Phase::Checking,
            Self::Ready { .. } => Phase::Ready,
            Self::Deferred { .. } => Phase::Deferred,
            Self::Installing { .. } => Phase::Installing,
            Self::Restarting { .. } | Self::RestartingBack { .. } => Phase::Restarting,
            Self::Trial { .. } => Phase::Trial,
            Self::Reverting { .. } => Phase::Reverting,
            Self::Changing { step, .. } => step.phase(),
            Self::Concluded { .. } => Phase::Concluded,
        }
    }

    /// The upgrade, unless idle.
    pub const fn upgrade(&self) -> Option<&Upgrade> {
        match self {
            Self::Idle => None,
            Self::Preparing { upgrade }
            | Self::Receiving { upgrade }
            | Self::Checking { upgrade }
            | Self::Ready { upgrade, .. }
            | Self::Deferred { upgrade, .. }
            | Self::Installing { upgrade, .. }
            | Self::Restarting { upgrade, .. }
            | Self::Trial { upgrade, .. }
            | Self::Reverting { upgrade, .. }
            | Self::RestartingBack { upgrade, .. }
            | Self::Changing { upgrade, .. }
            | Self::Concluded { upgrade, .. } => Some(upgrade),
        }
    }

    /// Adds to the durations of the phases that are over.
    pub fn add_duration(&mut self, duration: PhaseDuration) {
        match self {
            Self::Idle => {}
            Self::Preparing { upgrade }
            | Self::Receiving { upgrade }
            | Self::Checking { upgrade }
            | Self::Ready { upgrade, .. }
            | Self::Deferred { upgrade, .. }
            | Self::Installing { upgrade, .. }
            | Self::Restarting { upgrade, .. }
            | Self::Trial { upgrade, .. }
            | Self::Reverting { upgrade, .. }
            | Self::RestartingBack { upgrade, .. }
            | Self::Changing { upgrade, .. }
            | Self::Concluded { upgrade, .. } => upgrade.phases.push(duration),
        }
    }

    /// What is being installed, once that is known.
    pub const fn package(&self) -> Option<&PackageSummary> {
        match self {
            Self::Ready { package, .. } | Self::Deferred { package, .. } => Some(package),
            Self::Installing { swap, .. }
            | Self::Restarting { swap, .. }
            | Self::Trial { swap, .. }
            | Self::Reverting { swap, .. }
            | Self::RestartingBack { swap, .. } => Some(&swap.package),
            Self::Changing { change, .. } => Some(&change.package),
            Self::Concluded { conclusion, .. } => conclusion.package.as_ref(),
            Self::Idle
            | Self::Preparing { .. }
            | Self::Receiving { .. }
            | Self::Checking { .. } => None,
        }
    }

    /// What an upgrade waits for that was put off.
    pub const fn deferral(&self) -> Option<&Deferral> {
        match self {
            Self::Deferred { deferral, .. } => Some(deferral),
            _ => None,
        }
    }

    /// The swap that is under way or on trial.
    pub const fn swap(&self) -> Option<&Swap> {
        match self {
            Self::Installing { swap, .. }
            | Self::Restarting { swap, .. }
            | Self::Trial { swap, .. }
            | Self::Reverting { swap, .. }
            | Self::RestartingBack { swap, .. } => Some(swap),
            _ => None,
        }
    }

    /// The change by another updater that is under way or on trial.
    pub const fn change(&self) -> Option<&Change> {
        match self {
            Self::Changing { change, .. } => Some(change),
            _ => None,
        }
    }

    /// The next state and what to do, or the state back with the reason why not.
    pub fn step(self, event: Event) -> Transition {
        use Action::{
            Check, EmptyStage, Forget, Record, Report, Restart, Swap as SwapPrograms, SwapBack, Try,
        };
        let next = match (self, event) {
            (Self::Idle | Self::Concluded { .. }, Event::Begin(upgrade)) => {
                (Self::Preparing { upgrade }, vec![EmptyStage])
            }
            (Self::Preparing { upgrade: old }, Event::Begin(new))
                if old.request.is_by_requester_of(&new.request) =>
            {
                (
                    Self::Preparing { upgrade: Upgrade { request: new.request, ..old } },
                    vec![EmptyStage],
                )
            }
            (
                Self::Receiving { upgrade: old } | Self::Ready { upgrade: old, .. },
                Event::Begin(upgrade),
            ) if old.request.is_by_requester_of(&upgrade.request) => {
                (Self::Preparing { upgrade }, vec![EmptyStage])
            }
            (
                Self::Preparing { upgrade }
                | Self::Receiving { upgrade }
                | Self::Ready { upgrade, .. },
                Event::Receive { file_name, component, from },
            ) => {
                let upgrade = Upgrade { file_name, component, from, ..upgrade };
                (Self::Receiving { upgrade }, vec![Action::DropReceptions])
            }
            (Self::Preparing { upgrade } | Self::Receiving { upgrade }, Event::ReceptionFailed) => {
                (Self::Preparing { upgrade }, vec![EmptyStage])
            }
            (state @ Self::Receiving { .. }, Event::Kept) => (state, vec![Record]),
            (Self::Receiving { upgrade }, Event::Received { file_name }) => {
                let upgrade = Upgrade { file_name: file_name.or(upgrade.file_name), ..upgrade };
                (Self::Checking { upgrade }, vec![Record, Check])
            }
            (Self::Checking { upgrade }, Event::CheckPassed(package)) => {
                (Self::Ready { upgrade, package }, vec![])
            }
            (Self::Ready { upgrade, package }, Event::Later(deferral)) => {
                (Self::Deferred { upgrade, package, deferral }, vec![Record])
            }
            // Where it lies and how long it waits stays as it was.
            (Self::Deferred { upgrade, package, deferral }, Event::Later(Deferral { why, .. })) => {
                (
                    Self::Deferred { upgrade, package, deferral: Deferral { why, ..deferral } },
                    vec![],
                )
            }
            (Self::Deferred { upgrade, deferral, .. }, Event::CheckPassed(package)) => {
                (Self::Deferred { upgrade, package, deferral }, vec![])
            }
            (
                Self::Preparing { upgrade }
                | Self::Receiving { upgrade }
                | Self::Checking { upgrade },
                Event::Fail(failure) | Event::Cancel(failure),
            ) => (failed(upgrade, None, failure.into()), vec![EmptyStage, Report]),
            (
                Self::Ready { upgrade, package } | Self::Deferred { upgrade, package, .. },
                Event::Fail(failure) | Event::Cancel(failure),
            ) => (failed(upgrade, Some(package), failure.into()), vec![EmptyStage, Report]),
            (
                Self::Ready { upgrade, package } | Self::Deferred { upgrade, package, .. },
                Event::Start { old, origin, terms },
            ) => (
                Self::Installing { upgrade, swap: Swap { package, old, origin, terms } },
                vec![Record, SwapPrograms],
            ),
            (
                Self::Ready { upgrade, package } | Self::Deferred { upgrade, package, .. },
                Event::StartChange { origin, terms },
            ) => {
                let change = Change { package, origin, terms: *terms };
                let state = Self::Changing { upgrade, change, step: Step::Installing };
                (state, vec![Record, SwapPrograms])
            }
            (Self::Idle | Self::Concluded { .. }, Event::TakeBack { upgrade, change, failure }) => {
                change::go_back(upgrade, *change, failure.into())
            }
            (Self::Changing { upgrade, change, step }, event) => {
                match change::step(upgrade, change, step, event) {
                    Ok(next) => next,
                    Err(refused) => {
                        let (state, event) = *refused;
                        return Err(Box::new(refuse(state, &event)));
                    }
                }
            }
            (Self::Installing { upgrade, swap }, Event::SwapFailed(failure)) => {
                (failed(upgrade, Some(swap.package), failure.into()), vec![EmptyStage, Report])
            }
            (Self::Installing { upgrade, swap }, Event::Swapped) => {
                (Self::Restarting { upgrade, swap, requests: 1 }, vec![Record, Restart])
            }
            (Self::Restarting { upgrade, swap, .. }, Event::Restarted(origin)) => {
                let attempt = Attempt::first(&origin.boot_id);
                (Self::Trial { upgrade, swap, attempt, confirmed_by: None }, vec![Record, Try])
            }
            (Self::Restarting { upgrade, swap, .. }, Event::RestartFailed(failure))
            | (Self::Trial { upgrade, swap, .. }, Event::RollBack(failure)) => {
                (Self::Reverting { upgrade, swap, verdict: failure.into() }, vec![Record, SwapBack])
            }
            (Self::Trial { upgrade, swap, .. }, Event::Unhealthy(verdict)) => {
                (Self::Reverting { upgrade, swap, verdict }, vec![Record, SwapBack])
            }
            (Self::Trial { upgrade, swap, attempt, .. }, Event::Confirm(by)) => {
                (Self::Trial { upgrade, swap, attempt, confirmed_by: Some(by) }, vec![Record])
            }
            (Self::Trial { upgrade, swap, attempt, confirmed_by }, Event::Healthy(evidence))
                if confirmed_by.is_some() || swap.terms.confirm == Confirm::Auto =>
            {
                (
                    succeeded(
                        upgrade,
                        swap,
                        Evidence { boots: attempt.number, confirmed_by, ..evidence },
                    ),
                    vec![Report],
                )
            }
            (Self::Idle | Self::Concluded { .. }, Event::GoBack { upgrade, swap, failure }) => (
                Self::Reverting { upgrade, swap: *swap, verdict: failure.into() },
                vec![Record, SwapBack],
            ),
            (
                Self::Reverting { upgrade, swap, verdict },
                Event::Reverted { restart_from: Some(origin) },
            ) => (
                Self::RestartingBack {
                    upgrade,
                    swap: Swap { origin, ..swap },
                    verdict,
                    requests: 1,
                },
                vec![Record, Restart],
            ),
            (
                Self::Reverting { upgrade, swap, verdict },
                Event::Reverted { restart_from: None },
            )
            | (Self::RestartingBack { upgrade, swap, verdict, .. }, Event::Restarted(_)) => {
                (rolled_back(upgrade, swap, verdict), vec![Report])
            }
            (
                Self::Reverting { upgrade, swap, verdict }
                | Self::RestartingBack { upgrade, swap, verdict, .. },
                Event::RestartFailed(second),
            ) => (rolled_back(upgrade, swap, also(verdict, NOT_RESTARTED, &second)), vec![Report]),
            (Self::Reverting { upgrade, swap, verdict }, Event::RevertFailed(second)) => (
                failed(
                    upgrade,
                    Some(swap.package),
                    also(verdict, "the old program could not be put back", &second),
                ),
                vec![Report],
            ),
            (Self::Concluded { .. }, Event::Acknowledge) => (Self::Idle, vec![Forget]),
            (state, event) => return Err(Box::new(refuse(state, &event))),
        };
        Ok(next)
    }
}

fn succeeded(upgrade: Upgrade, swap: Swap, evidence: Evidence) -> State {
    let conclusion = Conclusion {
        package: Some(swap.package),
        outcome: Outcome::Succeeded,
        failure: None,
        evidence: Some(evidence),
        program_log: Vec::new(),
    };
    State::Concluded { upgrade, conclusion }
}

fn failed(upgrade: Upgrade, package: Option<PackageSummary>, verdict: Verdict) -> State {
    unsuccessful(upgrade, package, Outcome::Failed, verdict)
}

/// Of a program that was installed over itself nothing was rolled back: it is there still.
fn rolled_back(upgrade: Upgrade, swap: Swap, verdict: Verdict) -> State {
    let outcome = if swap.is_over_itself() { Outcome::Failed } else { Outcome::RolledBack };
    unsuccessful(upgrade, Some(swap.package), outcome, verdict)
}

fn unsuccessful(
    upgrade: Upgrade,
    package: Option<PackageSummary>,
    outcome: Outcome,
    verdict: Verdict,
) -> State {
    let Verdict { failure, program_log } = verdict;
    State::Concluded {
        upgrade,
        conclusion: Conclusion {
            package,
            outcome,
            failure: Some(failure),
            evidence: None,
            program_log,
        },
    }
}

fn also(mut verdict: Verdict, what: &str, second: &Failure) -> Verdict {
    verdict.failure.causes.push(format!("besides, {what}: {second}"));
    verdict
}

fn refuse(state: State, event: &Event) -> Refused {
    let failure = match event {
        Event::Begin(_) | Event::GoBack { .. } | Event::TakeBack { .. } => {
            let who = state.upgrade().map(|upgrade| {
                format!(" ({}, {})", upgrade.request.channel, upgrade.request.requester)
            });
            Failure::new(
                FailureKind::Busy,
                format!("another upgrade is {}{}", state.phase(), who.unwrap_or_default()),
            )
        }
        Event::Receive { .. }
        | Event::ReceptionFailed
        | Event::Kept
        | Event::Received { .. }
        | Event::Later(_)
        | Event::Cancel(_)
        | Event::Start { .. }
        | Event::StartChange { .. }
        | Event::Fail(_) => Failure::new(
            FailureKind::Cancelled,
            format!("the upgrade is {} and can't take this step", state.phase()),
        ),
        _ => Failure::new(
            FailureKind::Internal,
            format!("the machine is {} and has no transition for this event", state.phase()),
        ),
    };
    Refused { state, failure }
}

#[cfg(test)]
mod tests;
