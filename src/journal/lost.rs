//! What the rescue's file tells of an upgrade whose state is lost.

use std::path::Path;

use super::stamp;
use crate::machine::State;
use crate::model::{
    Conclusion, Failure, FailureKind, Outcome, ProgramDigest, Report, Request, Swap, Upgrade,
    UpgradeId, Verdict,
};
use crate::record::rescue::RescueFile;
use crate::record::state::Recorded;
use crate::record::trial::Trial;

/// The trial that was under way, by the rescue's copy, and the format of that: nobody can say any
/// more that the new program works, so the old one comes back. Where the copy does not tell enough,
/// the rescue sees to it. Nothing where a report of it is known, or the rescue has ended it.
pub(super) fn trial(
    directory: &Path,
    is_known: impl Fn(&UpgradeId) -> bool,
) -> Option<(Recorded, u32)> {
    let RescueFile { trial, ruling, format, .. } = RescueFile::read(directory).ok()??;
    let is_over =
        ruling.as_ref().is_some_and(|ruling| ruling.rolled_back) || is_known(&trial.upgrade);
    if is_over {
        return None;
    }
    let verdict = ruling.map_or_else(|| state_was_lost().into(), |ruling| ruling.verdict);
    Some((
        reverting(&trial, verdict).map_or_else(
            || Recorded::Foreign(trial.contract()),
            |state| Recorded::Known(Some(state)),
        ),
        format,
    ))
}

fn state_was_lost() -> Failure {
    let sentence =
        "the state of the trial was lost or damaged, so nobody can say that the new program works";
    Failure::new(FailureKind::Interrupted, sentence)
}

fn reverting(trial: &Trial, verdict: Verdict) -> Option<Box<State>> {
    let package = trial.package.clone()?;
    let (old, origin) = (trial.old, trial.origin.clone());
    let swap = Swap { package, old, origin, terms: trial.terms.to_put_back() };
    Some(Box::new(State::Reverting { upgrade: upgrade(trial), swap, verdict }))
}

fn upgrade(trial: &Trial) -> Upgrade {
    Upgrade {
        id: trial.upgrade.clone(),
        request: trial.request.clone().unwrap_or_else(nobody_known),
        component: trial.component,
        from: trial.from,
        file_name: trial.package.as_ref().map(|package| package.file_name.clone()),
        began: trial.began.clone().unwrap_or_else(stamp),
        phases: Vec::new(),
    }
}

fn nobody_known() -> Request {
    Request::of_shell("unknown".into())
}

/// The report of an upgrade that the rescue has rolled back, and the digest of its program. Nothing
/// while the old program is not back at the path: the rescue will see to it.
pub(super) fn report(directory: &Path) -> Option<(Report, ProgramDigest)> {
    let RescueFile { trial, ruling, .. } = RescueFile::read(directory).ok()??;
    let ruling = ruling.filter(|ruling| ruling.rolled_back)?;
    let Verdict { failure, program_log } = ruling.verdict;
    let upgrade = upgrade(&trial);
    let conclusion = Conclusion {
        package: trial.package,
        outcome: Outcome::RolledBack,
        failure: Some(failure),
        evidence: None,
        program_log,
    };
    Some((Report::of(upgrade, conclusion, stamp()), trial.on_trial))
}
