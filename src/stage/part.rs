//! A file that is received over restarts: what came of it stays, and is gone on with.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use nix::fcntl::OFlag;

use super::kept::is_reception;
use super::staged::Reception;
use super::{Announced, Observer, Receiving, Stage, unwritable};
use crate::disk::Operation;
use crate::model::Failure;

/// Hears how many bytes of a file are there, and writes that down.
#[derive(Clone)]
pub(crate) struct Keeper {
    /// So many are durable.
    pub(crate) durable: Arc<dyn Fn(u64) -> io::Result<()> + Send + Sync>,
    /// So many are in the file, which is enough as long as the kernel lives.
    pub(crate) written: Arc<dyn Fn(u64) -> io::Result<()> + Send + Sync>,
}

/// What a disk writes as one, in bytes. What came of one that is not whole is sent again: the next
/// write to it could cost what was durable in it.
const BLOCK: u64 = 4096;

/// As much of a part as no later write touches.
pub(super) fn whole_blocks(size: u64) -> u64 {
    size - size % BLOCK
}

/// Whose turn it is to write: of several receptions that go on with one file, the last one. Nothing
/// that an earlier one has still to write may come between what the last one writes and hashes.
#[derive(Debug, Clone, Default)]
pub(super) struct Turns(Arc<Mutex<u64>>);

/// A turn.
#[derive(Debug)]
pub(super) struct Turn {
    turns: Turns,
    number: u64,
}

impl Turns {
    fn next(&self) -> Turn {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *last += 1;
        Turn { turns: self.clone(), number: *last }
    }
}

impl Turn {
    /// Writes, if it is its turn still.
    pub(super) fn write(&self, write: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let last = self.turns.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *last != self.number {
            return Err(io::Error::other("another reception goes on with the file"));
        }
        write()
    }
}

impl Stage {
    /// [`Stage::receive`] of a file whose name and bytes outlive this process. `keep` is given its
    /// name in the staging area.
    pub(crate) fn receive_kept(
        &self,
        announced: Announced,
        observer: Observer,
        keep: impl FnOnce(String) -> io::Result<Keeper>,
    ) -> Result<Receiving, Failure> {
        let (mut reception, file) = self.begin(&announced)?;
        let synced = reception.disk().apply(Operation::SyncDirectory { path: &self.directory });
        let keeper = synced.and_then(|()| keep(name_of(reception.path()))).map_err(unwritable)?;
        reception.set_kept(true);
        let turn = self.turns.next();
        Ok(Receiving::new(announced, reception, file, observer).kept_by(keeper, turn))
    }

    /// Goes on with such a file behind its first `size` bytes.
    pub(crate) fn resume(
        &self,
        name: &str,
        announced: Announced,
        size: u64,
        observer: Observer,
        keeper: Keeper,
    ) -> Result<Receiving, Failure> {
        let opened = || -> io::Result<(Reception, File)> {
            if !is_reception(name) {
                return Err(io::Error::other(format!("{name:?} is no received file")));
            }
            self.adopt()?;
            let path = self.directory.join(name);
            let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
            let mut options = OpenOptions::new();
            let file = options.read(true).write(true).custom_flags(flags).open(&path)?;
            if !file.metadata()?.is_file() {
                return Err(io::Error::other("it is no regular file"));
            }
            let mut reception = Reception::new(self.clone(), path);
            reception.set_kept(true);
            Ok((reception, file))
        };
        // From here on nobody else writes to it.
        let turn = self.turns.next();
        let (reception, file) = opened().map_err(unwritable)?;
        let receiving = Receiving::new(announced, reception, file, observer).kept_by(keeper, turn);
        receiving.behind(size).map_err(unwritable)
    }

    /// Whether so many bytes of such a file lie here.
    pub(crate) fn has_part(&self, name: &str, size: u64) -> bool {
        is_reception(name)
            && std::fs::symlink_metadata(self.directory.join(name))
                .is_ok_and(|metadata| metadata.is_file() && metadata.len() >= size)
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
