//! What the aircraft tells while it works, and its verdict.

use std::time::Duration;

use serde::{Serialize, Serializer};

use super::words::Reason;
use super::{Device, Model, Stage, Version};

/// How the file was handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transfer {
    /// Uploaded to the payload's FTP server.
    Ftp,
    /// Over the link itself.
    Dcftp,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum Step {
    /// Waits for a payload.
    Waiting,
    /// The port has gone.
    PortLost,
    /// The port is open (again).
    PortOpened,
    /// A payload asks on a route that this aircraft does not answer.
    NotAnswered {
        /// From.
        from: Device,
        /// To.
        to: Device,
    },
    /// A payload looks for an aircraft, and is told which one this is.
    Answered {
        /// From.
        from: Device,
        /// To.
        to: Device,
    },
    /// The payload says that it is there.
    Linked {
        /// Its address.
        device: Device,
    },
    /// The version that runs before the upgrade.
    Runs {
        /// That version.
        version: Version,
    },
    /// The payload is in upgrade mode.
    Entered {
        /// How it wants the file.
        transfer: Transfer,
        /// Seconds that it says it needs.
        wait: u64,
    },
    /// Bytes were handed over.
    Transferred {
        /// So many so far.
        bytes: u64,
        /// Of so many.
        total: u64,
    },
    /// The upload broke and is tried again.
    UploadAgain {
        /// Why.
        cause: String,
    },
    /// The payload has the whole file.
    Complete,
    /// The payload checked the file and began.
    Started,
    /// The payload's progress.
    Progress {
        /// 0 to 100.
        percent: u8,
    },
    /// The payload restarts.
    Rebooting {
        /// Seconds that it says it needs at most from now.
        timeout: u64,
    },
    /// The payload says how it ended.
    Ended {
        /// How.
        reason: Reason,
    },
    /// The payload has stopped reporting.
    Acknowledged,
    /// The version that runs after the upgrade.
    RunsNow {
        /// That version.
        version: Version,
    },
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Result {
    /// The payload reports success and runs the version of the file.
    Success,
    /// It does not.
    Failure,
    /// Aborted as asked for.
    Aborted,
}

/// How long a part took.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PhaseTime {
    /// The part.
    pub stage: Stage,
    /// Its time, in seconds when serialised.
    #[serde(serialize_with = "seconds")]
    pub time: Duration,
}

/// The status pushes that came.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Pushes {
    /// Signs of presence.
    pub presence: u32,
    /// Progress.
    pub ongoing: u32,
    /// Restart.
    pub reboot: u32,
    /// End.
    pub end: u32,
    /// Longest time without one from the start of the upgrade to the restart, in seconds when
    /// serialised. One a second is usual; the vendor's sample takes up to 1.5 s.
    #[serde(serialize_with = "seconds")]
    pub longest_gap: Duration,
}

/// Everything that a test or a person wants to know at the end.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// The aircraft that was played.
    pub aircraft: Model,
    /// The payload's address, once it said that it is there.
    pub device: Option<Device>,
    /// How it ended.
    pub result: Result,
    /// That in a sentence.
    pub message: String,
    /// The payload's own reason, where it gave one.
    pub reason: Option<Reason>,
    /// How far it came.
    pub reached: Stage,
    /// What ran before.
    pub version_before: Option<Version>,
    /// What runs now.
    pub version_after: Option<Version>,
    /// How the file went over.
    pub transfer: Option<Transfer>,
    /// Bytes handed over.
    pub bytes: u64,
    /// How long each part took, in order.
    pub phases: Vec<PhaseTime>,
    /// The pushes that came.
    pub pushes: Pushes,
    /// Requests that had to be sent again.
    pub repeats: u32,
}

impl Verdict {
    /// Whether the payload reported success and runs what it was given.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.result == Result::Success
    }

    /// How long a part took, if it was begun.
    #[must_use]
    pub fn time_of(&self, stage: Stage) -> Option<Duration> {
        self.phases.iter().find(|phase| phase.stage == stage).map(|phase| phase.time)
    }
}

fn seconds<S: Serializer>(time: &Duration, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}
