//! The signals that ask a process to end, as events that it can wait for beside others: so that it
//! can tidy up first.

use std::fmt;
use std::io;
use std::sync::{Arc, OnceLock};
use std::thread;

use nix::sys::signal::Signal;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

/// What a shell adds to a signal's number for its exit code.
const BY_SIGNAL: i32 = 128;

/// Listens until the process ends: from the first signal on it is known that it should.
#[derive(Debug, Clone)]
pub(super) struct Interrupt {
    caught: Arc<OnceLock<Signal>>,
}

impl Interrupt {
    /// Takes INT, TERM and HUP over, and has `then` called at the first of them, on a thread of its
    /// own.
    pub(super) fn listen(then: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_io().build()?;
        let streams = Streams::open(&runtime)?;
        let interrupt = Self { caught: Arc::default() };
        let caught = Arc::clone(&interrupt.caught);
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            // The only one who sets it, and once.
            let _ = caught.set(runtime.block_on(streams.next()));
            then();
        })?;
        Ok(interrupt)
    }

    /// The signal that came.
    pub(super) fn caught(&self) -> Option<Ending> {
        self.caught.get().copied().map(Ending)
    }
}

struct Streams {
    interrupt: Stream,
    terminate: Stream,
    hang_up: Stream,
}

impl Streams {
    /// From here on none of them ends the process by itself.
    fn open(runtime: &Runtime) -> io::Result<Self> {
        let _inside = runtime.enter();
        let [interrupt, terminate, hang_up] =
            [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
        Ok(Self { interrupt: interrupt?, terminate: terminate?, hang_up: hang_up? })
    }

    async fn next(mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::SIGINT,
            _ = self.terminate.recv() => Signal::SIGTERM,
            _ = self.hang_up.recv() => Signal::SIGHUP,
        }
    }
}

/// A signal as the reason to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ending(Signal);

impl Ending {
    /// The exit code that a shell gives a process that the signal ended.
    pub(super) const fn exit_code(self) -> i32 {
        BY_SIGNAL + self.0 as i32
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0.as_str())
    }
}
