//! What happened at the simulated server, in a form that stays: its JSON is what scripts read.

use std::fmt;

use serde::Serialize;

use super::action::State;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A device asked what there is.
    Poll {
        /// The device.
        device: String,
        /// Status of the answer.
        status: u16,
        /// The links that it was given.
        links: Vec<String>,
    },
    /// A device told its attributes.
    Attributes {
        /// The device.
        device: String,
        /// Status of the answer.
        status: u16,
        /// `merge`, `replace` or `remove`.
        mode: String,
        /// Those told.
        data: std::collections::BTreeMap<String, String>,
    },
    /// A device read a document: deployment, cancellation, confirmation, or what is installed.
    Read {
        /// The device.
        device: String,
        /// `deploymentBase`, `cancelAction`, `confirmationBase`, `installedBase`.
        resource: String,
        /// The action, where the request named one.
        action: Option<u64>,
        /// Status of the answer.
        status: u16,
    },
    /// A device said something of an action.
    Feedback {
        /// The device.
        device: String,
        /// `deploymentBase`, `cancelAction` or `confirmationBase`.
        resource: String,
        /// The action.
        action: u64,
        /// Status of the answer; 0 where there was none.
        status: u16,
        /// `execution`, or `confirmed` and `denied`.
        execution: String,
        /// `finished`, where it has one.
        finished: Option<String>,
        /// `cnt` and `of`.
        progress: Option<(i64, i64)>,
        /// `code`.
        code: Option<i64>,
        /// `details`.
        details: Vec<String>,
    },
    /// A device asked for a file.
    Download {
        /// The device.
        device: String,
        /// `GET` or `HEAD`.
        method: String,
        /// The file.
        file: String,
        /// Status of the answer.
        status: u16,
        /// Where in the file the bytes begin.
        from: u64,
        /// Bytes that were sent.
        sent: u64,
    },
    /// Somebody asked what is not answered as he hoped, and is none of the above.
    Refused {
        /// The method.
        method: String,
        /// The path, without the query.
        path: String,
        /// Status of the answer.
        status: u16,
    },
    /// Somebody brought the server's secret to another origin.
    SecretLeaked {
        /// The path.
        path: String,
    },
    /// A device was offered something.
    Assigned {
        /// The device.
        device: String,
        /// The action.
        action: u64,
    },
    /// An action has another state.
    Action {
        /// The device.
        device: String,
        /// The action.
        action: u64,
        /// The state.
        state: State,
    },
    /// The scenario has the server go away.
    Down,
    /// The server is there again.
    Up,
}

impl fmt::Display for Event {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Poll { device, status, links } if links.is_empty() => {
                write!(formatter, "{device} polls: {status}, nothing to do")
            }
            Self::Poll { device, status, links } => {
                write!(formatter, "{device} polls: {status}, {}", links.join(", "))
            }
            Self::Attributes { device, status, mode, data } => {
                let data: Vec<_> =
                    data.iter().map(|(key, value)| format!("{key}={value}")).collect();
                write!(
                    formatter,
                    "{device} tells attributes ({mode}): {status}, {}",
                    data.join(", ")
                )
            }
            Self::Read { device, resource, action, status } => {
                let action = action.map_or_else(String::new, |action| format!(" {action}"));
                write!(formatter, "{device} reads {resource}{action}: {status}")
            }
            Self::Feedback {
                device,
                resource,
                action,
                status,
                execution,
                finished,
                progress,
                code: _,
                details,
            } => {
                let finished = finished.as_deref().unwrap_or_default();
                let progress =
                    progress.map_or_else(String::new, |(cnt, of)| format!(" {cnt} of {of}"));
                write!(
                    formatter,
                    "{device} says of {resource} {action}: {execution}/{finished}{progress}: {status}, {}",
                    details.join("; ")
                )
            }
            Self::Download { device, method, file, status, from, sent } => {
                write!(formatter, "{device} {method} {file}: {status}, {sent} bytes from {from} on")
            }
            Self::Refused { method, path, status } => {
                write!(formatter, "refused: {method} {path}: {status}")
            }
            Self::SecretLeaked { path } => {
                write!(formatter, "the secret was brought to another origin: {path}")
            }
            Self::Assigned { device, action } => {
                write!(formatter, "{device} is offered action {action}")
            }
            Self::Action { device, action, state } => {
                write!(formatter, "{device}: action {action} is {state:?}")
            }
            Self::Down => formatter.write_str("the server goes away"),
            Self::Up => formatter.write_str("the server is back"),
        }
    }
}
