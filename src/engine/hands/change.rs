//! The hands' work on a change by another updater: hands it the file, waits for its end, restarts,
//! tries what it has installed, has it go back.

use tokio::sync::watch;

use std::sync::Arc;

use super::policy::{Way as Restarting, restart};
use super::{Hands, OnTrial, TaskResult};
use crate::component::command::{Change as Updater, Ended, Finished, Job, JobId, Purpose, Told};
use crate::component::mcu;
use crate::config::{self, AWAY, Component, FILE};
use crate::engine::blocking::blocking;
use crate::engine::herald::Herald;
use crate::machine::Event;
use crate::model::{
    Change, ChangeTerms, Failure, FailureKind, Origin, ProgramDigest, Step, Upgrade, Verdict,
};
use crate::package::check::Checked;
use crate::trial::change::{Trial, Way};
use crate::trial::restart::Restarter;

impl Hands {
    /// What a step of a change entails. A step that a daemon takes up again finds what there is.
    pub(in crate::engine) fn change(
        &mut self,
        upgrade: &Upgrade,
        change: &Change,
        step: &Step,
        herald: &Herald,
    ) {
        match step {
            Step::Installing => self.install_by_updater(upgrade, change, herald),
            Step::Restarting { requests } => {
                self.restart_after_change(
                    upgrade,
                    change,
                    Restarting::There { requests: *requests },
                );
            }
            Step::RestartingBack { .. } => {
                self.restart_after_change(upgrade, change, Restarting::Back);
            }
            Step::Trial { confirmed_by, .. } => {
                self.try_change(upgrade, change, confirmed_by.is_some(), herald);
            }
            Step::Reverting { verdict } => {
                self.revert_by_updater(upgrade, change, verdict, herald);
            }
        }
    }

    /// Removes what the last change has left, now that its report is written down.
    pub(in crate::engine) async fn clear_change(&self) {
        let updater = self.change.clone();
        if let Err(failure) = blocking(move || updater.clear()).await {
            tracing::warn!(UPLIFT_KIND = %failure.kind, "{failure}");
        }
    }

    fn install_by_updater(&mut self, upgrade: &Upgrade, change: &Change, herald: &Herald) {
        let (updater, checked) = (self.change.clone(), self.checked.take());
        let id = JobId { upgrade: upgrade.id.clone(), purpose: Purpose::Install };
        let (terms, on_progress) = (change.terms.clone(), herald.change_observer());
        let name = self.name_for_updater(upgrade, change);
        self.spawn_event(&upgrade.id, async move {
            // Without a file another daemon has begun it, or not come so far.
            if let Some(checked) = checked
                && let Err(failure) = hand_over(&updater, checked, name, &id, &terms).await
            {
                return Event::SwapFailed(failure);
            }
            match end_of(&updater, &id, &terms, on_progress).await {
                Ok(finished) => installed(&finished, &terms),
                Err(failure) => Event::Unhealthy(failure.into()),
            }
        });
    }

    /// The name under which the updater finds the file.
    fn name_for_updater(&self, upgrade: &Upgrade, change: &Change) -> String {
        let suffix = match self.config.components.get(upgrade.component()) {
            Some(Component::Command(config::Command { suffix, .. })) => suffix,
            _ => "",
        };
        format!("{}_{}{suffix}", change.package.product, change.package.version)
    }

    fn restart_after_change(&self, upgrade: &Upgrade, change: &Change, way: Restarting) {
        let restarter = self.restarter_of_change(Some(&change.terms));
        let origin = change.origin.clone();
        let policy = (!upgrade.request.forced).then(|| Arc::clone(&self.policy));
        self.spawn_event(
            &upgrade.id,
            async move { restart(restarter, &origin, way, policy).await },
        );
    }

    fn try_change(
        &mut self,
        upgrade: &Upgrade,
        change: &Change,
        is_confirmed: bool,
        herald: &Herald,
    ) {
        let (confirmed, confirmation) = watch::channel(is_confirmed);
        let way = match self.config.components.get(upgrade.component()) {
            Some(Component::Command(config)) => Way {
                isolation: config.common.isolate_commands,
                version_deadline: config.common.preflight_deadline,
            },
            _ => Way { isolation: Default::default(), version_deadline: change.terms.deadline },
        };
        let (version, terms) = (change.package.version, change.terms.clone());
        let trial = Trial::new(version, terms, way, confirmation, herald.trial_observer());
        let task = self.spawn(upgrade.id.clone(), async move {
            TaskResult::Event(match trial.run().await {
                Ok(evidence) => Event::Healthy(evidence),
                Err(verdict) => Event::Unhealthy(verdict),
            })
        });
        self.trial = Some(OnTrial { confirmed, task });
    }

    fn revert_by_updater(
        &self,
        upgrade: &Upgrade,
        change: &Change,
        verdict: &Verdict,
        herald: &Herald,
    ) {
        let updater = self.change.clone();
        let id = JobId { upgrade: upgrade.id.clone(), purpose: Purpose::Revert };
        let (terms, on_progress) = (change.terms.clone(), herald.change_observer());
        let restarter = self.restarter_of_change(Some(&terms));
        // What never ran, because the machine was not allowed to restart, needs no restart back.
        let left = (verdict.failure.kind == FailureKind::NotNow).then(|| change.origin.clone());
        let away = change.package.program_digest;
        self.spawn_event(&upgrade.id, async move {
            match go_back(&updater, &id, &terms, away, on_progress).await {
                Ok(()) => reverted(&restarter, &terms, left.as_ref()).await,
                Err(failure) => Event::RevertFailed(failure),
            }
        });
    }
}

