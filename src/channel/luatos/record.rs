//! The ration as a file, which the loop of the channel and the download that it began both count in.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use super::ration::{Damaged, Gate, LARGEST_RECORD, Now, Ration};
use super::words::Target;
use crate::channel::fetch::{Ledger, Shut};
use crate::channel::kept;
use crate::disk::{self, LocalDisk};
use crate::model::{Failure, FailureKind};

/// Its name in the channels' own directory.
const FILE: &str = "luatos.json";

/// The record of what the server was asked; copies of it are the same one.
#[derive(Clone)]
pub(super) struct Record {
    directory: PathBuf,
    ration: Arc<Mutex<Ration>>,
}

impl Record {
    /// The one in this directory, which is made where systemd has not made it, or the first. One that
    /// can't be read is begun anew: it must not keep a payload from its upgrades.
    pub(super) fn open(directory: PathBuf) -> Self {
        let file = directory.join(FILE);
        kept::make(&directory);
        let ration = match disk::read_limited(&file, LARGEST_RECORD as u64) {
            Ok(bytes) => {
                let (ration, damaged) = Ration::read(&bytes.unwrap_or_default());
                if let Some(damaged) = damaged {
                    tracing::warn!("{}: {damaged}", file.display());
                }
                ration
            }
            Err(error) => {
                tracing::warn!("{}: {Damaged}: {error}", file.display());
                Ration::default()
            }
        };
        Self { directory, ration: Arc::new(Mutex::new(ration)) }
    }

    /// Counts the time up to now, in this boot.
    pub(super) fn advance(&self, boot: &str) {
        self.change(|ration| ration.advance(Now { boot: boot.to_owned(), up: up() }));
    }

    /// Looks at it.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Ration) -> T) -> T {
        look(&self.ration.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes it, here and in its file.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Ration) -> T) -> T {
        let mut ration = self.ration.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = change(&mut ration);
        let written =
            disk::write_atomic_private(&LocalDisk, &self.directory, FILE, &ration.write());
        if let Err(error) = written {
            // Without it the same file may be fetched more often than it should.
            tracing::warn!("{} can't be written: {error}", self.directory.join(FILE).display());
        }
        changed
    }

    /// Counts how often this file comes.
    pub(super) fn ledger(&self, target: Target) -> Box<dyn Ledger> {
        Box::new(Fetches { record: self.clone(), target })
    }
}

struct Fetches {
    record: Record,
    target: Target,
}

impl Ledger for Fetches {
    fn may_ask(&mut self) -> Result<(), Shut> {
        let gate = self.record.change(|ration| {
            ration.advance_in_boot(up());
            ration.may_fetch(&self.target)
        });
        match gate {
            Gate::Open => Ok(()),
            Gate::Shut { left, why } => {
                let failure = Failure::new(FailureKind::TransferFailed, why)
                    .with_hint("it is tried again after that day");
                Err(Shut { failure, left })
            }
        }
    }

    fn answered(&mut self) {
        self.record.change(|ration| ration.served(&self.target));
    }
}

/// Time since the boot, asleep or not.
fn up() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default()
}
