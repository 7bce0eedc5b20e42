//! The upgrade as a pure state machine: `State` × `Event` → `State` and `Action`s. No I/O, no clock, no channel's words.
//!
//! The table of all transitions stands in docs/machine.md and is checked against this code by a test. [`State::resume`]
//! answers what a freshly started daemon does with what it finds; every combination has an answer.

use serde::{Deserialize, Serialize};

use crate::model::{Evidence, Failure, FailureKind, Outcome, PackageSummary, Phase, PhaseDuration, Request, UpgradeId};
use crate::package::digest::ProgramDigest;
use crate::package::version::Version;

/// What is known of an upgrade from its first moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upgrade {
    /// Its name.
    pub id: UpgradeId,
    /// Who asked, over what.
    pub request: Request,
    /// The version that ran when it began, where known.
    pub from: Option<Version>,
    /// When it began, RFC 3339. For people only.
    pub began: String,
    /// How long the phases that are over took.
    pub phases: Vec<PhaseDuration>,
}

/// Where the swap took place: what a restart changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// The kernel's boot id.
    pub boot_id: String,
    /// The invocation id of the program's unit, where one is named and ran.
    pub invocation: Option<String>,
}

impl Origin {
    /// Whether a restart lies between `before` and this.
    pub fn restarted_since(&self, before: &Self) -> bool {
        self.boot_id != before.boot_id || (self.invocation.is_some() && self.invocation != before.invocation)
    }
}

/// What is swapped for what, and where that took place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Swap {
    /// The new program's package.
    pub package: PackageSummary,
    /// Digest of the program that was at the path before; absent at the first installation.
    pub old: Option<ProgramDigest>,
    /// Boot and invocation in which the swap took place.
    pub origin: Origin,
}

impl Swap {
    fn side(&self, at_path: Option<ProgramDigest>) -> Side {
        if at_path == Some(self.package.program_digest) {
            if self.old == at_path { Side::Both } else { Side::New }
        } else if at_path == self.old {
            Side::Old
        } else {
            Side::Foreign
        }
    }
}

/// Whose program is at the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Old,
    New,
    /// A program was installed over itself.
    Both,
    Foreign,
}

/// How an upgrade ended, before it becomes a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conclusion {
    /// What was to be installed, where that was known.
    pub package: Option<PackageSummary>,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// What was seen after the restart.
    pub evidence: Option<Evidence>,
}

/// Where an upgrade is, with all that must be known there. From `Checking` on the journal holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "kebab-case", deny_unknown_fields)]
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
    Installing {
        upgrade: Upgrade,
        swap: Swap,
    },
    Restarting {
        upgrade: Upgrade,
        swap: Swap,
    },
    Trial {
        upgrade: Upgrade,
        swap: Swap,
    },
    /// The failure is why the old program comes back.
    Reverting {
        upgrade: Upgrade,
        swap: Swap,
        failure: Failure,
    },
    /// The old program is back at the path and is being restarted.
    RestartingBack {
        upgrade: Upgrade,
        swap: Swap,
        failure: Failure,
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
    Receive,
    /// The file was received whole.
    Received,
    /// All checks passed.
    CheckPassed(PackageSummary),
    /// The upgrade can't go on, or is given up, before the word to install.
    Fail(Failure),
    /// The word to install.
    Start {
        /// Digest of the program at the path.
        old: Option<ProgramDigest>,
        /// The boot and the invocation that run.
        origin: Origin,
    },
    /// The new program is at the path, durably.
    Swapped,
    /// The programs were not swapped; the old one is at the path.
    SwapFailed(Failure),
    /// The restart took place: the evidence of it was seen.
    Restarted,
    /// The restart was refused, did not come in time, or can't be asked for.
    RestartFailed(Failure),
    /// The trial ended well.
    Healthy(Evidence),
    /// The trial ended badly.
    Unhealthy(Failure),
    /// The old program is at the path again, durably.
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
    /// `busy` for a second request, `cancelled` for a step of an upgrade that is over, `internal` otherwise.
    pub failure: Failure,
}

/// The next state, and what to do.
pub type Transition = Result<(State, Vec<Action>), Box<Refused>>;

