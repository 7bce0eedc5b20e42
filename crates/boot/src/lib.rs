//! The core of a bootloader for a microcontroller whose flash is erased by sectors: it copies a new
//! program from a store to where it runs, so that a power cut at any instant leaves the old or the
//! new program. Facts and rules: docs/wire/stm32f4.md; rules are named there, as in `ST-18`.
//!
//! It allocates nothing, never panics, and knows flash only as [`Flash`]: a chip (crates/boot/f4), a
//! simulated chip and the tests bring their own. The host that fills the store shares [`Map`],
//! [`Image`] and [`Record`], so that both ends mean the same bytes. It must not know registers,
//! serial lines or files.

#![no_std]
#![forbid(unsafe_code)]

mod boot;
mod crc;
mod flash;
mod image;
mod map;
mod record;

pub use boot::{Boot, Reason, boot};
pub use crc::Crc;
pub use flash::{Failed, Flash};
pub use image::{Image, Unfit, Vectors};
pub use map::{Area, Map, Ram};
pub use record::{FileInfo, Order, Record};
