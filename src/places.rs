//! Places for peers, of which there is a limited number. Who has not shown yet what it wants makes room for a newcomer.
//!
//! Without that, a few connections that say nothing would keep everybody else out for as long as a silence is allowed.
//! Knows neither sockets nor protocols.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The places.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    most: usize,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    /// By the order in which they came.
    guests: BTreeMap<u64, Guest>,
    next: u64,
}

#[derive(Debug)]
struct Guest {
    settled: bool,
    leave: Arc<Notify>,
}

/// A place that is taken, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    number: u64,
    taken: Arc<Mutex<Taken>>,
    leave: Arc<Notify>,
}

impl Places {
    /// So many at a time.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, taken: Arc::default() }
    }

    /// Takes a place, if need be that of the guest who has not been settled for longest, and who is told to leave.
    pub(crate) fn take(&self) -> Option<Place> {
        self.take_beyond(0)
    }

    /// [`Places::take`] for a guest for whom so many places more are kept.
    pub(crate) fn take_beyond(&self, reserved: usize) -> Option<Place> {
        let mut taken = lock(&self.taken);
        if taken.guests.len() >= self.most.saturating_add(reserved) {
            let number = taken.guests.iter().find(|(_, guest)| !guest.settled).map(|(number, _)| *number)?;
            if let Some(guest) = taken.guests.remove(&number) {
                guest.leave.notify_one();
            }
        }
        let (number, leave) = (taken.next, Arc::new(Notify::new()));
        taken.next += 1;
        taken.guests.insert(number, Guest { settled: false, leave: Arc::clone(&leave) });
        Some(Place { number, taken: Arc::clone(&self.taken), leave })
    }
}

impl Place {
    /// A settled guest keeps its place; one that is not may be told to leave.
    pub(crate) fn settle(&self, settled: bool) {
        if let Some(guest) = lock(&self.taken).guests.get_mut(&self.number) {
            guest.settled = settled;
        }
    }

    /// Resolves when the guest is told to leave.
    pub(crate) async fn told_to_leave(&self) {
        self.leave.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.taken).guests.remove(&self.number);
    }
}

fn lock(taken: &Mutex<Taken>) -> MutexGuard<'_, Taken> {
    // A panic elsewhere leaves nothing half-done in it.
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn is_told(place: &Place) -> bool {
        tokio::time::timeout(std::time::Duration::ZERO, place.told_to_leave()).await.is_ok()
    }

    #[tokio::test]
    async fn the_oldest_guest_that_is_not_settled_makes_room() {
        let places = Places::new(3);
        let guests: Vec<Place> = (0..3).map(|_| places.take().unwrap()).collect();
        guests[0].settle(true);
        let newcomer = places.take().unwrap();
        assert!(is_told(&guests[1]).await);
        assert!(!is_told(&guests[0]).await && !is_told(&guests[2]).await && !is_told(&newcomer).await);
    }

    #[tokio::test]
    async fn settled_guests_stay_and_a_free_place_is_a_place() {
        let places = Places::new(2);
        let (one, two) = (places.take().unwrap(), places.take().unwrap());
        one.settle(true);
        two.settle(true);
        assert!(places.take().is_none());
        drop(one);
        let three = places.take().unwrap();
        assert!(!is_told(&two).await);
        three.settle(true);
        two.settle(false);
        assert!(places.take().is_some());
        assert!(is_told(&two).await);
    }

    #[test]
    fn reserved_places_are_for_those_for_whom_they_are_kept() {
        let places = Places::new(1);
        let one = places.take().unwrap();
        one.settle(true);
        assert!(places.take().is_none());
        let two = places.take_beyond(1).unwrap();
        two.settle(true);
        assert!(places.take_beyond(1).is_none());
    }
}
