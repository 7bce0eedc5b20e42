//! The seal: who made a firmware file, for which product and machine, and that it is whole.
//!
//! It is appended to the program, so that one file still travels; it runs unless it looks for its
//! own end. [`Seal::find`] is the one place that decides whether a file has a seal; hashing and
//! checks both ask it. Nothing here knows which keys are trusted, or what becomes of a file.

mod key;
mod manifest;
mod signature;
pub mod signing;

use std::io::{self, Read, Seek, SeekFrom};

use crc::{CRC_32_ISO_HDLC, Crc};

use crate::model::KeyId;
pub use key::{KeyError, PublicKey};
pub use manifest::{Manifest, ManifestError};
pub use signature::{Signature, SignatureError};

/// Largest seal in bytes: what a hasher must hold back until it knows the file's end.
pub const LARGEST_SEAL: usize = 16 * 1024;

/// The only format that there is.
const FORMAT: u32 = 1;
const FOOTER_SIZE: usize = 32;
/// Its first byte is no text, so that no text ends like this; its last one shows a transfer that
/// changes line ends.
const MAGIC: [u8; 8] = *b"\x89UPLIFT\n";
/// The CRC of gzip and zip.
const CRC_32: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// A well-formed seal, as it was found at the end of a file. Well-formed says nothing of trust.
///
/// | part of a sealed file | bytes | what |
/// |---|---|---|
/// | program | any number | as the linker made it; the kernel does not care what follows it |
/// | manifest | M | JSON text, see [`Manifest`] |
/// | signature | S | text of a minisign signature file over the manifest's bytes, see [`Signature`] |
/// | footer | 32 | see below |
///
/// M + S + 32 is at most 16384 ([`LARGEST_SEAL`]). The footer, numbers little-endian:
///
/// | offset | bytes | what |
/// |---|---|---|
/// | 0 | 4 | format: 1 |
/// | 4 | 4 | M |
/// | 8 | 4 | S |
/// | 12 | 4 | CRC-32 (as in gzip) of manifest, signature and bytes 0..12 of the footer |
/// | 16 | 8 | reserved: zero |
/// | 24 | 8 | magic: `89 55 50 4C 49 46 54 0A` |
///
/// A file that ends with the magic claims a seal, and all of the above must hold of it; any other
/// file has none. The CRC is no security: it covers what nothing signs, such as the signature's
/// untrusted comment, so that no changed bit passes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seal {
    /// What the seal says of the program.
    pub manifest: Manifest,
    /// The manifest as it is stored, which is what is signed.
    pub manifest_text: Vec<u8>,
    /// Who says it.
    pub signature: Signature,
    /// Bytes of the file that are the program's.
    pub program_size: u64,
}

/// Why the end of a file claims to be a seal and is none.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the text of each is its documentation")]
pub enum SealError {
    #[error("it can't be read")]
    Unreadable(#[from] io::Error),
    #[error("it has format {0}, and this version of uplift knows format {FORMAT} only")]
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
}

/// The footer of a seal with this manifest and signature.
fn footer(manifest: &[u8], signature: &[u8]) -> Option<[u8; FOOTER_SIZE]> {
    let (manifest_length, signature_length) =
        (u32::try_from(manifest.len()).ok()?, u32::try_from(signature.len()).ok()?);
    let mut footer = [0; FOOTER_SIZE];
    footer[..4].copy_from_slice(&FORMAT.to_le_bytes());
    footer[4..8].copy_from_slice(&manifest_length.to_le_bytes());
    footer[8..12].copy_from_slice(&signature_length.to_le_bytes());
    let checksum = checksum(manifest, signature, &footer);
    footer[12..16].copy_from_slice(&checksum.to_le_bytes());
    footer[24..].copy_from_slice(&MAGIC);
    Some(footer)
}

fn checksum(manifest: &[u8], signature: &[u8], footer: &[u8; FOOTER_SIZE]) -> u32 {
    let mut digest = CRC_32.digest();
    [manifest, signature, &footer[..12]].into_iter().for_each(|bytes| digest.update(bytes));
    digest.finalize()
}

impl Seal {
    /// The seal of a file of `file_size` bytes, of which `tail` is the end: the last
    /// [`LARGEST_SEAL`] bytes, or all of a smaller file. `None` for a file that claims none.
    pub fn find(tail: &[u8], file_size: u64) -> Result<Option<Self>, SealError> {
        let Some((before, footer)) = tail.split_last_chunk::<FOOTER_SIZE>() else {
            return Ok(None);
        };
        if footer[24..] != MAGIC {
            return Ok(None);
        }
        let number = |at: usize| {
            u32::from_le_bytes([footer[at], footer[at + 1], footer[at + 2], footer[at + 3]])
        };
        let (format, checksum_told) = (number(0), number(12));
        if format != FORMAT {
            return Err(SealError::UnknownFormat(format));
        }
        let length = |at: usize| usize::try_from(number(at)).map_err(|_| SealError::Lengths);
        let (manifest_length, signature_length) = (length(4)?, length(8)?);
        let start = manifest_length
            .checked_add(signature_length)
            .and_then(|length| before.len().checked_sub(length));
        let Some(start) = start.filter(|start| tail.len() - start <= LARGEST_SEAL) else {
            return Err(SealError::Lengths);
        };
        let (manifest_text, signature_text) = before[start..].split_at(manifest_length);
        if checksum(manifest_text, signature_text, footer) != checksum_told {
            return Err(SealError::Checksum);
        }
        if footer[16..24] != [0; 8] {
            return Err(SealError::Reserved);
        }
        let manifest = Manifest::parse(manifest_text)?;
        let signature = Signature::parse(signature_text)?;
        if manifest.key_id != signature.key_id() {
            return Err(SealError::KeyIds {
                manifest: manifest.key_id,
                signature: signature.key_id(),
            });
        }
        let seal_size = (tail.len() - start) as u64;
        let program_size = file_size.checked_sub(seal_size).ok_or(SealError::Lengths)?;
        Ok(Some(Self { manifest, manifest_text: manifest_text.to_vec(), signature, program_size }))
    }

    /// The seal at the end of a file; reads no more than that of it.
    pub fn read(mut file: impl Read + Seek) -> Result<Option<Self>, SealError> {
        let size = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(size.saturating_sub(LARGEST_SEAL as u64)))?;
        let mut tail = Vec::with_capacity(LARGEST_SEAL);
        file.take(LARGEST_SEAL as u64).read_to_end(&mut tail)?;
        Self::find(&tail, size)
    }

    /// The bytes to append to the program, from a manifest and the text of a signature over it.
    /// They are read back before they are given out, so whatever is appended is well-formed.
    pub fn to_bytes(manifest_text: &[u8], signature_text: &str) -> Result<Vec<u8>, SealError> {
        let footer = footer(manifest_text, signature_text.as_bytes()).ok_or(SealError::Lengths)?;
        let bytes = [manifest_text, signature_text.as_bytes(), &footer].concat();
        Self::find(&bytes, bytes.len() as u64)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests;
