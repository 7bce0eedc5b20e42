//! The rules of the platform's side, a row each. Their numbers are those of the device's rule that the row is
//! the other side of.

use serde_json::Value;

use super::site::Platform;
use super::*;
use crate::cloud::content::tests::example;
use crate::cloud::delivery::{Delivery, Framed, Ranges, Redirect};
use crate::cloud::http::{Body, Framing, Piece, Request, Response, Site as _};

const NAME: &str = "payload_LuatOS-SoC_LINUX";

fn options() -> Options {
    let package = Package {
        firmware_name: NAME.to_owned(),
        version: "2012.1.4".to_owned(),
        content: example(),
    };
    Options { packages: vec![package], project_key: Some("key".to_owned()), ..Options::default() }
}

fn query(version: &str) -> String {
    format!("imei=PAYLOAD0001&project_key=key&firmware_name={NAME}&version={version}")
}

fn ask(platform: &Platform, query: &str) -> Response {
    ask_with(platform, query, &[])
}

fn ask_with(platform: &Platform, query: &str, headers: &[(&str, &str)]) -> Response {
    let target = format!("/api/site/firmware_upgrade?{query}");
    platform.answer(&Request::of("GET", &target, headers)).unwrap()
}

fn value(response: &Response) -> Value {
    let Body(pieces) = &response.body;
    match pieces.first() {
        Some(Piece::Bytes(bytes)) => serde_json::from_slice(bytes).unwrap_or(Value::Null),
        _ => Value::Null,
    }
}

/// LU-1, LU-5: who is offered the file, and the code for who is not.
#[test]
fn a_code_says_why_there_is_no_file() {
    let all = query("2012.1.3");
    for (query, code) in [
        (all.clone(), None),
        // Their order does not matter, and older devices say more.
        (
            format!(
                "version=2012.1.3&firmware_name={NAME}&dfota=1&need_oss_url=1&project_key=key&mac=aa"
            ),
            None,
        ),
        (all.replace("imei", "uid"), None),
        (all.replace("imei=PAYLOAD0001", ""), Some(3)),
        (all.replace("imei", "serial"), Some(3)),
        (format!("{all}&mac=aa"), Some(3)),
        (all.replace("project_key=key", "project_key=other"), Some(25)),
        (all.replace("project_key=key&", ""), Some(25)),
        (all.replace(NAME, "other"), Some(26)),
        (all.replace("2012.1.3", "V2012"), Some(44)),
        (all.replace("2012.1.3", "2012.1.4"), Some(27)),
        // Each part is a number.
        (all.replace("2012.1.3", "2012.001.003"), None),
        (all.replace("2012.1.3", "2012.1.10"), Some(27)),
        (all.replace("2012.1.3", "999.9.9"), None),
        (all.replace("2012.1.3", "2013.0.0"), Some(27)),
    ] {
        let response = ask(&Platform::new(options()), &query);
        assert_eq!(value(&response)["code"].as_i64(), code, "{query}");
        assert_eq!(response.status, if code.is_some() { 400 } else { 200 }, "{query}");
    }
}

/// LU-6: a code comes with any status.
#[test]
fn a_code_comes_with_the_status_that_is_wanted() {
    for status in [400, 404, 500, 304, 200] {
        let platform = Platform::new(Options { code_status: status, ..options() });
        let response = ask(&platform, &query("2012.1.4"));
        assert_eq!((response.status, value(&response)["code"].as_i64()), (status, Some(27)));
    }
    for code in [0, 3, 17, 21, 25, 26, 27, 40, 43, 44, 99] {
        let answers = vec![Answer::CodeWith(code, 404)];
        let platform = Platform::new(Options { answers, ..options() });
        let response = ask(&platform, &query("2012.1.3"));
        assert_eq!((response.status, value(&response)["code"].as_i64()), (404, Some(code)));
        assert_eq!(ask(&platform, &query("2012.1.3")).status, 200);
    }
    assert_eq!(super::rules::escaped("a\"é😀"), "a\\\"\\u00e9\\ud83d\\ude00");
}

/// LU-7 and the table of answers.
#[test]
fn the_file_comes_as_it_is_wanted() {
    let whole = query("2012.1.3");
    let answer = |delivery: Delivery, headers: &[(&str, &str)]| {
        ask_with(&Platform::new(Options { delivery, ..options() }), &whole, headers)
    };
    let honest = Delivery::default;
    assert_eq!(answer(honest(), &[]).body.size(), 4096);
    let part = answer(honest(), &[("Range", "bytes=0-")]);
    assert_eq!((part.status, part.header("Content-Range")), (206, Some("bytes 0-4095/4096")));
    let chunked = answer(Delivery { framed: Framed::Chunked, ..honest() }, &[]);
    assert_eq!(chunked.framing, Framing::Chunked);
    let short = answer(Delivery { framed: Framed::Short, ..honest() }, &[]);
    assert_eq!(short.framing, Framing::WrongLength(1000));
    let slow = answer(Delivery { rate: Some(100), ..honest() }, &[]);
    assert_eq!(slow.pace.rate, Some(100));
    let ignored =
        answer(Delivery { ranges: Ranges::Ignored, ..honest() }, &[("Range", "bytes=9-")]);
    assert_eq!((ignored.status, ignored.body.size()), (200, 4096));
    let answers = vec![Answer::Empty];
    let empty = ask(&Platform::new(Options { answers, ..options() }), &whole);
    assert_eq!((empty.status, empty.body.size()), (200, 0));
}

