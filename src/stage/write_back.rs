//! Makes the finished parts of a file durable while the next ones arrive.
//!
//! Without it the kernel may hold a whole file in memory and write it all in the last sync, while
//! the peer waits. A sync blocks, so it has a thread of its own; the writer waits for it only when
//! it is two parts ahead.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use super::part::{Keeper, whole_blocks};
use crate::disk::{Disk, Operation};

/// Bytes of one part: what is left for the last sync, for which the peer waits, is two of them at
/// most.
pub(super) const PART_SIZE: u64 = 2 * 1024 * 1024;

/// Bytes after which it is written down how much is durable, where that is wanted: each time costs
/// two syncs.
const KEPT_EVERY: u64 = 16 * 1024 * 1024;

/// The thread that syncs. Dropped, it ends by itself after the sync that runs.
pub(super) struct WriteBack {
    finished_parts: SyncSender<u64>,
    thread: JoinHandle<io::Result<()>>,
}

impl WriteBack {
    /// Starts the thread for `file`. `keeper` hears now and then how many bytes are durable.
    pub(super) fn start(
        disk: Arc<dyn Disk>,
        file: &File,
        keeper: Option<Keeper>,
    ) -> io::Result<Self> {
        let file = file.try_clone()?;
        let (finished_parts, parts) = sync_channel(1);
        let thread = thread::Builder::new()
            .name("write-back".into())
            .spawn(move || sync_parts(&*disk, &file, &parts, keeper.as_ref()))?;
        Ok(Self { finished_parts, thread })
    }

    /// All up to `size` bytes is written. `false` when the thread has ended, which it does early only after
    /// an error.
    pub(super) fn part_finished(&self, size: u64) -> bool {
        self.finished_parts.send(size).is_ok()
    }

    /// Waits for the thread and tells its error. Its descriptor is closed then. The kernel tells a
    /// failed write-back once, so an error that is dropped here would be lost for good.
    pub(super) fn finish(self) -> io::Result<()> {
        drop(self.finished_parts);
        self.thread
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the write-back thread panicked")))
    }
}

fn sync_parts(
    disk: &dyn Disk,
    file: &File,
    parts: &Receiver<u64>,
    keeper: Option<&Keeper>,
) -> io::Result<()> {
    let mut kept = None;
    for size in parts {
        disk.apply(Operation::SyncData { file })?;
        let kept = kept.get_or_insert(size.saturating_sub(PART_SIZE));
        if let Some(keeper) = keeper
            && size >= *kept + KEPT_EVERY
        {
            (keeper.durable)(whole_blocks(size))?;
            *kept = size;
        }
    }
    Ok(())
}
