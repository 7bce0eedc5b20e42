//! What happened at the simulated module, in a form that stays: its JSON is what scripts read.

use std::fmt;

use clap::ValueEnum;
use serde::Serialize;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The payload has given a command, and it was answered so.
    Command {
        /// It, without its end.
        text: String,
        /// Whether by `OK`.
        ok: bool,
    },
    /// A version was announced.
    Announced {
        /// Of which component.
        component: String,
        /// It.
        version: String,
    },
    /// A plan was announced.
    Planned {
        /// For which component.
        component: String,
        /// To which version.
        to: String,
    },
    /// It was refused.
    Refused {
        /// To which version.
        to: String,
    },
    /// It was accepted.
    Accepted {
        /// To which version.
        to: String,
    },
    /// A piece can be read.
    Readable {
        /// Its first byte.
        start: u64,
        /// Bytes.
        size: u64,
    },
    /// Bytes were read.
    Read {
        /// The first.
        start: u64,
        /// How many.
        size: u64,
    },
    /// The payload has said that it installs the file.
    Updating,
    /// The new version was announced.
    Succeeded {
        /// It.
        to: String,
    },
    /// The plan has failed.
    Failed {
        /// To which version.
        to: String,
        /// Why.
        why: String,
    },
    /// The module has started anew.
    Reset,
}

impl fmt::Display for Event {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command { text, ok } => {
                write!(formatter, "{text}: {}", if *ok { "OK" } else { "ERROR" })
            }
            Self::Announced { component, version } => {
                write!(formatter, "announced: {component} {version}")
            }
            Self::Planned { component, to } => write!(formatter, "planned: {component} {to}"),
            Self::Refused { to } => write!(formatter, "refused: {to}"),
            Self::Accepted { to } => write!(formatter, "accepted: {to}"),
            Self::Readable { start, size } => {
                write!(formatter, "readable: {size} bytes from {start} on")
            }
            Self::Read { start, size } => write!(formatter, "read: {size} bytes from {start} on"),
            Self::Updating => formatter.write_str("updating"),
            Self::Succeeded { to } => write!(formatter, "succeeded: {to}"),
            Self::Failed { to, why } => write!(formatter, "failed: {to}: {why}"),
            Self::Reset => formatter.write_str("the module starts anew"),
        }
    }
}

/// How all ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// The last plan succeeded.
    Success,
    /// A plan failed.
    Failure,
    /// A plan was refused.
    Refused,
}

/// Sees how it ends.
#[derive(Debug, Clone, Default)]
pub struct Watch {
    succeeded: usize,
    ending: Option<Ending>,
}

impl Watch {
    /// An event; of so many plans all must succeed.
    pub fn see(&mut self, event: &Event, plans: usize) {
        match event {
            Event::Succeeded { .. } => {
                self.succeeded += 1;
                if self.succeeded >= plans {
                    self.ending = Some(Ending::Success);
                }
            }
            Event::Failed { .. } => self.ending = Some(Ending::Failure),
            Event::Refused { .. } => self.ending = Some(Ending::Refused),
            _ => {}
        }
    }

    /// How it ended last.
    #[must_use]
    pub const fn ending(&self) -> Option<Ending> {
        self.ending
    }
}
