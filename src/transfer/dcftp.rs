//! The DCFTP receiver: a file in numbered chunks (docs/wire/payload-link.md section 3, `2A`).
//!
//! Two halves. [`Sequence`] is pure: which chunk is taken, which is a repetition. [`Reception`]
//! moves what was taken to a blocking thread of its own, which alone touches the file, so that a
//! slow disk never holds up the link. Neither knows frames or hosts.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio::sync::{mpsc, oneshot, watch};

use crate::model::{Failure, FailureKind, Md5Digest};
use crate::stage::{Receiving, Staged};

/// Which chunk of a file comes next, and how much of the file is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequence {
    size: u64,
    received: u64,
    next: u32,
}

/// Which chunk it is, as its sender says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The chunk of this number, from 0.
    Number(u32),
    /// The one that begins at this byte.
    Offset(u32),
}

/// What is to be done with a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    /// It is the next one.
    Next,
    /// It was there before, or comes before its turn.
    OutOfTurn,
    /// It is the next one, but goes beyond the announced size.
    TooMuch,
}

impl Sequence {
    /// So many bytes of a file of `size` bytes are there already.
    pub const fn new(size: u64, received: u64) -> Self {
        Self { size, received, next: 0 }
    }

    /// Judges a chunk of `length` bytes.
    pub fn offer(&self, place: Place, length: usize) -> Offer {
        if !self.is_next(place) {
            Offer::OutOfTurn
        } else if self.received + length as u64 > self.size || self.next == u32::MAX {
            Offer::TooMuch
        } else {
            Offer::Next
        }
    }

    /// Whether this is the chunk that is expected next.
    pub fn is_next(&self, place: Place) -> bool {
        match place {
            Place::Number(number) => number == self.next,
            Place::Offset(offset) => u64::from(offset) == self.received,
        }
    }

    /// Whether this chunk was there before.
    pub fn is_past(&self, place: Place) -> bool {
        match place {
            Place::Number(number) => number < self.next,
            Place::Offset(offset) => u64::from(offset) < self.received,
        }
    }

    /// Counts a chunk that was taken.
    pub fn advance(&mut self, length: usize) {
        self.received += length as u64;
        self.next += 1;
    }

    /// Bytes that are there.
    pub const fn received(&self) -> u64 {
        self.received
    }

    /// The chunk that is expected next.
    pub const fn next(&self) -> u32 {
        self.next
    }

    /// Whether `sequence` is the last chunk that was taken.
    pub fn is_last(&self, sequence: u32) -> bool {
        self.next.checked_sub(1) == Some(sequence)
    }

    /// Whether no chunk was taken yet.
    pub const fn is_untouched(&self) -> bool {
        self.next == 0
    }

    /// Whether every announced byte is there.
    pub const fn is_complete(&self) -> bool {
        self.received == self.size
    }
}

/// Chunks are handed over in batches of this many bytes, so that the thread does not wake for each
/// of them.
const BATCH_SIZE: usize = 16 * 1024;
/// Batches that may wait for the disk: this bounds the memory.
const WAITING_BATCHES: usize = 4;

enum Item {
    Batch(Bytes),
    Finish(Md5Digest),
}

/// A file that is being received; its thread alone touches the file. Dropped unfinished, it leaves
/// nothing behind.
#[derive(Debug)]
pub struct Reception {
    items: mpsc::Sender<Item>,
    gathered: BytesMut,
    outcome: oneshot::Receiver<Result<Staged, Failure>>,
    written: watch::Receiver<u64>,
}

/// What became of a chunk that was handed over.
#[derive(Debug)]
pub enum Handover {
    /// It will be written, and nothing failed so far.
    Taken,
    /// The disk is behind; here it is again, for [`Reception::take`].
    Full(Bytes),
    /// The reception failed.
    Failed(Failure),
}

fn thread_is_gone() -> Failure {
    Failure::new(FailureKind::Internal, "the thread that writes the received file ended early")
}

