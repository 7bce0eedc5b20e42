//! Deployments as servers write them, and as nobody should.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::*;

const NAME: &str = "PSDK_APPALIAS_V01.00.03.00.bin";
const SHA256: &str = "c8f5d0341d54d951a71b136e6e2afcb14d11ed8489a7ae126a8fee0df6ecf193";
const SHA1: &str = "e9dded8c84614e894501965af60c2525794a8c7d";
const MD5: &str = "2bcd3c4de20c918e19fab5c36249c70d";

/// An artifact as hawkBit describes it.
fn artifact(name: &str) -> Value {
    let url = format!("http://srv:8080/DEFAULT/controller/v1/P/softwaremodules/3/artifacts/{name}");
    json!({
        "filename": name, "size": 4096,
        "hashes": {"sha1": SHA1, "md5": MD5, "sha256": SHA256},
        "_links": {"download-http": {"href": url}, "md5sum-http": {"href": format!("{url}.MD5SUM")}},
    })
}

fn chunk(artifacts: &[Value]) -> Value {
    json!({"part": "os", "name": "payload-fw", "version": "1.0.3", "artifacts": artifacts})
}

fn deployment(chunks: &[Value]) -> Value {
    json!({"id": "12", "deployment": {"download": "forced", "update": "forced", "chunks": chunks}})
}

/// One with a single artifact, of which a member is another.
fn with(member: &str, value: Value) -> Value {
    let mut artifact = artifact(NAME);
    artifact[member] = value;
    deployment(&[chunk(&[artifact])])
}

fn parse(answer: &Value, naming: &Naming) -> Deployment {
    let deployment =
        Deployment::parse(answer.to_string().as_bytes(), None, naming).unwrap().unwrap();
    assert_eq!(deployment.action.as_str(), "12");
    deployment
}

fn offer(answer: &Value, naming: &Naming) -> Offer {
    match parse(answer, naming).asked {
        Asked::Offer(offer) => offer,
        other => panic!("{answer}: {other:?}"),
    }
}

fn refused(answer: &Value, naming: &Naming) -> Failure {
    match parse(answer, naming).asked {
        Asked::Refused(failure) => failure,
        other => panic!("{answer}: {other:?}"),
    }
}

fn by_chunk() -> Naming {
    let products = BTreeMap::from([("payload-fw".to_owned(), "PSDK_APPALIAS".to_owned())]);
    Naming { names: Names::Chunk { products }, ..Naming::default() }
}

fn names(offer: &Offer) -> Vec<String> {
    let name = |file: &OfferedFile| match &file.name {
        FirmwareName::Known(name) => name.to_string(),
        FirmwareName::BySeal => "by seal".to_owned(),
    };
    offer.files.iter().map(name).collect()
}

#[test]
fn a_deployment_of_hawkbit_is_an_offer() {
    let mut answer = deployment(&[chunk(&[artifact(NAME)])]);
    answer["deployment"]["maintenanceWindow"] = json!("available");
    answer["deployment"]["chunks"][0]["metadata"] = json!([{"key": "slot", "value": "rootfs"}]);
    answer["actionHistory"] = json!({"status": "RUNNING", "messages": ["..."]});
    let offer = offer(&answer, &Naming::default());
    assert_eq!((offer.action.as_str(), offer.install), ("12", Install::Now));
    assert_eq!(names(&offer), [NAME]);
    let file = &offer.files[0];
    assert!(file.url.ends_with(&format!("artifacts/{NAME}")));
    assert_eq!(file.size, Some(4096));
    assert_eq!(file.digests.sha256.unwrap().to_string(), SHA256);
    assert_eq!(file.digests.sha1.unwrap().to_string(), SHA1);
    assert_eq!(file.digests.md5.unwrap().to_string(), MD5);
}

