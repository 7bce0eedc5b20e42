//! What is persisted and printed: phases, progress, outcomes, failures, reports, status.
//!
//! These types are the schema of the state file, the history, the control socket and every `--json` output, so a
//! change here is a change of a documented format (docs/control-protocol.md). The module must not know how anything
//! is done: no I/O, no clock.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::package::digest::{FileDigest, ProgramDigest};
use crate::package::version::Version;

/// One upgrade's name: a random UUID from the kernel, the same in logs, history and the control protocol.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UpgradeId(pub String);

impl fmt::Display for UpgradeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who may ask for an upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Channel {
    /// The payload link: DJI Assistant 2 through the aircraft.
    Psdk,
    /// A person or a program on this machine, through the control socket.
    Shell,
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Psdk => "psdk",
            Self::Shell => "shell",
        })
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
}

impl fmt::Display for TransferKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ftp => "FTP",
            Self::Dcftp => "DCFTP",
            Self::Local => "local",
        })
    }
}

/// Where an upgrade is (design: "the life of an upgrade"). The same words stand in logs, JSON and the status line.
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
    /// The stable word for this phase.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Preparing => "preparing",
            Self::Receiving => "receiving",
            Self::Checking => "checking",
            Self::Ready => "ready",
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
        let percent = (u128::from(self.done) * 100).checked_div(u128::from(self.total)).unwrap_or(0);
        u8::try_from(percent.min(100)).unwrap_or(100)
    }
}

/// Why an upgrade failed: the closed list of the design (invariant I6). Names are stable in logs, JSON and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the sentence of each kind is its hint below")]
pub enum FailureKind {
    Busy,
    Interrupted,
    Cancelled,
    Timeout,
    TransferFailed,
    TooLarge,
    NoSpace,
    NameInvalid,
    WrongProduct,
    WrongVersion,
    Downgrade,
    SameVersion,
    Truncated,
    WrongMachine,
    DigestMismatch,
    SealMissing,
    SealInvalid,
    KnownBad,
    PreflightFailed,
    InstallFailed,
    RestartFailed,
    Unhealthy,
    Internal,
}

impl FailureKind {
    /// Every kind, in the order of the design's list.
    pub const ALL: [Self; 23] = [
        Self::Busy,
        Self::Interrupted,
        Self::Cancelled,
        Self::Timeout,
        Self::TransferFailed,
        Self::TooLarge,
        Self::NoSpace,
        Self::NameInvalid,
        Self::WrongProduct,
        Self::WrongVersion,
        Self::Downgrade,
        Self::SameVersion,
        Self::Truncated,
        Self::WrongMachine,
        Self::DigestMismatch,
        Self::SealMissing,
        Self::SealInvalid,
        Self::KnownBad,
        Self::PreflightFailed,
        Self::InstallFailed,
        Self::RestartFailed,
        Self::Unhealthy,
        Self::Internal,
    ];

