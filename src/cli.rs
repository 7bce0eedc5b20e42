//! What a person types: one file a subcommand. Nothing here knows how anything is done; it parses, calls, and prints.

mod check;
mod ftp_server;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{self, Config};
use crate::model::{Failure, FailureKind};
use crate::transfer::ftp_server::StartError;

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
pub enum Command {
    /// Explain a firmware file, and what would happen to it here.
    #[command(after_help = "Example:\n  uplift check PSDK_APPALIAS_V02.01.00.03.bin")]
    Check {
        /// The firmware file.
        file: PathBuf,
        /// Print the findings as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Run the upload server that hosts send firmware to.
    #[command(after_help = "Example:\n  uplift ftp-server --config /etc/uplift/uplift.toml")]
    FtpServer,
}

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
    match dispatch(&arguments) {
        Ok(()) => ExitCode::from(exit::DONE),
        Err(error) => {
            eprintln!("uplift: {error:#}");
            let failure = error.downcast_ref::<Failure>();
            let hint = failure.map(|failure| failure.kind.hint()).or_else(|| error.downcast_ref::<StartError>().map(StartError::hint));
            if let Some(hint) = hint {
                eprintln!("hint: {hint}");
            }
            ExitCode::from(match failure.map(|failure| failure.kind) {
                Some(FailureKind::Busy) => exit::BUSY,
                _ => exit::FAILED,
            })
        }
    }
}

fn dispatch(arguments: &Arguments) -> anyhow::Result<()> {
    let load = || Config::load(&arguments.config);
    match &arguments.command {
        Command::Check { file, json } => check::run(&load()?, file, *json),
        Command::FtpServer => ftp_server::run(&load()?),
    }
}
