//! What a line has brought, and the frames in it. A false start holds nothing back for long: it is
//! given up after silence, or when the frame that it promised is overdue
//! (docs/wire/payload-link.md section 1).
//!
//! Time comes from outside.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{Frame, promised_length};

/// A frame whose rest does not come for so long was none.
const SILENCE: Duration = Duration::from_millis(50);
/// On a line that is never silent: beyond twice the time that the frame takes.
const GRACE: Duration = Duration::from_millis(100);
/// Bits of a byte on the line.
const BITS: u32 = 10;

/// The bytes that became no frame yet, each with the time at which it came.
#[derive(Debug)]
pub(crate) struct Inbox {
    waiting: VecDeque<(u8, Instant)>,
    /// Bits a second of the line.
    rate: u32,
}

/// What stands first.
enum First {
    Frame(Frame),
    Noise,
    /// The beginning of a frame, and its length where that is known.
    Beginning(Option<usize>),
}

impl Inbox {
    /// Of a line with so many bits a second.
    pub(crate) const fn new(rate: u32) -> Self {
        Self { waiting: VecDeque::new(), rate }
    }

    /// These bytes came.
    pub(crate) fn put(&mut self, bytes: &[u8], now: Instant) {
        self.waiting.extend(bytes.iter().map(|byte| (*byte, now)));
    }

    /// The line was away: what waits becomes no frame any more.
    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
    }

    /// The next frame that has come whole.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        self.find(None)
    }

    /// The same, where all that came until `now` is here: what is overdue then is given up.
    pub(crate) fn next_by(&mut self, now: Instant) -> Option<Frame> {
        self.find(Some(now))
    }

    /// When what waits is overdue.
    pub(crate) fn due(&self) -> Option<Instant> {
        let ((_, first), (_, last)) = (self.waiting.front()?, self.waiting.back()?);
        let silent = *last + SILENCE;
        Some(match self.first()? {
            First::Beginning(Some(length)) => silent.min(*first + self.patience(length)),
            _ => silent,
        })
    }

    fn patience(&self, length: usize) -> Duration {
        // A frame has at most 1023 bytes.
        let bits = u32::try_from(length).unwrap_or(u32::MAX).saturating_mul(BITS);
        2 * Duration::from_secs(bits.into()) / self.rate.max(1) + GRACE
    }

    fn find(&mut self, now: Option<Instant>) -> Option<Frame> {
        loop {
            match self.first()? {
                First::Frame(frame) => {
                    self.waiting.drain(..frame.length());
                    return Some(frame);
                }
                First::Noise => {}
                First::Beginning(_) if now.is_some_and(|now| self.due() <= Some(now)) => {}
                First::Beginning(_) => return None,
            }
            self.waiting.pop_front();
        }
    }

    fn first(&self) -> Option<First> {
        let (start, _) = self.waiting.front()?;
        let bytes =
            |count| self.waiting.iter().take(count).map(|(byte, _)| *byte).collect::<Vec<_>>();
        Some(match bytes(4) {
            _ if *start != super::START => First::Noise,
            head if head.len() < 4 => First::Beginning(None),
            head => match promised_length(&head) {
                None => First::Noise,
                Some(length) if self.waiting.len() < length => First::Beginning(Some(length)),
                Some(length) => Frame::read(&bytes(length)).map_or(First::Noise, First::Frame),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Command, Device, Kind};
    use super::*;

    const RATE: u32 = 115_200;

    fn frame(payload: usize) -> (Frame, Vec<u8>) {
        let frame = Frame {
            sender: Device(0x2A),
            receiver: Device(0x13),
            sequence: 7,
            kind: Kind::Request,
            command: Command(0x00, 0x4F),
            payload: vec![4; payload],
        };
        let bytes = frame.to_bytes().unwrap();
        (frame, bytes)
    }

    /// The head of a frame of 1023 bytes that never comes.
    fn false_start() -> Vec<u8> {
        frame(super::super::LONGEST_PAYLOAD).1[..4].to_vec()
    }

    fn all(inbox: &mut Inbox) -> Vec<Frame> {
        std::iter::from_fn(|| inbox.next()).collect()
    }

    #[test]
    fn frames_are_found_in_noise_however_they_come() {
        let (right, bytes) = frame(3);
        let mut wrong = bytes.clone();
        wrong[12] ^= 1;
        // A start byte inside a frame that is none must not swallow the frame behind it.
        let line =
            [&[0x55, 0x00, 0x55, 0xFF][..], &bytes, &wrong, &bytes[..6], &bytes, &bytes].concat();
        for piece in [1, 2, 7, line.len()] {
            let (mut inbox, now, mut found) = (Inbox::new(RATE), Instant::now(), Vec::new());
            for bytes in line.chunks(piece) {
                inbox.put(bytes, now);
                found.extend(all(&mut inbox));
            }
            assert_eq!(found, [&right; 3].map(Clone::clone), "{piece} at a time");
        }
    }

    #[test]
    fn a_frame_within_a_frame_does_not_count() {
        let (_, inner) = frame(1);
        let outer = Frame { payload: inner.repeat(3), ..frame(0).0 };
        let mut inbox = Inbox::new(RATE);
        inbox.put(&outer.to_bytes().unwrap(), Instant::now());
        assert_eq!(all(&mut inbox), [outer]);
    }

    #[test]
    fn after_silence_a_false_start_is_given_up() {
        let ((right, bytes), now) = (frame(1), Instant::now());
        let mut inbox = Inbox::new(RATE);
        inbox.put(&[&false_start()[..], &bytes, &bytes[..2]].concat(), now);
        assert_eq!((inbox.next(), inbox.due()), (None, Some(now + SILENCE)));
        assert_eq!(inbox.next_by(now + SILENCE - Duration::from_millis(1)), None);
        assert_eq!(inbox.next_by(now + SILENCE), Some(right));
        assert_eq!((inbox.next_by(now + SILENCE), inbox.due()), (None, None));
    }

    /// 0.28 s at 115200 baud, 0.12 s at 921600, as the document says.
    #[test]
    fn on_a_line_that_is_never_silent_a_false_start_is_given_up_when_its_frame_is_overdue() {
        for (rate, limit) in [(115_200, 280), (921_600, 130)] {
            let ((right, bytes), start) = (frame(1), Instant::now());
            let mut inbox = Inbox::new(rate);
            inbox.put(&false_start(), start);
            let mut times = (1..).map(|turn| start + turn * Duration::from_millis(10));
            let found = times.find(|now| {
                inbox.put(&bytes, *now);
                inbox.next_by(*now) == Some(right.clone())
            });
            let held = found.unwrap() - start;
            assert_eq!(held, Duration::from_millis(limit), "{rate}");
            let behind = std::iter::from_fn(|| inbox.next_by(start + held)).count();
            assert_eq!(behind as u64 + 1, limit / 10, "none of those behind it is lost");
        }
    }

    #[test]
    fn a_frame_that_was_read_late_is_not_late() {
        let ((right, bytes), start) = (frame(900), Instant::now());
        let mut inbox = Inbox::new(RATE);
        inbox.put(&bytes[..500], start);
        assert_eq!(inbox.next(), None);
        inbox.put(&bytes[500..], start + Duration::from_secs(1));
        assert_eq!(inbox.next(), Some(right));
    }

    #[test]
    fn a_line_that_was_away_begins_anew() {
        let (_, bytes) = frame(1);
        let mut inbox = Inbox::new(RATE);
        inbox.put(&bytes[..5], Instant::now());
        inbox.clear();
        inbox.put(&bytes[5..], Instant::now());
        assert_eq!(inbox.next(), None);
    }
}
