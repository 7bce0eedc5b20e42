//! The command line of `uplift-sim`: parses, calls, prints the verdict. Knows nothing of how a peer
//! is simulated.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, CommandFactory as _, Parser, Subcommand};

use super::aircraft::narrator::Narrator;
use super::aircraft::{self, Claims, FtpOptions, Model, Options, Patience, Stage, Verdict, Via};
use super::cloud::command::Cloud;
use super::demo::{self, Story};
use super::line::{Damage, Line, LineOptions, Port, PortName, PtyLine};
use super::mcu::command as mcu;
use super::module::command::Module;

/// Exit code of an upgrade that did not succeed; a wrong command line is 2.
const FAILED: u8 = 1;

/// Simulated peers of uplift, for tests, benches and demonstrations without hardware.
#[derive(Debug, Parser)]
#[command(name = "uplift-sim", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The aircraft with Assistant 2: upgrades a payload and exits 0 only if it runs the new
    /// firmware then.
    #[command(
        after_help = "Example:\n  uplift-sim aircraft --make-pty /tmp/ttyPayload --firmware Sensor_V02.00.00.00.bin\n\n\
        Exit codes: 0 the payload runs the new firmware, 1 it does not, 2 wrong command line."
    )]
    Aircraft(Box<Aircraft>),
    /// An upgrade platform that a payload polls: offers firmware, and exits 0 only if the device ended
    /// that as a device should.
    Cloud {
        #[command(subcommand)]
        cloud: Cloud,
    },
    /// A module of a mobile network on a serial port: plans upgrades, and exits 0 only if they ended as
    /// expected.
    Module {
        #[command(subcommand)]
        module: Module,
    },
    /// An STM32F405 or F407 on a serial port: its flash, the loader in its ROM, and a bootloader. Prints
    /// what happens, and what a reset starts.
    #[command(after_help = mcu::EXAMPLES)]
    Mcu(Box<mcu::Arguments>),
    /// Tell a simulated chip what to do: a reset with BOOT0 at 0 or 1, a power cut or a failure at a
    /// flash operation, how many of those there were, a copy of its flash.
    #[command(after_help = "Example:\n  uplift-sim mcu-control /tmp/chip cut 100 random")]
    McuControl(mcu::Tell),
    /// Show three upgrades by a simulated aircraft, in a sandbox.
    ///
    /// A temporary directory becomes a payload with daemon and FTP server; a simulated aircraft
    /// upgrades it over FTP, then over DCFTP, with sealed files, and then to a version that does not
    /// work, so that the one before comes back. Needs no root, no hardware and no network, and takes
    /// some twenty seconds.
    #[command(after_help = "Example:\n  uplift-sim demo")]
    Demo {
        /// Shows a microcontroller beside the payload's computer instead: it is upgraded, its power
        /// fails while its bootloader copies, and a program for another address is refused.
        #[arg(long)]
        mcu: bool,
        /// The program that is shown [default: the `uplift` beside this program].
        #[arg(long, value_name = "FILE")]
        uplift: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
struct Aircraft {
    #[command(flatten)]
    port: PortArguments,
    /// Which aircraft is played, and at which port the payload is.
    #[arg(long, value_enum, default_value = "m300")]
    aircraft: Model,
    /// Firmware file, Product_Vaa.bb.cc.dd.bin.
    #[arg(long, value_name = "FILE")]
    firmware: PathBuf,
    /// How the file is handed over; anything but auto insists.
    #[arg(long, value_enum, default_value = "auto")]
    via: Via,
    /// Data bytes of a DCFTP frame [default: what the payload offers].
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u16).range(1..=1005))]
    chunk: Option<u16>,
    /// Address of the requester on the link, in hexadecimal.
    #[arg(long, value_name = "HEX", default_value = "2A", value_parser = hexadecimal)]
    address: u8,
    #[command(flatten)]
    ftp: FtpArguments,
    #[command(flatten)]
    line: LineArguments,
    #[command(flatten)]
    behaviour: Behaviour,
    /// Print the verdict as one line of JSON.
    #[arg(long)]
    json: bool,
    /// Tell nothing but the verdict.
    #[arg(long)]
    quiet: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct PortArguments {
    /// Terminal device, unix:PATH or tcp:HOST:PORT.
    #[arg(long, value_name = "PORT")]
    port: Option<PortName>,
    /// Make a pseudo-terminal, and a link to the payload's end of it.
    #[arg(long, value_name = "LINK")]
    make_pty: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct FtpArguments {
    /// The payload's host name or address.
    #[arg(long, value_name = "HOST", default_value_t = FtpOptions::default().host)]
    ftp_host: String,
    /// Account for the upload.
    #[arg(long, value_name = "NAME", default_value_t = FtpOptions::default().user)]
    ftp_user: String,
    /// Password for the upload.
    #[arg(long, value_name = "PASSWORD", default_value_t = FtpOptions::default().password)]
    ftp_password: String,
}

#[derive(Debug, Args)]
struct LineArguments {
    /// Hold the pace of a serial line, ten bits a byte in each direction.
    #[arg(long, value_name = "BITS/S", value_parser = clap::value_parser!(u32).range(1..))]
    baud: Option<u32>,
    /// Hear the payload only while its end of the pseudo-terminal has this speed.
    #[arg(long, value_name = "BITS/S")]
    answer_baud: Option<u32>,
    /// Probability that a bit is turned over, in both directions.
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = probability)]
    bit_error_rate: f64,
    /// Probability that a frame is lost, in both directions.
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = probability)]
    drop: f64,
    /// Probability that a frame comes twice, in both directions.
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = probability)]
    duplicate: f64,
    /// Start of the random faults.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

