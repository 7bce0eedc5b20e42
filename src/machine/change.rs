//! A change by another updater, from the word to install on: the same phases and events as a swap,
//! with what that updater can and can't do.
//!
//! Nothing here is a promise against a power cut: the updater gives its own. What is promised is
//! that nobody is told of a success that was not seen.

use super::failures::{boots_used_up, restart_never_came};
use super::{Action, Event, MOST_RESTART_REQUESTS, NOT_RESTARTED, State, also, unsuccessful};
use crate::model::{
    Attempt, Change, Conclusion, Confirm, Evidence, Origin, Outcome, Phase, Step, Upgrade, Verdict,
};

impl Step {
    /// The phase that people and peers are told.
    pub(super) const fn phase(&self) -> Phase {
        match self {
            Self::Installing => Phase::Installing,
            Self::Restarting { .. } | Self::RestartingBack { .. } => Phase::Restarting,
            Self::Trial { .. } => Phase::Trial,
            Self::Reverting { .. } => Phase::Reverting,
        }
    }
}

type Next = (State, Vec<Action>);

/// The next state, or state and event back where there is no transition.
pub(super) fn step(
    upgrade: Upgrade,
    change: Change,
    step: Step,
    event: Event,
) -> Result<Next, Box<(State, Event)>> {
    use Action::{EmptyStage, Record, Report};
    Ok(match (step, event) {
        (Step::Installing, Event::Swapped) => installed(upgrade, change),
        (Step::Installing, Event::SwapFailed(failure)) => {
            (failed(upgrade, change, failure.into()), vec![EmptyStage, Report])
        }
        (Step::Installing | Step::Trial { .. }, Event::Unhealthy(verdict)) => {
            go_back(upgrade, change, verdict)
        }
        (Step::Restarting { .. }, Event::Restarted(origin)) => on_trial(upgrade, change, &origin),
        (Step::Restarting { .. }, Event::RestartFailed(failure))
        | (Step::Trial { .. }, Event::RollBack(failure)) => {
            go_back(upgrade, change, failure.into())
        }
        (Step::Trial { attempt, .. }, Event::Confirm(by)) => {
            let step = Step::Trial { attempt, confirmed_by: Some(by) };
            (State::Changing { upgrade, change, step }, vec![Record])
        }
        (Step::Trial { attempt, confirmed_by }, Event::Healthy(evidence))
            if confirmed_by.is_some() || change.terms.confirm == Confirm::Auto =>
        {
            let evidence = Evidence { boots: attempt.number, confirmed_by, ..evidence };
            (succeeded(upgrade, change, evidence), vec![EmptyStage, Report])
        }
        (Step::Reverting { verdict }, Event::Reverted { restart_from: Some(origin) }) => {
            let change = Change { origin, ..change };
            let step = Step::RestartingBack { verdict, requests: 1 };
            (State::Changing { upgrade, change, step }, vec![Record, Action::Restart])
        }
        (Step::Reverting { verdict }, Event::Reverted { restart_from: None })
        | (Step::RestartingBack { verdict, .. }, Event::Restarted(_)) => {
            (rolled_back(upgrade, change, verdict), vec![EmptyStage, Report])
        }
        (Step::Reverting { verdict }, Event::RevertFailed(second)) => {
            let verdict = also(verdict, "the updater could not go back", &second);
            (failed(upgrade, change, verdict), vec![EmptyStage, Report])
        }
        (Step::RestartingBack { verdict, .. }, Event::RestartFailed(second)) => {
            let verdict = also(verdict, NOT_RESTARTED, &second);
            (rolled_back(upgrade, change, verdict), vec![EmptyStage, Report])
        }
        (step, event) => return Err(Box::new((State::Changing { upgrade, change, step }, event))),
    })
}

