//! What the actor does about a step of the machine, one method an action. Short ones are awaited; long ones run as tasks
//! that send their result back, tagged with the upgrade that they are for.

use std::sync::atomic::Ordering;

use super::Answer;
use super::actor::{Actor, Finished, TaskResult};
use super::blocking::{blocking, off_thread};
use super::news::{installed, log};
use crate::health;
use crate::journal::{self, Journal};
use crate::machine::{Action, Event, State, Upgrade};
use crate::model::{Channel, Failure, FailureKind, Report};
use crate::package::check::{Checked, Policy, check};
use crate::package::digest::ProgramDigest;
use crate::restart::Restarter;
use crate::target::program::Program;

impl Actor {
    /// An error only where going on would break a promise: an intent that is not in the journal.
    pub(super) async fn perform(&mut self, action: Action) -> Result<(), Failure> {
        match action {
            Action::EmptyStage => self.empty_stage().await,
            Action::Record => return self.record().await,
            Action::Check => self.spawn_check(),
            Action::Swap => self.spawn_swap(),
            Action::Restart => {
                // The peer hears that the payload restarts before it does.
                self.publish();
                self.spawn_restart();
            }
            Action::Try => self.spawn_trial(),
            Action::SwapBack => self.spawn_swap_back(),
            Action::Report => self.report().await,
            Action::Forget => {}
        }
        Ok(())
    }

    async fn empty_stage(&mut self) {
        self.reception.fetch_add(1, Ordering::Relaxed);
        self.staged = None;
        self.checked = None;
        let stage = self.stage.clone();
        if let Err(failure) = blocking(move || stage.clean()).await {
            // What could not be removed now will be in the way later, and is reported then.
            tracing::warn!(UPLIFT_KIND = %failure.kind, "{failure}");
        }
    }

    async fn record(&mut self) -> Result<(), Failure> {
        let state = self.state.clone();
        let written = self.write_journal("the upgrade's state", move |journal| journal.record(&state)).await;
        match written {
            // Nobody would know after the restart that it took place, and would ask for it again, for ever.
            Err(failure) if matches!(self.state, State::RestartingBack { .. }) => Err(failure),
            Err(failure) if matches!(self.state, State::Checking { .. } | State::Installing { .. }) => Err(failure),
            // After the swap the journal's older entry and the program at the path tell the same story.
            _ => Ok(()),
        }
    }

    pub(super) async fn write_journal(
        &mut self,
        what: &str,
        write: impl FnOnce(&mut Journal) -> std::io::Result<()> + Send + 'static,
    ) -> Result<(), Failure> {
        let mut journal = self.journal.clone();
        let (journal, written) = off_thread(move || {
            let written = write(&mut journal);
            (journal, written)
        })
        .await?;
        self.journal = journal;
        written.map_err(|error| {
            let failure = Failure::from_io(FailureKind::InstallFailed, format!("{what} can't be written to the journal"), error);
            self.notice(&failure);
            failure
        })
    }

    pub(super) fn policy(&self) -> Policy {
        let running = self.status.borrow().installed.version;
        Policy::new(&self.config.program, &self.config.package)
            .running(running)
            .known_bad(self.journal.known_bad().iter().copied().collect())
    }

    fn spawn_check(&mut self) {
        let Some(staged) = self.staged.take() else { return };
        let policy = self.policy();
        self.spawn_task(async move { TaskResult::Checked(blocking(move || check(staged, &policy)).await) });
    }

    /// Looks at what is to be swapped and restarted: a large program takes seconds to read, and systemd may take its time.
    pub(super) fn spawn_start(&self, answer: Answer<()>) {
        let (program, restarter) = (self.program.clone(), self.restarter.clone());
        self.spawn_task(async move { TaskResult::Found(find_old(program, &restarter).await, answer) });
    }

    fn spawn_swap(&mut self) {
        let (Some(checked), Some(swap)) = (self.checked.take(), self.state.swap()) else { return };
        let (program, old) = (self.program.clone(), swap.old);
        self.spawn(async move {
            match off_thread(move || install(&program, old, checked)).await {
                Ok(event) => event,
                Err(died) => Event::SwapFailed(died.into()),
            }
        });
    }

    fn spawn_restart(&self) {
        let Some(swap) = self.state.swap() else { return };
        let (origin, restarter) = (swap.origin.clone(), self.restarter.clone());
        self.spawn(async move {
            match restarter.restart(&origin).await {
                Ok(()) => Event::Restarted,
                Err(failure) => Event::RestartFailed(failure),
            }
        });
    }

