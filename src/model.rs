//! What is persisted and printed: phases, progress, outcomes, failures, reports, status.
//!
//! These types are the schema of the state file, the history, the control socket and every `--json`
//! output, so a change here is a change of a documented format (docs/wire/control-protocol.md). The
//! module must not know how anything is done: no I/O, no clock.

mod board;
mod change;
mod channel;
mod countdown;
mod digest;
mod entry;
mod failure;
pub mod file_name;
mod key_id;
mod name;
mod origin;
mod policy;
mod report;
mod request;
mod terms;
mod upgrade;
pub mod version;

use std::fmt;

use serde::{Deserialize, Serialize};

use version::Version;

pub use board::{
    BOARD_DEVICE, BOARD_UNCHANGED, Board, Entry as BoardEntry, GpioLine, ModemLine, Pin, Scheme,
};
pub use change::{Change, ChangeTerms, Step};
pub use channel::{ChannelState, ChannelStatus, LONGEST_SENTENCE, PartStatus, Reference};
pub use countdown::{Countdown, Uptime};
pub use digest::{AnnouncedDigests, FileDigest, Md5Digest, ProgramDigest, Sha1Digest};
pub use entry::Entry;
pub(crate) use failure::without_number;
pub use failure::{Failure, FailureKind, Verdict};
pub use key_id::{KeyId, NotAKeyId};
pub use name::{BrokerName, ChannelName, ComponentName};
pub(crate) use origin::CONTAINER_START;
pub use origin::Origin;
pub use policy::{HoldStatus, PolicyStatus, WindowStatus};
pub use report::Report;
pub use request::{Receipt, Request};
pub(crate) use terms::milliseconds;
pub use terms::{BridgeHealth, Confirm, Form, Restart, Runs, Terms};
pub use upgrade::{Attempt, Conclusion, Deferral, Swap, Upgrade};

/// One upgrade's name: a random UUID from the kernel, the same in logs, history and the control
/// protocol.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UpgradeId(pub String);

impl fmt::Display for UpgradeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How the bytes of an upgrade arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TransferKind {
    /// Uploaded to an FTP server, pulled from it by the daemon.
    Ftp,
    /// In chunks over the payload link itself.
    Dcftp,
    /// Through the control socket.
    Local,
    /// By a process without rights, over a socket of this machine.
    HandOver,
}

impl fmt::Display for TransferKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ftp => "FTP",
            Self::Dcftp => "DCFTP",
            Self::Local => "local",
            Self::HandOver => "the network",
        })
    }
}

/// Where an upgrade is (design: "the life of an upgrade"). The same words stand in logs, JSON and
/// the status line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Nothing to do.
    Idle,
    /// A request was accepted; the staging area is being emptied.
    Preparing,
    /// Bytes arrive.
    Receiving,
    /// The received file is being proved.
    Checking,
    /// Proved, and waiting for the word to install.
    Ready,
    /// Proved, and put off until it may be installed.
    Deferred,
    /// The program is being swapped.
    Installing,
    /// Swapped; the restart was asked for.
    Restarting,
    /// Restarted; evidence is being gathered.
    Trial,
    /// The trial failed; the old program is being put back.
    Reverting,
    /// The report stands and waits for its receiver.
    Concluded,
}

impl Phase {
    /// Every phase, in the order of an upgrade's life.
    pub const ALL: [Self; 11] = [
        Self::Idle,
        Self::Preparing,
        Self::Receiving,
        Self::Checking,
        Self::Ready,
        Self::Deferred,
        Self::Installing,
        Self::Restarting,
        Self::Trial,
        Self::Reverting,
        Self::Concluded,
    ];

    /// Whether what is installed stays as it is meanwhile.
    pub const fn leaves_alone(self) -> bool {
        match self {
            Self::Idle
            | Self::Preparing
            | Self::Receiving
            | Self::Checking
            | Self::Ready
            | Self::Deferred
            | Self::Concluded => true,
            Self::Installing | Self::Restarting | Self::Trial | Self::Reverting => false,
        }
    }

    /// The stable word for this phase.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Preparing => "preparing",
            Self::Receiving => "receiving",
            Self::Checking => "checking",
            Self::Ready => "ready",
            Self::Deferred => "deferred",
            Self::Installing => "installing",
            Self::Restarting => "restarting",
            Self::Trial => "trial",
            Self::Reverting => "reverting",
            Self::Concluded => "concluded",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Bytes done, and how many there will be where that is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Bytes received so far.
    pub done: u64,
    /// Bytes announced.
    pub total: u64,
}

