//! A file that is passed on to the daemon as it comes, over pauses in which nothing comes.

use std::io;
use std::path::Path;

use super::channels::Incoming;
use super::client::Trouble;
use super::delivery::Delivery;
use crate::model::{PackageSummary, PartStatus, UpgradeId};

/// Bytes of what is durable as one: what came behind the last whole block is sent again after a
/// pause.
const BLOCK: u64 = 4096;

/// A file on its way. Dropped, it broke off: what came stays with the daemon.
pub(crate) struct Passing {
    delivery: Delivery,
    /// What is said of the file when a connection to the daemon begins.
    pub(crate) incoming: Incoming,
    /// Bytes that were passed on.
    sent: u64,
    /// Of them, those behind the last whole block.
    tail: Vec<u8>,
    /// The daemon waits for nothing: what came is durable.
    pauses: bool,
}

impl Passing {
    /// For the file of this upgrade; with what is there of it.
    pub(crate) fn open(
        socket: &Path,
        upgrade: UpgradeId,
        incoming: Incoming,
    ) -> Result<(Self, Option<PartStatus>), Trouble> {
        let mut delivery = Delivery::open(socket, upgrade)?;
        let part = delivery.part()?;
        Ok((Self { delivery, incoming, sent: 0, tail: Vec::new(), pauses: false }, part))
    }

    /// Bytes that were passed on, with those that were there before.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    /// The file comes: how many of its bytes are there. Called again, it comes another way.
    pub(crate) fn begin(&mut self) -> Result<u64, Trouble> {
        self.pauses = false;
        self.tail.clear();
        self.sent = self.delivery.begin(self.incoming.clone())?;
        Ok(self.sent)
    }

    /// The same, where it must go on behind `offset` bytes.
    pub(crate) fn begin_at(&mut self, offset: u64) -> Result<(), Trouble> {
        self.pauses = false;
        self.tail.clear();
        self.sent = offset;
        self.goes_on_at(offset)
    }

    /// The next bytes.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        self.go_on()?;
        self.delivery.send(bytes)?;
        self.sent += bytes.len() as u64;
        self.tail.extend_from_slice(bytes);
        let behind = usize::try_from(self.sent % BLOCK).unwrap_or_default();
        self.tail.drain(..self.tail.len().saturating_sub(behind));
        Ok(())
    }

    /// Nothing comes for a while. The daemon leaves a client from which nothing comes; left by it,
    /// it makes durable what came.
    pub(crate) fn pause(&mut self) {
        if !std::mem::replace(&mut self.pauses, true) {
            self.delivery.pause();
        }
    }

    /// What came is durable when this returns.
    pub(crate) fn put_down(&mut self) -> Result<(), Trouble> {
        self.delivery.put_down()?;
        self.pauses = true;
        Ok(())
    }

    /// All is there: the daemon proves it.
    pub(crate) fn prove(mut self) -> Result<PackageSummary, Trouble> {
        self.go_on()?;
        self.delivery.prove()
    }

    /// After a pause: the daemon may have written less than it was sent.
    fn go_on(&mut self) -> Result<(), Trouble> {
        if !std::mem::take(&mut self.pauses) {
            return Ok(());
        }
        self.incoming.anew = false;
        self.goes_on_at(self.sent - self.tail.len() as u64)?;
        self.delivery.send(&self.tail)
    }

    fn goes_on_at(&mut self, offset: u64) -> Result<(), Trouble> {
        let there = self.delivery.begin(self.incoming.clone())?;
        if there != offset {
            let text = format!("it goes on behind {there} bytes, and {offset} are there");
            return Err(io::Error::other(text).into());
        }
        Ok(())
    }
}
