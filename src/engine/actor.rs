//! The actor behind the handle: owns the machine, performs its actions in order, publishes the status.
//!
//! Short actions are awaited; long ones (check, swap, restart, trial) run as tasks that send their result back as an
//! event, so that the engine always answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::{Answer, Command};
use crate::config::{self, Config};
use crate::health;
use crate::journal::{self, Journal};
use crate::machine::{Action, Event, Found, Refused, State, Upgrade};
use crate::model::{
    Channel, CurrentUpgrade, Failure, FailureKind, Installed, LinkState, LinkStatus, PackageSummary, Phase, PhaseDuration, Progress,
    Report, Request, SCHEMA, Status, UpgradeId,
};
use crate::package::check::{Checked, Policy, check, check_announced};
use crate::package::digest::ProgramDigest;
use crate::package::preflight;
use crate::package::version::Version;
use crate::restart::Restarter;
use crate::stage::{Announced, Receiving, Stage, Staged};
use crate::target::program::Program;

/// Commands that wait while the engine performs a short action.
const COMMAND_QUEUE: usize = 16;
/// The payload link announces a time in one byte of seconds.
const LARGEST_ANNOUNCED_SECONDS: u64 = 255;

/// The engine itself. [`Actor::run`] is its life.
pub struct Actor {
    config: Arc<Config>,
    state: State,
    journal: Journal,
    stage: Stage,
    program: Program,
    restarter: Restarter,
    commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<Finished>,
    finished: mpsc::Receiver<Finished>,
    status: Arc<watch::Sender<Status>>,
    phase_began: Instant,
    /// Number of the reception whose progress counts; an older one's news are dropped.
    reception: Arc<AtomicU64>,
    staged: Option<Staged>,
    checked: Option<Checked>,
    check_answer: Option<Answer<PackageSummary>>,
}

