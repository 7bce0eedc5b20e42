//! A download to its last byte: attempt after attempt, as long as there is progress.

use std::time::{Duration, Instant};

use ureq::http::header::{IF_RANGE, RANGE};
use ureq::http::{HeaderValue, Method};

use super::accept::{Accepted, Asked, Refused, accept};
use super::client::{Answer, Ask, Client};
use super::pace::{Backoff, Bucket, Clock, Lowest, Monotonic, Patience};
use super::piece::{self, Pieces};
use super::socket::LOOK;
use super::trouble::Trouble;
use super::validator::Validator;
use super::{Have, Sink, Stop, Wanted};
use crate::digest::BUFFER_SIZE;

/// How often a file may become another one while it comes.
const MOST_CHANGES: u32 = 4;

/// Fetches a file to its last byte, with pauses between attempts, until all is there, `stop` is set,
/// or a failure stays one. The answer is the file's size in bytes. `have` is what is there already.
pub(crate) fn download(
    client: &Client,
    wanted: &Wanted,
    have: Option<Have>,
    sink: &mut dyn Sink,
    stop: &Stop,
) -> Result<u64, Trouble> {
    let server = |ask: &Ask, left| client.answer(ask, stop, Instant::now().checked_add(left));
    Download::new(client, wanted, have, sink, stop, &Monotonic).run(server)
}

struct Download<'a> {
    wanted: &'a Wanted,
    sink: &'a mut dyn Sink,
    stop: &'a Stop,
    clock: &'a dyn Clock,
    file: File,
    buffer: Vec<u8>,
    /// Whether the server can go on in the middle, as far as we know.
    ranges: bool,
    changes: u32,
    /// Whether the last piece came with a wrong sum.
    is_damaged: bool,
    bucket: Bucket,
    lowest: Lowest,
    patience: Patience,
    backoff: Backoff,
}

/// What is there of the file.
#[derive(Debug, Default)]
struct File {
    /// Whether the sink was told of it.
    begun: bool,
    /// Bytes that are there.
    bytes: u64,
    /// The most that ever were: what comes again after a new beginning is no progress.
    most: u64,
    total: Option<u64>,
    validator: Option<Validator>,
}

/// How an attempt ended that did not fail.
#[derive(Debug, PartialEq, Eq)]
enum Attempt {
    /// All is there.
    Complete,
    /// A piece has come, or it is to begin anew.
    GoesOn,
}

impl<'a> Download<'a> {
    fn new(
        client: &Client,
        wanted: &'a Wanted,
        have: Option<Have>,
        sink: &'a mut dyn Sink,
        stop: &'a Stop,
        clock: &'a dyn Clock,
    ) -> Self {
        let (config, now) = (&client.config, clock.now());
        let lowest = Lowest::new(config.lowest_rate.0, config.lowest_rate_window);
        let step = lowest.bytes_in(config.patience);
        let file = have.map_or_else(File::default, |have| File::resumed(have, wanted));
        Self {
            patience: Patience::new(config.patience, step, file.bytes, now),
            bucket: Bucket::new(config.rate_limit.0, now),
            lowest,
            wanted,
            sink,
            stop,
            clock,
            file,
            buffer: vec![0; BUFFER_SIZE],
            ranges: true,
            changes: 0,
            is_damaged: false,
            backoff: Backoff::default(),
        }
    }

    fn run(
        mut self,
        server: impl Fn(&Ask, Duration) -> Result<Answer, Trouble>,
    ) -> Result<u64, Trouble> {
        if self.is_complete() {
            self.begin(self.file.bytes)?;
            return Ok(self.file.bytes);
        }
        loop {
            match self.attempt(&server) {
                Ok(Attempt::Complete) => return Ok(self.file.bytes),
                Ok(Attempt::GoesOn) => {}
                Err(trouble) if trouble.passes() => self.pause(trouble)?,
                Err(trouble) => return Err(trouble),
            }
        }
    }

    /// All bytes of a size that was announced are there already, or of which there were pieces.
    fn is_complete(&self) -> bool {
        let of_pieces = self.file.total.filter(|_| self.is_in_pieces());
        self.file.bytes > 0 && self.wanted.size.or(of_pieces) == Some(self.file.bytes)
    }

