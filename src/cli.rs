//! What a person types: one file a subcommand. Nothing here knows how anything is done; it parses,
//! calls, and prints.

mod bar;
mod channels;
mod check;
mod config_check;
mod config_sandbox;
mod confirm;
mod daemon;
mod decode;
mod demo;
mod fold;
mod follow;
mod forget;
mod ftp_server;
mod history;
mod hold;
mod init;
mod install;
mod keygen;
mod next;
mod old;
mod output;
mod pack;
mod paint;
mod rollback;
mod run_change;
mod run_stm32;
mod status;
mod unpack;
mod view;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{ColorChoice, Parser, Subcommand};

use crate::config::{self, Config, ConfigError};
use crate::control::ClientError;
use crate::ftp_server::StartError;
use crate::model::{ComponentName, Failure, FailureKind, without_number};
use check::Known;
use output::Mistake;

/// Upgrades the firmware of a payload: receives, proves, swaps atomically, restarts, reports the
/// truth.
#[derive(Debug, Parser)]
#[command(name = "uplift", version, arg_required_else_help = true)]
#[command(
    after_help = "Examples:\n  uplift config check\n  uplift status --watch\n  uplift install PSDK_APPALIAS_V02.01.00.03.bin\n\n\
    Exit codes: 0 done, 1 failed, 2 wrong command line or configuration,\n3 another upgrade runs, 4 the daemon does not run."
)]
pub struct Arguments {
    /// Configuration file.
    #[arg(long, global = true, value_name = "FILE", default_value = config::DEFAULT_PATH)]
    pub config: PathBuf,
    /// When to use colours; `auto` is on a terminal, where NO_COLOR is not set.
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: ColorChoice,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands of `uplift`.
#[derive(Debug, Subcommand)]
// The options of one are made when it is called: those of all at once are a stack of 130 kB, which
// a daemon would keep.
#[command(defer = true)]
pub enum Command {
    /// Run the daemon.
    #[command(after_help = "Example:\n  uplift daemon --config /etc/uplift/uplift.toml")]
    Daemon,
    /// Show what the daemon does and what is installed.
    #[command(
        after_help = "Examples:\n  uplift status\n  uplift status --watch\n  uplift status --json | jq .phase"
    )]
    Status {
        /// Print JSON; with --watch, one object a line.
        #[arg(long)]
        json: bool,
        /// Show it again after each change, until interrupted.
        #[arg(long)]
        watch: bool,
    },
    /// Show the last upgrades and how they ended, newest first.
    #[command(
        after_help = "Examples:\n  uplift history\n  uplift history -n 3\n  uplift history 1f0c93ab\n  uplift history --json | jq '.[0].outcome'"
    )]
    History(history::HistoryArguments),
    /// Upgrade to a firmware file, and follow it to its end.
    ///
    /// The same upgrade as over the payload link: checked, swapped, restarted, reported. It may
    /// restart the machine. A URL is downloaded by this command, with the rights of whoever calls it
    /// and as [transfer.http] of the configuration says; the file is called what the last part of its
    /// path says.
    #[command(
        after_help = "Examples:\n  uplift install PSDK_APPALIAS_V02.01.00.03.bin\n  uplift install --force PSDK_APPALIAS_V01.00.00.00.bin\n  \
        uplift install https://example.com/firmware/PSDK_APPALIAS_V02.01.00.03.bin"
    )]
    Install {
        /// The firmware file, or its URL.
        #[arg(value_name = "FILE|URL", value_parser = install::source())]
        source: install::Source,
        /// Accept a lower version, the same one, a program that was rolled back here, or the step
        /// between 32 and 64 bits; and go on under a hold, outside of the window, or while the
        /// payload is not ready.
        #[arg(long)]
        force: bool,
        /// Print the report as JSON, and no progress.
        #[arg(long)]
        json: bool,
    },
    /// Say that the program on trial works.
    ///
    /// A trial waits for this where the configuration says `confirm = "explicit"`; without it the
    /// old program comes back.
    #[command(after_help = "Example:\n  uplift confirm")]
    Confirm,
    /// Put the previous program back.
    ///
    /// While a new program is on trial, that ends the trial. Otherwise the program from before the
    /// last upgrade comes back, with a restart. The program that is replaced is refused from then
    /// on, unless it is forced.
    #[command(
        after_help = "Examples:\n  uplift rollback\n  uplift rollback --yes --json\n  uplift rollback --component camera"
    )]
    Rollback {
        /// Which component, where there are several.
        #[arg(long, value_name = "NAME")]
        component: Option<ComponentName>,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
        /// Print the report as JSON, and no progress.
        #[arg(long)]
        json: bool,
    },
    /// Forget what keeps an older version out, for a repair.
    ///
    /// A version below the highest one that succeeded here with a trusted seal is refused. This
    /// forgets which one that was, so that an older one can be installed; the next success of a
    /// sealed file sets it anew. Who forgot it is written down.
    #[command(
        after_help = "Examples:\n  uplift forget --minimum-version\n  uplift forget --minimum-version --json"
    )]
    Forget {
        /// Forget the lowest version that is accepted.
        #[arg(long, required = true)]
        minimum_version: bool,
        /// Of which component, where there are several.
        #[arg(long, value_name = "NAME")]
        component: Option<ComponentName>,
        /// Print what was forgotten as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Hold upgrades: none begins, and none is installed.
    ///
    /// It holds for everybody, over restarts and reboots, until `uplift release`, or as long as --for
    /// says. An upgrade that is being installed or on trial goes on, but its machine is not restarted;
    /// `uplift rollback` goes back all the same, and `uplift install --force` goes on.
    #[command(
        after_help = "Examples:\n  uplift hold --for 2h in the air\n  uplift hold \"the customer's acceptance test\"\n  uplift release"
    )]
    Hold {
        /// How long it holds, such as 30m or 2h.
        ///
        /// Counted by the kernel's clock, whatever the time of day is. Of what is over, a reboot gives
        /// back up to ten minutes, and the time without power does not count.
        #[arg(long = "for", value_name = "TIME", value_parser = hold::duration)]
        time: Option<Duration>,
        /// Print the hold as JSON.
        #[arg(long)]
        json: bool,
        /// Why.
        reason: Vec<String>,
    },
    /// End the hold on upgrades.
    #[command(after_help = "Example:\n  uplift release")]
    Release {
        /// Print the hold that ended as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Say whether a firmware file would be accepted here, and explain it and its seal.
    ///
    /// The daemon is asked which version runs and which programs failed here; without it the
    /// configuration is used alone. Without a configuration, as on the machine that makes releases,
    /// the file is judged by what is in it.
    #[command(after_help = "Example:\n  uplift check PSDK_APPALIAS_V02.01.00.03.bin")]
    Check {
        /// The firmware file.
        file: PathBuf,
        /// Print the findings as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Seal a program, a script or any payload: add a manifest and a signature, as PRODUCT_VERSION.bin.
    ///
    /// A seal says what the payload is: product, version, machine, size and SHA-256, and who says
    /// so. It is checked against the keys of the configuration where the file arrives. Signing can
    /// be done elsewhere, with minisign's own tool.
    ///
    /// An ELF program has its seal behind it, and runs as before. One that has data behind its end may
    /// look for it there, and a script is read to its end: such a program goes into a container, and is
    /// installed as it was. With --seal-place behind, `pack` runs a program with data behind its end with
    /// --version before and after, and refuses to seal it so when the two differ. Anything else, such as
    /// a Debian package or a bundle, has its seal before it. Such a seal is taken away before the payload
    /// is installed.
    #[command(
        after_help = "Examples:\n  uplift pack ./sensor --product SENSOR --version V02.01.00.03 --key release.key\n  \
        uplift pack ./modem.deb --product MODEM --version V01.04.00.00 --key release.key\n  \
        uplift pack ./bundled --product SENSOR --version V02.01.00.03 --key release.key --seal-place before\n\n\
        With a key that is kept elsewhere:\n  uplift pack ./sensor --product SENSOR --version V02.01.00.03 --manifest-only --public release.pub\n  \
        minisign -S -s release.key -m SENSOR_V02.01.00.03.manifest\n  \
        uplift pack ./sensor --attach SENSOR_V02.01.00.03.manifest.minisig --public release.pub"
    )]
    Pack(Box<pack::PackArguments>),
    /// Take the program out of a firmware file: off its seal, or out of its container.
    ///
    /// What comes out is byte for byte what was packed. It is proved against what the file says of it;
    /// whether anybody trusts who says it, `uplift check` tells.
    #[command(
        after_help = "Examples:\n  uplift unpack SENSOR_V02.01.00.03.bin\n  uplift unpack SENSOR_V02.01.00.03.bin --out ./sensor"
    )]
    Unpack(unpack::UnpackArguments),
    /// Make a pair of keys for `uplift pack`; minisign's own tool can use them too.
    #[command(after_help = "Example:\n  uplift keygen --out release")]
    Keygen(keygen::KeygenArguments),
    /// Write a configuration for a program that runs already as a systemd service.
    ///
    /// It takes the program's path and its times from the unit, asks for what is not given, writes
    /// the configuration and checks it as `uplift config check` does. Then it offers the steps that are
    /// left: the drop-in for the unit, the drop-ins for uplift's own units, and the closed port where
    /// there is no payload link. It never replaces a configuration that somebody has changed.
    #[command(
        after_help = "Examples:\n  uplift init\n  uplift init --unit sensor.service --product SENSOR --key release.pub\n  \
        uplift init --unit sensor.service --product SENSOR --link none --yes"
    )]
    Init(init::InitArguments),
    /// Look at the configuration.
    #[command(subcommand, after_help = "Examples:\n  uplift config check\n  uplift config sandbox")]
    Config(ConfigCommand),
    /// Run the upload server that hosts send firmware to.
    #[command(after_help = "Example:\n  uplift ftp-server --config /etc/uplift/uplift.toml")]
    FtpServer,
    /// Run the channels of the network, which ask for upgrades.
    #[command(after_help = "Example:\n  uplift channels --config /etc/uplift/uplift.toml")]
    Channels,
    /// Run a command of another updater; the daemon calls it.
    #[command(hide = true)]
    RunChange {
        /// The directory of the job.
        directory: PathBuf,
        /// The job's name.
        job: String,
    },
    /// Decode a stream, without rights; the daemon calls it.
    #[command(hide = true)]
    Decode {
        /// What the stream is.
        codec: String,
        /// Bytes that are remembered.
        window: u64,
        /// Bytes that come of it.
        size: u64,
        /// Bytes of the old program that it changes.
        old_size: Option<u64>,
    },
    /// Work on a microcontroller; a runner of `run-change` calls it.
    #[command(hide = true)]
    RunStm32 {
        /// The board, as JSON.
        board: String,
        /// The program that is to run.
        file: Option<PathBuf>,
        /// The SHA-256 of the program that is to go.
        #[arg(long, conflicts_with = "file")]
        away: Option<String>,
    },
    /// Show three upgrades by a simulated aircraft, in a sandbox.
    ///
    /// A temporary directory becomes a payload with daemon and FTP server; a simulated aircraft
    /// upgrades it over FTP, then over DCFTP, with sealed files, and then to a version that does not
    /// work, so that the one before comes back. Needs no root, no hardware and no network, and takes
    /// some twenty seconds. It is part of uplift-sim, which must be beside this
    /// program.
    #[command(after_help = "Example:\n  uplift demo")]
    Demo {
        /// Shows a microcontroller beside the payload's computer instead.
        #[arg(long)]
        mcu: bool,
    },
}

