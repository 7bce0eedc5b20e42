//! What a hawkBit server says, taken apart, and what it is told, put together
//! (docs/use/hawkbit.md).
//!
//! No sockets, no clock, no files: bytes of the server become values that can't be wrong, and
//! values become bytes that it takes. URLs of the server are carried, and judged by whoever follows
//! them.

mod address;
mod base;
mod config_data;
mod deployment;
mod feedback;
mod heard;
mod naming;
mod pace;
mod path;
mod plain;
mod sleep;

use serde::Deserialize;

pub(crate) use address::Address;
pub(crate) use base::{Base, Link, cancelled};
pub(crate) use config_data::ConfigData;
pub(crate) use deployment::{Asked, Deployment};
pub(crate) use feedback::{
    Answer, FeedbackStyle, confirmation, feedback, was_denied, with_history,
};
pub(crate) use heard::{Heard, Question};
pub(crate) use naming::{Names, Naming};
pub(crate) use pace::{Due, Pace};

/// Longest answer in bytes that is read of a server.
pub(crate) const LONGEST_ANSWER: usize = 1 << 20;

/// An answer that says nothing: no action is known of which anything could be told. The text never
/// repeats what the server said, which may be long and may hold secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the text of each is its documentation")]
pub(crate) enum Senseless {
    #[error("the answer has {0} bytes; the limit is {LONGEST_ANSWER}")]
    TooLong(usize),
    #[error("the answer is no JSON (line {line}, column {column})")]
    NoJson { line: usize, column: usize },
    #[error("the answer is none of a hawkBit server (line {line}, column {column})")]
    WrongForm { line: usize, column: usize },
    #[error("the answer has none of the members of a hawkBit server")]
    Foreign,
    #[error("the answer names no action")]
    NoAction,
    #[error("the answer names two actions where there can be one")]
    TwoActions,
    #[error("the answer is about another action than the one that was offered")]
    OtherAction,
}

/// Reads an answer.
fn read<'a, T: Deserialize<'a>>(answer: &'a [u8]) -> Result<T, Senseless> {
    if answer.len() > LONGEST_ANSWER {
        return Err(Senseless::TooLong(answer.len()));
    }
    serde_json::from_slice(answer).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        if error.is_data() {
            Senseless::WrongForm { line, column }
        } else {
            Senseless::NoJson { line, column }
        }
    })
}

/// The name of an action as servers write it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Id {
    Text(String),
    Number(u64),
}

impl TryFrom<Id> for crate::channel::offer::Action {
    type Error = Senseless;

    fn try_from(id: Id) -> Result<Self, Senseless> {
        let text = match id {
            Id::Text(text) => text,
            Id::Number(number) => number.to_string(),
        };
        Self::try_from(text).map_err(|_| Senseless::NoAction)
    }
}

#[cfg(test)]
mod tests;
