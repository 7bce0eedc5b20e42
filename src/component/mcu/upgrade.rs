//! The order of an upgrade, and of the way back: what is read, erased and written when, so that a
//! cut at any instant leaves a program (ST-7), or is known to have left none (ST-8).
//!
//! It must not know how bytes come to the chip.

use std::ops::Range;

use uplift_boot::{FileInfo, Image, Map, Order, Record};

use super::kept::{Before, Kept};
use super::layout::{BLOCK, SECTORS};
use super::loader::{Loader, LoaderError, Wires};
use crate::model::{Board, Failure, FailureKind, ProgramDigest, Scheme};
use crate::package::stm32;

const ERASED: u8 = 0xFF;
/// How often the bootloader may begin to copy.
const COPIES: u32 = 2;

/// The vendor's bootloader reads one byte of its state.
const VENDORS_ORDER: u8 = 1;
const NO_PROGRAM: &str = "the microcontroller has no program now: the next upgrade, or one that is begun again, writes it from its beginning";

/// What is told of the work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Told {
    /// What begins, for a person.
    Phase(&'static str),
    /// How much of the program was taken, in percent; it never goes back (ST-13).
    Percent(u8),
}

/// Work on one chip.
pub(super) struct Upgrade<'a, W> {
    pub(super) board: &'a Board,
    pub(super) wires: &'a mut W,
    pub(super) kept: Kept,
    pub(super) tell: &'a mut dyn FnMut(Told),
}

