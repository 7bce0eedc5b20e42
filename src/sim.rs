//! Simulated peers as library code, written from the protocol documents and not from the daemon's code.

pub mod elf;
pub mod sandbox;
