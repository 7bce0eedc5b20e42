//! The one actor that owns the machine, performs its actions, and tells everybody who watches.
//!
//! Channels hold an [`Engine`], a handle: each method is one question and its answer. The engine
//! knows no channel's words and no wire.

mod actor;
mod blocking;
pub(crate) mod choice;
mod hands;
mod herald;
mod installed;
pub(crate) mod storage;
#[cfg(test)]
mod tests;
mod way_back;

pub use actor::Actor;
use blocking::off_thread;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};

use crate::model::version::Version;
use crate::model::{
    ChannelName, ChannelStatus, ComponentName, Entry, Failure, FailureKind, HoldStatus, LinkStatus,
    Outcome, PackageSummary, PartStatus, Report, Request, Status, UpgradeId,
};
use crate::policy::Gatekeeper;
use crate::record::past::PastReport;
use crate::stage::{Announced, Receiving, Staged};
use crate::trial::application::Application;

/// Whoever asks just after the start waits this long for the first look; it takes longer only where a program of hundreds of megabytes lies on a slow card.
const FIRST_LOOK_PATIENCE: Duration = Duration::from_secs(2);

/// A handle to the engine; cheap to clone.
#[derive(Debug, Clone)]
pub struct Engine {
    commands: mpsc::Sender<Command>,
    status: watch::Receiver<Status>,
    deadline: Deadline,
    policy: Option<Arc<Gatekeeper>>,
    applications: watch::Sender<Option<Application>>,
    looked: watch::Receiver<bool>,
}

/// When the phase that runs ends at the latest. The status says how long it may take, and is not
/// sent again each second.
type Deadline = Arc<Mutex<Option<Instant>>>;

/// What an [`Engine`] asks of the actor. Each carries the sender of its answer.
#[derive(Debug)]
pub enum Command {
    /// [`Engine::begin`]
    Begin(Request, Answer<UpgradeId>),
    /// [`Engine::receive`], [`Engine::blocking_try_receive`]
    Receive(UpgradeId, Announced, IfRefused, Answer<Receiving>),
    /// [`Engine::reception_failed`]
    ReceptionFailed(UpgradeId, Failure, Answer<()>),
    /// [`Engine::check`]
    Check(UpgradeId, Staged, Answer<PackageSummary>),
    /// [`Engine::start`]
    Start(UpgradeId, Answer<()>),
    /// [`Engine::abandon`]
    Abandon(UpgradeId, Failure, Answer<()>),
    /// [`Engine::give_up`]
    GiveUp(UpgradeId, Failure, Answer<()>),
    /// [`Engine::confirm`]
    Confirm(String, Answer<()>),
    /// [`Engine::roll_back`]
    RollBack(Request, Option<ComponentName>, Answer<UpgradeId>),
    /// [`Engine::forget_minimum`]
    ForgetMinimum(String, Option<ComponentName>, Answer<Option<Version>>),
    /// [`Engine::cancel`]
    Cancel(UpgradeId, String, Answer<()>),
    /// [`Engine::hold`]
    Hold(String, Option<String>, Option<Duration>, Answer<HoldStatus>),
    /// [`Engine::release`]
    Release(String, Answer<Option<HoldStatus>>),
    /// [`Engine::acknowledge`]
    Acknowledge(ChannelName, Answer<()>),
    /// [`Engine::ping`]
    Ping(Answer<()>),
    /// [`Engine::entry_after`]
    EntryAfter(Option<String>, Answer<Option<Entry>>),
    /// [`Engine::report`]
    Report(UpgradeId, Answer<Option<Report>>),
    /// [`Engine::measure`]
    Measure(Answer<Measures>),
    /// [`Engine::update_link`]
    UpdateLink(LinkStatus),
    /// [`Engine::update_channel`]
    UpdateChannel(ChannelStatus),
    /// [`Engine::part`]
    Part(UpgradeId, Answer<Option<PartStatus>>),
    /// [`Engine::note`]
    Note(UpgradeId, Option<String>, Answer<()>),
    /// [`Engine::tell`]
    Tell(Failure),
}

