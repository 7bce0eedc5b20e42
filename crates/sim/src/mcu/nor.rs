//! The flash: programming clears bits, erasing a sector sets them, and either can be cut short or
//! fail. Kept in a file, if there is one. Knows nothing of what is in it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::options::Tear;

pub(super) const BASE: u32 = 0x0800_0000;
pub(super) const SIZE: usize = 1 << 20;
/// In KiB.
const SECTORS: [usize; 12] = [16, 16, 16, 16, 64, 128, 128, 128, 128, 128, 128, 128];

/// The flash of a chip.
#[derive(Debug)]
pub(super) struct Nor {
    bytes: Vec<u8>,
    file: Option<File>,
    operations: Arc<AtomicU64>,
    trap: Option<Trap>,
    stuck: Vec<(usize, u8)>,
    is_on: bool,
    random: fastrand::Rng,
}

/// What happens at the operation with this number.
#[derive(Debug, Clone, Copy)]
struct Trap {
    at: u64,
    tear: Tear,
    is_cut: bool,
}

/// An operation that was not done as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The power failed.
    Off,
    /// The flash says that it failed.
    Failed,
}

impl Nor {
    pub(super) fn open(
        path: Option<&Path>,
        content: &[(u32, Vec<u8>)],
        operations: Arc<AtomicU64>,
    ) -> io::Result<Self> {
        let mut bytes = vec![u8::MAX; SIZE];
        for (address, part) in content {
            let range =
                range(*address, part.len()).ok_or_else(|| wrong("content outside of it"))?;
            bytes[range].copy_from_slice(part);
        }
        let file = path.map(|path| keep(path, &mut bytes)).transpose()?;
        let random = fastrand::Rng::with_seed(1);
        Ok(Self { bytes, file, operations, trap: None, stuck: Vec::new(), is_on: true, random })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn operations(&self) -> u64 {
        self.operations.load(Ordering::Relaxed)
    }

    pub(super) const fn is_on(&self) -> bool {
        self.is_on
    }

    pub(super) const fn set_power(&mut self, is_on: bool) {
        self.is_on = is_on;
    }

    pub(super) fn set_trap(&mut self, after: u64, tear: Tear, is_cut: bool) {
        self.trap = Some(Trap { at: self.operations() + after, tear, is_cut });
    }

    /// This bit of the byte at this address is never cleared.
    pub(super) fn stick(&mut self, address: u32, bit: u8) {
        if let Some(range) = range(address, 1) {
            self.stuck.push((range.start, 1 << (bit % 8)));
            self.bytes[range.start] |= 1 << (bit % 8);
        }
    }

    /// The word at an address, if one is there.
    pub(super) fn word(&self, address: u32) -> Option<u32> {
        let word = self.bytes.get(range(address, 4)?)?.first_chunk()?;
        Some(u32::from_le_bytes(*word))
    }

    /// Programs bytes, so many at a time.
    pub(super) fn program(
        &mut self,
        address: u32,
        bytes: &[u8],
        width: usize,
    ) -> Result<(), Trouble> {
        let whole = range(address, bytes.len()).ok_or(Trouble::Failed)?;
        let mut done = Ok(());
        for (at, part) in (whole.start..).step_by(width).zip(bytes.chunks(width)) {
            let after: Vec<u8> =
                self.bytes[at..].iter().zip(part).map(|(old, new)| old & new).collect();
            done = self.operate(at, &after);
            if done.is_err() {
                break;
            }
        }
        self.keep(whole);
        done
    }

    pub(super) fn erase(&mut self, number: u8) -> Result<(), Trouble> {
        let range = sector(number).ok_or(Trouble::Failed)?;
        let done = self.operate(range.start, &vec![u8::MAX; range.len()]);
        self.keep(range);
        done
    }

    fn operate(&mut self, at: usize, after: &[u8]) -> Result<(), Trouble> {
        if !self.is_on {
            return Err(Trouble::Off);
        }
        let number = self.operations.fetch_add(1, Ordering::Relaxed);
        let trap = self.trap.take_if(|trap| trap.at == number);
        self.change(at, after, trap.map_or(Tear::All, |trap| trap.tear));
        for (place, bits) in &self.stuck {
            self.bytes[*place] |= bits;
        }
        match trap {
            Some(Trap { is_cut: true, .. }) => {
                self.is_on = false;
                Err(Trouble::Off)
            }
            Some(_) => Err(Trouble::Failed),
            None => Ok(()),
        }
    }

    fn change(&mut self, at: usize, after: &[u8], tear: Tear) {
        let bytes = &mut self.bytes[at..at + after.len()];
        let half = after.len() / 2;
        match tear {
            Tear::Nothing => {}
            Tear::All => bytes.copy_from_slice(after),
            // Of a single byte, the lower half.
            Tear::Half if half == 0 => bytes[0] = bytes[0] & 0xF0 | after[0] & 0x0F,
            Tear::Half if self.random.bool() => bytes[..half].copy_from_slice(&after[..half]),
            Tear::Half => bytes[half..].copy_from_slice(&after[half..]),
            Tear::Random => {
                for (byte, after) in bytes.iter_mut().zip(after) {
                    *byte ^= (*byte ^ after) & self.random.u8(..);
                }
            }
        }
    }

    /// A simulation whose disk is full has a flash that forgets; the next that reads the file sees it.
    fn keep(&self, range: Range<usize>) {
        if let Some(file) = &self.file {
            let _ = file.write_all_at(&self.bytes[range.clone()], range.start as u64);
        }
    }
}

/// The bytes of a sector, counted from the flash's beginning.
pub(super) fn sector(number: u8) -> Option<Range<usize>> {
    let size = SECTORS.get(usize::from(number))? << 10;
    let start = SECTORS.iter().take(usize::from(number)).sum::<usize>() << 10;
    Some(start..start + size)
}

pub(super) const fn count() -> u8 {
    SECTORS.len() as u8
}

/// So many bytes at an address, counted from the flash's beginning, if they are in it.
pub(super) fn range(address: u32, size: usize) -> Option<Range<usize>> {
    let start = usize::try_from(address.checked_sub(BASE)?).ok()?;
    let end = start.checked_add(size)?;
    (end <= SIZE).then_some(start..end)
}

/// Takes over what is in the file; makes it, if it is not there.
fn keep(path: &Path, bytes: &mut Vec<u8>) -> io::Result<File> {
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    let mut found = Vec::new();
    file.read_to_end(&mut found)?;
    match found.len() {
        0 => file.write_all_at(bytes, 0)?,
        SIZE => *bytes = found,
        _ => return Err(wrong("a file that is not 1 MiB")),
    }
    Ok(file)
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what} is no flash of this chip"))
}
