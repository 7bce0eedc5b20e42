//! The command line of `uplift-sim mcu` and `uplift-sim mcu-control`: starts a chip, prints what
//! happens, and tells it what to do.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;

use super::options::{Application, Bootloader, Fault, Options};
use super::{Event, Mcu, tell};
use crate::interrupt::Interrupt;

/// Between two looks at whether the time is over.
const LOOK: Duration = Duration::from_millis(100);

pub(crate) const EXAMPLES: &str = "Examples:
  uplift-sim mcu --make-pty /tmp/ttyChip --flash /tmp/chip.bin --control /tmp/chip \\
      --application Gimbal_V01.00.00.00.bin
  uplift-sim mcu-control /tmp/chip reset 1
  stm32flash -m 8n1 -b 115200 -w new.bin -v -S 0x08080000 /tmp/ttyChip

Exit codes: 0 the time is over or a signal came, 1 it can't be started, 2 wrong command line.";

/// A chip.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Make a pseudo-terminal, and a link to the computer's end of it.
    #[arg(long, value_name = "LINK")]
    make_pty: PathBuf,
    /// Keep the flash in this file, 1 MiB; it is made if it is not there.
    #[arg(long, value_name = "FILE")]
    flash: Option<PathBuf>,
    /// Take commands at this socket: see mcu-control.
    #[arg(long, value_name = "SOCKET")]
    control: Option<PathBuf>,
    /// The program that is in a new flash.
    #[arg(long, value_name = "FILE")]
    application: Option<PathBuf>,
    /// What runs when BOOT0 is 0.
    #[arg(long, value_enum, default_value = "uplift")]
    bootloader: Bootloader,
    /// What the application does with the record when it starts [default: clears with the vendor's
    /// bootloader, otherwise leaves].
    #[arg(long, value_enum, value_name = "WHAT")]
    record: Option<Application>,
    /// Hold the pace of a serial line, eleven bits a byte in each direction.
    #[arg(long, value_name = "BITS/S", value_parser = clap::value_parser!(u32).range(1..))]
    baud: Option<u32>,
    /// Multiply the flash's typical times; 0: it takes none.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    times: f64,
    /// The number of the chip, in hexadecimal.
    #[arg(long, value_name = "HEX", default_value = "413", value_parser = hexadecimal16)]
    device: u16,
    /// Size of the flash that the chip tells.
    #[arg(long, value_name = "KIB", default_value_t = Options::default().kib)]
    kib: u16,
    /// Nothing can be read, written or erased.
    #[arg(long)]
    read_protected: bool,
    /// Acknowledge what is done to this sector, and don't do it; may be given again.
    #[arg(long, value_name = "SECTOR", value_parser = clap::value_parser!(u8).range(..12))]
    write_protected: Vec<u8>,
    #[command(flatten)]
    faults: Faults,
    /// End after this time, as in 5m [default: never].
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    timeout: Option<Duration>,
    /// Print each event as one line of JSON.
    #[arg(long)]
    json: bool,
    /// Tell nothing of blocks that are written or read.
    #[arg(long)]
    quiet: bool,
}

#[derive(Debug, Args)]
struct Faults {
    /// Never answer in the loader.
    #[arg(long)]
    deaf: bool,
    /// Refuse the N-th block that is written, once.
    #[arg(long, value_name = "N")]
    refused_block: Vec<u64>,
    /// Lose the acknowledgement of the N-th block.
    #[arg(long, value_name = "N")]
    lost_ack: Vec<u64>,
    /// Turn a bit of the N-th byte from the computer over.
    #[arg(long, value_name = "N")]
    garbled: Vec<u64>,
    /// Turn a bit of the N-th block that is read over.
    #[arg(long, value_name = "N")]
    garbled_read: Vec<u64>,
    /// A bit of the flash that is never cleared, as in 08010010.3.
    #[arg(long, value_name = "HEX.BIT", value_parser = stuck)]
    stuck: Vec<(u32, u8)>,
    /// Each erase by the loader takes so long, as in 8s.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    slow_erase: Option<Duration>,
    /// The chip resets by itself when so many blocks have been written.
    #[arg(long, value_name = "N")]
    reset_after: Option<u64>,
}

