//! The record of an upgrade: the host's order to copy, and the bootloader's word that it did
//! (ST-16). Its first two words are those of the vendor's bootloader.

use super::map::Map;

const KEY: u32 = 0x1122_3344;
/// The vendor's word for an upgrade that is ready to be copied.
const READY: u32 = 1;
/// Above the count of zeros.
const MARK: u32 = 0x5550_4C00;
/// Two vectors.
const LEAST: u32 = 8;

/// A program in the store that is to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// In bytes, a multiple of 4.
    pub size: u32,
    /// CRC-32 (IEEE) of so many bytes.
    pub crc: u32,
}

impl Record {
    /// Words of a record, with that which the bootloader writes.
    pub const WORDS: usize = 6;
    /// Where the host begins to write: behind the key.
    pub const BODY_OFFSET: u32 = 4;
    /// Where the bootloader writes 0 when the program is copied and proved.
    pub const COPIED_OFFSET: u32 = 20;

    /// What the host writes at [`Self::BODY_OFFSET`], before the key.
    #[must_use]
    pub fn body(&self) -> [u8; 16] {
        let words = [READY, self.size, self.crc, self.mark()];
        let mut bytes = [0; 16];
        for (to, word) in bytes.chunks_exact_mut(4).zip(words) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// What the host writes at the record's beginning, last of all: with it, the order stands.
    #[must_use]
    pub const fn key() -> [u8; 4] {
        KEY.to_le_bytes()
    }

    /// The end mark counts the zeros of size and CRC. An erase that is cut short only sets bits: it
    /// makes the zeros fewer and the count no smaller, so that what it leaves of a record is never
    /// taken for another one.
    const fn mark(&self) -> u32 {
        MARK | (self.size.count_zeros() + self.crc.count_zeros())
    }
}

/// What the record's place says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Nothing that is whole.
    None,
    /// The store is to be copied.
    Pending(Record),
    /// It was copied, and read back.
    Copied(Record),
}

impl Order {
    /// Reads the words at the record's beginning.
    #[must_use]
    pub const fn parse(words: [u32; Record::WORDS], map: &Map) -> Self {
        let [key, state, size, crc, mark, copied] = words;
        let record = Record { size, crc };
        let is_whole = key == KEY && state == READY && mark == record.mark();
        if !is_whole || size < LEAST || size % 4 != 0 || size > map.application.size {
            return Self::None;
        }
        // A word that was torn when it was written says that the copy is there, and proves nothing.
        if copied == 0 { Self::Copied(record) } else { Self::Pending(record) }
    }

    /// As [`Self::parse`], from the bytes that a host read.
    #[must_use]
    pub fn parse_bytes(bytes: &[u8; Record::WORDS * 4], map: &Map) -> Self {
        let mut words = [0; Record::WORDS];
        for (word, from) in words.iter_mut().zip(bytes.as_chunks::<4>().0) {
            *word = u32::from_le_bytes(*from);
        }
        Self::parse(words, map)
    }
}

/// What the vendor's bootloader reads at [`Map::file_info`]: how many bytes it has to copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileInfo {
    /// In bytes, a multiple of 4.
    pub size: u32,
}

impl FileInfo {
    /// Bytes of the name, with the 0 that ends it.
    const NAME: usize = 256;
    /// Bytes in the flash.
    pub const SIZE: usize = 4 + Self::NAME;

    /// The bytes that the host writes, with the name of the file; of a name that is too long, the
    /// beginning.
    #[must_use]
    pub fn bytes(&self, name: &[u8]) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        let words = self.size.to_le_bytes();
        let name = name.iter().take(Self::NAME - 1);
        for (to, from) in bytes.iter_mut().zip(words.iter().chain(name)) {
            *to = *from;
        }
        bytes
    }
}
