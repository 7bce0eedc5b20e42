//! The aircraft with Assistant 2, as far as a payload's local upgrade sees it: finds the payload,
//! hands the firmware over, follows the restart, acknowledges the report, and judges by what the
//! payload says afterwards. Written from docs/wire/payload-link.md; it knows nothing of the daemon
//! but the wire.

pub mod narrator;

mod dcftp;
mod error;
mod firmware;
mod ftp;
mod host;
mod model;
mod upgrade;
mod verdict;
mod words;

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

pub use self::error::Trouble;
pub use self::ftp::FtpOptions;
pub use self::model::Model;
pub use self::verdict::{PhaseTime, Pushes, Result, Step, Transfer, Verdict};
pub use self::words::Reason;
pub use crate::frame::Device;
pub use crate::version::Version;

use self::host::Host;
use crate::line::Line;

/// The parts of an upgrade, in order, as the aircraft sees them.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// The payload looks for the aircraft. Reached when it does; the aircraft that goes on waits
    /// until the payload says that it is there.
    Probe,
    /// The version is read. Reached when the payload has answered.
    Version,
    /// Upgrade mode. Reached when the payload has accepted it.
    Enter,
    /// The file is handed over. Reached half-way.
    Transfer,
    /// The transfer is completed. Reached when all bytes are sent and before the payload is told
    /// so.
    Finish,
    /// Check and start. Reached when the payload has answered.
    Check,
    /// The payload works. Reached at its first progress.
    Upgrade,
    /// The payload restarts. Reached at its announcement.
    Reboot,
    /// The payload reports the end. Reached at the first report and before it is acknowledged.
    End,
}

/// How the file is to be handed over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Via {
    /// As the payload offers.
    #[default]
    Auto,
    /// By FTP, or not at all.
    Ftp,
    /// Over the link itself, or not at all.
    Dcftp,
}

impl fmt::Display for Via {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Auto => "any",
            Self::Ftp => "FTP",
            Self::Dcftp => "DCFTP",
        })
    }
}

/// What to upgrade with, and how to misbehave.
#[derive(Debug, Clone)]
pub struct Options {
    /// The aircraft that is played.
    pub aircraft: Model,
    /// The firmware file.
    pub firmware: PathBuf,
    /// How it is handed over.
    pub via: Via,
    /// Data bytes of a DCFTP frame; the payload's offer if not given.
    pub chunk: Option<u16>,
    /// The requester's address on the link: `2A` is the PC's side.
    pub address: u8,
    /// Where and as whom to upload.
    pub ftp: FtpOptions,
    /// What is said of the file where it is not the truth.
    pub claims: Claims,
    /// Falls silent for good when this stage is reached.
    pub abort_at: Option<Stage>,
    /// Pauses for so long when a stage is reached; probes are still answered.
    pub pauses: Vec<(Stage, Duration)>,
    /// How long to wait for what.
    pub patience: Patience,
}

impl Options {
    /// An honest upgrade with this file.
    #[must_use]
    pub fn new(firmware: impl Into<PathBuf>) -> Self {
        Self {
            aircraft: Model::default(),
            firmware: firmware.into(),
            via: Via::Auto,
            chunk: None,
            address: words::PC_SIDE,
            ftp: FtpOptions::default(),
            claims: Claims::default(),
            abort_at: None,
            pauses: Vec::new(),
            patience: Patience::default(),
        }
    }
}

/// Lies about the file, for tests of what the payload makes of them.
#[derive(Debug, Clone, Default)]
pub struct Claims {
    /// Another name.
    pub name: Option<String>,
    /// Another size in bytes (DCFTP).
    pub size: Option<u32>,
    /// Another MD5 (DCFTP).
    pub md5: Option<[u8; 16]>,
}

/// How long the aircraft waits for what. It is patient: a bad line must not end an upgrade.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For a first sign of life.
    pub link: Duration,
    /// For an answer, beside the time on the wire, before the request is sent again. Twice as long
    /// each time, because a payload may carry each repetition out.
    pub answer: Duration,
    /// The same for "check and start": the payload works meanwhile.
    pub check: Duration,
    /// The longest of these waits.
    pub longest_answer: Duration,
    /// Whether the file comes only after the time that the payload asks for.
    pub waits_as_asked: bool,
    /// How often a request is sent before the payload counts as gone.
    pub attempts: u32,
    /// For the next progress push, which should come every second.
    pub silence: Duration,
    /// For the end of a restart, beyond the time that the payload announced.
    pub restart: Duration,
    /// Without a further report after which the acknowledgement counts as received.
    pub quiet: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            link: Duration::from_secs(30),
            answer: Duration::from_millis(500),
            check: Duration::from_secs(1),
            longest_answer: Duration::from_secs(4),
            waits_as_asked: true,
            attempts: 15,
            silence: Duration::from_secs(15),
            restart: Duration::from_secs(30),
            quiet: Duration::from_millis(1500),
        }
    }
}

impl Patience {
    /// Of a host that sends the file at once and repeats each request five times a second.
    #[must_use]
    pub fn impatient() -> Self {
        let answer = Duration::from_millis(200);
        Self {
            answer,
            check: answer,
            longest_answer: answer,
            waits_as_asked: false,
            attempts: 60,
            ..Self::default()
        }
    }
}

/// Upgrades the payload at the other end of `line`, tells every step, and returns the verdict.
/// Blocks its thread.
pub fn run(options: &Options, line: Line, steps: &mut dyn FnMut(&Step)) -> Verdict {
    let mut host = Host::new(line, options, steps);
    let ended = upgrade::run(&mut host, options);
    host.into_verdict(ended)
}
