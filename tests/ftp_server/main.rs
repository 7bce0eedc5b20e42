//! `uplift ftp-server` from the outside: the real binary on loopback, stock clients, and a client
//! that misbehaves.

#![allow(
    clippy::unwrap_used,
    reason = "a test that can't go on has failed; helpers are part of the tests"
)]

mod clients;
mod confinement;
mod conversation;
mod limits;
mod neighbours;
mod owners;
mod peer;
mod places;
mod server;
mod systemd;
mod uploads;
