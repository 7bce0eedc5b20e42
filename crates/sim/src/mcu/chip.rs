//! The chip as a whole: its power, its line, its time. What runs on it is elsewhere.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};
use uplift_boot::{Crc, Failed, Flash};

use super::bootloader;
use super::clock::{Clock, Width};
use super::event::{Event, Start};
use super::loader::{Answer, Counts, Loader, Rom, Then};
use super::nor::{self, Nor};
use super::options::{Application, Bootloader, Fault, Options, Tear};
use crate::cloud::event::Log;
use crate::line::pace::{Pace, wait_until};
use crate::line::{Input, Port, PtyLine};

/// How soon a wish is seen to while nothing comes over the line.
const LOOK: Duration = Duration::from_millis(5);
/// So far the flash may be ahead of the time: an operation takes microseconds, and a sleep longer.
const AHEAD: Duration = Duration::from_millis(2);

/// What somebody beside the line wants.
#[derive(Debug)]
pub(super) enum Wish {
    /// `done` hears of it when the chip listens again, or its bootloader begins.
    Reset {
        boot0: bool,
        done: Sender<()>,
    },
    Trap {
        after: u64,
        tear: Tear,
        is_cut: bool,
    },
    Flash(Sender<Vec<u8>>),
    End,
}

/// What the chip is doing.
#[derive(Debug)]
enum Mode {
    Off,
    Loader(Loader),
    /// An application, or a bootloader that waits: it hears nothing.
    Program,
}

/// A chip, its line and its time.
#[derive(Debug)]
pub(super) struct Work {
    port: Port,
    pace: Option<Pace>,
    options: Options,
    counts: Counts,
    events: Log<Event>,
    nor: Nor,
    mode: Mode,
    boot0: bool,
    heard: u64,
    queue: VecDeque<Wish>,
    is_over: bool,
}

impl Work {
    pub(super) fn new(
        line: PtyLine,
        options: Options,
        events: Log<Event>,
        operations: Arc<AtomicU64>,
    ) -> io::Result<Self> {
        let mut nor = Nor::open(options.file.as_deref(), &options.content, operations)?;
        for fault in &options.faults {
            if let Fault::Stuck(address, bit) = fault {
                nor.stick(*address, *bit);
            }
        }
        Ok(Self {
            port: Port::made(line),
            pace: options.baud.map(Pace::with_parity),
            counts: Counts::new(&options.faults),
            options,
            events,
            nor,
            mode: Mode::Off,
            boot0: false,
            heard: 0,
            queue: VecDeque::from([Wish::Reset { boot0: false, done: channel().0 }]),
            is_over: false,
        })
    }

    pub(super) fn run(mut self, wishes: &Receiver<Wish>) {
        let mut bytes = [0; 4096];
        while !self.is_over {
            self.queue.extend(wishes.try_iter());
            if let Some(wish) = self.queue.pop_front() {
                self.grant(wish, wishes);
                continue;
            }
            if let Input::Bytes(count) = self.port.read(&mut bytes, Instant::now() + LOOK) {
                if let Some(pace) = &mut self.pace {
                    wait_until(pace.receive(Instant::now(), count));
                }
                self.hear(&bytes[..count], wishes);
            }
        }
    }

    fn grant(&mut self, wish: Wish, wishes: &Receiver<Wish>) {
        match wish {
            Wish::Reset { boot0, done } => {
                self.boot0 = boot0;
                self.reset(Some(done), wishes);
            }
            Wish::Trap { after, tear, is_cut } => self.nor.set_trap(after, tear, is_cut),
            Wish::Flash(answer) => {
                // Whoever asked may be gone.
                let _ = answer.send(self.nor.bytes().to_vec());
            }
            Wish::End => self.is_over = true,
        }
    }

    fn reset(&mut self, done: Option<Sender<()>>, wishes: &Receiver<Wish>) {
        self.nor.set_power(true);
        // What came before is lost.
        let mut lost = [0; 4096];
        while let Input::Bytes(_) = self.port.read(&mut lost, Instant::now()) {}
        self.events.tell(Event::Reset { boot0: self.boot0 });
        // Whoever waits for it may have given up.
        let _ = done.map(|done| done.send(()));
        if self.boot0 {
            self.mode = Mode::Loader(Loader::new());
            return;
        }
        let before = self.nor.operations();
        let bootloader = self.options.bootloader;
        let start = self.with_flash(wishes, |flash| bootloader::run(bootloader, flash));
        let Some(start) = start else { return self.fail() };
        self.mode = Mode::Program;
        let operations = self.nor.operations() - before;
        self.events.tell(Event::Booted { start, operations });
        if start == Start::Runs {
            self.start(bootloader::entry(bootloader), wishes);
        }
    }

