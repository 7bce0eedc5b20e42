//! A file of a platform on its way into the daemon: downloaded, handed over as it comes, proved.
//!
//! Blocking, on a thread of its own. Nothing of the file lies here; what came of it outlives this
//! process in the daemon, with what proves on the next try that the server's file is still the same.

use std::io;
use std::path::Path;
use std::time::Duration;

use crate::channel::job::is_for_now;
use crate::channel::offer::{FirmwareName, OfferedFile};
use crate::handover::channels::Incoming;
use crate::handover::client::Trouble as Daemon;
use crate::handover::passing::Passing;
use crate::model::{Failure, FailureKind, UpgradeId};
use crate::transfer::http::{
    self, Authorization, Client, Have, Pieces, Sink, Stop, Trouble, Url, Validator, Wanted,
};

/// A file to be fetched.
pub(crate) struct Fetch {
    /// For which upgrade.
    pub(crate) upgrade: UpgradeId,
    /// Which.
    pub(crate) file: OfferedFile,
    /// Who asks for it, where the server is the platform's own.
    pub(crate) authorization: Option<Authorization>,
    /// The largest file in bytes that may come.
    pub(crate) most: u64,
    /// Whether it comes in pieces.
    pub(crate) pieces: Pieces,
    /// Who counts, where the server does.
    pub(crate) ledger: Option<Box<dyn Ledger>>,
}

/// Counts how often a server has sent a file.
pub(crate) trait Ledger: Send {
    /// Whether it may be asked for the file, or the rest of it, once more.
    fn may_ask(&mut self) -> Result<(), Shut>;

    /// It has answered with the file, or with a part of it.
    fn answered(&mut self);
}

/// A server may not be asked any more.
#[derive(Debug)]
pub(crate) struct Shut {
    /// Why.
    pub(crate) failure: Failure,
    /// For how long.
    pub(crate) left: Duration,
}

/// Why a file was not handed over.
#[derive(Debug)]
pub(crate) enum NotFetched {
    /// The daemon is away.
    Away(io::Error),
    /// It may come another time, or the rest of it, and not before this one.
    Rests(Failure, Duration),
    /// The server does not have it, or not for us.
    Gone(Failure),
    /// It will never come, or the daemon does not take it. Of most files that it does not take the
    /// daemon has ended the upgrade itself; after a wrong digest it waits for another try.
    Never(Failure),
    /// Somebody said so.
    Stopped,
}

impl Fetch {
    /// Fetches it, and has it proved.
    pub(crate) fn run(self, client: &Client, daemon: &Path, stop: &Stop) -> Result<(), NotFetched> {
        let url: Url = self.file.url.parse().map_err(|error| {
            let sentence = "where the file lies is no URL that can be fetched";
            NotFetched::Never(Failure::new(FailureKind::TransferFailed, sentence).because(error))
        })?;
        let name = match &self.file.name {
            FirmwareName::Known(name) => Some(name.to_string()),
            FirmwareName::BySeal => None,
        };
        let incoming = Incoming { name, digests: self.file.digests, ..Incoming::default() };
        let (passing, part) = Passing::open(daemon, self.upgrade.clone(), incoming)?;
        let have = part.and_then(|part| {
            let validator = serde_json::from_str(&part.note?).ok()?;
            Some(Have { bytes: part.offset, validator })
        });
        let wanted = Wanted {
            url,
            size: self.file.size,
            most: self.most,
            authorization: self.authorization.clone(),
            pieces: self.pieces,
        };
        let mut handing_over = HandingOver {
            size: self.file.size,
            passing,
            trouble: None,
            ledger: self.ledger,
            shut: None,
            had: have.is_some(),
            begins_anew: false,
        };
        let ended = http::download(client, &wanted, have, &mut handing_over, stop);
        handing_over.end(ended)
    }
}

/// Passes on what comes.
struct HandingOver {
    /// Bytes of the file, where the platform says it.
    size: Option<u64>,
    passing: Passing,
    /// What the daemon said, where it took no more.
    trouble: Option<Daemon>,
    ledger: Option<Box<dyn Ledger>>,
    /// The server may not be asked any more.
    shut: Option<Shut>,
    /// Something was there before.
    had: bool,
    /// The server has shown that it can't go on in the middle, or gives no proof of its file.
    begins_anew: bool,
}

impl HandingOver {
    fn end(mut self, ended: Result<u64, Trouble>) -> Result<(), NotFetched> {
        if let Some(trouble) = self.trouble.take() {
            return Err(trouble.into());
        }
        if let Some(Shut { failure, left }) = self.shut.take() {
            // What came is worth something only to a server that goes on with it.
            let is_kept = !self.begins_anew && (self.passing.sent() > 0 || self.had);
            return Err(match is_kept {
                true => NotFetched::Rests(failure, left),
                false => NotFetched::Never(failure),
            });
        }
        match ended {
            Ok(_) => {
                self.passing.prove()?;
                Ok(())
            }
            Err(Trouble::Stopped) => Err(NotFetched::Stopped),
            Err(trouble) => {
                // A clock is set sooner or later.
                let passes = trouble.passes()
                    || matches!(trouble, Trouble::GaveUp { .. } | Trouble::NotValidYet(..));
                let is_gone = matches!(trouble, Trouble::Gone(_) | Trouble::NotAllowed(_));
                let failure = trouble.into_failure();
                Err(match (passes, is_gone) {
                    (true, _) => NotFetched::Rests(failure, Duration::ZERO),
                    (_, true) => NotFetched::Gone(failure),
                    _ => NotFetched::Never(failure),
                })
            }
        }
    }

    fn keep(&mut self, done: Result<(), Daemon>) -> io::Result<()> {
        done.map_err(|trouble| {
            let text = trouble.to_string();
            self.trouble = Some(trouble);
            io::Error::other(text)
        })
    }
}

impl Sink for HandingOver {
    fn begin(&mut self, offset: u64, total: Option<u64>, validator: &Validator) -> io::Result<()> {
        self.begins_anew |=
            !validator.proves() || offset == 0 && (self.had || self.passing.sent() > 0);
        let incoming = &mut self.passing.incoming;
        incoming.size = self.size.or(total);
        incoming.note = serde_json::to_string(validator).ok();
        incoming.anew = offset == 0;
        let begun = self.passing.begin_at(offset);
        self.keep(begun)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let sent = self.passing.send(bytes);
        self.keep(sent)
    }

    fn asks(&mut self) -> io::Result<()> {
        let Some(Err(shut)) = self.ledger.as_mut().map(|ledger| ledger.may_ask()) else {
            return Ok(());
        };
        let text = shut.failure.to_string();
        self.shut = Some(shut);
        Err(io::Error::other(text))
    }

    fn answered(&mut self) {
        if let Some(ledger) = &mut self.ledger {
            ledger.answered();
        }
    }

    fn pauses(&mut self, trouble: &Trouble, pause: Duration) {
        tracing::info!("the download pauses for {} s: {trouble}", pause.as_secs());
        if self.passing.sent() > 0 || self.passing.incoming.note.is_some() {
            self.passing.pause();
        }
    }
}

impl From<Daemon> for NotFetched {
    fn from(trouble: Daemon) -> Self {
        match trouble {
            Daemon::Refused(failure) if is_for_now(&failure) => {
                Self::Rests(failure, Duration::ZERO)
            }
            // Such as another digest than the announced one. What has ended already stays ended.
            Daemon::Refused(failure) => Self::Never(failure),
            Daemon::Away(error) => Self::Away(error),
        }
    }
}

impl From<io::Error> for NotFetched {
    fn from(error: io::Error) -> Self {
        Self::Away(error)
    }
}
