//! Places for peers, of which there is a limited number, counted by whose they are: whoever holds
//! more than a newcomer makes room.
//!
//! Without that, a few connections of one neighbour would keep everybody else out for as long as a
//! silence is allowed. A place is taken until it is dropped, not until its guest was told to leave:
//! who holds what belongs to a place holds the place too. Knows neither sockets nor protocols.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// How long a newcomer waits for a place whose guest was told to leave. Only a disk that hangs
/// takes longer than a moment.
const LEAVING: Duration = Duration::from_secs(2);

/// What a guest is about: the first ones make room before the last ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    /// It has not shown yet what it wants.
    New,
    /// It may ask, and asks for nothing at the moment.
    Idle,
    /// It is being served.
    Busy,
    /// It stays, whoever comes.
    Fixed,
}

/// The places, each of which is somebody's: by `W` they are told apart.
#[derive(Debug)]
pub(crate) struct Places<W> {
    most: usize,
    taken: Arc<Taken<W>>,
}

#[derive(Debug)]
struct Taken<W> {
    guests: Mutex<Guests<W>>,
    /// Somebody left.
    left: Notify,
}

#[derive(Debug)]
struct Guests<W> {
    /// By the order in which they came.
    known: BTreeMap<u64, Guest<W>>,
    next: u64,
}

#[derive(Debug)]
struct Guest<W> {
    whose: W,
    standing: Standing,
    leaving: bool,
    /// In a place that was kept for it, beyond the number.
    beyond: bool,
    /// Makes room for nobody but its own.
    guarded: bool,
    leave: Arc<Notify>,
}

/// A place that is taken, until its last clone is dropped.
#[derive(Debug)]
pub(crate) struct Place<W: Ord>(Arc<Held<W>>);

#[derive(Debug)]
struct Held<W: Ord> {
    number: u64,
    taken: Arc<Taken<W>>,
    leave: Arc<Notify>,
}

impl<W: Ord> Clone for Place<W> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<W> Taken<W> {
    fn lock(&self) -> MutexGuard<'_, Guests<W>> {
        // A panic elsewhere leaves nothing half-done in it.
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<W: Ord + Clone> Places<W> {
    /// So many at a time.
    pub(crate) fn new(most: usize) -> Self {
        let guests = Mutex::new(Guests { known: BTreeMap::new(), next: 0 });
        Self { most, taken: Arc::new(Taken { guests, left: Notify::new() }) }
    }

    /// Takes a place for `whose`, for whom so many are kept beyond the number. Where none is free,
    /// a guest of whoever holds most makes room, and is waited for. `None` where nobody has to.
    pub(crate) async fn take(&self, whose: W, kept: usize) -> Option<Place<W>> {
        let has_room = || self.taken.lock().has_room(self.most, kept);
        self.make_room(&whose, kept > 0, has_room).await.then(|| self.seat(whose))
    }

    /// Has guests leave in favour of `whose` until there is room; `kept` says whether it may have a
    /// place beyond the number. False where nobody has to leave, or does.
    pub(crate) async fn make_room(
        &self,
        whose: &W,
        kept: bool,
        has_room: impl Fn() -> bool,
    ) -> bool {
        let until = Instant::now() + LEAVING;
        loop {
            // Before the look, so that whoever leaves after it is heard of.
            let left = self.taken.left.notified();
            if has_room() {
                return true;
            }
            if !self.taken.lock().somebody_leaves(whose, kept)
                || timeout_at(until, left).await.is_err()
            {
                return has_room();
            }
        }
    }

    /// How many are taken.
    pub(crate) fn number(&self) -> usize {
        self.taken.lock().known.len()
    }

    /// Takes a place whatever the number is.
    pub(crate) fn seat(&self, whose: W) -> Place<W> {
        let leave = Arc::new(Notify::new());
        let mut guests = self.taken.lock();
        let number = guests.next;
        guests.next += 1;
        let beyond = guests.count(false) >= self.most;
        let guest = Guest {
            whose,
            standing: Standing::New,
            leaving: false,
            beyond,
            guarded: false,
            leave: Arc::clone(&leave),
        };
        guests.known.insert(number, guest);
        Place(Arc::new(Held { number, taken: Arc::clone(&self.taken), leave }))
    }
}

impl<W: Ord> Guests<W> {
    fn count(&self, beyond: bool) -> usize {
        self.known.values().filter(|guest| guest.beyond == beyond).count()
    }