/// As gooseBit 0.2.12 writes it: the file is an update package of another format, its module is
/// called as the file, SHA-1 is the only digest.
#[test]
fn a_deployment_of_goosebit_is_an_offer_by_the_type_of_its_chunk() {
    let answer = json!({
        "id": "12",
        "deployment": {"download": "forced", "update": "forced", "chunks": [{
            "part": "os", "version": "1.0.3", "name": "payload-1.0.3.swu",
            "artifacts": [{
                "filename": "payload-1.0.3.swu", "hashes": {"sha1": SHA1}, "size": 4096,
                "_links": {"download": {"href": "http://srv/DEFAULT/controller/v1/P/download"}},
            }],
        }]},
    });
    let products = BTreeMap::from([("os".to_owned(), "PSDK_APPALIAS".to_owned())]);
    let by_type = Naming { names: Names::Chunk { products }, ..Naming::default() };
    let offer = offer(&answer, &by_type);
    assert_eq!(names(&offer), [NAME]);
    assert_eq!(offer.files[0].digests.sha256, None);
    let failure = refused(&answer, &Naming::default());
    assert_eq!(failure.kind, FailureKind::NameInvalid);
    assert!(failure.sentence.contains("payload-1.0.3.swu"), "{failure}");
    assert_eq!(Deployment::parse(b"null", None, &by_chunk()), Ok(None));
}

/// HB-12: a confirmation has the same form.
#[test]
fn a_confirmation_is_read_alike() {
    let mut answer = deployment(&[chunk(&[artifact(NAME)])]);
    let plan = answer["deployment"].take();
    let answer = json!({"id": "12", "confirmation": plan});
    assert_eq!(names(&offer(&answer, &Naming::default())), [NAME]);
}

/// HB-4.
#[test]
fn what_may_be_done_follows_from_download_update_and_window() {
    use Install::{Later, Now};
    for (download, update, window, install) in [
        ("forced", "forced", None, Some(Now)),
        ("attempt", "attempt", None, Some(Now)),
        ("forced", "attempt", Some("available"), Some(Now)),
        ("forced", "skip", None, Some(Later)),
        ("attempt", "skip", Some("unavailable"), Some(Later)),
        ("forced", "forced", Some("unavailable"), Some(Later)),
        ("forced", "forced", Some("perhaps"), Some(Later)),
        ("skip", "skip", None, None),
        ("skip", "forced", None, None),
    ] {
        let mut answer = deployment(&[chunk(&[artifact(NAME)])]);
        answer["deployment"]["download"] = json!(download);
        answer["deployment"]["update"] = json!(update);
        answer["deployment"]["maintenanceWindow"] = json!(window);
        let asked = parse(&answer, &Naming::default()).asked;
        let found = match &asked {
            Asked::Offer(offer) => Some(offer.install),
            Asked::NotYet => None,
            Asked::Refused(failure) => panic!("{failure}"),
        };
        assert_eq!(found, install, "{download} {update} {window:?}");
    }
}

/// HB-3.
#[test]
fn the_link_that_is_preferred_is_taken_and_the_other_one_will_do() {
    let href = |url: &str| json!({"href": url});
    let turned = Naming { link: HawkbitLink::DownloadHttp, ..Naming::default() };
    for (links, first, second) in [
        (json!({"download": href("s"), "download-http": href("h")}), "s", "h"),
        (json!({"download": href("s")}), "s", "s"),
        (json!({"download-http": href("h"), "md5sum": href("m")}), "h", "h"),
    ] {
        let answer = with("_links", links);
        assert_eq!(offer(&answer, &Naming::default()).files[0].url, first);
        assert_eq!(offer(&answer, &turned).files[0].url, second);
    }
    for links in [json!({}), json!(null), json!({"download": null}), json!({"download": href("")})]
    {
        let failure = refused(&with("_links", links), &Naming::default());
        assert!(failure.to_string().contains("no link"), "{failure}");
    }
    let long = json!({"download": href(&"x".repeat(LONGEST_URL + 1))});
    assert!(refused(&with("_links", long), &Naming::default()).to_string().contains("too long"));
}