/// What a freshly started daemon finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The boot and the invocation that run; another one than the recorded one is a restart.
    pub origin: Origin,
    /// Digest of the program at the path; absent when there is none.
    pub at_path: Option<ProgramDigest>,
}

impl State {
    /// The phase that people and peers are told.
    pub const fn phase(&self) -> Phase {
        match self {
            Self::Idle => Phase::Idle,
            Self::Preparing { .. } => Phase::Preparing,
            Self::Receiving { .. } => Phase::Receiving,
            Self::Checking { .. } => Phase::Checking,
            Self::Ready { .. } => Phase::Ready,
            Self::Installing { .. } => Phase::Installing,
            Self::Restarting { .. } | Self::RestartingBack { .. } => Phase::Restarting,
            Self::Trial { .. } => Phase::Trial,
            Self::Reverting { .. } => Phase::Reverting,
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
            | Self::Installing { upgrade, .. }
            | Self::Restarting { upgrade, .. }
            | Self::Trial { upgrade, .. }
            | Self::Reverting { upgrade, .. }
            | Self::RestartingBack { upgrade, .. }
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
            | Self::Installing { upgrade, .. }
            | Self::Restarting { upgrade, .. }
            | Self::Trial { upgrade, .. }
            | Self::Reverting { upgrade, .. }
            | Self::RestartingBack { upgrade, .. }
            | Self::Concluded { upgrade, .. } => upgrade.phases.push(duration),
        }
    }

