//! The seal: who made a firmware file, for which product and machine, and that it is whole.
//!
//! It stands behind a program or before any payload, so that one file still travels. A program with
//! a seal behind it runs, unless it looks for its own end; before a payload is installed the seal
//! goes. [`Seal::find`] is the one place that decides whether a file has a seal; hashing and checks
//! both ask it. Nothing here knows which keys are trusted, or what becomes of a file.

pub mod container;
mod frame;
mod key;
mod manifest;
mod signature;
pub mod signing;

use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

use crate::model::KeyId;
use frame::Parts;
pub use key::{KeyError, PublicKey};
pub use manifest::{ANY_MACHINE, Base, Manifest, ManifestError, Place, Stream};
pub use signature::{Signature, SignatureError};

/// Largest seal in bytes: what a hasher must hold back until it knows the file's end.
pub const LARGEST_SEAL: usize = 16 * 1024;

/// Bytes of a file's beginning that tell whether it is sealed there: the largest seal, and enough of
/// the payload to see that it is not sealed itself.
pub const HEAD_SIZE: usize = LARGEST_SEAL + frame::HEADER_MAGIC.len();

/// A well-formed seal, as it was found in a file. Well-formed says nothing of trust.
///
/// It stands in one of two places, and its manifest says in which:
///
/// | behind | before | bytes | what |
/// |---|---|---|---|
/// | 1 | 4 | any number | the program, or the payload, as it was made |
/// | 2 | 2 | M | the manifest: JSON text, see [`Manifest`] |
/// | 3 | 3 | S | the signature: text of a minisign signature file over the manifest's bytes, see [`Signature`] |
/// | 4 | – | 32 | footer |
/// | – | 1 | 32 | header |
///
/// M + S + 32 is at most 16384 ([`LARGEST_SEAL`]). Numbers are little-endian:
///
/// | footer | header | bytes | what |
/// |---|---|---|---|
/// | – | 0 | 8 | magic: `89 55 50 4C 0D 0A 1A 0A` |
/// | 0 | 8 | 4 | format: 1 |
/// | 4 | 12 | 4 | M |
/// | 8 | 16 | 4 | S |
/// | 12 | 20 | 4 | CRC-32 (as in gzip) of manifest, signature and what stands before it here |
/// | 16 | 24 | 8 | reserved: zero |
/// | 24 | – | 8 | magic: `89 55 50 4C 49 46 54 0A` |
///
/// A file that ends or begins with the magic claims a seal, and all of the above must hold of it; a
/// file that claims two is refused, and any other file has none. The CRC is no security: it covers
/// what nothing signs, such as the signature's untrusted comment, so that no changed bit passes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seal {
    /// What the seal says of the program.
    pub manifest: Manifest,
    /// The manifest as it is stored, which is what is signed.
    pub manifest_text: Vec<u8>,
    /// Who says it.
    pub signature: Signature,
    /// Bytes of the file that are the program's, or the payload's.
    pub payload: Range<u64>,
}

