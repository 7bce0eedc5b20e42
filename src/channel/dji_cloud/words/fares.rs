//! How an upgrade fares, in the platform's words: a status, a step, and one percentage for all of it.

use serde::{Deserialize, Serialize};

use crate::channel::offer::What;
use crate::model::{Failure, FailureKind};

/// A file that is there and proved is so much of its upgrade.
const DOWNLOADED: u64 = 80;
/// The same of one that runs, and is being watched.
const ON_TRIAL: u64 = 95;

/// The platform's word for how a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    /// It is worked on.
    InProgress,
    /// It will go on.
    Paused,
    /// It is done. Final.
    Ok,
    /// It was not begun. Final.
    Rejected,
    /// It failed. Final.
    Failed,
    /// Somebody has stopped it. Final.
    Canceled,
    /// It took too long. Final.
    Timeout,
}

/// The two steps of an upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Step {
    /// Its file comes.
    DownloadFirmware,
    /// It is installed and tried.
    UpgradeFirmware,
}

/// How an upgrade fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fares {
    /// In a word.
    pub(crate) status: Status,
    /// Where it is.
    pub(crate) step: Step,
    /// Of all of it, whatever its step; it never decreases.
    pub(crate) percent: u8,
}

impl Fares {
    /// At the beginning.
    pub(crate) const BEGUN: Self =
        Self { status: Status::InProgress, step: Step::DownloadFirmware, percent: 0 };

    /// After this has happened to one of several files.
    #[must_use]
    pub(crate) fn after(self, what: &What, file: usize, files: usize) -> Self {
        let (status, step, done) = match what {
            What::Accepted => (Status::InProgress, Step::DownloadFirmware, 0),
            What::Downloading { received, size } => {
                let done = received.min(size).saturating_mul(DOWNLOADED).checked_div(*size);
                (Status::InProgress, Step::DownloadFirmware, done.unwrap_or_default())
            }
            What::Downloaded => (Status::InProgress, Step::DownloadFirmware, DOWNLOADED),
            What::Installing | What::TooLate => {
                (Status::InProgress, Step::UpgradeFirmware, DOWNLOADED)
            }
            What::OnTrial => (Status::InProgress, Step::UpgradeFirmware, ON_TRIAL),
            What::NotNow { .. } => (Status::Paused, self.step, 0),
            What::Succeeded { .. } if file + 1 < files => (Status::InProgress, self.step, 100),
            What::Succeeded { .. } => (Status::Ok, Step::UpgradeFirmware, 100),
            What::Failed { failure, .. } => (ending(failure), self.step, 0),
            What::Cancelled => (Status::Canceled, self.step, 0),
        };
        let of_all = (file as u64 * 100 + done) / files.max(1) as u64;
        let percent = u8::try_from(of_all.min(100)).unwrap_or(100).max(self.percent);
        Self { status, step, percent }
    }
}

/// The word for an upgrade that has failed.
fn ending(failure: &Failure) -> Status {
    match failure.kind {
        FailureKind::Cancelled => Status::Canceled,
        FailureKind::Timeout => Status::Timeout,
        _ => Status::Failed,
    }
}
