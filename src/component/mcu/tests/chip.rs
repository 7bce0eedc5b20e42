//! A simulated STM32F4 in the test's own process, written from the application note and
//! docs/wire/stm32f4.md: flash that only an erasure sets, ST's loader byte by byte, and at a reset
//! into the program, our bootloader's core or the vendor's order of operations.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use uplift_boot::{Boot, Failed, Flash, Map, boot};

use crate::component::mcu::loader::Wires;
use crate::disk::recording::{Moment, Recorded, RecordingDisk};
use crate::disk::{Disk, LocalDisk, Operation};
use crate::model::Scheme;

const BASE: u32 = 0x0800_0000;
const SIZE: usize = 1 << 20;
const ACK: u8 = 0x79;
const NACK: u8 = 0x1F;

/// What an operation of the flash leaves that the power fails in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tear {
    Nothing,
    All,
    Half,
    Random,
}

pub(super) const TEARS: [Tear; 4] = [Tear::Nothing, Tear::All, Tear::Half, Tear::Random];

/// What is wrong with a chip.
#[derive(Debug, Clone, Default)]
pub(super) struct Faults {
    pub(super) deaf: bool,
    pub(super) id: Option<u16>,
    pub(super) small: bool,
    pub(super) without_erase: bool,
    /// Read-out protection.
    pub(super) protected: bool,
    /// Sectors that take everything and keep nothing.
    pub(super) write_protected: Vec<u8>,
    /// How many blocks in a row are refused.
    pub(super) nacks: u32,
    /// From this block on, no answer comes any more.
    pub(super) silent_from_block: Option<u32>,
    /// One answer to a block is this byte.
    pub(super) garbled: Option<u8>,
    /// How often it says that it is busy before each erasure is done.
    pub(super) busy: u32,
    /// The bootloader does not run.
    pub(super) no_boot: bool,
    /// The program erases the record at its start.
    pub(super) clears_record: bool,
    /// A bit of the application's place that will not clear.
    pub(super) stuck: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Chip {
    pub(super) flash: Vec<u8>,
    pub(super) scheme: Scheme,
    pub(super) faults: Faults,
    /// Operations of the flash so far.
    pub(super) operations: u32,
    /// The operation that the power fails in.
    pub(super) cut: Option<(u32, Tear)>,
    /// The computer beside it.
    pub(super) host: Life,
    pub(super) resets: u32,
    /// What was sent, for a look at it.
    pub(super) heard: Vec<u8>,
    pub(super) commands: Vec<u8>,
    pub(super) in_loader: bool,
    /// The sectors that were erased by the loader.
    pub(super) erased: Vec<u8>,
    pub(super) blocks: u32,
    /// How long it was waited for at most: as a sector was erased, and otherwise.
    pub(super) patience: [Duration; 2],
    dead: bool,
    greeted: bool,
    inbox: Vec<u8>,
    step: Step,
    outbox: VecDeque<u8>,
    random: fastrand::Rng,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Command,
    Address { command: u8 },
    Length { address: u32 },
    Block { address: u32 },
    Erasure,
}

impl Chip {
    pub(super) fn new(scheme: Scheme) -> Self {
        Self {
            flash: vec![0xFF; SIZE],
            scheme,
            faults: Faults::default(),
            operations: 0,
            cut: None,
            host: Life::default(),
            resets: 0,
            heard: Vec::new(),
            commands: Vec::new(),
            in_loader: false,
            erased: Vec::new(),
            blocks: 0,
            patience: [Duration::ZERO; 2],
            dead: false,
            greeted: false,
            inbox: Vec::new(),
            step: Step::Command,
            outbox: VecDeque::new(),
            random: fastrand::Rng::with_seed(7),
        }
    }

    pub(super) fn with(mut self, address: u32, bytes: &[u8]) -> Self {
        self.bytes_mut(address, bytes.len()).copy_from_slice(bytes);
        self
    }

    pub(super) fn bytes(&self, address: u32, length: usize) -> &[u8] {
        let at = (address - BASE) as usize;
        &self.flash[at..at + length]
    }

    fn bytes_mut(&mut self, address: u32, length: usize) -> &mut [u8] {
        let at = (address - BASE) as usize;
        &mut self.flash[at..at + length]
    }

    /// Power, and a host, are there again; the chip starts.
    pub(super) fn power_on(&mut self) {
        self.cut = None;
        self.host.revive();
        self.dead = false;
        self.reset(false);
    }

