//! A Quectel module with its QuecThing platform behind it, on a pseudo-terminal: it announces
//! plans, fetches files and hands them out over AT commands (docs/use/quectel.md).
//!
//! Written from what the module's manual and the public sources of its kit say; it knows nothing of
//! the daemon.

mod event;
mod machine;
mod options;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};

pub use event::{Ending, Event, Watch};
pub use options::{Options, Plan, Stage};

use self::machine::Machine;
use crate::cloud::event::{Events, Log};
use crate::line::pace::{Pace, wait_until};
use crate::line::{Input, Port, PtyLine};
use crate::worker::Worker;

/// How soon a wish of the test is seen to.
const LOOK: Duration = Duration::from_millis(20);

/// A simulated module at work. Dropped, it is pulled out.
#[derive(Debug)]
pub struct Module {
    line: PtyLine,
    worker: Worker<Wish>,
    events: Log<Event>,
}

#[derive(Debug)]
enum Wish {
    Reset,
    Push,
    Fail,
    Plan(Plan),
    Say(Vec<u8>),
}

impl Module {
    /// Makes a pseudo-terminal with a link to the payload's end of it, and answers there.
    ///
    /// # Errors
    /// As [`PtyLine::new`].
    pub fn start(link: impl Into<PathBuf>, options: Options) -> io::Result<Self> {
        let line = PtyLine::new(link)?;
        let events = Log::new();
        let port = Port::made(line.clone());
        let pace = options.baud.map(Pace::new);
        let machine = Machine::new(options, events.clone(), Instant::now());
        let work = Work { port, pace, machine };
        let worker = Worker::start(channel(), move |wishes| work.run(wishes));
        Ok(Self { line, worker, events })
    }

    /// The path that the payload opens.
    #[must_use]
    pub fn link(&self) -> &Path {
        self.line.link()
    }

    /// All that happens.
    #[must_use]
    pub fn events(&self) -> Events<Event> {
        self.events.events()
    }

    /// The module's power fails for a moment: it says `RDY`, and repeats commands again.
    pub fn reset(&self) {
        self.worker.wish(Wish::Reset);
    }

    /// The platform pushes its plans now.
    pub fn push(&self) {
        self.worker.wish(Wish::Push);
    }

    /// The plan that runs fails by itself.
    pub fn fail(&self) {
        self.worker.wish(Wish::Fail);
    }

    /// The platform has another plan.
    pub fn plan(&self, plan: Plan) {
        self.worker.wish(Wish::Plan(plan));
    }

    /// These bytes go over the line as they are.
    pub fn say(&self, bytes: Vec<u8>) {
        self.worker.wish(Wish::Say(bytes));
    }

    /// The adapter is pulled out.
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

struct Work {
    port: Port,
    pace: Option<Pace>,
    machine: Machine,
}

impl Work {
    fn run(mut self, wishes: &Receiver<Wish>) {
        let mut bytes = [0; 4096];
        loop {
            loop {
                let now = Instant::now();
                match wishes.try_recv() {
                    Ok(Wish::Reset) => self.machine.reset(now),
                    Ok(Wish::Push) => self.machine.push(now),
                    Ok(Wish::Fail) => self.machine.fail("it was told to"),
                    Ok(Wish::Plan(plan)) => self.machine.plan(plan),
                    Ok(Wish::Say(bytes)) => self.machine.say(bytes),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return,
                }
            }
            self.machine.tick(Instant::now());
            self.send();
            let now = Instant::now();
            let deadline = self.machine.deadline().map_or(now + LOOK, |due| due.min(now + LOOK));
            if let Input::Bytes(count) = self.port.read(&mut bytes, deadline) {
                if let Some(pace) = &mut self.pace {
                    wait_until(pace.receive(Instant::now(), count));
                }
                self.machine.hear(&bytes[..count], Instant::now());
                self.send();
            }
        }
    }

    /// What the module says, when its last bit has left.
    fn send(&mut self) {
        while let Some(bytes) = self.machine.said() {
            if let Some(pace) = &mut self.pace {
                wait_until(pace.send(Instant::now(), bytes.len()));
            }
            self.port.write(&bytes);
        }
    }
}
