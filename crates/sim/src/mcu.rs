//! An STM32F405 or F407 on a pseudo-terminal: flash that behaves like NOR, the loader in its ROM
//! byte by byte, and a bootloader, ours or one that does what the vendor's sample does.
//!
//! Written from docs/wire/stm32f4.md; it knows nothing of the daemon. What the bootloader does is the
//! core that is built for the chip.

mod bootloader;
mod chip;
mod clock;
pub(crate) mod command;
mod control;
mod event;
mod loader;
mod nor;
mod options;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;

pub use self::control::tell;
pub use self::event::{Event, Start};
pub use self::options::{Application, Bootloader, Fault, Options, Tear};

use self::chip::{Wish, Work};
use self::control::Control;
use crate::cloud::event::{Events, Log};
use crate::line::PtyLine;
use crate::worker::Worker;

/// A simulated chip at work. Dropped, it is pulled out; what is in its flash stays in its file.
#[derive(Debug)]
pub struct Mcu {
    line: PtyLine,
    worker: Worker<Wish>,
    operations: Arc<AtomicU64>,
    events: Log<Event>,
    control: Option<Control>,
}

impl Mcu {
    /// Makes a pseudo-terminal with a link to the computer's end of it, and switches the chip on,
    /// with BOOT0 at 0: its bootloader runs.
    ///
    /// # Errors
    /// As [`PtyLine::new`]; the file of the flash can't be read or made, or is not as large as one;
    /// the socket can't be made.
    pub fn start(link: impl Into<PathBuf>, options: Options) -> io::Result<Self> {
        let line = PtyLine::new(link)?;
        let (wishes, receiver) = channel();
        let (events, operations) = (Log::new(), Arc::<AtomicU64>::default());
        let control = options
            .control
            .clone()
            .map(|path| Control::open(path, wishes.clone(), Arc::clone(&operations)));
        let control = control.transpose()?;
        let work = Work::new(line.clone(), options, events.clone(), Arc::clone(&operations))?;
        let worker = Worker::start((wishes, receiver), move |wishes| work.run(wishes));
        Ok(Self { line, worker, operations, events, control })
    }

    /// The path that the computer opens.
    #[must_use]
    pub fn link(&self) -> &Path {
        self.line.link()
    }

    /// All that happens.
    #[must_use]
    pub fn events(&self) -> Events<Event> {
        self.events.events()
    }

    /// A pulse on NRST with BOOT0 like this; it brings the power back, too. Whatever the chip is
    /// doing is cut short, as by a failing power. Returns when the loader listens, or the bootloader
    /// begins.
    pub fn reset(&self, boot0: bool) {
        let (done, is_done) = channel();
        self.worker.wish(Wish::Reset { boot0, done });
        // A thread that has ended resets nothing more.
        let _ = is_done.recv();
    }

    /// The power fails in the flash operation that follows so many others; the chip is off then,
    /// until a reset.
    pub fn cut(&self, after: u64, tear: Tear) {
        self.worker.wish(Wish::Trap { after, tear, is_cut: true });
    }

    /// The flash operation that follows so many others fails with the power on, and says so.
    pub fn fail(&self, after: u64, tear: Tear) {
        self.worker.wish(Wish::Trap { after, tear, is_cut: false });
    }

    /// Flash operations since the chip was made: erases and programs of any width.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.operations.load(Ordering::Relaxed)
    }

    /// The whole flash, from 0x08000000 on, when all that was wished before is done. Empty if the
    /// chip has broken down.
    #[must_use]
    pub fn flash(&self) -> Vec<u8> {
        let (answer, flash) = channel();
        self.worker.wish(Wish::Flash(answer));
        flash.recv().unwrap_or_default()
    }

    /// The adapter is pulled out; the chip goes on.
    pub fn unplug(&self) {
        self.line.unplug();
    }

    /// It is put in again.
    ///
    /// # Errors
    /// As [`PtyLine::new`].
    pub fn plug(&self) -> io::Result<()> {
        self.line.plug()
    }
}

impl Drop for Mcu {
    fn drop(&mut self) {
        // It wishes, too.
        self.control = None;
        self.worker.wish(Wish::End);
    }
}
