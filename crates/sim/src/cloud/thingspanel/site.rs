//! Hands files out, with the platform's own way of ranges.

use super::crc::{Method, Sum};
use super::options::{Generation, Options, Ranges, Task};
use crate::cloud::content::Content;
use crate::cloud::delivery::LAST_MODIFIED;
use crate::cloud::http::{Body, Pace, Piece, Request, Response};

/// Read at once.
const BUFFER: usize = 64 << 10;

/// What of a file is asked for: its first and its last byte.
enum Wanted {
    All,
    Part(u64, u64),
    /// This status says why not.
    Nothing(u16),
}

/// Where a task's file lies: the path of its download.
pub(super) fn path_of(generation: Generation, task: &Task) -> String {
    let api = match generation {
        Generation::LegacyInfrom | Generation::V05 => "/api/ota/download/files",
        Generation::V1 => "/api/v1/ota/download/files",
    };
    format!("{api}/upgradePackage/2026-01-01/{}", task.file_name)
}

/// The answer to a request for a file, with the range of bytes that it has.
pub(super) fn answer(
    request: &Request,
    options: &Options,
    content: &Content,
    sum_is_wrong: bool,
    cut_after: Option<u64>,
) -> (Response, u64) {
    let size = content.size();
    let range = request.header("Range").filter(|_| options.way.ranges == Ranges::Usual);
    let (mut response, from) = match range.map_or(Wanted::All, |range| wanted(range, size)) {
        Wanted::Nothing(status) => (Response::new(status), 0),
        // A file of its web server: with a date, and without a tag.
        Wanted::All => {
            let mut response = Response::new(200).with("Last-Modified", LAST_MODIFIED);
            response.body = Body(vec![Piece::Part(content.clone(), 0..size)]);
            (response, 0)
        }
        Wanted::Part(first, last) => {
            let method = Method::of(request.header("Crc16-Method"));
            let sum = sum(content, first, last + 1, method);
            let sum = if sum_is_wrong { "xxxx".to_owned() } else { sum };
            let status = if options.generation == Generation::V1 { 200 } else { 206 };
            let mut response = Response::new(status)
                .with("Content-Range", format!("bytes {first}-{last}/{size}"))
                .with("Accept-Ranges", "bytes")
                .with("X-CRC16", sum)
                .with("Content-Type", "bin");
            response.body = Body(vec![Piece::Part(content.clone(), first..last + 1)]);
            (response, first)
        }
    };
    response.pace = Pace { rate: options.way.rate, cut_after, ..Pace::default() };
    (response, from)
}

/// Suffixes, several ranges and what is none are 416; an end behind the last byte is 400.
fn wanted(range: &str, size: u64) -> Wanted {
    let read = || {
        let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
        let first: u64 = first.parse().ok()?;
        let last = if last.is_empty() { size.checked_sub(1)? } else { last.parse().ok()? };
        Some((first, last))
    };
    match read() {
        Some((_, last)) if last >= size => Wanted::Nothing(400),
        Some((first, last)) if first <= last => Wanted::Part(first, last),
        _ => Wanted::Nothing(416),
    }
}

fn sum(content: &Content, from: u64, to: u64, method: Method) -> String {
    let (mut sum, mut at, mut buffer) = (Sum::new(method), from, vec![0; BUFFER]);
    while at < to {
        let most = usize::try_from(to - at).unwrap_or(BUFFER).min(BUFFER);
        match content.read_at(&mut buffer[..most], at) {
            Ok(count) if count > 0 => {
                sum.add(&buffer[..count]);
                at += count as u64;
            }
            _ => break,
        }
    }
    sum.digits()
}
