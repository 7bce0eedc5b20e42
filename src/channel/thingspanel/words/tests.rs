use serde_json::{Value, json};

use super::*;
use crate::channel::offer::What;
use crate::config::{Generation, PlatformVersion};
use crate::model::version::Version;
use crate::model::{AnnouncedDigests, Failure, FailureKind};

const MD5: &str = "2bcd3c4de20c918e19fab5c36249c70d";
const SHA256: &str = "c8f5d0341d54d951a71b136e6e2afcb14d11ed8489a7ae126a8fee0df6ecf193";
const URL: &str = "http://h/api/v1/ota/download/files/upgradePackage/2026-01-01/pl.bin";

fn message() -> Value {
    json!({
        "id": "147258369", "code": "200",
        "params": {
            "version": "v1.1", "size": 4096, "url": URL, "signMethod": "MD5", "sign": MD5,
            "module": "MCU", "extData": { "key1": "value1" },
        },
    })
}

/// The same with another value in a place, or without it.
fn with(pointer: &str, value: Option<Value>) -> Heard {
    let mut message = message();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = message.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    match value {
        Some(value) => parent.insert(name.to_owned(), value),
        None => parent.remove(name),
    };
    heard(message.to_string().as_bytes())
}

#[track_caller]
fn task(heard: Heard) -> Task {
    match heard {
        Heard::Task(task) => task,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn in_vain(heard: Heard) -> (Code, String) {
    match heard {
        Heard::InVain { code, why, .. } => (code, why),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_task_is_read() {
    let task = task(heard(message().to_string().as_bytes()));
    assert_eq!(
        (task.id.as_str(), task.version.as_str(), task.url.as_str()),
        ("147258369", "v1.1", URL)
    );
    assert_eq!((task.size, task.module.as_deref()), (Some(4096), Some("MCU")));
    assert_eq!(serde_json::to_value(task.digests).unwrap(), json!({ "md5": MD5 }));
    assert!(!format!("{task:?}").contains("http"), "the URL is a secret");
}

#[test]
fn tp_5_a_code_is_200_as_text_or_number_and_any_other_is_left_alone() {
    for code in [json!(200), json!("200")] {
        task(with("/code", Some(code)));
    }
    for code in [json!(201), json!("0200"), json!(200.5), json!(null), json!([200]), json!(-200)] {
        let heard = with("/code", Some(code.clone()));
        assert!(matches!(heard, Heard::Nothing(_)), "{code}: {heard:?}");
    }
    assert!(matches!(with("/code", None), Heard::Nothing(_)));
}

#[test]
fn tp_6_a_method_is_read_in_any_case_and_with_a_dash() {
    for (method, sign, digests) in [
        ("Md5", MD5, json!({ "md5": MD5 })),
        ("MD5", &MD5.to_uppercase(), json!({ "md5": MD5 })),
        ("SHA-256", SHA256, json!({ "sha256": SHA256 })),
        ("sha256", SHA256, json!({ "sha256": SHA256 })),
    ] {
        let mut message = message();
        message["params"]["signMethod"] = json!(method);
        message["params"]["sign"] = json!(sign);
        let task = task(heard(message.to_string().as_bytes()));
        assert_eq!(serde_json::to_value(task.digests).unwrap(), digests, "{method}");
    }
}

#[test]
fn tp_6_a_digest_that_can_t_be_compared_is_a_failed_verification() {
    for (pointer, value) in [
        ("/params/signMethod", Some(json!("SM3"))),
        ("/params/signMethod", Some(json!(""))),
        ("/params/signMethod", Some(json!(5))),
        ("/params/signMethod", None),
        ("/params/signMethod", Some(json!("SHA256"))),
        ("/params/sign", Some(json!("2bcd"))),
        ("/params/sign", Some(json!(7))),
        ("/params/sign", Some(json!("zz".repeat(16)))),
    ] {
        let (code, _) = in_vain(with(pointer, value.clone()));
        assert_eq!(code, Code::Verify, "{pointer} {value:?}");
    }
}

#[test]
fn tp_7_tp_8_what_may_be_absent_null_or_unknown_is() {
    for empty in [Some(json!(null)), Some(json!("")), None] {
        let task = task(with("/params/sign", empty));
        assert_eq!(task.digests, AnnouncedDigests::default());
    }
    let none = || [Some(json!(null)), None];
    for absent in none() {
        assert_eq!(task(with("/params/module", absent.clone())).module, None);
        task(with("/params/extData", absent.clone()));
        assert_eq!(task(with("/params/size", absent)).size, None);
    }
    // DL-5.
    for (size, read) in
        [(json!("0"), None), (json!(0), None), (json!(""), None), (json!("4096"), Some(4096))]
    {
        assert_eq!(task(with("/params/size", Some(size))).size, read);
    }
    for size in [json!(-1), json!(1.5), json!("0x10"), json!("99999999999999999999"), json!([])] {
        assert_eq!(in_vain(with("/params/size", Some(size))).0, Code::Failed);
    }
}

#[test]
fn bad_input_is_answered_where_there_is_a_task_and_left_alone_where_there_is_none() {
    for message in
        ["", "{", "[]", "null", "\"x\"", "{}", "{\"id\":\"1\"}", "\u{feff}{}", "{\"code\":200,"]
    {
        assert!(matches!(heard(message.as_bytes()), Heard::Nothing(_)), "{message}");
    }
    assert!(matches!(heard(&[0xff; 100]), Heard::Nothing(_)));
    assert!(matches!(heard("[".repeat(10_000).as_bytes()), Heard::Nothing(_)));
    let huge = "x".repeat(10 << 20);
    for (pointer, value, code) in [
        ("/params", None, Code::Failed),
        ("/params", Some(json!([])), Code::Failed),
        ("/params/version", None, Code::Failed),
        ("/params/version", Some(json!(1.1)), Code::Failed),
        ("/params/version", Some(json!("")), Code::Failed),
        ("/params/version", Some(json!(huge)), Code::Failed),
        ("/params/module", Some(json!({})), Code::Failed),
        ("/params/module", Some(json!(huge)), Code::Failed),
        ("/params/url", None, Code::Download),
        ("/params/url", Some(json!(7)), Code::Download),
        ("/params/url", Some(json!("")), Code::Download),
        ("/params/url", Some(json!(huge)), Code::Download),
        ("/params/sign", Some(json!(huge)), Code::Verify),
    ] {
        assert_eq!(in_vain(with(pointer, value)).0, code, "{pointer}");
    }
}

#[test]
fn a_task_without_a_usable_name_is_known_again_by_its_bytes() {
    assert_eq!(task(with("/id", Some(json!(7)))).id, "7");
    let unusable =
        [None, Some(json!("")), Some(json!("a b")), Some(json!("x".repeat(129))), Some(json!({}))];
    let mut ids: Vec<String> = unusable.map(|id| task(with("/id", id)).id).into();
    assert!(ids.iter().all(|id| id.starts_with("unnamed-") && id.len() < 40), "{ids:?}");
    assert_eq!(task(with("/id", None)).id, ids[0]);
    ids.dedup();
    assert_eq!(ids.len(), 5);
}

#[test]
fn a_file_lies_in_the_network_and_a_path_behind_the_base_alone() {
    let base: Url = "https://panel.example.org:8443/base/".parse().unwrap();
    for (url, text) in [
        (URL, Some(URL)),
        ("/api/f.bin", Some("https://panel.example.org:8443/api/f.bin")),
        ("./files/f.bin", Some("https://panel.example.org:8443/base/files/f.bin")),
        ("file:///etc/passwd", None),
        ("file:/etc/passwd", None),
        ("//evil.example.org/f.bin", None),
        ("ftp://h/f.bin", None),
        ("http://", None),
    ] {
        let found = url_of(url, Some(&base));
        assert_eq!(found.as_ref().ok().map(Url::text).as_deref(), text, "{url}");
        if let Err(failure) = found {
            assert_eq!(code_of(failure.kind), Code::Download);
        }
    }
    let failure = url_of("/api/f.bin", None).unwrap_err();
    assert!(failure.sentence.contains("download_base"), "{failure}");
}

/// The one table: which code each of our kinds is.
#[test]
fn each_kind_of_failure_has_a_code() {
    let kinds = |code: Code| -> Vec<&str> {
        let all = FailureKind::ALL.into_iter();
        all.filter(|kind| code_of(*kind) == code).map(FailureKind::as_str).collect()
    };
    assert_eq!(kinds(Code::Download), ["transfer-failed", "too-large"]);
    assert_eq!(
        kinds(Code::Verify),
        [
            "name-invalid",
            "wrong-product",
            "wrong-version",
            "truncated",
            "wrong-machine",
            "wrong-base",
            "digest-mismatch",
            "seal-missing",
            "seal-invalid",
            "preflight-failed"
        ]
    );
    assert_eq!(kinds(Code::Write), ["no-space", "install-failed"]);
}

fn told(what: &What) -> Option<Value> {
    let progress = Progress::of(what, Some("MCU"))?;
    Some(serde_json::from_slice(&progress.to_bytes()).unwrap())
}

fn failed(kind: FailureKind, sentence: &str) -> What {
    let (replaced, kept) = (Vec::new(), Vec::new());
    What::Failed { failure: Failure::new(kind, sentence), replaced, kept }
}

#[test]
fn tp_11_a_step_is_a_decimal_text_and_never_0() {
    let downloading = |received, size| What::Downloading { received, size };
    for (what, step) in [
        (What::Accepted, "1"),
        (downloading(0, 0), "1"),
        (downloading(1, u64::MAX), "1"),
        (downloading(50, 100), "40"),
        (downloading(100, 100), "80"),
        (downloading(u64::MAX, 100), "80"),
        (What::Downloaded, "85"),
        (What::Installing, "90"),
        (What::OnTrial, "95"),
        (What::Succeeded { sentence: "it runs".into() }, "100"),
        (failed(FailureKind::Unhealthy, "x"), "-1"),
        (failed(FailureKind::TransferFailed, "x"), "-2"),
        (failed(FailureKind::DigestMismatch, "x"), "-3"),
        (failed(FailureKind::NoSpace, "x"), "-4"),
        (What::Cancelled, "-1"),
    ] {
        assert_eq!(told(&what).unwrap()["step"], step, "{what:?}");
    }
    // 1.1: what waits says nothing.
    assert_eq!(told(&What::NotNow { why: "a hold".into() }), None);
    assert_eq!(told(&What::TooLate), None);
}

#[test]
fn tp_12_a_description_has_at_most_127_characters() {
    for (sentence, desc) in [
        ("a\nb\u{1b}[2J", "a b [2J".to_owned()),
        (&*"ä".repeat(500), "ä".repeat(127)),
        (&"x".repeat(127), "x".repeat(127)),
    ] {
        assert_eq!(told(&failed(FailureKind::Busy, sentence)).unwrap()["desc"], desc);
    }
}

#[test]
fn tp_13_a_module_goes_back_byte_for_byte_and_none_is_none() {
    for module in ["", "MCU", "ä \"\\\u{1}\u{1f600}", " default "] {
        let progress = Progress::failed(Code::Failed, "x", Some(module));
        let value: Value = serde_json::from_slice(&progress.to_bytes()).unwrap();
        assert_eq!(value["module"], module);
    }
    let none = Progress::done("x", None).to_bytes();
    assert_eq!(none, br#"{"step":"100","desc":"x"}"#);
}

#[test]
fn tp_16_a_version_is_a_message_before_1_0_and_an_attribute_since() {
    let told = |generation| -> Value {
        let bytes = report(generation, "firmware_version", "147258369", "default", "v1.0.1");
        serde_json::from_slice(&bytes).unwrap()
    };
    let message =
        json!({ "id": "147258369", "params": { "version": "v1.0.1", "module": "default" } });
    assert_eq!(told(Generation::V05), message);
    assert_eq!(told(Generation::LegacyInfrom), message);
    let attribute = json!({ "firmware_version": "v1.0.1", "module": "default" });
    assert_eq!(told(Generation::V1), attribute);
}

#[test]
fn a_version_is_told_in_the_form_that_the_platform_has() {
    for (version, full, short, numbers) in [
        ([1, 2, 0, 0], "V01.02.00.00", "v1.2", "1.2.0.0"),
        ([1, 0, 1, 0], "V01.00.01.00", "v1.0.1", "1.0.1.0"),
        ([1, 0, 0, 7], "V01.00.00.07", "v1.0.0.7", "1.0.0.7"),
        ([0, 0, 0, 0], "V00.00.00.00", "v0.0", "0.0.0.0"),
    ] {
        let version = Version::new(version).unwrap();
        for (form, text) in [
            (PlatformVersion::Full, full),
            (PlatformVersion::Short, short),
            (PlatformVersion::Numbers, numbers),
        ] {
            assert_eq!(print(version, form), text);
            assert_eq!(Version::of_numbers(text), Some(version), "what is told is understood");
        }
    }
}