    /// Power is there again, and a host that holds BOOT0: nothing but the loader runs.
    pub(super) fn power_on_in_loader(&mut self) {
        self.cut = None;
        self.host.revive();
        self.dead = false;
        self.reset(true);
    }

    pub(super) fn application(&self) -> u32 {
        if self.scheme == Scheme::Direct { BASE } else { Map::SEED.application.address }
    }

    fn reset(&mut self, into_loader: bool) {
        self.resets += 1;
        self.greeted = false;
        self.inbox.clear();
        self.outbox.clear();
        self.step = Step::Command;
        self.in_loader = into_loader;
        if !into_loader && !self.faults.no_boot && !self.dead {
            self.start();
        }
    }

    fn start(&mut self) {
        let runs = match self.scheme {
            Scheme::Uplift => matches!(boot(&Map::SEED, &mut Core(self)), Boot::Run(_)),
            Scheme::Vendor => self.vendors_boot(),
            Scheme::Direct => true,
        };
        if runs && self.faults.clears_record {
            for sector in [2, 3] {
                self.erase_sector(sector);
            }
        }
    }

    fn word(&self, address: u32) -> u32 {
        u32::from_le_bytes(self.bytes(address, 4).try_into().unwrap())
    }

    /// The vendor's order of operations.
    fn vendors_boot(&mut self) -> bool {
        let (record, size) = (0x0800_8000, self.word(0x080F_FC00));
        if self.word(record) == 0x1122_3344
            && self.word(record + 4) & 0xFF == 1
            && size <= 448 << 10
        {
            for sector in 4..=7 {
                self.erase_sector(sector);
            }
            for offset in (0..size).step_by(4) {
                let word = self.bytes(0x0808_0000 + offset, 4).to_vec();
                self.program(0x0801_0000 + offset, &word);
            }
        }
        self.word(0x0801_0000) & 0x2FFE_0000 == 0x2000_0000
    }

    /// Whether this operation is carried out; what of it, where the power fails in it.
    fn operation(&mut self) -> Option<Tear> {
        if self.dead {
            return Some(Tear::Nothing);
        }
        self.operations += 1;
        match self.cut {
            Some((at, tear)) if at == self.operations => {
                self.dead = true;
                Some(tear)
            }
            _ => None,
        }
    }

    fn erase_sector(&mut self, sector: u8) {
        let (address, size) = super::super::layout::SECTORS[usize::from(sector)];
        let tear = self.operation();
        if self.faults.write_protected.contains(&sector) {
            return;
        }
        let mut random = self.random.clone();
        let bytes = self.bytes_mut(address, size as usize);
        match tear {
            None | Some(Tear::All) => bytes.fill(0xFF),
            Some(Tear::Nothing) => {}
            Some(Tear::Half) => bytes[..size as usize / 2].fill(0xFF),
            Some(Tear::Random) => bytes.iter_mut().for_each(|byte| *byte |= random.u8(..)),
        }
        self.random = random;
    }

    fn program(&mut self, address: u32, word: &[u8]) {
        let tear = self.operation();
        let sector =
            super::super::layout::SECTORS.iter().rposition(|(start, _)| *start <= address).unwrap()
                as u8;
        if self.faults.write_protected.contains(&sector) {
            return;
        }
        let (stuck, mask) = (self.faults.stuck && address >= 0x0808_0000, self.random.u32(..));
        for (nth, (byte, new)) in self.bytes_mut(address, 4).iter_mut().zip(word).enumerate() {
            match tear {
                None | Some(Tear::All) => *byte &= new,
                Some(Tear::Nothing) => {}
                Some(Tear::Half) if nth < 2 => *byte &= new,
                Some(Tear::Half) => {}
                Some(Tear::Random) => *byte &= new | mask.to_le_bytes()[nth],
            }
            if stuck {
                *byte |= 0x10;
            }
        }
    }

    fn take(&mut self, byte: u8) {
        if !self.greeted {
            self.greeted = byte == 0x7F && !self.faults.deaf;
            if self.greeted {
                self.outbox.push_back(ACK);
            }
            return;
        }
        self.inbox.push(byte);
        let needed = match self.step {
            Step::Command | Step::Length { .. } => 2,
            Step::Address { .. } => 5,
            Step::Block { .. } => usize::from(self.inbox[0]) + 3,
            Step::Erasure if self.inbox.len() < 2 => 2,
            Step::Erasure => {
                let count = usize::from(u16::from_be_bytes([self.inbox[0], self.inbox[1]]));
                2 + (count + 1) * 2 + 1
            }
        };
        if self.inbox.len() == needed {
            let part = std::mem::take(&mut self.inbox);
            let step = std::mem::replace(&mut self.step, Step::Command);
            if let Some(next) = self.do_step(step, &part) {
                self.step = next;
            } else {
                self.outbox.push_back(NACK);
            }
        }
    }

