//! Watches the upload area while the host uploads, so that at its end mostly the check is left.
//!
//! The host may store a file again under its name after it was fetched, and must get what it stored
//! last. So ahead of its word only that is fetched whose later change is bound to show
//! ([`RemoteFile::proves_itself_after`]); all else is fetched when it came.

use std::fs::File;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tracing::debug;

use crate::config;
use crate::model::{Failure, FailureKind};
use crate::stage::{Announced, Receiving, Staged};
use crate::transfer::ftp_client::attempts::Attempts;
use crate::transfer::ftp_client::choice::Trust;
use crate::transfer::ftp_client::fetch::{FetchError, Fetcher};
use crate::transfer::ftp_client::kept::Kept;
use crate::transfer::ftp_client::left::Left;
use crate::transfer::ftp_client::listing::{Listing, RemoteFile};
use crate::transfer::ftp_client::session::{Session, SessionError};
use crate::transfer::ftp_client::watchdog::{Stopped, Watchdog};
use crate::transfer::ftp_client::{FtpClient, no_thread};
use crate::transfer::through::{Open, Standing, Through};

/// How often the upload area is looked at. There is no event for it in FTP.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Longest exchange of a look: a handful of commands.
const LOOK_DEADLINE: Duration = Duration::from_secs(30);
/// How long after the host's word a file may go on changing before that is a failure.
const SETTLE_DEADLINE: Duration = Duration::from_secs(60);

/// The pull of one upgrade, on a thread of its own. Dropped, it stops at once and leaves nothing in
/// the stage.
#[derive(Debug)]
pub struct Pull {
    host_is_done: mpsc::Sender<()>,
    watchdog: Watchdog,
    /// Until then an upload may go straight through.
    _open: Open,
}

/// Starts (or starts over) the reception of a file.
type Receive = Box<dyn FnMut(Announced) -> Result<Receiving, Failure> + Send>;

impl Pull {
    /// Begins to watch the upload area of `client`.
    ///
    /// A file for a product that `accepts_product` and that has not changed for long enough is
    /// fetched into what `receive` gives (which may be called again: the file changed, or could not
    /// be resumed; and for the only file there is, if it is not ours: its refusal is the result
    /// then). The result comes after [`Pull::now`]; before it only for a failure that nothing can
    /// mend, such as a full disk or a wrong password. The file stays on the server, for
    /// [`FtpClient::prepare`] to delete.
    ///
    /// An upload that went straight through is in the stage already: it is the result where it is
    /// whole, and the only one.
    pub fn start(
        client: &FtpClient,
        accepts_product: impl Fn(&str) -> bool + Send + 'static,
        receive: impl FnMut(Announced) -> Result<Receiving, Failure> + Send + 'static,
        open: Open,
    ) -> Result<(Self, oneshot::Receiver<Result<Staged, Failure>>), Failure> {
        let (host_is_done, signals) = mpsc::channel();
        let (answer, answered) = oneshot::channel();
        let session = client.kept.try_take();
        let watchdog = session
            .as_ref()
            .map_or_else(Watchdog::start, |session| Ok(session.watchdog().clone()))
            .map_err(no_thread)?;
        let mut puller = Puller {
            config: client.config.clone(),
            trust: client.trust.clone(),
            accepts_product: Box::new(accepts_product),
            receive: Box::new(receive),
            through: open.through(),
            watchdog: watchdog.clone(),
            signals,
            session,
            kept: client.kept.clone(),
            left: client.left(),
        };
        let run = move || {
            let result = puller.run();
            // Before the result is known: the next step may come at once.
            puller.keep_session();
            // Nobody waits for the result of a pull that was given up; the staged file removes
            // itself.
            let _ = answer.send(result);
        };
        thread::Builder::new().name("ftp-pull".into()).spawn(run).map_err(no_thread)?;
        Ok((Self { host_is_done, watchdog, _open: open }, answered))
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
    trust: Trust,
    accepts_product: Box<dyn Fn(&str) -> bool + Send>,
    receive: Receive,
    through: Through,
    watchdog: Watchdog,
    signals: mpsc::Receiver<()>,
    session: Option<Session>,
    kept: Kept,
    /// What lay there before the host came.
    left: Arc<Left>,
}

/// What a look found.
enum Found {
    /// An upload that went straight through.
    Here(Staged),
    /// A file on the server.
    There(RemoteFile),
}

/// Why a look found no file.
struct Nothing {
    failure: Failure,
    /// The name of the one file that is there, and not ours.
    only_other: Option<String>,
}

/// What is known between two looks.
#[derive(Default)]
struct Known {
    /// What the last look saw, and when one saw it first.
    seen: Option<(RemoteFile, Instant)>,
    /// What was fetched, as the server described it then.
    fetched: Option<(RemoteFile, Staged)>,
    /// The host's word came; when waiting for a quiet upload area ends.
    settle_until: Option<Instant>,
    attempts: Attempts,
}

impl Known {
    /// Notes what a look saw. The time is that of its end, so that it was seen at least as long ago
    /// as is counted.
    fn see(&mut self, file: &RemoteFile) {
        if self.seen.as_ref().is_none_or(|(seen, _)| seen != file) {
            self.seen = Some((file.clone(), Instant::now()));
        }
    }