    fn start(&mut self, address: u32, wishes: &Receiver<Wish>) {
        self.mode = Mode::Program;
        let from = nor::range(address, 1).map_or(0, |range| range.start);
        // A store behind the application is none of it.
        let size = match self.options.bootloader {
            Bootloader::None => nor::SIZE - from,
            Bootloader::Uplift | Bootloader::Vendor => {
                uplift_boot::Map::SEED.application.size as usize
            }
        };
        let area = &self.nor.bytes()[from..(from + size).min(nor::SIZE)];
        let used = area.iter().rposition(|byte| *byte != u8::MAX).map_or(0, |last| last + 1);
        let program = &area[..used.next_multiple_of(4)];
        let mut crc = Crc::new();
        crc.update(program);
        let sha256 = Sha256::digest(program).iter().map(|byte| format!("{byte:02x}")).collect();
        self.events.tell(Event::Started {
            address,
            size: program.len(),
            crc: crc.finish(),
            sha256,
        });
        if self.options.application == Application::Clears
            && self.with_flash(wishes, |flash| bootloader::clear(flash)).is_none()
        {
            self.fail();
        }
    }

    /// Runs a program that uses the flash; none if the power failed in it, or a reset came.
    fn with_flash<T>(
        &mut self,
        wishes: &Receiver<Wish>,
        program: impl FnOnce(&mut Running<'_>) -> T,
    ) -> Option<T> {
        let clock = Clock::new(Instant::now(), self.options.times);
        let mut running = Running { nor: &mut self.nor, queue: &mut self.queue, wishes, clock };
        let done = program(&mut running);
        running.wait(Duration::ZERO);
        self.nor.is_on().then_some(done)
    }

    fn fail(&mut self) {
        self.mode = Mode::Off;
        self.events.tell(Event::Cut { operations: self.nor.operations() });
    }

    fn hear(&mut self, bytes: &[u8], wishes: &Receiver<Wish>) {
        for byte in bytes {
            self.heard += 1;
            let is_garbled = self.options.faults.contains(&Fault::Garbled(self.heard));
            let byte = if is_garbled { byte ^ 0x10 } else { *byte };
            let Mode::Loader(loader) = &mut self.mode else { continue };
            if self.options.faults.contains(&Fault::Deaf) {
                continue;
            }
            let (nor, options, counts) = (&mut self.nor, &mut self.options, &mut self.counts);
            let answer = loader.hear(byte, &mut Rom { nor, options, counts });
            if let Some(answer) = answer {
                self.answer(answer, wishes);
            }
        }
    }

    fn answer(&mut self, answer: Answer, wishes: &Receiver<Wish>) {
        let mut clock = Clock::new(Instant::now(), self.options.times);
        clock.spend(answer.after);
        let due = clock.due().max(Instant::now() + answer.at_least);
        if !self.is_left_alone(due, wishes) {
            return; // The wish is a reset, or the end.
        }
        answer.events.into_iter().for_each(|event| self.events.tell(event));
        if let Some(pace) = &mut self.pace {
            wait_until(pace.send(Instant::now(), answer.bytes.len()));
        }
        self.port.write(&answer.bytes);
        match answer.then {
            Then::Listen => {}
            Then::Reset => self.reset(None, wishes),
            Then::Go(address) => self.start(address, wishes),
            Then::Off => self.fail(),
        }
    }

    /// Waits; whether it was not disturbed. What can be granted later is.
    fn is_left_alone(&mut self, due: Instant, wishes: &Receiver<Wish>) -> bool {
        loop {
            let left = due.saturating_duration_since(Instant::now());
            match wishes.recv_timeout(left) {
                Ok(wish @ (Wish::Reset { .. } | Wish::End)) => {
                    self.queue.push_back(wish);
                    return false;
                }
                Ok(wish) => self.queue.push_back(wish),
                Err(RecvTimeoutError::Timeout) => return true,
                Err(RecvTimeoutError::Disconnected) => {
                    wait_until(due);
                    return true;
                }
            }
        }
    }
}

/// The flash as a running program has it: it takes time, and a reset may come.
#[derive(Debug)]
struct Running<'a> {
    nor: &'a mut Nor,
    queue: &'a mut VecDeque<Wish>,
    wishes: &'a Receiver<Wish>,
    clock: Clock,
}

impl Running<'_> {
    /// Waits until the time is no more than `ahead` behind the flash.
    fn wait(&mut self, ahead: Duration) {
        loop {
            let left = self.clock.due().saturating_duration_since(Instant::now());
            if left <= ahead || !self.nor.is_on() {
                return;
            }
            match self.wishes.recv_timeout(left) {
                // Whatever it was doing ends here.
                Ok(wish @ (Wish::Reset { .. } | Wish::End)) => {
                    self.queue.push_back(wish);
                    self.nor.set_power(false);
                }
                Ok(wish) => self.queue.push_back(wish),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => wait_until(self.clock.due()),
            }
        }
    }
}

impl Flash for Running<'_> {
    fn read(&mut self, address: u32) -> Result<u32, Failed> {
        self.nor.word(address).filter(|_| self.nor.is_on()).ok_or(Failed)
    }

    fn program(&mut self, address: u32, word: u32) -> Result<(), Failed> {
        self.clock.spend(Width::Word.program(4));
        self.wait(AHEAD);
        self.nor.program(address, &word.to_le_bytes(), 4).map_err(|_| Failed)
    }

    fn erase(&mut self, sector: u8) -> Result<(), Failed> {
        self.clock.spend(Width::Word.erase(sector));
        self.wait(AHEAD);
        self.nor.erase(sector).map_err(|_| Failed)
    }
}
