//! A conversation with ST's loader: one command after the other, each answered within its deadline.
//!
//! Nothing is resumed and nothing is made up for by filler bytes: whoever loses the thread resets
//! the chip (ST-1). It must not know what is written, or why.

use std::io;
use std::time::Duration;

use super::layout::{Address, BLOCK, Layout, Place, Sector};
use super::words::{self, Answer, Command, HELLO};
use crate::model::{Board, Failure, FailureKind};

/// How long an answer may take, beyond the time of its bytes on the wire (ST-12).
const ANSWER: Duration = Duration::from_secs(1);
/// How long the erasure of a sector may take (ST-12).
const ERASURE: Duration = Duration::from_secs(5);
/// How often the loader is entered, each time with a reset, and how often a block may be refused.
const TRIES: u32 = 3;
/// Where its memory tells the size of its flash, in KiB.
const FLASH_SIZE: u32 = 0x1FFF_7A22;
/// The size that the map needs.
const NEEDED_SIZE: u16 = 1024;
/// How often it may say that it is busy before it answers.
const MOST_BUSY: usize = 100;
/// Bits of a byte on the wire: start, eight, parity, stop.
const BITS: u64 = 11;

/// What leads to the chip: its UART, and what is wired to BOOT0 and NRST.
pub(super) trait Wires {
    /// Resets it into its loader.
    fn enter(&mut self) -> io::Result<()>;
    /// Resets it into its program.
    fn leave(&mut self) -> io::Result<()>;
    /// Forgets what has come.
    fn discard(&mut self) -> io::Result<()>;
    /// Sends these bytes.
    fn send(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Fills `buffer`; `TimedOut` where that takes longer.
    fn receive(&mut self, buffer: &mut [u8], deadline: Duration) -> io::Result<()>;
    /// Lets time pass.
    fn pause(&mut self, time: Duration);
}

/// Why the conversation ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoaderError {
    #[error("the serial port failed")]
    Port(#[from] io::Error),
    #[error("BOOT0 and NRST can't be set")]
    Entry(#[source] io::Error),
    #[error("the microcontroller's loader did not answer in {TRIES} tries, each after a reset")]
    Deaf,
    #[error("the microcontroller's loader fell silent {during}")]
    Silent { during: String },
    #[error("the microcontroller's loader said no {during}")]
    Refused { during: String },
    #[error("the microcontroller's loader answered {byte:#04x} {during}, which means nothing")]
    Garbled { byte: u8, during: String },
    #[error("the microcontroller's read-out protection is on")]
    Protected,
    #[error("the microcontroller's loader lacks the command {code:#04x}")]
    Lacks { code: u8 },
    #[error("the microcontroller has the device id {found:#05x}, and {expected:#05x} is expected")]
    Device { found: u16, expected: u16 },
    #[error("the microcontroller has {found} KiB of flash, and {NEEDED_SIZE} are needed")]
    Small { found: u16 },
    #[error("{0:#010x} is none of the addresses that may be touched")]
    Forbidden(u32),
}

impl LoaderError {
    const fn kind(&self) -> FailureKind {
        match self {
            Self::Deaf | Self::Silent { .. } => FailureKind::Timeout,
            Self::Garbled { .. } => FailureKind::TransferFailed,
            Self::Device { .. } | Self::Small { .. } | Self::Lacks { .. } => {
                FailureKind::WrongMachine
            }
            Self::Forbidden(_) => FailureKind::Internal,
            Self::Port(_) | Self::Entry(_) | Self::Refused { .. } | Self::Protected => {
                FailureKind::InstallFailed
            }
        }
    }

    const fn hint(&self) -> &'static str {
        match self {
            Self::Port(_) => {
                "see that the device of `port` is there, and that no other program has it open"
            }
            Self::Entry(_) => "see what `entry` of the component says, and try it by hand",
            Self::Deaf => {
                "check that `entry` sets BOOT0 and pulses NRST, that RX and TX are crossed, and that `baud` is one that both ends take"
            }
            Self::Silent { .. } | Self::Garbled { .. } | Self::Refused { .. } => {
                "check the wires, and the ground between both boards; a lower `baud` forgives more"
            }
            Self::Protected => {
                "uplift never removes a protection, because that erases the whole flash, the bootloader too; do that with the board maker's tools"
            }
            Self::Lacks { .. } | Self::Device { .. } | Self::Small { .. } => {
                "the component is for an STM32F405 or F407 with 1 MiB of flash; `device_id` is for another one whose first sectors are the same"
            }
            Self::Forbidden(_) => FailureKind::Internal.hint(),
        }
    }
}

impl From<LoaderError> for Failure {
    fn from(error: LoaderError) -> Self {
        let (kind, hint) = (error.kind(), error.hint());
        let failure = Self::new(kind, error.to_string()).with_hint(hint);
        match error {
            LoaderError::Port(cause) | LoaderError::Entry(cause) => failure.because(cause),
            _ => failure,
        }
    }
}

type Outcome<T = ()> = Result<T, LoaderError>;

/// A loader that was entered, and is the one of a chip that is meant.
#[derive(Debug)]
pub(super) struct Loader<'a, W> {
    wires: &'a mut W,
    layout: Layout,
    baud: u32,
}

