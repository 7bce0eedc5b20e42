//! Ends a connection from outside: when it was cancelled, or when an operation has taken too long.
//!
//! A read time-out bounds the wait for the next byte, not for an answer: a server that sends one
//! byte now and then would hold us for ever. So a thread of its own shuts the sockets down, which
//! wakes whoever reads from them.

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
    /// A client has one connection for commands and at most one for data; a new one takes the old
    /// one's place here, so that no descriptor is held longer than until then.
    control: Option<TcpStream>,
    data: Option<TcpStream>,
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

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Control,
    Data,
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
            state = match state
                .deadline
                .map(|deadline| deadline.saturating_duration_since(Instant::now()))
            {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => {
                    state.expired = true;
                    state.deadline = None;
                    state.shut_down();
                    state
                }
                Some(left) => {
                    self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
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
        for socket in [self.control.take(), self.data.take()].into_iter().flatten() {
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

    /// Watches over a connection. One that comes too late is shut down at once.
    pub(super) fn watch(&self, role: Role, socket: &TcpStream) -> io::Result<()> {
        let watched = Some(socket.try_clone()?);
        let mut state = self.shared.state();
        match role {
            Role::Control => (state.control, state.data) = (watched, None),
            Role::Data => state.data = watched,
        }
        if state.stopped().is_some() {
            state.shut_down();
        }
        Ok(())
    }

    /// Limits how long what is watched over may stay without use, until [`Self::release_limit`].
    pub(super) fn limit_until_released(&self, longest: Duration) {
        std::mem::forget(self.limit(longest));
    }

    /// Ends such a limit; `false` when it has passed, or all was ended otherwise.
    pub(super) fn release_limit(&self) -> bool {
        let mut state = self.shared.state();
        state.deadline = None;
        state.stopped().is_none()
    }

    /// Watches over the connection for data no more: it has no more to bring. A duplicate would
    /// hold it open, and some servers end a transfer only when the client has closed it.
    pub(super) fn release_data(&self) {
        self.shared.state().data = None;
    }

    /// Watches over nothing any more: another one does.
    pub(super) fn release(&self) {
        let mut state = self.shared.state();
        (state.control, state.data) = (None, None);
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
        let waited =
            self.shared
                .changed
                .wait_timeout_while(self.shared.state(), longest, |state| !state.cancelled);
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

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::net::TcpListener;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// Two ends of a connection; reading from either fails after [`PATIENCE`].
    fn connection() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (theirs, _) = listener.accept().unwrap();
        for socket in [&ours, &theirs] {
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
        }
        (ours, theirs)
    }

    fn reads_its_end(mut socket: &TcpStream) -> bool {
        matches!(socket.read(&mut [0]), Ok(0))
    }

    #[test]
    fn a_limit_ends_what_takes_too_long_and_nothing_behind_it() {
        let watchdog = Watchdog::start().unwrap();
        let (ours, _theirs) = connection();
        watchdog.watch(Role::Control, &ours).unwrap();
        let limit = watchdog.limit(Duration::from_millis(30));
        assert!(reads_its_end(&ours));
        assert_eq!(watchdog.stopped(), Some(Stopped::Expired));
        drop(limit);
        let _limit = watchdog.limit(PATIENCE);
        assert_eq!(watchdog.stopped(), None);
        assert!(watchdog.pause(Duration::from_millis(1)));
    }

    #[test]
    fn cancelling_wakes_whoever_reads_or_waits_and_whoever_connects_later() {
        let watchdog = Watchdog::start().unwrap();
        let (control, _control) = connection();
        let (data, _data) = connection();
        watchdog.watch(Role::Control, &control).unwrap();
        watchdog.watch(Role::Data, &data).unwrap();
        let canceller = watchdog.clone();
        let cancelling = std::thread::spawn(move || canceller.cancel());
        assert!(reads_its_end(&data) && reads_its_end(&control));
        assert!(!watchdog.pause(PATIENCE));
        cancelling.join().unwrap();
        let (late, _late) = connection();
        watchdog.watch(Role::Control, &late).unwrap();
        assert!(reads_its_end(&late));
        assert_eq!(watchdog.stopped(), Some(Stopped::Cancelled));
    }

    #[test]
    fn a_connection_that_is_over_is_not_held_open() {
        let next = |watchdog: &Watchdog| watchdog.watch(Role::Data, &connection().0).unwrap();
        for end in [next, Watchdog::release_data, Watchdog::release] {
            let watchdog = Watchdog::start().unwrap();
            let (first, its_peer) = connection();
            watchdog.watch(Role::Data, &first).unwrap();
            drop(first);
            end(&watchdog);
            assert!(reads_its_end(&its_peer));
        }
    }

    #[test]
    fn what_waits_for_its_next_use_is_ended_when_that_does_not_come() {
        let watchdog = Watchdog::start().unwrap();
        let (ours, theirs) = connection();
        watchdog.watch(Role::Control, &ours).unwrap();
        watchdog.limit_until_released(PATIENCE);
        assert!(watchdog.release_limit());
        watchdog.limit_until_released(Duration::from_millis(1));
        assert!(reads_its_end(&theirs));
        assert!(!watchdog.release_limit());
    }
}
