//! An archive: header, manifest, and the bytes of all files in the manifest's order.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

use sha2::Digest as _;

use super::{Entry, HEADER_SIZE, Manifest, TreeError, manifest_size};
use crate::disk;
use crate::model::FileDigest;

/// An archive in a file, whose manifest is that of a tree.
#[derive(Debug)]
pub struct Archive<'a> {
    file: &'a File,
    manifest: Manifest,
    /// Where the bytes of the first file begin.
    contents: u64,
}

impl<'a> Archive<'a> {
    /// The archive that this part of a file is. Of the files' bytes nothing is read but their number.
    pub fn open(file: &'a File, part: Range<u64>) -> Result<Self, TreeError> {
        let found = part.end.saturating_sub(part.start);
        let mut head = [0; HEADER_SIZE];
        if found < HEADER_SIZE as u64 {
            return Err(TreeError::NoArchive);
        }
        file.read_exact_at(&mut head, part.start)?;
        let size = manifest_size(&head).ok_or(TreeError::NoArchive)?;
        let contents = (HEADER_SIZE + size) as u64;
        if found < contents {
            return Err(TreeError::Archive { found, expected: contents });
        }
        let mut text = vec![0; size];
        file.read_exact_at(&mut text, part.start + HEADER_SIZE as u64)?;
        let manifest = Manifest::parse(&text)?;
        let expected = contents.checked_add(manifest.content_size()?).ok_or(TreeError::Size)?;
        match found == expected {
            true => Ok(Self { file, manifest, contents: part.start + contents }),
            false => Err(TreeError::Archive { found, expected }),
        }
    }

    /// What is in it.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Whether all files have the bytes that the manifest speaks of. Reads all of it.
    pub fn prove(&self) -> Result<(), TreeError> {
        self.files()
            .try_for_each(|(path, sha256, content)| pass_on(path, sha256, content, &mut |_| Ok(())))
    }

    /// Path, digest and bytes of each file.
    fn files(&self) -> impl Iterator<Item = (&str, &FileDigest, Content<'a>)> {
        let (mut start, whole) = (self.contents, self.file);
        self.manifest.entries.iter().filter_map(move |entry| {
            let Entry::File { path, size, sha256, .. } = entry else { return None };
            let content = Content { file: whole, part: start..start + size };
            start += size;
            Some((path.as_str(), sha256, content))
        })
    }

    /// The bytes of all files, in the order of the manifest.
    pub(super) fn contents(&self) -> impl Iterator<Item = Content<'a>> {
        self.files().map(|(_, _, content)| content)
    }
}

/// The bytes of one file in an archive.
pub(super) struct Content<'a> {
    file: &'a File,
    part: Range<u64>,
}

impl Read for Content<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.part.end - self.part.start).unwrap_or(usize::MAX);
        let most = buffer.len().min(left);
        let n = self.file.read_at(&mut buffer[..most], self.part.start)?;
        self.part.start += n as u64;
        Ok(n)
    }
}

/// Passes the bytes of a file on; an error behind the last one where they are not those of the
/// manifest.
pub(super) fn pass_on(
    path: &str,
    sha256: &FileDigest,
    mut content: Content<'_>,
    take: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> Result<(), TreeError> {
    let (mut hasher, mut buffer) = (sha2::Sha256::new(), vec![0; disk::COPY_BUFFER_SIZE]);
    loop {
        let n = disk::read(&mut content, &mut buffer)?;
        if n == 0 {
            break;
        }
        hasher.update(&buffer[..n]);
        take(&buffer[..n])?;
    }
    match <[u8; 32]>::from(hasher.finalize()) == sha256.0 {
        true => Ok(()),
        false => Err(TreeError::Content(path.to_owned())),
    }
}