impl Progress {
    /// Whole percent, 0..=100; 0 while the total is unknown.
    pub fn percent(self) -> u8 {
        let percent =
            (u128::from(self.done) * 100).checked_div(u128::from(self.total)).unwrap_or(0);
        u8::try_from(percent.min(100)).unwrap_or(100)
    }
}

/// How an upgrade ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The new program runs, by the evidence in the report.
    Succeeded,
    /// The upgrade failed and the old program was never replaced; or it could not be put back, and
    /// the failure says so.
    Failed,
    /// The new program was swapped in, failed, and the old one was put back.
    RolledBack,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::RolledBack => "rolled back",
        })
    }
}

/// What was seen after the restart (invariant I3: the report is derived from this, never stored in
/// advance).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The restart really happened: the kernel's boot id, or the unit's invocation id, is another
    /// one.
    pub restarted: bool,
    /// The program at the path has the digest that was installed.
    pub digest_at_path: bool,
    /// What is known of the process that runs.
    pub running: RunningEvidence,
    /// Restarts of the unit that the trial saw; each began the window anew.
    #[serde(default)]
    pub restarts: u32,
    /// Boots that the trial took.
    #[serde(default)]
    pub boots: u32,
    /// The health command that succeeded, where one is configured.
    #[serde(default)]
    pub health_command: Option<Vec<String>>,
    /// What the program showed at the bridge, where that is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bridge: Option<BridgeHealth>,
    /// Who confirmed that the new program works, such as "uid 1000".
    #[serde(default)]
    pub confirmed_by: Option<String>,
}

/// What is known of the running program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunningEvidence {
    /// The unit is active and its main process runs the installed digest.
    Verified,
    /// The unit is active, and systemd started its main process from the path after the swap. What
    /// the process became is another program, by the configuration's word, and was not looked at.
    Started,
    /// No unit is named in the configuration, so nothing is known of the process.
    NoUnit,
    /// Another updater has installed it, and a command told the version that was expected.
    VersionTold,
    /// A microcontroller showed it after a reset: its flash was read back, or its bootloader has
    /// proved and recorded it.
    ReadBack,
    /// Another updater says that it has installed it, and nothing else was asked.
    UpdaterSays,
    /// The unit is not active, or runs another digest.
    Contradicted,
}

/// How long a phase took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseDuration {
    /// The phase.
    pub phase: Phase,
    /// Milliseconds by the monotonic clock; one that a restart of the daemon ended was measured by
    /// nobody, and is missing.
    pub milliseconds: u64,
}

/// The package of an upgrade, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageSummary {
    /// File name as received.
    pub file_name: String,
    /// Product of the name.
    pub product: String,
    /// Version of the name.
    pub version: Version,
    /// Size of the file in bytes.
    pub size: u64,
    /// Digest of all bytes received.
    pub file_digest: FileDigest,
    /// Bytes of the program that came of it, where the file was a container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program_size: Option<u64>,
    /// Digest of the program: the identity.
    pub program_digest: ProgramDigest,
    /// The trusted key that sealed the file; absent where it has no seal, or no keys are
    /// configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trusted_key: Option<KeyId>,
}

/// A component as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installed {
    /// Its name.
    pub component: ComponentName,
    /// Product name of the configuration.
    pub product: String,
    /// Where the program lies; absent where another updater installs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<std::path::PathBuf>,
    /// Version, where known.
    pub version: Option<Version>,
    /// Digest of the program at the path, or of the file that another updater was handed; absent when
    /// there is none.
    pub digest: Option<ProgramDigest>,
    /// The daemon has started a moment ago and looks at it still: neither version nor digest is known
    /// yet. Absent: `false`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub looking: bool,
    /// Programs that were rolled back here, and are refused.
    #[serde(default)]
    pub known_bad: Vec<ProgramDigest>,
    /// The highest version that succeeded here with a trusted seal, and that no person took back;
    /// lower ones are refused.
    #[serde(default)]
    pub minimum_version: Option<Version>,
    /// The request of a network channel that brought it; never shown, except to that channel.
    #[serde(skip)]
    pub brought_by: Option<(ChannelName, Reference)>,
}

/// The upgrade that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CurrentUpgrade {
    /// The upgrade.
    pub id: UpgradeId,
    /// Who asked.
    pub request: Request,
    /// What it replaces, once that is known.
    #[serde(default)]
    pub component: Option<ComponentName>,
    /// The file's name as the peer gave it, once it did.
    #[serde(default)]
    pub file_name: Option<String>,
    /// Bytes received.
    pub progress: Progress,
    /// Why the last reception failed, until the peer begins again.
    #[serde(default)]
    pub failure: Option<Failure>,
    /// What is being installed, once checked.
    pub package: Option<PackageSummary>,
    /// Percent that another updater has installed, where it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
    /// What another updater does, in its own words, where it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doing: Option<String>,
    /// Seconds until the deadline of the phase that runs, where it has one that the peer is told:
    /// from its beginning, and in an answer of the control socket from now.
    pub seconds_left: Option<u64>,
    /// What the trial waits for, while it does.
    #[serde(default)]
    pub waits_for: Option<TrialWait>,
    /// Why it may not be installed yet, while it is deferred.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deferred_because: Option<String>,
}

