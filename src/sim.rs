//! Simulated peers as library code, written from the protocol documents and not from the daemon's code: what they share with
//! it is the frame codec alone, so that a misreading on one side shows. They know nothing of the daemon's rooms.

pub mod aircraft;
pub mod command;
pub mod line;
