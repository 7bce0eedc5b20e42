//! The new program, of which the last bytes are in memory: a window.

use std::io::Write;

use crate::DeltaError;

/// Bytes that are written at once.
const BLOCK: u64 = 64 * 1024;

/// The new program so far.
#[derive(Debug)]
pub(crate) struct Made<W> {
    ring: Vec<u8>,
    mask: u64,
    pub(crate) at: u64,
    block: u64,
    output: W,
}

impl<W: Write> Made<W> {
    /// With a window of so many bytes, a power of two.
    pub(crate) fn new(window: u64, output: W) -> Self {
        let ring = vec![0; usize::try_from(window).unwrap_or_default()];
        Self { ring, mask: window - 1, at: 0, block: BLOCK.min(window), output }
    }

    pub(crate) const fn window(&self) -> u64 {
        self.mask + 1
    }

    /// The byte that many bytes before the next one; 0 before the first one.
    #[inline]
    pub(crate) fn back(&self, distance: u64) -> u8 {
        self.ring[(self.at.wrapping_sub(distance) & self.mask) as usize]
    }

    #[inline]
    pub(crate) fn push(&mut self, byte: u8) -> Result<(), DeltaError> {
        self.ring[(self.at & self.mask) as usize] = byte;
        self.at += 1;
        match self.at & (self.block - 1) {
            0 => self.pass_on(self.block),
            _ => Ok(()),
        }
    }

    pub(crate) fn extend(&mut self, mut bytes: &[u8]) -> Result<(), DeltaError> {
        while !bytes.is_empty() {
            let room = (self.block - (self.at & (self.block - 1))) as usize;
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            let at = (self.at & self.mask) as usize;
            self.ring[at..at + now.len()].copy_from_slice(now);
            self.at += now.len() as u64;
            if now.len() == room {
                self.pass_on(self.block)?;
            }
            bytes = later;
        }
        Ok(())
    }

    /// Writes the last bytes, which lie in one block.
    fn pass_on(&mut self, count: u64) -> Result<(), DeltaError> {
        let from = (self.at.wrapping_sub(count) & self.mask) as usize;
        let bytes = &self.ring[from..from + count as usize];
        self.output.write_all(bytes).map_err(DeltaError::Output)
    }

    pub(crate) fn finish(&mut self) -> Result<(), DeltaError> {
        self.pass_on(self.at & (self.block - 1))?;
        self.output.flush().map_err(DeltaError::Output)
    }
}
