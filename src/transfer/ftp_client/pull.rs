//! Watches the upload area while the host uploads, so that at its end mostly the check is left.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tracing::{debug, warn};

use crate::config;
use crate::model::{Failure, FailureKind};
use crate::stage::{Announced, Receiving, Staged};
use crate::transfer::ftp_client::fetch::{FetchError, Fetcher};
use crate::transfer::ftp_client::listing::RemoteFile;
use crate::transfer::ftp_client::session::{Attempts, Session, SessionError, is_past};
use crate::transfer::ftp_client::watchdog::Watchdog;
use crate::transfer::ftp_client::{FtpClient, no_thread};

/// How often the upload area is looked at. There is no event for it in FTP.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Longest exchange of a look: a handful of commands.
const LOOK_DEADLINE: Duration = Duration::from_secs(30);
/// How long after the host's word a file may go on changing before that is a failure.
const SETTLE_DEADLINE: Duration = Duration::from_secs(60);

/// The pull of one upgrade, on a thread of its own. Dropped, it stops at once and leaves nothing in the stage.
#[derive(Debug)]
pub struct Pull {
    host_is_done: mpsc::Sender<()>,
    watchdog: Watchdog,
}

/// Starts (or starts over) the reception of a file.
type Receive = Box<dyn FnMut(Announced) -> Result<Receiving, Failure> + Send>;

impl Pull {
    /// Begins to watch the upload area of `client`.
    ///
    /// A file for a product that `accepts_product` and that did not change between two looks is fetched into what
    /// `receive` gives (which may be called again: the file changed, or could not be resumed). The result comes after
    /// [`Pull::now`]; before it only for a failure that nothing can mend, such as a full disk or a wrong password. The
    /// fetched file is deleted on the server.
    pub fn start(
        client: &FtpClient,
        accepts_product: impl Fn(&str) -> bool + Send + 'static,
        receive: impl FnMut(Announced) -> Result<Receiving, Failure> + Send + 'static,
    ) -> Result<(Self, oneshot::Receiver<Result<Staged, Failure>>), Failure> {
        let (host_is_done, signals) = mpsc::channel();
        let (answer, answered) = oneshot::channel();
        let watchdog = Watchdog::start().map_err(no_thread)?;
        let puller = Puller {
            config: client.config.clone(),
            accepts_product: Box::new(accepts_product),
            receive: Box::new(receive),
            watchdog: watchdog.clone(),
            signals,
            session: None,
        };
        let run = move || {
            // Nobody waits for the result of a pull that was given up; the staged file removes itself.
            let _ = answer.send(puller.run());
        };
        thread::Builder::new().name("ftp-pull".into()).spawn(run).map_err(no_thread)?;
        Ok((Self { host_is_done, watchdog }, answered))
    }

    /// The host says that its upload is complete: a last look decides, and the result follows.
    pub fn now(&self) {
        // The thread is gone only when it has answered already.
        let _ = self.host_is_done.send(());
    }
}

impl Drop for Pull {
    fn drop(&mut self) {
        self.watchdog.cancel();
    }
}

struct Puller {
    config: config::Ftp,
    accepts_product: Box<dyn Fn(&str) -> bool + Send>,
    receive: Receive,
    watchdog: Watchdog,
    signals: mpsc::Receiver<()>,
    session: Option<Session>,
}

/// What is known between two looks.
#[derive(Default)]
struct Known {
    /// What the last look saw.
    seen: Option<RemoteFile>,
    /// What was fetched, as the server described it then.
    fetched: Option<(RemoteFile, Staged)>,
    /// The host's word came; when waiting for a quiet upload area ends.
    settle_until: Option<Instant>,
    attempts: Attempts,
}

