//! The loader in the chip's ROM, byte by byte (AN3155, version 3.1). It has no limits of time: what
//! a computer has begun, it waits for until the reset. It knows a flash and bytes, and no line.

use std::time::Duration;

use super::clock::Width;
use super::event::Event;
use super::nor::{self, Nor, Trouble};
use super::options::{Fault, Options};

const ACK: u8 = 0x79;
const NACK: u8 = 0x1F;
const WAKE: u8 = 0x7F;

const GET: u8 = 0x00;
const VERSION: u8 = 0x01;
const ID: u8 = 0x02;
const READ: u8 = 0x11;
const GO: u8 = 0x21;
const WRITE: u8 = 0x31;
const ERASE: u8 = 0x44;
const WRITE_PROTECT: u8 = 0x63;
const WRITE_UNPROTECT: u8 = 0x73;
const READ_PROTECT: u8 = 0x82;
const READ_UNPROTECT: u8 = 0x92;
const COMMANDS: [u8; 11] = [
    GET,
    VERSION,
    ID,
    READ,
    GO,
    WRITE,
    ERASE,
    WRITE_PROTECT,
    WRITE_UNPROTECT,
    READ_PROTECT,
    READ_UNPROTECT,
];
const PROTOCOL: u8 = 0x31;

/// A byte written here says how much voltage there is.
const VOLTAGE: u32 = 0xFFFF_0000;
/// 2.7 to 3.6 V.
const HIGH: u8 = 3;
const OPTION_BYTES: u32 = 0x1FFF_C000;
const SYSTEM: u32 = 0x1FFF_7A00;
const UNIQUE_ID: u32 = 0x1FFF_7A10;
const FLASH_SIZE: u32 = 0x1FFF_7A22;

/// What the loader was told so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    Wake,
    Command,
    Address(u8),
    /// How many bytes to read, and from where.
    Length(u32),
    /// A block, and where to.
    Block(u32),
    Sectors,
    Protected,
}

/// The loader since the last reset.
#[derive(Debug)]
pub(super) struct Loader {
    expected: Expected,
    heard: Vec<u8>,
    width: Width,
}

/// What outlives a reset of the loader.
#[derive(Debug)]
pub(super) struct Counts {
    faults: Vec<Fault>,
    written: u64,
    read: u64,
}

/// What is sent, after how long, and what happens besides.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) bytes: Vec<u8>,
    pub(super) after: Duration,
    /// Holds whatever the flash's times are scaled by.
    pub(super) at_least: Duration,
    pub(super) events: Vec<Event>,
    pub(super) then: Then,
}

/// What the chip does when the answer has left.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    #[default]
    Listen,
    Reset,
    Go(u32),
    /// The power has failed.
    Off,
}

/// What the loader works on.
#[derive(Debug)]
pub(super) struct Rom<'a> {
    pub(super) nor: &'a mut Nor,
    pub(super) options: &'a mut Options,
    pub(super) counts: &'a mut Counts,
}

impl Counts {
    pub(super) fn new(faults: &[Fault]) -> Self {
        Self { faults: faults.to_vec(), written: 0, read: 0 }
    }

    fn has(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }
}

impl Answer {
    fn ack() -> Self {
        Self { bytes: vec![ACK], ..Self::default() }
    }

    fn with(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend(bytes);
        self
    }

    fn told(mut self, event: Event) -> Self {
        self.events.push(event);
        self
    }
}

impl Loader {
    pub(super) const fn new() -> Self {
        Self { expected: Expected::Wake, heard: Vec::new(), width: Width::Byte }
    }

    /// What the loader answers to this byte, if anything.
    pub(super) fn hear(&mut self, byte: u8, rom: &mut Rom<'_>) -> Option<Answer> {
        self.heard.push(byte);
        let is_whole = match (self.expected, self.heard.as_slice()) {
            (Expected::Wake, _) => true,
            (Expected::Command | Expected::Length(_), heard) => heard.len() == 2,
            (Expected::Address(_), heard) => heard.len() == 5,
            (Expected::Block(_) | Expected::Protected, [count, rest @ ..]) => {
                rest.len() == usize::from(*count) + 2
            }
            (Expected::Sectors, [0xFF, 0xFD..=0xFF, rest @ ..]) => rest.len() == 1,
            (Expected::Sectors, [high, low, rest @ ..]) => {
                rest.len() == (usize::from(u16::from_be_bytes([*high, *low])) + 1) * 2 + 1
            }
            _ => false,
        };
        if !is_whole {
            return None;
        }
        let heard = std::mem::take(&mut self.heard);
        match self.expected {
            Expected::Wake => self.wake(byte),
            Expected::Command => Some(self.command(&heard, rom)),
            Expected::Address(command) => Some(self.address(command, &heard, rom)),
            Expected::Length(address) => Some(self.read(address, &heard, rom)),
            Expected::Block(address) => self.write(address, &heard, rom),
            Expected::Sectors => Some(self.erase(&heard, rom)),
            Expected::Protected => Some(self.protect(&heard, rom)),
        }
    }

