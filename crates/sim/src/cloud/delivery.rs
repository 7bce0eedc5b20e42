//! How a platform hands out a file: all of it or a range, as it should, or as servers in the field do
//! and as faults make it. Knows nothing of what the file is for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use clap::ValueEnum;

use super::content::Content;
use super::date::Date;
use super::http::{Body, Framing, Pace, Piece, Request, Response};

/// When each file of the simulation was last changed.
pub(super) const LAST_MODIFIED: &str = "Thu, 01 Jan 2026 00:00:00 GMT";
/// Between the parts of an answer with several ranges.
const BOUNDARY: &str = "uplift-sim-part";

/// What is done with a request for a range.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Ranges {
    /// As asked: 206, or 416 where there is none.
    #[default]
    Honoured,
    /// All is sent with 200, as servers do that know none.
    Ignored,
    /// The part is sent with 200 and Content-Range.
    Status200,
    /// The part begins one byte later than asked, and says so.
    WrongStart,
    /// The part is one of a multipart answer, without a Content-Range of its own.
    Multipart,
}

/// How the end of the body is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Framed {
    /// By Content-Length.
    #[default]
    Length,
    /// By the last chunk, without Content-Length.
    Chunked,
    /// By the end of the connection.
    Close,
    /// Content-Length is larger than what comes.
    Short,
    /// Content-Length is smaller than what comes.
    Long,
}

/// The tag that a file has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Tag {
    /// A strong one.
    #[default]
    Strong,
    /// A weak one.
    Weak,
    /// None, and no date either.
    Absent,
}

/// Where a request for the file is sent on to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Redirect {
    /// Nowhere.
    #[default]
    None,
    /// A second server, which refuses whoever brings an Authorization along.
    Elsewhere,
    /// Itself, for ever.
    Loop,
    /// This `Location`, as it is.
    To(String),
}

/// How a file is handed out. The default is as it should be.
#[derive(Debug, Clone, Default)]
pub struct Delivery {
    /// Ranges.
    pub ranges: Ranges,
    /// The body's end.
    pub framed: Framed,
    /// The tag.
    pub tag: Tag,
    /// Redirection.
    pub redirect: Redirect,
    /// Bytes a second at most.
    pub rate: Option<u64>,
    /// Wait before the first byte.
    pub delay: Duration,
    /// Cuts the body after so many bytes.
    pub cut_after: Option<u64>,
    /// How often it does; 0 is always.
    pub cuts: u32,
    /// Says that the body is compressed, which makes its tag a weak one.
    pub says_gzip: bool,
    /// Statuses that the first requests are answered with instead.
    pub statuses: Vec<u16>,
}

/// Counts what of a [`Delivery`] happens a number of times only.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts {
    requests: Arc<AtomicU32>,
    cuts: Arc<AtomicU32>,
}

/// What servers do differently though each is right.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Habits {
    /// `If-Match` is compared with the tag without its quotes (hawkBit).
    pub(super) unquoted_if_match: bool,
    /// A range that is none is 400, and not 416 (gooseBit).
    pub(super) bad_range_is_400: bool,
    /// Milliseconds that each gigabyte before a range takes (hawkBit before 1.1: read, and thrown away).
    pub(super) seek_ms_per_gb: u64,
}

/// A file as it is handed out.
#[derive(Debug)]
pub(super) struct Served<'a> {
    pub(super) content: &'a Content,
    pub(super) name: &'a str,
    /// Without quotes.
    pub(super) tag: &'a str,
    /// Where a redirection elsewhere leads.
    pub(super) elsewhere: Option<String>,
    pub(super) habits: Habits,
}

/// What of the file is asked for.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    All,
    /// First byte, and the byte behind the last.
    Ranges(Vec<(u64, u64)>),
    /// There are no such bytes.
    Unsatisfiable,
    /// It makes no sense.
    NoRange,
}

impl Delivery {
    /// The answer to a request for the file, and from where on it has its bytes.
    pub(super) fn answer(
        &self,
        request: &Request,
        served: &Served<'_>,
        counts: &Counts,
    ) -> (Response, u64) {
        let number = counts.requests.fetch_add(1, Ordering::SeqCst) as usize;
        if let Some(status) = self.statuses.get(number) {
            return (Response::text(*status, "text/html", "<p>not now</p>"), 0);
        }
        if let Some(location) = self.location(request, served) {
            return (Response::new(302).with("Location", location), 0);
        }
        let wanted = match self.wanted(request, served) {
            Ok(wanted) => wanted,
            Err(status) => return (Response::new(status), 0),
        };
        let (mut response, from) = self.send(&wanted, served);
        response.framing = self.framing();
        // Of a head alone there is nothing to cut.
        let cut_after = if request.method == "HEAD" { None } else { self.cut(counts) };
        response.pace = Pace { cut_after, ..self.pace(from, served) };
        (self.head(response, served), from)
    }

    fn location(&self, request: &Request, served: &Served<'_>) -> Option<String> {
        match &self.redirect {
            Redirect::None => None,
            Redirect::Elsewhere => served.elsewhere.clone(),
            Redirect::Loop => Some(request.target.clone()),
            Redirect::To(location) => Some(location.clone()),
        }
    }

    fn wanted(&self, request: &Request, served: &Served<'_>) -> Result<Wanted, u16> {
        let quoted = self.quoted(served.tag);
        if let Some(tag) = request.header("If-Match") {
            let own = if served.habits.unquoted_if_match { served.tag } else { quoted.as_str() };
            if tag != "*" && tag != own {
                return Err(412);
            }
        }
        let Some(range) = request.header("Range").filter(|_| self.ranges != Ranges::Ignored) else {
            return Ok(Wanted::All);
        };
        let still_same = request.header("If-Range").is_none_or(|validator| match self.tag {
            // A weak tag is no validator for a part.
            Tag::Weak | Tag::Absent => false,
            Tag::Strong => validator == quoted || is_not_older(validator),
        });
        Ok(if still_same { read_ranges(range, served.content.size()) } else { Wanted::All })
    }

