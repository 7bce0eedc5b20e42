//! A session that waits for the next step of an upgrade: some servers take seconds for a login, and
//! a host waits at each step.
//!
//! One at a time, and not for long: a place on the server is not ours to hold.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::transfer::ftp_client::session::Session;

/// How long a session waits for the next step before it is closed. The host goes on at once after
/// most of them.
const LONGEST: Duration = Duration::from_secs(30);

/// The place of that session; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Kept(Arc<Mutex<Place>>);

/// What [`Kept::lock`] gives: whoever has it is the only one that logs in for a step.
#[derive(Default)]
pub(super) struct Place(Option<Session>);

impl Kept {
    /// Waits for whoever logs in now: his session is there then, and no second one is made beside
    /// it.
    pub(super) fn lock(&self) -> MutexGuard<'_, Place> {
        // A session that a panic left is as good as any that broke.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session, where nobody logs in now: waits for nothing.
    pub(super) fn try_take(&self) -> Option<Session> {
        self.0.try_lock().ok()?.take()
    }
}

impl Place {
    /// The session, unless it has waited too long.
    pub(super) fn take(&mut self) -> Option<Session> {
        self.0.take().filter(|session| session.watchdog().release_limit())
    }

    /// Keeps a session that is in order. Another one that is there is closed.
    pub(super) fn put(&mut self, session: Session) {
        session.watchdog().limit_until_released(LONGEST);
        self.0 = Some(session);
    }
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Place").field(&self.0.is_some()).finish()
    }
}
