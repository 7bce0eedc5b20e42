//! What the actor tells: the status that everybody watches, the log, and what is installed.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::actor::Actor;
use super::blocking::off_thread;
use crate::config::{self, Config};
use crate::health;
use crate::journal::{InstalledRecord, Journal};
use crate::log::{self, About, message};
use crate::machine::State;
use crate::model::{
    CurrentUpgrade, Failure, FailureKind, Installed, LinkState, LinkStatus, Phase, Progress,
    Report, Request, Status,
};
use crate::package::digest::ProgramDigest;
use crate::package::preflight;
use crate::package::version::Version;
use crate::stage::Observer;
use crate::target::program::Program;

impl Actor {
    /// News of a reception reach the status at each whole percent, its bytes the count at once.
    pub(super) fn progress_of(&self, number: u64, total: u64) -> Observer {
        let (reception, status) = (Arc::clone(&self.reception), Arc::clone(&self.status));
        let (received_bytes, mut counted) = (Arc::clone(&self.received_bytes), 0);
        Box::new(move |done| {
            received_bytes.fetch_add(done - counted, Ordering::Relaxed);
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

    /// Tells a person, in the log and in the status.
    pub(super) fn notice(&self, failure: &Failure) {
        notice(&self.status, failure);
    }

    pub(super) fn publish(&self) {
        let (state, left) = (&self.state, self.seconds_left());
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner) =
            left.map(|left| self.phase_began + Duration::from_secs(left));
        self.status.send_modify(|status| {
            let progress =
                status.upgrade.as_ref().map(|upgrade| upgrade.progress).unwrap_or_default();
            let keep = matches!(
                state.phase(),
                Phase::Checking | Phase::Ready | Phase::Installing | Phase::Restarting
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
                    file_name: upgrade.file_name.clone(),
                    progress: if keep { progress } else { Progress::default() },
                    failure: None,
                    package: state.package().cloned(),
                    seconds_left: left,
                    waits_for,
                }),
            };
            if status.phase != state.phase() {
                status.phase = state.phase();
                if let Some((version, digest)) = brought(state) {
                    (status.installed.version, status.installed.digest) = (version, digest);
                }
                tell(state, self.is_awaited);
            }
        });
    }

    /// What anybody says from now on is about the upgrade as it is now.
    pub(super) fn speak_of_upgrade(&self) {
        let about = self.state.upgrade().map(|upgrade| About {
            id: &upgrade.id,
            channel: Some(upgrade.request.channel),
            phase: self.state.phase(),
            version: self.state.package().map(|package| package.version),
        });
        log::about(about.as_ref());
    }

    /// A request that does not become an upgrade is not about the one that runs.
    pub(super) fn tell_refused(&self, request: &Request, failure: &Failure) {
        log::about(None);
        tracing::warn!(
            MESSAGE_ID = message::REFUSED, UPLIFT_KIND = %failure.kind, UPLIFT_CHANNEL = %request.channel,
            "the request of {} over {} was refused: {failure}", request.requester, request.transfer
        );
        self.speak_of_upgrade();
    }

    /// Until the verdict: a peer that is told of the restart waits for the trial too.
    pub(super) fn seconds_left(&self) -> Option<u64> {
        let terms = &self.state.swap()?.terms;
        match self.state.phase() {
            Phase::Restarting | Phase::Reverting => {
                Some(terms.restart_deadline.saturating_add(terms.deadline).as_secs())
            }
            Phase::Trial => Some(terms.deadline.as_secs()),
            _ => None,
        }
    }
}

/// [`Actor::notice`] by one of its tasks.
pub(super) fn notice(status: &watch::Sender<Status>, failure: &Failure) {
    tracing::error!(MESSAGE_ID = message::TROUBLE, UPLIFT_KIND = %failure.kind, "{failure}");
    let notice = failure.to_string();
    status.send_if_modified(|status| {
        let is_new = !status.notices.contains(&notice);
        if is_new {
            status.notices.push(notice);
        }
        is_new
    });
}

pub(super) fn link_before_it_speaks(config: &Config) -> LinkStatus {
    config.link.as_ref().map_or_else(LinkStatus::default, |link| LinkStatus {
        device: link.device.display().to_string(),
        state: LinkState::Waiting,
        ..LinkStatus::default()
    })
}

/// What is installed. The version is the one of the digest at the path, or not known: the journal
/// knows that of what `uplift` installed, replaced or has on trial, the program itself that of any
/// other, and the configuration that of the program that was installed by hand, unless it may be
/// another one.
pub(super) async fn installed(
    config: &config::Program,
    program: &Program,
    journal: &Journal,
) -> Installed {
    let (reader, known) = (program.clone(), journal.known_programs());
    let configured = config.clone();
    let found = off_thread(move || {
        let digest = reader.known_digest().unwrap_or_else(|error| {
            let failure = Failure::from_io(
                FailureKind::Internal,
                format!("the program {} can't be read", configured.path.display()),
                error,
            );
            tracing::warn!(MESSAGE_ID = message::TROUBLE, UPLIFT_KIND = %failure.kind, "{failure}");
            None
        });
        let version =
            version_of(digest, &known, || preflight::installed_version(&configured)?.ok());
        (digest, version)
    })
    .await;
    let (digest, version) = found.unwrap_or((None, None));
    let by_hand = || digest.filter(|digest| journal.may_be_by_hand(*digest)).and(config.version);
    Installed {
        product: config.product.clone(),
        path: config.path.clone(),
        version: version.or_else(by_hand),
        digest,
    }
}

fn version_of(
    digest: Option<ProgramDigest>,
    known: &[InstalledRecord],
    ask: impl FnOnce() -> Option<Version>,
) -> Option<Version> {
    let digest = digest?;
    known.iter().find(|record| record.digest == digest).map(|record| record.version).or_else(ask)
}

/// What a swap has just brought to the path.
fn brought(state: &State) -> Option<(Option<Version>, Option<ProgramDigest>)> {
    match state {
        State::Restarting { swap, .. } => {
            Some((Some(swap.package.version), Some(swap.package.program_digest)))
        }
        State::RestartingBack { upgrade, swap, .. } => Some((upgrade.from, swap.old)),
        _ => None,
    }
}

/// A phase that begins, for the journal.
fn tell(state: &State, is_awaited: bool) {
    let phase = state.phase();
    let (id, more) = match state {
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
        State::Concluded { upgrade, .. }
            if is_awaited && upgrade.request.channel.acknowledges() =>
        {
            (Some(message::REPORT_WAITS), ": the report waits for its receiver")
        }
        _ => (None, ""),
    };
    tracing::info!(MESSAGE_ID = id, "{phase}{more}");
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