/// What a trial waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum TrialWait {
    /// The unit does not run the new program yet.
    Unit {
        /// Why not.
        why: String,
    },
    /// The unit runs it, and shall for a while longer.
    Window {
        /// Seconds since its last start.
        stable: u64,
        /// Seconds that are asked for.
        window: u64,
    },
    /// The version that was installed by another updater is not told yet.
    Version {
        /// Why not.
        why: String,
    },
    /// The program has not shown itself at the bridge yet.
    Bridge {
        /// What is missing.
        why: String,
    },
    /// The health command has not succeeded yet.
    HealthCommand {
        /// Why its last run failed; absent before the first.
        why: Option<String>,
    },
    /// Nobody has confirmed yet.
    Confirmation {},
}

impl fmt::Display for TrialWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unit { why } => write!(f, "waits for the unit: {why}"),
            Self::Window { stable, window } => write!(f, "{stable} s of {window} s stable"),
            Self::Version { why } => write!(f, "waits for the version: {why}"),
            Self::Bridge { why } => write!(f, "waits for the program at the bridge: {why}"),
            Self::HealthCommand { why: None } => write!(f, "runs the health command"),
            Self::HealthCommand { why: Some(why) } => {
                write!(f, "waits for the health command: {why}")
            }
            Self::Confirmation {} => write!(f, "waits for `uplift confirm`"),
        }
    }
}

/// The payload link, for `uplift status`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkStatus {
    /// Device path, such as /dev/ttyUSB0, or that of the bridge.
    pub device: String,
    /// What the link does.
    pub state: LinkState,
    /// Baud rate in use.
    pub baud: Option<u32>,
    /// One byte that the aircraft answers to the probe (60 = M300 RTK).
    pub aircraft_type: Option<u8>,
    /// A sentence about what keeps the link from working well: the device is missing, the adapter
    /// holds bytes back.
    pub notice: Option<String>,
}

/// What the payload link does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkState {
    /// No payload link is configured.
    #[default]
    Disabled,
    /// The device is not there, or can't be opened; no application is connected to the bridge.
    Waiting,
    /// The device is open, and the aircraft is looked for.
    Probing,
    /// The aircraft answered; an application is connected.
    Linked,
}

impl fmt::Display for LinkState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Disabled => "disabled",
            Self::Waiting => "waiting",
            Self::Probing => "looking for the aircraft",
            Self::Linked => "linked",
        })
    }
}

/// Version of the JSON that `uplift status --json`, `uplift history --json` and the control socket
/// speak.
pub const SCHEMA: u32 = 1;

/// Everything that `uplift status` tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Where the upgrade is.
    pub phase: Phase,
    /// What is installed, by the components' names.
    pub components: Vec<Installed>,
    /// The upgrade that runs.
    pub upgrade: Option<CurrentUpgrade>,
    /// Reports that their receivers have not acknowledged.
    pub unacknowledged: Vec<Report>,
    /// The last upgrade's report.
    pub last: Option<Report>,
    /// What keeps upgrades from beginning, or would.
    #[serde(default)]
    pub policy: PolicyStatus,
    /// The payload link.
    pub link: LinkStatus,
    /// The channels of the network that are configured.
    #[serde(default)]
    pub channels: Vec<ChannelStatus>,
    /// What a person should know: a damaged state file that was set aside, a wrong configuration.
    pub notices: Vec<String>,
}

impl Status {
    /// The component of this name.
    pub fn component(&self, name: ComponentName) -> Option<&Installed> {
        self.components.iter().find(|installed| installed.component == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_is_whole_and_bounded() {
        assert_eq!(Progress { done: 0, total: 0 }.percent(), 0);
        assert_eq!(Progress { done: 1, total: 3 }.percent(), 33);
        assert_eq!(Progress { done: u64::MAX, total: u64::MAX }.percent(), 100);
        assert_eq!(Progress { done: 9, total: 3 }.percent(), 100);
    }

    #[test]
    fn names_of_kinds_and_phases_are_those_of_the_json() {
        for kind in FailureKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
        assert_eq!(serde_json::to_value(Phase::Concluded).unwrap(), Phase::Concluded.as_str());
    }
}