    /// The step that follows; nothing where this one is refused.
    fn do_step(&mut self, step: Step, part: &[u8]) -> Option<Step> {
        let sum = part.iter().fold(0, |sum, byte| sum ^ byte);
        match step {
            Step::Command if part[0] != !part[1] => None,
            Step::Command => self.command(part[0]),
            Step::Address { .. } | Step::Block { .. } | Step::Erasure if sum != 0 => None,
            Step::Address { command } => {
                let address = u32::from_be_bytes(part[..4].try_into().unwrap());
                let is_flash = (BASE..BASE + SIZE as u32).contains(&address);
                let is_system = (0x1FFF_0000..0x1FFF_7A30).contains(&address);
                self.outbox.push_back(ACK);
                match command {
                    0x11 if is_flash || is_system => Some(Step::Length { address }),
                    0x31 if is_flash && address.is_multiple_of(4) => Some(Step::Block { address }),
                    _ => {
                        self.outbox.pop_back();
                        None
                    }
                }
            }
            Step::Length { .. } if part[0] != !part[1] => None,
            Step::Length { address } => {
                self.outbox.push_back(ACK);
                for nth in 0..=u32::from(part[0]) {
                    let byte = self.read(address + nth);
                    self.outbox.push_back(byte);
                }
                Some(Step::Command)
            }
            Step::Block { address } => self.block(address, &part[1..part.len() - 1]),
            Step::Erasure => {
                if part[0] == 0xFF {
                    return None;
                }
                for sector in part[2..part.len() - 1].chunks(2) {
                    assert_eq!(sector[0], 0);
                    self.erase_sector(sector[1]);
                    self.erased.push(sector[1]);
                }
                for _ in 0..self.faults.busy {
                    self.outbox.push_back(0x76);
                }
                self.outbox.push_back(ACK);
                Some(Step::Command)
            }
        }
    }

    fn command(&mut self, code: u8) -> Option<Step> {
        self.commands.push(code);
        let next = match code {
            0x00 => {
                let mut codes =
                    vec![0x31, 0x00, 0x01, 0x02, 0x11, 0x21, 0x31, 0x44, 0x63, 0x73, 0x82, 0x92];
                if self.faults.without_erase {
                    codes.retain(|code| *code != 0x44);
                }
                self.outbox.push_back(ACK);
                self.outbox.push_back((codes.len() - 1) as u8);
                self.outbox.extend(codes);
                Step::Command
            }
            0x02 => {
                let id = self.faults.id.unwrap_or(0x413).to_be_bytes();
                self.outbox.push_back(ACK);
                self.outbox.extend([1, id[0], id[1]]);
                Step::Command
            }
            0x11 if self.faults.protected => return None,
            0x11 | 0x31 => Step::Address { command: code },
            0x44 => Step::Erasure,
            _ => return None,
        };
        self.outbox.push_back(ACK);
        Some(next)
    }

    fn read(&self, address: u32) -> u8 {
        match address {
            0x1FFF_7A22 => 0x00,
            0x1FFF_7A23 => {
                if self.faults.small {
                    0x02
                } else {
                    0x04
                }
            }
            _ => self.flash.get((address - BASE) as usize).copied().unwrap_or(0),
        }
    }

    fn block(&mut self, address: u32, bytes: &[u8]) -> Option<Step> {
        if self.faults.nacks > 0 {
            self.faults.nacks -= 1;
            return None;
        }
        if !bytes.len().is_multiple_of(4) {
            return None;
        }
        self.blocks += 1;
        for (nth, word) in bytes.chunks(4).enumerate() {
            self.program(address + nth as u32 * 4, word);
        }
        match self.faults.garbled.take() {
            Some(byte) => self.outbox.push_back(byte),
            None => self.outbox.push_back(ACK),
        }
        if self.faults.silent_from_block.is_some_and(|from| self.blocks >= from) {
            self.outbox.clear();
        }
        Some(Step::Command)
    }
}

impl Wires for Chip {
    fn enter(&mut self) -> io::Result<()> {
        self.host.lives()?;
        self.reset(true);
        Ok(())
    }