impl<'a, W: Wires> Loader<'a, W> {
    /// Enters the loader (ST-1), and looks at the chip before anything of it is touched (ST-3).
    pub(super) fn enter(wires: &'a mut W, board: &Board) -> Outcome<Self> {
        let (layout, baud) = (Layout::of(board.scheme), board.baud);
        let mut loader = Self { wires, layout, baud };
        for _ in 0..TRIES {
            if loader.greet()? {
                loader.identify(board.device)?;
                return Ok(loader);
            }
        }
        Err(LoaderError::Deaf)
    }

    /// Lets the chip run as long as its bootloader may copy, and enters the loader again.
    pub(super) fn let_run(self, board: &Board) -> Outcome<Self> {
        self.wires.leave().map_err(LoaderError::Entry)?;
        self.wires.pause(board.copy_deadline);
        Self::enter(self.wires, board)
    }

    fn greet(&mut self) -> Outcome<bool> {
        self.wires.enter().map_err(LoaderError::Entry)?;
        self.wires.discard()?;
        self.wires.send(&[HELLO])?;
        let mut answer = [0];
        let deadline = self.deadline(2, ANSWER);
        match self.wires.receive(&mut answer, deadline) {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Ok(false),
            heard => {
                heard.map(|()| Answer::parse(answer[0]) == Some(Answer::Ack)).map_err(Into::into)
            }
        }
    }

    fn identify(&mut self, expected: u16) -> Outcome {
        let commands = self.listed(Command::Get)?;
        let lacking = Command::NEEDED.into_iter().find(|needed| !commands.contains(&needed.code()));
        if let Some(lacking) = lacking {
            return Err(LoaderError::Lacks { code: lacking.code() });
        }
        let id = self.listed(Command::GetId)?;
        let found = id.iter().fold(0, |id, byte| (id << 8) | u16::from(*byte));
        if found != expected {
            return Err(LoaderError::Device { found, expected });
        }
        let mut size = [0; 2];
        self.read(FLASH_SIZE, &mut size)?;
        match u16::from_le_bytes(size) {
            found if found < NEEDED_SIZE => Err(LoaderError::Small { found }),
            _ => Ok(()),
        }
    }

    /// The bytes of an answer that begins with their number.
    fn listed(&mut self, command: Command) -> Outcome<Vec<u8>> {
        let during = "as it was asked what it is";
        self.command(command, during)?;
        let mut count = [0];
        self.fill(&mut count, during)?;
        let mut list = vec![0; usize::from(count[0]) + 1];
        self.fill(&mut list, during)?;
        self.acknowledged(ANSWER, 0, during)?;
        Ok(list)
    }

