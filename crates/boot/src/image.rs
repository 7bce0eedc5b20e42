//! Whether bytes are a program that can start where the map says (ST-6). Shared by host and chip, so
//! that the host refuses what the chip would never start.

use core::fmt;

use super::crc::Crc;
use super::map::{Map, WORD};
use super::record::Record;

/// Stack pointer and reset vector: the smallest program.
const LEAST: usize = 8;

/// A program for the application area, checked.
#[derive(Debug, Clone, Copy)]
pub struct Image<'a> {
    bytes: &'a [u8],
    vectors: Vectors,
}

impl<'a> Image<'a> {
    /// Looks at size and vectors. Bytes of erased flash have no vectors and are refused by that.
    ///
    /// # Errors
    /// Why it could never run.
    pub fn check(bytes: &'a [u8], map: &Map) -> Result<Self, Unfit> {
        let Some((head, _)) = bytes.split_first_chunk::<LEAST>() else {
            return Err(Unfit::Small);
        };
        let padded =
            u32::try_from(bytes.len()).ok().and_then(|size| size.checked_next_multiple_of(WORD));
        let size = padded.filter(|size| *size <= map.application.size).ok_or(Unfit::Large)?;
        let [a, b, c, d, e, f, g, h] = *head;
        let (stack, entry) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
        Ok(Self { bytes, vectors: Vectors::check(stack, entry, size, map)? })
    }

    /// Size in the flash: that of the bytes, padded to whole words.
    #[must_use]
    pub fn size(&self) -> u32 {
        // Checked to fit.
        (self.bytes.len() as u32).next_multiple_of(WORD)
    }

    /// What is put behind the bytes: as many of erased flash as make whole words.
    #[must_use]
    pub fn padding(&self) -> &'static [u8] {
        match self.bytes.len() % WORD as usize {
            1 => &[0xFF; 3],
            2 => &[0xFF; 2],
            3 => &[0xFF; 1],
            _ => &[],
        }
    }

    /// How it starts.
    #[must_use]
    pub const fn vectors(&self) -> Vectors {
        self.vectors
    }

    /// What orders the bootloader to copy it.
    #[must_use]
    pub fn record(&self) -> Record {
        let mut crc = Crc::new();
        crc.update(self.bytes);
        crc.update(self.padding());
        Record { size: self.size(), crc: crc.finish() }
    }
}

/// The first two words of a program, fit to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vectors {
    /// Where the stack begins; it grows down.
    pub stack: u32,
    /// First instruction; the lowest bit is set, for Thumb.
    pub entry: u32,
}

impl Vectors {
    /// Takes the first two words of a program of `size` bytes at the application's place. The stack
    /// need not lie on 8 bytes: the vendor's own linker script puts it at 0x2001FFFC.
    ///
    /// # Errors
    /// Which of them can't be.
    pub fn check(stack: u32, entry: u32, size: u32, map: &Map) -> Result<Self, Unfit> {
        let is_in_ram = map.ram.iter().any(|ram| ram.holds_stack(stack));
        if !is_in_ram || !stack.is_multiple_of(WORD) {
            return Err(Unfit::Stack(stack));
        }
        let is_inside = entry.wrapping_sub(map.application.address) < size;
        if !is_inside || entry & 1 == 0 {
            return Err(Unfit::Entry(entry));
        }
        Ok(Self { stack, entry })
    }

    /// Whether the vendor's bootloader would start it: its mask refuses a stack that begins at the
    /// very end of the memory, or in CCM, and waits then for ever.
    #[must_use]
    pub const fn starts_in_vendors(&self) -> bool {
        self.stack & 0x2FFE_0000 == 0x2000_0000
    }
}

/// Why bytes are no program for the application area.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// Less than two words.
    Small,
    /// Larger than the application area.
    Large,
    /// The first word is no stack in the chip's memory.
    Stack(u32),
    /// The second word is no Thumb instruction within the program.
    Entry(u32),
}

impl fmt::Display for Unfit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Small => {
                formatter.write_str("it is smaller than a stack pointer and a reset vector")
            }
            Self::Large => {
                formatter.write_str("it is larger than the application's place in the flash")
            }
            Self::Stack(word) => {
                write!(formatter, "its first word, {word:#010x}, is no stack in the chip's memory")
            }
            Self::Entry(word) => write!(
                formatter,
                "its second word, {word:#010x}, is no reset vector within a program at the application's place"
            ),
        }
    }
}

impl core::error::Error for Unfit {}
