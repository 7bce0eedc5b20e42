//! A thread that is told what to do. Knows nothing of what that is.

use std::sync::mpsc::{Receiver, Sender};
use std::thread::JoinHandle;

/// The thread, and the way to it. Dropped, its wishes end, and so does it.
#[derive(Debug)]
pub(crate) struct Worker<W> {
    wishes: Option<Sender<W>>,
    thread: Option<JoinHandle<()>>,
}

impl<W: Send + 'static> Worker<W> {
    /// Starts it; it ends when its wishes do.
    pub(crate) fn start(
        (wishes, receiver): (Sender<W>, Receiver<W>),
        work: impl FnOnce(&Receiver<W>) + Send + 'static,
    ) -> Self {
        let thread = std::thread::spawn(move || work(&receiver));
        Self { wishes: Some(wishes), thread: Some(thread) }
    }
}

impl<W> Worker<W> {
    /// Tells it.
    pub(crate) fn wish(&self, wish: W) {
        if let Some(wishes) = &self.wishes {
            // A thread that has ended heard enough.
            let _ = wishes.send(wish);
        }
    }
}

impl<W> Drop for Worker<W> {
    fn drop(&mut self) {
        self.wishes = None;
        if let Some(thread) = self.thread.take() {
            // A panic of it was printed.
            let _ = thread.join();
        }
    }
}
