use std::path::Path;

use proptest::prelude::*;

use super::telling::{Told, told};
use super::*;
use crate::channel::offer::{Action, FirmwareName, Install, Offer, Telling, What};
use crate::config::Config;
use crate::model::{Failure, FailureKind};

const SHA256: &str = "c8f5d0341d54d951a71b136e6e2afcb14d11ed8489a7ae126a8fee0df6ecf193";
const URL: &str = "http://127.0.0.1:8091/fota";
const PLATFORM: &str = "";
const REQUIREMENT: &str = "codes = \"requirement\"";
const PREFIX: &str = "mode = \"prefix\"\nurl = \"http://127.0.0.1:8091/fota?site=a&\"";
const TURNKEY: &str =
    "mode = \"turnkey\"\nurl = \"http://127.0.0.1:8091/fota\"\nmodel = \"A 1\"\ncore_id = \"14\"";

fn section(text: &str) -> Luatos {
    let text = format!(
        "[component.program]\nname = \"demo\"\nproduct = \"DEMO\"\n[channel.luatos]\nunsealed = \"lab\"\n{text}\n"
    );
    Config::parse(&text, Path::new("uplift.toml")).unwrap().luatos.unwrap()
}

fn device(text: &str) -> Luatos {
    section(&format!(
        "project_key_file = \"/run/key\"\nfirmware_name = \"payload_LuatOS-SoC_LINUX\"\nidentity = {{ imei = \"PAYLOAD0001\" }}\ncore = 2012\n{text}"
    ))
}

fn key(text: &str) -> Option<Password> {
    Some(serde_json::from_value(text.into()).unwrap())
}

fn settings(text: &str) -> Settings {
    Settings::new(&device(text), "DEMO", key("KEY1")).unwrap()
}

fn url(settings: &Settings, version: &str) -> Result<String, Mistake> {
    request_url(settings, version.parse().ok())
}

fn hear(settings: &Settings, status: u16, body: &str) -> Heard {
    heard(settings, URL, &Head { status, ..Head::default() }, body.as_bytes(), false)
}

fn hear_head(head: &Head<'_>) -> Heard {
    heard(&settings(PLATFORM), URL, head, b"\x7fELF", true)
}

fn size_of(head: &Head<'_>) -> Option<u64> {
    match hear_head(head) {
        Heard::File { offer, .. } => offer.files[0].size,
        other => panic!("{other:?}"),
    }
}

fn why(heard: &Heard) -> &str {
    match heard {
        Heard::Nothing { why } | Heard::NotYet { why } | Heard::Retry { why } => why,
        Heard::Blocked { sentence } | Heard::WrongSetting { sentence, .. } => sentence,
        Heard::File { .. } => "a file",
    }
}

/// What it comes to, as one word.
fn kind(heard: &Heard) -> &'static str {
    match heard {
        Heard::Nothing { .. } => "nothing",
        Heard::File { .. } => "file",
        Heard::NotYet { .. } => "not-yet",
        Heard::Blocked { .. } => "blocked",
        Heard::WrongSetting { is_slow: true, .. } => "wrong-slow",
        Heard::WrongSetting { .. } => "wrong",
        Heard::Retry { .. } => "retry",
    }
}

#[test]
fn lu_1_a_url_never_grows() {
    let settings = settings(PLATFORM);
    let first = url(&settings, "V02.01.00.03").unwrap();
    assert_eq!(url(&settings, "V02.01.00.03").unwrap(), first);
}

