//! An action: what a device is to install, and what it said of it. Pure rules of the server.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Serialize;

use super::feedback::{Answer, Execution, Feedback, Finished};
use super::options::{Chunk, Deployment, Handling, Release};

/// Messages that one feedback may have, and the length at which one becomes two.
const MOST_MESSAGES: usize = 50;
const LONGEST_MESSAGE: usize = 512;
/// Software modules that a deployment may have here.
const MOST_MODULES: u64 = 100;

/// Where an action is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// The device's user is asked.
    WaitForConfirmation,
    /// The device is to do it.
    Running,
    /// The device is asked to give it up.
    Canceling,
    /// The device gave it up.
    Canceled,
    /// The device did it.
    Finished,
    /// The device failed.
    Error,
}

impl State {
    /// Whether the device still has to do with it.
    #[must_use]
    pub const fn is_active(self) -> bool {
        matches!(self, Self::WaitForConfirmation | Self::Running | Self::Canceling)
    }
}

/// Why a feedback is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Nothing is known of it, or it is not to be known yet.
    Unknown,
    /// It is over.
    Closed,
    /// Too much was said.
    Quota,
    /// Its text is refused.
    Text,
    /// Nobody asked for it.
    NotCanceling,
}

impl Refusal {
    /// Status and the end of the error's code.
    pub(super) const fn status(self, release: Release) -> (u16, &'static str) {
        match self {
            Self::Unknown => (404, "repo.entitiyNotFound"),
            Self::Closed => (410, "repo.actionNotActive"),
            Self::Quota => match release {
                Release::V0_9 => (403, "quota.tooManyEntries"),
                _ => (429, "quota.tooManyEntries"),
            },
            Self::Text => (400, "repo.constraintViolation"),
            Self::NotCanceling => (405, "action.notCancelable"),
        }
    }
}

/// What the server keeps of an action.
#[derive(Debug, Clone)]
pub(super) struct Action {
    pub(super) id: u64,
    pub(super) deployment: Arc<Deployment>,
    pub(super) state: State,
    /// Words of the server for what happened last.
    pub(super) status: &'static str,
    pub(super) messages: Vec<String>,
    /// How often the deployment was read.
    pub(super) looks: u32,
    /// Module and name of each file whose last byte was sent.
    pub(super) sent: BTreeSet<(u64, String)>,
    entries: usize,
}

impl Action {
    pub(super) fn new(id: u64, deployment: Arc<Deployment>, asks_user: bool) -> Self {
        let state = if asks_user { State::WaitForConfirmation } else { State::Running };
        Self {
            id,
            deployment,
            state,
            status: if asks_user { "WAIT_FOR_CONFIRMATION" } else { "RUNNING" },
            messages: Vec::new(),
            looks: 0,
            sent: BTreeSet::new(),
            entries: 0,
        }
    }

    /// The maintenance window is there, and closed.
    pub(super) fn window_is_closed(&self) -> bool {
        self.deployment.closed_looks.is_some_and(|looks| self.looks <= looks)
    }

    /// The number of a software module, counted from 0 on in the deployment: no other action's is the
    /// same.
    pub(super) const fn module_number(&self, index: u64) -> u64 {
        self.id * MOST_MODULES + index + 1
    }

    /// The software module of this number.
    pub(super) fn module(&self, number: u64) -> Option<&Chunk> {
        let index = number.checked_sub(self.module_number(0))?;
        self.deployment.chunks.get(usize::try_from(index).ok()?)
    }

    /// The last byte of the last file was sent.
    pub(super) fn is_sent(&self) -> bool {
        let files: usize = self.deployment.chunks.iter().map(|chunk| chunk.artifacts.len()).sum();
        self.sent.len() >= files
    }

    /// Whether the deployment may be read, and its files.
    pub(super) fn is_readable(&self) -> bool {
        self.state == State::Running
    }

    /// A file was asked for as a whole, which is an entry by itself; one that is asked for in part is not.
    pub(super) fn note_download(&mut self) {
        self.status = "DOWNLOAD";
        self.entries += 1;
    }

