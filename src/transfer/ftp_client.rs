//! The pull side of FTP: takes the one file that is for this payload out of the upload area, from
//! our own server or from any other (vsftpd as in the vendor's tutorial).
//!
//! Blocking, on a thread of its own ([`Pull`]). It trusts the server with nothing: every wait has a
//! deadline, every answer a limit, names are data. It knows neither who asked for the upgrade nor
//! what a right program is.

mod attempts;
mod choice;
mod fetch;
mod kept;
mod left;
mod listing;
mod pull;
mod session;
mod watchdog;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::config;
use crate::model::{Failure, FailureKind};

use kept::Kept;
use left::Left;
pub use listing::{Listing, RemoteFile};
pub use pull::Pull;

use choice::Trust;
use session::{Session, SessionError};
use watchdog::Watchdog;

/// How long [`FtpClient::prepare`] may take: the host waits for the answer to its "enter"
/// meanwhile. With one login, which takes three to four seconds at a server that hashes passwords
/// for long (Pure-FTPd's virtual users), on a slow processor at others too.
pub const PREPARE_DEADLINE: Duration = Duration::from_millis(4500);

/// Of that, how long files are deleted, where there are many.
const DELETING_LIMIT: Duration = Duration::from_millis(1500);

/// Where the upload area is. Clones share the session that waits for the next step.
#[derive(Debug, Clone)]
pub struct FtpClient {
    config: config::Ftp,
    kept: Kept,
    trust: Trust,
    /// What could not be deleted for the host that entered last.
    left: Arc<Mutex<Arc<Left>>>,
}

impl FtpClient {
    /// A client for the server of the configuration. Nothing is connected yet.
    pub fn new(config: config::Ftp) -> Self {
        let (kept, trust, left) = (Kept::default(), Trust::default(), Arc::default());
        Self { config, kept, trust, left }
    }

    /// The client, which takes of several files for this payload the only one that is trusted by one
    /// of its ends: `trusts` gets the first bytes of a file, the last ones, at most `longest_end` of
    /// each, and its size. It is asked without the first ones before those are fetched.
    #[must_use]
    pub fn trusting(
        self,
        longest_end: u64,
        trusts: impl Fn(&[u8], &[u8], u64) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self { trust: Trust::new(longest_end, trusts), ..self }
    }

    /// Empties the upload area, as far as its files can be deleted in time, and so proves that the server answers and lets us in. For "enter",
    /// where FTP is offered when this succeeds, and for the end of an upgrade that took its file.
    /// Blocks for at most [`PREPARE_DEADLINE`].
    pub fn prepare(&self) -> Result<(), Failure> {
        let mut place = self.kept.lock();
        let until = Instant::now() + PREPARE_DEADLINE;
        if let Some(session) = place.take() {
            match emptied(session, until) {
                Ok((session, left)) => {
                    self.know_left(left);
                    place.put(session);
                    return Ok(());
                }
                Err(error) if !error.is_transient() => return Err(error.into_failure()),
                // The server has closed it meanwhile.
                Err(_) => {}
            }
        }
        let session = self.open(until)?;
        let (session, left) = emptied(session, until).map_err(SessionError::into_failure)?;
        self.know_left(left);
        place.put(session);
        Ok(())
    }

    fn know_left(&self, left: Left) {
        *self.left.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(left);
    }

    fn left(&self) -> Arc<Left> {
        Arc::clone(&self.left.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Proves that the server answers and lets us in, and changes nothing there. What comes next
    /// soon finds the session. Blocks for at most [`PREPARE_DEADLINE`].
    pub fn wake(&self) -> Result<(), Failure> {
        let mut place = self.kept.lock();
        let session = match place.take() {
            Some(session) => session,
            None => self.open(Instant::now() + PREPARE_DEADLINE)?,
        };
        place.put(session);
        Ok(())
    }

    /// Proves the same, and keeps no session. Blocks for at most [`PREPARE_DEADLINE`].
    pub fn examine(&self) -> Result<(), Failure> {
        let session = self.open(Instant::now() + PREPARE_DEADLINE)?;
        let watchdog = session.watchdog().clone();
        let _limit = watchdog.limit(PREPARE_DEADLINE);
        session.close();
        Ok(())
    }

    fn open(&self, until: Instant) -> Result<Session, Failure> {
        let watchdog = Watchdog::start().map_err(no_thread)?;
        let _limit = watchdog.limit(until.saturating_duration_since(Instant::now()));
        Session::open(&self.config, &watchdog).map_err(SessionError::into_failure)
    }
}

/// Empties the upload area of a session, which is in order then.
fn emptied(mut session: Session, until: Instant) -> Result<(Session, Left), SessionError> {
    let watchdog = session.watchdog().clone();
    let _limit = watchdog.limit(until.saturating_duration_since(Instant::now()));
    let left = session.empty_area(until.min(Instant::now() + DELETING_LIMIT))?;
    Ok((session, left))
}

fn no_thread(error: std::io::Error) -> Failure {
    Failure::new(FailureKind::Internal, "the FTP transfer can't be started").because(error)
}
