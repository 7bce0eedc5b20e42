//! What the actor does about a step of the machine, one method an action. Short ones are awaited;
//! long ones run as tasks that send their result back, tagged with the upgrade that they are for.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::Answer;
use super::actor::{Actor, Finished, OnTrial, TaskResult};
use super::blocking::{blocking, off_thread};
use super::news::{installed, log, notice};
use crate::config::Config;
use crate::health;
use crate::journal::{self, Journal};
use crate::machine::{Action, Event, Origin, State, Terms, replaced_by_hand};
use crate::model::{Failure, FailureKind, Outcome, Report, UpgradeId, Verdict};
use crate::package::check::{Checked, Policy, check};
use crate::package::digest::ProgramDigest;
use crate::rescue::{self, SecondCopy};
use crate::restart::{self, Restarter};
use crate::target::program::{Lock, Program, Reverted};

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

    /// Puts the staging area in order behind an upgrade that came to nothing or was rolled back, as
    /// long as the journal holds it: a power cut, or whoever rolled it back, may have left that
    /// undone.
    async fn finish_swap(&self) {
        let State::Concluded { conclusion, .. } = &self.state else { return };
        let ran = match conclusion.outcome {
            Outcome::Succeeded => return,
            Outcome::Failed => false,
            Outcome::RolledBack => true,
        };
        let Some(package) = conclusion.package.clone() else { return };
        let program = self.program.clone();
        if let Err(failure) = blocking(move || program.finish(&package, ran)).await {
            tracing::warn!(UPLIFT_KIND = %failure.kind, "{failure}");
        }
    }

    /// What nothing leads back to any more, now that the success is written down.
    async fn forget_older(&self) {
        let program = self.program.clone();
        if let Err(error) = blocking(move || program.forget_older()).await {
            let failure = Failure::from_io(
                FailureKind::Internal,
                "the program of two upgrades ago can't be removed",
                error,
            );
            tracing::warn!(UPLIFT_KIND = %failure.kind, "{failure}");
        }
    }

    /// The second copy of the trial, which is over now. Where that fails, the rescue's next call
    /// does it, or the next daemon.
    async fn forget_second_copy(&self) {
        let second_copy = self.second_copy.clone();
        if let Err(failure) = blocking(move || second_copy.forget()).await {
            tracing::warn!(UPLIFT_KIND = %failure.kind, "{failure}");
        }
    }

    async fn record(&mut self) -> Result<(), Failure> {
        let state = self.state.clone();
        let written =
            self.write_journal("the upgrade's state", move |journal| journal.record(&state)).await;
        match written {
            // Nobody would know after the restart that it took place, and would ask for it again,
            // for ever.
            Err(failure) if matches!(self.state, State::RestartingBack { .. }) => Err(failure),
            Err(failure)
                if matches!(self.state, State::Checking { .. } | State::Installing { .. }) =>
            {
                Err(failure)
            }
            // After the swap the journal's older entry and the program at the path tell the same
            // story.
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
        if written.is_ok() {
            self.held = None;
        }
        written.map_err(|error| {
            let failure = Failure::from_io(
                FailureKind::InstallFailed,
                format!("{what} can't be written to the journal"),
                error,
            );
            self.notice(&failure);
            failure
        })
    }

    pub(super) fn policy(&self) -> Policy {
        let running = self.status.borrow().installed.version;
        Policy::new(&self.config.program, &self.config.package)
            .running(running)
            .minimum(self.journal.minimum_version())
            .known_bad(self.journal.known_bad().iter().copied().collect())
            .forced(self.state.upgrade().is_some_and(|upgrade| upgrade.request.forced))
    }

    fn spawn_check(&mut self) {
        let Some(staged) = self.staged.take() else { return };
        let policy = self.policy();
        self.spawn_task(async move {
            TaskResult::Checked(blocking(move || check(staged, &policy)).await)
        });
    }

    /// Looks at what is to be swapped and restarted: a large program takes seconds to read, and
    /// systemd may take its time.
    pub(super) fn spawn_start(&self, answer: Answer<()>) {
        let (program, config) = (self.program.clone(), Arc::clone(&self.config));
        self.spawn_task(async move { TaskResult::Found(find_old(program, &config).await, answer) });
    }

    fn spawn_swap(&mut self) {
        let (Some(checked), Some(swap)) = (self.checked.take(), self.state.swap()) else { return };
        let (program, old, second_copy) =
            (self.program.clone(), swap.old, self.second_copy.clone());
        self.spawn(async move {
            match off_thread(move || install(&program, old, checked, &second_copy)).await {
                Ok(event) => event,
                Err(died) => Event::SwapFailed(died.into()),
            }
        });
    }

    fn spawn_restart(&self) {
        let Some(swap) = self.state.swap() else { return };
        let (origin, restarter) = (swap.origin.clone(), self.restarter_of(&swap.terms));
        let (copied, armed, is_back) = (
            self.copy_trial(),
            self.arm_rescue(),
            matches!(self.state, State::RestartingBack { .. }),
        );
        self.spawn(async move {
            copied.await;
            armed.await;
            let restarted = if is_back {
                restarter.restart_back(&origin).await
            } else {
                restarter.restart(&origin).await
            };
            match restarted {
                Ok(now) => Event::Restarted(now),
                Err(failure) => Event::RestartFailed(failure),
            }
        });
    }

    /// Where there is no second copy of the trial yet it is made: a way back by hand had no swap,
    /// and the daemon that swapped may have been of an earlier version. Without it things go on:
    /// the state file tells of the trial.
    fn copy_trial(&self) -> impl Future<Output = ()> + Send + 'static {
        let (second_copy, status) = (self.second_copy.clone(), Arc::clone(&self.status));
        async move {
            if let Err(failure) = blocking(move || second_copy.make()).await {
                notice(&status, &failure);
            }
        }
    }

    /// Starts the timer of the second deadline, which watches the way back too; one that runs
    /// already runs on. Without it the upgrade goes on: a payload without systemd has the first
    /// deadline still.
    fn arm_rescue(&self) -> impl Future<Output = ()> + Send + 'static {
        let (timer, status) = (self.config.paths.rescue_timer.clone(), Arc::clone(&self.status));
        async move {
            let Some(timer) = timer else { return };
            if let Err(failure) = rescue::arm(&timer).await {
                let sentence = "the second deadline of the trial is not armed";
                notice(&status, &Failure::new(failure.kind, sentence).because(failure));
            }
        }
    }

    /// The restart of an upgrade under way is the one that was agreed, whatever the configuration
    /// says by now.
    pub(super) fn restarter_of(&self, terms: &Terms) -> Restarter {
        Restarter::new(terms, &self.config.paths)
    }

    /// So is its program.
    pub(super) fn program_of(&self, terms: &Terms) -> Program {
        if terms.program == self.program.path() {
            self.program.clone()
        } else {
            Program::new(&terms.program)
        }
    }

    fn spawn_trial(&mut self) {
        let State::Trial { upgrade, swap, confirmed_by, .. } = &self.state else { return };
        let (id, expected) = (upgrade.id.clone(), swap.package.program_digest);
        let (program, state) = (self.program_of(&swap.terms), self.config.paths.state.clone());
        let (confirmed, confirmation) = watch::channel(confirmed_by.is_some());
        let trial = health::Trial::new(
            expected,
            program.clone(),
            swap.terms.clone(),
            confirmation,
            self.trial_observer(),
        );
        let trial = trial.with_isolation(self.config.program.isolate_commands);
        // Again, for the daemon of another boot, where the timer may not be enabled.
        let (copied, armed) = (self.copy_trial(), self.arm_rescue());
        let task = self.spawn_task(async move {
            copied.await;
            armed.await;
            let evidence = match trial.run().await {
                Ok(evidence) => evidence,
                Err(verdict) => {
                    // Where the rescue has rolled back meanwhile, that is what this trial has seen.
                    let ruled =
                        off_thread(move || rescue::read_ruling(&state, &id)).await.ok().flatten();
                    return TaskResult::Event(Event::Unhealthy(
                        ruled.map_or(verdict, |ruled| ruled.verdict),
                    ));
                }
            };
            match off_thread(move || hold(&program, expected, &state, &id)).await {
                Ok(Ok(held)) => TaskResult::Healthy(evidence, held),
                Ok(Err(verdict)) => TaskResult::Event(Event::Unhealthy(verdict)),
                Err(died) => TaskResult::Event(Event::Unhealthy(Failure::from(died).into())),
            }
        });
        self.trial = task.map(|task| OnTrial { confirmed, task });
    }

    fn spawn_swap_back(&self) {
        let State::Reverting { swap, verdict, .. } = &self.state else { return };
        let (program, on_trial, over_itself) =
            (self.program_of(&swap.terms), swap.package.program_digest, swap.is_over_itself());
        let (restart_failed, origin) =
            (verdict.failure.kind == FailureKind::RestartFailed, swap.origin.clone());
        let (restarter, restart, old) =
            (self.restarter_of(&swap.terms), swap.terms.restart.clone(), swap.old);
        // A way back by hand comes long after the trial, for which the timer ran.
        let (copied, armed) = (self.copy_trial(), self.arm_rescue());
        self.spawn(async move {
            copied.await;
            let reverted =
                blocking(
                    move || if over_itself { Ok(()) } else { put_back(&program, on_trial, old) },
                );
            if let (Err(failure), ()) = tokio::join!(reverted, armed) {
                return Event::RevertFailed(failure);
            }
            match restarter.origin().await {
                // It may have been started by somebody else meanwhile, which is no restart that was
                // agreed, but one all the same.
                Ok(now)
                    if restart_failed
                        && Origin::was_never_restarted(&origin, &now, &restart)
                        && (over_itself || !restarter.runs(on_trial).await) =>
                {
                    Event::Reverted { restart_from: None }
                }
                Ok(now) => Event::Reverted { restart_from: Some(now) },
                Err(failure) => Event::RestartFailed(failure),
            }
        });
    }

    fn spawn(&self, work: impl Future<Output = Event> + Send + 'static) {
        self.spawn_task(async move { TaskResult::Event(work.await) });
    }

    fn spawn_task(
        &self,
        work: impl Future<Output = TaskResult> + Send + 'static,
    ) -> Option<AbortHandle> {
        let upgrade = self.state.upgrade()?.id.clone();
        Some(self.spawn_task_of(upgrade, work))
    }

    pub(super) fn spawn_task_of(
        &self,
        upgrade: UpgradeId,
        work: impl Future<Output = TaskResult> + Send + 'static,
    ) -> AbortHandle {
        self.spawn_work(upgrade, Box::pin(work))
    }

    /// In one kind of task for all work: the runtime's code for a kind, and the stack on which one
    /// is made, are kilobytes of an idle daemon's memory.
    fn spawn_work(
        &self,
        upgrade: UpgradeId,
        work: Pin<Box<dyn Future<Output = TaskResult> + Send>>,
    ) -> AbortHandle {
        let events = self.events.clone();
        let task = tokio::spawn(async move {
            // The engine is gone only when the daemon stops.
            let _ = events.send(Finished { upgrade, result: work.await }).await;
        });
        task.abort_handle()
    }

    async fn report(&mut self) {
        self.finish_swap().await;
        let State::Concluded { upgrade, conclusion } = &self.state else { return };
        let report = Report {
            id: upgrade.id.clone(),
            request: upgrade.request.clone(),
            from: upgrade.from,
            file_name: upgrade.file_name.clone(),
            package: conclusion.package.clone(),
            outcome: conclusion.outcome,
            failure: conclusion.failure.clone(),
            evidence: conclusion.evidence.clone(),
            program_log: conclusion.program_log.clone(),
            began: upgrade.began.clone(),
            ended: journal::stamp(),
            phases: upgrade.phases.clone(),
        };
        log(&report);
        let acknowledged = !upgrade.request.channel.acknowledges();
        let written = report.clone();
        let kept = self
            .write_journal("the report", move |journal| journal.conclude(&written, acknowledged))
            .await;
        if let Err(failure) = kept {
            tracing::error!(UPLIFT_KIND = %failure.kind, "the report is kept in memory only");
        } else {
            self.forget_second_copy().await;
            if report.outcome == Outcome::Succeeded {
                self.forget_older().await;
            }
        }
        let installed = installed(&self.config.program, &self.program, &self.journal).await;
        let unacknowledged = self.journal.unacknowledged().to_vec();
        let known_bad = self.journal.known_bad().to_vec();
        let minimum_version = self.journal.minimum_version();
        self.status.send_modify(|status| {
            status.installed = installed;
            status.unacknowledged = unacknowledged;
            status.known_bad = known_bad;
            status.minimum_version = minimum_version;
            status.last = Some(report);
        });
    }
}

/// Holds the program that a trial found healthy, so that `uplift-rescue` can't roll it back before
/// its success is written down. It may have done so a moment ago, or have decided to.
fn hold(
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
fn put_back(
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
    if at_path == old { Ok(()) } else { Err(replaced_by_hand()) }
}

async fn find_old(program: Program, config: &Config) -> Result<Event, Failure> {
    let unreadable = |error| {
        Failure::from_io(FailureKind::InstallFailed, "the installed program can't be read", error)
    };
    let old = blocking(move || program.known_digest()).await.map_err(unreadable)?;
    let terms = restart::agree(config).await?;
    Ok(Event::Start { old, origin: Restarter::new(&terms, &config.paths).origin().await?, terms })
}

/// Installs, and tells by what lies at the path afterwards. An error can leave the new program
/// there, where the disk refused to sync and to undo alike; then it is put back, and where even
/// that fails, it is what the next start will run.
fn install(
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
