//! A server that lies, breaks off, or never ends: the table of docs/use/download.md, through the
//! real program.

use std::time::{Duration, Instant};

use super::{SHORT, succeeded};
use crate::world::payload::{NEW, OLD, Payload};
use crate::world::web::raw::{Raw, Turn, answer, chunked};

const OK: &str = "HTTP/1.1 200 OK";
const PARTIAL: &str = "HTTP/1.1 206 Partial Content";
const LENGTH: &str = "Content-Length: 300000";
const TAG: &str = "ETag: \"generation-0\"";

/// Half of the file, and the connection ends.
fn half(file: &[u8]) -> Turn {
    Turn::Say(answer(&[OK, LENGTH, TAG], &file[..150_000]))
}

#[test]
fn what_ends_well_is_the_file_to_the_last_byte() {
    let mut payload = Payload::setup().sections(SHORT).start();
    let file = std::fs::read(payload.new_firmware()).unwrap();
    let rest = &file[150_000..];
    let range = "Content-Range: bytes 150000-299999/300000";
    let partial = |lines: &[&str], body: &[u8]| Turn::Say(answer(lines, body));
    for (row, asked, turns) in [
        (
            "206 in chunks, without a length",
            2,
            vec![
                half(&file),
                partial(&[PARTIAL, range, "Transfer-Encoding: chunked"], &chunked(rest)),
            ],
        ),
        (
            "200 with Content-Range",
            2,
            vec![half(&file), partial(&[OK, range, "Content-Length: 150000"], rest)],
        ),
        (
            "206 that begins elsewhere",
            3,
            vec![
                half(&file),
                partial(&[PARTIAL, "Content-Range: bytes 149999-299999/300000"], &file[149_999..]),
            ],
        ),
        (
            "206 of another file",
            3,
            vec![half(&file), partial(&[PARTIAL, range, "ETag: \"x\""], rest)],
        ),
        (
            "206 that is cut off again",
            3,
            vec![
                half(&file),
                partial(&[PARTIAL, range, "Content-Length: 150000"], &rest[..70_000]),
            ],
        ),
        (
            "416 with a page, of a file that is longer",
            3,
            vec![
                half(&file),
                partial(
                    &["HTTP/1.1 416 No", "Content-Range: bytes */99", "Content-Length: 6"],
                    b"<html>",
                ),
            ],
        ),
        (
            "a body that is shorter than its length",
            2,
            vec![partial(&[OK, LENGTH, TAG], &file[..200_000])],
        ),
        (
            "chunks that break off",
            3,
            vec![
                half(&file),
                partial(
                    &[PARTIAL, range, "Transfer-Encoding: chunked"],
                    &[b"20000\r\n", &rest[..9000]].concat(),
                ),
            ],
        ),
        (
            "429 with Retry-After",
            2,
            vec![partial(&["HTTP/1.1 429 Too Many", "Retry-After: 1"], b"")],
        ),
        ("503", 2, vec![partial(&["HTTP/1.1 503 No", "Content-Length: 4"], b"busy")]),
        ("a stall in the body", 2, vec![Turn::Stall(answer(&[OK, LENGTH, TAG], &file[..150_000]))]),
        (
            "a redirect, relative",
            2,
            vec![partial(&["HTTP/1.1 302 Found", "Location: ../x/y?z"], b"gone")],
        ),
        ("closed without a word", 2, vec![Turn::Say(Vec::new())]),
        ("reset without a word", 2, vec![Turn::Reset(Vec::new())]),
    ] {
        let goes_on = matches!(&turns[0], Turn::Say(said) | Turn::Stall(said) if said.ends_with(&file[149_000..150_000]));
        let raw = Raw::start(&file, turns);
        let url = format!("http://{}/dir/PSDK_APPALIAS_{NEW}.bin", raw.address());
        succeeded(&mut payload, &["install", "--force", &url], NEW);
        let requests = raw.requests();
        assert_eq!(requests.len(), asked, "{row}: {requests:?}");
        let ranges = requests[1].contains("range: bytes=150000-\r\n");
        assert_eq!(ranges, goes_on, "{row}: {}", requests[1]);
    }
}