/// LU-3: code 43 for a while, and the detector of loops.
#[test]
fn a_package_is_waited_for_and_a_loop_is_noticed() {
    let waiting = vec![Answer::Code(43); 3];
    let platform = Platform::new(Options { answers: waiting, ..options() });
    let statuses: Vec<_> = (0..4).map(|_| ask(&platform, &query("2012.1.3")).status).collect();
    assert_eq!(statuses, [400, 400, 400, 200]);
    let platform = Platform::new(options());
    let code = |version: &str| value(&ask(&platform, &query(version)))["code"].as_i64();
    assert!((0..6).all(|_| code("2012.1.3").is_none()));
    assert_eq!(code("2012.1.3"), Some(40));
    assert_eq!(code("2012.1.4"), Some(27), "who has it is in no loop");
    // A part is no further download.
    let platform = Platform::new(options());
    for _ in 0..9 {
        let part = [("Range", "bytes=100-")];
        assert_eq!(ask_with(&platform, &query("2012.1.3"), &part).status, 206);
    }
}

/// LU-2: a URL that is taken as it is; and the second server.
#[test]
fn the_file_is_elsewhere_too() {
    let delivery = Delivery { redirect: Redirect::Elsewhere, ..Delivery::default() };
    let server = Server::start(Options { delivery, ..options() }).unwrap();
    let response = ask(&server.site, &query("2012.1.3"));
    let location = format!("{}/pkg.bin", server.elsewhere());
    assert_eq!((response.status, response.header("Location")), (302, Some(location.as_str())));
    let get = |path: &str| Request::of("GET", path, &[]);
    assert_eq!(Elsewhere(Arc::clone(&server.site)).answer(&get("/pkg.bin")).unwrap().status, 200);
    assert_eq!(Elsewhere(Arc::clone(&server.site)).answer(&get("/x")).unwrap().status, 404);
    server.change(|options| options.delivery = Delivery::default());
    assert_eq!(server.site.answer(&get("/pkg.bin")).unwrap().status, 200);
    assert_eq!(server.site.answer(&get("/x")).unwrap().status, 404);
    let post = Request::of("POST", "/api/site/firmware_upgrade", &[]);
    assert_eq!(server.site.answer(&post).unwrap().status, 405);
}

/// LU-8.
#[test]
fn the_newer_protocol_tells_of_the_file_and_hears_the_result() {
    let server = Server::start(Options { lost_results: 1, ..options() }).unwrap();
    let ask = |query: &str| {
        let target = format!("/api/site/turnkey_fota?{query}");
        value(&server.site.answer(&Request::of("GET", &target, &[])).unwrap())
    };
    let query = format!(
        "imei=P&project_key=key&model=m&core_id=1&core_version=2012&script_name={NAME}&script_version=1.0.3"
    );
    let offer = ask(&query);
    assert_eq!(offer["code"], 0);
    assert_eq!(
        (&offer["core_version"], &offer["script_version"]),
        (&"2012".into(), &"1.0.4".into())
    );
    assert_eq!(offer["size"], 4096);
    assert_eq!(offer["sha256"], "c8f5d0341d54d951a71b136e6e2afcb14d11ed8489a7ae126a8fee0df6ecf193");
    assert_eq!(offer["url"], format!("{}/pkg.bin", server.elsewhere()));
    assert_eq!(ask(&query.replace("1.0.3", "1.0.4"))["code"], 27);
    assert_eq!(ask(&query.replace("1.0.3", "1"))["code"], 26);
    assert_eq!(ask(&query.replace("2012", "x"))["code"], 44);
    server.change(|options| options.told_sha256 = Some(String::new()));
    assert_eq!(ask(&query).get("sha256"), None);
    server.change(|options| options.told_sha256 = Some("00".to_owned()));
    assert_eq!(ask(&query)["sha256"], "00");
    let tell = || {
        let target = "/api/site/turnkey_fota_result?fota_sn=sn-1&result_code=1";
        value(&server.site.answer(&Request::of("POST", target, &[])).unwrap())["code"].as_i64()
    };
    assert_eq!([tell(), tell()], [Some(1), Some(0)]);
    assert_eq!(ending(&server.site, Ending::Success), Some(Ending::Success));
}

fn ending(platform: &Platform, expected: Ending) -> Option<Ending> {
    let mut watch = Watch::default();
    platform.events().so_far().iter().for_each(|event| watch.see(event));
    watch.ending(expected)
}

#[test]
fn the_ending_is_judged() {
    let code = |code| Options { answers: vec![Answer::Code(code)], ..options() };
    assert_eq!(Ending::expected(&options()), Ending::Success);
    assert_eq!(Ending::expected(&code(43)), Ending::Success);
    assert_eq!(Ending::expected(&code(25)), Ending::Told);
    assert_eq!(Ending::expected(&Options::default()), Ending::Told);
    let platform = Platform::new(options());
    let response = ask(&platform, &query("2012.1.3"));
    assert_eq!(ending(&platform, Ending::Success), None);
    response.send(&mut std::io::sink(), false).unwrap();
    assert_eq!(ending(&platform, Ending::Success), None);
    ask(&platform, &query("2012.1.4"));
    assert_eq!(ending(&platform, Ending::Success), Some(Ending::Success));
    let platform = Platform::new(code(25));
    ask(&platform, &query("2012.1.3"));
    assert_eq!(ending(&platform, Ending::Told), Some(Ending::Told));
    assert_eq!(ending(&platform, Ending::Success), None);
}
