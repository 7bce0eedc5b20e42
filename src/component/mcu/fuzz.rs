//! What must hold whatever a microcontroller answers, whatever stands in its flash, and whatever
//! file is sent to it.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use uplift_boot::{Map, Order, Record};

use super::kept::Kept;
use super::layout::{BLOCK, SECTORS};
use super::loader::Wires;
use super::upgrade::Upgrade;
use super::{failure, said};
use crate::disk::LocalDisk;
use crate::model::{BOARD_DEVICE, Board, BoardEntry, Scheme};
use crate::package::stm32;

/// From so many bytes on, one byte of the input stands for an answer: otherwise the reading of a flash
/// takes more than a fuzzer gives.
const LONG: usize = 16;
/// Such a byte: what was written there.
const WRITTEN: u8 = 0;
/// The same, and the bootloader has said that it copied.
const COPIED: u8 = 1;
/// The commands that may be sent (ST-4).
const KNOWN: [u8; 5] = [0x00, 0x02, 0x11, 0x31, 0x44];

/// For the fuzzer: the first byte chooses what starts the program, the others are the answers on
/// the line, and in turn a record, a program and what the process tells of its end. Programs are
/// kept in `directory`, whose parent must exist. Panics where a promise is broken.
#[doc(hidden)]
pub fn fuzz(directory: &Path, bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else { return };
    let scheme = [Scheme::Uplift, Scheme::Vendor, Scheme::Direct][usize::from(*first) % 3];
    converse(directory, scheme, rest);
    if let Some(record) = rest.first_chunk::<{ Record::WORDS * 4 }>() {
        read_record(record);
    }
    if let Ok(image) = stm32::check(rest, scheme) {
        let size = image.record().size as usize;
        assert!(size >= rest.len() && size.is_multiple_of(4), "a program is padded to whole words");
    }
    let lines: Vec<String> = String::from_utf8_lossy(rest).lines().map(str::to_owned).collect();
    if let Some(told) = failure(&lines) {
        let mut again = Vec::new();
        assert!(said::complain(&mut again, &told).is_ok(), "a Vec takes all");
    }
}

/// What is an order is one of a size that can be, and is written as it was read.
fn read_record(bytes: &[u8; Record::WORDS * 4]) {
    let (Order::Pending(record) | Order::Copied(record)) = Order::parse_bytes(bytes, &Map::SEED)
    else {
        return;
    };
    assert!(record.size <= Map::SEED.application.size, "no program is larger than its place");
    assert_eq!((&bytes[..4], &bytes[4..20]), (&Record::key()[..], &record.body()[..]));
}

fn converse(directory: &Path, scheme: Scheme, answers: &[u8]) {
    let board = Board {
        port: "/dev/null".into(),
        baud: 115_200,
        device: BOARD_DEVICE,
        scheme,
        entry: BoardEntry::Command(Vec::new()),
        copy_deadline: Duration::ZERO,
        kept: directory.to_owned(),
    };
    let kept = Kept::at(Arc::new(LocalDisk), directory);
    let base = stm32::map(scheme).application.address;
    let image = [0x2001_FFFC, base + 9, 0, 0].map(u32::to_le_bytes).concat();
    // What was there is not read for minutes.
    assert!(kept.conclude(b"another").is_ok(), "the disk is sound");
    let answers = answers.iter().copied().collect();
    let mut wires = Script { scheme, answers, command: 0, address: 0, flash: BTreeMap::new() };
    let mut upgrade = Upgrade { board: &board, wires: &mut wires, kept, tell: &mut |_| {} };
    let done = upgrade.install(&image, "MOTOR_V02.00.00.00.bin");
    let kept = Kept::at(Arc::new(LocalDisk), directory);
    assert!(done.is_err() || !kept.is_unfinished(), "what has succeeded is known to be there");
}

/// A line on which these bytes come, and nothing more; long answers by a byte for each.
struct Script {
    scheme: Scheme,
    answers: VecDeque<u8>,
    /// The command, and the address, that were sent last.
    command: u8,
    address: u32,
    /// What was written.
    flash: BTreeMap<u32, u8>,
}

impl Script {
    /// ST-5.
    fn erased(&mut self, sector: u8) {
        assert!(sector >= 2 || self.scheme == Scheme::Direct, "sector {sector}");
        let (address, size) = SECTORS[usize::from(sector)];
        self.flash.retain(|at, _| !(address..address + size).contains(at));
    }

    fn fill(&self, buffer: &mut [u8], kind: u8) {
        for (at, byte) in (self.address..).zip(&mut *buffer) {
            *byte = match kind {
                WRITTEN | COPIED => self.flash.get(&at).copied().unwrap_or(0xFF),
                other => other,
            };
        }
        if kind == COPIED && buffer.len() == Record::WORDS * 4 {
            buffer[Record::COPIED_OFFSET as usize..].fill(0);
        }
    }
}

impl Wires for Script {
    fn enter(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn leave(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn discard(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// ST-4, ST-5.
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match (bytes, self.command) {
            ([_hello], _) => {}
            ([code, complement], _) if *code == !complement && KNOWN.contains(code) => {
                self.command = *code;
            }
            // How much is read.
            ([_, _], command) => assert_eq!(command, 0x11, "a command that is not known"),
            ([0, 0, 0, sector, _], 0x44) => self.erased(*sector),
            ([a, b, c, d, _], 0x11 | 0x31) => {
                self.address = u32::from_be_bytes([*a, *b, *c, *d]);
                let is_allowed = self.address >= 0x0800_8000 || self.scheme == Scheme::Direct;
                assert!(is_allowed, "{:#x}", self.address);
            }
            ([_, block @ .., _], 0x31) => {
                assert!(block.len() <= BLOCK, "a block is no longer");
                self.flash.extend((self.address..).zip(block.iter().copied()));
            }
            (other, command) => panic!("{other:?} for {command:#x}"),
        }
        Ok(())
    }

    fn receive(&mut self, buffer: &mut [u8], _: Duration) -> io::Result<()> {
        let needed = if buffer.len() < LONG { buffer.len() } else { 1 };
        if self.answers.len() < needed {
            self.answers.clear();
            return Err(io::ErrorKind::TimedOut.into());
        }
        let mut answers = self.answers.drain(..needed);
        match answers.next() {
            Some(kind) if buffer.len() >= LONG => {
                drop(answers);
                self.fill(buffer, kind);
            }
            first => {
                let all = first.into_iter().chain(answers);
                buffer.iter_mut().zip(all).for_each(|(to, byte)| *to = byte);
            }
        }
        Ok(())
    }

    fn pause(&mut self, _: Duration) {}
}