impl<W: Wires> Upgrade<'_, W> {
    /// Makes the chip run this image, whose file is called `name`.
    pub(super) fn install(&mut self, image: &[u8], name: &str) -> Result<(), Failure> {
        let done = self.there(image, name);
        self.left(done)
    }

    /// Makes the chip run what it ran before it was to run `away`.
    pub(super) fn revert(&mut self, away: &ProgramDigest) -> Result<(), Failure> {
        let done = self.back(away);
        self.left(done)
    }

    /// The chip never stays in its loader (ST-14); the first failure is the one to tell.
    fn left(&mut self, done: Result<(), Failure>) -> Result<(), Failure> {
        let left = self.wires.leave().map_err(LoaderError::Entry);
        done.and_then(|()| left.map_err(Failure::from))
    }

    fn there(&mut self, image: &[u8], name: &str) -> Result<(), Failure> {
        // The daemon has checked it; what may have no program behind it asks once more (ST-6).
        let padded = Padded::of(image, self.board.scheme)?;
        let before = match self.kept.before()? {
            // Once more the same: what it replaced is still what to go back to.
            Before::Known(installed) if installed == image => Before::Unfinished,
            before => before,
        };
        match self.board.scheme {
            Scheme::Direct => self.directly(image, &before)?,
            Scheme::Uplift | Scheme::Vendor => self.through_store(&padded, name, before)?,
        }
        self.kept.conclude(image)
    }

    fn back(&mut self, away: &ProgramDigest) -> Result<(), Failure> {
        if !self.kept.may_have(away)? {
            // It was cut off before any program was changed.
            return Ok(());
        }
        let Some(previous) = self.kept.previous()? else { return Err(nothing_to_go_back_to()) };
        if self.board.scheme == Scheme::Direct {
            self.directly(&previous, &Before::Unfinished)?;
        } else if !self.is_there(&previous)? {
            let image = Padded::of(&previous, self.board.scheme)?;
            self.through_store(&image, "previous.bin", Before::Unfinished)?;
        }
        self.kept.conclude(&previous)
    }

    /// Whether the chip has this program still, which is seen in the chip alone (ST-9). Then no
    /// order may stand to copy another one over it.
    fn is_there(&mut self, program: &[u8]) -> Result<bool, Failure> {
        let mut loader = enter(self.wires, self.board)?;
        (self.tell)(Told::Phase("reading the program that is there"));
        let is_there = reads(&mut loader, Map::SEED.application.address, program)?.is_none();
        if is_there {
            erase_record(&mut loader)?;
        }
        Ok(is_there)
    }

    /// ST-7.
    fn through_store(&mut self, image: &Padded, name: &str, before: Before) -> Result<(), Failure> {
        let loader = enter(self.wires, self.board)?;
        let mut loader = settled(loader, self.board, self.tell)?;
        let previous = match before {
            Before::Known(program) => Some(program),
            Before::Unfinished => None,
            Before::Unknown => {
                (self.tell)(Told::Phase("reading the program that is there, to keep it"));
                Some(back_up(&mut loader)?)
            }
        };
        (self.tell)(Told::Phase("erasing the store"));
        erase_record(&mut loader)?;
        for sector in Map::SEED.store.sectors() {
            erase(&mut loader, sector)?;
        }
        (self.tell)(Told::Phase("writing the store"));
        let store = Map::SEED.store.address;
        let mut progress = Progress::of(image.bytes.len(), self.tell);
        write(&mut loader, store, &image.bytes, &mut progress)?;
        // Where the bootloader proves what is in the store, nobody else need.
        if self.board.scheme == Scheme::Vendor {
            (self.tell)(Told::Phase("reading the store back"));
            prove(&mut loader, store, &image.bytes, "the store")?;
        }
        let info = FileInfo { size: image.record.size }.bytes(name.as_bytes());
        place(&mut loader, Map::SEED.file_info, &info)?;
        let record = Map::SEED.record.address;
        place(&mut loader, record + Record::BODY_OFFSET, &image.record.body())?;
        self.kept.begin(previous.as_deref())?;
        place(&mut loader, record, &Record::key())?;
        self.copied(image)
    }

    /// Lets the bootloader copy. What a cut has stopped, it begins again at the next reset, which is
    /// the one that the first look takes.
    fn copied(&mut self, image: &Padded) -> Result<(), Failure> {
        let mut missing = None;
        for _ in 0..COPIES {
            self.wires.leave().map_err(LoaderError::Entry)?;
            (self.tell)(Told::Phase("the bootloader copies the program"));
            self.wires.pause(self.board.copy_deadline);
            missing = self.missing(image)?;
            if missing.is_none() {
                break;
            }
        }
        missing.map_or(Ok(()), Err)
    }

    /// What is missing in the evidence, which is the bootloader's own word, or what the flash holds
    /// (ST-11).
    fn missing(&mut self, image: &Padded) -> Result<Option<Failure>, Failure> {
        let mut loader = enter(self.wires, self.board)?;
        if self.board.scheme == Scheme::Uplift {
            let mut record = [0; Record::WORDS * 4];
            loader.read(Map::SEED.record.address, &mut record)?;
            match Order::parse_bytes(&record, &Map::SEED) {
                Order::Copied(copied) if copied == image.record => return Ok(None),
                Order::Copied(_) | Order::Pending(_) => return Ok(Some(not_copied(self.board))),
                // A program of the vendor's kind erases the record at its start.
                Order::None => {}
            }
        }
        (self.tell)(Told::Phase("reading the program back"));
        let different = reads(&mut loader, Map::SEED.application.address, &image.bytes)?;
        Ok(different.map(|address| not_kept("the program", address)))
    }

    /// ST-8. Only the sectors that differ are erased and written.
    fn directly(&mut self, program: &[u8], before: &Before) -> Result<(), Failure> {
        let mut loader = enter(self.wires, self.board)?;
        (self.tell)(Told::Phase("reading the program that is there"));
        let sectors: Vec<Range<usize>> = sectors_of(program.len()).collect();
        let mut there = vec![0; sectors.last().map_or(0, |last| last.end)];
        let base = loader.layout().map.application.address;
        loader.read(base, &mut there)?;
        let mut wanted = program.to_vec();
        wanted.resize(there.len(), ERASED);
        let different: Vec<(u8, Range<usize>)> = (0..)
            .zip(sectors)
            .filter(|(_, sector)| there[sector.clone()] != wanted[sector.clone()])
            .collect();
        if different.is_empty() {
            return Ok(());
        }
        self.kept.begin((*before != Before::Unfinished).then_some(&there[..]))?;
        let replaced = replace(&mut loader, &different, &wanted, self.tell);
        replaced.map_err(|failure| failure.because(anyhow::anyhow!(NO_PROGRAM)))
    }
}