/// Gives the file to the updater, and starts it.
async fn hand_over(
    updater: &Updater,
    checked: Checked,
    name: String,
    id: &JobId,
    terms: &ChangeTerms,
) -> Result<(), Failure> {
    let taking = updater.clone();
    let taken = blocking(move || {
        let (file, length) = checked.into_payload();
        taking.take(file, length, &name)
    });
    let file = taken.await?;
    let file = file.to_string_lossy();
    let command = terms.install.iter().map(|word| word.replace(FILE, &file)).collect();
    let job = Job { id: id.clone(), command, deadline: terms.command_deadline };
    updater.start(&job).await
}

/// How the installation ended; one that was cut off, and leaves nothing that works, is begun again.
async fn end_of(
    updater: &Updater,
    id: &JobId,
    terms: &ChangeTerms,
    on_progress: impl Fn(Told),
) -> Result<Finished, Failure> {
    let finished = updater.ended(id, &on_progress).await?;
    let was_cut_off = matches!(finished.ended, Ended::Vanished | Ended::NotBegun);
    if was_cut_off && terms.begins_again && updater.begin_again(id).await? {
        return updater.ended(id, &on_progress).await;
    }
    Ok(finished)
}

/// What the end of the updater means for the change.
fn installed(finished: &Finished, terms: &ChangeTerms) -> Event {
    let has_changed_nothing = |code: &i32| {
        terms.unchanged_exit_codes.iter().any(|unchanged| i32::from(*unchanged) == *code)
    };
    match &finished.ended {
        Ended::Exit(0) => Event::Swapped,
        Ended::Exit(code) if has_changed_nothing(code) => {
            let failure = failure_of(finished, "install");
            Event::SwapFailed(failure)
        }
        Ended::NotBegun | Ended::NotStarted(_) => {
            Event::SwapFailed(failure_of(finished, "install"))
        }
        _ => Event::Unhealthy(Verdict {
            failure: failure_of(finished, "install"),
            program_log: finished.last_lines.clone(),
        }),
    }
}

async fn go_back(
    updater: &Updater,
    id: &JobId,
    terms: &ChangeTerms,
    away: ProgramDigest,
    on_progress: impl Fn(Told),
) -> Result<(), Failure> {
    let Some(command) = &terms.revert else {
        let sentence = "there is no `revert` command";
        return Err(Failure::new(FailureKind::InstallFailed, sentence));
    };
    let away = away.to_string();
    let command = command.iter().map(|word| word.replace(AWAY, &away)).collect();
    let job = Job { id: id.clone(), command, deadline: terms.command_deadline };
    updater.start(&job).await?;
    let mut finished = updater.ended(id, &on_progress).await?;
    // Nobody knows how far it came, and no other way leads away from what has failed.
    if finished.ended == Ended::Vanished {
        updater.start_over(&job).await?;
        finished = updater.ended(id, &on_progress).await?;
    }
    match finished.ended {
        Ended::Exit(0) => Ok(()),
        _ => Err(failure_of(&finished, "revert")),
    }
}

/// The restart that follows the way back, where one follows the way there.
async fn reverted(restarter: &Restarter, terms: &ChangeTerms, left: Option<&Origin>) -> Event {
    if terms.restart.is_none() {
        return Event::Reverted { restart_from: None };
    }
    match restarter.origin().await {
        Ok(now) if left.is_some_and(|left| Origin::was_left_alone(left, &now)) => {
            Event::Reverted { restart_from: None }
        }
        Ok(now) => Event::Reverted { restart_from: Some(now) },
        Err(failure) => Event::RestartFailed(failure),
    }
}

fn failure_of(finished: &Finished, field: &str) -> Failure {
    let (kind, how) = match &finished.ended {
        Ended::Exit(code) => (FailureKind::InstallFailed, format!("ended with exit code {code}")),
        Ended::Signal(signal) => {
            (FailureKind::InstallFailed, format!("was ended by signal {signal}"))
        }
        Ended::TimedOut => (FailureKind::Timeout, "did not end in time".to_owned()),
        Ended::NotStarted(why) => {
            (FailureKind::InstallFailed, format!("could not be started: {why}"))
        }
        Ended::Vanished => {
            (FailureKind::Interrupted, "was cut off, and how far it came is not known".to_owned())
        }
        Ended::NotBegun => (FailureKind::Interrupted, "was never begun".to_owned()),
    };
    // Our own process says why, in words that fit.
    if let (Ended::Exit(_), Some(told)) = (&finished.ended, mcu::failure(&finished.last_lines)) {
        return told;
    }
    let failure = Failure::new(kind, format!("the updater (`{field}`) {how}"));
    let said = finished.last_lines.last();
    Failure { causes: said.into_iter().cloned().collect(), ..failure }
        .with_hint("see what the updater says: `journalctl -t uplift-change`")
}
