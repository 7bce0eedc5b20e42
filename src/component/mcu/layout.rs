//! What of a chip may be touched: its sectors and addresses, as types that can't be made otherwise
//! (ST-5). Nothing below the first sector of a layout is ever read, erased or written.

use uplift_boot::Map;

use crate::model::Scheme;
use crate::package::stm32;

/// The end of the flash of a chip with 1 MiB.
const END: u32 = 0x0810_0000;
/// Most bytes of one read or write.
pub(super) const BLOCK: usize = 256;

/// What of the chip may be touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    /// Where the program, and the store, are.
    pub(super) map: Map,
    first_sector: u8,
    floor: u32,
}

/// An address that may be read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Address(u32);

/// A place of the flash that may be written: of whole words, and of one block at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place(Address);

/// A sector that may be erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sector(u8);

impl Layout {
    /// What a scheme may touch: where a bootloader is, everything but that.
    pub(super) const fn of(scheme: Scheme) -> Self {
        let (first_sector, floor) = match scheme {
            Scheme::Uplift | Scheme::Vendor => (2, 0x0800_8000),
            Scheme::Direct => (0, 0x0800_0000),
        };
        Self { map: stm32::map(scheme), first_sector, floor }
    }

    /// An address that is read from, of the flash or the system's memory behind it.
    pub(super) const fn address(&self, address: u32) -> Option<Address> {
        if address >= self.floor { Some(Address(address)) } else { None }
    }

    /// A place that so many bytes are written to.
    pub(super) fn place(&self, address: u32, length: usize) -> Option<Place> {
        let end = u32::try_from(length).ok().and_then(|length| address.checked_add(length))?;
        let is_block =
            length > 0 && length <= BLOCK && length.is_multiple_of(4) && address.is_multiple_of(4);
        self.address(address).filter(|_| is_block && end <= END).map(Place)
    }

    /// A sector that is erased.
    pub(super) const fn sector(&self, number: u8) -> Option<Sector> {
        if number >= self.first_sector && number < 12 { Some(Sector(number)) } else { None }
    }
}

impl Address {
    pub(super) const fn get(self) -> u32 {
        self.0
    }
}

impl Place {
    pub(super) const fn address(self) -> Address {
        self.0
    }
}

impl Sector {
    pub(super) const fn get(self) -> u8 {
        self.0
    }
}

/// Address and size of each sector of the flash, by its number.
pub(super) const SECTORS: [(u32, u32); 12] = {
    let mut sectors = [(0, 0); 12];
    let (mut number, mut address) = (0, 0x0800_0000);
    while number < 12 {
        let size = match number {
            0..=3 => 16 << 10,
            4 => 64 << 10,
            _ => 128 << 10,
        };
        sectors[number] = (address, size);
        address += size;
        number += 1;
    }
    sectors
};

#[cfg(test)]
mod tests {
    use super::*;

    /// ST-5.
    #[test]
    fn nothing_of_a_bootloader_can_be_named() {
        for scheme in [Scheme::Uplift, Scheme::Vendor] {
            let layout = Layout::of(scheme);
            for address in [0, 0x0800_0000, 0x0800_7FFC, 0x0800_7FFF] {
                assert_eq!(layout.address(address), None);
                assert_eq!(layout.place(address, 4), None);
            }
            assert!(layout.place(0x0800_8000, 4).is_some());
            let sectors = (0..=u8::MAX).filter(|number| layout.sector(*number).is_some());
            assert_eq!(sectors.collect::<Vec<_>>(), (2..=11).collect::<Vec<_>>());
        }
        assert!(Layout::of(Scheme::Direct).place(0x0800_0000, BLOCK).is_some());
    }

    #[test]
    fn what_is_written_is_whole_words_in_a_block_of_the_flash() {
        let layout = Layout::of(Scheme::Uplift);
        let wrong = [(0x0808_0000, 0), (0x0808_0000, 260), (0x0808_0000, 3), (0x0808_0002, 4)];
        for (address, length) in wrong.into_iter().chain([(0x0810_0000, 4), (0x080F_FFFC, 8)]) {
            assert_eq!(layout.place(address, length), None, "{address:#x} {length}");
        }
        assert_eq!(layout.place(u32::MAX - 3, 8), None);
        assert!(layout.place(0x080F_FF00, BLOCK).is_some());
    }

    #[test]
    fn the_sectors_are_those_of_the_data_sheet() {
        assert_eq!(SECTORS[2], (0x0800_8000, 16 << 10));
        assert_eq!(SECTORS[4], (0x0801_0000, 64 << 10));
        assert_eq!(SECTORS[8], (0x0808_0000, 128 << 10));
        assert_eq!(SECTORS[11].0 + SECTORS[11].1, END);
    }
}
