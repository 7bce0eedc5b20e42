//! What the engine tells: the status that everybody watches, the log, what monitoring counts.
//!
//! It is handed the machine's state, and knows nothing of how a step is carried out.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::{Deadline, Ended, Measures};
use crate::component::command::Told;
use crate::config::{Config, Network};
use crate::journal::Journal;
use crate::log::{self, About, message};
use crate::machine::State;
use crate::model::version::Version;
use crate::model::{
    Change, ChannelState, ChannelStatus, ComponentName, CurrentUpgrade, Failure, Installed,
    LONGEST_SENTENCE, LinkState, LinkStatus, PackageSummary, Phase, PhaseDuration, PolicyStatus,
    ProgramDigest, Progress, Report, Request, SCHEMA, Status, Step, Verdict,
};
use crate::stage::Observer;
use crate::trial::health;

/// Tells everybody what the engine does.
pub(super) struct Herald {
    status: Arc<watch::Sender<Status>>,
    phase_began: Instant,
    deadline: Deadline,
    /// Number of the reception whose progress counts; an older one's news are dropped.
    reception: Arc<AtomicU64>,
    received_bytes: Arc<AtomicU64>,
    link_errors: u64,
    /// Somebody waits for the report of the upgrade at hand.
    is_awaited: bool,
}

/// Tells a person what went wrong beside an upgrade: in the log, and in the status. For tasks.
#[derive(Clone)]
pub(super) struct Notices(Arc<watch::Sender<Status>>);

impl Herald {
    /// Begins with what a daemon knows when it starts.
    pub(super) fn new(
        config: &Config,
        journal: &Journal,
        components: Vec<Installed>,
        notices: Vec<String>,
    ) -> Self {
        let status = Status {
            schema: SCHEMA,
            phase: Phase::Idle,
            components,
            upgrade: None,
            unacknowledged: journal.unacknowledged().to_vec(),
            last: journal.newest_report(|_| true),
            policy: PolicyStatus::default(),
            link: link_before_it_speaks(config),
            channels: config.networks().map(|network| channel_before_it_speaks(&network)).collect(),
            notices,
        };
        Self {
            status: Arc::new(watch::channel(status).0),
            phase_began: Instant::now(),
            deadline: Deadline::default(),
            reception: Arc::default(),
            received_bytes: Arc::default(),
            link_errors: 0,
            is_awaited: true,
        }
    }

    /// For everybody who watches.
    pub(super) fn watch(&self) -> (watch::Receiver<Status>, Deadline) {
        (self.status.subscribe(), Arc::clone(&self.deadline))
    }

    pub(super) fn notices(&self) -> Notices {
        Notices(Arc::clone(&self.status))
    }

    /// Tells a person, in the log and in the status.
    pub(super) fn notice(&self, failure: &Failure) {
        self.notices().tell(failure);
    }

    /// What is installed of a component, as everybody was told.
    pub(super) fn installed(
        &self,
        component: ComponentName,
    ) -> (Option<Version>, Option<ProgramDigest>) {
        let status = self.status.borrow();
        let installed = status.component(component);
        installed.map_or((None, None), |installed| (installed.version, installed.digest))
    }

    /// Why the last upgrade ended, as everybody was told.
    pub(super) fn last_failure(&self) -> Option<Failure> {
        self.status.borrow().last.as_ref().and_then(|report| report.failure.clone())
    }

    /// A reception of so many bytes begins: its news reach the status at each whole percent, its
    /// bytes the count at once.
    pub(super) fn progress_of_next(&self, total: u64) -> Observer {
        let number = self.reception.fetch_add(1, Ordering::Relaxed) + 1;
        let (reception, status) = (Arc::clone(&self.reception), Arc::clone(&self.status));
        let (received_bytes, mut counted) = (Arc::clone(&self.received_bytes), 0);
        Box::new(move |done| {
            // A peer may go back behind what it has sent.
            received_bytes.fetch_add(done.saturating_sub(counted), Ordering::Relaxed);
            counted = done;
            if reception.load(Ordering::Relaxed) != number {
                return;
            }
            let progress = Progress { done, total };
            status.send_if_modified(|status| {
                let Some(upgrade) = &mut status.upgrade else { return false };
                let changed = upgrade.progress.percent() != progress.percent()
                    || upgrade.progress.total != total;
                upgrade.progress = progress;
                changed
            });
        })
    }

