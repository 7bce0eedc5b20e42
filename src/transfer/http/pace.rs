//! How fast, how often, and how long: pure, by a clock that tests hold.

use std::thread;
use std::time::{Duration, Instant};

/// Time, as far as a download waits by itself.
pub(super) trait Clock {
    fn now(&self) -> Instant;
    fn sleep(&self, time: Duration);
}

/// The machine's.
pub(super) struct Monotonic;

impl Clock for Monotonic {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn sleep(&self, time: Duration) {
        thread::sleep(time);
    }
}

/// A rate that is not exceeded: a token bucket, in which an eighth of a second's bytes fit.
#[derive(Debug)]
pub(super) struct Bucket {
    /// Bytes a second; 0 is no limit.
    rate: u64,
    /// Bytes that may pass at once; below zero those that have passed too early.
    tokens: i128,
    /// Nanoseconds' worth of bytes are counted, or a slow rate would lose all by rounding.
    filled: Instant,
}

/// Tokens a byte.
const UNIT: i128 = 1_000_000_000;
/// Smallest piece, however slow it is.
const SMALLEST: u64 = 1024;

impl Bucket {
    pub(super) fn new(rate: u64, now: Instant) -> Self {
        Self { rate, tokens: 0, filled: now }
    }

    /// Bytes that may be read at once, of so many.
    pub(super) fn piece(&self, most: usize) -> usize {
        if self.rate == 0 {
            return most;
        }
        usize::try_from((self.rate / 8).max(SMALLEST)).map_or(most, |piece| piece.min(most))
    }

    /// So many bytes have passed: how long to wait before the next.
    pub(super) fn passed(&mut self, bytes: usize, now: Instant) -> Duration {
        if self.rate == 0 {
            return Duration::ZERO;
        }
        let rate = i128::from(self.rate);
        let gained = now.saturating_duration_since(self.filled).as_nanos();
        let gained = i128::try_from(gained).unwrap_or(i128::MAX).saturating_mul(rate);
        self.filled = now;
        self.tokens = self.tokens.saturating_add(gained).min(rate * UNIT / 8);
        self.tokens -= i128::try_from(bytes).unwrap_or(i128::MAX) * UNIT;
        let debt = (-self.tokens).max(0) / rate;
        Duration::from_nanos(u64::try_from(debt).unwrap_or(u64::MAX))
    }
}

/// The lowest rate that is worth while. Only waits for the server count: who takes the bytes may be
/// slow, too, and so may be a rate that we keep.
#[derive(Debug)]
pub(super) struct Lowest {
    /// Bytes a second; 0 is no limit.
    rate: u64,
    window: Duration,
    waited: Duration,
    passed: u64,
}

impl Lowest {
    /// So many bytes a second, over this time.
    pub(super) fn new(rate: u64, window: Duration) -> Self {
        Self { rate, window, waited: Duration::ZERO, passed: 0 }
    }

    pub(super) fn rate(&self) -> u64 {
        self.rate
    }

    /// Bytes that must come in a window, or in a shorter time.
    pub(super) fn bytes_in(&self, time: Duration) -> u64 {
        let milliseconds = self.window.min(time).as_millis().try_into().unwrap_or(u64::MAX);
        self.rate.saturating_mul(milliseconds) / 1000
    }

    /// A connection begins.
    pub(super) fn begin(&mut self) {
        (self.waited, self.passed) = (Duration::ZERO, 0);
    }

    /// Whether it is still fast enough with these bytes, which were waited for.
    pub(super) fn is_kept(&mut self, bytes: usize, waited: Duration) -> bool {
        self.passed = self.passed.saturating_add(bytes as u64);
        self.waited = self.waited.saturating_add(waited);
        if self.waited < self.window {
            return true;
        }
        let is_kept = self.passed >= self.bytes_in(self.window);
        self.begin();
        is_kept
    }
}

/// Waits between attempts: doubled each time, less up to a half by chance, and at least what the
/// server asks for, within reason.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failed: u32,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(500);
    const LONGEST: Duration = Duration::from_secs(30);
    /// What a server may ask for at most.
    const MOST_ASKED: Duration = Duration::from_secs(300);

    pub(super) fn reset(&mut self) {
        self.failed = 0;
    }

    /// How long to wait before the next attempt. `chance` is from 0 to 1.
    pub(super) fn next(&mut self, asked: Option<Duration>, chance: f64) -> Duration {
        let longest = Self::FIRST.saturating_mul(1 << self.failed.min(16)).min(Self::LONGEST);
        self.failed = self.failed.saturating_add(1);
        let own = longest.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0);
        // Not all at once who were told the same second.
        let asked = asked.map(|asked| asked.min(Self::MOST_ASKED) + own.min(asked / 10));
        asked.map_or(own, |asked| asked.max(own))
    }
}

/// How long to go on without progress.
#[derive(Debug)]
pub(super) struct Patience {
    longest: Duration,
    /// Fewer new bytes than these are no progress.
    step: u64,
    since: Instant,
    at: u64,
}

