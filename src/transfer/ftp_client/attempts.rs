//! How often and after which pauses something is tried again.

use std::time::Duration;

/// Waits between attempts: doubled each time from 200 ms up to 2 s, less up to a half by chance.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    failed: u32,
}

impl Attempts {
    /// Attempts without a byte of progress between them before a transfer is given up.
    const MOST: u32 = 6;

    pub(super) fn progressed(&mut self) {
        self.failed = 0;
    }

    /// How long to wait before the next attempt; `None` when there were enough.
    pub(super) fn next_pause(&mut self) -> Option<Duration> {
        self.failed += 1;
        if self.failed >= Self::MOST {
            return None;
        }
        let longest = Duration::from_millis(100 << self.failed.min(5)).min(Duration::from_secs(2));
        Some(longest.mul_f64(0.5 + fastrand::f64() / 2.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_end() {
        let mut attempts = Attempts::default();
        let pauses: Vec<Duration> = std::iter::from_fn(|| attempts.next_pause()).collect();
        assert_eq!(pauses.len(), 5);
        for (pause, longest) in pauses.iter().zip([200, 400, 800, 1600, 2000]) {
            let longest = Duration::from_millis(longest);
            assert!((longest / 2..=longest).contains(pause), "{pauses:?}");
        }
        attempts.progressed();
        assert!(attempts.next_pause().is_some());
    }
}
