//! What a device says of an action, as it is read from JSON. Members that the server ignores are not
//! looked at.

use serde::{Deserialize, Serialize};

use super::Event;

/// How far the device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "they are the words of the wire")]
pub enum Execution {
    Canceled,
    Closed,
    Download,
    Downloaded,
    Proceeding,
    Rejected,
    Resumed,
    Scheduled,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "they are the words of the wire")]
pub enum Finished {
    Success,
    Failure,
    None,
}

/// A feedback.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Feedback {
    /// Its status.
    pub status: Status,
}

/// The status of a feedback.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Status {
    /// How far.
    pub execution: Execution,
    /// How it ended.
    pub result: Outcome,
    /// A number of the device's own.
    #[serde(default)]
    pub code: Option<i64>,
    /// Text.
    #[serde(default)]
    pub details: Option<Vec<String>>,
}

/// The result of a feedback.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Outcome {
    /// How it ended.
    pub finished: Finished,
    /// How much of it is done.
    #[serde(default)]
    pub progress: Option<Progress>,
}

/// How much is done. SWUpdate says 0 of 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Progress {
    /// So many.
    #[serde(default)]
    pub cnt: i64,
    /// Of so many.
    #[serde(default)]
    pub of: i64,
}

/// What a device says to a question for its user.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Confirmation {
    pub(super) confirmation: Answer,
    #[serde(default)]
    pub(super) code: Option<i64>,
    #[serde(default)]
    pub(super) details: Option<Vec<String>>,
}

/// The answer of the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Answer {
    Confirmed,
    Denied,
}

impl Feedback {
    pub(super) fn details(&self) -> &[String] {
        self.status.details.as_deref().unwrap_or_default()
    }

    /// It as something that happened, answered with this status.
    pub(super) fn event(&self, device: &str, resource: &str, action: u64, status: u16) -> Event {
        let word = |value: &dyn std::fmt::Debug| format!("{value:?}").to_lowercase();
        let progress = self.status.result.progress;
        Event::Feedback {
            device: device.to_owned(),
            resource: resource.to_owned(),
            action,
            status,
            execution: word(&self.status.execution),
            finished: Some(word(&self.status.result.finished)),
            progress: progress.map(|progress| (progress.cnt, progress.of)),
            code: self.status.code,
            details: self.details().to_vec(),
        }
    }
}
