//! What must hold in every state: the program is whole, there is a way back, the report is true, no
//! promise is broken, and the next upgrade works.

use super::files::{PREVIOUS, PROGRAM};
use super::firmware::{Firmware, ourselves};
use super::host::LAST_WORDS;
use super::payload::{FIRST_BOOT, Payload, Settled, Wish};
use super::recording::{Case, Promise, Recording};
use super::setting::{NewDaemon, Setting};
use super::tree::Content;
use crate::model::{ChannelName, Outcome, Report, RunningEvidence};

/// The programs of a story.
#[derive(Debug)]
pub(crate) struct Programs {
    /// What was at the path before that, if it is kept.
    pub(crate) oldest: Option<Content>,
    /// At the path before; none at a first installation.
    pub(crate) old: Option<Content>,
    /// What the upgrade brings.
    pub(crate) new: Firmware,
    /// What the upgrade after that brings.
    pub(crate) next: Firmware,
}

impl Programs {
    /// What is at the path after the upgrade: all but the bytes is as it was. A first installation
    /// has nothing to take it from.
    fn new_at_path(&self) -> Content {
        let first = Content { mode: 0o755, owner: ourselves(), ..Content::default() };
        Content { bytes: self.new.bytes.clone(), ..self.old.clone().unwrap_or(first) }
    }
}

/// Whose program is at the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AtPath {
    Old,
    New,
}

/// Proves everything: what the daemon does that starts in this case, and the upgrade after that.
pub(crate) fn prove(setting: Setting, programs: &Programs, case: &Case) -> Result<(), String> {
    let (payload, _) = recover(setting, programs, case)?;
    lost_state_leads_back(setting, programs, case)?;
    next_upgrade_works(&mut payload.put_right(), programs)
}

/// Starts a daemon in this case and lets it finish. What it did then is itself a story.
pub(crate) fn recover(
    setting: Setting,
    programs: &Programs,
    case: &Case,
) -> Result<(Payload, Recording), String> {
    let mut payload = Payload::new(setting, &case.tree, &case.moment);
    payload.is_offered(&programs.new);
    if at_path(&payload, programs)? == AtPath::New {
        way_back_exists(setting, programs, case)?;
    }
    let settled = payload.settle()?;
    let at_path = at_path(&payload, programs)?;
    let changes = payload.changes();
    report_is_true(setting, &payload, &settled, at_path)?;
    match at_path {
        AtPath::New => replaced_is_kept(programs, &payload)?,
        AtPath::Old => oldest_is_kept(programs, &payload)?,
    }
    promise_is_kept(setting, &settled, case.promise)?;
    let acknowledged = changes.len() + 1;
    Ok((payload, Recording::new(case.clone(), setting.reports, changes, acknowledged)))
}

/// Where the new program is at the path, a trial under way and nothing reported, the state may be
/// lost besides: the second copy of the trial brings the old program back. (A way back by hand is
/// not begun before it has one; until then the program works.)
fn lost_state_leads_back(setting: Setting, programs: &Programs, case: &Case) -> Result<(), String> {
    let Some(lost) = case.tree.without_state_of_trial().filter(|_| setting.reports == 0) else {
        return Ok(());
    };
    let mut payload = Payload::new(setting, &lost, &case.moment);
    payload.is_offered(&programs.new);
    if at_path(&payload, programs)? == AtPath::Old {
        return Ok(());
    }
    let settled = payload.settle().map_err(|why| format!("without its state: {why}"))?;
    match (at_path(&payload, programs)?, settled.history.last().map(|report| report.outcome)) {
        (AtPath::Old, Some(Outcome::RolledBack)) => Ok(()),
        (AtPath::Old, outcome) => Err(format!(
            "without its state the old program came back, and the report says {outcome:?}"
        )),
        (AtPath::New, _) => {
            Err("a lost state leaves the new program there, and its trial is forgotten".into())
        }
    }
}

fn at_path(payload: &Payload, programs: &Programs) -> Result<AtPath, String> {
    let found = payload.file(PROGRAM);
    match found {
        found if found == programs.old => Ok(AtPath::Old),
        Some(found) if found == programs.new_at_path() => Ok(AtPath::New),
        None => Err("there is no program at the path".into()),
        Some(Content { bytes, mode, owner, attributes }) => Err(format!(
            "neither the old nor the new program is at the path: {} bytes, mode {mode:o}, owner {owner:?}, attributes {attributes:?}",
            bytes.len()
        )),
    }
}

/// The new program is still on trial, or a person may want the old one back.
fn way_back_exists(setting: Setting, programs: &Programs, case: &Case) -> Result<(), String> {
    let payload = Payload::new(setting, &case.tree, &case.moment);
    payload.roll_back().map_err(|failure| format!("there is no way back: {failure}"))?;
    match at_path(&payload, programs)? {
        AtPath::Old => Ok(()),
        AtPath::New => Err("the way back leads nowhere".into()),
    }
}

fn report_is_true(
    setting: Setting,
    payload: &Payload,
    settled: &Settled,
    at_path: AtPath,
) -> Result<(), String> {
    let is_agreed = |notice: &&String| {
        setting.own == Some(NewDaemon::HangsInAnotherFormat)
            && notice.contains("state.json is damaged or another version's")
    };
    if let Some(damage) = settled.status.notices.iter().find(|notice| !is_agreed(notice)) {
        return Err(format!("something is damaged: {damage}"));
    }
    if setting.has_unit() && payload.running() != payload.file(PROGRAM).map(|file| file.bytes) {
        return Err("the program that runs is not the one at the path".into());
    }
    if let Some(report) = settled.history.last() {
        reason_is_true(setting, report)?;
        failure_is_remembered(settled, report)?;
    }
    match (at_path, settled.history.last()) {
        (AtPath::New, None) => Err("the new program is at the path, and no report says so".into()),
        (AtPath::New, Some(report)) => succeeded(setting, payload, report),
        (AtPath::Old, Some(report)) if report.outcome == Outcome::Succeeded => {
            Err("the old program is at the path, and the report says that the upgrade succeeded"
                .into())
        }
        (AtPath::Old, _) => Ok(()),
    }
}

