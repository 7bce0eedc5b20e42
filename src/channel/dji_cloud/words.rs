//! What is said and heard on this wire, as pure functions. Nothing here knows a connection, a clock
//! or a file. docs/use/dji-cloud.md has the rules that it keeps, by their numbers.

mod answer;
mod code;
mod fares;
mod service;
#[cfg(test)]
pub(super) mod tests;
mod voice;

use serde::{Deserialize, Serialize};

pub(crate) use answer::answer;
pub(crate) use code::Code;
pub(crate) use fares::{Fares, Status, Step};
pub(crate) use service::{Entry, Refusal, Service, service};
pub(crate) use voice::{Ids, Said, Voice};

/// A command of the platform, as its answer repeats it (DJ-1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Call {
    /// Of this request.
    pub(crate) tid: String,
    /// Of what it is about.
    pub(crate) bid: String,
    /// What is asked for.
    pub(crate) method: String,
    /// When it was sent, in milliseconds since 1970 by the platform's clock.
    pub(crate) timestamp: Option<u64>,
}

impl Call {
    /// Whether it was sent before another one, or is it.
    pub(crate) fn is_no_newer_than(&self, other: &Self) -> bool {
        match (self.timestamp, other.timestamp) {
            (Some(this), Some(other)) => this <= other,
            _ => true,
        }
    }
}