    fn attempt(
        &mut self,
        server: impl Fn(&Ask, Duration) -> Result<Answer, Trouble>,
    ) -> Result<Attempt, Trouble> {
        let (offset, if_range) = self.place();
        let left = self.patience.left(self.clock.now()).max(LOOK);
        self.sink.asks().map_err(Trouble::Sink)?;
        let mut answer = server(&self.ask(offset, if_range), left)?;
        if answer.parts.status.is_success() {
            self.sink.answered();
        }
        let asked = Asked {
            offset,
            size: self.wanted.size,
            most: self.wanted.most,
            validator: self.file.validator.as_ref(),
        };
        match accept(&asked, &answer.head()) {
            Ok(Accepted::Complete) => {
                self.file.total = Some(offset);
                self.begin(offset)?;
                Ok(Attempt::Complete)
            }
            Ok(Accepted::Body { offset, length, total }) => {
                self.goes_on(offset, total, &answer)?;
                match length.filter(|length| self.is_piece(*length)) {
                    Some(length) => self.take_piece(&mut answer, length),
                    None => self.take(&mut answer, length),
                }
            }
            Err(Refused::Anew(why)) => {
                tracing::debug!("the download begins anew: {why}");
                self.ranges = false;
                Ok(Attempt::GoesOn)
            }
            // The piece ends behind the file, which is another one now.
            Err(Refused::Trouble(Trouble::Refused(400))) if self.is_in_pieces() => {
                self.ranges = false;
                Ok(Attempt::GoesOn)
            }
            Err(Refused::Trouble(trouble)) => Err(trouble),
        }
    }

    /// From which byte on, and by what proof. Without a proof from the first; pieces have none.
    fn place(&self) -> (u64, Option<HeaderValue>) {
        if self.is_in_pieces() {
            return (self.file.bytes, None);
        }
        let validator = self.file.validator.as_ref().filter(|_| self.ranges && self.file.bytes > 0);
        let if_range = validator
            .and_then(Validator::if_range)
            .and_then(|proof| HeaderValue::from_str(proof).ok());
        if if_range.is_some() { (self.file.bytes, if_range) } else { (0, None) }
    }

    fn ask(&self, offset: u64, if_range: Option<HeaderValue>) -> Ask {
        let mut headers = Vec::new();
        if self.is_in_pieces() {
            let total = self.file.total.or(self.wanted.size);
            headers.extend(piece::range(offset, total).map(|range| (RANGE, Ok(range))));
        } else if let Some(proof) = if_range {
            headers.push((RANGE, HeaderValue::try_from(format!("bytes={offset}-"))));
            headers.push((IF_RANGE, Ok(proof)));
        }
        Ask {
            method: Method::GET,
            url: self.wanted.url.clone(),
            authorization: self.wanted.authorization.clone(),
            headers: headers
                .into_iter()
                .filter_map(|(name, value)| Some((name, value.ok()?)))
                .collect(),
            body: None,
        }
    }

    /// The sink is told where the body goes on, where that is news.
    fn goes_on(&mut self, offset: u64, total: Option<u64>, answer: &Answer) -> Result<(), Trouble> {
        let validator = Validator::of(&self.wanted.url, &answer.parts.headers, total);
        if offset > 0 {
            // The answer may say less of the file than the one before, or its size at last.
            let before = self.file.validator.take();
            self.file.validator = before.map(|before| before.with_total(total)).or(Some(validator));
            self.file.total = total;
            return if self.file.begun { Ok(()) } else { self.begin(offset) };
        }
        let is_other = self.file.validator.as_ref().is_some_and(|before| *before != validator);
        let is_news = !self.file.begun || self.file.bytes > 0 || is_other;
        if is_other {
            self.changes += 1;
            if self.changes > MOST_CHANGES {
                return Err(Trouble::Changes);
            }
            self.file.most = 0;
            self.patience.begin(self.clock.now());
        }
        self.file.bytes = 0;
        (self.file.total, self.file.validator) = (total, Some(validator));
        if is_news { self.begin(0) } else { Ok(()) }
    }

    fn begin(&mut self, offset: u64) -> Result<(), Trouble> {
        self.file.begun = true;
        let Some(validator) = &self.file.validator else { return Ok(()) };
        let total = self.file.total.or(self.wanted.size);
        self.sink.begin(offset, total, validator).map_err(Trouble::Sink)
    }

    fn is_in_pieces(&self) -> bool {
        self.ranges && self.wanted.pieces == Pieces::Summed
    }

    fn is_piece(&self, length: u64) -> bool {
        self.is_in_pieces() && length <= piece::LENGTH
    }

    /// Takes a piece once all of it is there and its sum is right. With a wrong one it is asked for
    /// once more.
    fn take_piece(&mut self, answer: &mut Answer, length: u64) -> Result<Attempt, Trouble> {
        self.lowest.begin();
        let mut bytes = Vec::new();
        loop {
            let most = self.bucket.piece(self.buffer.len());
            let since = self.clock.now();
            let count = answer.read(&mut self.buffer[..most])?;
            if count == 0 {
                break;
            }
            bytes.extend_from_slice(&self.buffer[..count]);
            if bytes.len() as u64 > length {
                return Err(Trouble::Longer(self.file.bytes + length));
            }
            let now = self.clock.now();
            if !self.lowest.is_kept(count, now.saturating_duration_since(since)) {
                return Err(Trouble::Slow(self.lowest.rate()));
            }
            let pause = self.bucket.passed(count, now);
            self.sleep(pause)?;
        }
        if (bytes.len() as u64) < length {
            let total = self.file.bytes + length;
            return Err(Trouble::Short { received: self.file.bytes + bytes.len() as u64, total });
        }
        if !piece::is_whole(&bytes, &answer.parts.headers) {
            tracing::warn!("a piece of the file came damaged");
            let was_damaged = std::mem::replace(&mut self.is_damaged, true);
            return if was_damaged { Err(Trouble::Damaged) } else { Ok(Attempt::GoesOn) };
        }
        self.is_damaged = false;
        for part in bytes.chunks(self.buffer.len()) {
            self.keep(part)?;
        }
        let is_all = self.file.total.is_none_or(|total| self.file.bytes >= total);
        Ok(if is_all { Attempt::Complete } else { Attempt::GoesOn })
    }