/// Where a link leads to is judged by whoever follows it.
#[test]
fn a_hostile_url_is_only_carried_and_never_shown() {
    for url in [
        "file:///etc/shadow",
        "http://user:secret@10.0.0.1/",
        "\\\\host\\share",
        "javascript:alert(1)",
        "http://169.254.169.254/secret\r\nX: y",
        "../../../secret",
    ] {
        let answer = with("_links", json!({"download": {"href": url}}));
        let deployment = parse(&answer, &Naming::default());
        assert!(!format!("{deployment:?}").contains("secret"));
        assert_eq!(offer(&answer, &Naming::default()).files[0].url, url);
    }
}

/// HB-3, DL-3, DL-4.
#[test]
fn digests_may_be_absent_and_never_malformed() {
    let digests = |hashes| offer(&with("hashes", hashes), &Naming::default()).files[0].digests;
    for none in [json!(null), json!({}), json!({"sha256": null, "md5": ""}), json!({"sha512": 7})] {
        assert_eq!(digests(none), AnnouncedDigests::default());
    }
    let upper = digests(json!({"sha256": SHA256.to_uppercase(), "sha1": SHA1.to_uppercase()}));
    assert_eq!(upper.sha256.unwrap().to_string(), SHA256);
    assert_eq!(upper.sha1.unwrap().to_string(), SHA1);
    for (hash, value) in [
        ("sha256", MD5),
        ("sha1", SHA256),
        ("md5", &MD5[1..]),
        ("md5", "zzcd3c4de20c918e19fab5c36249c70d"),
        ("md5", " 2bcd3c4de20c918e19fab5c36249c70"),
        ("sha1", "none"),
    ] {
        let failure = refused(&with("hashes", json!({hash: value})), &Naming::default());
        let sentence = failure.to_string();
        assert!(
            sentence.contains(NAME) && sentence.contains(&format!("its {hash} is")),
            "{sentence}"
        );
    }
    refused(&with("hashes", json!({"md5": 7})), &Naming::default());
}

/// DL-5.
#[test]
fn a_size_is_a_number_or_a_decimal_text_or_unknown() {
    let size = |size| offer(&with("size", size), &Naming::default()).files[0].size;
    for (said, kept) in [
        (json!(4096), Some(4096)),
        (json!("4096"), Some(4096)),
        (json!(u64::MAX), Some(u64::MAX)),
        (json!(0), None),
        (json!("0"), None),
        (json!(null), None),
    ] {
        assert_eq!(size(said.clone()), kept, "{said}");
    }
    for wrong in [
        json!(-1),
        json!(1.5),
        json!(""),
        json!("+5"),
        json!("0x10"),
        json!("4 KiB"),
        json!([1]),
        json!("99999999999999999999"),
    ] {
        let failure = refused(&with("size", wrong), &Naming::default());
        assert!(failure.to_string().contains("its size is no number"), "{failure}");
    }
}

#[test]
fn one_name_that_is_none_refuses_the_whole_action() {
    for wrong in ["pl.bin", "PSDK_V1.2.3.4.bin", "../PSDK_V01.02.03.04.bin", "", "notes.txt.MD5SUM"]
    {
        let answer = deployment(&[chunk(&[artifact(NAME), artifact(wrong)])]);
        let failure = refused(&answer, &Naming::default());
        assert_eq!(failure.kind, FailureKind::NameInvalid);
        assert!(failure.sentence.contains(&format!("{wrong:?}")), "{failure}");
    }
}

#[test]
fn digests_and_signatures_beside_a_file_are_passed_over() {
    for companion in [".MD5SUM", ".md5", ".sha256", ".sig", ".asc", ".minisig", ".P7S"] {
        let beside = format!("{NAME}{companion}");
        for naming in [Naming::default(), by_chunk()] {
            let answer = deployment(&[chunk(&[artifact(&beside), artifact(NAME)])]);
            let deployment = parse(&answer, &naming);
            assert_eq!(deployment.passed_over, [format!("{beside:?}")]);
            assert_eq!(names(&offer(&answer, &naming)), [NAME]);
        }
        // Alone it is a file like others.
        let failure = refused(&deployment(&[chunk(&[artifact(&beside)])]), &Naming::default());
        assert_eq!(failure.kind, FailureKind::NameInvalid);
    }
}

