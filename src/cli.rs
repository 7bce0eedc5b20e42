//! What a person types: one file a subcommand. Nothing here knows how anything is done; it parses, calls, and prints.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config;

/// Upgrades the firmware of a payload: receives, proves, swaps atomically, restarts, reports the truth.
#[derive(Debug, Parser)]
#[command(name = "uplift", version, arg_required_else_help = true)]
pub struct Arguments {
    /// Configuration file.
    #[arg(long, global = true, value_name = "FILE", default_value = config::DEFAULT_PATH)]
    pub config: PathBuf,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands of `uplift`.
#[derive(Debug, Subcommand)]
pub enum Command {}

/// Exit codes of `uplift`, the same for every subcommand.
pub mod exit {
    /// Done.
    pub const DONE: u8 = 0;
    /// It failed; the message says why.
    pub const FAILED: u8 = 1;
    /// The command line is wrong.
    pub const USAGE: u8 = 2;
    /// Another upgrade runs.
    pub const BUSY: u8 = 3;
    /// The daemon does not run.
    pub const NO_DAEMON: u8 = 4;
}

/// Runs `uplift`.
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.command {}
}
