//! What an answer comes to.

use super::target::Target;
use crate::channel::offer::Offer;

/// What an answer comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    /// There is nothing to install.
    Nothing {
        /// Why, a sentence.
        why: String,
    },
    /// There is a file.
    File {
        /// Where it is to be had.
        offer: Offer,
        /// What tells it from others.
        target: Target,
    },
    /// The server is making the file.
    NotYet {
        /// A sentence.
        why: String,
    },
    /// The server answers no more until somebody allows it there, or a day has passed.
    Blocked {
        /// A sentence.
        sentence: String,
    },
    /// Somebody must correct something, here or at the server.
    WrongSetting {
        /// What, a sentence.
        sentence: String,
        /// Whether it is asked more rarely until then.
        is_slow: bool,
    },
    /// The answer is none, and another time there may be one.
    Retry {
        /// What was wrong, a sentence.
        why: String,
    },
}

impl Heard {
    /// An answer without a file and without a word.
    pub(super) fn of_status(status: u16) -> Self {
        match status {
            204 | 404 | 410 => {
                Self::Nothing { why: format!("the server has no file (HTTP {status})") }
            }
            401 | 403 => Self::WrongSetting {
                sentence: format!(
                    "the server lets this payload in nowhere near a file (HTTP {status})"
                ),
                is_slow: true,
            },
            408 | 429 | 500.. | 0..=299 => {
                Self::Retry { why: format!("the server can't answer now (HTTP {status})") }
            }
            _ => {
                Self::Nothing { why: format!("the server has nothing to install (HTTP {status})") }
            }
        }
    }
}
