//! The old program, of which a part at a time is in memory.

use std::fs::File;
use std::io;

use crate::DeltaError;
use crate::field::{MARGIN, Sense};

/// Bytes of the old program that are read at once.
const CHUNK: usize = 32768;

/// An old program that is read here and there.
pub trait Base {
    /// Fills the buffer with its bytes from `at` on.
    fn read_exact_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()>;
}

impl<B: Base + ?Sized> Base for &B {
    fn read_exact_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        (**self).read_exact_at(buffer, at)
    }
}

impl Base for File {
    fn read_exact_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(self, buffer, at)
    }
}

impl Base for [u8] {
    fn read_exact_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        let from = usize::try_from(at).ok().and_then(|at| self.get(at..));
        let bytes = from.and_then(|from| from.get(..buffer.len()));
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// A part of the old program, with margins.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) bytes: Vec<u8>,
    /// Where fields may stand.
    marks: Vec<u8>,
    sense: Sense,
    /// Where it begins and ends.
    from: u64,
    pub(crate) to: u64,
}

impl Chunk {
    pub(crate) fn new(sense: Sense) -> Self {
        let (bytes, marks) = (vec![0; CHUNK + 2 * MARGIN], vec![0; CHUNK]);
        Self { bytes, marks, sense, from: 0, to: 0 }
    }

    /// The bytes in it from an index on.
    pub(crate) fn rest(&self, index: usize, at: u64) -> &[u8] {
        &self.bytes[index..index + (self.to - at) as usize]
    }

    /// The next place is read anew, as far as its end says.
    pub(crate) const fn forget(&mut self) {
        self.to = 0;
    }

    /// Where in the chunk a place of the old program is; it is read where it is not there.
    #[inline]
    pub(crate) fn index<B: Base + ?Sized>(
        &mut self,
        at: u64,
        end: u64,
        base: &B,
        base_size: u64,
    ) -> Result<usize, DeltaError> {
        if !(self.from..self.to).contains(&at) {
            self.load(at, end, base, base_size)?;
        }
        Ok(MARGIN + (at - self.from) as usize)
    }

    /// Reads from there on, not beyond `end` but for the margin; outside of the program are zeros.
    fn load<B: Base + ?Sized>(
        &mut self,
        at: u64,
        end: u64,
        base: &B,
        base_size: u64,
    ) -> Result<(), DeltaError> {
        (self.from, self.to) = (at, end.min(at + CHUNK as u64));
        let margin = MARGIN as u64;
        let (first, last) = (at.saturating_sub(margin), (self.to + margin).min(base_size));
        let skipped = MARGIN - (at - first) as usize;
        let there = skipped + (last - first) as usize;
        self.bytes[..skipped].fill(0);
        base.read_exact_at(&mut self.bytes[skipped..there], first).map_err(DeltaError::Base)?;
        let length = (self.to - at) as usize;
        self.bytes[there..(length + 2 * MARGIN).max(there)].fill(0);
        self.sense.mark(&self.bytes, at, &mut self.marks[..length]);
        Ok(())
    }

    /// Whether a field may stand there.
    #[inline]
    pub(crate) fn is_marked(&self, index: usize) -> bool {
        self.marks[index - MARGIN] != 0
    }

    /// How many bytes from there on can be no fields.
    #[inline]
    pub(crate) fn plain(&self, index: usize) -> usize {
        let marks = &self.marks[index - MARGIN..(self.to - self.from) as usize];
        let (words, rest) = marks.as_chunks();
        let is_marked = |word: &[u8; 8]| u64::from_le_bytes(*word) != 0;
        let whole = words.iter().position(is_marked);
        let last = whole.map_or(rest, |word| &words[word]);
        let before = 8 * whole.unwrap_or(words.len());
        before + last.iter().position(|mark| *mark != 0).unwrap_or(last.len())
    }

    #[inline]
    pub(crate) fn around(&self, index: usize) -> &[u8; 2 * MARGIN] {
        const NOTHING: [u8; 2 * MARGIN] = [0; 2 * MARGIN];
        self.bytes[index - MARGIN..].first_chunk().unwrap_or(&NOTHING)
    }
}
