//! What a firmware file is: its name, version, digests, format and seal; [`check`] runs
//! all checks in one order.
//!
//! Nothing here knows where a file came from or where it goes.

pub mod check;
pub mod content;
pub mod elf;
pub mod foreign;
pub mod pack;
pub mod preflight;
