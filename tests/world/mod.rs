//! What the stories share: the payload, programs and processes, FTP and web servers, brokers, mounted file systems, terminals,
//! and the daemon's status.

pub(crate) mod changes;
pub(crate) mod clock;
pub(crate) mod goosebit;
pub(crate) mod http;
pub(crate) mod local_socket;
pub(crate) mod mosquitto;
pub(crate) mod mounted;
pub(crate) mod payload;
pub(crate) mod programs;
pub(crate) mod psdk_app;
pub(crate) mod running;
pub(crate) mod servers;
pub(crate) mod swu;
pub(crate) mod terminal;
pub(crate) mod watched;
pub(crate) mod web;
