//! A file of a platform on its way into the daemon: downloaded, handed over as it comes, proved.
//!
//! Blocking, on a thread of its own. Nothing of the file lies here; what came of it outlives this
//! process in the daemon, with what proves on the next try that the server's file is still the same.

use std::io;
use std::path::Path;

use crate::channel::job::is_for_now;
use crate::channel::offer::{FirmwareName, OfferedFile};
use crate::handover::channels::Incoming;
use crate::handover::client::Trouble as Daemon;
use crate::handover::delivery::Delivery;
use crate::model::{Failure, FailureKind, UpgradeId};
use crate::transfer::http::{
    self, Authorization, Client, Have, Sink, Stop, Trouble, Url, Validator, Wanted,
};

/// Bytes of what is durable as one: what came behind the last whole block is sent again after a
/// pause.
const BLOCK: u64 = 4096;

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
    /// Who counts, where the server does.
    pub(crate) ledger: Option<Box<dyn Ledger>>,
}

/// Counts how often a server has sent a file.
pub(crate) trait Ledger: Send {
    /// Whether it may be asked for the file, or the rest of it, once more; if not, why.
    fn may_ask(&mut self) -> Result<(), Failure>;

    /// It has answered with the file, or with a part of it.
    fn answered(&mut self);
}

/// Why a file was not handed over.
#[derive(Debug)]
pub(crate) enum NotFetched {
    /// The daemon is away.
    Away(io::Error),
    /// It may come another time.
    Rests(Failure),
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
        let mut delivery = Delivery::open(daemon, self.upgrade.clone())?;
        let have = delivery.part()?.and_then(|part| {
            let validator = serde_json::from_str(&part.note?).ok()?;
            Some(Have { bytes: part.offset, validator })
        });
        let wanted = Wanted {
            url,
            size: self.file.size,
            most: self.most,
            authorization: self.authorization.clone(),
        };
        let mut handing_over = HandingOver::new(&self.file, delivery, self.ledger);
        let ended = http::download(client, &wanted, have, &mut handing_over, stop);
        handing_over.end(ended)
    }
}

/// Passes on what comes.
struct HandingOver<'a> {
    file: &'a OfferedFile,
    delivery: Delivery,
    /// What is said of the file when a connection to the daemon begins.
    incoming: Incoming,
    /// Bytes that were passed on.
    sent: u64,
    /// Of them, those behind the last whole block.
    tail: Vec<u8>,
    /// The daemon waits for nothing: what came is durable.
    pauses: bool,
    /// What the daemon said, where it took no more.
    trouble: Option<Daemon>,
    ledger: Option<Box<dyn Ledger>>,
    /// Why the server may not be asked any more.
    shut: Option<Failure>,
}

impl<'a> HandingOver<'a> {
    fn new(file: &'a OfferedFile, delivery: Delivery, ledger: Option<Box<dyn Ledger>>) -> Self {
        let name = match &file.name {
            FirmwareName::Known(name) => Some(name.to_string()),
            FirmwareName::BySeal => None,
        };
        let incoming = Incoming { name, digests: file.digests, ..Incoming::default() };
        let (tail, pauses) = (Vec::new(), false);
        let (trouble, shut) = (None, None);
        Self { file, delivery, incoming, sent: 0, tail, pauses, trouble, ledger, shut }
    }

    fn end(mut self, ended: Result<u64, Trouble>) -> Result<(), NotFetched> {
        if let Some(trouble) = self.trouble.take() {
            return Err(trouble.into());
        }
        if let Some(failure) = self.shut.take() {
            return Err(NotFetched::Never(failure));
        }
        match ended {
            Ok(_) => {
                self.go_on()?;
                self.delivery.prove()?;
                Ok(())
            }
            Err(Trouble::Stopped) => Err(NotFetched::Stopped),
            Err(trouble) => {
                let passes = trouble.passes() || matches!(trouble, Trouble::GaveUp { .. });
                let is_gone = matches!(trouble, Trouble::Gone(_) | Trouble::NotAllowed(_));
                let failure = trouble.into_failure();
                Err(match (passes, is_gone) {
                    (true, _) => NotFetched::Rests(failure),
                    (_, true) => NotFetched::Gone(failure),
                    _ => NotFetched::Never(failure),
                })
            }
        }
    }

    /// Begins a connection to the daemon that goes on behind `offset` bytes.
    fn begin_at(&mut self, offset: u64) -> Result<(), Daemon> {
        let there = self.delivery.begin(self.incoming.clone())?;
        if there != offset {
            let text = format!("it goes on behind {there} bytes, and {offset} are there");
            return Err(io::Error::other(text).into());
        }
        Ok(())
    }

    /// After a pause: the daemon may have written less than it was sent.
    fn go_on(&mut self) -> Result<(), Daemon> {
        if !std::mem::take(&mut self.pauses) {
            return Ok(());
        }
        self.incoming.anew = false;
        self.begin_at(self.sent - self.tail.len() as u64)?;
        self.delivery.send(&self.tail)
    }

    fn keep(&mut self, done: Result<(), Daemon>) -> io::Result<()> {
        done.map_err(|trouble| {
            let text = trouble.to_string();
            self.trouble = Some(trouble);
            io::Error::other(text)
        })
    }
}

impl Sink for HandingOver<'_> {
    fn begin(&mut self, offset: u64, total: Option<u64>, validator: &Validator) -> io::Result<()> {
        self.incoming.size = self.file.size.or(total);
        self.incoming.note = serde_json::to_string(validator).ok();
        self.incoming.anew = offset == 0;
        self.pauses = false;
        self.tail.clear();
        self.sent = offset;
        let begun = self.begin_at(offset);
        self.keep(begun)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let sent = self.go_on().and_then(|()| self.delivery.send(bytes));
        self.keep(sent)?;
        self.sent += bytes.len() as u64;
        self.tail.extend_from_slice(bytes);
        let behind = usize::try_from(self.sent % BLOCK).unwrap_or_default();
        self.tail.drain(..self.tail.len().saturating_sub(behind));
        Ok(())
    }

    fn asks(&mut self) -> io::Result<()> {
        let Some(Err(failure)) = self.ledger.as_mut().map(|ledger| ledger.may_ask()) else {
            return Ok(());
        };
        let text = failure.to_string();
        self.shut = Some(failure);
        Err(io::Error::other(text))
    }

    fn answered(&mut self) {
        if let Some(ledger) = &mut self.ledger {
            ledger.answered();
        }
    }

    /// The daemon leaves a client from which nothing comes. Left by it, it makes durable what came.
    fn pauses(&mut self, trouble: &Trouble, pause: std::time::Duration) {
        tracing::info!("the download pauses for {} s: {trouble}", pause.as_secs());
        if self.sent > 0 || self.incoming.note.is_some() {
            self.delivery.pause();
            self.pauses = true;
        }
    }
}

impl From<Daemon> for NotFetched {
    fn from(trouble: Daemon) -> Self {
        match trouble {
            Daemon::Refused(failure) if is_for_now(&failure) => Self::Rests(failure),
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
