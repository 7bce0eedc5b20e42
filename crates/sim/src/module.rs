//! Simulated modules of mobile networks, on the serial port of a payload. For tests in a Rust
//! program, and as `uplift-sim module` for a person who tries a channel without the module.

pub mod quectel;

pub(crate) mod command;