    fn send(&self, wanted: &Wanted, served: &Served<'_>) -> (Response, u64) {
        let size = served.content.size();
        match wanted {
            Wanted::All => {
                let mut response = Response::new(200);
                response.body = Body(vec![Piece::Part(served.content.clone(), 0..size)]);
                (response, 0)
            }
            Wanted::NoRange if served.habits.bad_range_is_400 => {
                (Response::text(400, "text/plain", "no such range"), 0)
            }
            Wanted::Unsatisfiable | Wanted::NoRange => {
                let response = Response::text(416, "text/html", "<p>no such range</p>");
                (response.with("Content-Range", format!("bytes */{size}")), 0)
            }
            Wanted::Ranges(ranges) => match (&ranges[..], self.ranges) {
                ([(from, to)], ranges) if ranges != Ranges::Multipart => {
                    let from = from + u64::from(ranges == Ranges::WrongStart && from + 1 < *to);
                    let status = if ranges == Ranges::Status200 { 200 } else { 206 };
                    let mut response = Response::new(status)
                        .with("Content-Range", format!("bytes {from}-{}/{size}", to - 1));
                    response.body = Body(vec![Piece::Part(served.content.clone(), from..*to)]);
                    (response, from)
                }
                (ranges, _) => (multipart(ranges, served.content), ranges[0].0),
            },
        }
    }

    fn head(&self, response: Response, served: &Served<'_>) -> Response {
        let mut response = response;
        if self.ranges != Ranges::Ignored {
            response = response.with("Accept-Ranges", "bytes");
        }
        if self.says_gzip {
            response = response.with("Content-Encoding", "gzip");
        }
        if self.tag != Tag::Absent {
            response =
                response.with("ETag", self.quoted(served.tag)).with("Last-Modified", LAST_MODIFIED);
        }
        let name = served.name.replace(['"', '\\'], "_");
        response
            .with("Content-Disposition", format!("attachment;filename=\"{name}\""))
            .with("Content-Type", "application/octet-stream")
    }

    fn quoted(&self, tag: &str) -> String {
        if self.tag == Tag::Weak || self.says_gzip {
            format!("W/\"{tag}\"")
        } else {
            format!("\"{tag}\"")
        }
    }

    const fn framing(&self) -> Framing {
        match self.framed {
            Framed::Length => Framing::Length,
            Framed::Chunked => Framing::Chunked,
            Framed::Close => Framing::Close,
            Framed::Short => Framing::WrongLength(1000),
            Framed::Long => Framing::WrongLength(-1000),
        }
    }

    fn pace(&self, from: u64, served: &Served<'_>) -> Pace {
        let seek = Duration::from_millis(from.saturating_mul(served.habits.seek_ms_per_gb) >> 30);
        Pace { delay: self.delay + seek, rate: self.rate, cut_after: None }
    }

    fn cut(&self, counts: &Counts) -> Option<u64> {
        let after = self.cut_after?;
        let number = counts.cuts.fetch_add(1, Ordering::SeqCst);
        (self.cuts == 0 || number < self.cuts).then_some(after)
    }
}

fn is_not_older(validator: &str) -> bool {
    Date::parse(validator).zip(Date::parse(LAST_MODIFIED)).is_some_and(|(known, own)| known >= own)
}

/// Any range that is none makes the whole header none.
fn read_ranges(header: &str, size: u64) -> Wanted {
    let read = || -> Option<Vec<(u64, u64)>> {
        let ranges = header.strip_prefix("bytes=")?.split(',');
        ranges.map(|range| read_range(range, size)).collect()
    };
    let Some(mut ranges) = read() else { return Wanted::NoRange };
    ranges.sort_unstable();
    let overlap = ranges.windows(2).any(|pair| pair[1].0 < pair[0].1);
    if overlap || ranges.iter().any(|(from, _)| *from >= size) {
        return Wanted::Unsatisfiable;
    }
    Wanted::Ranges(ranges.into_iter().map(|(from, to)| (from, to.min(size))).collect())
}

fn read_range(text: &str, size: u64) -> Option<(u64, u64)> {
    let (first, last) = text.split_once('-')?;
    let number = |text: &str| {
        text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten()
    };
    let (from, to) = match (first, last) {
        ("", last) => (size.saturating_sub(number(last)?), u64::MAX),
        (first, "") => (number(first)?, u64::MAX),
        (first, last) => (number(first)?, number(last)?.saturating_add(1)),
    };
    (from < to).then_some((from, to))
}

fn multipart(ranges: &[(u64, u64)], content: &Content) -> Response {
    let mut pieces = Vec::new();
    for (from, to) in ranges {
        let size = content.size();
        pieces.push(Piece::Bytes(
            format!("\r\n--{BOUNDARY}\r\nContent-Range: bytes {from}-{}/{size}\r\n\r\n", to - 1)
                .into_bytes(),
        ));
        pieces.push(Piece::Part(content.clone(), *from..*to));
    }
    pieces.push(Piece::Bytes(format!("\r\n--{BOUNDARY}--\r\n").into_bytes()));
    let mut response = Response::new(206)
        .with("Content-Type", format!("multipart/byteranges; boundary={BOUNDARY}"));
    response.body = Body(pieces);
    response
}

#[cfg(test)]
mod tests;
