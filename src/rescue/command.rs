//! The command line of `uplift-rescue`, which units call. No configuration file: what is agreed
//! about a trial is in the state.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use super::{Call, Rescue};
use crate::config::{self, Paths};
use crate::log::{self, message};
use crate::model::{Failure, FailureKind};

/// Rolls back a program on trial when no verdict on it came in time, or when its boots are used up.
#[derive(Debug, Parser)]
#[command(name = "uplift-rescue", version, arg_required_else_help = true)]
#[command(
    after_help = "Examples:\n  uplift-rescue boot\n  uplift-rescue deadline --state /var/lib/uplift\n\n\
    Exit codes: 0 done, or nothing to do; 1 something can't be read or done: the\n\
    message says what, and the next call tries again; 2 wrong command line."
)]
struct Arguments {
    /// Why it is called.
    #[command(subcommand)]
    call: CallArgument,
    /// Directory of the daemon's state.
    #[arg(long, global = true, value_name = "DIR", default_value_os_t = Paths::default().state)]
    state: PathBuf,
    /// File with the kernel's boot id.
    #[arg(long, global = true, value_name = "FILE", default_value_os_t = Paths::default().boot_id)]
    boot_id: PathBuf,
    /// File with the seconds since the boot, as the kernel writes them.
    #[arg(long, global = true, value_name = "FILE", default_value = "/proc/uptime")]
    uptime: PathBuf,
    /// The timer that makes the call `deadline`.
    #[arg(long, global = true, value_name = "UNIT", default_value = config::RESCUE_TIMER)]
    timer: String,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum CallArgument {
    /// Count this boot of a trial, and roll back when too many were used; before daemon and program
    /// start.
    #[command(after_help = "Example:\n  uplift-rescue boot")]
    Boot,
    /// Roll back and restart when no verdict came in time; every 30 s while a trial is under way.
    #[command(after_help = "Example:\n  uplift-rescue deadline")]
    Deadline,
}

/// The command line as data, for its manual page.
pub fn command() -> clap::Command {
    Arguments::command()
}

/// Runs `uplift-rescue`.
pub fn run() -> ExitCode {
    let Arguments { call, state, boot_id, uptime, timer } = Arguments::parse();
    let call = match call {
        CallArgument::Boot => Call::Boot,
        CallArgument::Deadline => Call::Deadline,
    };
    log::install("uplift-rescue");
    match perform(call, &Rescue::new(state, boot_id, uptime, timer)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            tracing::error!(MESSAGE_ID = message::RESCUE_FAILED, UPLIFT_KIND = %failure.kind, "{failure}");
            ExitCode::FAILURE
        }
    }
}

fn perform(call: Call, rescue: &Rescue) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| {
        Failure::new(FailureKind::Internal, "the runtime can't be started").because(error)
    })?;
    runtime.block_on(rescue.run(call))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_is_of_this_command_and_both_calls() {
        let command = command();
        assert_eq!(command.get_name(), "uplift-rescue");
        let calls: Vec<_> = command.get_subcommands().map(clap::Command::get_name).collect();
        assert_eq!(calls, ["boot", "deadline"]);
    }
}
