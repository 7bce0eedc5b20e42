//! The first look at what is installed. A large program takes seconds to read, and a program that
//! tells its version may hang: a daemon that starts answers before that, and whoever needs to know
//! waits.

use tokio::sync::{oneshot, watch};

use super::Actor;
use crate::engine::Command;
use crate::engine::blocking::begin;
use crate::engine::installed::{Found, all_installed, look_at_all};

/// The first look, and who waits for it.
#[derive(Debug)]
pub(super) struct FirstLook {
    found: Option<oneshot::Receiver<Vec<Found>>>,
    waiting: Vec<Command>,
    is_done: watch::Sender<bool>,
}

impl FirstLook {
    /// One that has not begun.
    pub(super) fn new() -> Self {
        Self { found: None, waiting: Vec::new(), is_done: watch::channel(false).0 }
    }

    /// For whoever waits.
    pub(super) fn watch(&self) -> watch::Receiver<bool> {
        self.is_done.subscribe()
    }

    /// Resolves with what is found; never, where nobody looks. Dropped and called again, it loses
    /// nothing.
    pub(super) async fn found(&mut self) -> Vec<Found> {
        let Some(found) = &mut self.found else { return std::future::pending().await };
        // A look that died has found nothing.
        let found = found.await.unwrap_or_default();
        self.found = None;
        found
    }

    /// Keeps a command that hangs on what is installed until that is known, and hands any other
    /// back. Peers wait for their answers, so that there are no more of these than peers.
    pub(super) fn put_off(&mut self, command: Command) -> Option<Command> {
        match command {
            Command::Begin(..) | Command::RollBack(..) if self.found.is_some() => {
                self.waiting.push(command);
                None
            }
            command => Some(command),
        }
    }
}

impl Actor {
    /// Looks while the daemon serves.
    pub(super) fn begin_first_look(&mut self) {
        let (_, found) = begin(self.look_at_all());
        self.first_look.found = Some(found);
    }

    /// Looks, and waits for it: an upgrade that goes on may hang on what is installed.
    pub(super) async fn look_first(&mut self) {
        let (_, found) = begin(self.look_at_all());
        self.take_look(found.await.unwrap_or_default());
    }

    /// The first look has ended.
    pub(super) async fn end_first_look(&mut self, found: Vec<Found>) {
        self.take_look(found);
        for command in std::mem::take(&mut self.first_look.waiting) {
            self.answer(command).await;
        }
    }

    fn look_at_all(&self) -> impl FnOnce() -> Vec<Found> + Send + 'static {
        look_at_all(&self.config, |name| self.hands.program(name), &self.journal)
    }

    fn take_look(&mut self, found: Vec<Found>) {
        for installed in all_installed(&self.config, found, &self.journal) {
            self.herald.update_installed(installed);
        }
        self.first_look.is_done.send_replace(true);
    }
}
