//! Whether the bytes of an answer may be written, and where: the one decision that a wrong file
//! hangs on (docs/use/download.md has the table). Pure: it sees a status and headers.

use std::time::Duration;

use ureq::http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderName, TRANSFER_ENCODING,
};
use ureq::http::{HeaderMap, HeaderValue, Version};

use super::retry_after::retry_after;
use super::trouble::Trouble;
use super::validator::Validator;

/// What was asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    /// The first byte; where it is 0, no range was asked for.
    pub(super) offset: u64,
    /// The size of the file, where it was announced.
    pub(super) size: Option<u64>,
    /// The largest file that may come.
    pub(super) most: u64,
    /// What proves that the bytes before `offset` are of the same file.
    pub(super) validator: Option<&'a Validator>,
}

/// The head of an answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head<'a> {
    pub(super) status: u16,
    pub(super) version: Version,
    pub(super) headers: &'a HeaderMap,
    /// When it came, since 1970 by this machine's clock.
    pub(super) now: Option<Duration>,
}

/// What may be done with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Accepted {
    /// Its body goes on behind `offset`, which is what was asked for or 0.
    Body {
        /// Bytes before it.
        offset: u64,
        /// Bytes that it must have; where nothing is said, it ends where HTTP says that it ends.
        length: Option<u64>,
        /// Bytes of the whole file.
        total: Option<u64>,
    },
    /// All bytes are there already. The body is not of the file.
    Complete,
}

/// Why nothing of it may be written.
#[derive(Debug)]
pub(super) enum Refused {
    /// What is there is of no use: ask for all, from the first byte on.
    Anew(&'static str),
    /// It is not what was asked for.
    Trouble(Trouble),
}

impl From<Trouble> for Refused {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

/// Decides about an answer that leads nowhere else.
pub(super) fn accept(asked: &Asked, head: &Head) -> Result<Accepted, Refused> {
    match head.status {
        200 | 206 => {}
        416 => return nothing_behind(asked, head.headers),
        401 | 403 => return Err(Trouble::NotAllowed(head.status).into()),
        404 | 410 => return Err(Trouble::Gone(head.status).into()),
        408 | 425 | 429 | 500.. => {
            let after = retry_after(head.headers, head.now);
            return Err(Trouble::Later { status: head.status, after }.into());
        }
        status => return Err(Trouble::Refused(status).into()),
    }
    plain(head.headers)?;
    let framing = Framing::of(head)?;
    // A server of ThingsPanel says 200 to a range and sends it all the same.
    if head.status == 206 || head.headers.contains_key(CONTENT_RANGE) {
        part(asked, head.headers, framing)
    } else {
        whole(asked, framing)
    }
}

/// How the end of a body is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length(u64),
    Chunked,
    Close,
}

impl Framing {
    fn of(head: &Head) -> Result<Self, Trouble> {
        if let Some(encoding) = only(head.headers, &TRANSFER_ENCODING)? {
            let encoding = encoding.trim();
            if !encoding.eq_ignore_ascii_case("chunked") {
                return Err(Trouble::Encoded(shown(encoding)));
            }
            // HTTP/1.0 has no chunks: the library reads to the end of the connection.
            return match head.version {
                Version::HTTP_10 | Version::HTTP_09 => {
                    Err(Trouble::Senseless("it is chunked, which HTTP/1.0 has not"))
                }
                _ => Ok(Self::Chunked),
            };
        }
        match only(head.headers, &CONTENT_LENGTH)? {
            None => Ok(Self::Close),
            Some(length) => number(length)
                .map(Self::Length)
                .ok_or(Trouble::Senseless("its Content-Length is no number")),
        }
    }
}

fn whole(asked: &Asked, framing: Framing) -> Result<Accepted, Refused> {
    let told = match framing {
        Framing::Length(length) => Some(length),
        Framing::Chunked | Framing::Close => None,
    };
    let total = agreed(asked, told)?;
    if total.is_none() && framing == Framing::Close {
        return Err(Trouble::EndUnknown.into());
    }
    Ok(Accepted::Body { offset: 0, length: total, total })
}

fn part(asked: &Asked, headers: &HeaderMap, framing: Framing) -> Result<Accepted, Refused> {
    let content_type = headers.get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    if content_type.to_ascii_lowercase().trim_ascii_start().starts_with(b"multipart/") {
        return Err(Trouble::Senseless("it has several parts").into());
    }
    let range = match only(headers, &CONTENT_RANGE)?.map(Range::parse) {
        Some(Some(range)) => range,
        Some(None) => return Err(anew(asked, "its Content-Range is none")),
        None => return Err(anew(asked, "it is partial and has no Content-Range")),
    };
    if range.first != asked.offset {
        return Err(anew(asked, "it begins at another byte"));
    }
    let length = range.last - range.first + 1;
    if matches!(framing, Framing::Length(told) if told != length) {
        return Err(anew(asked, "its Content-Length is not that of its Content-Range"));
    }
    let known = asked.size.or_else(|| asked.validator.and_then(Validator::total));
    if known.is_some_and(|known| known != range.total) {
        return Err(anew(asked, "it is of a file of another size"));
    }
    if asked.offset > 0 && asked.validator.is_none_or(|known| known.contradicts(headers)) {
        return Err(anew(asked, "it is of another file"));
    }
    let total = agreed(asked, Some(range.total))?;
    Ok(Accepted::Body { offset: asked.offset, length: Some(length), total })
}

/// 416: all is there, or what is there is of another file.
fn nothing_behind(asked: &Asked, headers: &HeaderMap) -> Result<Accepted, Refused> {
    let total = only(headers, &CONTENT_RANGE)?
        .and_then(|value| number(after_unit(value)?.strip_prefix("*/")?));
    let is_all = total == Some(asked.offset) && asked.size.is_none_or(|size| total == Some(size));
    if is_all && asked.offset > 0 {
        Ok(Accepted::Complete)
    } else {
        Err(anew(asked, "it has nothing behind what is there, and that is not all"))
    }
}

/// The size of the file, where what was announced and what the server says agree.
fn agreed(asked: &Asked, told: Option<u64>) -> Result<Option<u64>, Trouble> {
    if let (Some(announced), Some(told)) = (asked.size, told)
        && announced != told
    {
        return Err(Trouble::OtherSize { announced, told });
    }
    match asked.size.or(told) {
        Some(0) => Err(Trouble::Empty),
        Some(total) if total > asked.most => Err(Trouble::TooLarge { most: asked.most }),
        total => Ok(total),
    }
}

/// DL-7: nothing was asked to be encoded.
pub(super) fn plain(headers: &HeaderMap) -> Result<(), Trouble> {
    for value in headers.get_all(CONTENT_ENCODING) {
        let encoding = String::from_utf8_lossy(value.as_bytes());
        if !encoding.trim().is_empty() && !encoding.trim().eq_ignore_ascii_case("identity") {
            return Err(Trouble::Encoded(shown(encoding.trim())));
        }
    }
    Ok(())
}

/// Once all of it was asked for, there is nothing else to ask for.
fn anew(asked: &Asked, why: &'static str) -> Refused {
    if asked.offset > 0 { Refused::Anew(why) } else { Trouble::Senseless(why).into() }
}

/// The bytes of a partial answer.
struct Range {
    first: u64,
    /// Not below `first`, and below `total`.
    last: u64,
    total: u64,
}

impl Range {
    fn parse(value: &str) -> Option<Self> {
        let (range, total) = after_unit(value)?.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let (first, last, total) = (number(first)?, number(last)?, number(total)?);
        (first <= last && last < total).then_some(Self { first, last, total })
    }
}

fn after_unit(value: &str) -> Option<&str> {
    let (unit, rest) = value.trim().split_once(' ')?;
    unit.eq_ignore_ascii_case("bytes").then(|| rest.trim())
}

/// A number as HTTP has it: digits alone.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// The value of a header that there may be once; the same again is once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Trouble> {
    let mut values = headers.get_all(name).iter();
    let Some(first) = values.next() else { return Ok(None) };
    if values.any(|other| other != first) {
        return Err(Trouble::Senseless("a header is there twice, with two values"));
    }
    first.to_str().map(Some).map_err(|_| Trouble::Senseless("a header is no text"))
}