/// What becomes of an upgrade whose file is refused before its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfRefused {
    /// It ends with that failure.
    Ends,
    /// It waits for another file, as if nobody had asked for this one.
    GoesOn,
}

/// What the engine has counted, for monitoring.
#[derive(Debug)]
pub struct Measures {
    /// How long the upgrade has been in its phase, by the monotonic clock.
    pub in_phase: Duration,
    /// Bytes of firmware files received since the start.
    pub received_bytes: u64,
    /// How often the payload link lost its device or its aircraft since the start.
    pub link_errors: u64,
    /// How the last upgrades ended, oldest first.
    pub ended: Vec<Ended>,
}

/// How an upgrade ended, and no more of its report: there may be a hundred, with the last words of
/// a program each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Which one.
    pub id: UpgradeId,
    /// Of what.
    pub component: ComponentName,
    /// How.
    pub outcome: Outcome,
    /// Why, where it did not succeed.
    pub kind: Option<FailureKind>,
}

impl From<&Report> for Ended {
    fn from(report: &Report) -> Self {
        Self {
            id: report.id.clone(),
            component: report.component(),
            outcome: report.outcome,
            kind: report.failure.as_ref().map(|failure| failure.kind),
        }
    }
}

impl From<&PastReport> for Ended {
    fn from(report: &PastReport) -> Self {
        let PastReport { id, component, outcome, kind, .. } = report;
        Self { id: id.clone(), component: *component, outcome: *outcome, kind: *kind }
    }
}

/// Where an answer goes.
pub type Answer<T> = oneshot::Sender<Result<T, Failure>>;

fn engine_is_gone() -> Failure {
    Failure::new(FailureKind::Interrupted, "the daemon is stopping")
}

impl Engine {
    /// A handle whose commands arrive at the receiver of `commands`.
    pub fn new(commands: mpsc::Sender<Command>, status: watch::Receiver<Status>) -> Self {
        let (deadline, applications) = (Deadline::default(), watch::channel(None).0);
        let looked = watch::channel(true).1;
        Self { commands, status, deadline, policy: None, applications, looked }
    }

    /// The status, and word of each change of it.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Where it is told which application is connected to the bridge: the trial asks for it.
    pub fn applications(&self) -> watch::Sender<Option<Application>> {
        self.applications.clone()
    }

    /// The status, with the seconds that are left by now.
    pub fn status_now(&self) -> Status {
        let mut status = self.status.borrow().clone();
        let deadline = *self.deadline.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((left, deadline)) =
            status.upgrade.as_mut().and_then(|upgrade| upgrade.seconds_left.as_mut()).zip(deadline)
        {
            *left = deadline
                .saturating_duration_since(Instant::now())
                .as_millis()
                .div_ceil(1000)
                .try_into()
                .unwrap_or(u64::MAX);
        }
        if let Some(policy) = &self.policy {
            status.policy = policy.status();
        }
        status
    }

    /// Waits until what is installed was looked at, which takes seconds for a large program: before
    /// that the status tells of no version, and no upgrade begins. Over at once later on.
    pub async fn looked(&self) {
        // The engine is gone only when the daemon stops.
        let _ = self.looked.clone().wait_for(|looked| *looked).await;
    }

    /// Whether that is over.
    pub fn has_looked(&self) -> bool {
        *self.looked.borrow()
    }

    /// [`Engine::looked`], for whoever asks just after the start and would rather have half an answer
    /// than none.
    pub async fn looked_or_late(&self) {
        let _ = timeout(FIRST_LOOK_PATIENCE, self.looked()).await;
    }

    /// [`Engine::status_now`], after systemd was asked of the clock, where that matters.
    pub async fn status_with_clock(&self) -> Status {
        if let Some(policy) = self.policy.clone() {
            // A look that died is none.
            let _ = off_thread(move || policy.look_at_clock()).await;
        }
        self.status_now()
    }

