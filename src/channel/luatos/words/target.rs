//! Which file a server has: by what it says of it, because the wire has no name for it.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::head::Head;
use crate::channel::offer::Action;

/// Longest text of a server that is kept to know a file again, in bytes.
const LONGEST: usize = 128;

/// The file that a server has: two are the same while all that is said of them is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Target {
    /// Number of the request in the turnkey protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sn: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_modified: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
}

/// What a request says so that a file that is known is not sent again: values of the headers
/// `If-None-Match` and `If-Modified-Since`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Validators {
    /// An entity tag, which may be a weak one.
    pub(crate) if_none_match: Option<String>,
    /// A date as the server wrote it.
    pub(crate) if_modified_since: Option<String>,
}

impl Target {
    /// The file that an answer brings.
    pub(super) fn of(head: &Head<'_>, size: Option<u64>) -> Self {
        let kept = |text: Option<&str>| text.filter(|text| is_kept(text)).map(str::to_owned);
        let (etag, last_modified) = (kept(head.etag), kept(head.last_modified));
        Self { sn: None, etag, last_modified, size }
    }

    /// The file of a request of the turnkey protocol; none where the number is no plain text.
    pub(super) fn of_turnkey(sn: String) -> Option<Self> {
        let is_plain = is_kept(&sn) && !sn.contains(' ');
        is_plain.then_some(Self { sn: Some(sn), ..Self::default() })
    }

    /// Whether another file would be told from it. A size alone is no sign: a new program often has
    /// that of the old one.
    pub(crate) fn is_certain(&self) -> bool {
        self.sn.is_some() || self.etag.is_some() || self.last_modified.is_some()
    }

    /// Its name: the turnkey protocol's number, or one that is made of what the server said.
    pub(crate) fn name(&self) -> String {
        if let Some(sn) = &self.sn {
            return sn.clone();
        }
        let size = self.size.map(|size| size.to_string());
        let mut hasher = Sha256::new();
        for text in [&self.etag, &self.last_modified, &size] {
            hasher.update(text.as_deref().unwrap_or_default());
            hasher.update([0, u8::from(text.is_some())]);
        }
        let digest = hasher.finalize();
        let hex: Vec<String> = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        format!("file-{}", hex.concat())
    }

    /// The same as a request's name.
    pub(super) fn action(&self) -> Option<Action> {
        Action::try_from(self.name()).ok()
    }

    /// What makes a server answer 304 instead of sending it again.
    pub(crate) fn validators(&self) -> Validators {
        Validators {
            if_none_match: self.etag.clone(),
            if_modified_since: self.last_modified.clone(),
        }
    }

    /// Whether it is one that could have been made here.
    pub(crate) fn is_plausible(&self) -> bool {
        [&self.sn, &self.etag, &self.last_modified].into_iter().flatten().all(|text| is_kept(text))
    }
}

/// What may stand in a header of a later request.
fn is_kept(text: &str) -> bool {
    (1..=LONGEST).contains(&text.len()) && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_another_one_as_soon_as_anything_differs() {
        let target = |etag: Option<&str>, date: Option<&str>, size| {
            let head = Head { etag, last_modified: date, ..Head::default() };
            Target::of(&head, size)
        };
        let all = [
            target(None, None, None),
            target(None, None, Some(1)),
            target(Some("\"1\""), None, None),
            target(Some("W/\"1\""), None, None),
            target(None, Some("\"1\""), None),
            target(Some("\"1\""), Some("Sat, 01 Jan 2000 00:00:00 GMT"), Some(1)),
        ];
        for (place, one) in all.iter().enumerate() {
            for (other_place, other) in all.iter().enumerate() {
                assert_eq!(one.name() == other.name(), place == other_place, "{one:?} {other:?}");
            }
            assert!(one.action().is_some());
        }
        assert_eq!(all.iter().filter(|target| target.is_certain()).count(), 4);
    }

    #[test]
    fn what_would_break_a_header_is_not_kept() {
        for wrong in ["", "a\r\nHost: evil", "é", &"x".repeat(LONGEST + 1)] {
            let head = Head { etag: Some(wrong), last_modified: Some(wrong), ..Head::default() };
            assert_eq!(Target::of(&head, None), Target::default(), "{wrong:?}");
            assert_eq!(Target::of_turnkey(wrong.to_owned()), None);
        }
        assert_eq!(Target::of_turnkey("a b".into()), None);
    }
}
