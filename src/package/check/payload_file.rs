//! The payload of a checked file, for a component that hands it to somebody else: no byte of a seal
//! is in what is read of it.

use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;

use crate::model::PackageSummary;
use crate::stage::Staged;

/// A payload without its seal, open for reading from its beginning. Dropped, it is removed from the
/// staging area.
#[derive(Debug)]
pub struct PayloadFile {
    staged: Staged,
    size: u64,
    position: u64,
    summary: PackageSummary,
}

impl PayloadFile {
    pub(super) fn new(staged: Staged, size: u64, summary: PackageSummary) -> Self {
        Self { staged, size, position: 0, summary }
    }

    /// Its size in bytes.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// What the file was; its program digest is the payload's SHA-256.
    pub const fn summary(&self) -> &PackageSummary {
        &self.summary
    }
}

impl Read for PayloadFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.size - self.position).unwrap_or(usize::MAX);
        let length = buffer.len().min(left);
        let n = self.staged.file().read_at(&mut buffer[..length], self.position)?;
        self.position += n as u64;
        Ok(n)
    }
}
