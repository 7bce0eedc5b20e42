//! Whether bytes are a program for an STM32F4 that what starts it would start (ST-6).
//!
//! Knows no serial line, and nothing of the chip but its map.

use uplift_boot::{Area, Image, Map, Unfit};

use crate::model::Scheme;
use crate::model::version::Version;

/// Largest program: the whole flash of a chip.
pub(crate) const LARGEST: u64 = 1 << 20;
/// Bytes of a version in a program: `V02.00.00.00`.
const VERSION: usize = 12;

/// Why bytes are no such program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the text of each is its documentation")]
pub enum ImageError {
    #[error("the file is no program for the microcontroller: {0}")]
    Unfit(Unfit),
    #[error(
        "the program's first word is {0:#010x}, and the vendor's bootloader would copy it and never start it"
    )]
    NeverStarted(u32),
    #[error("the program has no version at {0:#x}, where `version_at` says that it stands")]
    NoVersion(u32),
}

impl ImageError {
    /// What a person can do about it.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Unfit(Unfit::Small | Unfit::Large) => {
                "send the raw binary (`objcopy -O binary`) of the program, at most as large as its place in the flash"
            }
            Self::Unfit(Unfit::Stack(_)) => {
                "send the raw binary (`objcopy -O binary`) whose vector table comes first, not an ELF or hex file"
            }
            Self::Unfit(Unfit::Entry(_)) => {
                "link the program for the application's address in the flash, which is 0x08010000 behind a bootloader"
            }
            Self::NoVersion(_) => {
                "put the text, such as V02.00.00.00, there with a section of the linker script, or take `version_at` out of the configuration"
            }
            Self::NeverStarted(_) => {
                "let the stack begin below the end of the memory (`_estack = ORIGIN(RAM) + LENGTH(RAM) - 4`), or use uplift's bootloader"
            }
        }
    }
}

/// The version that stands in a program at this place.
pub fn version(program: &[u8], at: u32) -> Result<Version, ImageError> {
    let text = usize::try_from(at).ok().and_then(|at| program.get(at..at.checked_add(VERSION)?));
    let text = text.and_then(|text| std::str::from_utf8(text).ok());
    text.and_then(|text| text.parse().ok()).ok_or(ImageError::NoVersion(at))
}

/// Looks at size and vectors.
pub fn check(bytes: &[u8], scheme: Scheme) -> Result<Image<'_>, ImageError> {
    let image = Image::check(bytes, &map(scheme)).map_err(ImageError::Unfit)?;
    let vectors = image.vectors();
    if scheme == Scheme::Vendor && !vectors.starts_in_vendors() {
        return Err(ImageError::NeverStarted(vectors.stack));
    }
    Ok(image)
}

/// Where a program runs.
pub(crate) const fn map(scheme: Scheme) -> Map {
    match scheme {
        Scheme::Uplift | Scheme::Vendor => Map::SEED,
        Scheme::Direct => {
            let application =
                Area { address: 0x0800_0000, size: 0x10_0000, first_sector: 0, sectors: 12 };
            Map { application, ..Map::SEED }
        }
    }
}