/// Erases these sectors, and writes what is wanted there. Where it begins the chip loses its
/// program.
fn replace<W: Wires>(
    loader: &mut Loader<'_, W>,
    sectors: &[(u8, Range<usize>)],
    wanted: &[u8],
    tell: &mut dyn FnMut(Told),
) -> Result<(), Failure> {
    let base = loader.layout().map.application.address;
    let total = sectors.iter().map(|(_, sector)| sector.len()).sum();
    let mut progress = Progress::of(total, tell);
    for (number, sector) in sectors {
        let (address, bytes) = (base + sector.start as u32, &wanted[sector.clone()]);
        (progress.tell)(Told::Phase("erasing; the microcontroller has no program meanwhile"));
        erase(loader, *number)?;
        (progress.tell)(Told::Phase("writing; the microcontroller has no program meanwhile"));
        write(loader, address, bytes, &mut progress)?;
        (progress.tell)(Told::Phase("reading back; the microcontroller has no program meanwhile"));
        prove(loader, address, bytes, "the program")?;
    }
    Ok(())
}

/// A chip that has no order to carry out: the application may be half of a program that one stands
/// for, whose copy is waited for once (ST-24).
fn settled<'a, W: Wires>(
    mut loader: Loader<'a, W>,
    board: &Board,
    tell: &mut dyn FnMut(Told),
) -> Result<Loader<'a, W>, Failure> {
    if !is_ordered(&mut loader, board.scheme)? {
        return Ok(loader);
    }
    tell(Told::Phase("the bootloader ends a copy that was ordered before"));
    Ok(loader.let_run(board)?)
}

/// Whether an order stands that was not carried out, or that of the vendor's, which says no end.
fn is_ordered<W: Wires>(loader: &mut Loader<'_, W>, scheme: Scheme) -> Result<bool, Failure> {
    let mut record = [0; Record::WORDS * 4];
    loader.read(Map::SEED.record.address, &mut record)?;
    let is_vendors = || record.starts_with(&Record::key()) && record[4] == VENDORS_ORDER;
    Ok(match scheme {
        Scheme::Uplift => matches!(Order::parse_bytes(&record, &Map::SEED), Order::Pending(_)),
        Scheme::Vendor => is_vendors(),
        Scheme::Direct => false,
    })
}

/// A program as it lies in the flash: of whole words.
struct Padded {
    bytes: Vec<u8>,
    record: Record,
}

impl Padded {
    fn of(bytes: &[u8], scheme: Scheme) -> Result<Self, Failure> {
        let image = stm32::check(bytes, scheme).map_err(|error| {
            let failure = Failure::new(FailureKind::WrongMachine, error.to_string());
            failure.with_hint(error.hint())
        })?;
        let (record, padding) = (image.record(), image.padding());
        Ok(Self { bytes: [bytes, padding].concat(), record })
    }
}

/// How much of a program was taken.
struct Progress<'a> {
    done: usize,
    of: usize,
    tell: &'a mut dyn FnMut(Told),
}

impl<'a> Progress<'a> {
    fn of(size: usize, tell: &'a mut dyn FnMut(Told)) -> Self {
        Self { done: 0, of: size.max(1), tell }
    }

    fn add(&mut self, bytes: usize) {
        let before = self.percent();
        self.done += bytes;
        let percent = self.percent();
        if percent != before {
            (self.tell)(Told::Percent(percent));
        }
    }

    fn percent(&self) -> u8 {
        (self.done.min(self.of) * 100 / self.of) as u8
    }
}

fn enter<'a, W: Wires>(wires: &'a mut W, board: &Board) -> Result<Loader<'a, W>, Failure> {
    Ok(Loader::enter(wires, board)?)
}

/// What is there, as far as it is a program: without the erased flash behind it.
fn back_up<W: Wires>(loader: &mut Loader<'_, W>) -> Result<Vec<u8>, Failure> {
    let area = Map::SEED.application;
    let mut program = vec![0; area.size as usize];
    loader.read(area.address, &mut program)?;
    let end = program.iter().rposition(|byte| *byte != ERASED).map_or(0, |last| last + 1);
    program.truncate(end.next_multiple_of(4));
    Ok(if Image::check(&program, &Map::SEED).is_ok() { program } else { Vec::new() })
}

