//! One file from the server into the stage: resumed after a broken connection, given up after too
//! many.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use suppaftp::FtpError;
use tracing::debug;

use crate::config;
use crate::digest::BUFFER_SIZE;
use crate::model::{Failure, FailureKind};
use crate::stage::{Announced, Receiving, Staged};
use crate::transfer::ftp_client::attempts::Attempts;
use crate::transfer::ftp_client::listing::RemoteFile;
use crate::transfer::ftp_client::session::{Session, SessionError, explain};
use crate::transfer::ftp_client::watchdog::{Stopped, Watchdog};

/// Longest download of one file, all its attempts together.
const FETCH_DEADLINE: Duration = Duration::from_secs(15 * 60);

/// How a fetch ended without the file.
#[derive(Debug)]
pub(super) enum FetchError {
    /// The file is another one now, or gone: look again.
    Changed,
    /// The connection failed too often; a later fetch may succeed.
    Broken(Failure),
    /// It would fail again.
    Lasting(Failure),
}

impl From<SessionError> for FetchError {
    fn from(error: SessionError) -> Self {
        if error.is_transient() {
            Self::Broken(error.into_failure())
        } else {
            Self::Lasting(error.into_failure())
        }
    }
}

/// How the bytes of one attempt ended.
enum Ended {
    /// All there.
    Complete,
    /// The connection broke, or the server stopped early.
    Early(SessionError),
    /// The server had more than it said.
    TooMany,
}

/// What a fetch needs of its surroundings.
pub(super) struct Fetcher<'a> {
    pub(super) config: &'a config::Ftp,
    pub(super) watchdog: &'a Watchdog,
    /// Starts (or starts over) the reception of a file.
    pub(super) receive: &'a mut (dyn FnMut(Announced) -> Result<Receiving, Failure> + Send),
}

impl Fetcher<'_> {
    /// Fetches `file`. `session` is the connection to use; it is lost when it breaks, and made
    /// anew.
    pub(super) fn fetch(
        &mut self,
        session: &mut Option<Session>,
        file: &RemoteFile,
    ) -> Result<Staged, FetchError> {
        let until = Instant::now() + FETCH_DEADLINE;
        let mut receiving = self.begin(file)?;
        let mut attempts = Attempts::default();
        loop {
            let _limit = self.watchdog.limit(until.saturating_duration_since(Instant::now()));
            let before = receiving.received();
            let ended = self.attempt(session, file, &mut receiving)?;
            let error = match ended {
                Ended::Complete => return receiving.finish(None).map_err(FetchError::Lasting),
                Ended::TooMany => return Err(FetchError::Changed),
                Ended::Early(error @ SessionError::NoResume(_)) => {
                    receiving = self.begin(file)?;
                    error
                }
                Ended::Early(error) if error.is_transient() => {
                    if receiving.received() > before {
                        attempts.progressed();
                    }
                    error
                }
                Ended::Early(error) => return Err(error.into()),
            };
            let Some(pause) = attempts.next_pause() else {
                return Err(FetchError::Broken(gave_up(error, file, &receiving)));
            };
            debug!(received = receiving.received(), %error, "the download broke off and is tried again");
            if !self.watchdog.pause(pause) {
                return Err(SessionError::Cancelled.into());
            }
            if Instant::now() >= until {
                return Err(FetchError::Broken(gave_up(error, file, &receiving)));
            }
        }
    }

    fn begin(&mut self, file: &RemoteFile) -> Result<Receiving, FetchError> {
        // A pull that was given up must not throw away what its successor receives.
        if self.watchdog.stopped() == Some(Stopped::Cancelled) {
            return Err(SessionError::Cancelled.into());
        }
        let announced = Announced::named(file.name.clone(), Some(file.size));
        (self.receive)(announced).map_err(FetchError::Lasting)
    }

    /// One download, from where the last one ended. Leaves the connection in `session` only if it
    /// is in order.
    fn attempt(
        &self,
        session: &mut Option<Session>,
        file: &RemoteFile,
        receiving: &mut Receiving,
    ) -> Result<Ended, FetchError> {
        let mut open =
            match session.take().map_or_else(|| Session::open(self.config, self.watchdog), Ok) {
                Ok(open) => open,
                Err(error) => return Ok(Ended::Early(error)),
            };
        // What is resumed must still be the same file.
        match open.describe(&file.name) {
            Ok(Some(now)) if now == *file => {}
            Ok(_) => {
                *session = Some(open);
                return Err(FetchError::Changed);
            }
            Err(error) => return Ok(Ended::Early(error)),
        }
        let mut download = match open.download(&file.name, receiving.received()) {
            Ok(download) => download,
            Err(error) => return Ok(Ended::Early(error)),
        };
        match self.read(&mut download, file.size, receiving) {
            Ok(Ended::Complete) => {
                let finished = open.finish(download);
                *session = finished.is_ok().then_some(open);
                // All bytes are there, whatever became of the server's last word; the check decides
                // what they are worth.
                Ok(Ended::Complete)
            }
            other => {
                open.abandon(download);
                other
            }
        }
    }

    fn read(
        &self,
        download: &mut impl Read,
        size: u64,
        receiving: &mut Receiving,
    ) -> Result<Ended, FetchError> {
        let mut buffer = vec![0; BUFFER_SIZE];
        loop {
            let left = size - receiving.received();
            match download.read(&mut buffer) {
                Ok(0) if left == 0 => return Ok(Ended::Complete),
                Ok(0) => return Ok(Ended::Early(self.broken(io::ErrorKind::UnexpectedEof.into()))),
                Ok(n) if n as u64 > left => return Ok(Ended::TooMany),
                Ok(n) => receiving.write(&buffer[..n]).map_err(FetchError::Lasting)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // All is there, and only the end of the connection is not seen.
                Err(_) if left == 0 => return Ok(Ended::Complete),
                Err(error) => return Ok(Ended::Early(self.broken(error))),
            }
        }
    }

    fn broken(&self, error: io::Error) -> SessionError {
        explain(FtpError::ConnectionError(error), self.watchdog, None)
    }
}

fn gave_up(error: SessionError, file: &RemoteFile, receiving: &Receiving) -> Failure {
    let failure = error.into_failure();
    let (received, size) = (receiving.received(), file.size);
    let sentence = format!(
        "the download of {:?} broke off after {received} of {size} bytes and could not be resumed",
        file.name
    );
    let kind = if failure.kind == FailureKind::Timeout {
        FailureKind::Timeout
    } else {
        FailureKind::TransferFailed
    };
    Failure {
        causes: [vec![failure.sentence], failure.causes].concat(),
        ..Failure::new(kind, sentence)
    }
}