    /// After the host's word it has stored all; before it, a later change must be bound to show.
    fn may_fetch(&self, file: &RemoteFile) -> bool {
        let stood = self.seen.as_ref().map_or(Duration::ZERO, |(_, since)| since.elapsed());
        self.settle_until.is_some()
            || file.proves_itself_after().is_some_and(|after| stood >= after)
    }
}

impl Puller {
    fn run(&mut self) -> Result<Staged, Failure> {
        let mut known = Known::default();
        let mut wait = Duration::ZERO;
        loop {
            self.wait(wait, &mut known)?;
            wait = LOOK_EVERY;
            let file = match self.look(known.settle_until.is_some()) {
                Ok(Ok(Found::Here(staged))) => return Ok(staged),
                Ok(Ok(Found::There(file))) => file,
                Ok(Err(nothing)) if known.settle_until.is_some() => {
                    return Err(self.refuse(nothing));
                }
                Ok(Err(_)) => {
                    known = Known { settle_until: known.settle_until, ..Known::default() };
                    continue;
                }
                Err(error) => {
                    // What is here needs no server.
                    if known.settle_until.is_some()
                        && let Some(staged) = self.through.take_whole()
                    {
                        return Ok(staged);
                    }
                    wait = self.after_failure(error, &mut known)?;
                    continue;
                }
            };
            known.attempts.progressed();
            known.see(&file);
            match known.fetched.take() {
                Some((of, staged)) if of == file && known.settle_until.is_some() => {
                    return Ok(staged);
                }
                Some((of, staged)) if of == file => known.fetched = Some((of, staged)),
                _ if known.may_fetch(&file) && self.may_receive(&known) => {
                    wait = self.fetch(&file, &mut known)?;
                }
                _ => {}
            }
        }
    }

    /// Ahead of the host's word nothing is received in place of an upload that goes straight
    /// through: that may be the host's.
    fn may_receive(&self, known: &Known) -> bool {
        known.settle_until.is_some() || self.through.look().is_none()
    }

    /// Leaves the session, if it is in order, for the next step.
    fn keep_session(&mut self) {
        let in_order = self.session.take().filter(|_| self.watchdog.stopped().is_none());
        if let Some(Ok(session)) = in_order.map(Session::watched_anew) {
            self.kept.lock().put(session);
        }
    }

    /// Waits for the next look; the host's word ends the wait.
    fn wait(&self, longest: Duration, known: &mut Known) -> Result<(), Failure> {
        match self.signals.recv_timeout(longest) {
            Ok(()) => {
                self.through.settle();
                known.settle_until =
                    known.settle_until.or_else(|| Instant::now().checked_add(SETTLE_DEADLINE));
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                return Err(SessionError::Cancelled.into_failure());
            }
        }
        Ok(())
    }

    /// Why there is no file. Where the only one is not ours it is the refusal of it, by which its
    /// name gets into the report.
    fn refuse(&mut self, nothing: Nothing) -> Failure {
        // A pull that was given up must not throw away what its successor receives.
        let may_receive = self.watchdog.stopped() != Some(Stopped::Cancelled);
        let Some(file_name) = nothing.only_other.filter(|_| may_receive) else {
            return nothing.failure;
        };
        // The name alone is reason enough; the size does not matter any more.
        let announced = Announced::named(file_name, Some(0));
        (self.receive)(announced).err().unwrap_or(nothing.failure)
    }

