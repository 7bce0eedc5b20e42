//! A line's bytes as they come, and the frames in them. What waits for its rest longer than a frame
//! can take is given up, so that a false header holds nothing back: after silence all that waits,
//! and on a busy line the header alone.
//!
//! Time comes from outside; the search itself is the codec's.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio_util::codec::Decoder as _;

use super::{Frame, FrameCodec, IDLE_LIMIT};

/// What a frame may take beyond its time on the line: adapters and loaded machines hand bytes over
/// in lumps.
const SLACK: Duration = Duration::from_millis(100);
/// Bits of a byte on the line, with start and stop.
const BITS: u64 = 10;
/// Bytes that came so soon after the last ones count as come with them, which bounds what must be
/// remembered.
const LUMP: Duration = Duration::from_millis(2);
/// Usual room: a read and what is left of the one before.
const CAPACITY: usize = 4096;

/// Finds the frames of one direction of a line.
#[derive(Debug)]
pub struct Reader {
    codec: FrameCodec,
    buffer: BytesMut,
    /// Which bytes came when: for each lump the number of bytes up to its end since the reader was
    /// made.
    lumps: VecDeque<(u64, Instant)>,
    /// Bytes that have come.
    count: u64,
    /// What was due by then is given up.
    given_up: Option<Instant>,
    rate: u32,
}

impl Reader {
    /// For a line at so many bits a second.
    pub fn new(rate: u32) -> Self {
        Self {
            codec: FrameCodec::new(),
            buffer: BytesMut::with_capacity(CAPACITY),
            lumps: VecDeque::new(),
            count: 0,
            given_up: None,
            rate,
        }
    }

    /// Bytes thrown away so far because they belonged to no frame.
    pub const fn dropped(&self) -> u64 {
        self.codec.dropped()
    }

    /// The line was away: what waits can't become a frame any more.
    pub fn restart(&mut self) {
        self.buffer.clear();
        self.lumps.clear();
    }

    /// The line has another rate from now on.
    pub fn restart_at(&mut self, rate: u32) {
        self.restart();
        self.rate = rate;
    }

    /// Where bytes that come are to be appended; [`Reader::came`] must be told.
    pub const fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// So many bytes were appended.
    pub fn came(&mut self, length: usize, now: Instant) {
        self.count += length as u64;
        match self.lumps.back_mut() {
            Some((end, at)) if now.saturating_duration_since(*at) < LUMP => *end = self.count,
            _ => self.lumps.push_back((self.count, now)),
        }
    }

    /// The next frame.
    pub fn frame(&mut self) -> Option<Frame> {
        loop {
            // The codec has no errors of its own: what is no frame is dropped.
            if let Some(frame) = self.codec.decode(&mut self.buffer).ok().flatten() {
                return Some(frame);
            }
            self.forget_lumps();
            match (self.due(), self.given_up) {
                (Some(due), Some(given_up)) if due <= given_up => {
                    self.codec.skip(&mut self.buffer, 1);
                }
                _ => return None,
            }
        }
    }

    /// When [`Reader::give_up`] is to be called, unless more bytes come.
    pub fn due(&self) -> Option<Instant> {
        let (_, first) = self.lumps.front().filter(|_| !self.buffer.is_empty())?;
        let (_, last) = self.lumps.back()?;
        let silent = *last + IDLE_LIMIT;
        let promised =
            FrameCodec::promised(&self.buffer).map(|length| *first + self.patience(length));
        Some(promised.map_or(silent, |promised| promised.min(silent)))
    }

    /// All bytes that have come up to now are here, and what is due by now was no frame. The caller
    /// makes sure of the first: a frame is not late because nobody has read it.
    pub const fn give_up(&mut self, now: Instant) {
        self.given_up = Some(now);
    }

    /// How long a frame of so many bytes may take: twice its time on the line, and the slack.
    fn patience(&self, length: usize) -> Duration {
        let microseconds = 2 * 1_000_000 * BITS * length as u64 / u64::from(self.rate.max(1));
        Duration::from_micros(microseconds) + SLACK
    }

