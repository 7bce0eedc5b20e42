//! The actor behind the handle: owns the machine, answers questions, and takes each step. What a step entails is in
//! [`super::actions`], what everybody is told in [`super::news`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context as _;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::actions::awaits_acknowledgement;
use super::blocking::blocking;
use super::news::{installed, link_before_it_speaks};
use super::{Answer, Command};
use crate::config::Config;
use crate::journal::{self, Journal};
use crate::machine::{Action, Event, Found, Refused, State, Upgrade};
use crate::model::{Channel, Failure, FailureKind, PackageSummary, Phase, PhaseDuration, Report, Request, SCHEMA, Status, UpgradeId};
use crate::package::check::{Checked, check_announced};
use crate::restart::Restarter;
use crate::stage::{Announced, Receiving, Stage, Staged};
use crate::target::program::Program;

/// Commands that wait while the engine performs a short action.
const COMMAND_QUEUE: usize = 16;

/// The engine itself. [`Actor::run`] is its life.
pub struct Actor {
    pub(super) config: Arc<Config>,
    pub(super) state: State,
    pub(super) journal: Journal,
    pub(super) stage: Stage,
    pub(super) program: Program,
    pub(super) restarter: Restarter,
    commands: mpsc::Receiver<Command>,
    pub(super) events: mpsc::Sender<Finished>,
    finished: mpsc::Receiver<Finished>,
    pub(super) status: Arc<watch::Sender<Status>>,
    phase_began: Instant,
    /// Number of the reception whose progress counts; an older one's news are dropped.
    pub(super) reception: Arc<AtomicU64>,
    pub(super) staged: Option<Staged>,
    pub(super) checked: Option<Checked>,
    check_answer: Option<Answer<PackageSummary>>,
}

/// What a task brings back, and for which upgrade: the result of one that was given up meanwhile must not become another's.
pub(super) struct Finished {
    pub(super) upgrade: UpgradeId,
    pub(super) result: TaskResult,
}

pub(super) enum TaskResult {
    Checked(Result<Checked, Failure>),
    Event(Event),
}

impl std::fmt::Debug for Actor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Actor").field("state", &self.state).finish_non_exhaustive()
    }
}

impl Actor {
    /// Opens journal, stage and target of a configuration, and resumes what the last daemon left, so that the first status
    /// that anybody sees is a true one.
    pub async fn open(config: Arc<Config>) -> anyhow::Result<(Self, super::Engine)> {
        let (journal, damaged) = {
            let directory = config.paths.state.clone();
            let opened = blocking(move || Journal::open(&directory)).await;
            opened.with_context(|| format!("the state directory {} can't be used", config.paths.state.display()))?
        };
        let notices: Vec<String> = damaged.iter().map(ToString::to_string).collect();
        for notice in &notices {
            tracing::warn!(UPLIFT_KIND = "internal", "{notice}");
        }
        let program = Program::new(&config.program.path);
        let examined = {
            let program = program.clone();
            blocking(move || program.examine()).await
        };
        let installed = installed(&config.program, &program, &journal).await;
        let status = Status {
            schema: SCHEMA,
            phase: Phase::Idle,
            installed,
            upgrade: None,
            unacknowledged: journal.unacknowledged().to_vec(),
            last: journal.history().last().cloned(),
            link: link_before_it_speaks(&config),
            notices,
            known_bad: journal.known_bad().to_vec(),
        };
        let (status, watcher) = watch::channel(status);
        let (sender, commands) = mpsc::channel(COMMAND_QUEUE);
        let (events, finished) = mpsc::channel(COMMAND_QUEUE);
        let mut actor = Self {
            state: State::Idle,
            stage: Stage::beside(&config.program.path, config.package.max_size.0),
            restarter: Restarter::new(&config.program, &config.paths),
            config,
            journal,
            program,
            commands,
            events,
            finished,
            status: Arc::new(status),
            phase_began: Instant::now(),
            reception: Arc::default(),
            staged: None,
            checked: None,
            check_answer: None,
        };
        if let Err(failure) = examined {
            // Told now, so that nobody sends a file for nothing. Whoever puts it right starts the daemon again.
            actor.notice(&failure);
        }
        actor.resume().await;
        Ok((actor, super::Engine::new(sender, watcher)))
    }

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

