//! The content of `history.json`, read as it passes: of a history of maximal size no more than an
//! entry is in memory at a time, and nothing large is ever allocated, which the C library would keep.
//!
//! | field | meaning |
//! |---|---|
//! | `format`, `crc32` | as in `state.json` |
//! | `reports` | the last [`HISTORY_LENGTH`] reports, oldest first; one in the form of another version stays as it is |

mod places;

use std::fmt;
use std::io::{self, BufReader, Read};
use std::ops::Range;

use serde::Deserializer as _;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::checksum::{FIRST_FORMAT, Passed, Wrong};
use super::past::Past;
use crate::model::Entry;
use places::Places;

/// How many entries the history keeps.
pub const HISTORY_LENGTH: usize = 100;

/// Bytes that are read at a time.
const PIECE: usize = 16 * 1024;

/// An entry: what is remembered of it, and where it stands in the text.
pub(crate) type Found = (Past, Range<u64>);

/// Reads a history to its end: its format, and of each entry what is remembered, and where it
/// stands.
pub(crate) fn read(text: impl Read) -> Result<(u32, Vec<Found>), Wrong> {
    let mut passing = Passing { text, passed: Passed::new(), places: Places::default() };
    let mut pasts = Vec::new();
    let mut json =
        serde_json::Deserializer::from_reader(BufReader::with_capacity(PIECE, &mut passing));
    let read =
        json.deserialize_map(File(&mut pasts)).and_then(|format| json.end().map(|()| format));
    drop(json);
    if read.is_err() {
        // To its end: whether a bit has flipped is the first question.
        io::copy(&mut passing, &mut io::sink()).map_err(serde_json::Error::io)?;
    }
    let Passing { passed, places, .. } = passing;
    let format = passed.verdict(read)?;
    let places = places.found();
    if format < FIRST_FORMAT || places.len() != pasts.len() {
        let error =
            serde::de::Error::custom(format_args!("format {format} is not known to this version"));
        return Err(Wrong::Json(error));
    }
    Ok((format, pasts.into_iter().zip(places).collect()))
}

/// A text that is looked at while it passes.
struct Passing<R> {
    text: R,
    passed: Passed,
    places: Places,
}

impl<R: Read> Read for Passing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.text.read(buffer)?;
        let bytes = buffer.get(..length).unwrap_or_default();
        self.passed.update(bytes);
        self.places.update(bytes);
        Ok(length)
    }
}

/// The object of the file; brings its format.
struct File<'a>(&'a mut Vec<Past>);

impl<'de> Visitor<'de> for File<'_> {
    type Value = u32;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a history")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<u32, A::Error> {
        let (mut format, mut has_reports) = (None, false);
        while let Some(field) = fields.next_key::<String>()? {
            match field.as_str() {
                "format" => format = Some(fields.next_value()?),
                "reports" if !has_reports => {
                    fields.next_value_seed(Reports(self.0))?;
                    has_reports = true;
                }
                "reports" => return Err(serde::de::Error::duplicate_field("reports")),
                _ => drop(fields.next_value::<IgnoredAny>()?),
            }
        }
        if !has_reports {
            return Err(serde::de::Error::missing_field("reports"));
        }
        format.ok_or_else(|| serde::de::Error::missing_field("format"))
    }
}

struct Reports<'a>(&'a mut Vec<Past>);

impl<'de> DeserializeSeed<'de> for Reports<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, list: D) -> Result<(), D::Error> {
        list.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Reports<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence of reports")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        while let Some(entry) = entries.next_element::<Entry>()? {
            self.0.push(Past::of(&entry));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_entry_is_found_at_its_place() {
        let text = " {\"else\": [1, {\"reports\": [2]}], \"format\" : 1,\n\"reports\": [ {\"id\":\"a]}\\\"\"} , \"b,\",[3 ,[4]],5 ]\n, \"more\":[6]} ";
        let (format, entries) = read(text.as_bytes()).unwrap();
        let at = |range: &Range<u64>| {
            let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
            text[range].to_owned()
        };
        let found: Vec<_> = entries.iter().map(|(_, range)| at(range)).collect();
        assert_eq!(
            (format, found),
            (1, ["{\"id\":\"a]}\\\"\"}", "\"b,\"", "[3 ,[4]]", "5"].map(String::from).to_vec())
        );
        assert!(entries[0].0.is("a]}\"") && entries[3].0.is("5") && !entries[3].0.is("6"));
        for none in ["{\"format\":1,\"reports\":[]}", "{\"format\":1,\"reports\":[ ]}"] {
            assert_eq!(read(none.as_bytes()).unwrap(), (1, Vec::new()));
        }
    }

    #[test]
    fn what_is_no_history_is_refused() {
        for text in [
            "",
            "[]",
            "{}",
            "{\"format\":1}",
            "{\"reports\":[]}",
            "{\"format\":0,\"reports\":[]}",
            "{\"format\":1,\"reports\":{}}",
            "{\"format\":1,\"reports\":[}",
            "{\"format\":1,\"reports\":[]}x",
            "{\"format\":1,\"reports\":[],\"reports\":[]}",
            "{\"format\":2,\"reports\":[]}",
        ] {
            assert!(read(text.as_bytes()).is_err(), "{text}");
        }
    }
}
