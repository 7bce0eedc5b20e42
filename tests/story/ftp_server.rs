//! `uplift ftp-server` from the outside: the real binary on loopback, stock clients, and a client
//! that misbehaves.

mod clients;
mod confinement;
mod conversation;
mod limits;
pub(crate) mod neighbours;
mod owners;
pub(crate) mod peer;
mod places;
mod server;
mod systemd;
mod uploads;
