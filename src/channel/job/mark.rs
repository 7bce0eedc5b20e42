//! What the daemon keeps with an upgrade for a network channel: which request of the platform it is
//! for.

use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use crate::channel::offer::{Action, FirmwareName, Offer};
use crate::model::Reference;

/// The reference of an upgrade, JSON.
///
/// | field | what |
/// |---|---|
/// | `action` | the platform's name of its request |
/// | `offer` | what it asks for: eight bytes of a SHA-256 over the names, sizes and digests of its files, in hexadecimal. A platform may ask for something else under the same name |
/// | `file` | which of the files, from 0 |
/// | `files` | how many there are |
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub(super) struct Mark {
    pub(super) action: Action,
    offer: String,
    pub(super) file: usize,
    files: usize,
}

#[derive(Serialize, Deserialize)]
struct Written {
    action: String,
    offer: String,
    file: usize,
    files: usize,
}

impl Mark {
    /// Of an offer's first file.
    pub(super) fn of(offer: &Offer) -> Self {
        let mut hasher = sha2::Sha256::new();
        for file in &offer.files {
            let name = match &file.name {
                FirmwareName::Known(name) => name.to_string(),
                FirmwareName::BySeal => String::new(),
            };
            let digests = serde_json::to_string(&file.digests).unwrap_or_default();
            hasher.update(format!("{name}\n{:?}\n{digests}\n", file.size));
        }
        let offered = hasher.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Self { action: offer.action.clone(), offer: offered, file: 0, files: offer.files.len() }
    }

    /// Of another file of the same offer.
    pub(super) fn at(self, file: usize) -> Self {
        Self { file, ..self }
    }

    /// Whether it is of the same request, for the same files.
    pub(super) fn is_of_same_offer(&self, other: &Self) -> bool {
        (&self.action, &self.offer) == (&other.action, &other.offer)
    }

    pub(super) fn is_of_several(&self) -> bool {
        self.files > 1
    }

    pub(super) fn is_last(&self) -> bool {
        self.file.saturating_add(1) >= self.files
    }

    /// As the daemon keeps it; nothing where it is too long, which the limit of an action rules out.
    pub(super) fn to_reference(&self) -> Option<Reference> {
        Reference::try_from(serde_json::to_string(self).ok()?).ok()
    }

    /// From a reference, if this wrote it.
    pub(super) fn read(reference: &Reference) -> Option<Self> {
        serde_json::from_str(reference.as_str()).ok()
    }
}

impl TryFrom<Written> for Mark {
    type Error = crate::channel::offer::NoAction;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let Written { action, offer, file, files } = written;
        Ok(Self { action: Action::try_from(action)?, offer, file, files })
    }
}

impl From<Mark> for Written {
    fn from(mark: Mark) -> Self {
        let Mark { action, offer, file, files } = mark;
        Self { action: action.as_str().to_owned(), offer, file, files }
    }
}
