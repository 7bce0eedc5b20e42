//! The pace of a serial line: when the last bit of so many bytes has passed. Deadlines are
//! absolute, so that one late wake-up does not slow everything behind it.

use std::thread;
use std::time::{Duration, Instant};

/// Start bit, eight data bits, stop bit.
const BITS_A_BYTE: u64 = 10;
/// One more, for parity.
const WITH_PARITY: u64 = 11;
/// A sleeping thread may be woken so late; the rest is spun.
const SPIN: Duration = Duration::from_micros(150);

/// Both directions of one line; they don't wait for each other.
#[derive(Debug)]
pub(crate) struct Pace {
    baud: u64,
    bits: u64,
    sent: Option<Instant>,
    received: Option<Instant>,
}

impl Pace {
    pub(crate) fn new(baud: u32) -> Self {
        Self { baud: u64::from(baud.max(1)), bits: BITS_A_BYTE, sent: None, received: None }
    }

    /// Of a line with a parity bit.
    pub(crate) fn with_parity(baud: u32) -> Self {
        Self { bits: WITH_PARITY, ..Self::new(baud) }
    }

    /// Time that `bytes` need on the line.
    pub(crate) fn time_of(&self, bytes: usize) -> Duration {
        Duration::from_nanos((bytes as u64).saturating_mul(self.bits * 1_000_000_000) / self.baud)
    }

    /// When bytes handed over at `now` have left.
    pub(crate) fn send(&mut self, now: Instant, bytes: usize) -> Instant {
        let done = self.sent.map_or(now, |free| free.max(now)) + self.time_of(bytes);
        *self.sent.insert(done)
    }

    /// When bytes that the peer handed over at `now` have arrived.
    pub(crate) fn receive(&mut self, now: Instant, bytes: usize) -> Instant {
        let done = self.received.map_or(now, |free| free.max(now)) + self.time_of(bytes);
        *self.received.insert(done)
    }
}

/// Returns at `deadline`, within a few microseconds: sleeps first and spins the rest.
pub(crate) fn wait_until(deadline: Instant) {
    let left = deadline.saturating_duration_since(Instant::now());
    if left > SPIN {
        thread::sleep(left - SPIN);
    }
    while Instant::now() < deadline {
        std::hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_bits_a_byte() {
        assert_eq!(Pace::new(115_200).time_of(1152), Duration::from_millis(100));
        assert_eq!(Pace::with_parity(115_200).time_of(1152), Duration::from_millis(110));
    }

    #[test]
    fn bytes_queue_behind_each_other_but_not_behind_the_other_direction() {
        let (start, mut pace) = (Instant::now(), Pace::new(1_000_000));
        let millis = Duration::from_millis;
        assert_eq!(pace.send(start, 100), start + millis(1));
        assert_eq!(pace.send(start, 100), start + millis(2));
        assert_eq!(pace.receive(start, 100), start + millis(1));
        assert_eq!(pace.send(start + millis(10), 100), start + millis(11));
    }

    #[test]
    fn a_wait_never_ends_early() {
        let deadline = Instant::now() + Duration::from_millis(2);
        wait_until(deadline);
        assert!(Instant::now() >= deadline);
    }
}