    /// What is being received counts no more.
    pub(super) fn drop_progress(&self) {
        self.reception.fetch_add(1, Ordering::Relaxed);
    }

    /// What the trial waits for reaches the status when it is something else than before.
    pub(super) fn trial_observer(&self) -> health::Observer {
        let status = Arc::clone(&self.status);
        Box::new(move |wait| {
            status.send_if_modified(|status| {
                let Some(upgrade) =
                    status.upgrade.as_mut().filter(|_| status.phase == Phase::Trial)
                else {
                    return false;
                };
                let changed = upgrade.waits_for.as_ref() != Some(&wait);
                upgrade.waits_for = Some(wait);
                changed
            });
        })
    }

    /// What another updater tells of its work.
    pub(super) fn change_observer(&self) -> impl Fn(Told) + Send + Sync + 'static {
        let status = Arc::clone(&self.status);
        move |told| {
            status.send_if_modified(|status| {
                let Some(upgrade) = &mut status.upgrade else { return false };
                if let Some(doing) = told.doing.as_ref().filter(|_| upgrade.doing != told.doing) {
                    tracing::info!("the updater: {doing}");
                }
                let changed = (upgrade.percent, &upgrade.doing) != (told.percent, &told.doing);
                (upgrade.percent, upgrade.doing) = (told.percent, told.doing);
                changed
            });
        }
    }

    /// The file was not received; the peer may begin again.
    pub(super) fn reception_failed(&self, failure: Failure) {
        tracing::warn!(UPLIFT_KIND = %failure.kind, "the file was not received: {failure}; the peer may begin again");
        self.status.send_modify(|status| {
            if let Some(upgrade) = &mut status.upgrade {
                upgrade.failure = Some(failure);
            }
        });
    }

    pub(super) fn update_installed(&self, installed: Installed) {
        self.status.send_modify(|status| replace(status, installed));
    }

    pub(super) fn update_unacknowledged(&self, journal: &Journal) {
        let unacknowledged = journal.unacknowledged().to_vec();
        self.status.send_modify(|status| status.unacknowledged = unacknowledged);
    }

    pub(super) fn minimum_forgotten(&self, component: ComponentName, version: Version, by: &str) {
        tracing::warn!(
            MESSAGE_ID = message::MINIMUM_FORGOTTEN,
            "the lowest version of {component}, {version}, was forgotten by {by}"
        );
        self.status.send_modify(|status| {
            if let Some(installed) = component_of(status, component) {
                installed.minimum_version = None;
            }
        });
    }

    /// Upgrades are held, or may begin again: who watches hears of it.
    pub(super) fn update_policy(&self, policy: PolicyStatus) {
        self.status.send_if_modified(|status| {
            let changed = status.policy != policy;
            status.policy = policy;
            changed
        });
    }

    pub(super) fn update_link(&mut self, link: LinkStatus) {
        self.link_errors += u64::from(is_lost(self.status.borrow().link.state, link.state));
        self.status.send_if_modified(|status| {
            let changed = status.link != link;
            status.link = link;
            changed
        });
    }

    /// What a channel says of itself. It can't say of what it is, nor that it need not seal.
    pub(super) fn update_channel(&self, told: &ChannelStatus) {
        self.status.send_if_modified(|status| {
            let known = status.channels.iter_mut().find(|channel| channel.name == told.name);
            let Some(known) = known else { return false };
            let sentence = told.sentence.chars().take(LONGEST_SENTENCE).collect();
            let next = ChannelStatus { unsealed: known.unsealed, sentence, ..told.clone() };
            let changed = *known != next;
            *known = next;
            changed
        });
    }

    /// The end of an upgrade, once the journal has it.
    pub(super) fn ended(&self, report: Report, installed: Option<Installed>, journal: &Journal) {
        let unacknowledged = journal.unacknowledged().to_vec();
        self.status.send_modify(|status| {
            if let Some(installed) = installed {
                replace(status, installed);
            }
            status.unacknowledged = unacknowledged;
            status.last = Some(report);
        });
    }

    /// Whether somebody waits for the report of the upgrade at hand.
    pub(super) fn set_awaited(&mut self, is_awaited: bool) {
        self.is_awaited = is_awaited;
    }

    /// Adds to a state that is entered how long the phase before it took.
    pub(super) fn begin_phase(&mut self, state: &mut State) {
        let over = self.status.borrow().phase;
        let began = std::mem::replace(&mut self.phase_began, Instant::now());
        if over != Phase::Idle && over != Phase::Concluded && over != state.phase() {
            let milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            state.add_duration(PhaseDuration { phase: over, milliseconds });
        }
    }

    pub(super) fn measures(&self, journal: &Journal) -> Measures {
        Measures {
            in_phase: self.phase_began.elapsed(),
            received_bytes: self.received_bytes.load(Ordering::Relaxed),
            link_errors: self.link_errors,
            ended: journal.past_reports().map(Ended::from).collect(),
        }
    }

    /// Where the upgrade is now.
    pub(super) fn publish(&self, state: &State) {
        let left = seconds_left(state);
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner) =
            left.map(|left| self.phase_began + Duration::from_secs(left));
        self.status.send_modify(|status| {
            let progress =
                status.upgrade.as_ref().map(|upgrade| upgrade.progress).unwrap_or_default();
            let keep = matches!(
                state.phase(),
                Phase::Checking
                    | Phase::Ready
                    | Phase::Deferred
                    | Phase::Installing
                    | Phase::Restarting
            );
            let waits_for = status
                .upgrade
                .take()
                .and_then(|upgrade| upgrade.waits_for)
                .filter(|_| state.phase() == Phase::Trial);
            status.upgrade = match state {
                State::Idle | State::Concluded { .. } => None,
                _ => state.upgrade().map(|upgrade| CurrentUpgrade {
                    id: upgrade.id.clone(),
                    request: upgrade.request.clone(),
                    component: upgrade.component,
                    file_name: upgrade.file_name.clone(),
                    progress: if keep { progress } else { Progress::default() },
                    failure: None,
                    package: state.package().cloned(),
                    percent: None,
                    doing: None,
                    seconds_left: left,
                    waits_for,
                    deferred_because: state.deferral().map(|deferral| deferral.why.clone()),
                }),
            };
            if status.phase != state.phase() {
                status.phase = state.phase();
                if let Some((component, version, digest)) = brought(state)
                    && let Some(installed) = component_of(status, component)
                {
                    (installed.version, installed.digest) = (version, digest);
                }
                tell(state, self.is_awaited);
            }
        });
    }

    /// A request that does not become an upgrade is not about the one that runs.
    pub(super) fn refused(&self, state: &State, request: &Request, failure: &Failure) {
        log::about(None);
        tracing::warn!(
            MESSAGE_ID = message::REFUSED, UPLIFT_KIND = %failure.kind, UPLIFT_CHANNEL = %request.channel,
            "the request of {} over {} was refused: {failure}", request.requester, request.transfer
        );
        speak_of(state);
    }
}