    /// Asks for an upgrade; `busy` while another one runs. The requester of an upgrade that is not
    /// yet being installed starts it over: what was received is thrown away, and the answer may be
    /// the same id or a new one. What was put off makes room for its own requester, and for whoever
    /// can't wait. `not-now` while the policy says so, unless the upgrade may wait. A report of the same channel that is still unacknowledged counts
    /// as acknowledged.
    pub async fn begin(&self, request: Request) -> Result<UpgradeId, Failure> {
        self.ask(|answer| Command::Begin(request, answer)).await
    }

    /// Starts (or starts over) the reception of the file; what was received before is thrown away.
    pub async fn receive(
        &self,
        id: &UpgradeId,
        announced: Announced,
    ) -> Result<Receiving, Failure> {
        self.ask(|answer| Command::Receive(id.clone(), announced, IfRefused::Ends, answer)).await
    }

    /// [`Engine::receive`] for a transfer's own blocking thread.
    pub fn blocking_receive(
        &self,
        id: &UpgradeId,
        announced: Announced,
    ) -> Result<Receiving, Failure> {
        self.blocking_ask(|answer| Command::Receive(id.clone(), announced, IfRefused::Ends, answer))
    }

    /// [`Engine::blocking_receive`], but the upgrade does not end with a file that is refused: it
    /// may not be the one that its peer means.
    pub fn blocking_try_receive(
        &self,
        id: &UpgradeId,
        announced: Announced,
    ) -> Result<Receiving, Failure> {
        self.blocking_ask(|answer| {
            Command::Receive(id.clone(), announced, IfRefused::GoesOn, answer)
        })
    }

    /// [`Engine::reception_failed`] for a transfer's own blocking thread.
    pub fn blocking_reception_failed(
        &self,
        id: &UpgradeId,
        failure: Failure,
    ) -> Result<(), Failure> {
        self.blocking_ask(|answer| Command::ReceptionFailed(id.clone(), failure, answer))
    }

    /// The reception failed: the status says so at once, and the peer may begin again within the
    /// same upgrade.
    pub async fn reception_failed(&self, id: &UpgradeId, failure: Failure) -> Result<(), Failure> {
        self.ask(|answer| Command::ReceptionFailed(id.clone(), failure, answer)).await
    }

    /// Has the received file proved. A failure concludes the upgrade: its report is in the status
    /// before the answer.
    pub async fn check(&self, id: &UpgradeId, staged: Staged) -> Result<PackageSummary, Failure> {
        self.ask(|answer| Command::Check(id.clone(), staged, answer)).await
    }

    /// Starts the installation of the checked file. The answer comes when that is decided; how it
    /// goes on is in the status. What may not be installed yet, and may wait, is put off: then the
    /// status says `deferred`.
    pub async fn start(&self, id: &UpgradeId) -> Result<(), Failure> {
        self.ask(|answer| Command::Start(id.clone(), answer)).await
    }

    /// Gives up an upgrade that is not yet being installed: concluded with this failure, the
    /// staging area emptied.
    pub async fn abandon(&self, id: &UpgradeId, failure: Failure) -> Result<(), Failure> {
        self.ask(|answer| Command::Abandon(id.clone(), failure, answer)).await
    }

    /// Somebody who may does not want an upgrade any more: concluded as `cancelled`. A failure once
    /// it is being installed.
    pub async fn cancel(&self, id: &UpgradeId, by: String) -> Result<(), Failure> {
        self.ask(|answer| Command::Cancel(id.clone(), by, answer)).await
    }

    /// [`Engine::abandon`] for a peer that is not there any more: nobody waits for the report.
    pub async fn give_up(&self, id: &UpgradeId, failure: Failure) -> Result<(), Failure> {
        self.ask(|answer| Command::GiveUp(id.clone(), failure, answer)).await
    }

    /// A person says that the program on trial works; written down before the answer. A failure
    /// when nothing waits for it.
    pub async fn confirm(&self, by: String) -> Result<(), Failure> {
        self.ask(|answer| Command::Confirm(by, answer)).await
    }