/// The subcommands of `uplift config`.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub enum ConfigCommand {
    /// Say whether the configuration can be used on this machine.
    ///
    /// It names a mistake in the file by line and field, and says what would be right. Then it
    /// looks at everything that the configuration names: directories, unit, device, FTP server,
    /// password files. It changes nothing. It exits with 0 when there are only warnings.
    #[command(after_help = "Example:\n  uplift config check --config ./uplift.toml")]
    Check,
    /// Print what the packaged units need beyond their sandbox for this configuration.
    ///
    /// The units let uplift write to /usr/local/bin and its own state, open USB serial adapters,
    /// and reach this machine only. A program, state, device, upload area or FTP server elsewhere
    /// needs a drop-in: a file beside the unit that adds to it. Each is printed with the name that
    /// it should have; --write puts them there, and removes those that are no longer needed.
    #[command(
        after_help = "Examples:\n  uplift config sandbox\n  uplift config sandbox --write && systemctl daemon-reload\n\n\
        A restart command runs in the same sandbox. If it needs more, make it a unit of\n\
        its own: restart = [\"systemctl\", \"start\", \"restart-payload.service\"]."
    )]
    Sandbox {
        /// Write them below this directory of units [default: /etc/systemd/system].
        #[arg(long, value_name = "DIR", num_args = 0..=1, default_missing_value = config_sandbox::UNITS)]
        write: Option<PathBuf>,
    },
}

