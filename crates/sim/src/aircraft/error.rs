//! Why an upgrade did not end well, in the words of the person in front of the aircraft.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use super::words::Reason;
use super::{Stage, Version, Via};
use crate::frame::{Command, TooLong};
use crate::line::NoPort;

/// What ended an upgrade before success.
#[derive(Debug, Error)]
pub enum Trouble {
    /// The firmware can't be read.
    #[error("the firmware {path} can't be read: {cause}", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The firmware is too large for the link's fields.
    #[error(
        "a file of {0} bytes can't be sent over the link: its size has 32 bits and its frames are counted with as many"
    )]
    TooLarge(u64),
    /// A request that fits into no frame.
    #[error(transparent)]
    Frame(#[from] TooLong),
    /// There was no line to hear the payload on.
    #[error(transparent)]
    NoPort(NoPort),
    /// No sign of life.
    #[error("no payload looked for the aircraft within {0:?}")]
    NotLinked(Duration),
    /// It looks for another aircraft.
    #[error(
        "a payload looked for an aircraft within {within:?}, but not where this one answers; hint: play the right one with --aircraft"
    )]
    OtherRoutes {
        /// How long was waited.
        within: Duration,
    },
    /// It was answered, and said nothing.
    #[error(
        "a payload looked for the aircraft, was answered, and did not say within {within:?} that it is there; hint: it may take this aircraft's port for one where it can't be upgraded"
    )]
    NotPresent {
        /// How long was waited.
        within: Duration,
    },
    /// A request stayed without an answer.
    #[error("the payload did not answer {command}, sent {attempts} times")]
    NoAnswer {
        /// The request.
        command: Command,
        /// How often it was sent.
        attempts: u32,
    },
    /// An answer that makes no sense.
    #[error("the payload's answer to {command} makes no sense: {answer:02x?}")]
    Malformed {
        /// The request.
        command: Command,
        /// Its answer.
        answer: Vec<u8>,
    },
    /// Upgrade mode was refused.
    #[error("the payload refuses upgrade mode; the link has no word for why")]
    EnterRefused,
    /// The payload wants the file another way.
    #[error("the payload offers another transfer than {0}")]
    OtherTransfer(Via),
    /// A step of the transfer was refused.
    #[error("the payload refuses {command} with code {code:02X}{}", because(*.reason))]
    Refused {
        /// The request.
        command: Command,
        /// Its return code.
        code: u8,
        /// What it reported afterwards, if it did.
        reason: Option<Reason>,
    },
    /// The payload acknowledges, but its count does not move.
    #[error("the transfer does not get on: the payload goes on asking for chunk {0}")]
    Stuck(u32),
    /// The upload failed.
    #[error("the upload by FTP failed: {0}")]
    Ftp(String),
    /// The payload found the firmware wrong.
    #[error("the payload's check of the firmware failed{}", because(*.0))]
    CheckFailed(Option<Reason>),
    /// The payload could not start.
    #[error("the payload could not start the upgrade{}", because(*.0))]
    StartFailed(Option<Reason>),
    /// The payload reported a failure at the end.
    #[error("the payload reports: {0}")]
    Reported(Reason),
    /// Pushes stopped.
    #[error("the payload fell silent for {0:?} in the middle of the upgrade")]
    Silent(Duration),
    /// The report goes on although it was acknowledged.
    #[error("the payload goes on reporting although that was acknowledged {0} times")]
    NeverQuiet(u32),
    /// Success was reported, but another version runs.
    #[error("the payload reports success, but runs {runs} and not {expected}")]
    WrongVersion {
        /// The version of the file.
        expected: Version,
        /// The version that answers.
        runs: Version,
    },
    /// As asked for.
    #[error("aborted at {0:?}, as asked for")]
    Aborted(Stage),
}

fn because(reason: Option<Reason>) -> String {
    reason.map_or_else(String::new, |reason| format!(": {reason}"))
}

impl Trouble {
    /// Whether the payload was not heard.
    pub(super) const fn is_silence(&self) -> bool {
        matches!(
            self,
            Self::NotLinked(_)
                | Self::OtherRoutes { .. }
                | Self::NotPresent { .. }
                | Self::NoAnswer { .. }
                | Self::Silent(_)
        )
    }

    /// The payload's own reason, where it gave one.
    #[must_use]
    pub const fn reason(&self) -> Option<Reason> {
        match self {
            Self::CheckFailed(reason)
            | Self::StartFailed(reason)
            | Self::Refused { reason, .. } => *reason,
            Self::Reported(reason) => Some(*reason),
            _ => None,
        }
    }
}
