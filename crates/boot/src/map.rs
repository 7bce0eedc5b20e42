//! Where things lie in the flash. Knows nothing of what is in them.

/// Bytes of a word; whatever is programmed or read is one.
pub(crate) const WORD: u32 = 4;

/// The layout of a chip's flash and memory. All addresses are absolute, all sizes bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Map {
    /// Begins with the record of an upgrade; its sectors hold nothing that outlives one.
    pub record: Area,
    /// The program that runs; its vector table comes first.
    pub application: Area,
    /// Where the host puts the next program.
    pub store: Area,
    /// Where [`FileInfo`](super::FileInfo) lies, behind all that a program may take of the store.
    pub file_info: u32,
    /// Where a program may have its stack.
    pub ram: [Ram; 2],
}

impl Map {
    /// The map of the vendor's STM32F4 sample, on an F405 or F407 with 1 MiB. A host of a chip
    /// without a bootloader checks images against it with the whole flash as `application`.
    pub const SEED: Self = Self {
        record: Area { address: 0x0800_8000, size: 0x8000, first_sector: 2, sectors: 2 },
        application: Area { address: 0x0801_0000, size: 0x7_0000, first_sector: 4, sectors: 4 },
        store: Area { address: 0x0808_0000, size: 0x8_0000, first_sector: 8, sectors: 4 },
        file_info: 0x080F_FC00,
        ram: [
            Ram { address: 0x2000_0000, size: 0x2_0000 },
            Ram { address: 0x1000_0000, size: 0x1_0000 }, // CCM
        ],
    };
}

/// Sectors in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Area {
    /// Of its first byte.
    pub address: u32,
    /// In bytes, all sectors together.
    pub size: u32,
    /// Number of its first sector.
    pub first_sector: u8,
    /// How many there are.
    pub sectors: u8,
}

impl Area {
    /// The numbers of its sectors.
    pub fn sectors(&self) -> impl Iterator<Item = u8> + use<> {
        self.first_sector..self.first_sector.saturating_add(self.sectors)
    }
}

/// Memory in which a stack may lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ram {
    /// Of its first byte.
    pub address: u32,
    /// In bytes.
    pub size: u32,
}

impl Ram {
    /// Whether a stack that begins here, and grows down, begins in this memory.
    pub(crate) const fn holds_stack(self, top: u32) -> bool {
        top > self.address && top.wrapping_sub(self.address) <= self.size
    }
}
