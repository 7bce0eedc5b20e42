use super::*;
use crate::cloud::content::tests::example;

fn answer(delivery: &Delivery, headers: &[(&str, &str)]) -> (Response, u64) {
    let content = example();
    let served = Served {
        content: &content,
        name: "a.bin",
        tag: "abc",
        elsewhere: Some("http://elsewhere/a.bin".to_owned()),
        habits: Habits { unquoted_if_match: true, ..Habits::default() },
    };
    delivery.answer(&Request::of("GET", "/a", headers), &served, &Counts::default())
}

/// Status, Content-Range and size of the body.
fn told(delivery: &Delivery, headers: &[(&str, &str)]) -> (u16, String, u64) {
    let (response, _) = answer(delivery, headers);
    let range = response.header("Content-Range").unwrap_or_default().to_owned();
    (response.status, range, response.body.size())
}

/// The rules of hawkBit's download of an artifact, a row each.
#[test]
fn ranges_are_honoured_as_hawkbit_does() {
    let whole = (200, "", 4096);
    let html = 20;
    for (headers, expected) in [
        (&[][..], whole),
        (&[("Range", "bytes=0-")], (206, "bytes 0-4095/4096", 4096)),
        (&[("Range", "bytes=4000-")], (206, "bytes 4000-4095/4096", 96)),
        (&[("Range", "bytes=10-19")], (206, "bytes 10-19/4096", 10)),
        (&[("Range", "bytes=10-99999")], (206, "bytes 10-4095/4096", 4086)),
        (&[("Range", "bytes=-96")], (206, "bytes 4000-4095/4096", 96)),
        (&[("Range", "bytes=4096-")], (416, "bytes */4096", html)),
        (&[("Range", "bytes=19-10")], (416, "bytes */4096", html)),
        (&[("Range", "bytes= 10-19")], (416, "bytes */4096", html)),
        (&[("Range", "bytes=0-9,5-20")], (416, "bytes */4096", html)),
        (&[("Range", "lines=0-9")], (416, "bytes */4096", html)),
        (&[("Range", "bytes=0-9"), ("If-Range", "\"abc\"")], (206, "bytes 0-9/4096", 10)),
        (&[("Range", "bytes=0-9"), ("If-Range", "\"abd\"")], whole),
        (&[("Range", "bytes=0-9"), ("If-Range", "W/\"abc\"")], whole),
        (&[("Range", "bytes=0-9"), ("If-Range", LAST_MODIFIED)], (206, "bytes 0-9/4096", 10)),
        (&[("Range", "bytes=0-9"), ("If-Range", "Wed, 31 Dec 2025 23:59:59 GMT")], whole),
        // The quoted tag, which is right, is not what hawkBit compares with.
        (&[("If-Match", "\"abc\"")], (412, "", 0)),
        (&[("If-Match", "abc")], whole),
        (&[("If-Match", "*")], whole),
    ] {
        let (status, range, size) = expected;
        let told = told(&Delivery::default(), headers);
        assert_eq!(told, (status, range.to_owned(), size), "{headers:?}");
    }
}

#[test]
fn several_ranges_come_as_parts() {
    let (response, from) = answer(&Delivery::default(), &[("Range", "bytes=20-29,0-9")]);
    assert_eq!((response.status, from), (206, 0));
    assert_eq!(response.header("Content-Range"), None);
    assert!(response.header("Content-Type").unwrap().starts_with("multipart/byteranges"));
    assert!(response.body.size() > 20);
}

#[test]
fn a_server_is_as_wrong_as_asked() {
    let range = [("Range", "bytes=4000-")];
    let honest = Delivery::default;
    for (delivery, expected) in [
        (Delivery { ranges: Ranges::Ignored, ..honest() }, (200, "", 4096)),
        (Delivery { ranges: Ranges::Status200, ..honest() }, (200, "bytes 4000-4095/4096", 96)),
        (Delivery { ranges: Ranges::WrongStart, ..honest() }, (206, "bytes 4001-4095/4096", 95)),
        (Delivery { statuses: vec![503], ..honest() }, (503, "", 14)),
        (Delivery { redirect: Redirect::Loop, ..honest() }, (302, "", 0)),
    ] {
        let (status, text, size) = expected;
        assert_eq!(told(&delivery, &range), (status, text.to_owned(), size), "{delivery:?}");
    }
    for (delivery, header, value) in [
        (Delivery { ranges: Ranges::Ignored, ..honest() }, "Accept-Ranges", None),
        (Delivery { tag: Tag::Weak, ..honest() }, "ETag", Some("W/\"abc\"")),
        (Delivery { tag: Tag::Absent, ..honest() }, "Last-Modified", None),
        (Delivery { says_gzip: true, ..honest() }, "ETag", Some("W/\"abc\"")),
        (
            Delivery { redirect: Redirect::Elsewhere, ..honest() },
            "Location",
            Some("http://elsewhere/a.bin"),
        ),
        (
            Delivery { redirect: Redirect::To("file:///etc/passwd".to_owned()), ..honest() },
            "Location",
            Some("file:///etc/passwd"),
        ),
    ] {
        assert_eq!(answer(&delivery, &[]).0.header(header), value, "{delivery:?}");
    }
}

#[test]
fn the_first_requests_only_are_cut() {
    let (content, counts) = (example(), Counts::default());
    let delivery = Delivery { cut_after: Some(7), cuts: 2, ..Delivery::default() };
    let cuts = ["HEAD", "GET", "GET", "GET"].map(|method| {
        let served = Served {
            content: &content,
            name: "a",
            tag: "a",
            elsewhere: None,
            habits: Habits::default(),
        };
        delivery.answer(&Request::of(method, "/", &[]), &served, &counts).0.pace.cut_after
    });
    assert_eq!(cuts, [None, Some(7), Some(7), None]);
}

#[test]
fn an_old_server_reads_up_to_where_a_range_begins() {
    let content = example();
    let habits = Habits { seek_ms_per_gb: 1 << 20, ..Habits::default() };
    let served = Served { content: &content, name: "a", tag: "a", elsewhere: None, habits };
    let request = Request::of("GET", "/", &[("Range", "bytes=2048-")]);
    let (response, _) = Delivery::default().answer(&request, &served, &Counts::default());
    assert_eq!(response.pace.delay, Duration::from_millis(2));
}
