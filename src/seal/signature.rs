//! The signature of a seal: the text of a minisign signature file, taken apart.

use std::fmt;

use ct_codecs::{Base64, Decoder as _};

use crate::model::KeyId;

/// A signature that minisign's own tools read and write: Ed25519 over the BLAKE2b hash of the
/// signed bytes.
///
/// | line | what |
/// |---|---|
/// | 1 | `untrusted comment: ` and text without control characters; nothing signs it |
/// | 2 | base64 of `ED`, the key's id (8 bytes), the signature (64 bytes) |
/// | 3 | `trusted comment: ` and any text |
/// | 4 | base64 of the signature over line 2's signature and line 3's text |
///
/// Signatures that begin with `Ed` are minisign's old kind, over the bytes themselves; they are
/// refused.
#[derive(Clone)]
pub struct Signature {
    key_id: KeyId,
    text: String,
    inner: minisign_verify::Signature,
}

/// Why a text is not a signature that can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the text of each is its documentation")]
pub enum SignatureError {
    #[error("it is not UTF-8 text")]
    NotText,
    #[error("it is not the four lines of a minisign signature")]
    Malformed,
    #[error(
        "it is a legacy signature, over the bytes and not over their hash; sign with minisign 0.10 or newer, without -l"
    )]
    Legacy,
    #[error("its untrusted comment has control characters, and nothing signs that line")]
    Control,
}

const UNTRUSTED: &str = "untrusted comment: ";
const LEGACY: &[u8; 2] = b"Ed";

impl Signature {
    /// Parses the text of a signature file; nothing may follow its four lines.
    pub fn parse(text: &[u8]) -> Result<Self, SignatureError> {
        let text = std::str::from_utf8(text).map_err(|_| SignatureError::NotText)?;
        let lines: Vec<&str> = text.lines().take(5).collect();
        let [comment, signature, _, _] = lines[..] else { return Err(SignatureError::Malformed) };
        if !comment.starts_with(UNTRUSTED) {
            return Err(SignatureError::Malformed);
        }
        // Anybody can change it, and a program that looks for data at its own end finds it there.
        if comment.chars().any(char::is_control) {
            return Err(SignatureError::Control);
        }
        let bytes =
            Base64::decode_to_vec(signature, None).map_err(|_| SignatureError::Malformed)?;
        let (algorithm, rest) = bytes.split_first_chunk::<2>().ok_or(SignatureError::Malformed)?;
        if algorithm == LEGACY {
            return Err(SignatureError::Legacy);
        }
        let key_id = rest.first_chunk().ok_or(SignatureError::Malformed)?;
        let inner =
            minisign_verify::Signature::decode(text).map_err(|_| SignatureError::Malformed)?;
        Ok(Self { key_id: KeyId::from_bytes(*key_id), text: text.to_owned(), inner })
    }

    /// The key that made it, as it says itself.
    pub const fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// What the signer noted; to be believed only once the signature was verified.
    pub fn trusted_comment(&self) -> &str {
        self.inner.trusted_comment()
    }

    /// The whole text, as it is stored.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub(super) const fn inner(&self) -> &minisign_verify::Signature {
        &self.inner
    }
}

impl PartialEq for Signature {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Signature {}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signature").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}
