//! The words of ST's loader on a UART (AN3155): what is sent, byte by byte, and what an answer of
//! one byte means. Pure.
//!
//! The codes that are not here can't be sent (ST-4): mass erase, write and read-out protection, and
//! their removal, which erases the whole flash.

use super::layout::{Address, BLOCK, Place, Sector};

/// What a fresh loader measures the rate by.
pub(super) const HELLO: u8 = 0x7F;

/// A command that is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    /// Which commands there are.
    Get,
    /// What chip it is.
    GetId,
    /// Bytes at an address.
    Read,
    /// Bytes to an address.
    Write,
    /// Sectors, by their numbers.
    Erase,
}

impl Command {
    /// Those that an upgrade can't do without (ST-3).
    pub(super) const NEEDED: [Self; 3] = [Self::Read, Self::Write, Self::Erase];

    pub(super) const fn code(self) -> u8 {
        match self {
            Self::Get => 0x00,
            Self::GetId => 0x02,
            Self::Read => 0x11,
            Self::Write => 0x31,
            Self::Erase => 0x44,
        }
    }

    /// The code, and what checks it.
    pub(super) const fn bytes(self) -> [u8; 2] {
        [self.code(), !self.code()]
    }
}

/// What the loader says to a part of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// It was taken.
    Ack,
    /// It was not.
    Nack,
    /// It is worked on.
    Busy,
}

impl Answer {
    /// What a byte means, if anything.
    pub(super) const fn parse(byte: u8) -> Option<Self> {
        match byte {
            0x79 => Some(Self::Ack),
            0x1F => Some(Self::Nack),
            0x76 => Some(Self::Busy),
            _ => None,
        }
    }
}

/// An address, most significant byte first, and what checks it.
pub(super) fn address(address: Address) -> Vec<u8> {
    checked(address.get().to_be_bytes().to_vec())
}

/// How many bytes are read; one block at most.
pub(super) fn length(length: usize) -> Option<[u8; 2]> {
    let less_one = u8::try_from(length.checked_sub(1)?).ok()?;
    Some([less_one, !less_one])
}

/// Bytes that are written: their number less one, themselves, and what checks both.
pub(super) fn block(place: Place, bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
    debug_assert!(bytes.len() <= BLOCK);
    let mut block = Vec::with_capacity(BLOCK + 2);
    block.push((bytes.len().max(1) - 1) as u8);
    block.extend(bytes);
    (address(place.address()), checked(block))
}

/// A sector that is erased: their number less one, and its own.
pub(super) fn erasure(sector: Sector) -> Vec<u8> {
    checked(vec![0, 0, 0, sector.get()])
}

fn checked(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.push(bytes.iter().fold(0, |sum, byte| sum ^ byte));
    bytes
}

#[cfg(test)]
mod tests {
    use super::super::layout::Layout;
    use super::*;
    use crate::model::Scheme;

    const ALL: [Command; 5] =
        [Command::Get, Command::GetId, Command::Read, Command::Write, Command::Erase];

    /// ST-4: what erases or locks the whole chip has no code, and no sectors mean all of them.
    #[test]
    fn nothing_that_could_lock_or_erase_the_chip_can_be_said() {
        for command in ALL {
            assert!(![0x63, 0x73, 0x82, 0x92, 0x43, 0x21].contains(&command.code()), "{command:?}");
        }
        let layout = Layout::of(Scheme::Direct);
        for sector in (0..=u8::MAX).filter_map(|number| layout.sector(number)) {
            assert!(erasure(sector)[..2] == [0, 0], "{sector:?}");
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_application_note() {
        let layout = Layout::of(Scheme::Uplift);
        assert_eq!(Command::Write.bytes(), [0x31, 0xCE]);
        let place = layout.place(0x0808_0000, 4).unwrap();
        let (address, data) = block(place, &[1, 2, 4, 8]);
        assert_eq!(address, [0x08, 0x08, 0x00, 0x00, 0x00]);
        assert_eq!(data, [3, 1, 2, 4, 8, 0x0C]);
        assert_eq!(erasure(layout.sector(8).unwrap()), [0, 0, 0, 8, 8]);
        assert_eq!(length(256), Some([0xFF, 0x00]));
        assert_eq!((length(0), length(257)), (None, None));
    }

    #[test]
    fn an_answer_is_one_of_three_bytes() {
        let known = (0..=u8::MAX).filter(|byte| Answer::parse(*byte).is_some());
        assert_eq!(known.collect::<Vec<_>>(), [0x1F, 0x76, 0x79]);
    }
}
