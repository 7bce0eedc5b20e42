//! What the rescue does about a trial: a pure function of what is known. docs/use/rescue.md has its
//! table for people.

use crate::machine::{Ruled, boots_used_up};
use crate::model::{Failure, FailureKind, Origin, ProgramDigest, Restart, Verdict};
use crate::record::rescue::{RescueFile, Ruling};
use crate::record::trial::{Known, Trial, WayBack};

/// Seconds beyond the daemon's own deadlines: it shall have the first word, because it knows more.
pub(super) const GRACE: u64 = 30;
/// How often a restart is asked for. The old program is at its path; whatever starts next runs it.
pub(super) const MOST_REQUESTS: u32 = 5;

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

/// The trial that is judged, by the file as it was first seen: the program on trial may be the
/// daemon, and rewrite the state. A state file that is lost ends no trial, and a daemon that has
/// concluded it may have left a restart undone.
pub(super) fn trial_of<'a>(known: &'a Known, file: Option<&'a RescueFile>) -> Option<&'a Trial> {
    match (known.trial(), file) {
        (Some(trial), Some(file)) if trial.upgrade == file.trial.upgrade => Some(&file.trial),
        (Some(trial), _) => Some(trial),
        (None, file) if *known == Known::NoTrial => {
            file.filter(|file| file.may_owe_restart()).map(|file| &file.trial)
        }
        (None, file) => file.map(|file| &file.trial),
    }
}

/// Whether the daemon has concluded the trial of the file without the rescue. The file must go
/// then: with the state lost later it would speak of a trial that is over.
pub(super) fn is_concluded(known: &Known, file: Option<&RescueFile>) -> bool {
    *known == Known::NoTrial && file.is_some_and(|file| file.ruling.is_none())
}

pub(super) fn judge(known: &Known, file: Option<&RescueFile>, now: &Now) -> Decision {
    let Some(trial) = trial_of(known, file) else { return Decision::StandDown };
    let counted = count(file.filter(|file| file.trial.upgrade == trial.upgrade), trial, now);
    match (&counted.ruling, known) {
        (Some(ruling), Known::NoTrial) => restart_if_owed(&counted, ruling, now),
        (Some(_), Known::WayBack(..)) if has_time(&counted, now) => {
            Decision::Wait(Box::new(counted))
        }
        (Some(ruling), _) => carry_out(&counted, ruling, now),
        (None, Known::WayBack(_, way_back)) => take_over(counted, way_back, now),
        (None, _) => judge_trial(counted, now),
    }
}

/// Nothing is decided yet.
fn judge_trial(file: RescueFile, now: &Now) -> Decision {
    if !file.trial.can_be_rolled_back(now.at_path) {
        return Decision::StandDown;
    }
    match verdict(&file, now) {
        None => Decision::Wait(Box::new(file)),
        Some(failure) => {
            let restart_from = (now.call == Call::Deadline
                && failure.kind != FailureKind::RestartFailed)
                .then(|| now.origin.clone());
            Decision::RollBack(Box::new(file.concluded(failure, restart_from)))
        }
    }
}

/// The daemon has decided. Before it starts it can't be at it; later it has the time of a restart,
/// from the first look on.
fn take_over(file: RescueFile, way_back: &WayBack, now: &Now) -> Decision {
    let is_back = now.at_path == file.trial.old;
    if !is_back && !file.trial.can_be_rolled_back(now.at_path) {
        return Decision::StandDown;
    }
    let restart_from = way_back.restart_from.clone().unwrap_or_else(|| now.origin.clone());
    let ruling = Ruling {
        verdict: way_back.verdict.clone(),
        rolled_back: is_back && way_back.restart_from.is_some(),
        restart_from: (now.call == Call::Deadline).then_some(restart_from),
        requests: 0,
    };
    let file = RescueFile { since: now.uptime, ruling: Some(ruling.clone()), ..file };
    match now.call {
        Call::Boot => carry_out(&file, &ruling, now),
        Call::Deadline => Decision::Wait(Box::new(file)),
    }
}

/// Whether a daemon that puts the old program back may still be at it.
fn has_time(file: &RescueFile, now: &Now) -> bool {
    let patience = file.trial.terms.restart_deadline().as_secs().saturating_add(GRACE);
    now.call == Call::Deadline && now.uptime.saturating_sub(file.since) < patience
}

