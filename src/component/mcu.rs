//! A microcontroller beside this computer (an STM32F4 behind a UART), as a component.
//!
//! It goes the way of a component that another updater installs: that updater is `uplift` itself,
//! called as `run-stm32`, by the runner of the change. So the daemon never waits for a UART; a
//! restart of it leaves the work alone; what was agreed stands in the terms as the updater's
//! arguments, the board as JSON; percentages, the end and a vanished runner are what they are for
//! any updater. What is different:
//!
//! - The file is checked before anything is asked to change (`package::stm32`).
//! - The process tells why it failed ([`failure`]), and by its exit code whether the chip may have
//!   changed: only then there is something to go back from. Until the last word of the order is
//!   written, the old program starts whatever happens.
//! - The way back is the same upgrade with the program that was there, which is kept here
//!   (`kept`); a process that was cut off is followed by that.
//! - Success is what the chip says after a reset: its bootloader's record, or its flash read back.
//!
//! Every step is idempotent, and none is gone on with in its middle (ST-9). The rules `ST-n` are
//! those of docs/wire/stm32f4.md. The room must not know who asked.

mod fuzz;
mod kept;
mod layout;
mod loader;
mod said;
#[cfg(test)]
mod tests;
mod upgrade;
mod wires;
mod words;

use std::io;
use std::path::Path;
use std::sync::Arc;

use nix::sys::signal::Signal;

pub use self::fuzz::fuzz;
use self::kept::Kept;
use self::said::tell;
use self::upgrade::Upgrade;
use self::wires::Cable;
use crate::disk::{self, LocalDisk};
use crate::model::{BOARD_UNCHANGED, Board, Failure, FailureKind, ProgramDigest};

/// Exit code of a process that may have changed the chip's program.
const CHANGED: u8 = 1;
/// Largest file that is read: it is checked against the flash later.
const LARGEST_FILE: u64 = 2 << 20;

/// Why a process that worked on a chip failed, by the last lines that it wrote.
pub fn failure(last_lines: &[String]) -> Option<Failure> {
    said::failure(last_lines)
}

/// What is to be done with a chip.
#[derive(Debug, Clone, Copy)]
pub enum Work<'a> {
    /// It is to run the program in this file.
    Install(&'a Path),
    /// It is to run what it ran before it was to run this program.
    Revert(ProgramDigest),
}

/// Does it, and writes what happens; the exit code for it. Blocks.
pub fn run(board: &Board, what: Work<'_>) -> u8 {
    // Its runner may be killed: then it must not go on beside the way back. Where that can't be
    // asked for, the port has one owner still.
    let _ = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
    let kept = Kept::at(Arc::new(LocalDisk), &board.kept);
    let Err(failure) = work(board, kept.clone(), what) else { return 0 };
    let _ = said::complain(&mut io::stdout().lock(), &failure);
    if kept.is_unfinished() { CHANGED } else { BOARD_UNCHANGED }
}

fn work(board: &Board, kept: Kept, what: Work<'_>) -> Result<(), Failure> {
    let program = match what {
        Work::Install(file) => read(file)?,
        Work::Revert(_) => Vec::new(),
    };
    let (mut wires, lost_parity) = Cable::open(board)?;
    if lost_parity {
        println!("{} keeps no parity: it is no UART", board.port.display());
    }
    let mut tell = |told| tell(&told);
    let mut upgrade = Upgrade { board, wires: &mut wires, kept, tell: &mut tell };
    match what {
        Work::Install(file) => upgrade.install(&program, &name_of(file)),
        Work::Revert(away) => upgrade.revert(&away),
    }
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let read = disk::read_limited(file, LARGEST_FILE)
        .and_then(|read| read.ok_or_else(|| io::ErrorKind::NotFound.into()));
    read.map_err(|error| {
        Failure::from_io(FailureKind::InstallFailed, "the program can't be read", error)
    })
}

fn name_of(file: &Path) -> String {
    file.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}
