//! What the core asks of a flash. Knows nothing of any chip.

use core::fmt;

use super::crc::Crc;
use super::map::WORD;

/// A NOR flash: programming only clears bits, and only erasing a sector sets them.
pub trait Flash {
    /// The word at an absolute address, little endian.
    ///
    /// # Errors
    /// It can't be read.
    fn read(&mut self, address: u32) -> Result<u32, Failed>;

    /// Clears the bits of the word at this address that are clear in `word`.
    ///
    /// # Errors
    /// The flash says that it failed; what the word holds then is unknown.
    fn program(&mut self, address: u32, word: u32) -> Result<(), Failed>;

    /// Sets all bits of a sector.
    ///
    /// # Errors
    /// The flash says that it failed; what the sector holds then is unknown.
    fn erase(&mut self, sector: u8) -> Result<(), Failed>;

    /// CRC-32 (IEEE) of `size` bytes, a multiple of 4. A chip whose own unit is faster replaces it.
    ///
    /// # Errors
    /// They can't be read.
    fn crc(&mut self, address: u32, size: u32) -> Result<u32, Failed> {
        let mut crc = Crc::new();
        let mut offset = 0;
        while offset < size {
            crc.update(&self.read(address.wrapping_add(offset))?.to_le_bytes());
            offset = offset.wrapping_add(WORD);
        }
        Ok(crc.finish())
    }
}

/// A flash operation did not do what it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failed;

impl fmt::Display for Failed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a flash operation failed")
    }
}

impl core::error::Error for Failed {}