    /// Takes the body of an answer, which has this length where one is known.
    fn take(&mut self, answer: &mut Answer, length: Option<u64>) -> Result<Attempt, Trouble> {
        self.lowest.begin();
        let end = length.map(|length| self.file.bytes + length);
        loop {
            let piece = self.bucket.piece(self.buffer.len());
            let since = self.clock.now();
            let count = answer.read(&mut self.buffer[..piece])?;
            if count == 0 {
                break;
            }
            let waited = self.clock.now().saturating_duration_since(since);
            self.write(count, end)?;
            if !self.lowest.is_kept(count, waited) {
                return Err(Trouble::Slow(self.lowest.rate()));
            }
        }
        match end {
            Some(end) if self.file.bytes < end => {
                Err(Trouble::Short { received: self.file.bytes, total: end })
            }
            // A piece of it may have been all that the server gives at once.
            Some(_) if self.file.total.is_some_and(|total| self.file.bytes < total) => {
                Ok(Attempt::GoesOn)
            }
            None if self.file.bytes == 0 => Err(Trouble::Empty),
            _ => Ok(Attempt::Complete),
        }
    }

    /// Passes so many bytes of the buffer on. `end` is where they must end.
    fn write(&mut self, count: usize, end: Option<u64>) -> Result<(), Trouble> {
        if let Some(end) = end.filter(|end| self.file.bytes + count as u64 > *end) {
            return Err(Trouble::Longer(end));
        }
        let buffer = std::mem::take(&mut self.buffer);
        let kept = self.keep(&buffer[..count]);
        self.buffer = buffer;
        kept?;
        let pause = self.bucket.passed(count, self.clock.now());
        self.sleep(pause)
    }

    fn keep(&mut self, part: &[u8]) -> Result<(), Trouble> {
        let bytes = self.file.bytes + part.len() as u64;
        if bytes > self.wanted.most {
            return Err(Trouble::TooLarge { most: self.wanted.most });
        }
        self.sink.write(part).map_err(Trouble::Sink)?;
        self.file.bytes = bytes;
        if bytes > self.file.most {
            self.file.most = bytes;
            self.patience.reached(bytes, self.clock.now());
            self.backoff.reset();
        }
        Ok(())
    }

    /// Waits before the next attempt, unless it was enough. The last one is at the end of the
    /// patience, unless the server wants it later.
    fn pause(&mut self, trouble: Trouble) -> Result<(), Trouble> {
        let (now, asked) = (self.clock.now(), trouble.retry_after());
        let left = self.patience.left(now);
        let pause = self.backoff.next(asked, fastrand::f64());
        if left.is_zero() || asked.is_some_and(|_| pause > left) {
            let after = self.patience.waited(now);
            return Err(Trouble::GaveUp { after, last: Box::new(trouble) });
        }
        let pause = pause.min(left);
        tracing::debug!("the download pauses for {pause:?}: {trouble}");
        self.sink.pauses(&trouble, pause);
        self.sleep(pause)
    }

    fn sleep(&self, time: Duration) -> Result<(), Trouble> {
        let mut left = time;
        loop {
            if self.stop.is_set() {
                return Err(Trouble::Stopped);
            }
            if left.is_zero() {
                return Ok(());
            }
            let next = left.min(LOOK);
            self.clock.sleep(next);
            left -= next;
        }
    }
}

impl File {
    /// What is there, unless it is of another file (DL-1).
    fn resumed(have: Have, wanted: &Wanted) -> Self {
        let Have { bytes, validator } = have;
        let size = wanted.size.or(validator.total());
        let fits = size.is_none_or(|size| bytes <= size) && bytes <= wanted.most;
        let is_proved = validator.if_range().is_some() || wanted.pieces == Pieces::Summed;
        if !fits || !validator.is_of(&wanted.url, wanted.size) || !is_proved {
            return Self::default();
        }
        let total = validator.total();
        Self { begun: false, bytes, most: bytes, total, validator: Some(validator) }
    }
}

#[cfg(test)]
mod tests;