/// What a task brings back.
enum Finished {
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
            blocking(move || Journal::open(&directory)).await?
        };
        let notices: Vec<String> = damaged.iter().map(ToString::to_string).collect();
        for notice in &notices {
            tracing::warn!(UPLIFT_KIND = "internal", "{notice}");
        }
        let program = Program::new(&config.program.path);
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
        let (state, actions) = match self.restarter.origin().await {
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

    /// News of a reception reach the status at each whole percent.
    fn progress_of(&self, number: u64, total: u64) -> crate::stage::Observer {
        let (reception, status) = (Arc::clone(&self.reception), Arc::clone(&self.status));
        Box::new(move |done| {
            if reception.load(Ordering::Relaxed) != number {
                return;
            }
            let progress = Progress { done, total };
            status.send_if_modified(|status| {
                let Some(upgrade) = &mut status.upgrade else { return false };
                let changed = upgrade.progress.percent() != progress.percent() || upgrade.progress.total != total;
                upgrade.progress = progress;
                changed
            });
        })
    }

    async fn check(&mut self, id: &UpgradeId, staged: Staged, answer: Answer<PackageSummary>) {
        let accepted = match self.owned(id) {
            Ok(()) => {
                self.staged = Some(staged);
                self.apply(Event::Received).await
            }
            Err(failure) => Err(failure),
        };
        match accepted {
            Ok(()) => self.check_answer = Some(answer),
            Err(failure) => {
                self.staged = None;
                let _ = answer.send(Err(failure));
            }
        }
    }

    async fn start(&mut self, id: &UpgradeId) -> Result<(), Failure> {
        self.owned(id)?;
        let program = self.program.clone();
        let old = blocking(move || program.known_digest())
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
        let event = match finished {
            Finished::Checked(Ok(checked)) => {
                let summary = checked.summary().clone();
                self.checked = Some(checked);
                Event::CheckPassed(summary)
            }
            Finished::Checked(Err(failure)) => Event::Fail(failure),
            Finished::Event(event) => event,
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
                // The intent could not be written down: nothing was swapped yet, and nothing will be.
                let state = std::mem::replace(&mut self.state, State::Idle);
                let event = match &state {
                    State::Installing { .. } => Event::SwapFailed(failure),
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

    /// An error only where going on would break a promise: an intent that is not in the journal.
    async fn perform(&mut self, action: Action) -> Result<(), Failure> {
        match action {
            Action::EmptyStage => self.empty_stage().await,
            Action::Record => return self.record().await,
            Action::Check => self.spawn_check(),
            Action::Swap => self.spawn_swap(),
            Action::Restart => self.spawn_restart(),
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
            Err(failure) if matches!(self.state, State::Checking { .. } | State::Installing { .. }) => Err(failure),
            // After the swap the journal's older entry and the program at the path tell the same story.
            _ => Ok(()),
        }
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
        written.map_err(|error| {
            let failure = Failure::from_io(FailureKind::InstallFailed, format!("{what} can't be written to the journal"), error);
            self.notice(&failure);
            failure
        })
    }

    /// Tells a person, in the log and in the status.
    fn notice(&self, failure: &Failure) {
        tracing::error!(UPLIFT_KIND = %failure.kind, "{failure}");
        let notice = failure.to_string();
        self.status.send_modify(|status| {
            if !status.notices.contains(&notice) {
                status.notices.push(notice);
            }
        });
    }

    fn policy(&self) -> Policy {
        let running = self.status.borrow().installed.version;
        Policy::new(&self.config.program, &self.config.package)
            .running(running)
            .known_bad(self.journal.known_bad().iter().copied().collect())
    }

    fn spawn_check(&mut self) {
        let Some(staged) = self.staged.take() else { return };
        let policy = self.policy();
        let events = self.events.clone();
        tokio::spawn(async move {
            let checked = blocking(move || check(staged, &policy)).await;
            let _ = events.send(Finished::Checked(checked)).await;
        });
    }

    fn spawn_swap(&mut self) {
        let Some(checked) = self.checked.take() else { return };
        let program = self.program.clone();
        self.spawn(async move {
            match blocking(move || program.install(checked)).await {
                Ok(_) => Event::Swapped,
                Err(failure) => Event::SwapFailed(failure),
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
        let old_runs = failure.kind == FailureKind::RestartFailed && self.restarter.leaves_old_running();
        let restarter = self.restarter.clone();
        self.spawn(async move {
            if let Err(failure) = blocking(move || program.revert(on_trial)).await {
                return Event::RevertFailed(failure);
            }
            match restarter.origin().await {
                Ok(_) if old_runs => Event::Reverted { restart_from: None },
                Ok(origin) => Event::Reverted { restart_from: Some(origin) },
                Err(failure) => Event::RevertFailed(failure),
            }
        });
    }

    fn spawn(&self, work: impl Future<Output = Event> + Send + 'static) {
        let events = self.events.clone();
        tokio::spawn(async move {
            // The engine is gone only when the daemon stops.
            let _ = events.send(Finished::Event(work.await)).await;
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
        self.status.send_modify(|status| {
            status.installed = installed;
            status.unacknowledged = unacknowledged;
            status.last = Some(report);
        });
    }

    fn publish(&self) {
        let (state, left) = (&self.state, self.seconds_left());
        self.status.send_modify(|status| {
            let progress = status.upgrade.as_ref().map(|upgrade| upgrade.progress).unwrap_or_default();
            let keep = matches!(state.phase(), Phase::Checking | Phase::Ready | Phase::Installing | Phase::Restarting);
            status.upgrade = match state {
                State::Idle | State::Concluded { .. } => None,
                _ => state.upgrade().map(|upgrade| CurrentUpgrade {
                    id: upgrade.id.clone(),
                    request: upgrade.request.clone(),
                    progress: if keep { progress } else { Progress::default() },
                    package: state.package().cloned(),
                    seconds_left: left,
                }),
            };
            if status.phase != state.phase() {
                status.phase = state.phase();
                tracing::info!(UPLIFT_PHASE = %status.phase, "{}", status.phase);
            }
        });
    }

    fn seconds_left(&self) -> Option<u64> {
        let whole = match self.state.phase() {
            Phase::Restarting | Phase::Reverting => self.restarter.deadline(),
            Phase::Trial => self.config.trial.deadline,
            _ => return None,
        };
        Some(whole.as_secs().min(LARGEST_ANNOUNCED_SECONDS))
    }
}

/// A person at the shell reads the history; nobody there would ever acknowledge.
fn awaits_acknowledgement(upgrade: &Upgrade) -> bool {
    upgrade.request.channel != Channel::Shell
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

fn link_before_it_speaks(config: &Config) -> LinkStatus {
    config.link.as_ref().map_or_else(LinkStatus::default, |link| LinkStatus {
        device: link.device.display().to_string(),
        state: LinkState::Waiting,
        ..LinkStatus::default()
    })
}

/// What is installed: the journal knows the version of what `uplift` installed, the program itself or the configuration
/// that of any other.
async fn installed(config: &config::Program, program: &Program, journal: &Journal) -> Installed {
    let (reader, version_command) = (program.clone(), config.version_command.clone());
    let recorded = journal.installed();
    let path = config.path.clone();
    let found = off_thread(move || {
        let digest = reader.digest().unwrap_or_else(|error| {
            tracing::warn!("the program {} can't be read: {error}", path.display());
            None
        });
        let version = version_of(digest, recorded, || preflight::printed_version(&path, version_command.as_deref()?).ok());
        (digest, version)
    })
    .await;
    let (digest, version) = found.unwrap_or((None, None));
    let version = version.or_else(|| digest.and(config.version));
    Installed { product: config.product.clone(), path: config.path.clone(), version, digest }
}

fn version_of(
    digest: Option<ProgramDigest>,
    recorded: Option<journal::InstalledRecord>,
    ask: impl FnOnce() -> Option<Version>,
) -> Option<Version> {
    let digest = digest?;
    recorded.filter(|record| record.digest == digest).map(|record| record.version).or_else(ask)
}

fn log(report: &Report) {
    let id = &report.id;
    let version = report.package.as_ref().map(|package| package.version.to_string()).unwrap_or_default();
    match &report.failure {
        None => tracing::info!(UPLIFT_UPGRADE_ID = %id, UPLIFT_VERSION = %version, "upgrade {}: {version} runs", report.outcome),
        Some(failure) => tracing::error!(
            UPLIFT_UPGRADE_ID = %id, UPLIFT_VERSION = %version, UPLIFT_KIND = %failure.kind,
            "upgrade {}: {}: {failure}", report.outcome, failure.kind
        ),
    }
}

/// A random name from the kernel.
fn new_id() -> Result<UpgradeId, Failure> {
    std::fs::read_to_string("/proc/sys/kernel/random/uuid")
        .map(|uuid| UpgradeId(uuid.trim().to_owned()))
        .map_err(|error| Failure::new(FailureKind::Internal, "the kernel gives no random name").because(error))
}

/// Runs file work off the runtime's thread.
async fn blocking<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, E>
where
    T: Send + 'static,
    E: From<WorkDied> + Send + 'static,
{
    off_thread(work).await?
}

async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, WorkDied> {
    tokio::task::spawn_blocking(work).await.map_err(|error| WorkDied(error.to_string()))
}

/// A piece of blocking work panicked.
struct WorkDied(String);

impl From<WorkDied> for Failure {
    fn from(died: WorkDied) -> Self {
        Self::new(FailureKind::Internal, format!("a task of the daemon died: {}", died.0))
    }
}

impl From<WorkDied> for std::io::Error {
    fn from(died: WorkDied) -> Self {
        Self::other(died.0)
    }
}
