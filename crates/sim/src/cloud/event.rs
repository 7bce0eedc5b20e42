//! What happened at a platform, for whoever waits for it. Knows nothing of any platform.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Where a platform writes down what happens.
#[derive(Debug)]
pub(crate) struct Log<E>(Arc<Shared<E>>);

#[derive(Debug)]
struct Shared<E> {
    events: Mutex<Vec<E>>,
    told: Condvar,
}

/// Reads all that happened from the platform's start on; each reader has its own place.
#[derive(Debug)]
pub struct Events<E> {
    shared: Arc<Shared<E>>,
    next: usize,
}

impl<E> Log<E> {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Shared { events: Mutex::new(Vec::new()), told: Condvar::new() }))
    }

    pub(crate) fn tell(&self, event: E) {
        lock(&self.0.events).push(event);
        self.0.told.notify_all();
    }

    pub(crate) fn events(&self) -> Events<E> {
        Events { shared: Arc::clone(&self.0), next: 0 }
    }
}

impl<E> Clone for Log<E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<E: Clone> Events<E> {
    /// The next event, unless none comes within this time.
    pub fn next(&mut self, within: Duration) -> Option<E> {
        let deadline = Instant::now() + within;
        let mut events = lock(&self.shared.events);
        loop {
            if let Some(event) = events.get(self.next) {
                self.next += 1;
                return Some(event.clone());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            let waited = self.shared.told.wait_timeout(events, left);
            events = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The next event of this kind, unless none comes within this time. Those before it are passed
    /// over.
    pub fn wait_for(&mut self, within: Duration, mut wanted: impl FnMut(&E) -> bool) -> Option<E> {
        let deadline = Instant::now() + within;
        loop {
            let event = self.next(deadline.saturating_duration_since(Instant::now()))?;
            if wanted(&event) {
                return Some(event);
            }
        }
    }

    /// All that happened so far, from the start on.
    #[must_use]
    pub fn so_far(&self) -> Vec<E> {
        lock(&self.shared.events).clone()
    }
}

/// A thread that panicked while it held the lock left nothing half done in what is kept here.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reader_reads_all_and_waits_no_longer_than_it_says() {
        let log = Log::new();
        let (mut one, mut other) = (log.events(), log.events());
        (1..=3).for_each(|number| log.tell(number));
        let soon = Duration::from_secs(30);
        assert_eq!(one.wait_for(soon, |number| *number == 2), Some(2));
        assert_eq!(one.next(soon), Some(3));
        assert_eq!(one.next(Duration::ZERO), None);
        assert_eq!(other.next(Duration::ZERO), Some(1));
        assert_eq!(other.so_far(), [1, 2, 3]);
    }

    #[test]
    fn who_waits_is_woken() {
        let log = Log::new();
        let mut events = log.events();
        let waiting = std::thread::spawn(move || events.next(Duration::from_secs(30)));
        log.tell(1);
        assert_eq!(waiting.join().unwrap(), Some(1));
    }
}