    fn has_room(&self, most: usize, kept: usize) -> bool {
        self.count(false) < most || self.count(true) < kept
    }

    /// Whether somebody is on the way out, or was told to be now.
    fn somebody_leaves(&mut self, newcomer: &W, kept: bool) -> bool {
        if self.known.values().any(|guest| guest.leaving && (kept || !guest.beyond)) {
            return true;
        }
        let Some(number) = self.who_makes_room(newcomer, kept) else { return false };
        if let Some(guest) = self.known.get_mut(&number) {
            guest.leaving = true;
            guest.leave.notify_one();
        }
        true
    }

    /// Of those who hold most, the one who does least, and has been here for longest. Nobody makes
    /// room for who holds as much; who is being served, only for who holds less by two, so that a
    /// place does not go back and forth.
    fn who_makes_room(&self, newcomer: &W, kept: bool) -> Option<u64> {
        let held = |whose: &W| self.known.values().filter(|guest| guest.whose == *whose).count();
        let mine = held(newcomer);
        let has_to = |guest: &Guest<W>| {
            let own = guest.whose == *newcomer;
            if (guest.guarded && !own) || (guest.beyond && !kept) {
                return false;
            }
            match guest.standing {
                Standing::New | Standing::Idle => own || held(&guest.whose) > mine,
                Standing::Busy => !own && held(&guest.whose) > mine + 1,
                Standing::Fixed => false,
            }
        };
        let candidates = self.known.iter().filter(|(_, guest)| has_to(guest));
        candidates
            .min_by_key(|(number, guest)| {
                (usize::MAX - held(&guest.whose), guest.standing, **number)
            })
            .map(|(number, _)| *number)
    }
}

impl<W: Ord> Place<W> {
    /// What its guest is about from now on. False where it has been told to leave by then.
    pub(crate) fn stand(&self, standing: Standing) -> bool {
        self.0.taken.lock().known.get_mut(&self.0.number).is_some_and(|guest| {
            guest.standing = standing;
            !guest.leaving
        })
    }

    /// Its guest makes room for nobody but its own from now on.
    pub(crate) fn guard(&self) {
        if let Some(guest) = self.0.taken.lock().known.get_mut(&self.0.number) {
            guest.guarded = true;
        }
    }

