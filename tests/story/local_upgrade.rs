//! The main job, black box: DJI Assistant 2's "local upgrade" through the real binaries.
//! `uplift-sim aircraft` at one end of a pseudo-terminal, `uplift daemon` and an FTP server at the
//! other, and a restart that kills and starts processes.

mod bad_files;
mod interruptions;
mod payload;
mod sealed;
mod success;
