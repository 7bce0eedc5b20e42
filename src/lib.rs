//! `uplift` upgrades the firmware of a payload: it receives a file, proves it, swaps the program
//! atomically, restarts, proves that the new program works, and reports the truth; otherwise the
//! old program runs again.
//!
//! The rooms of the house, in the order in which data moves. A request goes down this list, reports
//! come back up, and no room reaches past its neighbours:
//!
//! | room | what it is for |
//! |---|---|
//! | [`cli`] | one file a subcommand: what a person types |
//! | [`config`] | the configuration file, every field documented |
//! | [`service`] | the daemon's life: rooms wired together, signals, readiness, watchdog, logs |
//! | [`control`] | the local socket: requests in, status and progress out |
//! | `metrics` | what monitoring reads, on a socket of its own |
//! | [`channel`] | who asks for an upgrade: the payload link; later cloud platforms and modules |
//! | [`transfer`] | how bytes arrive: FTP client, FTP server, DCFTP receiver |
//! | [`engine`] | the one actor that owns the machine and performs its actions |
//! | [`machine`] | the upgrade as a pure state machine |
//! | [`model`] | what is persisted and printed |
//! | [`journal`] | the only writer of the state file and the history |
//! | `alarm` | deadlines of an idle daemon, one wake-up each |
//! | `command` | runs a program of the user's, bounded and unprivileged |
//! | `disk` | the few file-system operations that durability hangs on |
//! | `crash_states` | for tests alone: every state that a power cut can leave, proved |
//! | [`stage`] | the staging area: receive, hash while writing, limits, clean-up |
//! | [`package`] | what a firmware file is, and all checks in one order |
//! | [`target`] | what an upgrade replaces: the program at its path |
//! | [`health`] | evidence after a restart |
//! | [`rescue`] | the second, independent deadline: `uplift-rescue` |
//! | [`restart`] | reboot, or restart of a unit; the boot id |
//! | `host` | the machine: runs `systemctl` and the like, shows processes |
//! | `local_socket` | UNIX sockets on which the daemon listens |
//! | `log` | where the words of daemon and FTP server go |
//! | `places` | a limited number of peers at a time |
//! | [`mod@unit`] | what systemd says of a unit |
//! | [`sim`] | simulated peers: the aircraft with Assistant 2 |

mod alarm;
pub mod channel;
pub mod cli;
mod command;
pub mod config;
pub mod control;
#[cfg(test)]
#[cfg(feature = "sim")] // the tiny programs come from there
mod crash_states;
mod disk;
pub mod engine;
pub mod health;
mod host;
pub mod journal;
mod local_socket;
mod log;
pub mod machine;
mod metrics;
pub mod model;
pub mod package;
mod places;
pub mod rescue;
pub mod restart;
pub mod service;
#[cfg(feature = "sim")]
pub mod sim;
pub mod stage;
pub mod target;
pub mod transfer;
pub mod unit;