#[test]
fn a_chunk_s_name_is_that_of_one_file() {
    let two = deployment(&[chunk(&[artifact("a.swu"), artifact("b.swu")])]);
    let failure = refused(&two, &by_chunk());
    assert!(failure.to_string().contains("several files"), "{failure}");
    let mut other = chunk(&[artifact("b.raucb")]);
    other["name"] = json!("GIMBAL");
    other["version"] = json!("v2");
    let answer = deployment(&[chunk(&[artifact("a.swu")]), chunk(&[]), other]);
    assert_eq!(names(&offer(&answer, &by_chunk())), ["GIMBAL_V02.00.00.00.bin", NAME]);
    for (member, value, kind) in [
        ("version", json!("1.0.3-rc1"), FailureKind::WrongVersion),
        ("version", json!(null), FailureKind::WrongVersion),
        ("name", json!(null), FailureKind::NameInvalid),
        ("name", json!("a/b"), FailureKind::NameInvalid),
    ] {
        let mut wrong = chunk(&[artifact("a.swu")]);
        wrong[member] = value;
        assert_eq!(refused(&deployment(&[wrong]), &by_chunk()).kind, kind, "{member}");
    }
}

#[test]
fn modules_of_other_types_are_left_out() {
    let naming = Naming { parts: BTreeSet::from(["os".to_owned()]), ..Naming::default() };
    let mut other = chunk(&[artifact("manual.pdf")]);
    other["part"] = json!("bApp");
    other["encrypted"] = json!(true);
    let answer = deployment(&[other.clone(), chunk(&[artifact(NAME)])]);
    assert_eq!(names(&offer(&answer, &naming)), [NAME]);
    let failure = refused(&deployment(&[other]), &naming);
    assert_eq!(failure.kind, FailureKind::WrongProduct);
    assert!(failure.hint().contains("`parts`"), "{}", failure.hint());
}

#[test]
fn an_action_without_files_or_with_too_many_is_refused() {
    for chunks in [json!([]), json!(null), json!([chunk(&[])]), json!([{"part": "os"}])] {
        let mut answer = deployment(&[]);
        answer["deployment"]["chunks"] = chunks;
        assert_eq!(refused(&answer, &Naming::default()).kind, FailureKind::WrongProduct);
    }
    let twice = deployment(&[chunk(&[artifact(NAME), artifact("PSDK_APPALIAS_V02.00.00.00.bin")])]);
    let failure = refused(&twice, &Naming::default());
    assert!(failure.to_string().contains("two files for the product"), "{failure}");
    let many = |count| -> Vec<Value> {
        (0..count).map(|n| artifact(&format!("P{n}_V01.00.00.00.bin"))).collect()
    };
    assert_eq!(offer(&deployment(&[chunk(&many(32))]), &Naming::default()).files.len(), 32);
    let failure = refused(&deployment(&[chunk(&many(33))]), &Naming::default());
    assert_eq!(failure.kind, FailureKind::TooLarge);
}

#[test]
fn an_encrypted_module_is_refused() {
    let mut encrypted = chunk(&[artifact(NAME)]);
    encrypted["encrypted"] = json!(true);
    let failure = refused(&deployment(&[encrypted.clone()]), &Naming::default());
    assert!(failure.to_string().contains("is encrypted"), "{failure}");
    encrypted["encrypted"] = json!(false);
    offer(&deployment(&[encrypted]), &Naming::default());
}