    async fn resume(&mut self) {
        let recorded = self.journal.upgrade().cloned();
        let state = match (recorded, self.journal.unacknowledged().last()) {
            (Some(state), _) => state,
            (None, Some(report)) => concluded(report),
            (None, None) => State::Idle,
        };
        let from = state.phase();
        let (state, actions) = match self.restarter.found().await {
            Ok(origin) => {
                let at_path = self.status.borrow().installed.digest;
                state.resume(&Found { origin, at_path })
            }
            // Without a boot id nothing can be proved; the journal keeps what is known until there is one.
            Err(failure) => return self.notice(&failure),
        };
        if from != Phase::Idle {
            tracing::info!(UPLIFT_PHASE = %state.phase(), "resuming an upgrade that was {from}: now {}", state.phase());
        }
        self.enter(state, actions).await;
    }

    async fn answer(&mut self, command: Command) {
        match command {
            Command::Begin(request, answer) => {
                let result = self.begin(request).await;
                let _ = answer.send(result);
            }
            Command::Receive(id, announced, answer) => {
                let result = self.receive(&id, announced).await;
                let _ = answer.send(result);
            }
            Command::Check(id, staged, answer) => self.check(&id, staged, answer).await,
            Command::Start(id, answer) => {
                let result = self.start(&id).await;
                let _ = answer.send(result);
            }
            Command::Abandon(id, failure, answer) => {
                let result = match self.owned(&id) {
                    Ok(()) => self.apply(Event::Fail(failure)).await,
                    Err(failure) => Err(failure),
                };
                let _ = answer.send(result);
            }
            Command::Acknowledge(channel, answer) => {
                let result = self.acknowledge(channel).await;
                let _ = answer.send(result);
            }
            Command::Ping(answer) => {
                let _ = answer.send(Ok(()));
            }
            Command::History(answer) => {
                let _ = answer.send(Ok(self.journal.history().to_vec()));
            }
            Command::UpdateLink(link) => {
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
            _ => Err(Failure::new(FailureKind::Cancelled, "this upgrade is over")),
        }
    }

    async fn begin(&mut self, request: Request) -> Result<UpgradeId, Failure> {
        let channel = request.channel;
        let from = self.status.borrow().installed.version;
        let upgrade = Upgrade { id: new_id()?, request, from, began: journal::stamp(), phases: Vec::new() };
        self.apply(Event::Begin(upgrade)).await?;
        self.forget_report_of(channel).await;
        let upgrade = self.state.upgrade().ok_or_else(|| Failure::new(FailureKind::Internal, "the upgrade vanished"))?;
        tracing::info!(
            UPLIFT_UPGRADE_ID = %upgrade.id, UPLIFT_CHANNEL = %channel, UPLIFT_PHASE = %self.state.phase(),
            "upgrade asked for by {} over {}", upgrade.request.requester, upgrade.request.transfer
        );
        Ok(upgrade.id.clone())
    }

    async fn receive(&mut self, id: &UpgradeId, announced: Announced) -> Result<Receiving, Failure> {
        self.owned(id)?;
        self.apply(Event::Receive).await?;
        let number = self.reception.fetch_add(1, Ordering::Relaxed) + 1;
        let observer = self.progress_of(number, announced.size);
        let stage = self.stage.clone();
        let policy = self.policy();
        let received = blocking(move || {
            check_announced(&announced.file_name, announced.size, &policy)?;
            stage.receive(announced, observer)
        })
        .await;
        if let Err(failure) = &received {
            self.apply(Event::Fail(failure.clone())).await?;
        }
        received
    }

    async fn check(&mut self, id: &UpgradeId, staged: Staged, answer: Answer<PackageSummary>) {
        if let Err(failure) = self.owned(id) {
            let _ = answer.send(Err(failure));
            return;
        }
        self.staged = Some(staged);
        // Before the step: one that can't be written down ends the upgrade, and with it the wait, at once.
        let earlier = self.check_answer.replace(answer);
        if let Err(failure) = self.apply(Event::Received).await {
            self.staged = None;
            if let Some(answer) = std::mem::replace(&mut self.check_answer, earlier) {
                let _ = answer.send(Err(failure));
            }
        }
    }

    async fn start(&mut self, id: &UpgradeId) -> Result<(), Failure> {
        self.owned(id)?;
        let program = self.program.clone();
        let old = blocking(move || program.digest())
            .await
            .map_err(|error| Failure::from_io(FailureKind::InstallFailed, "the program that is installed can't be read", error));
        let started = match (old, self.restarter.origin().await) {
            (Ok(old), Ok(origin)) => Event::Start { old, origin },
            (Err(failure), _) | (_, Err(failure)) => Event::Fail(failure),
        };
        let failure = if let Event::Fail(failure) = &started { Some(failure.clone()) } else { None };
        self.apply(started).await?;
        failure.map_or(Ok(()), Err)
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
        // A failed write is in the notices by then, and at worst the report is repeated after a restart.
        let _ = self.write_journal("the acknowledgement", move |journal| journal.acknowledge(channel)).await;
        let unacknowledged = self.journal.unacknowledged().to_vec();
        self.status.send_modify(|status| status.unacknowledged = unacknowledged);
    }

    async fn finish(&mut self, finished: Finished) {
        if let Err(late) = self.owned(&finished.upgrade) {
            return tracing::debug!("the result of a task of {} comes too late: {late}", finished.upgrade);
        }
        let event = match finished.result {
            TaskResult::Checked(Ok(checked)) => {
                let summary = checked.summary().clone();
                self.checked = Some(checked);
                Event::CheckPassed(summary)
            }
            TaskResult::Checked(Err(failure)) => Event::Fail(failure),
            TaskResult::Event(event) => event,
        };
        if let Err(failure) = self.apply(event).await {
            tracing::error!(UPLIFT_KIND = %failure.kind, "{failure}");
        }
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
        let over = self.status.borrow().phase;
        let began = std::mem::replace(&mut self.phase_began, Instant::now());
        if over != Phase::Idle && over != Phase::Concluded && over != state.phase() {
            let milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            state.add_duration(PhaseDuration { phase: over, milliseconds });
        }
        self.state = state;
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
        if matches!(&self.state, State::Concluded { upgrade, .. } if !awaits_acknowledgement(upgrade)) {
            self.state = State::Idle;
            self.publish();
        }
    }

    /// The sender of the file hears the verdict once the status shows it.
    fn answer_check(&mut self) {
        let verdict = match &self.state {
            State::Ready { package, .. } => Ok(package.clone()),
            State::Concluded { conclusion, .. } => Err(conclusion
                .failure
                .clone()
                .unwrap_or_else(|| Failure::new(FailureKind::Internal, "the upgrade ended before its check did"))),
            _ => return,
        };
        if let Some(answer) = self.check_answer.take() {
            let _ = answer.send(verdict);
        }
    }
}

/// The state of a report that still waits for its receiver.
fn concluded(report: &Report) -> State {
    let upgrade = Upgrade {
        id: report.id.clone(),
        request: report.request.clone(),
        from: report.from,
        began: report.began.clone(),
        phases: report.phases.clone(),
    };
    let conclusion = crate::machine::Conclusion {
        package: report.package.clone(),
        outcome: report.outcome,
        failure: report.failure.clone(),
        evidence: report.evidence.clone(),
    };
    State::Concluded { upgrade, conclusion }
}

/// A random name from the kernel.
fn new_id() -> Result<UpgradeId, Failure> {
    std::fs::read_to_string("/proc/sys/kernel/random/uuid")
        .map(|uuid| UpgradeId(uuid.trim().to_owned()))
        .map_err(|error| Failure::new(FailureKind::Internal, "the kernel gives no random name").because(error))
}