    /// The stable name, as in `journalctl -u uplift UPLIFT_KIND=downgrade`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Interrupted => "interrupted",
            Self::Cancelled => "cancelled",
            Self::Timeout => "timeout",
            Self::TransferFailed => "transfer-failed",
            Self::TooLarge => "too-large",
            Self::NoSpace => "no-space",
            Self::NameInvalid => "name-invalid",
            Self::WrongProduct => "wrong-product",
            Self::WrongVersion => "wrong-version",
            Self::Downgrade => "downgrade",
            Self::SameVersion => "same-version",
            Self::Truncated => "truncated",
            Self::WrongMachine => "wrong-machine",
            Self::DigestMismatch => "digest-mismatch",
            Self::SealMissing => "seal-missing",
            Self::SealInvalid => "seal-invalid",
            Self::KnownBad => "known-bad",
            Self::PreflightFailed => "preflight-failed",
            Self::InstallFailed => "install-failed",
            Self::RestartFailed => "restart-failed",
            Self::Unhealthy => "unhealthy",
            Self::Internal => "internal",
        }
    }

    /// What a person can do about a failure of this kind.
    pub const fn hint(self) -> &'static str {
        match self {
            Self::Busy => "wait for the upgrade that runs; `uplift status --watch` shows it",
            Self::Interrupted => "the old program runs; start the upgrade again",
            Self::Cancelled => "the old program runs; start the upgrade again when wanted",
            Self::Timeout => "check the connection to the sender, then start the upgrade again",
            Self::TransferFailed => "check the connection to the sender, then send the file again",
            Self::TooLarge => "send a smaller file, or raise `max_size` in the [package] section",
            Self::NoSpace => "free space on the file system of the program's directory",
            Self::NameInvalid => "name the file Product_Vaa.bb.cc.dd.bin, each number two digits",
            Self::WrongProduct => "send the file of this payload, or add its name to `aliases` in the [program] section",
            Self::WrongVersion => "give the file the version that the program itself reports",
            Self::Downgrade => "send a file with a higher version than the one that runs",
            Self::SameVersion => "this version runs already; `allow_same_version` in the [package] section lets it in again",
            Self::Truncated => "the file is cut off or has bytes that nothing accounts for; build and send it again",
            Self::WrongMachine => "build the program for this machine",
            Self::DigestMismatch => "the file changed on its way; send it again",
            Self::SealMissing => "seal the file before sending it",
            Self::SealInvalid => "the file was changed after it was sealed, or sealed with an unknown key",
            Self::KnownBad => "this program failed here before; send a newer one",
            Self::PreflightFailed => "run the program by hand and see why it fails",
            Self::InstallFailed => "check that the program's directory can be written and is not full",
            Self::RestartFailed => "the old program was put back; restart by hand and see why it fails",
            Self::Unhealthy => "read the journal of the program's unit",
            Self::Internal => "this is a bug; please report it with the journal of `uplift`",
        }
    }
}

impl FailureKind {
    /// Whether the new program failed on trial, so that it is not tried again by itself.
    pub const fn blames_program(self) -> bool {
        matches!(self, Self::Unhealthy)
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A failure as a person and a program read it: kind, sentence, causes from the outside in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{sentence}{}", chain(causes))]
pub struct Failure {
    /// Which of the closed list.
    pub kind: FailureKind,
    /// One sentence without a full stop, such as "the file is for product \"X\", this payload is \"Y\"".
    pub sentence: String,
    /// Causes, outermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
}

fn chain(causes: &[String]) -> String {
    causes.iter().map(|cause| format!(": {cause}")).collect()
}

impl Failure {
    /// A failure without a deeper cause.
    pub fn new(kind: FailureKind, sentence: impl Into<String>) -> Self {
        Self { kind, sentence: sentence.into(), causes: Vec::new() }
    }

    /// Adds an error and all its sources as causes.
    #[must_use]
    pub fn because(mut self, error: impl Into<anyhow::Error>) -> Self {
        self.causes.extend(error.into().chain().map(ToString::to_string));
        self
    }

    /// A failed file operation: a full disk or quota is `no-space`, all else the `kind` given.
    pub fn from_io(kind: FailureKind, sentence: impl Into<String>, error: std::io::Error) -> Self {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        let kind = if matches!(error.kind(), StorageFull | QuotaExceeded) { FailureKind::NoSpace } else { kind };
        Self::new(kind, sentence).because(error)
    }
}

/// How an upgrade ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The new program runs, by the evidence in the report.
    Succeeded,
    /// The upgrade failed and the old program was never replaced; or it could not be put back, and the failure says so.
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

/// What was seen after the restart (invariant I3: the report is derived from this, never stored in advance).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The restart really happened: the kernel's boot id, or the unit's invocation id, is another one.
    pub restarted: bool,
    /// The program at the path has the digest that was installed.
    pub digest_at_path: bool,
    /// What is known of the process that runs.
    pub running: RunningEvidence,
}

/// What is known of the running program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunningEvidence {
    /// The unit is active and its main process runs the installed digest.
    Verified,
    /// No unit is named in the configuration, so nothing is known of the process.
    NoUnit,
    /// The unit is not active, or runs another digest.
    Contradicted,
}

/// How long a phase took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseDuration {
    /// The phase.
    pub phase: Phase,
    /// Milliseconds by the monotonic clock; a phase that a restart ended counts until the restart.
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
    /// Digest of the program: the identity.
    pub program_digest: ProgramDigest,
}

