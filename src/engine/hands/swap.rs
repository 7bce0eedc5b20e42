//! One swap, from the look at what is there to the way back: what the hands' tasks do, without the
//! hands.

use std::path::Path;

use crate::component::program::{Lock, Program, Reverted};
use crate::config::{self, Paths};
use crate::engine::blocking::blocking;
use crate::machine::{Event, replaced_by_hand};
use crate::model::{Failure, FailureKind, ProgramDigest, UpgradeId, Verdict};
use crate::package::check::Checked;
use crate::rescue::{self, SecondCopy};
use crate::trial::restart::{self, Restarter};

pub(super) async fn find_old(
    program: Program,
    config: &config::Program,
    paths: &Paths,
) -> Result<Event, Failure> {
    let unreadable = |error| {
        Failure::from_io(FailureKind::InstallFailed, "the installed program can't be read", error)
    };
    let old = blocking(move || program.known_digest()).await.map_err(unreadable)?;
    let terms = restart::agree(config).await?;
    Ok(Event::Start { old, origin: Restarter::new(&terms, paths).origin().await?, terms })
}

/// Installs, and tells by what lies at the path afterwards. An error can leave the new program
/// there, where the disk refused to sync and to undo alike; then it is put back, and where even
/// that fails, it is what the next start will run.
pub(super) fn install(
    program: &Program,
    old: Option<ProgramDigest>,
    checked: Checked,
    second_copy: &SecondCopy,
) -> Event {
    let new = checked.summary().program_digest;
    // Before the new program is anywhere near the path: a damaged state would leave it there
    // without a trial.
    if let Err(failure) = second_copy.make() {
        return Event::SwapFailed(failure);
    }
    let is_at_path = || matches!(program.digest(), Ok(at_path) if at_path == Some(new));
    if old == Some(new) && is_at_path() {
        return Event::Swapped; // an exchange would cost the program before it its place
    }
    let Err(failure) = program.install(checked) else { return Event::Swapped };
    if old == Some(new) || !is_at_path() {
        return Event::SwapFailed(failure);
    }
    match program.revert(new, old) {
        Ok(_) => Event::SwapFailed(failure),
        Err(second) => {
            tracing::error!(UPLIFT_KIND = %failure.kind, "the swap failed ({failure}) and can't be undone ({second}); the trial decides");
            Event::Swapped
        }
    }
}

/// Holds the program that a trial found healthy, so that `uplift-rescue` can't roll it back before
/// its success is written down. It may have done so a moment ago, or have decided to.
pub(super) fn hold(
    program: &Program,
    expected: ProgramDigest,
    state: &Path,
    id: &UpgradeId,
) -> Result<Lock, Verdict> {
    let held = program.hold(expected);
    match rescue::read_ruling(state, id) {
        Some(ruled) => Err(ruled.verdict),
        None => held.map_err(Verdict::from),
    }
}

/// Puts the old program back. That the new one is gone is not enough: what is there instead must be
/// the old one.
pub(super) fn put_back(
    program: &Program,
    on_trial: ProgramDigest,
    old: Option<ProgramDigest>,
) -> Result<(), Failure> {
    if program.revert(on_trial, old)? != Reverted::NotOnTrial {
        return Ok(());
    }
    let at_path = program.digest().map_err(|error| {
        Failure::from_io(FailureKind::InstallFailed, "the program can't be read", error)
    })?;
    if program.counts_as(at_path, on_trial, old) == old { Ok(()) } else { Err(replaced_by_hand()) }
}