#[test]
fn lu_2_every_mode_has_its_url() {
    let parameters = "imei=PAYLOAD0001&project_key=KEY1&firmware_name=payload_LuatOS-SoC_LINUX";
    for (mode, right) in [
        (PLATFORM, format!("http://iot.openluat.com/api/site/firmware_upgrade?{parameters}&version=2012.021.003")),
        ("version_form = \"plain\"", format!("http://iot.openluat.com/api/site/firmware_upgrade?{parameters}&version=021.000.003")),
        (PREFIX, format!("http://127.0.0.1:8091/fota?site=a&{parameters}&version=2012.021.003")),
        (TURNKEY, "http://127.0.0.1:8091/fota?imei=PAYLOAD0001&project_key=KEY1&model=A%201&core_id=14&core_version=2012&script_name=payload_LuatOS-SoC_LINUX&script_version=021.000.003".to_owned()),
    ] {
        assert_eq!(url(&settings(mode), "V02.01.00.03"), Ok(right));
    }
    let verbatim = section("mode = \"verbatim\"\nurl = \"https://a.example/p.bin?t=%20\"");
    let verbatim = Settings::new(&verbatim, "DEMO", None).unwrap();
    assert_eq!(request_url(&verbatim, None).unwrap(), "https://a.example/p.bin?t=%20");
}

#[test]
fn lu_2_what_would_end_a_parameter_is_encoded() {
    let odd = device("").server;
    let LuatosServer::Query { prefix, mut device, version_form } = odd else { panic!() };
    device.firmware_name = "a&b=c#d é+%/~_-.".into();
    let server = LuatosServer::Query { prefix, device, version_form };
    let settings =
        Settings { server, codes: Codes::Library, product: "DEMO".into(), key: key("k&y") };
    let url = url(&settings, "V00.00.00.00").unwrap();
    assert!(url.contains("&firmware_name=a%26b%3Dc%23d%20%C3%A9%2B%25%2F~_-.&version="), "{url}");
    assert!(url.contains("&project_key=k%26y&"), "{url}");
}

#[test]
fn lu_4_what_can_not_be_told_is_a_mistake_before_anything_is_sent() {
    for mode in [PLATFORM, PREFIX, TURNKEY] {
        let settings = settings(mode);
        let error = url(&settings, "V01.12.00.00").unwrap_err().to_string();
        assert!(error.contains("V01.12.00.00") && error.contains("[2, 1, 1, 2]"), "{error}");
        assert_eq!(url(&settings, "none"), Err(Mistake::NoVersion));
    }
    for wrong in [None, key(""), key("a b"), key("ä")] {
        assert_eq!(Settings::new(&device(""), "DEMO", wrong).unwrap_err(), Mistake::NoKey);
    }
}

#[test]
fn a_key_never_shows_itself() {
    let shown = format!("{:?}", settings(TURNKEY));
    assert!(!shown.contains("KEY1") && !shown.contains("127.0.0.1"), "{shown}");
    let offered = format!("{:?}", hear_head(&Head { status: 200, ..Head::default() }));
    assert!(!offered.contains("8091"), "{offered}");
}

#[test]
fn lu_5_every_number_has_its_meaning_by_the_setting_and_the_server_s_words() {
    for (code, library, requirement, says) in [
        (0, "nothing", "nothing", "all is well"),
        (3, "wrong-slow", "wrong-slow", "imei, mac and uid"),
        (17, "wrong", "wrong", "the same account"),
        (21, "nothing", "nothing", "forbids"),
        (25, "wrong", "wrong", "project"),
        (26, "wrong", "wrong", "project"),
        (27, "nothing", "wrong", ""),
        (40, "blocked", "blocked", "allow it again there"),
        (43, "not-yet", "not-yet", "still making"),
        (44, "wrong", "wrong", "`core`"),
        (99, "nothing", "nothing", "not known here"),
        (-1, "nothing", "nothing", "not known here"),
    ] {
        let body = format!("{{\"code\":{code},\"msg\":\"\\u5df2\\u662f x\"}}");
        for status in [200, 304 + 1, 400, 404, 500] {
            let library_heard = hear(&settings(PLATFORM), status, &body);
            assert_eq!(kind(&library_heard), library, "{status} {body}");
            let sentence = why(&library_heard);
            assert!(sentence.contains(&format!("(code {code}: 已是 x)")), "{sentence}");
            assert!(sentence.contains(says), "{sentence}");
            assert_eq!(kind(&hear(&settings(REQUIREMENT), status, &body)), requirement, "{body}");
        }
    }
    let requirement =
        |code| why(&hear(&settings(REQUIREMENT), 400, &format!("{{\"code\":{code}}}"))).to_owned();
    assert!(requirement(25).starts_with("the project belongs to another account (code 25)"));
    assert!(requirement(26).starts_with("the platform does not know the project"));
    assert!(requirement(27).starts_with("the project has no firmware of this name"));
}

