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

use crate::disk::{Disk, Operation};

/// Bytes of one part: what is left for the last sync, for which the peer waits, is two of them at
/// most.
pub(super) const PART_SIZE: u64 = 2 * 1024 * 1024;

/// The thread that syncs. Dropped, it ends by itself after the sync that runs.
pub(super) struct WriteBack {
    finished_parts: SyncSender<()>,
    thread: JoinHandle<io::Result<()>>,
}

impl WriteBack {
    /// Starts the thread for `file`.
    pub(super) fn start(disk: Arc<dyn Disk>, file: &File) -> io::Result<Self> {
        let file = file.try_clone()?;
        let (finished_parts, parts) = sync_channel(1);
        let thread = thread::Builder::new()
            .name("write-back".into())
            .spawn(move || sync_parts(&*disk, &file, &parts))?;
        Ok(Self { finished_parts, thread })
    }

    /// Another part is written. `false` when the thread has ended, which it does early only after
    /// an error.
    pub(super) fn part_finished(&self) -> bool {
        self.finished_parts.send(()).is_ok()
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

fn sync_parts(disk: &dyn Disk, file: &File, parts: &Receiver<()>) -> io::Result<()> {
    parts.iter().try_for_each(|()| disk.apply(Operation::SyncData { file }))
}
