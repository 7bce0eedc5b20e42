//! `uplift` upgrades the firmware of a payload: it receives a file, proves it, swaps the program
//! atomically, restarts, proves that the new program works, and reports the truth; otherwise the
//! old program runs again.
//!
//! The rooms of the house, from the doors to the ground. A room uses rooms below it in this list
//! and no others; a test reads the imports and says which line breaks that (`rooms`).
//!
//! | room | what it is for |
//! |---|---|
//! | [`cli`] | one file a subcommand: what a person types |
//! | [`service`] | the daemon's life: rooms wired together, signals, readiness, watchdog |
//! | [`control`] | the local socket: requests in, status and progress out |
//! | `metrics` | what monitoring reads, on a socket of its own |
//! | [`channel`] | who asks for an upgrade: the payload link, platforms of the network |
//! | [`ftp_server`] | a process of its own: uploads of the host |
//! | [`handover`] | files from processes without rights, over sockets of this machine |
//! | [`engine`] | the one actor that owns the machine and performs its actions |
//! | [`rescue`] | the second, independent deadline: `uplift-rescue`, the only writer of its file |
//! | [`policy`] | whether an upgrade may begin now: hold, window, readiness, free space; the only writer of the hold |
//! | [`trial`] | after the swap: restart and evidence |
//! | [`transfer`] | how bytes arrive: FTP client, DCFTP receiver, downloads over HTTP |
//! | [`component`] | what an upgrade replaces: the program at its path; what another updater looks after |
//! | [`journal`] | the only writer of the state file and the history |
//! | [`package`] | a firmware file: its executable format, all checks in one order, packing |
//! | [`config`] | the configuration file, every field documented |
//! | [`record`] | the form of the files of the state |
//! | [`machine`] | the upgrade as a pure state machine |
//! | [`stage`] | the staging area: receive, hash while writing, limits, clean-up |
//! | [`digest`] | the hashing of bytes while they pass |
//! | [`tree`] | a directory as a whole: its manifest, its archive |
//! | [`seal`] | who made a firmware file, and that it is whole |
//! | `log` | where the words of daemon and FTP server go |
//! | [`model`] | what is persisted and printed |
//! | `disk` | the few file-system operations that durability hangs on |
//! | [`host`] | the machine: `systemctl`, units, a user's programs, deadlines while it sleeps |
//! | `wire` | local sockets and serial ports, and a limited number of peers at a time |
//!
//! Beside the house, for tests alone: `crash_states`, every state that a power cut can leave, proved.
//! The simulated peers are a package of their own, `crates/sim`, which shares nothing with this one.

pub mod channel;
pub mod cli;
pub mod component;
pub mod config;
pub mod control;
#[cfg(test)]
mod crash_states;
pub mod digest;
mod disk;
pub mod engine;
pub mod ftp_server;
pub mod handover;
pub mod host;
pub mod journal;
mod log;
pub mod machine;
mod metrics;
pub mod model;
pub mod package;
pub mod policy;
pub mod record;
pub mod rescue;
#[cfg(test)]
mod rooms;
pub mod seal;
pub mod service;
pub mod stage;
pub mod transfer;
pub mod tree;
pub mod trial;
mod wire;
