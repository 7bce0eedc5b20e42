//! Simulated peers of `uplift`, for its tests, its benches and demonstrations without hardware: the
//! aircraft with Assistant 2 at the other end of the payload link, upgrade platforms that a payload
//! polls, a module of a mobile network, a microcontroller beside the payload's computer, and a
//! payload in a directory.
//!
//! All of it is written from the documents (docs/wire/payload-link.md, docs/use/seal.md,
//! docs/use/simulated-clouds.md) and drives the real programs. It shares no code with the daemon,
//! so that a mistake in one does not hide in the other. The microcontroller's bootloader is no
//! simulation: it is the core that is built for the chip, `uplift-boot`.

pub mod aircraft;
pub mod cloud;
pub mod command;
pub mod demo;
pub mod line;
pub mod mcu;
pub mod module;
pub mod ports;
pub mod sandbox;
pub mod signer;

mod frame;
mod interrupt;
mod version;
mod worker;

pub use self::frame::{Command, Device, TooLong};
pub use self::version::{NoVersion, Version};