#[test]
fn lu_5_the_server_s_words_are_one_short_line() {
    let body = format!("{{\"code\":27,\"msg\":\"\\u001b[2J\\n{}\"}}", "x".repeat(400));
    let heard = hear(&settings(PLATFORM), 404, &body);
    let sentence = why(&heard);
    assert!(!sentence.contains(char::is_control) && sentence.chars().count() < 300, "{sentence}");
    for msg in ["7", "null", "[]", "\"\""] {
        let heard = hear(&settings(PLATFORM), 404, &format!("{{\"code\":27,\"msg\":{msg}}}"));
        assert!(why(&heard).ends_with("(code 27)"), "{heard:?}");
    }
}

#[test]
fn lu_6_a_word_with_status_200_is_no_file() {
    let settings = settings(PLATFORM);
    let of_length = |length: usize| format!("{{\"code\":27{}}}", " ".repeat(length - 11));
    for word in
        ["{\"code\":27}", "{\"code\":27,\"other\":{}}", " {\"code\":27}\r\n", &of_length(511)]
    {
        assert_eq!(kind(&hear(&settings, 200, word)), "nothing", "{word}");
    }
    for file in [
        "{\"code\":\"27\"}",
        "{\"code\":27.5}",
        "{\"msg\":\"x\"}",
        "{\"code\":27",
        "[27]",
        "{}",
        "27",
        "{\"code\":27}x",
        "#!/bin/sh\n",
        &of_length(512),
    ] {
        assert_eq!(kind(&hear(&settings, 200, file)), "file", "{file}");
    }
    let head = Head { status: 200, ..Head::default() };
    assert_eq!(kind(&heard(&settings, URL, &head, b"{\"code\":27}", true)), "file");
}

#[test]
fn an_answer_without_a_word_counts_by_its_status() {
    let settings = settings(PLATFORM);
    for (status, kind_of_it) in [
        (0, "retry"),
        (100, "retry"),
        (203, "retry"),
        (204, "nothing"),
        (300, "nothing"),
        (302, "nothing"),
        (304, "nothing"),
        (400, "nothing"),
        (401, "wrong-slow"),
        (403, "wrong-slow"),
        (404, "nothing"),
        (408, "retry"),
        (410, "nothing"),
        (416, "nothing"),
        (429, "retry"),
        (500, "retry"),
        (502, "retry"),
        (599, "retry"),
        (999, "retry"),
    ] {
        for body in ["", "<html>Not Found</html>"] {
            assert_eq!(kind(&hear(&settings, status, body)), kind_of_it, "{status}");
        }
    }
    // The library's result 4.
    for status in [200, 206] {
        assert_eq!(kind(&hear(&settings, status, "")), "retry");
        for page in ["<!DOCTYPE html>", "\r\n<html lang=de>", "<HTML>"] {
            assert!(why(&hear(&settings, status, page)).contains("log in"), "{page}");
        }
    }
}