/// Where a person and `uplift rollback` look for it.
fn replaced_is_kept(programs: &Programs, payload: &Payload) -> Result<(), String> {
    let previous = payload.file(PREVIOUS).map(|file| file.bytes);
    let replaced = programs.old.as_ref().map(|old| old.bytes.clone()).unwrap_or_default();
    if previous == Some(replaced) {
        Ok(())
    } else {
        Err("the upgrade did not keep the program that it replaced".into())
    }
}

/// What was there before the last success is there until the next one.
fn oldest_is_kept(programs: &Programs, payload: &Payload) -> Result<(), String> {
    let Some(oldest) = &programs.oldest else { return Ok(()) };
    if payload.file(PREVIOUS).as_ref() != Some(oldest) {
        return Err(format!(
            "the program before the last success lost its place: {:?}",
            payload.staged()
        ));
    }
    match payload.staged().into_iter().find(|name| name == "payload.older") {
        Some(_) => Err("the program before the last success has two names".into()),
        None => Ok(()),
    }
}

fn reason_is_true(setting: Setting, report: &Report) -> Result<(), String> {
    let kind = report.failure.as_ref().map(|failure| failure.kind);
    if setting.has_unit()
        && report.outcome == Outcome::RolledBack
        && report.program_log != [LAST_WORDS]
    {
        return Err(format!("the last words of the program were {:?}", report.program_log));
    }
    match setting.verdict {
        Some(verdict) if report.outcome == Outcome::RolledBack && kind != Some(verdict) => {
            Err(format!("the program was rolled back as {verdict}, and the report says {kind:?}"))
        }
        _ => Ok(()),
    }
}

fn failure_is_remembered(settled: &Settled, report: &Report) -> Result<(), String> {
    match &report.package {
        Some(package)
            if report.blames_program()
                && !settled.status.components[0].known_bad.contains(&package.program_digest) =>
        {
            Err("a program failed on trial, and it is not known to be bad".into())
        }
        _ => Ok(()),
    }
}

fn succeeded(setting: Setting, payload: &Payload, report: &Report) -> Result<(), String> {
    if report.outcome != Outcome::Succeeded {
        return Err(format!(
            "the new program is at the path, and the report says {}",
            report.outcome
        ));
    }
    let Some(evidence) = &report.evidence else { return Err("nothing proves the success".into()) };
    let is_running = evidence.running == RunningEvidence::Verified;
    // A unit that runs the new program was restarted; that it does is seen above.
    let restarted = if setting.has_unit() { is_running } else { payload.boot() != FIRST_BOOT };
    if !evidence.restarted || !evidence.digest_at_path || !restarted {
        return Err("the report says that the upgrade succeeded, and nobody saw a restart".into());
    }
    Ok(())
}

pub(crate) fn promise_is_kept(
    setting: Setting,
    settled: &Settled,
    promise: Promise,
) -> Result<(), String> {
    let outcome = settled.history.get(setting.reports).map(|report| report.outcome);
    let repeated = settled.status.unacknowledged.last().map(|report| report.outcome);
    if settled.history.len() > setting.reports + 1 {
        return Err("one upgrade has two reports".into());
    }
    match promise {
        Promise::Nothing => Ok(()),
        Promise::Report if outcome.is_none() => {
            Err("the upgrade is forgotten, and the peer waits for its report".into())
        }
        Promise::Reported(told) | Promise::Acknowledging(told) | Promise::Acknowledged(told)
            if outcome != Some(told) =>
        {
            Err(format!("the peer was told {told}, and the history says {outcome:?}"))
        }
        Promise::Report | Promise::Reported(_)
            if setting.channel != ChannelName::SHELL && repeated != outcome =>
        {
            Err("the report is not repeated, and the peer has not acknowledged it".into())
        }
        Promise::Acknowledged(_) if repeated.is_some() => {
            Err("the report is repeated, although the peer has acknowledged it".into())
        }
        _ => Ok(()),
    }
}

/// The upgrade after this one succeeds, keeps the program that it replaces, and leaves nothing else
/// behind.
fn next_upgrade_works(payload: &mut Payload, programs: &Programs) -> Result<(), String> {
    let replaced = payload.file(PROGRAM).map(|file| file.bytes).unwrap_or_default();
    let (settled, _) = payload
        .conclude(Wish::Upgrade(&programs.next))
        .map_err(|why| format!("the next upgrade: {why}"))?;
    let outcome = settled.history.last().map(|report| report.outcome);
    if outcome != Some(Outcome::Succeeded)
        || payload.file(PROGRAM).is_none_or(|file| file.bytes != programs.next.bytes)
    {
        return Err(format!("the next upgrade ended with {outcome:?}"));
    }
    let previous = payload.file(PREVIOUS).map(|file| file.bytes);
    if previous != Some(replaced) {
        return Err("the next upgrade did not keep the program that it replaced".into());
    }
    let known = ["lock", "payload.failed", "payload.previous"];
    match payload.staged().into_iter().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(format!("the next upgrade left {name} behind")),
        None => Ok(()),
    }
}