#[derive(Debug, Args)]
struct Behaviour {
    /// Fall silent for good when this stage is reached.
    #[arg(long, value_enum, value_name = "STAGE")]
    abort_at: Option<Stage>,
    /// Pause when a stage is reached, as in transfer=2s; may be given again.
    #[arg(long, value_name = "STAGE=TIME", value_parser = pause)]
    pause: Vec<(Stage, Duration)>,
    /// Say another file name than the file's.
    #[arg(long, value_name = "NAME")]
    claim_name: Option<String>,
    /// Announce another size (DCFTP).
    #[arg(long, value_name = "BYTES")]
    claim_size: Option<u32>,
    /// Finish with another MD5, 32 hexadecimal digits (DCFTP).
    #[arg(long, value_name = "HEX", value_parser = md5)]
    claim_md5: Option<[u8; 16]>,
    /// Send the file at once, whatever time the payload asks for, and repeat each request five
    /// times a second.
    #[arg(long)]
    impatient: bool,
    /// How long to wait for a payload that says that it is there, as in 30s.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    link_wait: Option<Duration>,
}

/// The command line as data, for its manual page and completions.
pub fn command() -> clap::Command {
    Arguments::command()
}

/// Runs `uplift-sim`.
#[must_use]
pub fn run() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Aircraft(arguments) => arguments.run(),
        Command::Cloud { cloud } => cloud.run(),
        Command::Module { module } => module.run(),
        Command::Mcu(arguments) => arguments.run(),
        Command::McuControl(tell) => tell.run(),
        Command::Demo { mcu, uplift } => {
            let story = if mcu { Story::Motor } else { Story::Program };
            demonstrate(uplift, story).map(|()| true)
        }
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(FAILED),
        // Whoever reads has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("uplift-sim: {error:#}");
            ExitCode::from(FAILED)
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let cause = error.root_cause().downcast_ref::<io::Error>();
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

fn demonstrate(uplift: Option<PathBuf>, story: Story) -> anyhow::Result<()> {
    let beside = || Ok::<_, io::Error>(std::env::current_exe()?.with_file_name("uplift"));
    let uplift = uplift.map_or_else(beside, Ok).context("this program's own path is unknown")?;
    anyhow::ensure!(
        uplift.exists(),
        "{} does not exist; hint: install the package uplift, or name the program with --uplift",
        uplift.display()
    );
    demo::run(&uplift, story)
}