    /// Takes a feedback to the deployment.
    pub(super) fn feedback(
        &mut self,
        feedback: &Feedback,
        release: Release,
        quota: usize,
    ) -> Result<(), Refusal> {
        if !self.state.is_active() {
            return Err(Refusal::Closed);
        }
        if self.state == State::WaitForConfirmation {
            return Err(Refusal::Unknown);
        }
        let closes = feedback.status.execution == Execution::Closed;
        self.keep(feedback.details(), release, (!closes).then_some(quota))?;
        self.status = match (feedback.status.execution, feedback.status.result.finished) {
            (Execution::Closed, Finished::Failure) => "ERROR",
            (Execution::Closed, _) => "FINISHED",
            (Execution::Canceled, _) => "CANCELED",
            (Execution::Rejected, _) => "WARNING",
            (Execution::Download, _) => "DOWNLOAD",
            (Execution::Downloaded, _) => "DOWNLOADED",
            (Execution::Proceeding | Execution::Scheduled | Execution::Resumed, _) => "RUNNING",
        };
        let is_download_only = self.deployment.handling == Handling::DownloadOnly;
        self.state = match self.status {
            "ERROR" => State::Error,
            "FINISHED" => State::Finished,
            "DOWNLOADED" if is_download_only => State::Finished,
            _ => self.state,
        };
        Ok(())
    }

    /// Takes a feedback to the cancellation.
    pub(super) fn cancel_feedback(
        &mut self,
        feedback: &Feedback,
        release: Release,
        quota: usize,
    ) -> Result<(), Refusal> {
        if !self.state.is_active() {
            return Err(Refusal::Closed);
        }
        if self.state != State::Canceling {
            return Err(Refusal::NotCanceling);
        }
        self.keep(feedback.details(), release, Some(quota))?;
        let finished = feedback.status.result.finished;
        (self.state, self.status) = match (feedback.status.execution, finished) {
            (Execution::Closed, Finished::Failure) | (Execution::Rejected, _) => {
                (State::Running, "CANCEL_REJECTED")
            }
            (Execution::Closed, _) => (State::Canceled, "CANCELED"),
            (Execution::Canceled, _) => (State::Canceling, "WARNING"),
            _ => (State::Canceling, self.status),
        };
        Ok(())
    }

    /// Takes the answer of the device's user.
    pub(super) fn confirm(
        &mut self,
        answer: Answer,
        details: &[String],
        release: Release,
    ) -> Result<(), Refusal> {
        if !self.state.is_active() {
            return Err(Refusal::Closed);
        }
        let takes_back =
            release == Release::Master && answer == Answer::Denied && self.state == State::Running;
        if self.state != State::WaitForConfirmation && !takes_back {
            return Err(Refusal::Unknown);
        }
        self.keep(details, release, None)?;
        (self.state, self.status) = match answer {
            Answer::Confirmed => (State::Running, "RUNNING"),
            Answer::Denied => (State::WaitForConfirmation, "WAIT_FOR_CONFIRMATION"),
        };
        Ok(())
    }

    /// Asks for it to be given up; whether it still can be.
    pub(super) fn cancel(&mut self) -> bool {
        let can = matches!(self.state, State::Running | State::WaitForConfirmation);
        if can {
            (self.state, self.status) = (State::Canceling, "CANCELING");
        }
        can
    }

    /// Keeps messages, of which each piece counts as an entry. The end of an action is let in however
    /// much was said before.
    fn keep(
        &mut self,
        details: &[String],
        release: Release,
        quota: Option<usize>,
    ) -> Result<(), Refusal> {
        let looks_like_markup = |text: &String| text.contains('<') && text.contains('>');
        if release == Release::V0_9 && details.iter().any(looks_like_markup) {
            return Err(Refusal::Text);
        }
        let pieces: usize =
            details.iter().map(|text| text.chars().count().div_ceil(LONGEST_MESSAGE)).sum();
        if pieces > MOST_MESSAGES || quota.is_some_and(|quota| self.entries >= quota) {
            return Err(Refusal::Quota);
        }
        self.entries += 1;
        self.messages.extend(details.iter().cloned());
        Ok(())
    }
}