impl Notices {
    pub(super) fn tell(&self, failure: &Failure) {
        tracing::error!(MESSAGE_ID = message::TROUBLE, UPLIFT_KIND = %failure.kind, "{failure}");
        let notice = failure.to_string();
        self.0.send_if_modified(|status| {
            let is_new = !status.notices.contains(&notice);
            if is_new {
                status.notices.push(notice);
            }
            is_new
        });
    }
}

/// What anybody says from now on is about the upgrade as it is now.
pub(super) fn speak_of(state: &State) {
    let about = state.upgrade().map(|upgrade| About {
        id: &upgrade.id,
        channel: Some(upgrade.request.channel),
        phase: state.phase(),
        version: state.package().map(|package| package.version),
    });
    log::about(about.as_ref());
}

/// Until the verdict: a peer that is told of the restart waits for the trial too.
fn seconds_left(state: &State) -> Option<u64> {
    if let State::Changing { change: Change { terms, .. }, step, .. } = state {
        let left = match step {
            Step::Installing | Step::Reverting { .. } => terms.command_deadline,
            Step::Restarting { .. } | Step::RestartingBack { .. } => {
                terms.restart_deadline.saturating_add(terms.deadline)
            }
            Step::Trial { .. } => terms.deadline,
        };
        return Some(left.as_secs());
    }
    let terms = &state.swap()?.terms;
    match state.phase() {
        Phase::Restarting | Phase::Reverting => {
            Some(terms.restart_deadline.saturating_add(terms.deadline).as_secs())
        }
        Phase::Trial => Some(terms.deadline.as_secs()),
        _ => None,
    }
}