/// Who asked, over what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The channel.
    pub channel: Channel,
    /// Who on that channel, such as "0xed" or "uid 1000".
    pub requester: String,
    /// How the bytes come.
    pub transfer: TransferKind,
}

impl Request {
    /// Whether the same peer asks again, perhaps for another transfer. At the shell each request is another one's: two
    /// people may share a uid, and neither comes back to an upgrade.
    pub fn is_by_requester_of(&self, other: &Self) -> bool {
        self.channel != Channel::Shell && self.channel == other.channel && self.requester == other.requester
    }
}

/// The end of an upgrade.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The upgrade.
    pub id: UpgradeId,
    /// Who asked.
    pub request: Request,
    /// The version that ran before, where known.
    pub from: Option<Version>,
    /// What was to be installed; absent when the upgrade failed before that was known.
    pub package: Option<PackageSummary>,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it failed; absent on success.
    pub failure: Option<Failure>,
    /// What was seen after the restart; absent when there was none.
    pub evidence: Option<Evidence>,
    /// When the request was accepted, RFC 3339. For people only: nothing depends on the wall clock.
    pub began: String,
    /// When the report was made, RFC 3339. For people only.
    pub ended: String,
    /// How long each phase took.
    pub phases: Vec<PhaseDuration>,
}

/// What is installed now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installed {
    /// Product name of the configuration.
    pub product: String,
    /// Where the program lies.
    pub path: std::path::PathBuf,
    /// Version, where known.
    pub version: Option<Version>,
    /// Digest of the program at the path; absent when there is none.
    pub digest: Option<ProgramDigest>,
}

/// The upgrade that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CurrentUpgrade {
    /// The upgrade.
    pub id: UpgradeId,
    /// Who asked.
    pub request: Request,
    /// Bytes received.
    pub progress: Progress,
    /// What is being installed, once checked.
    pub package: Option<PackageSummary>,
    /// Seconds until the deadline of the phase that runs, where it has one that the peer is told.
    pub seconds_left: Option<u64>,
}

/// The payload link, for `uplift status`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkStatus {
    /// Device path, such as /dev/ttyUSB0.
    pub device: String,
    /// What the link does.
    pub state: LinkState,
    /// Baud rate in use.
    pub baud: Option<u32>,
    /// One byte that the aircraft answers to the probe (60 = M300 RTK).
    pub aircraft_type: Option<u8>,
    /// A sentence about what keeps the link from working well: the device is missing, the adapter holds bytes back.
    pub notice: Option<String>,
}

/// What the payload link does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkState {
    /// No payload link is configured.
    #[default]
    Disabled,
    /// The device is not there, or can't be opened.
    Waiting,
    /// The device is open, and the aircraft is looked for.
    Probing,
    /// The aircraft answered.
    Linked,
}

impl fmt::Display for LinkState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Disabled => "disabled",
            Self::Waiting => "waiting for the device",
            Self::Probing => "looking for the aircraft",
            Self::Linked => "linked",
        })
    }
}

/// Version of the JSON that `uplift status --json`, `uplift history --json` and the control socket speak.
pub const SCHEMA: u32 = 1;

/// Everything that `uplift status` tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Where the upgrade is.
    pub phase: Phase,
    /// What is installed.
    pub installed: Installed,
    /// The upgrade that runs.
    pub upgrade: Option<CurrentUpgrade>,
    /// Reports that their receivers have not acknowledged.
    pub unacknowledged: Vec<Report>,
    /// The last upgrade's report.
    pub last: Option<Report>,
    /// The payload link.
    pub link: LinkStatus,
    /// What a person should know: a damaged state file that was set aside, a wrong configuration.
    pub notices: Vec<String>,
    /// Programs that were rolled back here, and are refused.
    #[serde(default)]
    pub known_bad: Vec<ProgramDigest>,
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

    #[test]
    fn a_full_disk_is_no_space_whatever_was_being_done() {
        let error = std::io::Error::from_raw_os_error(28);
        let failure = Failure::from_io(FailureKind::Internal, "the state file can't be written", error);
        assert_eq!(failure.kind, FailureKind::NoSpace);
        assert!(failure.to_string().starts_with("the state file can't be written: "));
    }
}
