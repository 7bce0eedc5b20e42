//! Ends a connection from outside: when it was cancelled, or when an operation has taken too long.
//!
//! A read time-out bounds the wait for the next byte, not for an answer: a server that sends one byte now and then
//! would hold us for ever. So a thread of its own shuts the sockets down, which wakes whoever reads from them.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Watches over the sockets of one client; cheap to clone. The thread ends with the last clone.
#[derive(Debug, Clone)]
pub(super) struct Watchdog {
    shared: Arc<Shared>,
    _end: Arc<End>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    sockets: Vec<TcpStream>,
    deadline: Option<Instant>,
    expired: bool,
    cancelled: bool,
    ended: bool,
}

/// Why a connection was ended from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stopped {
    Cancelled,
    Expired,
}

#[derive(Debug)]
struct End(Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.state().ended = true;
        self.0.changed.notify_all();
    }
}

impl Shared {
    /// Nothing that holds the lock can leave the state half changed, so a poisoned one is as good.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch(&self) {
        let mut state = self.state();
        while !state.ended {
            state = match state.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => {
                    state.expired = true;
                    state.deadline = None;
                    state.shut_down();
                    state
                }
                Some(left) => self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
    }
}

impl State {
    fn stopped(&self) -> Option<Stopped> {
        match self {
            Self { cancelled: true, .. } => Some(Stopped::Cancelled),
            Self { expired: true, .. } => Some(Stopped::Expired),
            _ => None,
        }
    }

    fn shut_down(&mut self) {
        for socket in self.sockets.drain(..) {
            // It fails for a connection that is gone already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

impl Watchdog {
    pub(super) fn start() -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let watched = Arc::clone(&shared);
        std::thread::Builder::new().name("ftp-watchdog".into()).spawn(move || watched.watch())?;
        Ok(Self { _end: Arc::new(End(Arc::clone(&shared))), shared })
    }

    /// Limits everything that is done while the result lives.
    pub(super) fn limit(&self, longest: Duration) -> Limit<'_> {
        let mut state = self.shared.state();
        state.deadline = Instant::now().checked_add(longest);
        state.expired = false;
        self.shared.changed.notify_all();
        Limit(self)
    }

    /// Watches over one more connection. One that comes too late is shut down at once.
    pub(super) fn watch(&self, socket: &TcpStream) -> io::Result<()> {
        let mut state = self.shared.state();
        state.sockets.push(socket.try_clone()?);
        if state.stopped().is_some() {
            state.shut_down();
        }
        Ok(())
    }

    /// Ends all connections: what is going on fails, at once, and so does all that comes.
    pub(super) fn cancel(&self) {
        let mut state = self.shared.state();
        state.cancelled = true;
        state.shut_down();
        self.shared.changed.notify_all();
    }

    /// Waits; less long, and then `false`, when cancelled.
    pub(super) fn pause(&self, longest: Duration) -> bool {
        let waited = self.shared.changed.wait_timeout_while(self.shared.state(), longest, |state| !state.cancelled);
        !waited.unwrap_or_else(PoisonError::into_inner).0.cancelled
    }

    /// Ends all connections, so that a broken one is not waited for; new ones may be made.
    pub(super) fn hang_up(&self) {
        self.shared.state().shut_down();
    }

    /// Why things fail, if it is because of the watchdog.
    pub(super) fn stopped(&self) -> Option<Stopped> {
        self.shared.state().stopped()
    }
}

/// Ends a limit when dropped.
#[derive(Debug)]
pub(super) struct Limit<'a>(&'a Watchdog);

impl Drop for Limit<'_> {
    fn drop(&mut self) {
        self.0.shared.state().deadline = None;
    }
}
