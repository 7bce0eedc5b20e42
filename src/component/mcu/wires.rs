//! The wires to a chip: its serial port, which nobody else may have open, and what is wired to
//! BOOT0 and NRST.
//!
//! It must not know what is said over them. Blocks: it belongs to a process of its own.

use std::ffi::OsStr;
use std::io::{self, Read as _, Write as _};
use std::thread;
use std::time::{Duration, Instant};

use gpiocdev::Request;
use gpiocdev::line::Value;
use tokio_serial::{
    ClearBuffer, DataBits, FlowControl, Parity, SerialPort, SerialPortBuilder, StopBits,
};

use super::loader::Wires;
use crate::host::command::{self, Isolation, Reach};
use crate::model::{Board, BoardEntry as Entry, Failure, FailureKind, GpioLine, ModemLine, Pin};

/// How long NRST is held active; the chip wants 20 us.
const PULSE: Duration = Duration::from_millis(20);
/// What a chip, and what is wired between, may take to be there after a reset.
const START: Duration = Duration::from_millis(100);
/// How long a port is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long the command of `entry` may take.
const COMMAND_DEADLINE: Duration = Duration::from_secs(10);

/// The wires of a board, as they are.
pub(super) struct Cable {
    port: Box<dyn SerialPort>,
    pins: Pins,
}

/// What leads to BOOT0 and NRST. Outputs are held as long as the port is.
enum Pins {
    Command(Vec<String>),
    Modem { boot0: Pin<ModemLine>, reset: Pin<ModemLine> },
    Gpio { outputs: Request, boot0: Pin<GpioLine>, reset: Pin<GpioLine> },
}

impl Cable {
    /// Opens the port, for this process alone (ST-15), with 8 bits, even parity and one stop bit
    /// (ST-2); says whether it has lost the parity, as a pseudo-terminal does.
    pub(super) fn open(board: &Board) -> Result<(Self, bool), Failure> {
        let path = board.port.display();
        let failed = |error: tokio_serial::Error| {
            let sentence = format!("the serial port {path} can't be opened for this process alone");
            Failure::new(FailureKind::InstallFailed, sentence)
                .because(error)
                .with_hint("see that the device is there, and that no other program has it open")
        };
        let builder = tokio_serial::new(board.port.to_string_lossy(), board.baud)
            .data_bits(DataBits::Eight)
            .parity(Parity::Even)
            .stop_bits(StopBits::One)
            .flow_control(FlowControl::None)
            .exclusive(true);
        let port = open_within(PATIENCE, &builder).map_err(failed)?;
        let rate = port.baud_rate().map_err(failed)?;
        if rate.abs_diff(board.baud) > board.baud / 50 {
            let sentence =
                format!("the serial port {path} does not take {} baud: it says {rate}", board.baud);
            return Err(Failure::new(FailureKind::InstallFailed, sentence)
                .with_hint("give another `baud`, between 1200 and 115200"));
        }
        let lost_parity = port.parity().map_err(failed)? != Parity::Even;
        let pins = Pins::of(&board.entry).map_err(|error| {
            let sentence = "the outputs for BOOT0 and NRST can't be had";
            Failure::new(FailureKind::InstallFailed, sentence)
                .because(error)
                .with_hint("see what `entry` of the component says, and that nobody else has these outputs (`gpioinfo`)")
        })?;
        Ok((Self { port, pins }, lost_parity))
    }

    fn reset(&mut self, into_loader: bool) -> io::Result<()> {
        match &self.pins {
            Pins::Command(words) => run(words, if into_loader { "loader" } else { "run" })?,
            &Pins::Modem { boot0, reset } => {
                let port = &mut self.port;
                let mut set = |pin: Pin<ModemLine>, active| {
                    let level = pin.level(active);
                    match pin.line {
                        ModemLine::Rts => port.write_request_to_send(level),
                        ModemLine::Dtr => port.write_data_terminal_ready(level),
                    }
                };
                set(boot0, into_loader)?;
                pulse(|active| Ok(set(reset, active)?))?;
            }
            Pins::Gpio { outputs, boot0, reset } => {
                let set = |pin: &Pin<GpioLine>, active| {
                    let value = Value::from(pin.level(active));
                    outputs.set_value(pin.line.0, value).map(drop).map_err(io::Error::other)
                };
                set(boot0, into_loader)?;
                pulse(|active| set(reset, active))?;
            }
        }
        thread::sleep(START);
        Ok(())
    }
}

impl Pins {
    fn of(entry: &Entry) -> gpiocdev::Result<Self> {
        Ok(match entry {
            Entry::Command(words) => Self::Command(words.clone()),
            Entry::Modem { boot0, reset } => Self::Modem { boot0: *boot0, reset: *reset },
            Entry::Gpio { chip, boot0, reset } => {
                let idle = |pin: &Pin<GpioLine>| Value::from(pin.level(false));
                let outputs = Request::builder()
                    .on_chip(chip)
                    .with_consumer("uplift")
                    .with_line(boot0.line.0)
                    .as_output(idle(boot0))
                    .with_line(reset.line.0)
                    .as_output(idle(reset))
                    .request()?;
                Self::Gpio { outputs, boot0: *boot0, reset: *reset }
            }
        })
    }
}

fn pulse(mut set: impl FnMut(bool) -> io::Result<()>) -> io::Result<()> {
    set(true)?;
    thread::sleep(PULSE);
    set(false)
}

impl Wires for Cable {
    fn enter(&mut self) -> io::Result<()> {
        self.reset(true)
    }

    fn leave(&mut self) -> io::Result<()> {
        self.reset(false)
    }

    fn discard(&mut self) -> io::Result<()> {
        Ok(self.port.clear(ClearBuffer::Input)?)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.port.set_timeout(COMMAND_DEADLINE)?;
        self.port.write_all(bytes)
    }

    fn receive(&mut self, buffer: &mut [u8], deadline: Duration) -> io::Result<()> {
        let end = Instant::now() + deadline;
        let mut filled = 0;
        while filled < buffer.len() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.port.set_timeout(left)?;
            match self.port.read(&mut buffer[filled..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => filled += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn pause(&mut self, time: Duration) {
        thread::sleep(time);
    }
}

/// Opens it once its owner of before, who may be about to end, has let go of it.
fn open_within(
    patience: Duration,
    builder: &SerialPortBuilder,
) -> tokio_serial::Result<Box<dyn SerialPort>> {
    let end = Instant::now() + patience;
    loop {
        match builder.clone().open() {
            Err(_) if Instant::now() < end => thread::sleep(PULSE),
            opened => return opened,
        }
    }
}

/// The command of `entry`, which is told what it is to do.
fn run(words: &[String], what: &str) -> io::Result<()> {
    let (program, arguments) = words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let arguments: Vec<String> = arguments.iter().cloned().chain([what.to_owned()]).collect();
    let program = OsStr::new(program);
    command::run(program, &arguments, Reach::Machine, Isolation::Never, COMMAND_DEADLINE)
        .map(drop)
        .map_err(io::Error::other)
}