#[test]
fn lu_7_a_file_is_known_by_its_seal_alone_and_has_the_size_of_the_whole() {
    let head =
        Head { status: 200, content_length: Some("4096"), etag: Some("\"1\""), ..Head::default() };
    let Heard::File { offer, target } = hear_head(&head) else { panic!() };
    let Offer { action, files, install: Install::Now } = offer else { panic!() };
    assert_eq!((action.as_str(), files.len()), (target.name().as_str(), 1));
    assert_eq!((&files[0].name, files[0].url.as_str()), (&FirmwareName::BySeal, URL));
    let part = |status, content_range, content_length| {
        size_of(&Head { status, content_range, content_length, ..Head::default() })
    };
    for (status, range, length, size) in [
        (200, None, Some("4096"), Some(4096)),
        (200, None, Some(" 4096 "), Some(4096)),
        (200, None, None, None),
        (200, None, Some("+5"), None),
        (200, None, Some("-5"), None),
        (200, None, Some("99999999999999999999"), None),
        (200, None, Some("0"), None),
        (206, Some("bytes 0-511/4096"), Some("512"), Some(4096)),
        (206, Some("bytes 0-511/*"), Some("512"), None),
        (206, Some("nonsense"), Some("512"), None),
        (206, None, Some("512"), None),
        (200, Some("bytes 0-511/4096"), Some("512"), Some(4096)),
    ] {
        assert_eq!(part(status, range, length), size, "{status} {range:?} {length:?}");
    }
}

#[test]
fn dl_7_a_compressed_answer_is_none() {
    for (coding, is_file) in [("identity", true), ("", true), ("gzip", false), ("br", false)] {
        let head = Head { status: 200, content_encoding: Some(coding), ..Head::default() };
        assert_eq!(kind(&hear_head(&head)) == "file", is_file, "{coding}");
    }
}

fn offer(fields: &str) -> String {
    format!(
        "{{\"code\":0,\"msg\":\"ok\",\"core_version\":\"2013\",\"fota_sn\":\"a1b2c3\",\"url\":\"http://127.0.0.1:8091/pkg.bin\"{fields}}}"
    )
}

#[test]
fn lu_8_a_turnkey_answer_says_where_the_file_lies() {
    let settings = settings(TURNKEY);
    let body = offer(&format!(
        ",\"script_version\":\"021.000.004\",\"size\":4096,\"sha256\":\"{SHA256}\""
    ));
    let Heard::File { offer: one, target } = hear(&settings, 200, &body) else { panic!() };
    let file = &one.files[0];
    assert_eq!((one.action.as_str(), target.name().as_str()), ("a1b2c3", "a1b2c3"));
    assert_eq!((file.url.as_str(), file.size), ("http://127.0.0.1:8091/pkg.bin", Some(4096)));
    assert_eq!(file.digests.sha256.unwrap().to_string(), SHA256);
    let name = "DEMO_V02.01.00.04.bin".parse().unwrap();
    assert_eq!(file.name, FirmwareName::Known(name));
    for (fields, size) in [
        ("", None),
        (",\"size\":0", None),
        (",\"size\":\"4096\"", Some(4096)),
        (",\"size\":\"0\"", None),
        (",\"sha256\":\"\",\"script_version\":\"1.0.4\"", None),
        (",\"script_version\":7", None),
    ] {
        let Heard::File { offer: one, .. } = hear(&settings, 200, &offer(fields)) else {
            panic!("{fields}")
        };
        let file = &one.files[0];
        assert_eq!(
            (file.size, &file.name, file.digests.sha256),
            (size, &FirmwareName::BySeal, None)
        );
    }
}

#[test]
fn lu_8_a_turnkey_answer_that_is_broken_is_no_offer() {
    let settings = settings(TURNKEY);
    for fields in [
        ",\"size\":-1",
        ",\"size\":\"many\"",
        ",\"size\":1.5",
        ",\"sha256\":\"ab\"",
        ",\"sha256\":7",
    ] {
        assert_eq!(kind(&hear(&settings, 200, &offer(fields))), "retry", "{fields}");
    }
    for body in [
        "",
        "null",
        "[]",
        "a file",
        "{}",
        "{\"code\":0}",
        "{\"code\":0,\"url\":\"http://a/b\"}",
        "{\"code\":0,\"url\":\"file:///etc/passwd\",\"fota_sn\":\"1\"}",
        "{\"code\":0,\"url\":\"http://a/b\",\"fota_sn\":\"\"}",
        "{\"code\":0,\"url\":\"http://a/b\",\"fota_sn\":\"a b\"}",
        "{\"code\":0,\"url\":\"http://a/b\",\"fota_sn\":null}",
    ] {
        assert_eq!(kind(&hear(&settings, 200, body)), "retry", "{body}");
    }
    assert_eq!(kind(&hear(&settings, 200, "{\"code\":27}")), "nothing");
    assert_eq!(kind(&hear(&settings, 404, "{\"code\":40}")), "blocked");
    assert_eq!(kind(&hear(&settings, 500, &offer(""))), "nothing");
    let long = format!("{{\"code\":0,\"msg\":\"{}\"}}", "x".repeat(LONGEST_ANSWER));
    assert_eq!(kind(&hear(&settings, 200, &long)), "retry");
    assert_eq!(kind(&hear(&settings, 404, &long)), "nothing");
}

