//! What a platform of the network asks for, and what it is told, in our words. Each network channel
//! turns its platform's bytes into an [`Offer`] and a [`Telling`] into its platform's bytes; nothing
//! here knows a platform or a wire.

use std::fmt;

use crate::model::file_name::FileName;
use crate::model::{AnnouncedDigests, ComponentName, Failure};

/// Longest name of a request in bytes: it goes into the reference of an upgrade.
const LONGEST_ACTION: usize = 256;

/// A platform's own name of one of its requests, such as a hawkBit action id: told back, never
/// understood.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Action(String);

/// A name of a request that is empty, too long or no plain text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the request's name is no plain text of at most {LONGEST_ACTION} bytes")]
pub(crate) struct NoAction;

impl Action {
    /// The name.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Action {
    type Error = NoAction;

    fn try_from(text: String) -> Result<Self, NoAction> {
        let is_plain = (1..=LONGEST_ACTION).contains(&text.len())
            && text.chars().all(|c| !c.is_control() && !c.is_whitespace());
        if is_plain { Ok(Self(text)) } else { Err(NoAction) }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a platform asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Offer {
    /// The platform's name of it.
    pub(crate) action: Action,
    /// The files, in the platform's order; never empty.
    pub(crate) files: Vec<OfferedFile>,
    /// Whether they may be installed.
    pub(crate) install: Install,
}

/// A file of an offer.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct OfferedFile {
    /// What it is.
    pub(crate) name: FirmwareName,
    /// Where it lies, http or https. It may hold secrets.
    pub(crate) url: String,
    /// Its size in bytes, where the platform says it.
    pub(crate) size: Option<u64>,
    /// Its digests, those that the platform says.
    pub(crate) digests: AnnouncedDigests,
}

/// Without the URL.
impl fmt::Debug for OfferedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, size, digests, url: _ } = self;
        f.debug_struct("OfferedFile")
            .field("name", name)
            .field("size", size)
            .field("digests", digests)
            .finish_non_exhaustive()
    }
}

/// How a platform's file comes by the name that the checks ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FirmwareName {
    /// Its product and version are known before it comes.
    Known(FileName),
    /// Its seal says them.
    BySeal,
}

/// Whether an offer may be installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Install {
    /// As soon as it is allowed here.
    Now,
    /// Not before the platform says so: it is fetched and proved.
    Later,
}

/// What a platform is told of one of its requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Telling {
    /// Of which.
    pub(crate) action: Action,
    /// That.
    pub(crate) what: What,
}

/// How a request of a platform fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    /// An upgrade has begun for it.
    Accepted,
    /// It is put off.
    NotNow {
        /// Why, a sentence.
        why: String,
    },
    /// Bytes come.
    Downloading {
        /// Bytes that are there, of all its files.
        received: u64,
        /// Bytes of all its files; 0 where nobody knows.
        size: u64,
    },
    /// All is there and proved, and waits for the word to install.
    Downloaded,
    /// It is being installed.
    Installing,
    /// It runs, and is being watched.
    OnTrial,
    /// All is installed and proved. Final.
    Succeeded {
        /// What runs now, a sentence.
        sentence: String,
    },
    /// It was refused, it failed, or the old program runs again. Final.
    Failed {
        /// Why.
        failure: Failure,
        /// Components that were replaced all the same, and run.
        replaced: Vec<ComponentName>,
        /// Components that stay as they were.
        kept: Vec<ComponentName>,
    },
    /// The platform took it back, and nothing of it was installed. Final.
    Cancelled,
    /// The platform took it back too late: it is being installed.
    TooLate,
}

impl What {
    /// Whether nothing follows for this request.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, Self::Succeeded { .. } | Self::Failed { .. } | Self::Cancelled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_s_name_is_short_and_plain() {
        assert!(Action::try_from("12".to_owned()).is_ok());
        assert!(Action::try_from("x".repeat(LONGEST_ACTION)).is_ok());
        for wrong in ["", "a b", "a\nb", &"x".repeat(LONGEST_ACTION + 1)] {
            assert_eq!(Action::try_from(wrong.to_owned()), Err(NoAction), "{wrong:?}");
        }
    }

    #[test]
    fn an_offered_file_never_shows_its_url() {
        let file = OfferedFile {
            name: FirmwareName::BySeal,
            url: "https://example.org/?token=secret".into(),
            size: None,
            digests: AnnouncedDigests::default(),
        };
        assert!(!format!("{file:?}").contains("secret"));
    }
}
