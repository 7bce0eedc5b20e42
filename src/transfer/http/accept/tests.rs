//! Every row of the table in docs/use/download.md, and that no answer makes it write at a wrong
//! place.

use proptest::prelude::*;

use super::*;

const DATE: &str = "Sun, 29 Nov 2026 10:00:00 GMT";

/// What a row expects.
#[derive(Debug, PartialEq, Eq)]
enum Expected {
    Body(u64, Option<u64>, Option<u64>),
    Complete,
    Anew,
    /// The name of the trouble.
    Trouble(&'static str),
    /// It passes; after so many seconds where it says so.
    Later(Option<u64>),
}
use Expected::{Anew, Body, Complete, Later, Trouble as Fails};

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let pair = |(name, value): &(&str, &str)| {
        (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())
    };
    let mut headers = HeaderMap::new();
    for (name, value) in pairs.iter().map(pair) {
        headers.append(name, value);
    }
    headers
}

fn known(total: Option<u64>) -> Validator {
    let url = "http://h/file".parse().unwrap();
    Validator::of(&url, &headers(&[("etag", "\"a\""), ("last-modified", DATE)]), total)
}

fn asked(offset: u64, size: Option<u64>, validator: &Validator) -> Asked<'_> {
    Asked { offset, size, most: 1000, validator: Some(validator) }
}

fn decide(offset: u64, size: Option<u64>, status: u16, pairs: &[(&str, &str)]) -> Expected {
    decide_as(Version::HTTP_11, offset, size, status, pairs)
}

fn decide_as(
    version: Version,
    offset: u64,
    size: Option<u64>,
    status: u16,
    pairs: &[(&str, &str)],
) -> Expected {
    let (headers, validator) = (headers(pairs), known(None));
    match accept(
        &asked(offset, size, &validator),
        &Head { status, version, headers: &headers, now: None },
    ) {
        Ok(Accepted::Body { offset, length, total }) => Body(offset, length, total),
        Ok(Accepted::Complete) => Complete,
        Err(Refused::Anew(_)) => Anew,
        Err(Refused::Trouble(Trouble::Later { after, .. })) => {
            Later(after.map(|after| after.as_secs()))
        }
        Err(Refused::Trouble(trouble)) => {
            assert!(!trouble.passes(), "{trouble:?}");
            let name = format!("{trouble:?}");
            let end = name.find([' ', '(', '{']).unwrap_or(name.len());
            Fails(NAMES.iter().find(|known| **known == &name[..end]).copied().unwrap_or("?"))
        }
    }
}

const NAMES: [&str; 9] = [
    "NotAllowed",
    "Gone",
    "Refused",
    "Encoded",
    "Senseless",
    "EndUnknown",
    "OtherSize",
    "Empty",
    "TooLarge",
];

