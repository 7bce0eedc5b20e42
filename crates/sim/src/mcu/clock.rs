//! How long the flash takes: typical times of docs/wire/stm32f4.md, scaled.

use std::time::{Duration, Instant};

use super::nor::sector;

/// Of an operation of any width.
const PROGRAM: Duration = Duration::from_micros(16);

/// How many bytes are programmed at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Width {
    /// One: what the loader does, unless it is told the voltage.
    Byte,
    /// Four: from 2.7 V on.
    Word,
}

impl Width {
    pub(super) const fn bytes(self) -> usize {
        match self {
            Self::Byte => 1,
            Self::Word => 4,
        }
    }

    /// Time to program so many bytes.
    pub(super) fn program(self, bytes: usize) -> Duration {
        PROGRAM.saturating_mul(u32::try_from(bytes.div_ceil(self.bytes())).unwrap_or(u32::MAX))
    }

    /// Time to erase a sector.
    pub(super) fn erase(self, number: u8) -> Duration {
        let kib = sector(number).map_or(0, |range| range.len() >> 10);
        Duration::from_millis(match (self, kib) {
            (Self::Word, ..=16) => 250,
            (Self::Word, 17..=64) => 550,
            (Self::Word, _) => 1000,
            (Self::Byte, ..=16) => 400,
            (Self::Byte, 17..=64) => 1200,
            (Self::Byte, _) => 2000,
        })
    }
}

/// When what was begun at a moment is done, by the chip's time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    due: Instant,
    scale: f64,
}

impl Clock {
    pub(super) const fn new(now: Instant, scale: f64) -> Self {
        Self { due: now, scale }
    }

    /// Something that takes so long begins when what was before it is done.
    pub(super) fn spend(&mut self, time: Duration) {
        self.due += time.mul_f64(self.scale.max(0.0));
    }

    pub(super) const fn due(&self) -> Instant {
        self.due
    }
}
