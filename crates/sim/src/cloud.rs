//! Simulated upgrade platforms: real HTTP servers that a payload polls, and clients of the broker that it listens at. For tests in a Rust program,
//! and as `uplift-sim cloud` for a person who tries a channel without the platform.
//!
//! They are written from what the platforms' public sources and documents say
//! (docs/use/simulated-clouds.md), and know nothing of the daemon.

pub mod broker;
pub mod content;
pub mod delivery;
pub mod dji;
pub mod event;
pub mod hawkbit;
pub mod luatos;
pub mod mosquitto;
pub mod thingspanel;

mod date;
mod http;
mod percent;

pub(crate) mod command;