fn tell(settings: &Settings, what: What) -> Told {
    told(settings, &Telling { action: Action::try_from("a1&b2".to_owned()).unwrap(), what })
}

#[test]
fn lu_8_the_server_hears_1_after_a_success_and_2_otherwise() {
    let failure = || Failure::new(FailureKind::Unhealthy, "psdk-demo.service has failed");
    let failed = || What::Failed { failure: failure(), replaced: vec![], kept: vec![] };
    let settings = settings(TURNKEY);
    for (what, code) in [
        (What::Succeeded { sentence: "V02.01.00.04 runs".into() }, 1),
        (failed(), 2),
        (What::Cancelled, 2),
    ] {
        let post = tell(&settings, what).post.unwrap();
        assert_eq!(
            post.url,
            format!("http://127.0.0.1:8091/fota_result?fota_sn=a1%26b2&result_code={code}")
        );
        assert_eq!(post.body, format!("{{\"fota_sn\":\"a1&b2\",\"result_code\":{code}}}"));
    }
    for what in [
        What::Accepted,
        What::NotNow { why: "held".into() },
        What::Downloading { received: 1, size: 2 },
        What::Downloaded,
        What::Installing,
        What::OnTrial,
        What::TooLate,
    ] {
        assert_eq!(tell(&settings, what).post, None);
    }
    assert_eq!(tell(&self::settings(PLATFORM), failed()).post, None, "nothing goes over that wire");
    let line = tell(&self::settings(PLATFORM), failed()).line;
    assert!(line.contains("psdk-demo.service has failed"), "{line}");
}

#[test]
fn lu_8_a_result_is_taken_by_code_0_alone() {
    assert!(is_taken(200, b"{\"code\":0}") && is_taken(200, b"{\"code\":0,\"msg\":\"ok\"}\n"));
    for (status, body) in [
        (200, "{\"code\":1}"),
        (200, "{}"),
        (200, ""),
        (200, "ok"),
        (500, "{\"code\":0}"),
        (200, "{\"code\":\"0\"}"),
    ] {
        assert!(!is_taken(status, body.as_bytes()), "{status} {body}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_an_answer(
        status in 0u16..1000,
        body in prop::collection::vec(any::<u8>(), 0..600),
        text in "\\PC{0,40}",
        more in any::<bool>(),
    ) {
        let text = Some(text.as_str());
        let head = Head {
            status, content_length: text, content_range: text, content_encoding: None, etag: text,
            last_modified: text,
        };
        for mode in [PLATFORM, TURNKEY] {
            let heard = heard(&settings(mode), URL, &head, &body, more);
            prop_assert!(!why(&heard).contains(char::is_control));
        }
        is_taken(status, &body);
    }

    /// Only the parameters' values differ from payload to payload.
    #[test]
    fn any_names_make_one_request(name in "\\PC{1,30}", imei in "\\PC{1,30}") {
        let mut luatos = device("");
        let LuatosServer::Query { device, .. } = &mut luatos.server else { panic!() };
        device.firmware_name = name;
        device.identity.value = imei;
        let settings = Settings::new(&luatos, "DEMO", key("KEY1")).unwrap();
        let url = url(&settings, "V02.01.00.03").unwrap();
        prop_assert!(url.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#'));
        prop_assert_eq!(url.matches('&').count(), 3);
        prop_assert_eq!(url.matches('?').count(), 1);
    }
}