/// Exit codes of `uplift`, the same for every subcommand.
pub mod exit {
    /// Done.
    pub const DONE: u8 = 0;
    /// It failed; the message says why.
    pub const FAILED: u8 = 1;
    /// The command line or the configuration is wrong.
    pub const USAGE: u8 = 2;
    /// Another upgrade runs.
    pub const BUSY: u8 = 3;
    /// The daemon does not run.
    pub const NO_DAEMON: u8 = 4;
}

/// Runs `uplift`.
pub fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(told) => return tell(&told),
    };
    paint::choose(arguments.color);
    let Err(error) = dispatch(&arguments) else { return ExitCode::from(exit::DONE) };
    if error
        .root_cause()
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    {
        // Whoever read our output has seen enough.
        return ExitCode::from(exit::DONE);
    }
    let (code, hint) = classify(&error);
    view::complain(&format!("{} {}", paint::bad("uplift:"), sentence(&error)));
    if let Some(hint) = hint {
        view::complain(&format!("{} {hint}", paint::hint("hint:")));
    }
    ExitCode::from(code)
}

/// What the parser tells instead of a command: help, the version, or what is wrong.
fn tell(told: &clap::Error) -> ExitCode {
    paint::choose_by(std::env::args_os().skip(1));
    // The parser breaks its lines itself, but for those of the usage.
    let text = told.render().ansi().to_string();
    let text = text.trim_end();
    if told.use_stderr() {
        view::complain(text);
        return ExitCode::from(exit::USAGE);
    }
    // Whoever read it has seen enough.
    let _ = view::say(text);
    ExitCode::from(exit::DONE)
}