/// Why a file claims to be sealed and is not.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the text of each is its documentation")]
pub enum SealError {
    #[error("it can't be read")]
    Unreadable(#[from] io::Error),
    #[error(
        "it has format {0}, and this version of uplift knows none but 1, and 2 at the beginning"
    )]
    UnknownFormat(u32),
    #[error(
        "its parts would be larger than the file, or than the {LARGEST_SEAL} bytes that a seal may have"
    )]
    Lengths,
    #[error("its bytes were changed since it was made: the checksum differs")]
    Checksum,
    #[error("its reserved bytes are not zero")]
    Reserved,
    #[error("its manifest is not understood")]
    Manifest(#[from] ManifestError),
    #[error("its signature is not understood")]
    Signature(#[from] SignatureError),
    #[error("its manifest names the key {manifest}, its signature is by {signature}")]
    KeyIds { manifest: KeyId, signature: KeyId },
    #[error("its manifest names no key")]
    NoKey,
    #[error("its manifest is that of a container, and it is none")]
    NoContainer,
    #[error("it was moved: it stands {found} its payload, and was made to stand {signed} it")]
    Moved { signed: Place, found: Place },
    #[error("there is another one in the file, and one is all that a file may have")]
    Twice,
}

impl Seal {
    /// The seal of a file of `file_size` bytes, of which `head` is the beginning and `tail` the end:
    /// [`HEAD_SIZE`] and [`LARGEST_SEAL`] bytes, or all of a smaller file. `None` for a file that
    /// claims none.
    pub fn find(head: &[u8], tail: &[u8], file_size: u64) -> Result<Option<Self>, SealError> {
        let footed = tail.ends_with(&frame::FOOTER_MAGIC) && tail.len() >= frame::SIZE;
        if head.starts_with(&frame::HEADER_MAGIC) {
            let seal = Self::before(head, file_size)?;
            // What is installed is the payload alone, and must not seem sealed itself then.
            let nested = usize::try_from(seal.payload.start)
                .ok()
                .and_then(|start| head.get(start..))
                .is_some_and(|payload| payload.starts_with(&frame::HEADER_MAGIC));
            return if footed || nested { Err(SealError::Twice) } else { Ok(Some(seal)) };
        }
        let Some(parts) = Parts::behind(tail)? else { return Ok(None) };
        let size = file_size.checked_sub(parts.size() as u64).ok_or(SealError::Lengths)?;
        Self::of(parts, Place::Behind, 0..size).map(Some)
    }

    /// The seal that a file begins with, of which `head` is the beginning.
    fn before(head: &[u8], file_size: u64) -> Result<Self, SealError> {
        // It begins with the magic, so there is one or an error.
        let parts = Parts::before(head)?.ok_or(SealError::Lengths)?;
        let start = parts.size() as u64;
        if start > file_size {
            return Err(SealError::Lengths);
        }
        Self::of(parts, Place::Before, start..file_size)
    }

    fn of(parts: Parts<'_>, found: Place, payload: Range<u64>) -> Result<Self, SealError> {
        let manifest = Manifest::parse(parts.manifest)?;
        let signature = Signature::parse(parts.signature)?;
        manifest.is_by(&signature)?;
        if !manifest.streams.is_empty() {
            return Err(SealError::NoContainer);
        }
        if manifest.place != found {
            return Err(SealError::Moved { signed: manifest.place, found });
        }
        Ok(Self { manifest, manifest_text: parts.manifest.to_vec(), signature, payload })
    }

    /// The seal of a file; reads no more than its beginning and its end.
    pub fn read(mut file: impl Read + Seek) -> Result<Option<Self>, SealError> {
        let size = file.seek(SeekFrom::End(0))?;
        let mut part = |start, length: usize| {
            let mut bytes = Vec::new();
            file.seek(SeekFrom::Start(start))?;
            file.by_ref().take(length as u64).read_to_end(&mut bytes).map(|_| bytes)
        };
        let head = part(0, HEAD_SIZE)?;
        let tail = part(size.saturating_sub(LARGEST_SEAL as u64), LARGEST_SEAL)?;
        Self::find(&head, &tail, size)
    }

    /// The bytes to put before the payload or behind the program, as the manifest says, from a
    /// manifest and the text of a signature over it. They are read back before they are given out,
    /// so whatever is written is well-formed.
    pub fn to_bytes(manifest_text: &[u8], signature_text: &str) -> Result<Vec<u8>, SealError> {
        let parts = Parts { manifest: manifest_text, signature: signature_text.as_bytes() };
        let bytes = match Manifest::parse(manifest_text)?.place {
            Place::Before => parts.with_header(frame::SEAL),
            Place::Behind => parts.with_footer(),
        };
        let bytes = bytes.ok_or(SealError::Lengths)?;
        Self::find(&bytes, &bytes, bytes.len() as u64)?;
        Ok(bytes)
    }

    /// Bytes of the program, or the payload.
    pub const fn payload_size(&self) -> u64 {
        self.payload.end - self.payload.start
    }
}

/// What the beginning of a file says of a seal there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beginning {
    /// There is none.
    None,
    /// More bytes must be there before that can be said, or it is a damaged one.
    Unknown,
    /// So many bytes are one, if they are well-formed; enough is there for [`Seal::find`] to say.
    Seal(usize),
}

/// What the beginning of a file says of a seal there, for who gets the bytes piece by piece.
pub(crate) fn beginning(head: &[u8]) -> Beginning {
    let magic = &frame::HEADER_MAGIC;
    match head.first_chunk().map(|header| frame::size_before(header, frame::SEAL)) {
        _ if !head.starts_with(&magic[..magic.len().min(head.len())]) => Beginning::None,
        Some(Ok(size)) if head.len() >= size + magic.len() => Beginning::Seal(size),
        // What claims one and is none is for `find` to judge.
        Some(_) | None => Beginning::Unknown,
    }
}

#[cfg(test)]
mod tests;
