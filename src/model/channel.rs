//! How a channel of the network fares, and what it keeps with its upgrade.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::ChannelName;

/// Longest reference in bytes.
pub(super) const LONGEST_REFERENCE: usize = 1024;

/// What a channel must know again with its upgrade and its report: opaque to everybody else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference(String);

/// A text that is too long for a reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a reference of {0} bytes; the limit is {LONGEST_REFERENCE}")]
pub struct TooLong(usize);

impl Reference {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Reference {
    type Error = TooLong;

    fn try_from(text: String) -> Result<Self, TooLong> {
        if text.len() <= LONGEST_REFERENCE { Ok(Self(text)) } else { Err(TooLong(text.len())) }
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> Self {
        reference.0
    }
}

/// What is there of a file that is received over restarts, for the channel that sends it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartStatus {
    /// Its name as it was announced; absent where its seal is to say it.
    pub file_name: Option<String>,
    /// Bytes that were announced; absent where nobody knew.
    pub size: Option<u64>,
    /// Bytes that are there, durably.
    pub offset: u64,
    /// What the channel keeps with it, such as an ETag and a URL: nobody else's to see.
    pub note: Option<String>,
}

/// Without the note.
impl fmt::Debug for PartStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartStatus").field("offset", &self.offset).finish_non_exhaustive()
    }
}

/// How a channel fares, for `uplift status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelStatus {
    /// Which.
    pub name: ChannelName,
    /// How.
    pub state: ChannelState,
    /// What a person should know of it.
    pub sentence: String,
    /// How often it lost its peer since its process started.
    #[serde(default)]
    pub errors: u64,
    /// Whether it may hand over files without a trusted seal: the daemon's own word.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unsealed: bool,
}

/// How a channel fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChannelState {
    /// Its process has not said anything yet.
    Unknown,
    /// It reaches its peer.
    Works,
    /// It waits for its peer.
    Waits,
    /// It can't work.
    Fails,
}

/// Longest sentence in characters that is kept of a channel's own.
pub const LONGEST_SENTENCE: usize = 200;

impl ChannelStatus {
    /// A channel that works.
    pub fn works(name: ChannelName, sentence: &str) -> Self {
        let state = ChannelState::Works;
        Self { name, state, sentence: sentence.to_owned(), errors: 0, unsealed: false }
    }
}

impl fmt::Display for ChannelState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Unknown => "not heard of yet",
            Self::Works => "works",
            Self::Waits => "waits",
            Self::Fails => "fails",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_has_a_limit_and_is_a_plain_text() {
        let longest = Reference::try_from("x".repeat(LONGEST_REFERENCE)).unwrap();
        let text = serde_json::to_string(&longest).unwrap();
        assert_eq!(serde_json::from_str::<Reference>(&text).unwrap(), longest);
        let more = "x".repeat(LONGEST_REFERENCE + 1);
        assert_eq!(Reference::try_from(more.clone()), Err(TooLong(LONGEST_REFERENCE + 1)));
        assert!(serde_json::from_str::<Reference>(&format!("{more:?}")).is_err());
    }
}