    /// Reads bytes of one address on, block by block.
    pub(super) fn read(&mut self, address: u32, bytes: &mut [u8]) -> Outcome {
        let mut from = address;
        for block in bytes.chunks_mut(BLOCK) {
            let address = self.layout.address(from).ok_or(LoaderError::Forbidden(from))?;
            self.read_block(address, block)?;
            from = from.saturating_add(BLOCK as u32);
        }
        Ok(())
    }

    fn read_block(&mut self, address: Address, block: &mut [u8]) -> Outcome {
        let during = format!("as {:#010x} was read", address.get());
        match self.command(Command::Read, &during) {
            Err(LoaderError::Refused { .. }) => return Err(LoaderError::Protected),
            taken => taken?,
        }
        self.exchange(&words::address(address), ANSWER, &during)?;
        let length = words::length(block.len()).ok_or(LoaderError::Forbidden(address.get()))?;
        self.exchange(&length, ANSWER, &during)?;
        self.fill(block, &during)
    }

    /// Writes a block of whole words; one that was refused is sent again.
    pub(super) fn write(&mut self, address: u32, bytes: &[u8]) -> Outcome {
        let place =
            self.layout.place(address, bytes.len()).ok_or(LoaderError::Forbidden(address))?;
        let mut tries = 1;
        loop {
            match self.write_block(place, bytes) {
                Err(LoaderError::Refused { .. }) if tries < TRIES => tries += 1,
                written => return written,
            }
        }
    }

    fn write_block(&mut self, place: Place, bytes: &[u8]) -> Outcome {
        let during = format!("as {:#010x} was written", place.address().get());
        let (address, block) = words::block(place, bytes);
        self.command(Command::Write, &during)?;
        self.exchange(&address, ANSWER, &during)?;
        self.exchange(&block, ANSWER, &during)
    }

    /// Erases a sector.
    pub(super) fn erase(&mut self, sector: Sector) -> Outcome {
        let during = format!("as sector {} was erased", sector.get());
        self.command(Command::Erase, &during)?;
        self.exchange(&words::erasure(sector), ERASURE, &during)
    }

    fn command(&mut self, command: Command, during: &str) -> Outcome {
        self.exchange(&command.bytes(), ANSWER, during)
    }

    /// Sends a part of a command, and waits until it is acknowledged.
    fn exchange(&mut self, bytes: &[u8], deadline: Duration, during: &str) -> Outcome {
        self.wires.send(bytes)?;
        self.acknowledged(deadline, bytes.len(), during)
    }

    fn acknowledged(&mut self, deadline: Duration, sent: usize, during: &str) -> Outcome {
        let deadline = self.deadline(sent + 1, deadline);
        for _ in 0..MOST_BUSY {
            let mut answer = [0];
            self.receive(&mut answer, deadline, during)?;
            match Answer::parse(answer[0]) {
                Some(Answer::Ack) => return Ok(()),
                Some(Answer::Busy) => {}
                Some(Answer::Nack) => {
                    return Err(LoaderError::Refused { during: during.to_owned() });
                }
                None => {
                    return Err(LoaderError::Garbled {
                        byte: answer[0],
                        during: during.to_owned(),
                    });
                }
            }
        }
        Err(LoaderError::Silent { during: during.to_owned() })
    }

    fn fill(&mut self, buffer: &mut [u8], during: &str) -> Outcome {
        let deadline = self.deadline(buffer.len(), ANSWER);
        self.receive(buffer, deadline, during)
    }

    fn receive(&mut self, buffer: &mut [u8], deadline: Duration, during: &str) -> Outcome {
        self.wires.receive(buffer, deadline).map_err(|error| match error.kind() {
            io::ErrorKind::TimedOut => LoaderError::Silent { during: during.to_owned() },
            _ => LoaderError::Port(error),
        })
    }

    /// What so many bytes take on the wire, and more.
    fn deadline(&self, bytes: usize, more: Duration) -> Duration {
        let bits = (bytes as u64).saturating_mul(BITS);
        more + Duration::from_millis(bits.saturating_mul(1000) / u64::from(self.baud.max(1)))
    }

    /// What may be touched.
    pub(super) const fn layout(&self) -> Layout {
        self.layout
    }
}
