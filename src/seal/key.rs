//! Public keys of minisign, and their ids.

use std::fmt;
use std::str::FromStr;

use ct_codecs::{Base64, Decoder as _};
use serde::{Deserialize, Deserializer, de::Error as _};

use super::Signature;
use crate::model::KeyId;

/// A public key: Ed25519, with its id.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    id: KeyId,
    key: minisign_verify::PublicKey,
}

/// Why a text is not a public key, or not the id of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the text of each is its documentation")]
pub enum KeyError {
    #[error(
        "it is not a minisign public key: expected the second line of a .pub file, 56 characters that begin with RW"
    )]
    NotPublic,
}

impl PublicKey {
    /// Its id.
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// Whether this key made the signature over these bytes.
    pub fn verifies(&self, signature: &Signature, bytes: &[u8]) -> bool {
        // Pre-hashed signatures are the only ones that `Signature` holds; no second word on it
        // here.
        self.key.verify(bytes, signature.inner(), false).is_ok()
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    /// From the base64 text that is the second line of a `.pub` file.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let key = minisign_verify::PublicKey::from_base64(text).map_err(|_| KeyError::NotPublic)?;
        // Two bytes of algorithm, eight of id, 32 of key; the library keeps the id to itself.
        let bytes = Base64::decode_to_vec(text, None).map_err(|_| KeyError::NotPublic)?;
        let (_algorithm, rest) = bytes.split_first_chunk::<2>().ok_or(KeyError::NotPublic)?;
        let id = rest.first_chunk().ok_or(KeyError::NotPublic)?;
        Ok(Self { id: KeyId::from_bytes(*id), key })
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.id)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}
