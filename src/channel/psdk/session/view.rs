//! What the session sees of the engine's status: the upgrade of its own channel, and that channel's
//! report.

use super::super::words::{Offered, Reason, StatusPush};
use crate::config::{self, VersionOf};
use crate::model::version::Version;
use crate::model::{
    ChannelName, ComponentName, CurrentUpgrade, Outcome, Phase, Report, Status, TransferKind,
    UpgradeId,
};

/// The engine's status as far as it concerns the payload link.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// The version that runs.
    pub version: Option<Version>,
    /// The upgrade that runs, if a host of this link asked for it.
    pub work: Option<Work>,
    /// The report that a host of this link has not acknowledged.
    pub report: Option<PendingReport>,
}

/// An upgrade that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// The upgrade.
    pub id: UpgradeId,
    /// How its file came.
    pub transfer: TransferKind,
    /// Where it is.
    pub phase: Phase,
    /// Percent of the file that was received.
    pub received: u8,
    /// Seconds until the deadline of the phase, where it has one.
    pub seconds_left: Option<u64>,
}

/// A report that waits for its receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingReport {
    /// The upgrade.
    pub id: UpgradeId,
    /// How it ended, in the peer's words.
    pub result: StatusPush,
}

/// Which version the link tells, which has one alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The components whose lowest version it is. One of which none is known is lower than any.
    components: Vec<ComponentName>,
}

impl Told {
    /// By the configuration of the link.
    pub fn new(config: &config::Link) -> Self {
        let components = match config.version_of {
            VersionOf::Lowest => config.components.iter().copied().collect(),
            VersionOf::Component(name) => vec![name],
        };
        Self { components }
    }

    fn version(&self, status: &Status) -> Option<Version> {
        let version = |name: &ComponentName| status.component(*name)?.version;
        self.components.iter().map(version).min().flatten()
    }
}

impl View {
    /// What concerns the link in this status.
    pub fn of(status: &Status, told: &Told) -> Self {
        let ours = |upgrade: &&CurrentUpgrade| upgrade.request.channel == ChannelName::PSDK;
        Self {
            version: told.version(status),
            work: status
                .upgrade
                .as_ref()
                .filter(ours)
                .map(|upgrade| Work::new(upgrade, status.phase)),
            report: status
                .unacknowledged
                .iter()
                .rfind(|report| report.request.channel == ChannelName::PSDK)
                .map(PendingReport::from),
        }
    }
}

impl Work {
    fn new(upgrade: &CurrentUpgrade, phase: Phase) -> Self {
        Self {
            id: upgrade.id.clone(),
            transfer: upgrade.request.transfer,
            phase,
            received: upgrade.progress.percent(),
            seconds_left: upgrade.seconds_left,
        }
    }

    /// How its file comes.
    pub(super) fn offered(&self) -> Offered {
        if self.transfer == TransferKind::Ftp { Offered::Ftp } else { Offered::Dcftp }
    }

    /// Whether the point of no return to the host is passed: it has asked for the check, and waits
    /// for the end.
    pub(super) fn is_started(&self) -> bool {
        match self.phase {
            Phase::Idle | Phase::Preparing | Phase::Receiving | Phase::Concluded => false,
            Phase::Checking
            | Phase::Ready
            | Phase::Deferred
            | Phase::Installing
            | Phase::Restarting
            | Phase::Trial
            | Phase::Reverting => true,
        }
    }
}

impl From<&Report> for PendingReport {
    fn from(report: &Report) -> Self {
        let reason =
            || report.failure.as_ref().map_or(Reason::Failure, |failure| failure.kind.into());
        let result = match report.outcome {
            Outcome::Succeeded => StatusPush::Succeeded,
            Outcome::Failed | Outcome::RolledBack => StatusPush::Failed(reason()),
        };
        Self { id: report.id.clone(), result }
    }
}