    /// Resolves when the guest is told to leave.
    pub(crate) async fn told_to_leave(&self) {
        self.0.leave.notified().await;
    }
}

impl<W: Ord> Drop for Held<W> {
    fn drop(&mut self) {
        self.taken.lock().known.remove(&self.number);
        self.taken.left.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn is_told<W: Ord>(place: &Place<W>) -> bool {
        tokio::time::timeout(Duration::ZERO, place.told_to_leave()).await.is_ok()
    }

    /// Takes places for these, one after the other.
    async fn guests(places: &Places<char>, whose: &str) -> Vec<Place<char>> {
        let mut guests = Vec::new();
        for one in whose.chars() {
            guests.push(places.take(one, 0).await.unwrap());
        }
        guests
    }

    /// The place for a newcomer, while each guest leaves as soon as it is told; who that was.
    async fn newcomer(
        places: &Places<char>,
        guests: &mut [Option<Place<char>>],
        whose: char,
    ) -> (Option<Place<char>>, Vec<usize>) {
        let mut taking = std::pin::pin!(places.take(whose, 0));
        let mut gone = Vec::new();
        loop {
            tokio::select! {
                biased;
                place = &mut taking => return (place, gone),
                () = tokio::task::yield_now() => {}
            }
            for (index, guest) in guests.iter_mut().enumerate() {
                if let Some(place) = guest.take() {
                    if is_told(&place).await { gone.push(index) } else { *guest = Some(place) }
                }
            }
        }
    }

    async fn who_leaves(seated: &str, standings: &[Standing], whose: char) -> Option<Vec<usize>> {
        let places = Places::new(seated.len());
        let guests = guests(&places, seated).await;
        assert!(guests.iter().zip(standings).all(|(guest, standing)| guest.stand(*standing)));
        let mut guests: Vec<_> = guests.into_iter().map(Some).collect();
        let (place, gone) = newcomer(&places, &mut guests, whose).await;
        place.map(|_| gone)
    }

    #[tokio::test]
    async fn whoever_holds_most_makes_room_and_of_that_who_does_least_and_came_first() {
        use Standing::{Busy, Fixed, Idle, New};
        for (seated, standings, whose, expected) in [
            ("aaa", [New, New, New], 'a', Some(0)),
            ("aaa", [Idle, New, New], 'a', Some(1)),
            ("aaa", [Idle, Idle, Idle], 'a', Some(0)),
            ("aaa", [Busy, Busy, Busy], 'a', None),
            // A neighbour's sessions, whatever they do.
            ("haa", [New, Idle, Idle], 'b', Some(1)),
            ("haa", [Idle, Busy, Idle], 'b', Some(2)),
            ("haa", [Idle, Busy, Busy], 'b', Some(1)),
            ("haa", [Busy, New, New], 'a', Some(1)),
            // Nobody is served less for one who holds as much.
            ("haa", [Busy, Busy, Busy], 'h', None),
            ("hab", [Busy, Busy, Busy], 'c', None),
            ("hab", [Idle, New, Busy], 'c', Some(1)),
            ("hab", [Idle, Idle, Busy], 'a', Some(1)),
            ("hab", [Busy, Idle, Busy], 'h', None),
            ("aaa", [Fixed, Fixed, Fixed], 'b', None),
        ] {
            let gone = who_leaves(seated, &standings, whose).await;
            assert_eq!(gone, expected.map(|index| vec![index]), "{seated} {standings:?} {whose}");
        }
    }

    #[tokio::test]
    async fn who_is_guarded_makes_room_for_its_own_only() {
        let places = Places::new(2);
        let seated = guests(&places, "rr").await;
        seated.iter().for_each(Place::guard);
        assert!(places.take('a', 0).await.is_none());
        let mut seated: Vec<_> = seated.into_iter().map(Some).collect();
        assert_eq!(newcomer(&places, &mut seated, 'r').await.1, [0]);
    }

    #[tokio::test]
    async fn a_place_is_held_until_its_last_clone_is_gone() {
        let places = Places::new(1);
        let one = places.take('a', 0).await.unwrap();
        let thread = one.clone();
        let mut taking = std::pin::pin!(places.take('a', 0));
        assert!(tokio::time::timeout(Duration::ZERO, &mut taking).await.is_err());
        assert!(is_told(&one).await && !one.stand(Standing::Fixed));
        drop(one);
        assert!(tokio::time::timeout(Duration::ZERO, &mut taking).await.is_err());
        drop(thread);
        assert!(taking.await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_guest_that_does_not_leave_is_not_waited_for_without_end() {
        let places = Places::new(1);
        let _stays = places.take('a', 0).await.unwrap();
        assert!(places.take('b', 0).await.is_none());
    }

    #[tokio::test]
    async fn places_beyond_the_number_are_for_those_for_whom_they_are_kept() {
        let places = Places::new(1);
        let one = places.take('a', 0).await.unwrap();
        assert!(one.stand(Standing::Fixed));
        assert!(places.take('a', 0).await.is_none());
        let two = places.take('a', 1).await.unwrap();
        assert!(two.stand(Standing::Fixed));
        assert!(places.take('a', 1).await.is_none());
        // They are nobody else's when the number is not reached any more, and do not count for it.
        drop(one);
        assert!(places.take('b', 0).await.is_some());
    }
}
