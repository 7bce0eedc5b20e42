//! The words of `channels.sock`: what a network channel may ask of the engine, and what it is told.
//!
//! The process of these channels may have been taken over by somebody in the network. So nothing
//! here forces, confirms or rolls back, and nobody is told of what another channel asked for.

use serde::{Deserialize, Serialize};

use crate::model::version::Version;
use crate::model::{
    AnnouncedDigests, ChannelName, ChannelStatus, ComponentName, Failure, PackageSummary,
    PartStatus, Phase, Progress, Reference, Report, UpgradeId,
};

/// What a network channel may ask; one a line.
///
/// | `request` | fields | answers |
/// |---|---|---|
/// | `begin` | `channel`; `requester`: who on it; `waits` (optional): it may be put off; `reference` (optional): what the channel must know again, at most 1 KiB | `begun` |
/// | `receive` | `upgrade`; `file`: an [`Incoming`] | `send`, then the client sends pieces, then `stored` |
/// | `part` | `upgrade` | `part`: what is there of its file |
/// | `note` | `upgrade`, `note`: a text of at most 8 KiB or `null` | `done`: it is kept with what is there |
/// | `check` | `upgrade` | `checked`: of the file that this connection has sent |
/// | `start` | `upgrade` | `done` |
/// | `abandon` | `upgrade`, `failure` | `done` |
/// | `acknowledge` | `channel` | `done` |
/// | `tell` | `status`: the channel's own | `done` |
/// | `watch` | `channel` | `own` now and after each change, until the client closes |
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum ChannelRequest {
    /// Asks for an upgrade.
    Begin {
        /// In whose name.
        channel: ChannelName,
        /// Who on it.
        requester: String,
        /// Whether it may be put off.
        #[serde(default)]
        waits: bool,
        /// What the channel must know again with its upgrade and its report.
        #[serde(default)]
        reference: Option<Reference>,
    },
    /// Bytes of the file.
    Receive {
        /// For which upgrade.
        upgrade: UpgradeId,
        /// What it is.
        file: Incoming,
    },
    /// What is there of the file.
    Part {
        /// Of which upgrade.
        upgrade: UpgradeId,
    },
    /// What the channel keeps with that from now on.
    Note {
        /// With which upgrade's.
        upgrade: UpgradeId,
        /// That; it may hold secrets.
        note: Option<String>,
    },
    /// Has the file proved that was sent before over this connection.
    Check {
        /// For which upgrade.
        upgrade: UpgradeId,
    },
    /// Installs the file that was proved.
    Start {
        /// Of which upgrade.
        upgrade: UpgradeId,
    },
    /// Gives an upgrade up that is not yet being installed.
    Abandon {
        /// Which.
        upgrade: UpgradeId,
        /// Why.
        failure: Failure,
    },
    /// The channel's peer has seen its report.
    Acknowledge {
        /// Whose.
        channel: ChannelName,
    },
    /// How the channel fares.
    Tell {
        /// That.
        status: ChannelStatus,
    },
    /// What becomes of its upgrades, until the client closes.
    Watch {
        /// Whose.
        channel: ChannelName,
    },
}

/// A file that is handed over. All is optional.
///
/// | field | what |
/// |---|---|
/// | `name` | its name; absent where its seal is to say it |
/// | `size` | bytes; absent where nobody knows |
/// | `digests` | what its sender says of its bytes |
/// | `note` | what the channel keeps with what comes, as of the request `note`; it may hold secrets |
/// | `anew` | whether nothing that came before counts |
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "the table above")]
pub(crate) struct Incoming {
    pub(crate) name: Option<String>,
    pub(crate) size: Option<u64>,
    pub(crate) digests: AnnouncedDigests,
    pub(crate) note: Option<String>,
    pub(crate) anew: bool,
}

/// What the daemon answers; one a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
#[allow(clippy::large_enum_variant, reason = "lives for one line")]
pub(crate) enum ChannelAnswer {
    /// The upgrade has begun, or its requester is back at it.
    Begun {
        /// Its name.
        upgrade: UpgradeId,
    },
    /// Send the pieces behind the first `offset` bytes, which are there.
    Send {
        /// Bytes that are there.
        offset: u64,
    },
    /// The file is whole and durable.
    Stored {
        /// Its size in bytes.
        size: u64,
    },
    /// The file may be installed.
    Checked {
        /// What it is.
        package: PackageSummary,
    },
    /// What is there of the file.
    Part {
        /// Nothing where none of it was asked for yet.
        part: Option<PartStatus>,
    },
    /// It is done.
    Done,
    /// How the channel's upgrades are.
    Own {
        /// The one that runs.
        upgrade: Option<OwnUpgrade>,
        /// Whether one of somebody else runs.
        busy: bool,
        /// Reports that its peer has not acknowledged.
        reports: Vec<Report>,
        /// What the channel may replace.
        #[serde(default)]
        components: Vec<OwnComponent>,
        /// Why no upgrade may begin now, a sentence.
        #[serde(default)]
        not_now: Option<String>,
        /// The kernel's name of this boot.
        #[serde(default)]
        boot: String,
    },
    /// It failed; the connection ends.
    Failure {
        /// Why.
        failure: Failure,
    },
}

/// A component, as a channel that may replace it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OwnComponent {
    /// Its name.
    pub(crate) component: ComponentName,
    /// The product that its files are for.
    pub(crate) product: String,
    /// The version that runs, where known.
    pub(crate) version: Option<Version>,
    /// The channel's own request that brought it, where one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) brought_by: Option<Reference>,
}

/// The upgrade that runs, as the channel that asked for it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OwnUpgrade {
    /// Which.
    pub(crate) id: UpgradeId,
    /// Where it is.
    pub(crate) phase: Phase,
    /// What the channel must know again.
    pub(crate) reference: Option<Reference>,
    /// Bytes received.
    pub(crate) progress: Progress,
    /// Why the last reception failed, until the next begins.
    pub(crate) failure: Option<Failure>,
}