#[test]
fn every_row_of_the_table() {
    let size = Some(100);
    let chunked = ("transfer-encoding", "chunked");
    for (row, offset, size, status, headers, expected) in [
        (
            "no range: 200, all of it",
            0,
            size,
            200,
            &[("content-length", "100")][..],
            Body(0, size, size),
        ),
        (
            "no range, size unknown: 200, all of it",
            0,
            None,
            200,
            &[("content-length", "100")],
            Body(0, size, size),
        ),
        (
            "no range, size unknown: 200 in chunks, whose end is known",
            0,
            None,
            200,
            &[chunked],
            Body(0, None, None),
        ),
        ("no range: 200 in chunks", 0, size, 200, &[chunked], Body(0, size, size)),
        (
            "range: 206 with Content-Range",
            40,
            size,
            206,
            &[("content-range", "bytes 40-99/100"), ("content-length", "60")],
            Body(40, Some(60), size),
        ),
        (
            "range, size unknown: 206 with Content-Range",
            40,
            None,
            206,
            &[("content-range", "bytes 40-99/100")],
            Body(40, Some(60), size),
        ),
        (
            "range: 206 with less than was asked for",
            40,
            size,
            206,
            &[("content-range", "bytes 40-49/100"), ("content-length", "10")],
            Body(40, Some(10), size),
        ),
        (
            "range: 206 in chunks, without a length",
            40,
            size,
            206,
            &[("content-range", "bytes 40-99/100"), chunked],
            Body(40, Some(60), size),
        ),
        (
            "range: 206 that begins elsewhere",
            40,
            size,
            206,
            &[("content-range", "bytes 39-99/100"), ("content-length", "61")],
            Anew,
        ),
        (
            "range: 206 of a file of another size",
            40,
            size,
            206,
            &[("content-range", "bytes 40-98/99"), ("content-length", "59")],
            Anew,
        ),
        (
            "range: 206 without a total (DL-9)",
            40,
            size,
            206,
            &[("content-range", "bytes 40-99/*"), ("content-length", "60")],
            Anew,
        ),
        (
            "range: 206 whose length is not its range's",
            40,
            size,
            206,
            &[("content-range", "bytes 40-99/100"), ("content-length", "59")],
            Anew,
        ),
        (
            "range: 206 of another file, by a server without If-Range",
            40,
            size,
            206,
            &[("content-range", "bytes 40-99/100"), ("etag", "\"b\"")],
            Anew,
        ),
        ("range: 206 without Content-Range", 40, size, 206, &[("content-length", "60")], Anew),
        (
            "no range: 206 that does not begin at 0",
            0,
            size,
            206,
            &[("content-range", "bytes 40-99/100")],
            Fails("Senseless"),
        ),
        (
            "range: 200 with Content-Range",
            40,
            size,
            200,
            &[("content-range", "bytes 40-99/100"), ("content-length", "60")],
            Body(40, Some(60), size),
        ),
        (
            "range: 200 without Content-Range, all of it",
            40,
            size,
            200,
            &[("content-length", "100")],
            Body(0, size, size),
        ),
        (
            "range: 200 gzip with a weak tag (DL-7)",
            40,
            size,
            200,
            &[("content-encoding", "gzip"), chunked, ("etag", "W/\"a\"")],
            Fails("Encoded"),
        ),
        (
            "no range: 200 gzip as transfer encoding (DL-7)",
            0,
            size,
            200,
            &[("transfer-encoding", "gzip, chunked")],
            Fails("Encoded"),
        ),
        (
            "no range: 200 identity",
            0,
            size,
            200,
            &[("content-encoding", "identity"), ("content-length", "100")],
            Body(0, size, size),
        ),
        (
            "If-Range that did not match: 200, all of it",
            40,
            size,
            200,
            &[("content-length", "100"), ("etag", "\"b\"")],
            Body(0, size, size),
        ),
        (
            "If-Range with the date: 206",
            40,
            size,
            206,
            &[("content-range", "bytes 40-99/100"), ("last-modified", DATE)],
            Body(40, Some(60), size),
        ),
        ("412, which we never provoke", 40, size, 412, &[], Fails("Refused")),
        (
            "several ranges: 206 multipart",
            40,
            size,
            206,
            &[("content-type", "multipart/byteranges; boundary=x")],
            Fails("Senseless"),
        ),
        ("an empty file", 0, None, 200, &[("content-length", "0")], Fails("Empty")),
        (
            "an empty file, where more was announced",
            0,
            size,
            200,
            &[("content-length", "0")],
            Fails("OtherSize"),
        ),
        (
            "416 at the end",
            100,
            size,
            416,
            &[("content-range", "bytes */100"), ("content-length", "190")],
            Complete,
        ),
        (
            "416 at the end, size unknown",
            100,
            None,
            416,
            &[("content-range", "bytes */100")],
            Complete,
        ),
        (
            "416, and the file is shorter now",
            100,
            size,
            416,
            &[("content-range", "bytes */99")],
            Anew,
        ),
        (
            "416, and less is there than was announced",
            99,
            size,
            416,
            &[("content-range", "bytes */99")],
            Anew,
        ),
        ("416 that says nothing", 100, size, 416, &[], Anew),
        (
            "416 although no range was asked for",
            0,
            None,
            416,
            &[("content-range", "bytes */0")],
            Fails("Senseless"),
        ),
        ("400 to a range", 40, size, 400, &[], Fails("Refused")),
        ("ended by the connection, size known (DL-8)", 0, size, 200, &[], Body(0, size, size)),
        ("ended by the connection, size unknown (DL-8)", 0, None, 200, &[], Fails("EndUnknown")),
        (
            "Content-Length above what was announced",
            0,
            size,
            200,
            &[("content-length", "101")],
            Fails("OtherSize"),
        ),
        (
            "Content-Length below what was announced",
            0,
            size,
            200,
            &[("content-length", "99")],
            Fails("OtherSize"),
        ),
        (
            "larger than anything may be (DL-6)",
            0,
            None,
            200,
            &[("content-length", "1001")],
            Fails("TooLarge"),
        ),
        (
            "part of what is larger than anything may be (DL-6)",
            40,
            None,
            206,
            &[("content-range", "bytes 40-99/1001")],
            Fails("TooLarge"),
        ),
        ("401", 0, size, 401, &[], Fails("NotAllowed")),
        ("403", 40, size, 403, &[], Fails("NotAllowed")),
        ("404", 0, size, 404, &[], Fails("Gone")),
        ("410", 40, size, 410, &[], Fails("Gone")),
        ("408", 0, size, 408, &[], Later(None)),
        ("429 with Retry-After", 0, size, 429, &[("retry-after", " 7 ")], Later(Some(7))),
        ("503 with a date", 0, size, 503, &[("retry-after", DATE)], Later(None)),
        ("500", 40, size, 500, &[], Later(None)),
        ("204", 0, size, 204, &[], Fails("Refused")),
        (
            "two lengths",
            0,
            None,
            200,
            &[("content-length", "99"), ("content-length", "100")],
            Fails("Senseless"),
        ),
        (
            "the same length twice",
            0,
            size,
            200,
            &[("content-length", "100"), ("content-length", "100")],
            Body(0, size, size),
        ),
        ("a length that is none", 0, None, 200, &[("content-length", "+100")], Fails("Senseless")),
    ] {
        assert_eq!(decide(offset, size, status, headers), expected, "{row}");
    }
}

