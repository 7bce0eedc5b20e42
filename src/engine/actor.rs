//! The actor behind the handle: owns the machine and the journal, answers questions, and takes each
//! step. What a step entails is done by [`super::hands`], and told by [`super::herald`].

mod by_hand;
mod first_look;
mod held;
mod opening;
mod receiving;
mod reports;

use std::sync::Arc;

use tokio::sync::mpsc;

use super::blocking::off_thread;
use super::choice;
use super::hands::{Finished, Hands, TaskResult, Way, unknown};
use super::herald::{Herald, speak_of};
use super::installed::installed;
use super::{Answer, Command};
use crate::config::{Component, Config};
use crate::journal::{self, Journal};
use crate::log::message;
use crate::machine::{Action, Event, Refused, State};
use crate::model::{
    ComponentName, Failure, FailureKind, Installed, PackageSummary, Phase, Request, Step, Upgrade,
    UpgradeId,
};
use crate::package::check::Rules;
use crate::package::choice::LastHashed;
use crate::policy::Gatekeeper;
use first_look::FirstLook;
use held::Looks;

/// Commands that wait while the engine performs a short action.
const COMMAND_QUEUE: usize = 16;

/// The engine itself. [`Actor::run`] is its life.
pub struct Actor {
    config: Arc<Config>,
    state: State,
    journal: Journal,
    herald: Herald,
    hands: Hands,
    policy: Arc<Gatekeeper>,
    commands: mpsc::Receiver<Command>,
    finished: mpsc::Receiver<Finished>,
    check_answer: Option<Answer<PackageSummary>>,
    looks: Looks,
    first_look: FirstLook,
    /// The program that the last file with changes was for.
    hashed: LastHashed,
}

impl std::fmt::Debug for Actor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Actor").field("state", &self.state).finish_non_exhaustive()
    }
}

impl Actor {
    /// Answers until all handles are gone.
    pub async fn run(mut self) {
        loop {
            tokio::select! {
                Some(finished) = self.finished.recv() => self.finish(finished).await,
                command = self.commands.recv() => match command {
                    Some(command) => {
                        if let Some(command) = self.first_look.put_off(command) {
                            self.answer(command).await;
                        }
                    }
                    None => return,
                },
                found = self.first_look.found() => self.end_first_look(found).await,
                () = self.looks.time() => self.look().await,
            }
        }
    }

    async fn answer(&mut self, command: Command) {
        match command {
            Command::Begin(request, answer) => self.ask_to_begin(request, answer).await,
            Command::Receive(id, announced, if_refused, answer) => {
                let result = self.receive(&id, announced, if_refused).await;
                let _ = answer.send(result);
            }
            Command::ReceptionFailed(id, failure, answer) => {
                let result = self.reception_failed(&id, failure).await;
                let _ = answer.send(result);
            }
            Command::Check(id, staged, answer) => self.check(&id, staged, answer).await,
            Command::Start(id, answer) => match (self.owned(&id), self.state.upgrade()) {
                // It was put off, and starts by itself.
                (Ok(()), Some(_)) if self.state.deferral().is_some() => {
                    let _ = answer.send(Ok(()));
                }
                (Ok(()), Some(upgrade)) => self.hands.find_old(upgrade, answer),
                (owned, _) => {
                    let _ = answer.send(Err(owned.err().unwrap_or_else(over)));
                }
            },
            Command::Abandon(id, failure, answer) => {
                let result = self.abandon(&id, failure).await;
                let _ = answer.send(result);
            }
            Command::GiveUp(id, failure, answer) => {
                self.herald.set_awaited(false);
                let result = self.abandon(&id, failure).await;
                self.herald.set_awaited(true);
                let channel = self.state.upgrade().map(|upgrade| upgrade.request.channel);
                let result = match channel.filter(|_| result.is_ok()) {
                    Some(channel) => self.acknowledge(channel).await,
                    None => result,
                };
                let _ = answer.send(result);
            }
            Command::Confirm(by, answer) => {
                let result = self.confirm(by).await;
                let _ = answer.send(result);
            }
            Command::RollBack(request, component, answer) => {
                self.roll_back(request, component, answer).await;
            }
            Command::ForgetMinimum(by, component, answer) => {
                let result = self.forget_minimum(by, component).await;
                let _ = answer.send(result);
            }
            Command::Cancel(id, by, answer) => {
                let result = self.cancel(&id, &by).await;
                let _ = answer.send(result);
            }
            Command::Hold(by, reason, time, answer) => {
                let result = self.hold(by, reason, time).await;
                let _ = answer.send(result);
            }
            Command::Release(by, answer) => {
                let result = self.release(by).await;
                let _ = answer.send(result);
            }
            Command::Acknowledge(channel, answer) => {
                let result = self.acknowledge(channel).await;
                let _ = answer.send(result);
            }
            Command::Ping(answer) => {
                let _ = answer.send(Ok(()));
            }
            Command::EntryAfter(before, answer) => {
                let _ = answer.send(Ok(self.journal.entry_after(before.as_deref())));
            }
            Command::Report(id, answer) => {
                let _ = answer.send(Ok(self.journal.newest_report(|report| report.id == id)));
            }
            Command::Measure(answer) => {
                let _ = answer.send(Ok(self.herald.measures(&self.journal)));
            }
            Command::Tell(failure) => self.herald.notice(&failure),
            Command::UpdateLink(link) => self.herald.update_link(link),
            Command::Part(id, answer) => {
                let _ = answer.send(self.part(&id));
            }
            Command::Note(id, note, answer) => {
                let result = self.note(&id, note).await;
                let _ = answer.send(result);
            }
            Command::UpdateChannel(status) => self.herald.update_channel(&status),
        }
    }

