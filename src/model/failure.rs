//! Why an upgrade failed, for people and programs (design, I6).

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why an upgrade failed: the closed list of the design (invariant I6). Names are stable in logs,
/// JSON and metrics.
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
    WrongBase,
    DigestMismatch,
    SealMissing,
    SealInvalid,
    KnownBad,
    PreflightFailed,
    InstallFailed,
    RestartFailed,
    Unhealthy,
    NotNow,
    Internal,
}

impl FailureKind {
    /// Every kind, in the order of the design's list.
    pub const ALL: [Self; 25] = [
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
        Self::WrongBase,
        Self::DigestMismatch,
        Self::SealMissing,
        Self::SealInvalid,
        Self::KnownBad,
        Self::PreflightFailed,
        Self::InstallFailed,
        Self::RestartFailed,
        Self::Unhealthy,
        Self::NotNow,
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
            Self::WrongBase => "wrong-base",
            Self::DigestMismatch => "digest-mismatch",
            Self::SealMissing => "seal-missing",
            Self::SealInvalid => "seal-invalid",
            Self::KnownBad => "known-bad",
            Self::PreflightFailed => "preflight-failed",
            Self::InstallFailed => "install-failed",
            Self::RestartFailed => "restart-failed",
            Self::Unhealthy => "unhealthy",
            Self::NotNow => "not-now",
            Self::Internal => "internal",
        }
    }

    /// Whether a restart to the new program never came: the old one runs still.
    pub(crate) const fn is_of_restart(self) -> bool {
        matches!(self, Self::RestartFailed | Self::NotNow)
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
            Self::WrongProduct => {
                "send the file of this payload, or add its name to `aliases` in its [component.NAME] section"
            }
            Self::WrongVersion => {
                "give name, seal and program the same version; a sealed file may also require another version to be installed first"
            }
            Self::Downgrade => {
                "send a file with a higher version than the one that runs, or use `uplift install --force`"
            }
            Self::SameVersion => {
                "this version runs already; `allow_same_version` in the [package] section accepts it again"
            }
            Self::Truncated => {
                "the file is cut off or longer than its headers say; build and send it again"
            }
            Self::WrongMachine => "build the program for this machine",
            Self::WrongBase => {
                "send a file with the whole program, or one that was packed with `--from` the program that is here"
            }
            Self::DigestMismatch => {
                "the file changed on its way, or since it was sealed; send it again"
            }
            Self::SealMissing => "seal the file with `uplift pack` before sending it",
            Self::SealInvalid => {
                "seal the file again, with a key that the [package] section lists; `uplift check` explains a seal"
            }
            Self::KnownBad => {
                "this program failed here before; send a newer one, or try it again with `uplift install --force`"
            }
            Self::PreflightFailed => "run the program by hand and see why it fails",
            Self::InstallFailed => {
                "check that the program's directory can be written and is not full"
            }
            Self::RestartFailed => {
                "the old program was put back; restart by hand and see why it fails"
            }
            Self::Unhealthy => {
                "`uplift history` shows the program's last words; the journal of its unit has the rest"
            }
            Self::NotNow => {
                "`uplift status` shows what it waits for; try again then, end a hold with `uplift release`, or insist with `uplift install --force`"
            }
            Self::Internal => "this is a bug; please report it with the journal of `uplift`",
        }
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
    /// One sentence without a full stop, such as "the file is for product \"X\", this payload is
    /// \"Y\"".
    pub sentence: String,
    /// Causes, outermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
    /// What to do about this one, where the hint of its kind does not fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// A cause without the number of the operating system's error: "No such file or directory (os error
/// 2)" has it in words.
pub(crate) fn without_number(cause: &str) -> &str {
    let is_number = |rest: &str| {
        rest.strip_suffix(')')
            .is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    cause
        .split_once(" (os error ")
        .filter(|(_, rest)| is_number(rest))
        .map_or(cause, |(words, _)| words)
}

fn chain(causes: &[String]) -> String {
    causes.iter().map(|cause| format!(": {cause}")).collect()
}

impl Failure {
    /// A failure without a deeper cause.
    pub fn new(kind: FailureKind, sentence: impl Into<String>) -> Self {
        Self { kind, sentence: sentence.into(), causes: Vec::new(), hint: None }
    }

    /// Says what to do about it, instead of what its kind says.
    #[must_use]
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// What a person can do about it.
    pub fn hint(&self) -> &str {
        self.hint.as_deref().unwrap_or_else(|| self.kind.hint())
    }

    /// Adds an error and all its sources as causes.
    #[must_use]
    pub fn because(mut self, error: impl Into<anyhow::Error>) -> Self {
        self.causes.extend(
            error.into().chain().map(|cause| without_number(&cause.to_string()).to_owned()),
        );
        self
    }

    /// A failed file operation: a full disk or quota is `no-space`, all else the `kind` given.
    pub fn from_io(kind: FailureKind, sentence: impl Into<String>, error: std::io::Error) -> Self {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        let kind = if matches!(error.kind(), StorageFull | QuotaExceeded) {
            FailureKind::NoSpace
        } else {
            kind
        };
        Self::new(kind, sentence).because(error)
    }
}

/// The word against a new program, by the engine, a person, or `uplift-rescue`: the old program
/// comes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Why.
    pub failure: Failure,
    /// The last lines that the new program logged, oldest first, where it has a unit.
    pub program_log: Vec<String>,
}

impl From<Failure> for Verdict {
    fn from(failure: Failure) -> Self {
        Self { failure, program_log: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_no_space_whatever_was_being_done() {
        let error = std::io::Error::from_raw_os_error(28);
        let failure =
            Failure::from_io(FailureKind::Internal, "the state file can't be written", error);
        assert_eq!(failure.kind, FailureKind::NoSpace);
        assert_eq!(failure.to_string(), "the state file can't be written: No space left on device");
    }
}
