//! What the stories share: programs, servers, a scripted systemd, and the daemon's status.

pub(crate) mod mounted;
pub(crate) mod payload;
pub(crate) mod programs;
pub(crate) mod servers;
pub(crate) mod systemd;
pub(crate) mod watched;