/// A verdict stands; its roll back or its restart may have been cut off.
fn carry_out(file: &RescueFile, ruling: &Ruling, now: &Now) -> Decision {
    let with = |ruling| Box::new(RescueFile { ruling: Some(ruling), ..file.clone() });
    let at_boot = now.call == Call::Boot;
    if file.trial.can_be_rolled_back(now.at_path) {
        // It may have been started since, from its path.
        let restart_from = (!at_boot).then(|| now.origin.clone());
        return Decision::RollBack(with(Ruling {
            rolled_back: false,
            restart_from,
            requests: 0,
            ..ruling.clone()
        }));
    }
    if !ruling.rolled_back && now.at_path == file.trial.old {
        let owed = !at_boot && Ruled::from(ruling.clone()).owes_restart(&now.origin);
        let restart_from = ruling.restart_from.clone().filter(|_| owed);
        return Decision::RollBack(with(Ruling { restart_from, ..ruling.clone() }));
    }
    restart_if_owed(file, ruling, now)
}

/// The old program is back.
fn restart_if_owed(file: &RescueFile, ruling: &Ruling, now: &Now) -> Decision {
    let owed = now.call == Call::Deadline
        && now.at_path == file.trial.old
        && Ruled::from(ruling.clone()).owes_restart(&now.origin);
    if !owed || !ruling.rolled_back || ruling.requests >= MOST_REQUESTS {
        return Decision::StandDown;
    }
    // A start that systemd could not tell of then proves nothing later either.
    let restart_from = ruling
        .restart_from
        .clone()
        .filter(|from| from.invocation.is_some())
        .or_else(|| Some(now.origin.clone()));
    let ruling = Ruling { restart_from, requests: ruling.requests + 1, ..ruling.clone() };
    Decision::Restart(Box::new(RescueFile { ruling: Some(ruling), ..file.clone() }))
}

/// Where the old program must be restarted, now that it is back at the path: what was seen before
/// may have been started anew meanwhile, from the path that still named the new one. `runs_new`
/// says whether the unit's process is known to be that.
pub(super) fn restart_from(
    trial: &Trial,
    ruling: &Ruling,
    now: Option<Origin>,
    runs_new: bool,
) -> Option<Origin> {
    match (&ruling.restart_from, now) {
        (Some(from), Some(now)) => {
            Some(Origin { invocation: now.invocation.or_else(|| from.invocation.clone()), ..now })
        }
        (Some(from), None) => Some(from.clone()),
        // The restart to the new program never came, so that the old one runs still: unless
        // somebody else started it.
        (None, Some(now))
            if ruling.verdict.failure.kind.is_of_restart() && now.is_in_boot_of(&trial.origin) =>
        {
            let old_runs =
                !runs_new && Origin::was_never_restarted(&trial.origin, &now, &trial.terms.restart);
            (!old_runs).then_some(now)
        }
        (None, _) => None,
    }
}

/// The file after this call has seen the trial.
fn count(file: Option<&RescueFile>, trial: &Trial, now: &Now) -> RescueFile {
    let boot_id = &now.origin.boot_id;
    match file {
        Some(file) if file.boot_id == *boot_id => {
            RescueFile { since: file.since.min(now.uptime), ..file.clone() }
        }
        Some(file) => RescueFile {
            boot_id: boot_id.clone(),
            since: now.uptime,
            boots: file.boots.saturating_add(1),
            ..file.clone()
        },
        None => RescueFile::begin(
            trial.clone(),
            boot_id.clone(),
            now.uptime,
            u32::from(!awaits_reboot(trial, now)),
        ),
    }
}

/// Whether the trial begins with another boot than this one.
fn awaits_reboot(trial: &Trial, now: &Now) -> bool {
    trial.terms.restart == Restart::Reboot && now.origin.is_in_boot_of(&trial.origin)
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
        let sentence =
            format!("the restart did not come within {patience} s, and the daemon did not say so");
        return Some(Failure::new(FailureKind::RestartFailed, sentence));
    }
    Some(Failure::new(
        FailureKind::Unhealthy,
        format!("no verdict on the new program came within {patience} s"),
    ))
}

impl Decision {
    /// The verdict, if this call made it: what the new program logged is not for a judge to know.
    pub(super) fn new_verdict(&mut self, before: Option<&RescueFile>) -> Option<&mut Verdict> {
        let Self::RollBack(file) = self else { return None };
        let stood = before.is_some_and(|before| {
            before.trial.upgrade == file.trial.upgrade && before.ruling.is_some()
        });
        file.ruling.as_mut().filter(|_| !stood).map(|ruling| &mut ruling.verdict)
    }
}

#[cfg(test)]
mod tests;