    /// Later steps of an upgrade that is over, or of another one, are refused.
    fn owned(&self, id: &UpgradeId) -> Result<(), Failure> {
        match self.state.upgrade() {
            Some(upgrade) if upgrade.id == *id && self.state.phase() != Phase::Concluded => Ok(()),
            _ => Err(over()),
        }
    }

    async fn begin(&mut self, request: Request) -> Result<UpgradeId, Failure> {
        let channel = request.channel;
        let only = choice::only(&self.config, channel);
        if let Some(only) = only
            && matches!(self.state, State::Idle | State::Concluded { .. })
        {
            self.look_at(only).await;
        }
        let upgrade = self.new_upgrade(request, only.map(Component::name))?;
        self.apply(Event::Begin(upgrade)).await?;
        self.forget_report_of(channel).await;
        let upgrade = self
            .state
            .upgrade()
            .ok_or_else(|| Failure::new(FailureKind::Internal, "the upgrade vanished"))?;
        tracing::info!(
            MESSAGE_ID = message::BEGAN,
            "upgrade asked for by {} over {}",
            upgrade.request.requester,
            upgrade.request.transfer
        );
        Ok(upgrade.id.clone())
    }

    /// Somebody else may have replaced what is there since it was looked at.
    async fn look_at(&self, component: &Component) {
        let name = component.name();
        let (_, seen) = self.herald.installed(name);
        // What another updater has installed can only be asked for.
        let changed = match self.hands.program(name) {
            None => Ok(component.common().version_command.is_some()),
            Some(program) => {
                let program = program.clone();
                let differs = move || program.known_digest().is_ok_and(|digest| digest != seen);
                off_thread(differs).await
            }
        };
        if changed.is_ok_and(|changed| changed) {
            self.herald.update_installed(self.installed(component).await);
        }
    }

    async fn installed(&self, component: &Component) -> Installed {
        installed(component, self.hands.program(component.name()), &self.journal).await
    }

    fn new_upgrade(
        &self,
        request: Request,
        component: Option<ComponentName>,
    ) -> Result<Upgrade, Failure> {
        Ok(Upgrade {
            id: new_id()?,
            request,
            component,
            from: component.and_then(|name| self.herald.installed(name).0),
            file_name: None,
            began: journal::stamp(),
            phases: Vec::new(),
        })
    }

    async fn abandon(&mut self, id: &UpgradeId, failure: Failure) -> Result<(), Failure> {
        self.owned(id)?;
        self.apply(Event::Fail(failure)).await
    }

    async fn start(&mut self, found: Result<Event, Failure>) -> Result<(), Failure> {
        if self.state.deferral().is_some() && !self.hands.has_checked() {
            return Ok(()); // another word to start came before this one, and it was put off
        }
        match found {
            Ok(start) => self.apply(start).await?,
            Err(failure) => {
                self.apply(Event::Fail(failure.clone())).await?;
                return Err(failure);
            }
        }
        // The intent to install that can't be written down ends the upgrade.
        if self.state.swap().is_some() || self.state.change().is_some() {
            return Ok(());
        }
        Err(self.herald.last_failure().unwrap_or_else(over))
    }