    fn wake(&mut self, byte: u8) -> Option<Answer> {
        if byte != WAKE {
            return None;
        }
        self.expected = Expected::Command;
        Some(Answer::ack().told(Event::Woken))
    }

    fn refuse(&mut self, command: u8, why: &'static str) -> Answer {
        self.expected = Expected::Command;
        let event = Event::Refused { command, why };
        Answer { bytes: vec![NACK], ..Answer::default() }.told(event)
    }

    fn command(&mut self, heard: &[u8], rom: &mut Rom<'_>) -> Answer {
        let &[command, complement] = heard else { return Answer::default() };
        if complement != !command {
            return self.refuse(command, "its complement is wrong");
        }
        let [id_high, id_low] = rom.options.device.to_be_bytes();
        match command {
            GET => {
                let head = [COMMANDS.len() as u8, PROTOCOL];
                Answer::ack().with(&head).with(&COMMANDS).with(&[ACK])
            }
            VERSION => Answer::ack().with(&[PROTOCOL, 0, 0, ACK]),
            ID => Answer::ack().with(&[1, id_high, id_low, ACK]),
            READ | GO | WRITE | ERASE | WRITE_PROTECT | WRITE_UNPROTECT
                if rom.options.is_read_protected =>
            {
                self.refuse(command, "the flash is protected from being read")
            }
            READ | GO | WRITE => {
                self.expected = Expected::Address(command);
                Answer::ack()
            }
            ERASE => {
                self.expected = Expected::Sectors;
                Answer::ack()
            }
            WRITE_PROTECT => {
                self.expected = Expected::Protected;
                Answer::ack().told(Event::Protection { command })
            }
            WRITE_UNPROTECT | READ_PROTECT | READ_UNPROTECT => unprotect(command, rom),
            _ => self.refuse(command, "there is no such command"),
        }
    }

    fn address(&mut self, command: u8, heard: &[u8], rom: &Rom<'_>) -> Answer {
        let &[a, b, c, d, sum] = heard else { return Answer::default() };
        let address = u32::from_be_bytes([a, b, c, d]);
        if sum != xor(&heard[..4]) {
            return self.refuse(command, "the sum of the address is wrong");
        }
        let is_flash = nor::range(address, 1).is_some();
        let is_there = match command {
            READ => is_flash || memory(address, rom.options).is_some(),
            WRITE => is_flash && address.is_multiple_of(4) || address == VOLTAGE,
            _ => is_flash,
        };
        if !is_there {
            return self.refuse(command, "there is nothing at that address");
        }
        match command {
            READ => self.expected = Expected::Length(address),
            WRITE => self.expected = Expected::Block(address),
            _ => return Answer { then: Then::Go(address), ..Answer::ack() },
        }
        Answer::ack()
    }

    fn read(&mut self, address: u32, heard: &[u8], rom: &mut Rom<'_>) -> Answer {
        let &[count, complement] = heard else { return Answer::default() };
        if complement != !count {
            return self.refuse(READ, "the complement of the length is wrong");
        }
        self.expected = Expected::Command;
        let size = usize::from(count) + 1;
        let byte = |offset| match nor::range(address + offset, 1) {
            Some(range) => rom.nor.bytes()[range.start],
            None => memory(address + offset, rom.options).unwrap_or(u8::MAX),
        };
        let mut bytes: Vec<u8> = (0..=u32::from(count)).map(byte).collect();
        rom.counts.read += 1;
        if rom.counts.has(Fault::GarbledRead(rom.counts.read)) {
            bytes[size / 2] ^= 0x10;
        }
        Answer::ack().with(&bytes).told(Event::Read { address, size })
    }

    /// Nothing is answered where the acknowledgement gets lost.
    fn write(&mut self, address: u32, heard: &[u8], rom: &mut Rom<'_>) -> Option<Answer> {
        let (sum, [_, block @ ..]) = heard.split_last()? else { return None };
        if *sum != xor(&heard[..=block.len()]) {
            return Some(self.refuse(WRITE, "the sum of the block is wrong"));
        }
        if address == VOLTAGE {
            self.width = if block == [HIGH] { Width::Word } else { Width::Byte };
            self.expected = Expected::Command;
            return Some(Answer::ack());
        }
        if !block.len().is_multiple_of(4) || nor::range(address, block.len()).is_none() {
            return Some(self.refuse(WRITE, "the block is no whole words of the flash"));
        }
        rom.counts.written += 1;
        let number = rom.counts.written;
        if rom.counts.has(Fault::RefusedBlock(number)) {
            return Some(self.refuse(WRITE, "it was told to"));
        }
        self.expected = Expected::Command;
        let mut answer = Answer::ack().told(Event::Wrote { address, size: block.len() });
        answer.after = self.width.program(block.len());
        if !is_write_protected(address, rom.options) {
            let done = rom.nor.program(address, block, self.width.bytes());
            self.judge(WRITE, done, &mut answer);
        }
        if rom.counts.has(Fault::LostAck(number)) {
            answer.bytes.clear();
        }
        if rom.counts.has(Fault::ResetAfter(number)) {
            answer.then = Then::Reset;
        }
        Some(answer)
    }

