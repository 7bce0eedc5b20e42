//! A directory as a whole: what is in it, as a canonical manifest, and all of it as one file, the
//! archive, which goes the way of any program. docs/wire/tree.md has its bytes.
//!
//! | module | what it is for |
//! |---|---|
//! | `manifest` | what is in a tree, and what no tree may have in it. Pure |
//! | `scan` | reads a directory: its manifest, and its archive |
//! | `archive` | reads an archive, and proves it |
//! | `lay` | makes a directory of an archive |
//!
//! A tree is known by the digest of its manifest's text, which is the same for the archive and for
//! the directory that was made of it. The room must not know where a directory is to lie, nor why.

mod archive;
mod lay;
mod manifest;
mod scan;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

pub use archive::Archive;
pub use lay::Owners;
pub(crate) use lay::{remove, take_out};
pub use manifest::{Entry, Manifest, TreeError};
pub use scan::Scan;

/// Bytes of an archive's header: magic, format, bytes of the manifest.
pub const HEADER_SIZE: usize = 16;
/// What an archive begins with. The first byte is none of text, the rest notices a transfer that
/// changes the ends of lines.
pub const MAGIC: [u8; 8] = *b"\x89UPT\r\n\x1a\n";
/// The one format that there is.
const FORMAT: u32 = 1;
/// Bytes of the largest manifest.
pub const LARGEST_MANIFEST: usize = 8 << 20;

/// Bytes of the manifest that follows this header; `None` where it is not that of an archive.
pub fn manifest_size(header: &[u8; HEADER_SIZE]) -> Option<usize> {
    let (magic, numbers) = header.split_at(MAGIC.len());
    let ([format, size], []) = numbers.as_chunks::<4>() else { return None };
    let size = usize::try_from(u32::from_le_bytes(*size)).ok()?;
    let is_one = magic == MAGIC && u32::from_le_bytes(*format) == FORMAT;
    (is_one && size <= LARGEST_MANIFEST).then_some(size)
}

/// Whether a file is an archive, as far as its header says so.
pub fn is_archive(file: &File) -> io::Result<bool> {
    let mut header = [0; HEADER_SIZE];
    match file.read_exact_at(&mut header, 0) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        read => read.map(|()| manifest_size(&header).is_some()),
    }
}

/// The header before a manifest of so many bytes.
fn header(manifest: usize) -> Result<[u8; HEADER_SIZE], TreeError> {
    let size = u32::try_from(manifest).ok().filter(|_| manifest <= LARGEST_MANIFEST);
    let size = size.ok_or(TreeError::LargeManifest(manifest))?;
    let mut header = [0; HEADER_SIZE];
    header[..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&FORMAT.to_le_bytes());
    header[12..].copy_from_slice(&size.to_le_bytes());
    Ok(header)
}
