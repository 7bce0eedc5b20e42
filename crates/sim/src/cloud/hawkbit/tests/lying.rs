use super::*;

fn told(lies: Vec<Lie>) -> (u16, Value) {
    let server = Asking::new(Options { lies, ..options() });
    server.get("");
    server.get("/deploymentBase/10")
}

#[test]
fn a_deployment_is_as_wrong_as_asked() {
    let file = "/deployment/chunks/0/artifacts/0";
    for (lie, pointer, expected) in [
        (Lie::Digests(Digests::None), "/hashes", json!({})),
        (
            Lie::Digests(Digests::Sha1Only),
            "/hashes",
            json!({ "sha1": "e9dded8c84614e894501965af60c2525794a8c7d" }),
        ),
        (Lie::Digests(Digests::Wrong), "/hashes/md5", json!("0".repeat(32))),
        (
            Lie::Digests(Digests::UpperCase),
            "/hashes/md5",
            json!("2BCD3C4DE20C918E19FAB5C36249C70D"),
        ),
        (Lie::Digests(Digests::Short), "/hashes/md5", json!("2bcd3c4de20c918e19fab5c36249c7")),
        (Lie::Size(-1), "/size", json!(-1)),
        (
            Lie::Href("file:///etc/passwd".to_owned()),
            "/_links/download-http/href",
            json!("file:///etc/passwd"),
        ),
        (Lie::Replaced(format!("{file}/size"), json!([])), "/size", json!([])),
    ] {
        let (_, document) = told(vec![lie.clone()]);
        assert_eq!(document.pointer(&format!("{file}{pointer}")), Some(&expected), "{lie:?}");
    }
    let (_, document) = told(vec![Lie::OtherAction, Lie::Missing(format!("{file}/_links"))]);
    assert_eq!(document["id"], "4711");
    assert_eq!(document.pointer(&format!("{file}/_links")), None);
    let (_, document) = told(vec![Lie::Missing("/deployment/chunks/0".to_owned())]);
    assert_eq!(document["deployment"]["chunks"], json!([]));
    let (_, document) = told(vec![Lie::HugeString]);
    assert_eq!(document["deployment"]["chunks"][0]["name"].as_str().unwrap().len(), 10 << 20);
    for lie in [Lie::Garbage, Lie::HalfJson] {
        assert_eq!(told(vec![lie]), (200, Value::Null));
    }
}

#[test]
fn a_poll_leads_elsewhere() {
    let lies = vec![Lie::PollHref("file:///etc/passwd".to_owned())];
    let server = Asking::new(Options { lies, ..options() });
    assert_eq!(server.get("").1["_links"]["deploymentBase"]["href"], "file:///etc/passwd");
}

#[test]
fn a_poll_lacks_members_and_has_others() {
    let poll = |lie| Asking::new(Options { lies: vec![lie], ..options() }).get("").1;
    assert_eq!(poll(Lie::PollMissing("/_links".to_owned()))["_links"], Value::Null);
    let seven = Lie::PollReplaced("/config/polling/sleep".to_owned(), json!(7));
    assert_eq!(poll(seven)["config"]["polling"]["sleep"], 7);
    assert_eq!(poll(Lie::PollReplaced(String::new(), json!([]))), json!([]));
}