/// No order to copy stands after this. That a sector is protected is told by nobody: it must be
/// seen.
fn erase_record<W: Wires>(loader: &mut Loader<'_, W>) -> Result<(), Failure> {
    for sector in Map::SEED.record.sectors() {
        erase(loader, sector)?;
    }
    let erased = [ERASED; Record::WORDS * 4];
    prove(loader, Map::SEED.record.address, &erased, "the erased record")
}

fn erase<W: Wires>(loader: &mut Loader<'_, W>, number: u8) -> Result<(), Failure> {
    let sector = loader.layout().sector(number);
    let sector = sector.ok_or(LoaderError::Forbidden(u32::from(number)))?;
    Ok(loader.erase(sector)?)
}

/// Writes into erased flash: blocks that are erased anyhow are not sent.
fn write<W: Wires>(
    loader: &mut Loader<'_, W>,
    address: u32,
    bytes: &[u8],
    progress: &mut Progress<'_>,
) -> Result<(), Failure> {
    let mut to = address;
    for block in bytes.chunks(BLOCK) {
        if block.iter().any(|byte| *byte != ERASED) {
            loader.write(to, block)?;
        }
        progress.add(block.len());
        to += BLOCK as u32;
    }
    Ok(())
}

/// Writes a few words, and reads them back.
fn place<W: Wires>(loader: &mut Loader<'_, W>, address: u32, bytes: &[u8]) -> Result<(), Failure> {
    let mut to = address;
    for block in bytes.chunks(BLOCK) {
        loader.write(to, block)?;
        to += BLOCK as u32;
    }
    prove(loader, address, bytes, "the record")
}

fn prove<W: Wires>(
    loader: &mut Loader<'_, W>,
    address: u32,
    bytes: &[u8],
    what: &str,
) -> Result<(), Failure> {
    let different = reads(loader, address, bytes)?;
    different.map_or(Ok(()), |different| Err(not_kept(what, different)))
}

fn not_kept(what: &str, address: u32) -> Failure {
    let sentence = format!("{what} is not what was written: it differs from {address:#010x} on");
    let hint = "a sector that is protected against writing takes everything and keeps nothing; a worn one may do that too";
    Failure::new(FailureKind::InstallFailed, sentence).with_hint(hint)
}

/// The first address from which on the flash holds something else than these bytes.
fn reads<W: Wires>(
    loader: &mut Loader<'_, W>,
    address: u32,
    bytes: &[u8],
) -> Result<Option<u32>, Failure> {
    let mut from = address;
    for wanted in bytes.chunks(BLOCK) {
        let mut block = [0; BLOCK];
        let block = &mut block[..wanted.len()];
        loader.read(from, block)?;
        if let Some(at) = block.iter().zip(wanted).position(|(one, other)| one != other) {
            return Ok(Some(from + at as u32));
        }
        from += BLOCK as u32;
    }
    Ok(None)
}

/// The sectors that the first `length` bytes of the flash touch.
fn sectors_of(length: usize) -> impl Iterator<Item = Range<usize>> {
    let base = SECTORS[0].0;
    let ranges = SECTORS.iter().map(move |(address, size)| {
        let start = (address - base) as usize;
        start..start + *size as usize
    });
    ranges.take_while(move |range| range.start < length)
}

fn not_copied(board: &Board) -> Failure {
    let time = humantime::format_duration(board.copy_deadline);
    let sentence = format!("the bootloader has not copied the program within {time}");
    Failure::new(FailureKind::Timeout, sentence).with_hint(
        "see that the chip runs its bootloader after a reset: `bootloader = \"vendor\"` is for the vendor's, and `copy_deadline` gives it more time",
    )
}

fn nothing_to_go_back_to() -> Failure {
    let sentence = "there is nothing to go back to: the microcontroller had no program before, or none that was kept";
    Failure::new(FailureKind::InstallFailed, sentence)
        .with_hint("install the version that is wanted")
}