    /// What is being installed, once that is known.
    pub const fn package(&self) -> Option<&PackageSummary> {
        match self {
            Self::Ready { package, .. } => Some(package),
            Self::Installing { swap, .. }
            | Self::Restarting { swap, .. }
            | Self::Trial { swap, .. }
            | Self::Reverting { swap, .. }
            | Self::RestartingBack { swap, .. } => Some(&swap.package),
            Self::Concluded { conclusion, .. } => conclusion.package.as_ref(),
            Self::Idle | Self::Preparing { .. } | Self::Receiving { .. } | Self::Checking { .. } => None,
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

    /// The next state and what to do, or the state back with the reason why not.
    pub fn step(self, event: Event) -> Transition {
        use Action::{Check, EmptyStage, Forget, Record, Report, Restart, Swap as SwapPrograms, SwapBack, Try};
        let next = match (self, event) {
            (Self::Idle | Self::Concluded { .. }, Event::Begin(upgrade)) => (Self::Preparing { upgrade }, vec![EmptyStage]),
            (Self::Preparing { upgrade: old }, Event::Begin(new)) if old.request.is_by_requester_of(&new.request) => {
                (Self::Preparing { upgrade: Upgrade { request: new.request, ..old } }, vec![EmptyStage])
            }
            (Self::Receiving { upgrade: old } | Self::Ready { upgrade: old, .. }, Event::Begin(upgrade))
                if old.request.is_by_requester_of(&upgrade.request) =>
            {
                (Self::Preparing { upgrade }, vec![EmptyStage])
            }
            (Self::Preparing { upgrade } | Self::Receiving { upgrade } | Self::Ready { upgrade, .. }, Event::Receive) => {
                (Self::Receiving { upgrade }, vec![EmptyStage])
            }
            (Self::Receiving { upgrade }, Event::Received) => (Self::Checking { upgrade }, vec![Record, Check]),
            (Self::Checking { upgrade }, Event::CheckPassed(package)) => (Self::Ready { upgrade, package }, vec![]),
            (Self::Preparing { upgrade } | Self::Receiving { upgrade } | Self::Checking { upgrade }, Event::Fail(failure)) => {
                (failed(upgrade, None, failure), vec![EmptyStage, Report])
            }
            (Self::Ready { upgrade, package }, Event::Fail(failure)) => (failed(upgrade, Some(package), failure), vec![EmptyStage, Report]),
            (Self::Ready { upgrade, package }, Event::Start { old, origin }) => {
                (Self::Installing { upgrade, swap: Swap { package, old, origin } }, vec![Record, SwapPrograms])
            }
            (Self::Installing { upgrade, swap }, Event::SwapFailed(failure)) => {
                (failed(upgrade, Some(swap.package), failure), vec![EmptyStage, Report])
            }
            (Self::Installing { upgrade, swap }, Event::Swapped) => (Self::Restarting { upgrade, swap }, vec![Record, Restart]),
            (Self::Restarting { upgrade, swap }, Event::Restarted) => (Self::Trial { upgrade, swap }, vec![Record, Try]),
            (Self::Restarting { upgrade, swap }, Event::RestartFailed(failure))
            | (Self::Trial { upgrade, swap }, Event::Unhealthy(failure)) => {
                (Self::Reverting { upgrade, swap, failure }, vec![Record, SwapBack])
            }
            (Self::Trial { upgrade, swap }, Event::Healthy(evidence)) => (
                Self::Concluded {
                    upgrade,
                    conclusion: Conclusion {
                        package: Some(swap.package),
                        outcome: Outcome::Succeeded,
                        failure: None,
                        evidence: Some(evidence),
                    },
                },
                vec![Report],
            ),
            (Self::Reverting { upgrade, swap, failure }, Event::Reverted { restart_from: Some(origin) }) => {
                (Self::RestartingBack { upgrade, swap: Swap { origin, ..swap }, failure }, vec![Record, Restart])
            }
            (Self::Reverting { upgrade, swap, failure }, Event::Reverted { restart_from: None })
            | (Self::RestartingBack { upgrade, swap, failure }, Event::Restarted) => (rolled_back(upgrade, swap, failure), vec![Report]),
            (
                Self::Reverting { upgrade, swap, failure } | Self::RestartingBack { upgrade, swap, failure },
                Event::RestartFailed(second),
            ) => {
                (rolled_back(upgrade, swap, also(failure, "the old program is at its path, but was not restarted", &second)), vec![Report])
            }
            (Self::Reverting { upgrade, swap, failure }, Event::RevertFailed(second)) => {
                (failed(upgrade, Some(swap.package), also(failure, "the old program could not be put back", &second)), vec![Report])
            }
            (Self::Concluded { .. }, Event::Acknowledge) => (Self::Idle, vec![Forget]),
            (state, event) => return Err(Box::new(refuse(state, &event))),
        };
        Ok(next)
    }

    /// What a freshly started daemon does with a state that the journal holds.
    ///
    /// | journal | the program at the path | restarted | then |
    /// |---|---|---|---|
    /// | before the swap (checking, ready) | any | any | failed: `interrupted` |
    /// | installing | old | any | failed: `interrupted` |
    /// | installing, restarting | new | no | restart |
    /// | installing, restarting | new | yes | trial |
    /// | trial | new | any | trial |
    /// | restarting, trial | old | any | rolled back: `interrupted` |
    /// | reverting | new | any | put the old one back |
    /// | reverting | old | any | restart back |
    /// | restarting back | old | no | restart back |
    /// | restarting back | old | yes | rolled back |
    /// | restarting back | new | any | put the old one back |
    /// | any after the swap began | old and new are the same | any | as if it were new, but never put back again |
    /// | any after the swap began | another one | any | failed: `install-failed` |
    pub fn resume(self, found: &Found) -> (Self, Vec<Action>) {
        use Action::{EmptyStage, Record, Report, Restart, SwapBack, Try};
        let side = self.swap().map_or(Side::Foreign, |swap| swap.side(found.at_path));
        let restarted = self.swap().is_some_and(|swap| found.origin.restarted_since(&swap.origin));
        let side = match (&self, side) {
            // It was put back already; nothing at the path can tell.
            (Self::Reverting { .. } | Self::RestartingBack { .. }, Side::Both) => Side::Old,
            (_, Side::Both) => Side::New,
            (_, side) => side,
        };
        match (self, side, restarted) {
            (state @ (Self::Idle | Self::Concluded { .. }), ..) => (state, vec![EmptyStage]),
            (Self::Preparing { upgrade } | Self::Receiving { upgrade } | Self::Checking { upgrade }, ..) => {
                (failed(upgrade, None, interrupted()), vec![EmptyStage, Report])
            }
            (Self::Ready { upgrade, package }, ..) => (failed(upgrade, Some(package), interrupted()), vec![EmptyStage, Report]),
            (Self::Installing { upgrade, swap }, Side::Old, _) => {
                (failed(upgrade, Some(swap.package), interrupted()), vec![EmptyStage, Report])
            }
            (Self::Installing { upgrade, swap } | Self::Restarting { upgrade, swap }, Side::New, false) => {
                (Self::Restarting { upgrade, swap }, vec![Record, Restart])
            }
            (Self::Installing { upgrade, swap } | Self::Restarting { upgrade, swap }, Side::New, true)
            | (Self::Trial { upgrade, swap }, Side::New, _) => (Self::Trial { upgrade, swap }, vec![Record, Try]),
            (Self::Restarting { upgrade, swap } | Self::Trial { upgrade, swap }, Side::Old, _) => {
                (rolled_back(upgrade, swap, put_back_meanwhile()), vec![EmptyStage, Report])
            }
            (Self::Reverting { upgrade, swap, failure } | Self::RestartingBack { upgrade, swap, failure }, Side::New, _) => {
                (Self::Reverting { upgrade, swap, failure }, vec![Record, SwapBack])
            }
            (Self::Reverting { upgrade, swap, failure }, Side::Old, _)
            | (Self::RestartingBack { upgrade, swap, failure }, Side::Old, false) => {
                let swap = Swap { origin: found.origin.clone(), ..swap };
                (Self::RestartingBack { upgrade, swap, failure }, vec![Record, Restart])
            }
            (Self::RestartingBack { upgrade, swap, failure }, Side::Old, true) => {
                (rolled_back(upgrade, swap, failure), vec![EmptyStage, Report])
            }
            (
                Self::Installing { upgrade, swap }
                | Self::Restarting { upgrade, swap }
                | Self::Trial { upgrade, swap }
                | Self::Reverting { upgrade, swap, .. }
                | Self::RestartingBack { upgrade, swap, .. },
                Side::Foreign | Side::Both,
                _,
            ) => (failed(upgrade, Some(swap.package), replaced_by_hand()), vec![EmptyStage, Report]),
        }
    }
}

fn failed(upgrade: Upgrade, package: Option<PackageSummary>, failure: Failure) -> State {
    let conclusion = Conclusion { package, outcome: Outcome::Failed, failure: Some(failure), evidence: None };
    State::Concluded { upgrade, conclusion }
}

fn rolled_back(upgrade: Upgrade, swap: Swap, failure: Failure) -> State {
    let conclusion = Conclusion { package: Some(swap.package), outcome: Outcome::RolledBack, failure: Some(failure), evidence: None };
    State::Concluded { upgrade, conclusion }
}

fn interrupted() -> Failure {
    Failure::new(FailureKind::Interrupted, "the daemon was stopped before the program was swapped; the old program was not touched")
}

fn put_back_meanwhile() -> Failure {
    Failure::new(FailureKind::Interrupted, "the old program was put back while the daemon did not run")
}

fn replaced_by_hand() -> Failure {
    Failure::new(FailureKind::InstallFailed, "the program at the path is neither the old nor the new one: something else replaced it")
}

fn also(mut failure: Failure, what: &str, second: &Failure) -> Failure {
    failure.causes.push(format!("and {what}: {second}"));
    failure
}

fn refuse(state: State, event: &Event) -> Refused {
    let failure = match event {
        Event::Begin(_) => {
            let who = state.upgrade().map(|upgrade| format!(" ({}, {})", upgrade.request.channel, upgrade.request.requester));
            Failure::new(FailureKind::Busy, format!("another upgrade is {}{}", state.phase(), who.unwrap_or_default()))
        }
        Event::Receive | Event::Received | Event::Start { .. } | Event::Fail(_) => {
            Failure::new(FailureKind::Cancelled, format!("the upgrade is {} and can't take this step", state.phase()))
        }
        _ => Failure::new(FailureKind::Internal, format!("the machine is {} and has no transition for this event", state.phase())),
    };
    Refused { state, failure }
}

#[cfg(test)]
mod tests;