impl Aircraft {
    fn run(self) -> anyhow::Result<bool> {
        let line = Line::new(self.port.open(self.line.baud)?, &self.line.options());
        let (json, quiet) = (self.json, self.quiet);
        let mut narrator = Narrator::default();
        let verdict = aircraft::run(&self.options(), line, &mut |step| {
            if !quiet {
                narrator.tell(step);
            }
        });
        drop(narrator);
        print(&verdict, json).context("the verdict can't be printed")?;
        Ok(verdict.is_success())
    }

    fn options(self) -> Options {
        let mut options = Options {
            aircraft: self.aircraft,
            patience: if self.behaviour.impatient {
                Patience::impatient()
            } else {
                Patience::default()
            },
            via: self.via,
            chunk: self.chunk,
            address: self.address,
            ftp: FtpOptions {
                host: self.ftp.ftp_host,
                user: self.ftp.ftp_user,
                password: self.ftp.ftp_password,
                rate: None,
            },
            claims: Claims {
                name: self.behaviour.claim_name,
                size: self.behaviour.claim_size,
                md5: self.behaviour.claim_md5,
            },
            abort_at: self.behaviour.abort_at,
            pauses: self.behaviour.pause,
            ..Options::new(self.firmware)
        };
        options.patience.link = self.behaviour.link_wait.unwrap_or(options.patience.link);
        options
    }
}

impl PortArguments {
    fn open(&self, speed: Option<u32>) -> anyhow::Result<Port> {
        if let Some(link) = &self.make_pty {
            let made = PtyLine::new(link)
                .with_context(|| format!("no pseudo-terminal at {}", link.display()))?;
            return Ok(Port::made(made));
        }
        let name = self.port.clone().context("no port is given; hint: --port or --make-pty")?;
        Ok(Port::named(name, speed))
    }
}

impl LineArguments {
    const fn options(&self) -> LineOptions {
        let damage = Damage {
            bit_error_rate: self.bit_error_rate,
            drop: self.drop,
            duplicate: self.duplicate,
        };
        LineOptions { baud: self.baud, answer_baud: self.answer_baud, damage, seed: self.seed }
    }
}

fn print(verdict: &Verdict, json: bool) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    if json {
        writeln!(out, "{}", serde_json::to_string(verdict)?)?;
        return Ok(());
    }
    let word = match verdict.result {
        aircraft::Result::Success => "success",
        aircraft::Result::Failure => "failure",
        aircraft::Result::Aborted => "aborted",
    };
    writeln!(out, "{word}: {}", verdict.message)?;
    for phase in &verdict.phases {
        writeln!(
            out,
            "  {:<10} {:>8.3} s",
            format!("{:?}", phase.stage).to_lowercase(),
            phase.time.as_secs_f64()
        )?;
    }
    let pushes = &verdict.pushes;
    writeln!(
        out,
        "  progress pushes: {}; longest gap {:.1} s",
        pushes.ongoing,
        pushes.longest_gap.as_secs_f64()
    )?;
    writeln!(out, "  requests sent again: {}", verdict.repeats)?;
    Ok(())
}

fn probability(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "a number from 0 to 1 is expected".to_owned())?;
    if (0.0..=1.0).contains(&value) {
        Ok(value)
    } else {
        Err("a probability lies from 0 to 1".to_owned())
    }
}

fn hexadecimal(text: &str) -> Result<u8, String> {
    u8::from_str_radix(text, 16).map_err(|_| "two hexadecimal digits are expected".to_owned())
}

fn pause(text: &str) -> Result<(Stage, Duration), String> {
    let (stage, time) = text.split_once('=').ok_or("STAGE=TIME is expected, as in transfer=2s")?;
    let stage = clap::ValueEnum::from_str(stage, false)?;
    Ok((stage, humantime::parse_duration(time).map_err(|error| error.to_string())?))
}

fn md5(text: &str) -> Result<[u8; 16], String> {
    let wrong = || "32 hexadecimal digits are expected".to_owned();
    if text.len() != 32 || !text.is_ascii() {
        return Err(wrong());
    }
    let number = u128::from_str_radix(text, 16).map_err(|_| wrong())?;
    Ok(number.to_be_bytes())
}