/// Of what a stranger wrote, what fits into a sentence.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(40).collect()
}

/// For the fuzzer: an answer is a status in two bytes, an offset, a size, and lines of headers. Nothing
/// is written but where the file goes on, nor beyond its end.
pub(super) fn fuzz(bytes: &[u8]) {
    let [high, low, offset, size, lines @ ..] = bytes else { return };
    let mut headers = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n') {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let name = parts.next().and_then(|name| HeaderName::from_bytes(name).ok());
        let value = parts.next().and_then(|value| HeaderValue::from_bytes(value).ok());
        if let (Some(name), Some(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    let Ok(url) = "http://h/f".parse() else { return };
    let validator = Validator::of(&url, &headers, None);
    let asked = Asked {
        offset: u64::from(*offset),
        size: Some(u64::from(*size)).filter(|size| *size > 0),
        most: 200,
        validator: Some(&validator),
    };
    let status = u16::from_be_bytes([*high, *low]);
    let head = Head { status, version: Version::HTTP_11, headers: &headers, now: None };
    match accept(&asked, &head) {
        Ok(Accepted::Body { offset, length, total }) => {
            assert!(offset == 0 || offset == asked.offset, "{offset}");
            assert!(asked.size.is_none() || total == asked.size, "{total:?}");
            let end = length.map_or(0, |length| offset + length);
            assert!(end <= total.unwrap_or(asked.most) && end <= asked.most, "{end}");
        }
        Ok(Accepted::Complete) => {
            assert!(asked.size.is_none_or(|size| size == asked.offset), "{}", asked.offset);
        }
        Err(_) => {}
    }
}

#[cfg(test)]
mod tests;