#[test]
fn chunks_that_http_1_0_has_not_are_not_taken_for_the_file() {
    let headers = [("transfer-encoding", "chunked")];
    assert_eq!(decide_as(Version::HTTP_10, 0, Some(9), 200, &headers), Fails("Senseless"));
}

#[test]
fn a_part_without_a_validator_or_of_another_total_is_of_no_use() {
    let headers = headers(&[("content-range", "bytes 40-99/100")]);
    let head = Head { status: 206, version: Version::HTTP_11, headers: &headers, now: None };
    let asked = Asked { offset: 40, size: None, most: 1000, validator: None };
    assert!(matches!(accept(&asked, &head), Err(Refused::Anew(_))));
    let other = known(Some(101));
    let asked = Asked { validator: Some(&other), ..asked };
    assert!(matches!(accept(&asked, &head), Err(Refused::Anew(_))));
}

fn value() -> impl Strategy<Value = String> {
    let numbers = || prop_oneof![Just(0), Just(40), Just(100), 0..200_u64, any::<u64>()];
    prop_oneof![
        (numbers(), numbers(), numbers()).prop_map(|(a, b, c)| format!("bytes {a}-{b}/{c}")),
        numbers().prop_map(|n| format!("bytes */{n}")),
        numbers().prop_map(|n| n.to_string()),
        Just("chunked".to_owned()),
        Just("identity".to_owned()),
        Just("\"a\"".to_owned()),
        "[ -~]{0,12}",
    ]
}

fn name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "content-range",
        "content-range",
        "content-length",
        "transfer-encoding",
        "content-encoding",
        "content-type",
        "etag",
        "last-modified",
        "retry-after",
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    /// Whatever a server answers: nothing is appended but where the file goes on, and never so much
    /// that it is longer than it may be.
    #[test]
    fn no_answer_is_written_at_a_wrong_place_or_beyond_the_end(
        offset in prop_oneof![Just(0), Just(40), 0..200_u64],
        size in prop::option::of(prop_oneof![Just(100), 1..200_u64]),
        total in prop::option::of(prop_oneof![Just(100), 1..200_u64]),
        status in prop_oneof![Just(200), Just(206), Just(416), 0..1000_u16],
        old in any::<bool>(),
        pairs in prop::collection::vec((name(), value()), 0..5),
    ) {
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(n, v)| (*n, v.as_str())).collect();
        let (headers, validator) = (headers(&pairs), known(total));
        let version = if old { Version::HTTP_10 } else { Version::HTTP_11 };
        let asked = asked(offset, size, &validator);
        match accept(&asked, &Head { status, version, headers: &headers, now: None }) {
            Ok(Accepted::Body { offset: at, length, total }) => {
                prop_assert!(at == 0 || at == offset);
                if at > 0 {
                    let range = headers.get("content-range").unwrap().to_str().unwrap();
                    let begins = format!("bytes {offset}-");
                    prop_assert!(range.trim().starts_with(&begins), "{}", range);
                }
                prop_assert!(total.is_none_or(|total| 0 < total && total <= asked.most));
                prop_assert!(size.is_none() || total == size);
                prop_assert!(total.is_none() || length.is_some());
                if let (Some(length), Some(total)) = (length, total) {
                    prop_assert!(length > 0 && at + length <= total);
                }
                prop_assert!(status == 200 || status == 206);
            }
            Ok(Accepted::Complete) => {
                prop_assert!(status == 416 && offset > 0 && size.is_none_or(|size| size == offset));
            }
            Err(Refused::Anew(_)) => prop_assert!(offset > 0),
            Err(Refused::Trouble(_)) => {}
        }
    }

    #[test]
    fn what_the_fuzzer_holds_is_held(
        at in (200..210_u16, any::<u8>(), any::<u8>()),
        pairs in prop::collection::vec((name(), value()), 0..5),
    ) {
        let lines: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        let (status, offset, size) = at;
        fuzz(&[&status.to_be_bytes()[..], &[offset, size], lines.join("\n").as_bytes()].concat());
    }
}
