//! An answer, right or wrong, and how it is sent.

use std::fmt;
use std::io::{self, Write};
use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};

use crate::cloud::content::Content;

/// Sent at once: small enough that a pace is a pace.
const BUFFER: usize = 16 << 10;

/// What is said when half of the body, or all that will come of it, has been sent.
type Midway = Box<dyn FnOnce() + Send>;
type Finished = Box<dyn FnOnce(u64) + Send>;

/// An answer.
pub(in crate::cloud) struct Response {
    pub(in crate::cloud) status: u16,
    pub(in crate::cloud) body: Body,
    pub(in crate::cloud) framing: Framing,
    pub(in crate::cloud) pace: Pace,
    headers: Vec<(&'static str, String)>,
    midway: Option<Midway>,
    finished: Option<Finished>,
}

/// A body, piece after piece.
#[derive(Debug, Default)]
pub(in crate::cloud) struct Body(pub(in crate::cloud) Vec<Piece>);

/// A part of a body.
#[derive(Debug)]
pub(in crate::cloud) enum Piece {
    Bytes(Vec<u8>),
    Part(Content, Range<u64>),
}

/// How the end of a body is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::cloud) enum Framing {
    /// By its length, which is told first.
    #[default]
    Length,
    /// By the last chunk.
    Chunked,
    /// By the end of the connection, and nothing tells it from a cut.
    Close,
    /// A length is told that is wrong by so many bytes.
    WrongLength(i64),
}

/// How a body comes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::cloud) struct Pace {
    /// Wait before the first byte of the answer.
    pub(in crate::cloud) delay: Duration,
    /// Bytes a second at most.
    pub(in crate::cloud) rate: Option<u64>,
    /// Cut after so many bytes of the body.
    pub(in crate::cloud) cut_after: Option<u64>,
}

/// What comes after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cloud) enum Sent {
    KeepOpen,
    Close,
}

impl Response {
    pub(in crate::cloud) fn new(status: u16) -> Self {
        Self {
            status,
            body: Body::default(),
            framing: Framing::default(),
            pace: Pace::default(),
            headers: Vec::new(),
            midway: None,
            finished: None,
        }
    }

    pub(in crate::cloud) fn json(status: u16, value: &serde_json::Value) -> Self {
        Self::text(status, "application/json", value.to_string())
    }

    pub(in crate::cloud) fn text(status: u16, kind: &str, text: impl Into<String>) -> Self {
        let mut response = Self::new(status).with("Content-Type", kind);
        response.body = Body(vec![Piece::Bytes(text.into().into_bytes())]);
        response
    }

    pub(in crate::cloud) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Has this done when half of the body has been sent.
    pub(in crate::cloud) fn midway(mut self, then: impl FnOnce() + Send + 'static) -> Self {
        self.midway = Some(Box::new(then));
        self
    }

    /// Has this done when no more comes, with the number of bytes of the body that were sent.
    pub(in crate::cloud) fn finished(mut self, then: impl FnOnce(u64) + Send + 'static) -> Self {
        self.finished = Some(Box::new(then));
        self
    }

    #[cfg(test)]
    pub(in crate::cloud) fn header(&self, name: &str) -> Option<&str> {
        let header = self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
        header.map(|(_, value)| value.as_str())
    }

    /// Sends it, without the body where only the head was asked for.
    pub(in crate::cloud) fn send(
        mut self,
        to: &mut impl Write,
        only_head: bool,
    ) -> io::Result<Sent> {
        thread::sleep(self.pace.delay);
        to.write_all(self.head().as_bytes())?;
        if only_head || self.has_no_body() {
            if let Some(finished) = self.finished.take() {
                finished(0);
            }
            return Ok(Sent::KeepOpen);
        }
        let mut sending = Sending {
            to,
            began: Instant::now(),
            sent: 0,
            half: self.body.size() / 2,
            is_chunked: self.framing == Framing::Chunked,
            pace: self.pace,
            midway: self.midway.take(),
        };
        let result = self.body.0.drain(..).try_fold(true, |goes_on, piece| {
            if goes_on { sending.piece(&piece) } else { Ok(false) }
        });
        let sent = sending.sent;
        let ended = result.and_then(|is_whole| {
            if is_whole && self.framing == Framing::Chunked {
                to.write_all(b"0\r\n\r\n")?;
            }
            let goes_on = matches!(self.framing, Framing::Length | Framing::Chunked);
            Ok(if is_whole && goes_on { Sent::KeepOpen } else { Sent::Close })
        });
        if let Some(finished) = self.finished.take() {
            finished(sent);
        }
        ended
    }

