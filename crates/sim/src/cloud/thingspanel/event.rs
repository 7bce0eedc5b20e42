//! What happened at the simulated platform, in a form that stays: its JSON is what scripts read.

use std::fmt;

use serde::Serialize;

use super::entry::State;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A device told a version.
    Reported {
        /// The module.
        module: Option<String>,
        /// Its version.
        version: Option<String>,
        /// The message.
        message: String,
    },
    /// A task was pushed.
    Pushed {
        /// Its name.
        id: String,
    },
    /// A device told progress.
    Progress {
        /// As it was told.
        step: String,
        /// For a person.
        desc: String,
        /// The module.
        module: Option<String>,
        /// The task that it is of, and how that stands now; none where no task waits for it.
        task: Option<(String, State)>,
    },
    /// A device told something that the platform does not take.
    Senseless {
        /// The topic without the device's key.
        topic: String,
        /// The message.
        message: String,
    },
    /// A file was sent, or a part of it.
    Sent {
        /// Status of the answer.
        status: u16,
        /// Where in the file the bytes begin.
        from: u64,
        /// Bytes that were sent.
        sent: u64,
        /// Bytes of the file.
        of: u64,
    },
    /// Somebody asked for something else, or wrongly.
    Refused {
        /// The path.
        path: String,
        /// The range, where there was one.
        range: Option<String>,
        /// Status of the answer.
        status: u16,
    },
    /// The broker was lost.
    Lost {
        /// Why.
        why: String,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reported { module, version, .. } => {
                let (module, version) = (shown(module.as_deref()), shown(version.as_deref()));
                write!(formatter, "version of {module}: {version}")
            }
            Self::Pushed { id } => write!(formatter, "task {id} is pushed"),
            Self::Progress { step, desc, task, .. } => {
                let task = task.as_ref().map_or("no task", |(id, _)| id);
                write!(formatter, "{task}: step {step}, {desc}")
            }
            Self::Senseless { topic, message } => {
                write!(formatter, "not understood, at {topic}: {message}")
            }
            Self::Sent { status, from, sent, of } => {
                write!(formatter, "sent: {status}, {sent} of {of} bytes from {from} on")
            }
            Self::Refused { path, range, status } => {
                let range = range.as_ref().map_or_else(String::new, |range| format!(", {range}"));
                write!(formatter, "refused: {path}{range}: {status}")
            }
            Self::Lost { why } => write!(formatter, "the broker is lost: {why}"),
        }
    }
}

fn shown(text: Option<&str>) -> &str {
    text.unwrap_or("none")
}