    /// Ends the trial that runs, or else puts the program back that was there before the last
    /// upgrade of this component, or of the only one. The answer is the upgrade that is rolled back, or the way back's own name; how it
    /// goes on is in the status.
    pub async fn roll_back(
        &self,
        request: Request,
        component: Option<ComponentName>,
    ) -> Result<UpgradeId, Failure> {
        self.ask(|answer| Command::RollBack(request, component, answer)).await
    }

    /// A person forgets the lowest version of this component, or of the only one, for a repair; written down before the answer, which is
    /// what it was.
    pub async fn forget_minimum(
        &self,
        by: String,
        component: Option<ComponentName>,
    ) -> Result<Option<Version>, Failure> {
        self.ask(|answer| Command::ForgetMinimum(by, component, answer)).await
    }

    /// A person holds upgrades, for a while or until somebody releases them; written down before the
    /// answer. It replaces an earlier hold.
    pub async fn hold(
        &self,
        by: String,
        reason: Option<String>,
        time: Option<Duration>,
    ) -> Result<HoldStatus, Failure> {
        self.ask(|answer| Command::Hold(by, reason, time, answer)).await
    }

    /// A person ends the hold; written down before the answer, which is what it was.
    pub async fn release(&self, by: String) -> Result<Option<HoldStatus>, Failure> {
        self.ask(|answer| Command::Release(by, answer)).await
    }

    /// The channel's peer has seen the report. Without an unacknowledged report nothing happens.
    pub async fn acknowledge(&self, channel: ChannelName) -> Result<(), Failure> {
        self.ask(|answer| Command::Acknowledge(channel, answer)).await
    }

    /// Whether the engine still answers.
    pub async fn ping(&self) -> Result<(), Failure> {
        self.ask(Command::Ping).await
    }

    /// The entry of the history that follows the one with this [key](Entry::key), or the oldest one.
    /// One at a time: whoever asks for many and takes them slowly must not hold all of them.
    pub async fn entry_after(&self, before: Option<String>) -> Result<Option<Entry>, Failure> {
        self.ask(|answer| Command::EntryAfter(before, answer)).await
    }

    /// The report of one upgrade, as long as the history has it.
    pub async fn report(&self, id: &UpgradeId) -> Result<Option<Report>, Failure> {
        self.ask(|answer| Command::Report(id.clone(), answer)).await
    }

    /// What it has counted so far.
    pub async fn measure(&self) -> Result<Measures, Failure> {
        self.ask(Command::Measure).await
    }

    /// The payload link's news, for the status.
    pub async fn update_link(&self, link: LinkStatus) {
        // The engine is gone only when the daemon stops; nobody reads the status then.
        let _ = self.commands.send(Command::UpdateLink(link)).await;
    }

    /// What is there of the file of an upgrade, where that outlives restarts.
    pub async fn part(&self, id: &UpgradeId) -> Result<Option<PartStatus>, Failure> {
        self.ask(|answer| Command::Part(id.clone(), answer)).await
    }

    /// What a channel keeps with that part from now on; written down before the answer.
    pub async fn note(&self, id: &UpgradeId, note: Option<String>) -> Result<(), Failure> {
        self.ask(|answer| Command::Note(id.clone(), note, answer)).await
    }

    /// A network channel's news, for the status.
    pub async fn update_channel(&self, status: ChannelStatus) {
        // As with the link's news.
        let _ = self.commands.send(Command::UpdateChannel(status)).await;
    }

    /// Something that a person should know: a notice in the status.
    pub async fn tell(&self, failure: Failure) {
        // As with the link's news.
        let _ = self.commands.send(Command::Tell(failure)).await;
    }

    fn blocking_ask<T>(&self, command: impl FnOnce(Answer<T>) -> Command) -> Result<T, Failure> {
        let (answer, answered) = oneshot::channel();
        self.commands.blocking_send(command(answer)).map_err(|_| engine_is_gone())?;
        answered.blocking_recv().unwrap_or_else(|_| Err(engine_is_gone()))
    }

    async fn ask<T>(&self, command: impl FnOnce(Answer<T>) -> Command) -> Result<T, Failure> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(command(answer)).await.map_err(|_| engine_is_gone())?;
        answered.await.unwrap_or_else(|_| Err(engine_is_gone()))
    }
}