    async fn finish(&mut self, mut finished: Finished) {
        match finished.result {
            TaskResult::WayBack(found, answer) => return self.go_back(found, answer).await,
            TaskResult::Asked(said, request, answer) => {
                return self.begin_if(said, request, answer).await;
            }
            result => finished.result = result,
        }
        if let Err(late) = self.owned(&finished.upgrade) {
            tracing::debug!("the result of a task of {} comes too late: {late}", finished.upgrade);
            if let TaskResult::Found(_, answer) | TaskResult::PutOff(_, Some(answer)) =
                finished.result
            {
                let _ = answer.send(Err(late));
            }
            return;
        }
        let event = match finished.result {
            TaskResult::Checked(Ok(checked)) => {
                let summary = checked.summary().clone();
                self.hands.take_checked(checked);
                Event::CheckPassed(summary)
            }
            TaskResult::Checked(Err(failure)) => Event::Fail(failure),
            TaskResult::Found(found, answer) => {
                let result = self.start(found).await;
                let _ = answer.send(result);
                return;
            }
            TaskResult::PutOff(later, answer) => {
                let result = self.put_off(later).await;
                return match answer {
                    Some(answer) => drop(answer.send(result)),
                    None => told(result),
                };
            }
            TaskResult::Rechecked(checked) => return self.rechecked(checked).await,
            TaskResult::Healthy(evidence, held) => {
                self.hands.hold(held);
                let concluded = self.apply(Event::Healthy(evidence)).await;
                if concluded.is_err() {
                    self.hands.release();
                }
                return told(concluded);
            }
            TaskResult::WayBack(..) | TaskResult::Asked(..) => return, // taken above
            TaskResult::Event(event) => event,
        };
        told(self.apply(event).await);
    }

    /// One step of the machine, and all that follows from it.
    async fn apply(&mut self, event: Event) -> Result<(), Failure> {
        let state = std::mem::replace(&mut self.state, State::Idle);
        match state.step(event) {
            Ok((state, actions)) => {
                self.enter(state, actions).await;
                Ok(())
            }
            Err(refused) => {
                let Refused { state, failure } = *refused;
                self.state = state;
                Err(failure)
            }
        }
    }

    async fn enter(&mut self, mut state: State, actions: Vec<Action>) {
        self.herald.begin_phase(&mut state);
        if !matches!(state, State::Trial { .. }) {
            self.hands.end_trial();
        }
        self.state = state;
        speak_of(&self.state);
        for action in actions {
            if let Err(failure) = self.perform(action).await {
                // The intent could not be written down, so it is not carried out.
                let state = std::mem::replace(&mut self.state, State::Idle);
                let event = match &state {
                    State::Installing { .. } => Event::SwapFailed(failure),
                    State::Changing { step: Step::Installing, .. } => Event::SwapFailed(failure),
                    State::RestartingBack { .. } | State::Changing { .. } => {
                        Event::RestartFailed(failure)
                    }
                    _ => Event::Fail(failure),
                };
                match state.step(event) {
                    Ok((state, actions)) => return Box::pin(self.enter(state, actions)).await,
                    Err(refused) => self.state = refused.state,
                }
            }
        }
        self.herald.publish(&self.state);
        self.answer_check();
        if matches!(&self.state, State::Concluded { upgrade, .. } if !upgrade.request.is_acknowledged())
        {
            self.state = State::Idle;
            speak_of(&self.state);
            self.herald.publish(&self.state);
        }
    }

    /// An error only where going on would break a promise: an intent that is not in the journal.
    async fn perform(&mut self, action: Action) -> Result<(), Failure> {
        match action {
            Action::EmptyStage => {
                self.herald.drop_progress();
                let kept = self.kept();
                self.hands.empty_stage(kept).await;
            }
            Action::DropReceptions => {
                self.herald.drop_progress();
                self.hands.drop_receptions(self.state.upgrade().map(|upgrade| &upgrade.id)).await;
            }
            Action::Record => return self.record().await,
            Action::Report => self.report().await,
            Action::Forget => {}
            Action::Check => {
                if let Some(upgrade) = self.state.upgrade() {
                    let rules = self.rules(upgrade.component())?;
                    self.hands.check(&upgrade.id, rules);
                }
            }
            Action::Swap | Action::Restart | Action::Try | Action::SwapBack => {
                self.begin_work(action);
            }
        }
        Ok(())
    }

