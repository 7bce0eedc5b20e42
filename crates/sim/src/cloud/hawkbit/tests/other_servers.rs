//! What the servers that speak the same interface do otherwise.

use super::*;

#[test]
fn goosebit_asks_for_attributes_first_and_tells_one_software() {
    let server = Asking::new(Options { release: Release::Goosebit, ..options() });
    let (_, document) = server.get("");
    assert_eq!(document["config"]["polling"]["sleep"], "00:00:10");
    assert_eq!(server.links(), ["configData"]);
    assert_eq!(
        server.send("PUT", "/configData", &json!({ "data": { "sw_version": "1.0.0" } })),
        200
    );
    assert_eq!(server.links(), ["deploymentBase"]);
    // Any number is said again, and described is what is to be run now.
    let (_, document) = server.get("/deploymentBase/1");
    assert_eq!(document["id"], "1");
    let chunk = &document["deployment"]["chunks"][0];
    assert_eq!((&chunk["part"], &chunk["name"]), (&json!("os"), &json!("pl.bin")));
    let file = &chunk["artifacts"][0];
    assert_eq!(file["hashes"], json!({ "sha1": "e9dded8c84614e894501965af60c2525794a8c7d" }));
    let href = format!("http://srv:8080{BASE}/download");
    assert_eq!(file["_links"], json!({ "download": { "href": href } }));
    assert_eq!(server.download(&format!("{BASE}/download")), 200);
    // One that failed is not offered again.
    assert_eq!(server.feedback(77, "rejected", "failure"), 200);
    assert_eq!(server.links(), ["deploymentBase"]);
    assert_eq!(server.feedback(77, "closed", "failure"), 200);
    assert_eq!(server.links(), Vec::<String>::new());
    server.0.assign("PAYLOAD0001", deployment());
    assert_eq!(server.links(), ["deploymentBase"]);
    assert_eq!(server.feedback(77, "closed", "none"), 200);
    assert_eq!(server.links(), Vec::<String>::new());
    assert_eq!(server.get("/deploymentBase/10"), (200, Value::Null));
    assert_eq!(server.download(&format!("{BASE}/download")), 200);
    // The version is compared as text, and hardware that is not told is the default one.
    for (version, links) in [("V01.00.03.00", vec!["deploymentBase"]), ("1.0.3", vec![])] {
        let data = json!({ "data": { "sw_version": version } });
        assert_eq!(server.send("PUT", "/configData", &data), 200);
        assert_eq!(server.links(), links);
    }
    let other = json!({ "data": { "sw_version": "1.0.3", "hw_revision": "2" } });
    assert_eq!(server.send("PUT", "/configData", &other), 422);
    // There is no 410, nothing to cancel, and nothing to confirm.
    assert_eq!(server.feedback(77, "closed", "none"), 200);
    for path in ["/cancelAction/10", "/confirmationBase/10", "/installedBase/10"] {
        assert_eq!(server.get(path).0, 404);
    }
}

#[test]
fn goosebit_takes_feedback_of_its_model_only() {
    let server = Asking::new(Options { release: Release::Goosebit, ..options() });
    server.get("");
    for (pointer, value, status) in [
        ("/status/execution", json!("installing"), 422),
        ("/status/result/progress", json!({ "cnt": 1 }), 422),
        ("/status/result/progress", json!({ "cnt": 1, "of": 0 }), 200),
        ("/time", json!(1), 422),
        ("/time", json!("20260101T000000"), 200),
        ("/id", json!(10), 200),
    ] {
        let mut body = feedback("proceeding", "none");
        body["time"] = Value::Null;
        body["status"]["result"]["progress"] = Value::Null;
        *body.pointer_mut(pointer).unwrap() = value;
        assert_eq!(server.send("POST", "/deploymentBase/10/feedback", &body), status, "{body}");
    }
}

#[test]
fn the_mock_knows_what_it_expects() {
    let server = Asking::new(Options { release: Release::Mock, ..options() });
    server.get("");
    assert_eq!(server.feedback(10, "proceeding", "none"), 200);
    let mut more = feedback("proceeding", "none");
    more["timestamp"] = json!(1);
    assert_eq!(server.send("POST", "/deploymentBase/10/feedback", &more), 404);
    let (_, document) = server.get("/deploymentBase/10");
    let links = &document["deployment"]["chunks"][0]["artifacts"][0]["_links"];
    assert!(links["download"].is_object() && links["download-http"].is_object());
    let path = format!("{BASE}/softwaremodules/1001/artifacts/pl.bin");
    let response = server.ask(&Request::of("GET", &path, &[("Range", "bytes=10-")]));
    assert_eq!((response.status, response.body.size()), (200, 4096));
}
