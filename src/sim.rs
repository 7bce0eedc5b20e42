//! Simulated peers as library code, written from the protocol documents and not from the daemon's
//! code: what the aircraft shares with the daemon is the frame codec alone, so that a misreading on
//! one side shows.

pub mod aircraft;
pub mod command;
pub mod demo;
mod interrupt;
pub mod line;
pub mod sandbox;
pub mod seal;
