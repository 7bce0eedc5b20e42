//! What a simulated chip is like.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;

/// What a chip is like; each field is a scenario.
#[derive(Debug, Clone)]
pub struct Options {
    /// What is in its flash at first, from 0x08000000 on; the rest is erased. A file that is there
    /// already counts instead.
    pub content: Vec<(u32, Vec<u8>)>,
    /// Where the flash is kept, 1 MiB; each operation is written there at once.
    pub file: Option<PathBuf>,
    /// A socket that takes commands (`reset 0`, `cut 100`, …).
    pub control: Option<PathBuf>,
    /// What runs when BOOT0 is 0.
    pub bootloader: Bootloader,
    /// What the application does with the record when it starts.
    pub application: Application,
    /// Holds the pace of a line of so many bits a second, with parity: eleven bits a byte.
    pub baud: Option<u32>,
    /// The flash's typical times are multiplied by it; 0: it takes none.
    pub times: f64,
    /// The number that the loader gives of the chip.
    pub device: u16,
    /// Size of the flash in KiB as system memory tells it.
    pub kib: u16,
    /// Read-out protection: nothing can be read, written or erased.
    pub is_read_protected: bool,
    /// Sectors whose erase and programming the loader acknowledges and does not do.
    pub write_protected: Vec<u8>,
    /// What goes wrong.
    pub faults: Vec<Fault>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            content: Vec::new(),
            file: None,
            control: None,
            bootloader: Bootloader::Uplift,
            application: Application::Leaves,
            baud: None,
            times: 0.0,
            device: 0x413,
            kib: 1024,
            is_read_protected: false,
            write_protected: Vec::new(),
            faults: Vec::new(),
        }
    }
}

/// What runs in the first sectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Bootloader {
    /// The core of crates/boot.
    Uplift,
    /// What the vendor's sample does, with its traps.
    Vendor,
    /// None: the application's map is the whole flash.
    None,
}

/// What the application does with the record when it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Application {
    /// Nothing.
    Leaves,
    /// It erases it, as the vendor's does.
    Clears,
}

/// Something that goes wrong. Counts begin with 1 and go on over resets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The loader never answers.
    Deaf,
    /// The N-th block that is written is refused once.
    RefusedBlock(u64),
    /// The N-th block is written, and its acknowledgement gets lost.
    LostAck(u64),
    /// A bit of the N-th byte from the computer is turned over.
    Garbled(u64),
    /// A bit of the N-th block that is read is turned over.
    GarbledRead(u64),
    /// This bit of the byte at this address is never cleared.
    Stuck(u32, u8),
    /// Each erase by the loader takes so long.
    SlowErase(Duration),
    /// The chip resets by itself when so many blocks have been written.
    ResetAfter(u64),
}

/// What an operation that was cut short leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Tear {
    /// Nothing of it was done.
    Nothing,
    /// All of it was done.
    All,
    /// One half of the bytes is as it should be.
    Half,
    /// Any of the bits that change.
    Random,
}
