//! The checksum of the files of the state: against a bit that has flipped, not against people.
//!
//! From format [`FORMAT`] on such a file ends with its own CRC-32 (as in gzip), as the last field
//! of its object, where a reader that does not know it passes over it. It is of all bytes before
//! its digits:
//!
//! ```text
//!   "crc32": "9ae0daaf"
//! }
//! ```
//!
//! A file of format 1 has none. Whoever changes a file by hand gives it format 1 and takes the
//! field out.

use crc::{CRC_32_ISO_HDLC, Crc};
use serde::{Deserialize, Serialize};

/// The first format with a checksum, and the newest one.
pub(crate) const FORMAT: u32 = 2;
/// The format without one.
pub(crate) const FIRST_FORMAT: u32 = 1;

/// As in gzip.
pub(crate) const CRC_32: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);
const KEY: &[u8] = b",\n  \"crc32\": \"";
const END: &[u8] = b"\"\n}\n";
const DIGITS: usize = 8;

/// Why a text is not one of the state.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Wrong {
    /// It is no such JSON.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// A bit has flipped.
    #[error("its bytes were changed since it was written: the checksum differs")]
    Checksum,
    /// Its format has one.
    #[error("its checksum is missing")]
    Missing,
}

/// The text of an object with fields, which say this format themselves.
pub(crate) fn to_text(object: &impl Serialize, format: u32) -> serde_json::Result<Vec<u8>> {
    let mut text = serde_json::to_vec_pretty(object)?;
    if format < FORMAT || !text.ends_with(b"\n}") {
        text.push(b'\n');
        return Ok(text);
    }
    text.truncate(text.len() - 2);
    text.extend_from_slice(KEY);
    let digits = digits(&text);
    text.extend_from_slice(digits.as_bytes());
    text.extend_from_slice(END);
    Ok(text)
}

/// Whether the text is as it was written; its format.
pub(crate) fn examine(text: &[u8]) -> Result<u32, Wrong> {
    #[derive(Deserialize)]
    struct Head {
        format: u32,
    }
    let head = serde_json::from_slice(text).map(|Head { format }| format);
    match (is_right(text), head) {
        (Some(false), _) => Err(Wrong::Checksum),
        (_, Err(error)) => Err(error.into()),
        (None, Ok(format)) if format >= FORMAT => Err(Wrong::Missing),
        (_, Ok(format)) => Ok(format),
    }
}

/// A text that passes in pieces.
pub(crate) struct Passed {
    /// Of all bytes but those in `tail`.
    digest: crc::Digest<'static, u32>,
    /// The last bytes, at most as many as a checksum and what is around it.
    tail: Vec<u8>,
}

impl Passed {
    /// Nothing has passed.
    pub(crate) fn new() -> Self {
        Self { digest: CRC_32.digest(), tail: Vec::new() }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
        let surplus = self.tail.len().saturating_sub(KEY.len() + DIGITS + END.len());
        self.digest.update(&self.tail[..surplus]);
        self.tail.drain(..surplus);
    }

    /// Whether all that has passed is as it was written, by what was read of it: its format.
    pub(crate) fn verdict(mut self, format: serde_json::Result<u32>) -> Result<u32, Wrong> {
        let told = self.tail.strip_suffix(END).and_then(|text| text.split_last_chunk::<DIGITS>());
        let is_right = told.filter(|(before, _)| *before == KEY).map(|(before, told)| {
            self.digest.update(before);
            format!("{:08x}", self.digest.finalize()).as_bytes() == told
        });
        match (is_right, format) {
            (Some(false), _) => Err(Wrong::Checksum),
            (_, Err(error)) => Err(error.into()),
            (None, Ok(format)) if format >= FORMAT => Err(Wrong::Missing),
            (_, Ok(format)) => Ok(format),
        }
    }
}

/// A text of a known format that is written in pieces, the last of which is its end.
pub(crate) struct Written {
    digest: crc::Digest<'static, u32>,
    format: u32,
}

