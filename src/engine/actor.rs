//! The actor behind the handle: owns the machine, answers questions, and takes each step. What a
//! step entails is in [`super::actions`], what everybody is told in [`super::news`].

mod opening;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::blocking::{blocking, off_thread};
use super::news::installed;
use super::{Answer, Command, Deadline, Ended, Measures, storage};
use crate::config::Config;
use crate::journal::{self, Journal};
use crate::log::message;
use crate::machine::{Action, Event, Refused, State, Upgrade};
use crate::model::{
    Channel, Evidence, Failure, FailureKind, LinkState, PackageSummary, Phase, PhaseDuration,
    Report, Request, Status, UpgradeId,
};
use crate::package::check::{Checked, check_announced};
use crate::rescue::SecondCopy;
use crate::stage::{Announced, Receiving, Stage, Staged};
use crate::target::program::{Lock, Program};

/// Commands that wait while the engine performs a short action.
const COMMAND_QUEUE: usize = 16;
/// How much is kept of the name that a peer gives a file, in characters; a longer one is refused,
/// but the report is to say of which.
const LONGEST_FILE_NAME: usize = 255;

/// The engine itself. [`Actor::run`] is its life.
pub struct Actor {
    pub(super) config: Arc<Config>,
    pub(super) state: State,
    pub(super) journal: Journal,
    pub(super) stage: Stage,
    pub(super) program: Program,
    pub(super) second_copy: SecondCopy,
    commands: mpsc::Receiver<Command>,
    pub(super) events: mpsc::Sender<Finished>,
    finished: mpsc::Receiver<Finished>,
    pub(super) status: Arc<watch::Sender<Status>>,
    pub(super) phase_began: Instant,
    pub(super) deadline: Deadline,
    /// Number of the reception whose progress counts; an older one's news are dropped.
    pub(super) reception: Arc<AtomicU64>,
    pub(super) received_bytes: Arc<AtomicU64>,
    link_errors: u64,
    pub(super) staged: Option<Staged>,
    pub(super) checked: Option<Checked>,
    pub(super) trial: Option<OnTrial>,
    /// Held until the success of a trial is written down: what a peer was told, the rescue must not
    /// undo.
    pub(super) held: Option<Lock>,
    check_answer: Option<Answer<PackageSummary>>,
    /// Somebody waits for the report of the upgrade at hand.
    pub(super) is_awaited: bool,
}

/// What a task brings back, and for which upgrade: the result of one that was given up meanwhile
/// must not become another's.
pub(super) struct Finished {
    pub(super) upgrade: UpgradeId,
    pub(super) result: TaskResult,
}

pub(super) enum TaskResult {
    Checked(Result<Checked, Failure>),
    /// The trial ended well, and nobody can replace the program before that is written down.
    Healthy(Evidence, Lock),
    /// What was found before the way back, and who waits for it.
    WayBack(Result<Event, Failure>, Answer<UpgradeId>),
    /// What was found before the swap, and who waits for the start.
    Found(Result<Event, Failure>, Answer<()>),
    Event(Event),
}

/// The trial that runs.
pub(super) struct OnTrial {
    /// Becomes true when a person confirms.
    pub(super) confirmed: watch::Sender<bool>,
    pub(super) task: AbortHandle,
}