    fn has_no_body(&self) -> bool {
        matches!(self.status, 100..=199 | 204 | 304)
    }

    fn head(&self) -> String {
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        for (name, value) in &self.headers {
            // A line end would begin another header.
            let value: String = value.chars().filter(|letter| !letter.is_control()).collect();
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !self.has_no_body() {
            let size = self.body.size();
            head.push_str(&match self.framing {
                Framing::Length => format!("Content-Length: {size}\r\n"),
                Framing::WrongLength(by) => {
                    format!("Content-Length: {}\r\n", size.saturating_add_signed(by))
                }
                Framing::Chunked => "Transfer-Encoding: chunked\r\n".to_owned(),
                Framing::Close => "Connection: close\r\n".to_owned(),
            });
        }
        head + "\r\n"
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.head())
    }
}

impl Body {
    pub(in crate::cloud) fn size(&self) -> u64 {
        self.0.iter().map(Piece::size).sum()
    }
}

impl Piece {
    fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Part(_, range) => range.end - range.start,
        }
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        match self {
            Self::Bytes(bytes) => {
                let rest = usize::try_from(at).ok().and_then(|at| bytes.get(at..)).unwrap_or(&[]);
                let count = rest.len().min(buffer.len());
                buffer[..count].copy_from_slice(&rest[..count]);
                Ok(count)
            }
            Self::Part(content, range) => {
                let left = usize::try_from(range.end - range.start - at).unwrap_or(usize::MAX);
                let count = buffer.len().min(left);
                content.read_at(&mut buffer[..count], range.start + at)
            }
        }
    }
}

struct Sending<'a, W> {
    to: &'a mut W,
    began: Instant,
    sent: u64,
    half: u64,
    is_chunked: bool,
    pace: Pace,
    midway: Option<Midway>,
}

impl<W: Write> Sending<'_, W> {
    /// Whether the next may follow.
    fn piece(&mut self, piece: &Piece) -> io::Result<bool> {
        let mut buffer = [0; BUFFER];
        let mut at = 0;
        loop {
            let allowed = self.pace.cut_after.map_or(u64::MAX, |cut| cut.saturating_sub(self.sent));
            if allowed == 0 {
                return Ok(false);
            }
            // Half is half, however small all of it is.
            let until_half = self.half.saturating_sub(self.sent);
            let allowed = if until_half > 0 { allowed.min(until_half) } else { allowed };
            let most = usize::try_from(allowed).unwrap_or(BUFFER).min(BUFFER);
            let count = piece.read_at(&mut buffer[..most], at)?;
            if count == 0 {
                return Ok(true);
            }
            self.write(&buffer[..count])?;
            at += count as u64;
            self.sent += count as u64;
            if self.sent >= self.half
                && let Some(midway) = self.midway.take()
            {
                self.to.flush()?;
                midway();
            }
            self.hold_pace();
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !self.is_chunked {
            return self.to.write_all(bytes);
        }
        self.to.write_all(format!("{:x}\r\n", bytes.len()).as_bytes())?;
        self.to.write_all(bytes)?;
        self.to.write_all(b"\r\n")
    }

    fn hold_pace(&self) {
        if let Some(rate) = self.pace.rate {
            let due = Duration::from_secs_f64(self.sent as f64 / rate.max(1) as f64);
            thread::sleep(due.saturating_sub(self.began.elapsed()));
        }
    }
}

const fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        206 => "Partial Content",
        302 => "Found",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        410 => "Gone",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        416 => "Range Not Satisfiable",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Status",
    }
}
