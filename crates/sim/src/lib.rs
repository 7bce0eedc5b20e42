//! Simulated peers of `uplift`, for its tests, its benches and demonstrations without hardware: the
//! aircraft with Assistant 2 at the other end of the payload link, upgrade platforms that a payload
//! polls, and a payload in a directory.
//!
//! All of it is written from the documents (docs/payload-link.md, docs/seal.md, docs/simulated-clouds.md)
//! and drives the real programs. It shares no code with the daemon, so that a mistake in one does not hide in the
//! other.

pub mod aircraft;
pub mod cloud;
pub mod command;
pub mod demo;
pub mod line;
pub mod sandbox;
pub mod signer;

mod frame;
mod interrupt;
mod version;

pub use self::frame::{Command, Device, TooLong};
pub use self::version::{NoVersion, Version};