impl Drop for OnTrial {
    fn drop(&mut self) {
        self.task.abort();
    }
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
                    Some(command) => self.answer(command).await,
                    None => return,
                },
            }
        }
    }

    async fn answer(&mut self, command: Command) {
        match command {
            Command::Begin(request, answer) => {
                let result = self.begin(request.clone()).await;
                if let Err(failure) = &result {
                    self.tell_refused(&request, failure);
                }
                let _ = answer.send(result);
            }
            Command::Receive(id, announced, answer) => {
                let result = self.receive(&id, announced).await;
                let _ = answer.send(result);
            }
            Command::ReceptionFailed(id, failure, answer) => {
                let result = self.reception_failed(&id, failure).await;
                let _ = answer.send(result);
            }
            Command::Check(id, staged, answer) => self.check(&id, staged, answer).await,
            Command::Start(id, answer) => match self.owned(&id) {
                Ok(()) => self.spawn_start(answer),
                Err(failure) => {
                    let _ = answer.send(Err(failure));
                }
            },
            Command::Abandon(id, failure, answer) => {
                let result = self.abandon(&id, failure).await;
                let _ = answer.send(result);
            }
            Command::GiveUp(id, failure, answer) => {
                self.is_awaited = false;
                let result = self.abandon(&id, failure).await;
                self.is_awaited = true;
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
            Command::RollBack(request, answer) => self.roll_back(request, answer).await,
            Command::ForgetMinimum(by, answer) => {
                let result = self.forget_minimum(by).await;
                let _ = answer.send(result);
            }
            Command::Acknowledge(channel, answer) => {
                let result = self.acknowledge(channel).await;
                let _ = answer.send(result);
            }
            Command::Ping(answer) => {
                let _ = answer.send(Ok(()));
            }
            Command::ReportAfter(before, answer) => {
                let _ =
                    answer.send(Ok(report_after(self.journal.history(), before.as_ref()).cloned()));
            }
            Command::Report(id, answer) => {
                let _ = answer.send(Ok(self
                    .journal
                    .history()
                    .iter()
                    .find(|report| report.id == id)
                    .cloned()));
            }
            Command::Measure(answer) => {
                let _ = answer.send(Ok(Measures {
                    in_phase: self.phase_began.elapsed(),
                    received_bytes: self.received_bytes.load(Ordering::Relaxed),
                    link_errors: self.link_errors,
                    ended: self.journal.history().iter().map(Ended::from).collect(),
                }));
            }
            Command::Tell(failure) => self.notice(&failure),
            Command::UpdateLink(link) => {
                self.link_errors += u64::from(is_lost(self.status.borrow().link.state, link.state));
                self.status.send_if_modified(|status| {
                    let changed = status.link != link;
                    status.link = link;
                    changed
                });
            }
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
        self.look_at_path().await;
        let upgrade = self.new_upgrade(request)?;
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

    /// A person may have replaced the program since it was looked at.
    async fn look_at_path(&self) {
        if !matches!(self.state, State::Idle | State::Concluded { .. }) {
            return;
        }
        let (program, seen) = (self.program.clone(), self.status.borrow().installed.digest);
        if off_thread(move || program.known_digest().is_ok_and(|digest| digest != seen))
            .await
            .is_ok_and(|changed| changed)
        {
            let installed = installed(&self.config.program, &self.program, &self.journal).await;
            self.status.send_modify(|status| status.installed = installed);
        }
    }

    pub(super) fn new_upgrade(&self, request: Request) -> Result<Upgrade, Failure> {
        let from = self.status.borrow().installed.version;
        Ok(Upgrade {
            id: new_id()?,
            request,
            from,
            file_name: None,
            began: journal::stamp(),
            phases: Vec::new(),
        })
    }

    async fn receive(
        &mut self,
        id: &UpgradeId,
        announced: Announced,
    ) -> Result<Receiving, Failure> {
        self.owned(id)?;
        let file_name = announced.file_name.chars().take(LONGEST_FILE_NAME).collect();
        self.apply(Event::Receive { file_name }).await?;
        let number = self.reception.fetch_add(1, Ordering::Relaxed) + 1;
        let observer = self.progress_of(number, announced.size);
        let stage = self.stage.clone();
        let policy = self.policy();
        let config = Arc::clone(&self.config);
        let received = blocking(move || {
            check_announced(&announced.file_name, announced.size, &policy)?;
            storage::examine(&config)?;
            stage.receive(announced, observer)
        })
        .await;
        if let Err(failure) = &received {
            self.apply(Event::Fail(failure.clone())).await?;
        }
        received
    }

    async fn reception_failed(&mut self, id: &UpgradeId, failure: Failure) -> Result<(), Failure> {
        self.owned(id)?;
        self.apply(Event::ReceptionFailed).await?;
        tracing::warn!(UPLIFT_KIND = %failure.kind, "the file was not received: {failure}; the peer may begin again");
        self.status.send_modify(|status| {
            if let Some(upgrade) = &mut status.upgrade {
                upgrade.failure = Some(failure);
            }
        });
        Ok(())
    }

    async fn abandon(&mut self, id: &UpgradeId, failure: Failure) -> Result<(), Failure> {
        self.owned(id)?;
        self.apply(Event::Fail(failure)).await
    }

    async fn check(&mut self, id: &UpgradeId, staged: Staged, answer: Answer<PackageSummary>) {
        if let Err(failure) = self.owned(id) {
            let _ = answer.send(Err(failure));
            return;
        }
        self.staged = Some(staged);
        // Before the step: one that can't be written down ends the upgrade, and with it the wait,
        // at once.
        let earlier = self.check_answer.replace(answer);
        if let Err(failure) = self.apply(Event::Received).await {
            self.staged = None;
            if let Some(answer) = std::mem::replace(&mut self.check_answer, earlier) {
                let _ = answer.send(Err(failure));
            }
        }
    }

    async fn start(&mut self, found: Result<Event, Failure>) -> Result<(), Failure> {
        match found {
            Ok(start) => self.apply(start).await?,
            Err(failure) => {
                self.apply(Event::Fail(failure.clone())).await?;
                return Err(failure);
            }
        }
        // The intent to install that can't be written down ends the upgrade.
        let ended = || self.status.borrow().last.as_ref().and_then(|report| report.failure.clone());
        match self.state.swap() {
            Some(_) => Ok(()),
            None => Err(ended().unwrap_or_else(over)),
        }
    }

    async fn acknowledge(&mut self, channel: Channel) -> Result<(), Failure> {
        let awaited = matches!(&self.state, State::Concluded { upgrade, .. } if upgrade.request.channel == channel);
        if awaited {
            self.apply(Event::Acknowledge).await?;
        }
        self.forget_report_of(channel).await;
        Ok(())
    }

    async fn forget_report_of(&mut self, channel: Channel) {
        if !self.journal.unacknowledged().iter().any(|report| report.request.channel == channel) {
            return;
        }
        // A failed write is in the notices by then, and at worst the report is repeated after a
        // restart.
        let _ = self
            .write_journal("the acknowledgement", move |journal| journal.acknowledge(channel))
            .await;
        let unacknowledged = self.journal.unacknowledged().to_vec();
        self.status.send_modify(|status| status.unacknowledged = unacknowledged);
    }

    async fn finish(&mut self, finished: Finished) {
        if let TaskResult::WayBack(found, answer) = finished.result {
            return self.go_back(found, answer).await;
        }
        if let Err(late) = self.owned(&finished.upgrade) {
            tracing::debug!("the result of a task of {} comes too late: {late}", finished.upgrade);
            if let TaskResult::Found(_, answer) = finished.result {
                let _ = answer.send(Err(late));
            }
            return;
        }
        let event = match finished.result {
            TaskResult::Checked(Ok(checked)) => {
                let summary = checked.summary().clone();
                self.checked = Some(checked);
                Event::CheckPassed(summary)
            }
            TaskResult::Checked(Err(failure)) => Event::Fail(failure),
            TaskResult::Found(found, answer) => {
                let result = self.start(found).await;
                let _ = answer.send(result);
                return;
            }
            TaskResult::Healthy(evidence, held) => {
                self.held = Some(held);
                let concluded = self.apply(Event::Healthy(evidence)).await;
                if concluded.is_err() {
                    self.held = None;
                }
                return told(concluded);
            }
            TaskResult::WayBack(..) => return, // taken above
            TaskResult::Event(event) => event,
        };
        told(self.apply(event).await);
    }

    /// One step of the machine, and all that follows from it.
    pub(super) async fn apply(&mut self, event: Event) -> Result<(), Failure> {
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
        let over = self.status.borrow().phase;
        let began = std::mem::replace(&mut self.phase_began, Instant::now());
        if over != Phase::Idle && over != Phase::Concluded && over != state.phase() {
            let milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            state.add_duration(PhaseDuration { phase: over, milliseconds });
        }
        if !matches!(state, State::Trial { .. }) {
            self.trial = None;
        }
        self.state = state;
        self.speak_of_upgrade();
        for action in actions {
            if let Err(failure) = self.perform(action).await {
                // The intent could not be written down, so it is not carried out.
                let state = std::mem::replace(&mut self.state, State::Idle);
                let event = match &state {
                    State::Installing { .. } => Event::SwapFailed(failure),
                    State::RestartingBack { .. } => Event::RestartFailed(failure),
                    _ => Event::Fail(failure),
                };
                match state.step(event) {
                    Ok((state, actions)) => return Box::pin(self.enter(state, actions)).await,
                    Err(refused) => self.state = refused.state,
                }
            }
        }
        self.publish();
        self.answer_check();
        if matches!(&self.state, State::Concluded { upgrade, .. } if !upgrade.request.channel.acknowledges())
        {
            self.state = State::Idle;
            self.speak_of_upgrade();
            self.publish();
        }
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

/// What follows `before`. One that the history has forgotten was older than all that it still has.
fn report_after<'a>(history: &'a [Report], before: Option<&UpgradeId>) -> Option<&'a Report> {
    let position =
        before.and_then(|before| history.iter().rposition(|report| report.id == *before));
    history.get(position.map_or(0, |position| position + 1))
}

/// Whether the payload link lost its device or its aircraft.
const fn is_lost(before: LinkState, now: LinkState) -> bool {
    matches!(
        (before, now),
        (LinkState::Linked, LinkState::Probing)
            | (LinkState::Linked | LinkState::Probing, LinkState::Waiting)
    )
}

fn told(result: Result<(), Failure>) {
    if let Err(failure) = result {
        tracing::error!(UPLIFT_KIND = %failure.kind, "{failure}");
    }
}

/// The state of a report that still waits for its receiver.
fn concluded(report: &Report) -> State {
    let upgrade = Upgrade {
        id: report.id.clone(),
        request: report.request.clone(),
        from: report.from,
        file_name: report.file_name.clone(),
        began: report.began.clone(),
        phases: report.phases.clone(),
    };
    let conclusion = crate::machine::Conclusion {
        package: report.package.clone(),
        outcome: report.outcome,
        failure: report.failure.clone(),
        evidence: report.evidence.clone(),
        program_log: report.program_log.clone(),
    };
    State::Concluded { upgrade, conclusion }
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
