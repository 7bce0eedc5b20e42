//! A microcontroller beside this computer, as it was agreed on at the word to install: where it is
//! reached, how it is restarted, and what starts its program.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::terms::milliseconds;

/// An STM32F4 on a serial port.
///
/// | field | meaning |
/// |---|---|
/// | `port` | the device of its UART |
/// | `baud` | its rate, 1200 to 115200 |
/// | `device` | what its loader says that it is |
/// | `scheme` | what starts its program |
/// | `entry` | what chooses between loader and program, and resets |
/// | `copy_deadline` | milliseconds after a reset within which its bootloader has copied a program |
/// | `kept` | the directory of this computer with the programs that were there |
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the table above")]
pub struct Board {
    pub port: PathBuf,
    pub baud: u32,
    #[serde(default = "default_device")]
    pub device: u16,
    pub scheme: Scheme,
    pub entry: Entry,
    #[serde(with = "milliseconds")]
    pub copy_deadline: Duration,
    pub kept: PathBuf,
}

/// What the loader of an STM32F405 or F407 says that it is.
pub const BOARD_DEVICE: u16 = 0x413;

const fn default_device() -> u16 {
    BOARD_DEVICE
}

/// Exit code by which the work on a board says that the chip's program is what it was.
pub const BOARD_UNCHANGED: u8 = 10;

/// What starts the program of a microcontroller, and so where a new one is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    /// Our bootloader copies it from the store, and proves it.
    Uplift,
    /// The vendor's bootloader copies it from the store.
    Vendor,
    /// No bootloader: the program is written to where it runs, at the beginning of the flash.
    Direct,
}

/// How a microcontroller is brought into its loader, and back to its program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Entry {
    /// A program and its arguments, started without a shell; `loader` or `run` is added to them.
    Command(Vec<String>),
    /// Two outputs of the serial port itself.
    Modem {
        /// What is wired to BOOT0.
        boot0: Pin<ModemLine>,
        /// What is wired to NRST.
        reset: Pin<ModemLine>,
    },
    /// Two outputs of this computer.
    Gpio {
        /// The character device of their chip, such as `/dev/gpiochip0`.
        chip: PathBuf,
        /// What is wired to BOOT0.
        boot0: Pin<GpioLine>,
        /// What is wired to NRST.
        reset: Pin<GpioLine>,
    },
}

/// Which output is wired to a pin of the chip, such as `"rts"` or `"17"`, with a `!` before it where the
/// pin is active while the output is not: NRST is active when it is low.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pin<L> {
    /// The output.
    pub line: L,
    /// Whether the pin is active while the output is not.
    pub inverted: bool,
}

/// An output of a serial port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModemLine {
    /// Request to send.
    Rts,
    /// Data terminal ready.
    Dtr,
}

/// The number of an output among those of its chip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GpioLine(pub u32);

impl fmt::Display for GpioLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for GpioLine {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            |_| format!("{text:?} is no output of a chip: expected its number, such as \"17\"");
        text.parse().map(Self).map_err(wrong)
    }
}

impl fmt::Display for ModemLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rts => "rts",
            Self::Dtr => "dtr",
        })
    }
}

impl std::str::FromStr for ModemLine {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "rts" => Ok(Self::Rts),
            "dtr" => Ok(Self::Dtr),
            _ => {
                Err(format!("{text:?} is no output of a serial port: expected \"rts\" or \"dtr\""))
            }
        }
    }
}

impl<L> Pin<L> {
    /// What the output must be for the pin to be active or not.
    pub const fn level(&self, active: bool) -> bool {
        active != self.inverted
    }
}

impl<L: fmt::Display> Serialize for Pin<L> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let sign = if self.inverted { "!" } else { "" };
        serializer.collect_str(&format_args!("{sign}{}", self.line))
    }
}

impl<'de, L: std::str::FromStr<Err = String>> Deserialize<'de> for Pin<L> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let line = text.strip_prefix('!');
        let inverted = line.is_some();
        let line = line.unwrap_or(&text).parse().map_err(D::Error::custom)?;
        Ok(Self { line, inverted })
    }
}