    /// The one file that is ours, or why there is none. Several are told apart only when
    /// `all_is_there`.
    fn look(&mut self, all_is_there: bool) -> Result<Result<Found, Nothing>, SessionError> {
        let _limit = self.watchdog.limit(LOOK_DEADLINE);
        let mut session = match self.session.take() {
            Some(session) => session,
            None => Session::open(&self.config, &self.watchdog)?,
        };
        let mut listing = session.list(&self.accepts_product, |name| self.left.has(name))?;
        let here = self.through.look();
        if let Some(here) = &here {
            listing.ours.retain(|name| *name != here.name);
        }
        let here = here.filter(|here| all_is_there && here.standing == Standing::Whole);
        let found = match self.choose(
            &mut session,
            &listing,
            here.as_ref().map(|here| &*here.name),
            all_is_there,
        )? {
            Err(failure) => Err(failure),
            Ok(None) => self.through.take_whole().map(Found::Here).ok_or_else(vanished),
            Ok(Some(name)) => session.describe(&name)?.map(Found::There).ok_or_else(vanished),
        };
        self.session = Some(session);
        Ok(found.map_err(|failure| Nothing {
            failure: self.with_left(failure),
            only_other: listing.only_other().map(str::to_owned),
        }))
    }

    /// A file under a name that was there before is not told from that one.
    fn with_left(&self, failure: Failure) -> Failure {
        if self.left.number() == 0 {
            return failure;
        }
        failure.with_hint(
            "older files are left in the upload area, and one under a name of theirs does not count: delete them there, or ask for the upgrade again, which goes on with that",
        )
    }

    /// The name of the one file on the server that is ours; nothing where it is the one that is
    /// `here`. Several are told apart by who is trusted.
    fn choose(
        &self,
        session: &mut Session,
        listing: &Listing,
        here: Option<&str>,
        all_is_there: bool,
    ) -> Result<Result<Option<String>, Failure>, SessionError> {
        let mut all = listing.clone();
        all.ours.extend(here.map(str::to_owned));
        let failure = match (all.only_one(), here) {
            (Ok(_), Some(_)) => return Ok(Ok(None)),
            (Ok(name), None) => return Ok(Ok(Some(name.to_owned()))),
            (Err(failure), _) => failure,
        };
        if !all_is_there {
            return Ok(Err(failure));
        }
        let trusted = self.trust.trusted(session, &listing.ours, &self.watchdog)?;
        let is_trusted = |file: &File, size: u64| self.trust.is_trusted_here(file, size);
        let is_here = here.is_some() && self.through.is_whole_and(is_trusted);
        Ok(match (trusted.as_slice(), is_here) {
            ([], true) => Ok(None),
            ([name], false) => Ok(Some(name.clone())),
            _ => Err(failure),
        })
    }

    /// Whether and when to look again after a look that failed.
    fn after_failure(&self, error: SessionError, known: &mut Known) -> Result<Duration, Failure> {
        debug!(%error, "the upload area can't be looked at");
        self.watchdog.hang_up();
        let pause = known.attempts.next_pause();
        match pause {
            Some(pause) if error.is_transient() => Ok(pause),
            // Before the host's word the server has all the time to come back.
            None if error.is_transient() && known.settle_until.is_none() => Ok(LOOK_EVERY),
            _ => Err(error.into_failure()),
        }
    }

    /// Fetches, and says how soon to look whether the file is still the same.
    fn fetch(&mut self, file: &RemoteFile, known: &mut Known) -> Result<Duration, Failure> {
        if known.settle_until.is_some_and(|until| Instant::now() >= until) {
            return Err(Failure::new(
                FailureKind::Timeout,
                "the uploaded file did not stop changing",
            ));
        }
        let mut fetcher =
            Fetcher { config: &self.config, watchdog: &self.watchdog, receive: &mut self.receive };
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
}

fn vanished() -> Failure {
    Failure::new(FailureKind::TransferFailed, "the uploaded file vanished")
}
