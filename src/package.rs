//! What a firmware file is: its name, version, digests and executable format; [`check`] runs all checks in one order.
//!
//! Nothing here knows where a file came from or where it goes.

pub mod check;
pub mod digest;
pub mod elf;
pub mod name;
pub mod preflight;
pub mod version;