/// What a freshly started daemon does with a change that it finds, in the boot that runs.
///
/// | step | restarted | then |
/// |---|---|---|
/// | installing, reverting | any | look how the updater ended, or wait for it; one that was never begun changed nothing |
/// | restarting | no | restart; asked for too often: go back |
/// | restarting | yes | trial |
/// | trial | any | trial; in one boot too many: go back |
/// | restarting back | no | restart back; asked for too often: rolled back |
/// | restarting back | yes | rolled back |
pub(super) fn resume(upgrade: Upgrade, change: Change, step: Step, now: &Origin) -> Next {
    use Action::{EmptyStage, Record, Report, Restart, Swap, SwapBack, Try};
    let restarted = now.restarted_since(&change.origin);
    let (step, actions) = match step {
        Step::Installing => (Step::Installing, vec![Swap]),
        Step::Reverting { verdict } => (Step::Reverting { verdict }, vec![SwapBack]),
        Step::Restarting { .. } if restarted => return on_trial(upgrade, change, now),
        Step::Restarting { requests } if requests < MOST_RESTART_REQUESTS => {
            (Step::Restarting { requests: requests + 1 }, vec![Record, Restart])
        }
        Step::Restarting { .. } => {
            return go_back(upgrade, change, restart_never_came().into());
        }
        Step::Trial { attempt, confirmed_by } => {
            let attempt = attempt.resumed(&now.boot_id);
            if attempt.number > change.terms.boots {
                let verdict = boots_used_up(change.terms.boots).into();
                return go_back(upgrade, change, verdict);
            }
            (Step::Trial { attempt, confirmed_by }, vec![Record, Try])
        }
        Step::RestartingBack { verdict, .. } if restarted => {
            return (rolled_back(upgrade, change, verdict), vec![EmptyStage, Report]);
        }
        Step::RestartingBack { verdict, requests } if requests < MOST_RESTART_REQUESTS => {
            (Step::RestartingBack { verdict, requests: requests + 1 }, vec![Record, Restart])
        }
        Step::RestartingBack { verdict, .. } => {
            let verdict = also(verdict, NOT_RESTARTED, &restart_never_came());
            return (rolled_back(upgrade, change, verdict), vec![EmptyStage, Report]);
        }
    };
    (State::Changing { upgrade, change, step }, actions)
}

fn installed(upgrade: Upgrade, change: Change) -> Next {
    if change.terms.restart.is_none() {
        let origin = change.origin.clone();
        return on_trial(upgrade, change, &origin);
    }
    let step = Step::Restarting { requests: 1 };
    (State::Changing { upgrade, change, step }, vec![Action::Record, Action::Restart])
}

fn on_trial(upgrade: Upgrade, change: Change, now: &Origin) -> Next {
    let step = Step::Trial { attempt: Attempt::first(&now.boot_id), confirmed_by: None };
    (State::Changing { upgrade, change, step }, vec![Action::Record, Action::Try])
}

/// The way back, where the updater has one.
pub(super) fn go_back(upgrade: Upgrade, change: Change, mut verdict: Verdict) -> Next {
    if change.terms.revert.is_some() {
        let step = Step::Reverting { verdict };
        let state = State::Changing { upgrade, change, step };
        return (state, vec![Action::Record, Action::SwapBack]);
    }
    let sentence = "there is no `revert` command, so that what was installed may be there still";
    verdict.failure.causes.push(sentence.into());
    (failed(upgrade, change, verdict), vec![Action::EmptyStage, Action::Report])
}

fn succeeded(upgrade: Upgrade, change: Change, evidence: Evidence) -> State {
    let conclusion = Conclusion {
        package: Some(change.package),
        outcome: Outcome::Succeeded,
        failure: None,
        evidence: Some(evidence),
        program_log: Vec::new(),
    };
    State::Concluded { upgrade, conclusion }
}

fn failed(upgrade: Upgrade, change: Change, verdict: Verdict) -> State {
    unsuccessful(upgrade, Some(change.package), Outcome::Failed, verdict)
}

fn rolled_back(upgrade: Upgrade, change: Change, verdict: Verdict) -> State {
    unsuccessful(upgrade, Some(change.package), Outcome::RolledBack, verdict)
}