    fn erase(&mut self, heard: &[u8], rom: &mut Rom<'_>) -> Answer {
        let Some((sum, told)) = heard.split_last() else { return Answer::default() };
        if *sum != xor(told) {
            return self.refuse(ERASE, "the sum of the sectors is wrong");
        }
        let (mut answer, sectors) = match told {
            [0xFF, 0xFF] => (Answer::ack().told(Event::MassErase), (0..nor::count()).collect()),
            [0xFF, 0xFD | 0xFE] => return self.refuse(ERASE, "the chip has one bank"),
            [_, _, list @ ..] => {
                let numbers = list.as_chunks::<2>().0.iter().map(|two| u16::from_be_bytes(*two));
                let numbers: Option<Vec<u8>> = numbers
                    .map(|number| u8::try_from(number).ok().filter(|it| *it < nor::count()))
                    .collect();
                let Some(numbers) = numbers else {
                    return self.refuse(ERASE, "there is no such sector");
                };
                (Answer::ack().told(Event::Erased { sectors: numbers.clone() }), numbers)
            }
            _ => return Answer::default(),
        };
        self.expected = Expected::Command;
        for sector in sectors {
            answer.after += self.width.erase(sector);
            if !rom.options.write_protected.contains(&sector) {
                let done = rom.nor.erase(sector);
                self.judge(ERASE, done, &mut answer);
            }
        }
        let slow = rom.counts.faults.iter().find_map(|fault| match fault {
            Fault::SlowErase(time) => Some(*time),
            _ => None,
        });
        answer.at_least = slow.unwrap_or_default();
        answer
    }

    /// What becomes of an answer when the flash did not do it.
    fn judge(&mut self, command: u8, done: Result<(), Trouble>, answer: &mut Answer) {
        match done {
            Ok(()) => {}
            Err(Trouble::Off) => *answer = Answer { then: Then::Off, ..Answer::default() },
            Err(Trouble::Failed) => *answer = self.refuse(command, "the flash failed"),
        }
    }

    fn protect(&mut self, heard: &[u8], rom: &mut Rom<'_>) -> Answer {
        let Some((sum, [_, sectors @ ..])) = heard.split_last() else { return Answer::default() };
        if *sum != xor(&heard[..=sectors.len()]) {
            return self.refuse(WRITE_PROTECT, "the sum of the sectors is wrong");
        }
        rom.options.write_protected = sectors.to_vec();
        Answer { then: Then::Reset, ..Answer::ack() }
    }
}

/// These commands need no more than themselves.
fn unprotect(command: u8, rom: &mut Rom<'_>) -> Answer {
    let mut answer = Answer::ack().with(&[ACK]).told(Event::Protection { command });
    match command {
        WRITE_UNPROTECT => rom.options.write_protected.clear(),
        READ_PROTECT => rom.options.is_read_protected = true,
        _ => {
            rom.options.is_read_protected = false;
            for sector in 0..nor::count() {
                let _ = rom.nor.erase(sector);
                answer.after += Width::Byte.erase(sector);
            }
            answer = answer.told(Event::MassErase);
        }
    }
    answer.then = Then::Reset;
    answer
}

fn is_write_protected(address: u32, options: &Options) -> bool {
    let place = nor::range(address, 1).map_or(0, |range| range.start);
    let holds = |number: &u8| nor::sector(*number).is_some_and(|range| range.contains(&place));
    options.write_protected.iter().any(holds)
}

/// What can be read besides the flash: option bytes, the chip's number and its size.
fn memory(address: u32, options: &Options) -> Option<u8> {
    let at = |start: u32, bytes: &[u8]| {
        let place = usize::try_from(address.checked_sub(start)?).ok()?;
        bytes.get(place).copied()
    };
    let protection = if options.is_read_protected { 0x55 } else { 0xAA };
    at(UNIQUE_ID, b"uplift-sim\0\0")
        .or_else(|| at(FLASH_SIZE, &options.kib.to_le_bytes()))
        .or_else(|| at(OPTION_BYTES, &[0xEF, protection, 0x10, 0x55, 0, 0, 0, 0]))
        .or_else(|| at(OPTION_BYTES + 8, &[0xFF, 0x0F, 0, 0xF0, 0, 0, 0, 0]))
        .or_else(|| at(SYSTEM, &[u8::MAX; 0x100]))
}

fn xor(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum ^ byte)
}
