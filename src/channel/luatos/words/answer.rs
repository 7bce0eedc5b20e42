//! The answer to a request: the file itself, or why there is none (docs/use/luatos.md, "The
//! answer").

use super::code::Word;
use super::head::Head;
use super::heard::Heard;
use super::target::Target;
use super::{Settings, turnkey};
use crate::channel::offer::{FirmwareName, Install, Offer, OfferedFile};
use crate::model::AnnouncedDigests;

/// Bytes of an answer's body that are read to tell a file from a word: a word is shorter (LU-6).
pub(crate) const FIRST_BYTES: usize = 512;

/// What an answer comes to: its head, and the first bytes of its body, [`FIRST_BYTES`] at most, in
/// the turnkey protocol [`LONGEST_ANSWER`](super::LONGEST_ANSWER). `more` says that the body goes
/// on behind them. `url` is what was asked, before any redirect: what one leads to may expire before
/// the file is there.
pub(crate) fn heard(
    settings: &Settings,
    url: &str,
    head: &Head<'_>,
    body: &[u8],
    more: bool,
) -> Heard {
    if head.status == 304 {
        return Heard::Nothing { why: "the server has no other file than the last one".into() };
    }
    if head.content_encoding.is_some_and(|coding| !is_identity(coding)) {
        let why = "the server compresses its answer although it was asked not to";
        return Heard::Retry { why: why.into() };
    }
    if settings.is_turnkey() {
        return turnkey::heard(settings, head.status, body, more);
    }
    let is_short = !more && body.len() < FIRST_BYTES;
    if let Some(word) = Word::of(body).filter(|_| is_short) {
        return word.heard(settings.codes);
    }
    match head.status {
        200 | 206 if body.is_empty() && !more => {
            Heard::Retry { why: "the server's answer is empty".into() }
        }
        200 | 206 if is_page(body) => Heard::Retry {
            why: "a web page came instead of a file: does the network want somebody to log in?"
                .into(),
        },
        200 | 206 => file(url, head),
        status => Heard::of_status(status),
    }
}

/// The body is the file. Nothing on this wire says its version or its digest, so its seal must
/// (LU-7).
fn file(url: &str, head: &Head<'_>) -> Heard {
    let size = size(head);
    let target = Target::of(head, size);
    let Some(action) = target.action() else {
        return Heard::Retry { why: "the server's answer can't be told from others".into() };
    };
    let file = OfferedFile {
        name: FirmwareName::BySeal,
        url: url.to_owned(),
        size,
        digests: AnnouncedDigests::default(),
    };
    Heard::File { offer: Offer { action, files: vec![file], install: Install::Now }, target }
}

/// The whole file's size: some servers send a part with the status 200, and of a part the length is
/// not that of the file.
fn size(head: &Head<'_>) -> Option<u64> {
    let size = match head.content_range {
        Some(range) => range.rsplit_once('/').map(|(_, total)| total),
        None if head.status == 206 => None,
        None => head.content_length,
    };
    size.and_then(number).filter(|size| *size > 0)
}

/// Digits alone: the parser of numbers would take a sign, too.
fn number(text: &str) -> Option<u64> {
    let text = text.trim();
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

fn is_identity(coding: &str) -> bool {
    matches!(coding.trim().to_ascii_lowercase().as_str(), "" | "identity")
}

/// What a network shows instead of the server until somebody has logged in.
fn is_page(body: &[u8]) -> bool {
    let begin = body.trim_ascii_start();
    [b"<!doctype".as_slice(), b"<html"]
        .iter()
        .any(|sign| begin.get(..sign.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(sign)))
}
