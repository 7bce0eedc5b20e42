//! A disk for tests: the real one, which writes down the names of its operations and fails those it
//! is told to.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Mutex;

use nix::errno::Errno;

use super::recording::first_word;
use super::{Disk, LocalDisk, Operation};

/// The real disk with faults.
#[derive(Debug, Default)]
pub(crate) struct FaultyDisk {
    faults: Vec<Fault>,
    /// From this operation on, counted from 0, all fail: to the disk, the process has died.
    dies_at: Option<usize>,
    /// Whether its file system is one on which a file that was moved needs a sync of its own. On
    /// any other that is no operation.
    syncs_moved: bool,
    log: Mutex<Vec<String>>,
}

#[derive(Debug)]
struct Fault {
    operation: String,
    errno: Errno,
    /// Which operation of this name fails, counted from 0; `None` means each.
    occurrence: Option<usize>,
}

impl FaultyDisk {
    /// A disk that only keeps a log.
    pub(crate) fn sound() -> Self {
        Self::default()
    }

    /// A disk on which every operation of this name (such as `Exchange`, or `create`) fails.
    pub(crate) fn failing(operation: &str, errno: Errno) -> Self {
        Self::sound().and_failing(operation, errno)
    }

    /// Every operation of this name fails too. Of several faults that fit, the last one given
    /// counts.
    pub(crate) fn and_failing(mut self, operation: &str, errno: Errno) -> Self {
        self.faults.push(Fault { operation: operation.into(), errno, occurrence: None });
        self
    }

    /// The operation of this name fails, once, when it comes for the given time, counted from 0.
    pub(crate) fn and_failing_once(
        mut self,
        operation: &str,
        occurrence: usize,
        errno: Errno,
    ) -> Self {
        self.faults.push(Fault {
            operation: operation.into(),
            errno,
            occurrence: Some(occurrence),
        });
        self
    }

    /// From the given operation on, counted from 0, every one fails with `EIO`.
    pub(crate) fn and_dying_at(mut self, operation: usize) -> Self {
        self.dies_at = Some(operation);
        self
    }

    /// A file system of the vfat kind.
    pub(crate) fn of_fat_kind(self) -> Self {
        Self { syncs_moved: true, ..self }
    }

    /// Names of the operations so far, in order, failed ones included.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    fn enter(&self, operation: &str) -> io::Result<()> {
        let mut log = self.log.lock().unwrap();
        let occurrence = log.iter().filter(|name| *name == operation).count();
        let hit = |fault: &&Fault| {
            fault.operation == operation
                && fault.occurrence.is_none_or(|wanted| wanted == occurrence)
        };
        let fault = self.faults.iter().rev().find(hit);
        let dead = self.dies_at.is_some_and(|death| log.len() >= death);
        log.push(operation.into());
        let errno = if dead { Some(Errno::EIO) } else { fault.map(|fault| fault.errno) };
        errno.map_or(Ok(()), |errno| Err(errno.into()))
    }
}

impl Disk for FaultyDisk {
    fn create(&self, path: &Path, mode: u32) -> io::Result<File> {
        self.enter("create")?;
        LocalDisk.create(path, mode)
    }

    fn apply(&self, operation: Operation<'_>) -> io::Result<()> {
        if matches!(operation, Operation::SyncMoved { .. }) && !self.syncs_moved {
            return LocalDisk.apply(operation);
        }
        self.enter(&first_word(&operation))?;
        LocalDisk.apply(operation)
    }
}