impl Faults {
    fn all(&self) -> Vec<Fault> {
        let mut all = Vec::new();
        all.extend(self.deaf.then_some(Fault::Deaf));
        all.extend(self.refused_block.iter().copied().map(Fault::RefusedBlock));
        all.extend(self.lost_ack.iter().copied().map(Fault::LostAck));
        all.extend(self.garbled.iter().copied().map(Fault::Garbled));
        all.extend(self.garbled_read.iter().copied().map(Fault::GarbledRead));
        all.extend(self.stuck.iter().map(|(address, bit)| Fault::Stuck(*address, *bit)));
        all.extend(self.slow_erase.map(Fault::SlowErase));
        all.extend(self.reset_after.map(Fault::ResetAfter));
        all
    }
}

impl Arguments {
    pub(crate) fn run(self) -> anyhow::Result<bool> {
        let interrupt = Interrupt::listen(|| {}).context("signals can't be listened to")?;
        let options = self.options()?;
        let chip = Mcu::start(&self.make_pty, options)
            .with_context(|| format!("no chip at {}", self.make_pty.display()))?;
        let mut events = chip.events();
        let deadline = self.timeout.map(|timeout| Instant::now() + timeout);
        while interrupt.caught().is_none() {
            if let Some(event) = events.next(LOOK) {
                self.tell(&event)?;
            } else if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                break;
            }
        }
        Ok(true)
    }

    fn tell(&self, event: &Event) -> anyhow::Result<()> {
        if self.quiet && matches!(event, Event::Wrote { .. } | Event::Read { .. }) {
            return Ok(());
        }
        say(&if self.json { serde_json::to_string(event)? } else { event.to_string() })
    }

    fn options(&self) -> anyhow::Result<Options> {
        let mut content = Vec::new();
        if let Some(file) = &self.application {
            let program = std::fs::read(file).with_context(|| format!("{}", file.display()))?;
            content.push((super::bootloader::entry(self.bootloader), program));
        }
        let record = match self.bootloader {
            Bootloader::Vendor => Application::Clears,
            Bootloader::Uplift | Bootloader::None => Application::Leaves,
        };
        Ok(Options {
            content,
            file: self.flash.clone(),
            control: self.control.clone(),
            bootloader: self.bootloader,
            application: self.record.unwrap_or(record),
            baud: self.baud,
            times: self.times,
            device: self.device,
            kib: self.kib,
            is_read_protected: self.read_protected,
            write_protected: self.write_protected.clone(),
            faults: self.faults.all(),
        })
    }
}

/// What a simulated chip is to do.
#[derive(Debug, Args)]
pub(crate) struct Tell {
    /// The chip's socket.
    #[arg(value_name = "SOCKET")]
    socket: PathBuf,
    /// reset 0|1; cut N TEAR; fail N TEAR; ops; save FILE. TEAR: nothing (where it is left out), all, half or random.
    #[arg(value_name = "WORD", required = true)]
    words: Vec<String>,
}

impl Tell {
    /// Whether the chip does it.
    pub(crate) fn run(self) -> anyhow::Result<bool> {
        let answer = tell(&self.socket, &self.words.join(" "))
            .with_context(|| format!("no chip at {}", self.socket.display()))?;
        say(&answer)?;
        Ok(answer == "ok" || answer.parse::<u64>().is_ok())
    }
}

fn hexadecimal16(text: &str) -> Result<u16, String> {
    u16::from_str_radix(text, 16).map_err(|_| "four hexadecimal digits are expected".to_owned())
}

fn stuck(text: &str) -> Result<(u32, u8), String> {
    let wrong = || "ADDRESS.BIT is expected, as in 08010010.3".to_owned();
    let (address, bit) = text.split_once('.').ok_or_else(wrong)?;
    let address = u32::from_str_radix(address, 16).map_err(|_| wrong())?;
    let bit = bit.parse().ok().filter(|bit| *bit < 8).ok_or_else(wrong)?;
    Ok((address, bit))
}

/// Prints a line. An error, where `println!` would panic, when whoever reads has seen enough.
fn say(line: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