impl Puller {
    fn run(mut self) -> Result<Staged, Failure> {
        let mut known = Known::default();
        let mut wait = Duration::ZERO;
        loop {
            self.wait(wait, &mut known)?;
            wait = LOOK_EVERY;
            let file = match self.look() {
                Ok(Ok(file)) => file,
                Ok(Err(failure)) if known.settle_until.is_some() => return Err(failure),
                Ok(Err(_)) => {
                    known = Known { settle_until: known.settle_until, ..Known::default() };
                    continue;
                }
                Err(error) => {
                    wait = self.after_failure(error, &mut known)?;
                    continue;
                }
            };
            known.attempts.progressed();
            match known.fetched.take() {
                Some((of, staged)) if of == file && known.settle_until.is_some() => return Ok(self.conclude(&file, staged)),
                Some((of, staged)) if of == file => known.fetched = Some((of, staged)),
                // The host's word makes a look final that would else have to be seen twice.
                _ if known.settle_until.is_some() || known.seen.as_ref() == Some(&file) => {
                    wait = self.fetch(&file, &mut known)?;
                }
                _ => {}
            }
            known.seen = Some(file);
        }
    }

    /// Waits for the next look; the host's word ends the wait.
    fn wait(&self, longest: Duration, known: &mut Known) -> Result<(), Failure> {
        match self.signals.recv_timeout(longest) {
            Ok(()) => {
                known.settle_until = known.settle_until.or_else(|| Instant::now().checked_add(SETTLE_DEADLINE));
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => return Err(SessionError::Cancelled.into_failure()),
        }
        Ok(())
    }

    /// The one file that is ours, or why there is none.
    fn look(&mut self) -> Result<Result<RemoteFile, Failure>, SessionError> {
        let _limit = self.watchdog.limit(LOOK_DEADLINE);
        let mut session = match self.session.take() {
            Some(session) => session,
            None => Session::open(&self.config, &self.watchdog)?,
        };
        let listing = session.list(&self.accepts_product)?;
        let found = match listing.only_one() {
            Err(failure) => Err(failure),
            Ok(name) => session.describe(name)?.ok_or_else(|| Failure::new(FailureKind::TransferFailed, "the uploaded file vanished")),
        };
        self.session = Some(session);
        Ok(found)
    }

    /// Whether and when to look again after a look that failed.
    fn after_failure(&self, error: SessionError, known: &mut Known) -> Result<Duration, Failure> {
        debug!(%error, "the upload area can't be looked at");
        self.watchdog.hang_up();
        let pause = known.attempts.next();
        match pause {
            Some(pause) if error.is_transient() => Ok(pause),
            // Before the host's word the server has all the time to come back.
            None if error.is_transient() && known.settle_until.is_none() => Ok(LOOK_EVERY),
            _ => Err(error.into_failure()),
        }
    }

    /// Fetches, and says how soon to look whether the file is still the same.
    fn fetch(&mut self, file: &RemoteFile, known: &mut Known) -> Result<Duration, Failure> {
        if is_past(known.settle_until) {
            return Err(Failure::new(FailureKind::Timeout, "the uploaded file did not stop changing"));
        }
        let mut fetcher = Fetcher { config: &self.config, watchdog: &self.watchdog, receive: &mut self.receive };
        match fetcher.fetch(&mut self.session, file) {
            Ok(staged) => {
                known.fetched = Some((file.clone(), staged));
                Ok(if known.settle_until.is_some() { Duration::ZERO } else { LOOK_EVERY })
            }
            Err(FetchError::Changed) => Ok(LOOK_EVERY),
            Err(FetchError::Broken(failure)) if known.settle_until.is_none() => {
                debug!(%failure, "fetching ahead failed");
                Ok(LOOK_EVERY)
            }
            Err(FetchError::Broken(failure) | FetchError::Lasting(failure)) => Err(failure),
        }
    }

    /// The file is ours now: it is deleted on the server.
    fn conclude(&mut self, file: &RemoteFile, staged: Staged) -> Staged {
        let _limit = self.watchdog.limit(LOOK_DEADLINE);
        if let Some(mut session) = self.session.take() {
            if let Err(error) = session.delete(&file.name) {
                // The next "enter" empties the area, or fails with this.
                warn!(name = ?file.name, %error, "the uploaded file was not deleted");
            }
            session.close();
        }
        staged
    }
}