    /// Work that takes time and sends its result back.
    fn begin_work(&mut self, action: Action) {
        let Self { state, hands, herald, .. } = self;
        let Some(upgrade) = state.upgrade() else { return };
        let id = &upgrade.id;
        match (action, &*state) {
            (Action::Swap, State::Installing { swap, .. }) => hands.swap(id, swap),
            (Action::Restart, State::Restarting { swap, requests, .. }) => {
                // The peer hears that the payload restarts before it does.
                herald.publish(state);
                hands.restart(upgrade, swap, Way::There { requests: *requests });
            }
            (Action::Restart, State::RestartingBack { swap, .. }) => {
                herald.publish(state);
                hands.restart(upgrade, swap, Way::Back);
            }
            (Action::Try, State::Trial { swap, confirmed_by, .. }) => {
                hands.try_program(upgrade, swap, confirmed_by.is_some(), herald.trial_observer());
            }
            (Action::SwapBack, State::Reverting { swap, verdict, .. }) => {
                hands.swap_back(id, swap, verdict);
            }
            (_, State::Changing { change, step, .. }) => {
                if matches!(action, Action::Restart) {
                    herald.publish(state);
                }
                hands.change(upgrade, change, step, herald);
            }
            _ => {} // the machine asks for none of these in another state
        }
    }

    async fn record(&mut self) -> Result<(), Failure> {
        let state = self.state.clone();
        let written =
            self.write_journal("the upgrade's state", move |journal| journal.record(&state)).await;
        let must_be_known = match &self.state {
            State::Checking { .. } | State::Deferred { .. } | State::Installing { .. } => true,
            // Nobody would know after the restart that it took place, and would ask for it again,
            // for ever.
            State::RestartingBack { .. } => true,
            // Nothing else tells of a change by another updater.
            State::Changing { step, .. } => matches!(
                step,
                Step::Installing | Step::Restarting { .. } | Step::RestartingBack { .. }
            ),
            // After the swap the journal's older entry and the program at the path tell the same
            // story.
            _ => false,
        };
        if must_be_known { written } else { Ok(()) }
    }

    async fn write_journal(
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
            self.hands.release();
        }
        written.map_err(|error| {
            let failure = Failure::from_io(
                FailureKind::InstallFailed,
                format!("{what} can't be written to the journal"),
                error,
            );
            self.herald.notice(&failure);
            failure
        })
    }

    fn rules(&self, component: ComponentName) -> Result<Rules, Failure> {
        let (running, _) = self.herald.installed(component);
        let config = self.config.components.get(component).ok_or_else(|| unknown(component))?;
        Ok(Rules::new(config, &self.config.package)
            .remembering(self.hashed.clone())
            .running(running)
            .minimum(self.journal.minimum_version(component))
            .known_bad(self.journal.known_bad(component).iter().copied().collect())
            .sealed(self.state.upgrade().is_some_and(|upgrade| upgrade.request.sealed))
            .kept(self.state.upgrade().is_some_and(|upgrade| upgrade.request.waits))
            .forced(self.state.upgrade().is_some_and(|upgrade| upgrade.request.forced)))
    }

    /// The sender of the file hears the verdict once the status shows it.
    fn answer_check(&mut self) {
        let verdict = match &self.state {
            State::Ready { package, .. } => Ok(package.clone()),
            State::Concluded { conclusion, .. } => {
                Err(conclusion.failure.clone().unwrap_or_else(|| {
                    Failure::new(FailureKind::Internal, "the upgrade ended before its check did")
                }))
            }
            _ => return,
        };
        if let Some(answer) = self.check_answer.take() {
            let _ = answer.send(verdict);
        }
    }
}

fn told(result: Result<(), Failure>) {
    if let Err(failure) = result {
        tracing::error!(UPLIFT_KIND = %failure.kind, "{failure}");
    }
}

fn over() -> Failure {
    Failure::new(FailureKind::Cancelled, "this upgrade is over")
}

/// A random name from the kernel.
fn new_id() -> Result<UpgradeId, Failure> {
    std::fs::read_to_string("/proc/sys/kernel/random/uuid")
        .map(|uuid| UpgradeId(uuid.trim().to_owned()))
        .map_err(|error| {
            Failure::new(FailureKind::Internal, "the kernel gives no random name").because(error)
        })
}
