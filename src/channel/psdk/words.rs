//! The words of the payload link (docs/wire/payload-link.md sections 3 and 4): what a host may ask,
//! what it is answered, what is pushed. The same at both doors; neither bytes nor the order of
//! things are known here.

use std::fmt;

use bytes::Bytes;

use crate::model::version::Version;
use crate::model::{FailureKind, Md5Digest, TransferKind};
use crate::transfer::dcftp::Place;

/// Who asks: at the serial door the device, at the bridge always the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asker(pub u8);

impl fmt::Display for Asker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:02X}", self.0)
    }
}

/// What a door has to know again when it answers. Nobody else reads it; the same once more is a
/// repetition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket(pub [u8; 8]);

impl Asker {
    /// Whoever speaks at the bridge. No device has this address.
    pub const APPLICATION: Self = Self(0);
}

/// Who asked, and the way back to him.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    /// Who asks.
    pub asker: Asker,
    /// The way back.
    pub ticket: Ticket,
}

/// What a host asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `4F`: the version that runs.
    Version,
    /// `83`: enter the upgrade mode.
    Enter,
    /// `2A 01`: a file will come over this link.
    DcftpStart(FileOffer),
    /// `2A 02`: the next chunk of it.
    DcftpData {
        /// Which.
        place: Place,
        /// Its bytes.
        data: Bytes,
    },
    /// `2A 03`: the file is complete.
    DcftpFinish(Md5Digest),
    /// `84`: the transfer is finished (DCFTP), or where shall the file go (FTP).
    Transfer,
    /// `85`: check and start.
    Check,
    /// `41 04`: stop reporting.
    Finish,
    /// `3C/45`: upgrade service info.
    ServiceInfo,
}

/// As docs/wire/payload-link.md names it.
impl fmt::Display for Command {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Version => "4F",
            Self::Enter => "83",
            Self::DcftpStart(_) => "2A 01",
            Self::DcftpData { .. } => "2A 02",
            Self::DcftpFinish(_) => "2A 03",
            Self::Transfer => "84",
            Self::Check => "85",
            Self::Finish => "41 04",
            Self::ServiceInfo => "3C/45",
        })
    }
}

/// A file that a host announces over DCFTP. The name is data, never a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileOffer {
    /// Size in bytes.
    pub size: u32,
    /// The first byte that the sender still has: 0 where the host begins a file, more where its
    /// sender goes on with one behind what this payload has of it.
    pub from: u32,
    /// Name as the host gave it; bytes that are no UTF-8 show as replacement characters, which no
    /// name may contain.
    pub name: String,
}

impl FileOffer {
    /// Whether its sender goes on with the file of an earlier offer.
    pub fn goes_on(&self, earlier: &Self) -> bool {
        self.from > 0 && (self.size, &self.name) == (earlier.size, &earlier.name)
    }
}

/// A known command whose payload is too short or contradicts itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// `83` without its action.
    Enter,
    /// `2A 01`.
    DcftpStart,
    /// `2A 02`.
    DcftpData,
    /// `2A 03`.
    DcftpFinish,
}

/// What a host is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// To `4F`; a version that is not known is V00.00.00.00.
    Version(Option<Version>),
    /// To `83`: accepted, with the way in which the file shall come.
    Entered(Offered),
    /// To `83`: refused.
    EnterRefused,
    /// To `2A 01`: go ahead, behind so many bytes.
    DcftpStarted(u64),
    /// To `2A 02`.
    DcftpData(Acknowledgement),
    /// To `2A 02`: no file is being received.
    NothingReceived,
    /// To `2A 03` and, over DCFTP, to `84`: done.
    Done,
    /// To `2A 01`, `2A 03` and `84`: refused or failed.
    Refused,
    /// To `84` over FTP: the server's port.
    FtpPort(u16),
    /// To `85`.
    Check(CheckAnswer),
    /// To `3C/45`.
    ServiceInfo,
}

/// The two ways in which a file comes from a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offered {
    /// Uploaded to the FTP server.
    Ftp,
    /// In chunks over this link.
    Dcftp,
}

impl From<Offered> for TransferKind {
    fn from(offered: Offered) -> Self {
        match offered {
            Offered::Ftp => Self::Ftp,
            Offered::Dcftp => Self::Dcftp,
        }
    }
}

/// The answer to a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acknowledgement {
    /// Whether the chunk was taken, not taken because it is not the next one, or refused for good.
    pub result: DataResult,
    /// The chunk that is expected next; the last good one is the one before it.
    pub next: u32,
}

/// What became of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataResult {
    /// Taken.
    Taken,
    /// Repeated or ahead of its turn: not taken.
    NotTaken,
    /// Nothing is being received, or it failed.
    Failed,
}

/// The answer to "check and start".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckAnswer {
    /// The check passed (or takes longer than a host waits) and the upgrade started.
    Started,
    /// The check failed, or there is nothing to check.
    CheckFailed,
    /// The check passed, but the upgrade could not start.
    StartFailed,
}

/// What is pushed as upgrade status (section 4). While idle nothing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusPush {
    /// Work goes on; percent of what was left to do at "check and start".
    Ongoing(u8),
    /// The device restarts and proves itself; seconds until it must have ended.
    Rebooting(u8),
    /// The new program runs.
    Succeeded,
    /// It does not, and this is the nearest of the peer's reasons.
    Failed(Reason),
}

/// Completion reasons of the public dissector (section 4) that a failure can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Reason {
    /// No nearer word.
    Failure = 2,
    /// The file is damaged or not trustworthy.
    FirmwareError = 3,
    /// This version runs already.
    SameVersion = 4,
    /// Somebody gave up.
    Cancelled = 5,
    /// A deadline passed.
    Timeout = 6,
    /// The file is for something else.
    DoesNotMatch = 8,
    /// A lower version than the one that runs.
    Downgrade = 9,
}

impl From<FailureKind> for Reason {
    /// The one table from our failures to the peer's words.
    fn from(kind: FailureKind) -> Self {
        use FailureKind as Kind;
        match kind {
            Kind::Cancelled => Self::Cancelled,
            Kind::Timeout => Self::Timeout,
            Kind::SameVersion => Self::SameVersion,
            Kind::Downgrade => Self::Downgrade,
            Kind::NameInvalid | Kind::WrongProduct | Kind::WrongMachine | Kind::WrongBase => {
                Self::DoesNotMatch
            }
            Kind::TooLarge
            | Kind::WrongVersion
            | Kind::Truncated
            | Kind::DigestMismatch
            | Kind::SealMissing
            | Kind::SealInvalid
            | Kind::KnownBad
            | Kind::PreflightFailed
            | Kind::Unhealthy => Self::FirmwareError,
            Kind::Busy
            | Kind::Interrupted
            | Kind::TransferFailed
            | Kind::NoSpace
            | Kind::InstallFailed
            | Kind::RestartFailed
            | Kind::NotNow
            | Kind::Internal => Self::Failure,
        }
    }
}

/// Where the upgrade of this link is, as far as a door must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Nothing goes on.
    Nothing,
    /// It waits for its file, or for its check.
    Waits,
    /// It was started.
    Started,
    /// Its report waits.
    Reported,
}
