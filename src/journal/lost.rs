//! What the rescue's file tells of an upgrade whose state is lost.

use std::path::Path;

use super::stamp;
use crate::model::{Channel, Outcome, Report, Request, TransferKind};
use crate::package::digest::ProgramDigest;
use crate::rescue::RescueFile;

/// Whether the rescue has seen a trial and has not ended it.
pub(super) fn has_trial(directory: &Path) -> bool {
    let ended = |file: RescueFile| file.ruling.is_some_and(|ruling| ruling.rolled_back);
    RescueFile::read(directory).is_ok_and(|file| file.is_some_and(|file| !ended(file)))
}

/// The report of an upgrade that the rescue has rolled back, and the digest of its program. Nothing while the old program is
/// not back at the path: the rescue will see to it.
pub(super) fn report(directory: &Path) -> Option<(Report, ProgramDigest)> {
    let RescueFile { trial, ruling, .. } = RescueFile::read(directory).ok()??;
    let ruling = ruling.filter(|ruling| ruling.rolled_back)?;
    let nobody_known = || Request { channel: Channel::Shell, requester: "unknown".into(), transfer: TransferKind::Local, forced: false };
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
