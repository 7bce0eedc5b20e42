//! The pull side of FTP: takes the one file that is for this payload out of the upload area, from our own server or
//! from any other (vsftpd as in the vendor's tutorial).
//!
//! Blocking, on a thread of its own ([`Pull`]). It trusts the server with nothing: every wait has a deadline, every
//! answer a limit, names are data. It knows neither who asked for the upgrade nor what a right program is.

mod attempts;
mod choice;
mod fetch;
mod listing;
mod pull;
mod session;
mod watchdog;

use std::time::Duration;

use crate::config;
use crate::model::{Failure, FailureKind};

pub use listing::{Listing, RemoteFile};
pub use pull::Pull;

use choice::Trust;
use session::{Session, SessionError};
use watchdog::Watchdog;

/// How long [`FtpClient::prepare`] may take: the host waits for the answer to its "enter" meanwhile. A login at vsftpd on a slow
/// processor, with a password hash of today, takes more than two seconds of it.
pub const PREPARE_DEADLINE: Duration = Duration::from_secs(4);

/// Where the upload area is.
#[derive(Debug, Clone)]
pub struct FtpClient {
    config: config::Ftp,
    trust: Trust,
}

impl FtpClient {
    /// A client for the server of the configuration. Nothing is connected yet.
    pub fn new(config: config::Ftp) -> Self {
        Self { config, trust: Trust::default() }
    }

    /// The client, which takes of several files for this payload the only one whose end is trusted: `trusts` gets the last bytes of a
    /// file, at most `longest_end` of them, and its size.
    #[must_use]
    pub fn trusting(self, longest_end: u64, trusts: impl Fn(&[u8], u64) -> bool + Send + Sync + 'static) -> Self {
        Self { trust: Trust::new(longest_end, trusts), ..self }
    }

    /// Empties the upload area, and so proves that the server answers and lets us in. For "enter", where FTP
    /// is offered when this succeeds, and for the end of an upgrade that took its file. Blocks for at most [`PREPARE_DEADLINE`].
    pub fn prepare(&self) -> Result<(), Failure> {
        let watchdog = Watchdog::start().map_err(no_thread)?;
        let _limit = watchdog.limit(PREPARE_DEADLINE);
        let mut session = Session::open(&self.config, &watchdog).map_err(SessionError::into_failure)?;
        session.empty_area().map_err(SessionError::into_failure)?;
        session.close();
        Ok(())
    }

    /// Proves that the server answers and lets us in, and changes nothing there. Blocks for at most [`PREPARE_DEADLINE`].
    pub fn examine(&self) -> Result<(), Failure> {
        let watchdog = Watchdog::start().map_err(no_thread)?;
        let _limit = watchdog.limit(PREPARE_DEADLINE);
        Session::open(&self.config, &watchdog).map_err(SessionError::into_failure)?.close();
        Ok(())
    }
}

fn no_thread(error: std::io::Error) -> Failure {
    Failure::new(FailureKind::Internal, "the FTP transfer can't be started").because(error)
}
