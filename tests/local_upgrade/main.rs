//! The main job, black box: DJI Assistant 2's "local upgrade" through the real binaries.
//! `uplift-sim aircraft` at one end of a pseudo-terminal, `uplift daemon` and an FTP server at the
//! other, and a restart that kills and starts processes.

#![allow(clippy::disallowed_methods, reason = "files of a test need not survive anything")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that can't go on should stop where it is"
)]

mod bad_files;
mod interruptions;
mod payload;
#[path = "../world/programs.rs"]
mod programs;
mod sealed;
#[path = "../servers/stock.rs"]
mod stock;
mod success;
#[path = "../servers/vsftpd.rs"]
mod vsftpd;
#[path = "../world/watched.rs"]
mod watched;
