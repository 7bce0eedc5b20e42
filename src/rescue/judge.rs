//! What the rescue does about a trial: a pure function of what is known. docs/rescue.md has its table for people.

use super::file::{RescueFile, Ruling};
use super::trial::{Known, Trial};
use crate::config::Restart;
use crate::machine::{Origin, boots_used_up};
use crate::model::{Failure, FailureKind, Verdict};
use crate::package::digest::ProgramDigest;

/// Seconds beyond the daemon's own deadlines: it shall have the first word, because it knows more.
pub(super) const GRACE: u64 = 30;
/// How often a restart is asked for. The old program is at its path; whatever starts next runs it.
const MOST_REQUESTS: u32 = 5;

/// Why the rescue was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// The machine boots; neither the daemon nor the program has started.
    Boot,
    /// The timer has elapsed.
    Deadline,
}

/// The moment of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Now {
    pub(super) call: Call,
    /// The boot and the invocation of the program's unit that run.
    pub(super) origin: Origin,
    /// Seconds since this boot began.
    pub(super) uptime: u64,
    /// Digest of the program at the path of the trial's terms.
    pub(super) at_path: Option<ProgramDigest>,
}

/// What is to be done. The file within is written before anything else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    /// Nothing is left to do: the timer is stopped.
    StandDown,
    /// The trial goes on.
    Wait(Box<RescueFile>),
    /// The old program is put back, and restarted where the ruling says so.
    RollBack(Box<RescueFile>),
    /// The old program is at the path, and must be restarted.
    Restart(Box<RescueFile>),
}

/// The trial that is judged, by the file as it was first seen: the program on trial may be the daemon, and rewrite the state.
/// A state file that is lost ends no trial.
pub(super) fn trial_of<'a>(known: &'a Known, file: Option<&'a RescueFile>) -> Option<&'a Trial> {
    match (known, file) {
        (Known::NoTrial, _) => None,
        (Known::Trial(trial), Some(file)) if trial.upgrade == file.trial.upgrade => Some(&file.trial),
        (Known::Trial(trial), _) => Some(trial),
        (Known::Absent | Known::Damaged(_), file) => file.map(|file| &file.trial),
    }
}

/// Whether the daemon has concluded the trial of the file without the rescue. The file must go then: with the state lost
/// later it would speak of a trial that is over.
pub(super) fn is_concluded(known: &Known, file: Option<&RescueFile>) -> bool {
    *known == Known::NoTrial && file.is_some_and(|file| file.ruling.is_none())
}

pub(super) fn judge(known: &Known, file: Option<&RescueFile>, now: &Now) -> Decision {
    let Some(trial) = trial_of(known, file) else { return Decision::StandDown };
    let counted = count(file.filter(|file| file.trial.upgrade == trial.upgrade), trial, now);
    if let Some(ruling) = &counted.ruling {
        return carry_out(&counted, ruling, now);
    }
    if !trial.can_be_rolled_back(now.at_path) {
        return Decision::StandDown;
    }
    match verdict(&counted, now) {
        None => Decision::Wait(Box::new(counted)),
        Some(failure) => {
            let restart_from = (now.call == Call::Deadline && failure.kind != FailureKind::RestartFailed).then(|| now.origin.clone());
            Decision::RollBack(Box::new(counted.concluded(failure, restart_from)))
        }
    }
}

/// A verdict stands; its roll back or its restart may have been cut off.
fn carry_out(file: &RescueFile, ruling: &Ruling, now: &Now) -> Decision {
    let with = |ruling| Box::new(RescueFile { ruling: Some(ruling), ..file.clone() });
    let at_boot = now.call == Call::Boot;
    if file.trial.can_be_rolled_back(now.at_path) {
        // It may have been started since, from its path.
        let restart_from = (!at_boot).then(|| now.origin.clone());
        return Decision::RollBack(with(Ruling { rolled_back: false, restart_from, requests: 0, ..ruling.clone() }));
    }
    if !ruling.rolled_back && now.at_path == file.trial.old {
        let restart_from = ruling.restart_from.clone().filter(|_| !at_boot);
        return Decision::RollBack(with(Ruling { restart_from, ..ruling.clone() }));
    }
    let owed = ruling.restart_from.as_ref().is_some_and(|from| !now.origin.restarted_since(from));
    if ruling.rolled_back && owed && !at_boot && ruling.requests < MOST_REQUESTS {
        return Decision::Restart(with(Ruling { requests: ruling.requests + 1, ..ruling.clone() }));
    }
    Decision::StandDown
}

/// The file after this call has seen the trial.
fn count(file: Option<&RescueFile>, trial: &Trial, now: &Now) -> RescueFile {
    let boot_id = &now.origin.boot_id;
    match file {
        Some(file) if file.boot_id == *boot_id => RescueFile { since: file.since.min(now.uptime), ..file.clone() },
        Some(file) => RescueFile { boot_id: boot_id.clone(), since: now.uptime, boots: file.boots.saturating_add(1), ..file.clone() },
        None => RescueFile::begin(trial.clone(), boot_id.clone(), now.uptime, u32::from(!awaits_reboot(trial, now))),
    }
}

/// Whether the trial begins with another boot than this one.
fn awaits_reboot(trial: &Trial, now: &Now) -> bool {
    trial.terms.restart == Restart::Reboot && trial.origin.boot_id == now.origin.boot_id
}

fn verdict(file: &RescueFile, now: &Now) -> Option<Failure> {
    let terms = &file.trial.terms;
    if file.boots > terms.boots {
        return Some(boots_used_up(terms.boots));
    }
    let patience = terms.both_deadlines().as_secs().saturating_add(GRACE);
    if now.call == Call::Boot || now.uptime.saturating_sub(file.since) < patience {
        return None;
    }
    if Origin::was_never_restarted(&file.trial.origin, &now.origin, &terms.restart) {
        let sentence = format!("the restart did not come within {patience} s, and the daemon did not say so");
        return Some(Failure::new(FailureKind::RestartFailed, sentence));
    }
    Some(Failure::new(FailureKind::Unhealthy, format!("no verdict on the new program came within {patience} s")))
}

impl Decision {
    /// The verdict, if this call made it: what the new program logged is not for a judge to know.
    pub(super) fn new_verdict(&mut self, before: Option<&RescueFile>) -> Option<&mut Verdict> {
        let Self::RollBack(file) = self else { return None };
        let stood = before.is_some_and(|before| before.trial.upgrade == file.trial.upgrade && before.ruling.is_some());
        file.ruling.as_mut().filter(|_| !stood).map(|ruling| &mut ruling.verdict)
    }
}

#[cfg(test)]
mod tests;