    /// The first lump is that of the first byte that waits.
    fn forget_lumps(&mut self) {
        let gone = self.count - self.buffer.len() as u64;
        while self.lumps.front().is_some_and(|(end, _)| *end <= gone) {
            self.lumps.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::BufMut as _;
    use tokio_util::codec::Encoder as _;

    use super::super::{Address, CommandId, LONGEST_FRAME};
    use super::*;

    const RATE: u32 = 921_600;

    fn encoded(payload: usize) -> (Frame, BytesMut) {
        let frame =
            Frame::push(Address(0x2A), Address(0x13), 1, CommandId::new(0, 0x4F), vec![4; payload]);
        let mut bytes = BytesMut::new();
        FrameCodec::new().encode(&frame, &mut bytes).unwrap();
        (frame, bytes)
    }

    /// What stands in front of a frame of the greatest length.
    fn false_header() -> BytesMut {
        encoded(LONGEST_FRAME - super::super::OVERHEAD).1.split_to(4)
    }

    fn give(reader: &mut Reader, bytes: &[u8], now: Instant) {
        reader.buffer().put_slice(bytes);
        reader.came(bytes.len(), now);
    }

    /// What is found when all that has come is read.
    fn next(reader: &mut Reader, now: Instant) -> Option<Frame> {
        reader.give_up(now);
        reader.frame()
    }

    #[test]
    fn a_false_header_holds_nothing_back_for_long_on_a_line_that_is_never_silent() {
        for (rate, limit) in [(115_200, 300), (921_600, 170)] {
            let (frame, bytes) = encoded(1);
            let (mut reader, start) = (Reader::new(rate), Instant::now());
            give(&mut reader, &false_header(), start);
            // 20 frames a second: 1023 bytes would have come after more than three seconds.
            let mut times = (0..60).map(|n| Duration::from_millis(40 + 40 * n));
            let first = times.find(|after| {
                give(&mut reader, &bytes, start + *after);
                next(&mut reader, start + *after) == Some(frame.clone())
            });
            let held = first.unwrap();
            assert!(held <= Duration::from_millis(limit), "{held:?} at {rate}");
            // And none of those behind it is lost.
            let waiting = std::iter::from_fn(|| next(&mut reader, start + held)).count();
            assert_eq!(waiting + 1, usize::try_from(held.as_millis() / 40).unwrap());
        }
    }

    #[test]
    fn a_false_header_is_given_up_by_the_time_that_is_due_and_not_before() {
        let (frame, bytes) = encoded(1);
        let (mut reader, start) = (Reader::new(RATE), Instant::now());
        give(&mut reader, &false_header(), start);
        let mut now = start;
        for _ in 0..4 {
            now += Duration::from_millis(30);
            give(&mut reader, &bytes, now);
            if let Some(found) = next(&mut reader, now) {
                panic!("{found:?} after {:?}", now - start);
            }
        }
        let due = reader.due().unwrap();
        assert_eq!(due, start + Duration::from_micros(2 * 10 * 1_000_000 * 1023 / 921_600) + SLACK);
        assert_eq!(next(&mut reader, due), Some(frame));
    }

    #[test]
    fn many_false_headers_in_a_row_are_given_up_together() {
        let (frame, bytes) = encoded(1);
        let (mut reader, start) = (Reader::new(RATE), Instant::now());
        let many = [&false_header().repeat(50)[..], &bytes].concat();
        give(&mut reader, &many, start);
        let mut now = start;
        // Noise goes on, so that the line is never silent.
        while next(&mut reader, now) != Some(frame.clone()) {
            now += Duration::from_millis(10);
            assert!(now - start < Duration::from_millis(150));
            give(&mut reader, &[0xFF], now);
        }
    }

    #[test]
    fn a_true_frame_may_take_its_time_and_what_it_carries_does_not_count() {
        for rate in [115_200, 921_600] {
            let (_, inner) = encoded(1);
            let payload = inner.repeat(LONGEST_FRAME / inner.len() - 1);
            let outer =
                Frame::push(Address(0x2A), Address(0x13), 2, CommandId::new(0, 0x2A), payload);
            let mut bytes = BytesMut::new();
            FrameCodec::new().encode(&outer, &mut bytes).unwrap();
            let (mut reader, mut now, mut found) = (Reader::new(rate), Instant::now(), Vec::new());
            // As the line brings it, 16 bytes at a time.
            for piece in bytes.chunks(16) {
                now += Duration::from_micros(10 * 1_000_000 * piece.len() as u64 / u64::from(rate));
                give(&mut reader, piece, now);
                found.extend(next(&mut reader, now));
            }
            assert_eq!(found, [outer]);
            assert_eq!(reader.dropped(), 0);
        }
    }

    #[test]
    fn a_frame_that_was_read_late_is_not_late() {
        let (frame, bytes) = encoded(900);
        let (mut reader, start) = (Reader::new(RATE), Instant::now());
        give(&mut reader, &bytes[..500], start);
        assert_eq!(next(&mut reader, start), None);
        // The machine stood still; the rest has been there all the time.
        give(&mut reader, &bytes[500..], start + Duration::from_secs(1));
        assert_eq!(reader.frame(), Some(frame));
    }

    #[test]
    fn after_silence_nothing_waits() {
        let (frame, bytes) = encoded(1);
        let (mut reader, start) = (Reader::new(RATE), Instant::now());
        give(&mut reader, &[&false_header()[..], &bytes, &bytes[..5]].concat(), start);
        assert_eq!(next(&mut reader, start), None);
        assert_eq!(reader.due(), Some(start + IDLE_LIMIT));
        assert_eq!(next(&mut reader, start + IDLE_LIMIT), Some(frame));
        assert_eq!((next(&mut reader, start + IDLE_LIMIT), reader.due()), (None, None));
    }

    #[test]
    fn what_is_remembered_of_the_time_is_bounded() {
        let (mut reader, mut now) = (Reader::new(1), Instant::now());
        give(&mut reader, &false_header(), now);
        for _ in 0..900 {
            now += Duration::from_micros(100);
            give(&mut reader, &[0], now);
            assert_eq!(next(&mut reader, now), None);
        }
        assert!(reader.lumps.len() <= 46, "{}", reader.lumps.len());
    }
}