impl Written {
    /// Nothing is written.
    pub(crate) fn new(format: u32) -> Self {
        Self { digest: CRC_32.digest(), format }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.digest.update(bytes);
    }

    /// What stands behind the last field of the object.
    pub(crate) fn end(mut self) -> Vec<u8> {
        if self.format < FORMAT {
            return b"\n}\n".to_vec();
        }
        self.digest.update(KEY);
        let digits = format!("{:08x}", self.digest.finalize());
        [KEY, digits.as_bytes(), END].concat()
    }
}

/// Nothing where it has none.
fn is_right(text: &[u8]) -> Option<bool> {
    let (before, told) = text.strip_suffix(END)?.split_last_chunk::<DIGITS>()?;
    before.ends_with(KEY).then(|| digits(before).as_bytes() == told)
}

fn digits(before: &[u8]) -> String {
    format!("{:08x}", CRC_32.checksum(before))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The text of a file of a later version.
    pub(crate) fn sealed(object: &serde_json::Value) -> String {
        let mut object = object.clone();
        object.as_object_mut().unwrap().remove("crc32");
        String::from_utf8(to_text(&object, FORMAT).unwrap()).unwrap()
    }

    /// The same change in a text that was right, and is to be right still.
    pub(crate) fn changed(text: &[u8], change: impl FnOnce(&[u8]) -> Vec<u8>) -> Vec<u8> {
        let mut changed = change(text);
        if is_right(text) == Some(true) {
            let at = changed.len() - END.len() - DIGITS;
            let right = digits(&changed[..at]);
            changed[at..at + DIGITS].copy_from_slice(right.as_bytes());
        }
        changed
    }

    #[test]
    fn no_flipped_bit_passes() {
        let mut trial: serde_json::Value =
            serde_json::from_str(include_str!("../../fuzz/corpus/state/trial")).unwrap();
        trial["format"] = FORMAT.into();
        let text = sealed(&trial).into_bytes();
        assert_eq!(examine(&text).unwrap(), FORMAT);
        for at in 0..text.len() * 8 {
            let mut flipped = text.clone();
            flipped[at / 8] ^= 1 << (at % 8);
            assert!(examine(&flipped).is_err(), "bit {at}: {}", String::from_utf8_lossy(&flipped));
        }
        for length in 0..text.len() {
            assert!(examine(&text[..length]).is_err(), "cut to {length}");
        }
    }

    /// In pieces of any length, a text is judged as it is at once.
    #[test]
    fn a_text_that_passes_in_pieces_is_judged_alike() {
        let text =
            sealed(&serde_json::json!({ "format": FORMAT, "reports": ["one", 2] })).into_bytes();
        let mut flipped = text.clone();
        flipped[20] ^= 1;
        let first: &[u8] = b"{\"format\": 1}";
        for text in [&text[..], &flipped, &text[..text.len() - 1], &text[..3], b"", first] {
            let at_once = examine(text).map_err(|wrong| wrong.to_string());
            for length in 1..=text.len().max(1) {
                let mut passed = Passed::new();
                text.chunks(length).for_each(|piece| passed.update(piece));
                #[derive(Deserialize)]
                struct Head {
                    format: u32,
                }
                let format = serde_json::from_slice(text).map(|Head { format }| format);
                let verdict = passed.verdict(format).map_err(|wrong| wrong.to_string());
                assert_eq!(verdict, at_once, "{length}: {}", String::from_utf8_lossy(text));
            }
        }
    }

    #[test]
    fn a_file_of_the_first_format_has_none_and_needs_none() {
        for text in ["{\"format\": 1}", "{\"format\":1,\"upgrade\":null}\n"] {
            assert_eq!(examine(text.as_bytes()).unwrap(), 1);
        }
        assert_eq!(
            to_text(&serde_json::json!({ "format": 1 }), 1).unwrap(),
            b"{\n  \"format\": 1\n}\n"
        );
        assert!(matches!(examine(b"{\"format\": 2}"), Err(Wrong::Missing)));
    }
}