impl Patience {
    pub(super) fn new(longest: Duration, step: u64, at: u64, now: Instant) -> Self {
        Self { longest, step: step.max(1), since: now, at }
    }

    /// So many bytes are there, more than ever before.
    pub(super) fn reached(&mut self, bytes: u64, now: Instant) {
        if bytes >= self.at.saturating_add(self.step) {
            (self.at, self.since) = (bytes, now);
        }
    }

    /// It is another file, and begins anew.
    pub(super) fn begin(&mut self, now: Instant) {
        (self.at, self.since) = (0, now);
    }

    /// What is left of it.
    pub(super) fn left(&self, now: Instant) -> Duration {
        self.longest.saturating_sub(self.waited(now))
    }

    /// For how long there was no progress.
    pub(super) fn waited(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_rate_is_kept_over_time_whatever_the_pieces() {
        let start = Instant::now();
        for (rate, most) in [(1, 256 << 10), (1000, 9), (1 << 20, 256 << 10), (40 << 20, 16 << 10)]
        {
            let (mut bucket, mut now, mut bytes) = (Bucket::new(rate, start), start, 0);
            while now < start + 60 * SECOND {
                let piece = bucket.piece(most);
                bytes += piece as u64;
                now += bucket.passed(piece, now);
            }
            let seconds = (now - start).as_secs_f64();
            let reached = bytes as f64 / seconds / rate as f64;
            assert!((0.95..1.05).contains(&reached), "{rate}: {reached}");
        }
    }

    #[test]
    fn a_pause_of_the_server_is_not_made_up_for() {
        let start = Instant::now();
        let mut bucket = Bucket::new(8000, start);
        let later = start + 100 * SECOND;
        assert_eq!(bucket.passed(1000, later), Duration::ZERO);
        assert_eq!(bucket.passed(8000, later), SECOND);
        assert_eq!(Bucket::new(0, start).passed(usize::MAX, start), Duration::ZERO);
        assert_eq!(Bucket::new(0, start).piece(7), 7);
    }

    #[test]
    fn a_window_with_too_little_is_noticed_and_the_next_one_begins() {
        let mut lowest = Lowest::new(100, 10 * SECOND);
        assert!(lowest.is_kept(1, 9 * SECOND));
        assert!(!lowest.is_kept(998, SECOND));
        assert!(lowest.is_kept(1000, SECOND));
        assert!(lowest.is_kept(0, 9 * SECOND));
        assert!(!lowest.is_kept(0, 10 * SECOND));
        assert!(Lowest::new(0, SECOND).is_kept(0, 100 * SECOND));
        assert_eq!(lowest.bytes_in(2 * SECOND), 200);
        assert_eq!(lowest.bytes_in(99 * SECOND), 1000);
    }

    #[test]
    fn pauses_grow_to_a_limit_and_obey_the_server_within_reason() {
        let mut backoff = Backoff::default();
        let pauses: Vec<u64> = (0..9).map(|_| backoff.next(None, 1.0).as_millis() as u64).collect();
        assert_eq!(pauses, [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000]);
        backoff.reset();
        assert_eq!(backoff.next(None, 0.0), Duration::from_millis(250));
        let asked = |seconds| Backoff::default().next(Some(seconds * SECOND), 1.0);
        assert_eq!(asked(0), Duration::from_millis(500));
        assert!((20 * SECOND..23 * SECOND).contains(&asked(20)));
        assert!((300 * SECOND..331 * SECOND).contains(&asked(1_000_000)));
    }

    #[test]
    fn patience_is_over_without_progress_and_a_trickle_is_none() {
        let start = Instant::now();
        let mut patience = Patience::new(60 * SECOND, 100, 0, start);
        patience.reached(99, start + 50 * SECOND);
        assert_eq!(patience.left(start + 50 * SECOND), 10 * SECOND);
        patience.reached(100, start + 50 * SECOND);
        assert_eq!(patience.left(start + 60 * SECOND), 50 * SECOND);
        assert_eq!(patience.left(start + 500 * SECOND), Duration::ZERO);
        patience.begin(start + 500 * SECOND);
        assert_eq!(patience.left(start + 500 * SECOND), 60 * SECOND);
    }

    proptest! {
        #[test]
        fn no_numbers_break_it(rate: u64, bytes: usize, seconds in 0..1_000_000_u64, chance: f64) {
            let start = Instant::now();
            let now = start + Duration::from_secs(seconds);
            let mut bucket = Bucket::new(rate, start);
            prop_assert!(bucket.piece(1 << 18) > 0);
            bucket.passed(bytes, now);
            Lowest::new(rate, Duration::from_secs(seconds)).is_kept(bytes, now - start);
            if !chance.is_nan() {
                Backoff::default().next(Some(Duration::from_secs(rate)), chance);
            }
        }
    }
}