    fn spawn_trial(&self) {
        let Some(swap) = self.state.swap() else { return };
        let trial = health::Trial {
            expected: swap.package.program_digest,
            program: self.program.clone(),
            unit: self.config.program.unit.clone(),
            deadline: self.config.trial.deadline,
        };
        self.spawn(async move {
            match trial.run().await {
                Ok(evidence) => Event::Healthy(evidence),
                Err(failure) => Event::Unhealthy(failure),
            }
        });
    }

    fn spawn_swap_back(&self) {
        let State::Reverting { swap, failure, .. } = &self.state else { return };
        let (program, on_trial) = (self.program.clone(), swap.package.program_digest);
        let (restart_failed, origin) = (failure.kind == FailureKind::RestartFailed, swap.origin.clone());
        let restarter = self.restarter.clone();
        self.spawn(async move {
            if let Err(failure) = blocking(move || program.revert(on_trial)).await {
                return Event::RevertFailed(failure);
            }
            match restarter.origin().await {
                // Same boot, same start of the unit: the old program was never stopped.
                Ok(now) if restart_failed && now == origin => Event::Reverted { restart_from: None },
                Ok(now) => Event::Reverted { restart_from: Some(now) },
                Err(failure) => Event::RestartFailed(failure),
            }
        });
    }

    fn spawn(&self, work: impl Future<Output = Event> + Send + 'static) {
        self.spawn_task(async move { TaskResult::Event(work.await) });
    }

    fn spawn_task(&self, work: impl Future<Output = TaskResult> + Send + 'static) {
        let Some(upgrade) = self.state.upgrade().map(|upgrade| upgrade.id.clone()) else { return };
        let events = self.events.clone();
        tokio::spawn(async move {
            // The engine is gone only when the daemon stops.
            let _ = events.send(Finished { upgrade, result: work.await }).await;
        });
    }

    async fn report(&mut self) {
        let State::Concluded { upgrade, conclusion } = &self.state else { return };
        let report = Report {
            id: upgrade.id.clone(),
            request: upgrade.request.clone(),
            from: upgrade.from,
            package: conclusion.package.clone(),
            outcome: conclusion.outcome,
            failure: conclusion.failure.clone(),
            evidence: conclusion.evidence.clone(),
            began: upgrade.began.clone(),
            ended: journal::stamp(),
            phases: upgrade.phases.clone(),
        };
        log(&report);
        let acknowledged = !awaits_acknowledgement(upgrade);
        let written = report.clone();
        let kept = self.write_journal("the report", move |journal| journal.conclude(&written, acknowledged)).await;
        if let Err(failure) = kept {
            tracing::error!(UPLIFT_KIND = %failure.kind, "the report is kept in memory only");
        }
        let installed = installed(&self.config.program, &self.program, &self.journal).await;
        let unacknowledged = self.journal.unacknowledged().to_vec();
        let known_bad = self.journal.known_bad().to_vec();
        self.status.send_modify(|status| {
            status.installed = installed;
            status.unacknowledged = unacknowledged;
            status.known_bad = known_bad;
            status.last = Some(report);
        });
    }
}

async fn find_old(program: Program, restarter: &Restarter) -> Result<Event, Failure> {
    let unreadable = |error| Failure::from_io(FailureKind::InstallFailed, "the program that is installed can't be read", error);
    let old = blocking(move || program.known_digest()).await.map_err(unreadable)?;
    Ok(Event::Start { old, origin: restarter.origin().await? })
}

/// Installs, and tells by what lies at the path afterwards. An error can leave the new program there, where the disk refused
/// to sync and to undo alike; then it is put back, and where even that fails, it is what the next start will run.
fn install(program: &Program, old: Option<ProgramDigest>, checked: Checked) -> Event {
    let new = checked.summary().program_digest;
    let Err(failure) = program.install(checked) else { return Event::Swapped };
    let swapped = old != Some(new) && matches!(program.digest(), Ok(at_path) if at_path == Some(new));
    if !swapped {
        return Event::SwapFailed(failure);
    }
    match program.revert(new) {
        Ok(_) => Event::SwapFailed(failure),
        Err(second) => {
            tracing::error!(UPLIFT_KIND = %failure.kind, "the swap failed ({failure}) and can't be undone ({second}); the trial decides");
            Event::Swapped
        }
    }
}

/// A person at the shell reads the history; nobody there would ever acknowledge.
pub(super) fn awaits_acknowledgement(upgrade: &Upgrade) -> bool {
    upgrade.request.channel != Channel::Shell
}