/// An error and its causes in one line, each once, and without the numbers of the operating system.
fn sentence(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        let cause = without_number(&cause);
        if text.ends_with(cause) {
            continue;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(cause);
    }
    text
}

/// The exit code of an error, and what a person can do about it.
fn classify(error: &anyhow::Error) -> (u8, Option<&str>) {
    if let Some(failure) = error.downcast_ref::<Failure>() {
        let code = if failure.kind == FailureKind::Busy { exit::BUSY } else { exit::FAILED };
        return (code, Some(failure.hint()));
    }
    if let Some(mistake) = error.downcast_ref::<Mistake>() {
        return (exit::FAILED, Some(mistake.hint()));
    }
    if let Some(error) = error.downcast_ref::<StartError>() {
        return (exit::FAILED, Some(error.hint()));
    }
    match error.downcast_ref::<ClientError>() {
        Some(ClientError::NoDaemon { .. }) => (
            exit::NO_DAEMON,
            Some("start it with `systemctl start uplift`, or `uplift daemon` by hand"),
        ),
        Some(ClientError::NotAllowed { .. }) => {
            (exit::FAILED, Some("run this as root, or as a member of the group `uplift`"))
        }
        Some(ClientError::Silent) => {
            (exit::FAILED, Some("`journalctl -u uplift` says what it does"))
        }
        _ => match error.downcast_ref::<ConfigError>() {
            Some(ConfigError::Unreadable { .. }) => (
                exit::USAGE,
                Some("name another file with --config; `man uplift.toml` lists every field"),
            ),
            Some(ConfigError::Invalid { .. }) => {
                (exit::USAGE, Some("`man uplift.toml` lists every field"))
            }
            None => (exit::FAILED, hint_of_refusal(error)),
        },
    }
}

/// Whoever is not root may lack a right that the daemon has.
fn hint_of_refusal(error: &anyhow::Error) -> Option<&'static str> {
    let refused = error.chain().filter_map(|cause| cause.downcast_ref::<std::io::Error>());
    let refused =
        refused.into_iter().any(|cause| cause.kind() == std::io::ErrorKind::PermissionDenied);
    (refused && !nix::unistd::geteuid().is_root()).then_some("run this as root, as the daemon runs")
}

fn dispatch(arguments: &Arguments) -> anyhow::Result<()> {
    let load = || Config::load(&arguments.config);
    match &arguments.command {
        Command::Daemon => daemon::run(load()?),
        Command::Status { json, watch } => status::run(&load()?, *json, *watch),
        Command::History(choices) => history::run(&load()?, choices),
        Command::Install { source, force, json } => install::run(&load()?, source, *force, *json),
        Command::Confirm => confirm::run(&load()?),
        Command::Rollback { component, yes, json } => {
            rollback::run(&load()?, *component, *yes, *json)
        }
        Command::Forget { component, json, .. } => forget::run(&load()?, *component, *json),
        Command::Hold { time, json, reason } => {
            hold::run(&load()?, *time, &reason.join(" "), *json)
        }
        Command::Release { json } => hold::release(&load()?, *json),
        Command::Init(choices) => init::run(&arguments.config, choices),
        Command::Config(ConfigCommand::Check) => config_check::run(&arguments.config, &load()?),
        Command::Config(ConfigCommand::Sandbox { write }) => {
            config_sandbox::run(&load()?, write.as_deref())
        }
        Command::Demo { mcu } => demo::run(*mcu),
        Command::Check { file, json } => match load() {
            Ok(config) => check::run(Known::Configuration(&config), file, *json),
            Err(error)
                if error.is_missing() && arguments.config == Path::new(config::DEFAULT_PATH) =>
            {
                check::run(Known::Nothing(&arguments.config), file, *json)
            }
            Err(error) => Err(error.into()),
        },
        Command::Pack(arguments) => pack::run(arguments),
        Command::Keygen(arguments) => keygen::run(arguments),
        Command::FtpServer => ftp_server::run(&load()?),
        Command::Channels => channels::run(&load()?),
        Command::RunChange { directory, job } => run_change::run(directory, job),
        Command::Decode { codec, window, size, old_size } => {
            decode::run(codec, *window, *size, *old_size)
        }
        Command::Unpack(arguments) => unpack::run(arguments),
        Command::RunStm32 { board, file, away } => {
            run_stm32::run(board, file.as_deref(), away.as_deref())
        }
    }
}
