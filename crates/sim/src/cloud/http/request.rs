//! A request as it was asked.

use std::io::{self, BufRead, Read as _, Write};

use crate::cloud::percent;

/// Largest request line with its headers, and largest body; what devices say is far below.
const LARGEST_HEAD: u64 = 64 << 10;
const LARGEST_BODY: u64 = 4 << 20;
const MOST_HEADERS: usize = 100;

/// A request.
#[derive(Debug, Clone, Default)]
pub(in crate::cloud) struct Request {
    pub(in crate::cloud) method: String,
    /// The path with its query, as it was asked.
    pub(in crate::cloud) target: String,
    pub(in crate::cloud) body: Vec<u8>,
    /// Whether another request may follow.
    pub(in crate::cloud) keeps_open: bool,
    headers: Vec<(String, String)>,
}

/// No request came.
#[derive(Debug)]
pub(super) enum Unreadable {
    Lost(io::Error),
    /// It is answered with this status.
    Answered(u16),
}

impl From<io::Error> for Unreadable {
    fn from(error: io::Error) -> Self {
        Self::Lost(error)
    }
}

impl Request {
    /// The next request, `None` at the end. Whoever waits for a word before the body is told to go
    /// on by `peer`.
    pub(super) fn read(
        reader: &mut impl BufRead,
        peer: &mut impl Write,
    ) -> Result<Option<Self>, Unreadable> {
        let head = read_head(reader)?;
        if head.is_empty() {
            return Ok(None);
        }
        let mut request = Self::parse(&head).ok_or(Unreadable::Answered(400))?;
        let is_chunked = request
            .header("Transfer-Encoding")
            .is_some_and(|value| value.eq_ignore_ascii_case("chunked"));
        let length = request.header("Content-Length").map_or(Ok(0), str::parse::<u64>);
        let length = length.map_err(|_| Unreadable::Answered(400))?;
        if length > LARGEST_BODY {
            return Err(Unreadable::Answered(413));
        }
        if request.header("Expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue"))
        {
            peer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        if is_chunked {
            request.body = read_chunks(reader)?;
        } else {
            request.body = vec![0; usize::try_from(length).unwrap_or(0)];
            reader.read_exact(&mut request.body)?;
        }
        Ok(Some(request))
    }

    fn parse(head: &[u8]) -> Option<Self> {
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut parsed = httparse::Request::new(&mut headers);
        if !parsed.parse(head).ok()?.is_complete() {
            return None;
        }
        let headers = parsed.headers.iter().map(|header| {
            (header.name.to_owned(), String::from_utf8_lossy(header.value).trim().to_owned())
        });
        let mut request = Self {
            method: parsed.method?.to_owned(),
            target: parsed.path?.to_owned(),
            headers: headers.collect(),
            ..Self::default()
        };
        let asks_to_close =
            request.header("Connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        request.keeps_open = parsed.version == Some(1) && !asks_to_close;
        Some(request)
    }

    /// A header, whatever the case of its name.
    pub(in crate::cloud) fn header(&self, name: &str) -> Option<&str> {
        let is_it = |(other, _): &&(String, String)| other.eq_ignore_ascii_case(name);
        self.headers.iter().find(is_it).map(|(_, value)| value.as_str())
    }

    /// The path, still encoded, without the query.
    pub(in crate::cloud) fn path(&self) -> &str {
        self.target.split(['?', '#']).next().unwrap_or_default()
    }

    /// The names and values of the query, in order.
    pub(in crate::cloud) fn query(&self) -> Vec<(String, String)> {
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        pairs
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                (percent::decode(name), percent::decode(value))
            })
            .collect()
    }

    #[cfg(test)]
    pub(in crate::cloud) fn of(method: &str, target: &str, headers: &[(&str, &str)]) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            headers: headers.iter().map(owned).collect(),
            ..Self::default()
        }
    }

    #[cfg(test)]
    pub(in crate::cloud) fn with(mut self, body: &str) -> Self {
        self.body = body.as_bytes().to_vec();
        self
    }
}

/// All up to the empty line, nothing at the end of the connection.
fn read_head(reader: &mut impl BufRead) -> Result<Vec<u8>, Unreadable> {
    let mut head = Vec::new();
    let mut limited = reader.take(LARGEST_HEAD);
    loop {
        let before = head.len();
        if limited.read_until(b'\n', &mut head)? == 0 {
            return match head.len() as u64 {
                0 => Ok(head),
                LARGEST_HEAD => Err(Unreadable::Answered(431)),
                _ => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            };
        }
        let line = &head[before..];
        if line == b"\r\n" || line == b"\n" {
            if before != 0 {
                return Ok(head);
            }
            // Empty lines before a request are passed over.
            head.clear();
        }
    }
}

fn read_chunks(reader: &mut impl BufRead) -> Result<Vec<u8>, Unreadable> {
    let mut body = Vec::new();
    loop {
        let size = read_line(reader)?;
        let digits = size.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(digits, 16).map_err(|_| Unreadable::Answered(400))?;
        if size > LARGEST_BODY - body.len() as u64 {
            return Err(Unreadable::Answered(413));
        }
        if size == 0 {
            while !read_line(reader)?.is_empty() {}
            return Ok(body);
        }
        if reader.take(size).read_to_end(&mut body)? as u64 != size {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        read_line(reader)?;
    }
}

fn read_line(reader: &mut impl BufRead) -> Result<String, Unreadable> {
    let mut line = Vec::new();
    if reader.take(LARGEST_HEAD).read_until(b'\n', &mut line)? == 0 {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    Ok(String::from_utf8_lossy(&line).trim().to_owned())
}