/// Whoever names the action can be told what is wrong with it.
#[test]
fn what_is_wrong_in_a_named_action_is_a_refusal() {
    for wrong in [
        json!({"id": "12"}),
        json!({"id": 12, "deployment": null}),
        json!({"id": "12", "deployment": "http://secret"}),
        json!({"id": "12", "deployment": {}}),
        json!({"id": "12", "deployment": {"download": "forced", "chunks": []}}),
        json!({"id": "12", "deployment": {"download": "now", "update": "forced", "chunks": []}}),
        json!({"id": "12", "deployment": {"download": "forced", "update": "forced", "chunks": {"a": 1}}}),
        json!({"id": "12", "deployment": {"download": "forced", "update": "forced", "chunks": [7]}}),
        deployment(&[json!({"artifacts": [{"size": 1}]})]),
        deployment(&[json!({"artifacts": "secret"})]),
        deployment(&[json!({"encrypted": "yes"})]),
        with("filename", json!(7)),
        with("_links", json!({"download": "http://secret"})),
    ] {
        let failure = refused(&wrong, &Naming::default());
        assert!(!failure.to_string().contains("secret"), "{failure}");
        assert!(failure.sentence.contains("can't be understood"), "{failure}");
    }
}

#[test]
fn an_answer_without_an_action_is_senseless() {
    for (answer, error) in [
        ("{}", Some(Senseless::NoAction)),
        ("{\"id\":null}", Some(Senseless::NoAction)),
        ("{\"id\":\"\"}", Some(Senseless::NoAction)),
        ("{\"id\":\"a b\"}", Some(Senseless::NoAction)),
        ("{\"id\":[]}", None),
        ("{\"id\":-1}", None),
        ("[]", None),
        ("7", None),
        ("", Some(Senseless::NoJson { line: 1, column: 0 })),
        ("{\"id\":\"12\"", Some(Senseless::NoJson { line: 1, column: 10 })),
    ] {
        let found = Deployment::parse(answer.as_bytes(), None, &Naming::default()).unwrap_err();
        match error {
            Some(error) => assert_eq!(found, error, "{answer}"),
            None => assert!(matches!(found, Senseless::WrongForm { .. }), "{answer}: {found:?}"),
        }
    }
    let long = json!({"id": "x".repeat(10 << 20)}).to_string();
    let found = Deployment::parse(long.as_bytes(), None, &Naming::default());
    assert!(matches!(found, Err(Senseless::TooLong(_))));
}

/// hawkBit keeps modules as a set.
#[test]
fn the_order_in_which_modules_come_makes_no_other_offer() {
    let (one, other) = (
        chunk(&[artifact("B_V01.00.00.00.bin")]),
        chunk(&[artifact("A_V01.00.00.00.bin"), artifact("C_V01.00.00.00.bin")]),
    );
    let offered = |chunks: [Value; 2]| offer(&deployment(&chunks), &Naming::default());
    let first = offered([one.clone(), other.clone()]);
    assert_eq!(first, offered([other, one]));
    assert_eq!(names(&first), ["A", "B", "C"].map(|name| format!("{name}_V01.00.00.00.bin")));
}

/// What no component takes comes first: refused, it ends the action before anything is replaced.
#[test]
fn files_are_in_the_configured_order_of_their_components() {
    let files = ["A", "B", "C", "D"].map(|name| artifact(&format!("{name}_V01.00.00.00.bin")));
    let places = [("C", 0), ("A", 1), ("B", 2)].map(|(name, place)| (name.to_owned(), place));
    let naming = Naming { places: places.into(), ..Naming::default() };
    let offer = offer(&deployment(&[chunk(&files)]), &naming);
    assert_eq!(names(&offer), ["D", "C", "A", "B"].map(|name| format!("{name}_V01.00.00.00.bin")));
}

#[test]
fn a_deployment_is_about_the_action_of_its_link() {
    let answer = deployment(&[chunk(&[artifact(NAME)])]).to_string();
    let read = |action: &str| {
        let action = Action::try_from(action.to_owned()).unwrap();
        Deployment::parse(answer.as_bytes(), Some(&action), &Naming::default())
    };
    assert!(read("12").is_ok());
    assert_eq!(read("13"), Err(Senseless::OtherAction));
}
