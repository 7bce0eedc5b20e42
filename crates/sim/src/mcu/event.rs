//! What happened at the simulated chip, in a form that stays: its JSON is what scripts read.

use std::fmt;

use serde::Serialize;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The chip was reset.
    Reset {
        /// Whether into the loader.
        boot0: bool,
    },
    /// The loader heard the first 0x7F.
    Woken,
    /// The loader erased these sectors, or said so.
    Erased {
        /// Their numbers.
        sectors: Vec<u8>,
    },
    /// The loader wrote a block, or said so.
    Wrote {
        /// Its first byte.
        address: u32,
        /// Bytes.
        size: usize,
    },
    /// The loader gave bytes out.
    Read {
        /// The first.
        address: u32,
        /// How many.
        size: usize,
    },
    /// The loader said no.
    Refused {
        /// To which command.
        command: u8,
        /// Why.
        why: &'static str,
    },
    /// The loader was told to erase everything.
    MassErase,
    /// The loader was told to change the protection of the flash.
    Protection {
        /// By which command.
        command: u8,
    },
    /// The power failed, or NRST came, in the middle.
    Cut {
        /// Flash operations before.
        operations: u64,
    },
    /// The bootloader is done.
    Booted {
        /// What it does then.
        start: Start,
        /// Flash operations that it needed.
        operations: u64,
    },
    /// A program was started.
    Started {
        /// Its vector table.
        address: u32,
        /// Bytes, up to the last that is not erased, in whole words.
        size: usize,
        /// CRC-32 (IEEE) of them.
        crc: u32,
        /// SHA-256 of them, in hexadecimal.
        sha256: String,
    },
}

/// What a bootloader does in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// It starts the application.
    Runs,
    /// There is nothing to start.
    Empty,
    /// A flash operation failed.
    Failed,
    /// The application is not the one that was copied.
    Wrong,
}

impl fmt::Display for Event {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reset { boot0 } => {
                write!(
                    formatter,
                    "reset, into the {}",
                    if *boot0 { "loader" } else { "bootloader" }
                )
            }
            Self::Woken => formatter.write_str("the loader is spoken to"),
            Self::Erased { sectors } => write!(formatter, "sectors erased: {sectors:?}"),
            Self::Wrote { address, size } => {
                write!(formatter, "{size} bytes written at {address:#010x}")
            }
            Self::Read { address, size } => {
                write!(formatter, "{size} bytes read at {address:#010x}")
            }
            Self::Refused { command, why } => {
                write!(formatter, "command {command:#04x} refused: {why}")
            }
            Self::MassErase => formatter.write_str("THE WHOLE FLASH IS ERASED"),
            Self::Protection { command } => {
                write!(formatter, "THE PROTECTION IS CHANGED by command {command:#04x}")
            }
            Self::Cut { operations } => {
                write!(formatter, "cut short after {operations} flash operations")
            }
            Self::Booted { start, operations } => {
                write!(formatter, "the bootloader {start}; flash operations: {operations}")
            }
            Self::Started { address, size, crc, sha256 } => write!(
                formatter,
                "started at {address:#010x}: {size} bytes, CRC-32 {crc:08x}, SHA-256 {sha256}"
            ),
        }
    }
}

impl fmt::Display for Start {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Runs => "starts the application",
            Self::Empty => "waits: there is no program",
            Self::Failed => "waits: a flash operation failed",
            Self::Wrong => "waits: the application is not the one that was copied",
        })
    }
}
