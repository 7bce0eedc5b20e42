//! What the rescue's file tells of an upgrade whose state is lost.

use std::path::Path;

use super::{Recorded, stamp};
use crate::machine::{State, Swap, Upgrade};
use crate::model::{
    Channel, Failure, FailureKind, Outcome, Report, Request, TransferKind, Verdict,
};
use crate::package::digest::ProgramDigest;
use crate::rescue::{RescueFile, Trial};

/// The trial that was under way, by the rescue's copy, and the format of that: nobody can say any
/// more that the new program works, so the old one comes back. Where the copy does not tell enough,
/// the rescue sees to it. Nothing where a report of it is known, or the rescue has ended it.
pub(super) fn trial(directory: &Path, known: &[Report]) -> Option<(Recorded, u32)> {
    let RescueFile { trial, ruling, format, .. } = RescueFile::read(directory).ok()??;
    let is_over = ruling.as_ref().is_some_and(|ruling| ruling.rolled_back)
        || known.iter().any(|report| report.id == trial.upgrade);
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
    let upgrade = Upgrade {
        id: trial.upgrade.clone(),
        request: trial.request.clone().unwrap_or_else(nobody_known),
        from: trial.from,
        file_name: Some(package.file_name.clone()),
        began: trial.began.clone().unwrap_or_else(stamp),
        phases: Vec::new(),
    };
    let swap = Swap {
        package,
        old: trial.old,
        origin: trial.origin.clone(),
        terms: trial.terms.to_put_back(),
    };
    Some(Box::new(State::Reverting { upgrade, swap, verdict }))
}

fn nobody_known() -> Request {
    Request {
        channel: Channel::Shell,
        requester: "unknown".into(),
        transfer: TransferKind::Local,
        forced: false,
    }
}

/// The report of an upgrade that the rescue has rolled back, and the digest of its program. Nothing
/// while the old program is not back at the path: the rescue will see to it.
pub(super) fn report(directory: &Path) -> Option<(Report, ProgramDigest)> {
    let RescueFile { trial, ruling, .. } = RescueFile::read(directory).ok()??;
    let ruling = ruling.filter(|ruling| ruling.rolled_back)?;
    let report = Report {
        id: trial.upgrade,
        request: trial.request.unwrap_or_else(nobody_known),
        from: trial.from,
        file_name: trial.package.as_ref().map(|package| package.file_name.clone()),
        package: trial.package,
        outcome: Outcome::RolledBack,
        failure: Some(ruling.verdict.failure),
        evidence: None,
        program_log: ruling.verdict.program_log,
        began: trial.began.unwrap_or_else(stamp),
        ended: stamp(),
        phases: Vec::new(),
    };
    Some((report, trial.on_trial))
}