/// Whether the payload link lost its device or its aircraft.
const fn is_lost(before: LinkState, now: LinkState) -> bool {
    matches!(
        (before, now),
        (LinkState::Linked, LinkState::Probing)
            | (LinkState::Linked | LinkState::Probing, LinkState::Waiting)
    )
}

fn link_before_it_speaks(config: &Config) -> LinkStatus {
    config.link.as_ref().map_or_else(LinkStatus::default, |link| LinkStatus {
        device: config.paths.of_link(link).display().to_string(),
        state: LinkState::Waiting,
        ..LinkStatus::default()
    })
}

fn channel_before_it_speaks(network: &Network) -> ChannelStatus {
    ChannelStatus {
        name: network.name,
        state: ChannelState::Unknown,
        sentence: String::new(),
        errors: 0,
        unsealed: network.unsealed,
    }
}

/// What a swap has just brought to the path of which component.
fn brought(state: &State) -> Option<(ComponentName, Option<Version>, Option<ProgramDigest>)> {
    match state {
        State::Restarting { upgrade, swap, .. } => {
            let PackageSummary { version, program_digest, .. } = swap.package;
            Some((upgrade.component(), Some(version), Some(program_digest)))
        }
        State::RestartingBack { upgrade, swap, .. } => {
            Some((upgrade.component(), upgrade.from, swap.old))
        }
        _ => None,
    }
}

fn component_of(status: &mut Status, name: ComponentName) -> Option<&mut Installed> {
    status.components.iter_mut().find(|installed| installed.component == name)
}

fn replace(status: &mut Status, installed: Installed) {
    if let Some(known) = component_of(status, installed.component) {
        *known = installed;
    }
}

/// A phase that begins, for the journal.
fn tell(state: &State, is_awaited: bool) {
    let phase = state.phase();
    let (id, more) = match state {
        State::Changing { step, .. } => return tell_change(phase, step),
        State::Deferred { deferral, .. } => {
            tracing::info!(MESSAGE_ID = message::DEFERRED, "{phase}: {}", deferral.why);
            return;
        }
        State::Restarting { .. } => (Some(message::SWAPPED), ": the new program is at its path"),
        State::RestartingBack { .. } => (None, ": the old program is back at its path"),
        State::Trial { .. } => {
            (Some(message::TRIAL), ": the new program has to show that it works")
        }
        State::Reverting { verdict, .. } => {
            let failure = &verdict.failure;
            tracing::warn!(MESSAGE_ID = message::REVERTING, UPLIFT_KIND = %failure.kind, "{phase} to the old program: {failure}");
            return;
        }
        State::Concluded { upgrade, .. } if is_awaited && upgrade.request.is_acknowledged() => {
            (Some(message::REPORT_WAITS), ": the report waits for its receiver")
        }
        _ => (None, ""),
    };
    tracing::info!(MESSAGE_ID = id, "{phase}{more}");
}

fn tell_change(phase: Phase, step: &Step) {
    match step {
        Step::Installing => tracing::info!("{phase} by another updater"),
        Step::Restarting { .. } => tracing::info!("{phase}: the updater has installed"),
        Step::Trial { .. } => {
            tracing::info!(
                MESSAGE_ID = message::TRIAL,
                "{phase}: what the updater has installed has to show that it works"
            );
        }
        Step::Reverting { verdict: Verdict { failure, .. } } => {
            tracing::warn!(MESSAGE_ID = message::REVERTING, UPLIFT_KIND = %failure.kind, "{phase} by the updater: {failure}");
        }
        Step::RestartingBack { .. } => tracing::info!("{phase}: the updater has gone back"),
    }
}

pub(super) fn log(report: &Report) {
    let id = message::of_outcome(report.outcome);
    let version =
        report.package.as_ref().map(|package| package.version.to_string()).unwrap_or_default();
    match &report.failure {
        None => tracing::info!(MESSAGE_ID = id, "upgrade {}: {version} runs", report.outcome),
        Some(failure) => {
            tracing::error!(MESSAGE_ID = id, UPLIFT_KIND = %failure.kind, "upgrade {}: {}: {failure}", report.outcome, failure.kind);
        }
    }
}