#[test]
fn what_can_not_end_well_changes_nothing_and_says_why() {
    let payload = Payload::setup().sections(SHORT).start();
    let say = |lines: &[&str], body: &[u8]| vec![Turn::Say(answer(lines, body))];
    let leads = |to: &'static str| {
        (0..9).map(move |_| {
            Turn::Say(answer(&["HTTP/1.1 302 Found", &format!("Location: {to}")], b""))
        })
    };
    let bomb: String = (0..5000).map(|n| format!("X-{n}: y\r\n")).collect();
    for (turns, sentence) in [
        (say(&[OK, "Content-Encoding: gzip", "ETag: W/\"a\"", LENGTH], b""), "encoded as \"gzip\""),
        (say(&[OK], b"cut"), "does not say where the file ends"),
        (say(&[OK, "Transfer-Encoding: chunked"], &chunked(b"all")), "does not say how large"),
        (say(&[OK, "Content-Length: 0"], b""), "is empty"),
        (say(&[OK, "Content-Length: 99999999999"], b""), "more than"),
        (say(&[PARTIAL, "Content-Type: multipart/byteranges; boundary=x"], b""), "several parts"),
        (say(&[PARTIAL, "Content-Range: bytes 7-9/10"], b"abc"), "another byte"),
        (
            say(&["HTTP/1.1 404 Not Found", "Content-Length: 6"], b"<html>"),
            "no such file (status 404)",
        ),
        (say(&["HTTP/1.1 410 Gone"], b""), "no such file (status 410)"),
        (say(&["HTTP/1.1 401 Who"], b""), "has expired or is wrong (status 401)"),
        (say(&["HTTP/1.1 403 No"], b""), "has expired or is wrong (status 403)"),
        (leads("/again").collect(), "leads elsewhere more than 5 times"),
        (leads("file:///etc/passwd").collect(), "is no URL that is followed"),
        (say(&["HTTP/1.1 302 Found"], b""), "does not say where"),
        (
            (0..9).map(|_| Turn::Say(answer(&["HTTP/1.1 503 No"], b""))).collect(),
            "without progress: the server asks to come again later (status 503)",
        ),
        (
            (0..9).map(|_| Turn::Say(b"SSH-2.0-OpenSSH\r\n\r\n".to_vec())).collect(),
            "does not answer as HTTP has it",
        ),
        (
            (0..9).map(|_| Turn::Say(answer(&[OK, &bomb], b""))).collect(),
            "does not answer as HTTP has it",
        ),
        (
            (0..9).map(|_| Turn::Flood(b"HTTP/1.1 200 OK\r\n".to_vec(), b"X-Y: z\r\n")).collect(),
            "does not answer as HTTP has it",
        ),
        (
            (0..9).map(|_| Turn::Drip(b"HTTP/1.1 200 OK\r\nX-Y: ".to_vec())).collect(),
            "the server did not answer in time",
        ),
        ((0..9).map(|_| Turn::Stall(Vec::new())).collect(), "the server did not answer in time"),
        (
            (0..9).map(|_| Turn::Drip(answer(&[OK, LENGTH], b""))).collect(),
            "less than 1024 bytes a second came",
        ),
    ] {
        let raw = Raw::start(&[], turns);
        let begun = Instant::now();
        let url = format!("http://{}/PSDK_APPALIAS_{NEW}.bin", raw.address());
        let (code, said) = payload.uplift(&["install", &url]);
        assert_eq!(code, Some(1), "{sentence}: {said}");
        assert!(said.contains(sentence) && said.contains("\nhint: "), "{sentence}: {said}");
        assert!(begun.elapsed() < Duration::from_secs(20), "{sentence}");
    }
    assert_eq!(payload.reported_version().unwrap(), OLD);
}

/// It does not wait for what nobody promises.
#[test]
fn nobody_there_is_told_after_a_while() {
    let payload = Payload::setup().sections(SHORT).start();
    let (code, said) =
        payload.uplift(&["install", "http://127.0.0.1:1/PSDK_APPALIAS_V02.00.00.00.bin"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("127.0.0.1:1 can't be reached: Connection refused"), "{said}");
    let (_, said) = payload.uplift(&["install", "http://no-such-host.invalid/A_V02.00.00.00.bin"]);
    assert!(said.contains("no-such-host.invalid can't be found"), "{said}");
    let (code, said) = payload.uplift(&["install", "ftp://127.0.0.1/A_V02.00.00.00.bin"]);
    assert!(code == Some(2) && said.contains("does not begin with http:// or https://"), "{said}");
}
