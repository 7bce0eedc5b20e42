//! The manifest: what a seal says of its program.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{SealError, Signature};
use crate::model::version::Version;
use crate::model::{FileDigest, KeyId, ProgramDigest};

/// What a seal says of its program. Stored as JSON text, an object with these fields, each once and
/// no other:
///
/// | field | JSON | what |
/// |---|---|---|
/// | `product` | string | product that the program is for |
/// | `version` | string | `Vaa.bb.cc.dd`; the file's name must say the same |
/// | `machine` | string | as `uplift check` names it, such as `AArch64, 64 bit, little endian`; `any` for what is no ELF program |
/// | `size` | number | size of the program in bytes, without the seal |
/// | `sha256` | string | SHA-256 of the program without the seal, in hexadecimal |
/// | `created` | string | when it was packed, RFC 3339. For people: nothing is ordered by it, nothing expires |
/// | `replaces_from` | string, may be absent | lowest version that it may replace |
/// | `key_id` | string | id of the key that signs, 16 hexadecimal digits as minisign prints them; absent in a container that nobody signed |
/// | `place` | string, may be absent | `before` or `behind` the payload, where the seal stands; absent: behind |
/// | `streams` | list, may be absent | what a container carries, see [`Stream`]; nothing else has it |
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Product that the program is for.
    pub product: String,
    /// Version of the program.
    pub version: Version,
    /// Machine of the program, as [`crate::package::elf::Machine`] displays itself; [`ANY_MACHINE`]
    /// for what names none.
    pub machine: String,
    /// Size of the program in bytes.
    pub size: u64,
    /// Digest of the program.
    pub sha256: ProgramDigest,
    /// When it was packed, RFC 3339. For people only.
    pub created: String,
    /// Lowest version that it may replace; any, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces_from: Option<Version>,
    /// The key that signs; absent in a container that nobody signed, and nowhere else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_id: Option<KeyId>,
    /// Where the seal stands. Signed, because nobody but the signer may move it: a shell runs what
    /// stands behind a script, and some programs read what stands behind themselves.
    #[serde(default, skip_serializing_if = "Place::is_behind")]
    pub place: Place,
    /// What a container carries, in the order in which it stands there; nothing in a seal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub streams: Vec<Stream>,
}

/// One way to come by the program: bytes that a container carries, and what makes the program of
/// them.
///
/// | field | JSON | what |
/// |---|---|---|
/// | `codec` | string | what the stream is: `zstd` |
/// | `window` | number | bytes that its decoder must remember: a power of two |
/// | `size` | number | bytes of the stream |
/// | `pieces` | string | SHA-256 of the list of its pieces' digests, in hexadecimal |
/// | `base` | object, may be absent | the program that it makes the new one of, see [`Base`]; absent: it is the whole |
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stream {
    /// What the stream is. One that is not known here may stand beside one that is.
    pub codec: String,
    /// Bytes that its decoder must remember.
    pub window: u64,
    /// Bytes of the stream.
    pub size: u64,
    /// Digest of the list of its pieces' digests: every byte of it is under this one.
    pub pieces: FileDigest,
    /// What it changes; the stream of a whole program has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Base>,
}

/// The program that a stream makes the new one of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Base {
    /// Its version, for people.
    pub version: Version,
    /// Its bytes, in number.
    pub size: u64,
    /// Its digest, without a seal.
    pub sha256: ProgramDigest,
}

/// Where a seal stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// Behind the program, which is installed with it.
    #[default]
    Behind,
    /// Before the payload, which is installed without it.
    Before,
}

/// The machine in a manifest of what is no ELF program.
pub const ANY_MACHINE: &str = "any";

impl Place {
    const fn is_behind(&self) -> bool {
        matches!(self, Self::Behind)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Behind => "behind",
            Self::Before => "before",
        })
    }
}

/// Why bytes are not a manifest.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the text of each is its documentation")]
pub enum ManifestError {
    #[error("it is not a JSON object")]
    NoObject,
    #[error("{0}")]
    Json(#[from] serde_json::Error),
}

impl Manifest {
    /// Parses the stored text. Unknown, missing and repeated fields are errors, and so is anything
    /// behind the object.
    pub fn parse(text: &[u8]) -> Result<Self, ManifestError> {
        // A list of the values in order would be taken for the object too.
        if !text.starts_with(b"{") {
            return Err(ManifestError::NoObject);
        }
        Ok(serde_json::from_slice(text)?)
    }

    /// Whether it names the key that made this signature.
    pub(super) fn is_by(&self, signature: &Signature) -> Result<(), SealError> {
        match self.key_id {
            None => Err(SealError::NoKey),
            Some(key) if key == signature.key_id() => Ok(()),
            Some(manifest) => Err(SealError::KeyIds { manifest, signature: signature.key_id() }),
        }
    }

    /// The text to store and to sign: indented, so that a person who signs elsewhere can read what
    /// it is.
    pub fn to_text(&self) -> Result<Vec<u8>, ManifestError> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        Ok(text)
    }
}
