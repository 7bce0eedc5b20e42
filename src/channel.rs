//! Who asks for an upgrade: one folder or file a system. A channel knows its peer's words and the
//! engine's handle, nothing else.

pub(crate) mod broker;
pub mod dji_cloud;
pub(crate) mod fetch;
pub mod hawkbit;
pub mod job;
pub(crate) mod kept;
pub(crate) mod loopback;
pub mod luatos;
pub mod network;
pub(crate) mod offer;
pub(crate) mod platform;
pub mod psdk;
pub mod quectel;
pub(crate) mod runner;
mod secret;
pub mod thingspanel;