    fn leave(&mut self) -> io::Result<()> {
        self.host.lives()?;
        self.reset(false);
        Ok(())
    }

    fn discard(&mut self) -> io::Result<()> {
        self.outbox.clear();
        Ok(())
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        for byte in bytes {
            self.host.step()?;
            self.heard.push(*byte);
            if self.in_loader && !self.dead {
                self.take(*byte);
            }
        }
        Ok(())
    }

    fn receive(&mut self, buffer: &mut [u8], deadline: Duration) -> io::Result<()> {
        self.host.lives()?;
        let which = usize::from(self.commands.last() != Some(&0x44));
        self.patience[which] = self.patience[which].max(deadline);
        if self.dead || self.outbox.len() < buffer.len() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        buffer.iter_mut().for_each(|byte| *byte = self.outbox.pop_front().unwrap_or_default());
        Ok(())
    }

    fn pause(&mut self, _: Duration) {}
}

/// How long a computer lives: it is gone after so many bytes that it sends and changes of its
/// disk.
#[derive(Debug, Clone, Default)]
pub(super) struct Life {
    left: Arc<Mutex<Option<u32>>>,
    steps: Arc<AtomicU32>,
    /// After how many steps its disk changed.
    changed_at: Arc<Mutex<Vec<u32>>>,
    recorded: Option<Arc<RecordingDisk>>,
}

impl Life {
    /// Writes down from now on what becomes of everything below this directory.
    pub(super) fn record(&mut self, root: &Path) {
        let clock = || Moment { boot: "one".into(), start: None };
        self.recorded = Some(Arc::new(RecordingDisk::new(root, Box::new(clock), &[])));
    }

    pub(super) fn changes(&self) -> Vec<Recorded> {
        self.recorded.as_ref().map_or_else(Vec::new, |disk| disk.changes())
    }

    pub(super) fn changed_at(&self) -> Vec<u32> {
        self.changed_at.lock().unwrap().clone()
    }

    fn change(&self) -> io::Result<()> {
        self.step()?;
        self.changed_at.lock().unwrap().push(self.steps());
        Ok(())
    }

    fn disk(&self) -> &dyn Disk {
        self.recorded.as_ref().map_or(&LocalDisk, |disk| &**disk)
    }

    pub(super) fn ends_after(&self, steps: u32) {
        *self.left.lock().unwrap() = Some(steps);
    }

    pub(super) fn revive(&self) {
        *self.left.lock().unwrap() = None;
    }

    /// Its steps so far.
    pub(super) fn steps(&self) -> u32 {
        self.steps.load(Ordering::Relaxed)
    }

    fn lives(&self) -> io::Result<()> {
        match *self.left.lock().unwrap() {
            Some(0) => Err(io::ErrorKind::BrokenPipe.into()),
            _ => Ok(()),
        }
    }

    fn step(&self) -> io::Result<()> {
        self.lives()?;
        self.steps.fetch_add(1, Ordering::Relaxed);
        if let Some(left) = &mut *self.left.lock().unwrap() {
            *left -= 1;
        }
        Ok(())
    }
}

/// Its disk: nothing changes there any more once it is gone.
impl Disk for Life {
    fn create(&self, path: &Path, mode: u32) -> io::Result<File> {
        self.change()?;
        self.disk().create(path, mode)
    }

    fn apply(&self, operation: Operation<'_>) -> io::Result<()> {
        self.change()?;
        let is_sync = matches!(
            operation,
            Operation::Sync { .. } | Operation::SyncData { .. } | Operation::SyncDirectory { .. }
        );
        // Who dies with the power on loses nothing, and a sync would only take time.
        if is_sync && self.recorded.is_none() {
            return Ok(());
        }
        self.disk().apply(operation)
    }
}

/// What the bootloader's core sees of a chip.
struct Core<'a>(&'a mut Chip);

impl Flash for Core<'_> {
    fn read(&mut self, address: u32) -> Result<u32, Failed> {
        if self.0.dead { Err(Failed) } else { Ok(self.0.word(address)) }
    }

    fn program(&mut self, address: u32, word: u32) -> Result<(), Failed> {
        self.0.program(address, &word.to_le_bytes());
        if self.0.dead { Err(Failed) } else { Ok(()) }
    }

    fn erase(&mut self, sector: u8) -> Result<(), Failed> {
        self.0.erase_sector(sector);
        if self.0.dead { Err(Failed) } else { Ok(()) }
    }
}