impl Reception {
    /// Starts the thread that fills `receiving`.
    pub fn start(receiving: Receiving) -> io::Result<Self> {
        let (items, mut incoming) = mpsc::channel(WAITING_BATCHES);
        let (report, outcome) = oneshot::channel();
        let (tell, written) = watch::channel(receiving.received());
        std::thread::Builder::new().name("dcftp".into()).spawn(move || {
            // Told before the channel closes, so that whoever finds it closed finds the reason too.
            if let Some(result) = receive(receiving, &mut incoming, &tell) {
                let _ = report.send(result);
            }
            drop(incoming);
        })?;
        Ok(Self { items, gathered: BytesMut::with_capacity(BATCH_SIZE), outcome, written })
    }

    /// How many bytes are in the file, as soon as it is more than was told last; never again once
    /// the thread has ended.
    pub async fn written(&mut self) -> u64 {
        match self.written.changed().await {
            Ok(()) => *self.written.borrow_and_update(),
            Err(_) => std::future::pending().await,
        }
    }

    /// Hands over a chunk without waiting.
    pub fn try_take(&mut self, chunk: Bytes) -> Handover {
        if self.items.is_closed() {
            return Handover::Failed(failure_of(&mut self.outcome));
        }
        if self.is_full_with(&chunk) {
            match self.items.try_reserve() {
                Ok(place) => place.send(Item::Batch(self.gathered.split().freeze())),
                Err(mpsc::error::TrySendError::Full(())) => return Handover::Full(chunk),
                Err(mpsc::error::TrySendError::Closed(())) => {
                    return Handover::Failed(failure_of(&mut self.outcome));
                }
            }
        }
        self.gathered.extend_from_slice(&chunk);
        Handover::Taken
    }

    /// Hands over a chunk as soon as the disk has caught up.
    pub async fn take(&mut self, chunk: Bytes) -> Result<(), Failure> {
        if self.items.is_closed() {
            return Err(failure_of(&mut self.outcome));
        }
        if self.is_full_with(&chunk) {
            match self.items.reserve().await {
                Ok(place) => place.send(Item::Batch(self.gathered.split().freeze())),
                Err(_) => return Err(failure_of(&mut self.outcome)),
            }
        }
        self.gathered.extend_from_slice(&chunk);
        Ok(())
    }

    /// Whether the batch must go before this chunk can be gathered.
    fn is_full_with(&self, chunk: &Bytes) -> bool {
        !self.gathered.is_empty() && self.gathered.len() + chunk.len() > BATCH_SIZE
    }

    /// Ends the reception: size and MD5 are compared, and the file is durable.
    pub async fn finish(self, md5: Md5Digest) -> Result<Staged, Failure> {
        // A closed channel means that the thread failed before; it has said why.
        let _ = self.items.send(Item::Batch(self.gathered.freeze())).await;
        let _ = self.items.send(Item::Finish(md5)).await;
        self.outcome.await.unwrap_or_else(|_| Err(thread_is_gone()))
    }
}

/// Why the thread has closed its channel.
fn failure_of(outcome: &mut oneshot::Receiver<Result<Staged, Failure>>) -> Failure {
    match outcome.try_recv() {
        Ok(Err(failure)) => failure,
        _ => thread_is_gone(),
    }
}

/// The thread's work; `None` when the other side gave up.
fn receive(
    mut receiving: Receiving,
    incoming: &mut mpsc::Receiver<Item>,
    written: &watch::Sender<u64>,
) -> Option<Result<Staged, Failure>> {
    loop {
        match incoming.blocking_recv()? {
            Item::Batch(batch) => {
                if let Err(failure) = receiving.write(&batch).and_then(|()| receiving.settle()) {
                    return Some(Err(failure));
                }
                written.send_replace(receiving.received());
            }
            Item::Finish(md5) => return Some(receiving.finish(Some(md5))),
        }
    }
}

#[cfg(test)]
mod tests;
