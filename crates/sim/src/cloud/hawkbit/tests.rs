//! The rules of the server's side, a row each. Their numbers are those of the device's rule that the row is
//! the other side of.

use serde_json::{Value, json};

use super::site::Hawkbit;
use super::*;
use crate::cloud::http::{Body, Piece, Request, Response, Site as _};

mod lying;
mod other_servers;
mod scenarios;

const BASE: &str = "/DEFAULT/controller/v1/PAYLOAD0001";

pub(super) struct Asking(pub(super) Arc<Hawkbit>);

pub(super) fn chunk(name: &str) -> Chunk {
    let bytes: Vec<u8> = (0..4096).map(|number| (number % 256) as u8).collect();
    Chunk::of(name, "1.0.3", Artifact::new("pl.bin", &bytes))
}

pub(super) fn deployment() -> Deployment {
    Deployment::of(chunk("payload-fw"))
}

pub(super) fn options() -> Options {
    Options { deployment: Some(deployment()), ..Options::default() }
}

impl Asking {
    pub(super) fn new(options: Options) -> Self {
        Self(Hawkbit::new(options))
    }

    pub(super) fn ask(&self, request: &Request) -> Response {
        self.0.answer(request).expect("an answer")
    }

    pub(super) fn get(&self, path: &str) -> (u16, Value) {
        let response =
            self.ask(&Request::of("GET", &format!("{BASE}{path}"), &[("Host", "srv:8080")]));
        (response.status, value(&response))
    }

    pub(super) fn send(&self, method: &str, path: &str, body: &Value) -> u16 {
        let request = Request::of(method, &format!("{BASE}{path}"), &[]).with(&body.to_string());
        self.ask(&request).status
    }

    pub(super) fn feedback(&self, action: u64, execution: &str, finished: &str) -> u16 {
        self.send(
            "POST",
            &format!("/deploymentBase/{action}/feedback"),
            &feedback(execution, finished),
        )
    }

    pub(super) fn cancel_feedback(&self, action: u64, execution: &str, finished: &str) -> u16 {
        self.send(
            "POST",
            &format!("/cancelAction/{action}/feedback"),
            &feedback(execution, finished),
        )
    }

    pub(super) fn links(&self) -> Vec<String> {
        let (_, document) = self.get("");
        document["_links"].as_object().unwrap().keys().cloned().collect()
    }

    pub(super) fn state(&self, action: u64) -> State {
        lock(&self.0.fleet).devices["PAYLOAD0001"].action(action).unwrap().state
    }

    /// Has all files sent.
    pub(super) fn download(&self, path: &str) -> u16 {
        let request = Request::of("GET", path, &[]);
        let response = self.ask(&request);
        let status = response.status;
        response.send(&mut std::io::sink(), false).unwrap();
        status
    }
}

pub(super) fn feedback(execution: &str, finished: &str) -> Value {
    json!({
        "id": "10",
        "status": { "execution": execution, "result": { "finished": finished }, "details": ["text"] },
    })
}

pub(super) fn value(response: &Response) -> Value {
    let Body(pieces) = &response.body;
    match pieces.first() {
        Some(Piece::Bytes(bytes)) => serde_json::from_slice(bytes).unwrap_or(Value::Null),
        _ => Value::Null,
    }
}

/// HB-1, HB-2: the poll of a new device, of one that told its attributes, and of one that is done.
#[test]
fn a_poll_tells_what_there_is_to_do() {
    let server = Asking::new(options());
    let (status, document) = server.get("");
    assert_eq!(status, 200);
    assert_eq!(document["config"]["polling"]["sleep"], "00:05:00");
    let base = format!("http://srv:8080{BASE}");
    assert_eq!(document["_links"]["configData"]["href"], format!("{base}/configData"));
    let href = document["_links"]["deploymentBase"]["href"].as_str().unwrap();
    assert!(href.starts_with(&format!("{base}/deploymentBase/10?c=-")), "{href}");
    assert_eq!(server.send("PUT", "/configData", &json!({ "data": { "a": "b" } })), 200);
    assert_eq!(server.links(), ["deploymentBase"]);
    assert_eq!(server.feedback(10, "closed", "success"), 200);
    assert_eq!(server.links(), ["configData", "installedBase"]);
    assert_eq!(server.get("/installedBase/10").0, 200);
    assert_eq!(server.get("/installedBase/11").0, 404);
}

#[test]
fn what_has_a_tag_is_not_sent_again() {
    let server = Asking::new(options());
    let request = |tag: &str| Request::of("GET", BASE, &[("If-None-Match", tag)]);
    let first = server.ask(&request(""));
    let tag = first.header("ETag").unwrap().to_owned();
    assert_eq!(first.status, 200);
    assert_eq!(server.ask(&request(&tag)).status, 304);
    server.feedback(10, "closed", "success");
    assert_eq!(server.ask(&request(&tag)).status, 200);
}

/// 6.1: the words of each scheme, and 401 without a body for whoever has none.
#[test]
fn only_who_may_asks() {
    let (target, gateway) = (Auth::Target("secret".to_owned()), Auth::Gateway("secret".to_owned()));
    let proxy = Auth::Proxy("ab12".to_owned());
    let authorization = |text| [("Authorization", text)];
    for (auth, release, headers, status) in [
        (Auth::None, Release::V1_1, &[][..], 200),
        (target.clone(), Release::V1_1, &authorization("TargetToken secret"), 200),
        (target.clone(), Release::V1_1, &authorization("targettoken secret"), 401),
        (target.clone(), Release::V1_1, &authorization("TargetToken  secret"), 401),
        (target.clone(), Release::V1_1, &authorization("GatewayToken secret"), 401),
        (target.clone(), Release::V1_1, &[], 401),
        (target.clone(), Release::Goosebit, &authorization("TargetToken secret"), 200),
        (target, Release::Mock, &[], 404),
        (gateway.clone(), Release::V0_9, &authorization("GatewayToken secret"), 200),
        (gateway.clone(), Release::V0_9, &authorization("GatewayToken other"), 401),
        (gateway, Release::Goosebit, &authorization("GatewayToken secret"), 401),
        (
            proxy.clone(),
            Release::V1_1,
            &[("X-Controller-Id", "PAYLOAD0001"), ("X-Authority", "ab12")],
            200,
        ),
        (
            proxy.clone(),
            Release::V1_1,
            &[("X-Controller-Id", "PAYLOAD0001"), ("X-Authority-1", "ab12")],
            200,
        ),
        (
            proxy.clone(),
            Release::V1_1,
            &[("X-Controller-Id", "OTHER"), ("X-Authority", "ab12")],
            401,
        ),
        (
            proxy.clone(),
            Release::V0_10,
            &[("X-Ssl-Client-Cn", "PAYLOAD0001"), ("X-Ssl-Issuer-Hash-1", "ab12")],
            200,
        ),
        (
            proxy,
            Release::V0_10,
            &[("X-Controller-Id", "PAYLOAD0001"), ("X-Authority", "ab12")],
            401,
        ),
    ] {
        let server = Asking::new(Options { auth: auth.clone(), release, ..options() });
        let response = server.ask(&Request::of("GET", BASE, headers));
        assert_eq!(response.status, status, "{auth:?} {release:?} {headers:?}");
        assert!(status != 401 || response.body.size() == 0);
    }
    // Another tenant is nobody's.
    let server = Asking::new(options());
    assert_eq!(
        server.ask(&Request::of("GET", "/OTHER/controller/v1/PAYLOAD0001", &[])).status,
        401
    );
    assert_eq!(server.ask(&Request::of("GET", "/favicon.ico", &[])).status, 404);
}

/// 6.4.
#[test]
fn attributes_are_merged_replaced_and_removed() {
    let server = Asking::new(options());
    server.get("");
    let long = "x".repeat(129);
    let many: serde_json::Map<_, _> =
        (0..100).map(|number| (format!("k{number}"), json!("v"))).collect();
    for (body, status, left) in [
        (json!({ "data": { "a": "1", "b": "2" } }), 200, "a=1 b=2"),
        (json!({ "mode": "merge", "data": { "b": "3" } }), 200, "a=1 b=3"),
        (json!({ "mode": "remove", "data": { "a": "" } }), 200, "b=3"),
        (json!({ "mode": "replace", "data": { "c": "4" }, "id": "", "time": "x" }), 200, "c=4"),
        (json!({ "mode": "other", "data": {} }), 400, "c=4"),
        (json!({ "data": { "d": 5 } }), 400, "c=4"),
        (json!({ "mode": "merge" }), 400, "c=4"),
        (json!({ "data": { "d": long } }), 400, "c=4"),
        (json!({ "data": many }), 429, "c=4"),
    ] {
        assert_eq!(server.send("PUT", "/configData", &body), status, "{body}");
        let attributes = lock(&server.0.fleet).devices["PAYLOAD0001"].attributes.clone();
        let told: Vec<_> = attributes.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(told.join(" "), left, "{body}");
    }
}

/// HB-3: what the deployment says of a file.
#[test]
fn a_deployment_tells_all_of_a_file() {
    let server = Asking::new(options());
    server.get("");
    let (_, document) = server.get("/deploymentBase/10?c=1");
    let href = format!("http://srv:8080{BASE}/softwaremodules/1001/artifacts/pl.bin");
    let expected = json!({
        "id": "10",
        "deployment": {
            "download": "forced",
            "update": "forced",
            "chunks": [{
                "part": "os", "name": "payload-fw", "version": "1.0.3",
                "artifacts": [{
                    "filename": "pl.bin", "size": 4096,
                    "hashes": {
                        "sha1": "e9dded8c84614e894501965af60c2525794a8c7d",
                        "md5": "2bcd3c4de20c918e19fab5c36249c70d",
                        "sha256": "c8f5d0341d54d951a71b136e6e2afcb14d11ed8489a7ae126a8fee0df6ecf193",
                    },
                    "_links": {
                        "download-http": { "href": href },
                        "md5sum-http": { "href": format!("{href}.MD5SUM") },
                    },
                }],
            }],
        },
    });
    assert_eq!(document, expected);
    assert_eq!(server.download(&format!("{BASE}/softwaremodules/1001/artifacts/pl.bin")), 200);
    let sum = server.ask(&Request::of(
        "GET",
        &format!("{BASE}/softwaremodules/1001/artifacts/pl.bin.MD5SUM"),
        &[],
    ));
    let Body(pieces) = sum.body;
    assert!(
        matches!(&pieces[..], [Piece::Bytes(text)] if text == b"2bcd3c4de20c918e19fab5c36249c70d  pl.bin")
    );
    let (status, list) = server.get("/softwaremodules/1001/artifacts");
    assert_eq!((status, list[0]["filename"].as_str()), (200, Some("pl.bin")));
}

/// HB-4, HB-5: what is asked for, how urgently, and what was said of it before.
#[test]
fn handling_window_and_history_are_told() {
    for (handling, closed_looks, download, update, window) in [
        (Handling::Forced, None, "forced", "forced", Value::Null),
        (Handling::Soft, None, "attempt", "attempt", Value::Null),
        (Handling::DownloadOnly, None, "forced", "skip", Value::Null),
        (Handling::Skip, None, "skip", "skip", Value::Null),
        (Handling::Forced, Some(1), "forced", "skip", json!("unavailable")),
        (Handling::Soft, Some(0), "attempt", "attempt", json!("available")),
    ] {
        let deployment = Deployment { handling, closed_looks, ..deployment() };
        let server = Asking::new(Options { deployment: Some(deployment), ..options() });
        server.get("");
        let (_, document) = server.get("/deploymentBase/10");
        let told = &document["deployment"];
        assert_eq!((&told["download"], &told["update"]), (&json!(download), &json!(update)));
        assert_eq!(told["maintenanceWindow"], window);
        // The window opens.
        let (_, document) = server.get("/deploymentBase/10");
        assert_ne!(document["deployment"]["maintenanceWindow"], "unavailable");
    }
    let server = Asking::new(options());
    server.get("");
    server.feedback(10, "downloaded", "none");
    for (query, told) in [
        ("", Value::Null),
        ("?actionHistory=0", Value::Null),
        ("?actionHistory=1", json!({ "status": "DOWNLOADED", "messages": ["text"] })),
        ("?c=1&actionHistory=-1", json!({ "status": "DOWNLOADED", "messages": ["text"] })),
    ] {
        assert_eq!(server.get(&format!("/deploymentBase/10{query}")).1["actionHistory"], told);
    }
    assert_eq!(server.get("/deploymentBase/10?actionHistory=x").0, 400);
}

/// HB-8, HB-9, 6.6: each word, and the state that it leads to.
#[test]
fn feedback_has_the_effect_that_its_words_have() {
    for (execution, finished, state) in [
        ("closed", "success", State::Finished),
        ("closed", "none", State::Finished),
        ("closed", "failure", State::Error),
        ("canceled", "none", State::Running),
        ("rejected", "failure", State::Running),
        ("download", "none", State::Running),
        ("downloaded", "none", State::Running),
        ("proceeding", "none", State::Running),
        ("scheduled", "none", State::Running),
        ("resumed", "none", State::Running),
    ] {
        let server = Asking::new(options());
        server.get("");
        assert_eq!(server.feedback(10, execution, finished), 200, "{execution}");
        assert_eq!(server.state(10), state, "{execution} {finished}");
        let again = if state == State::Running { 200 } else { 410 };
        assert_eq!(server.feedback(10, "proceeding", "none"), again, "{execution}");
        assert_eq!(server.feedback(11, "proceeding", "none"), 404);
    }
    let server = Asking::new(Options {
        deployment: Some(Deployment { handling: Handling::DownloadOnly, ..deployment() }),
        ..options()
    });
    server.get("");
    server.feedback(10, "downloaded", "none");
    assert_eq!(server.state(10), State::Finished);
}

/// 6.6: what is no feedback.
#[test]
fn a_feedback_has_what_it_must_have() {
    let server = Asking::new(options());
    server.get("");
    let post = |body: &Value| server.send("POST", "/deploymentBase/10/feedback", body);
    let minimal =
        json!({ "status": { "execution": "proceeding", "result": { "finished": "none" } } });
    assert_eq!(post(&minimal), 200);
    let mut more = minimal;
    more["timestamp"] = json!(1_767_225_600_000_u64);
    more["time"] = json!("20260101T000000");
    more["status"]["result"]["progress"] = json!({ "cnt": 0, "of": 0 });
    more["status"]["code"] = json!(200);
    assert_eq!(post(&more), 200);
    for (pointer, value) in [
        ("/status", json!(null)),
        ("/status/execution", json!("installing")),
        ("/status/execution", json!("CLOSED")),
        ("/status/result", json!({})),
        ("/status/result/finished", json!(true)),
        ("/status/result/progress", json!("half")),
        ("/status/code", json!("x")),
        ("/status/details", json!("text")),
    ] {
        let mut bad = more.clone();
        bad["status"]["details"] = json!([]);
        *bad.pointer_mut(pointer).unwrap() = value;
        assert_eq!(post(&bad), 400, "{bad}");
    }
    for (method, path, status) in [
        ("GET", "/deploymentBase/10/feedback", 405),
        ("POST", "/deploymentBase/10", 405),
        ("GET", "/configData", 405),
        ("POST", "", 405),
        ("GET", "/unknown", 404),
        ("GET", "/deploymentBase/ten", 404),
    ] {
        assert_eq!(server.send(method, path, &Value::Null), status, "{method} {path}");
    }
    let other = Request::of("GET", "/DEFAULT/controller/v1/OTHER/deploymentBase/10", &[]);
    assert_eq!(server.ask(&other).status, 404, "another device's action");
}

/// HB-7, HB-15: how much may be said, and what each release answers to more.
#[test]
fn there_is_a_quota_of_what_is_said() {
    let long = vec!["x".repeat(512 * 10 + 1); 5];
    for (release, status) in [(Release::V0_9, 403), (Release::V0_10, 429), (Release::V1_1, 429)] {
        let server = Asking::new(Options { release, entry_quota: 2, ..options() });
        server.get("");
        let said = |details: &[String]| {
            let mut body = feedback("proceeding", "none");
            body["status"]["details"] = json!(details);
            server.send("POST", "/deploymentBase/10/feedback", &body)
        };
        assert_eq!(said(&vec!["x".to_owned(); 51]), status);
        assert_eq!(said(&long), status, "each piece of 512 counts");
        assert_eq!(said(&vec!["x".to_owned(); 50]), 200);
        assert_eq!(said(&[]), 200);
        assert_eq!(said(&[]), status);
        assert_eq!(server.feedback(10, "closed", "failure"), 200, "the end is let in");
    }
    // A download counts, one of a part does not.
    let server = Asking::new(Options { entry_quota: 2, ..options() });
    server.get("");
    let path = format!("{BASE}/softwaremodules/1001/artifacts/pl.bin");
    for (headers, status) in [
        (&[("Range", "bytes=9-")][..], "RUNNING"),
        (&[("Range", "bytes=9-")], "RUNNING"),
        (&[], "DOWNLOAD"),
    ] {
        server.ask(&Request::of("GET", &path, headers));
        let (_, document) = server.get("/deploymentBase/10?actionHistory=1");
        assert_eq!(document["actionHistory"]["status"], status);
    }
    assert_eq!(server.feedback(10, "proceeding", "none"), 200);
    assert_eq!(server.feedback(10, "proceeding", "none"), 429);
    for (release, status) in [(Release::V0_9, 400), (Release::V1_0, 200)] {
        let server = Asking::new(Options { release, ..options() });
        server.get("");
        let mut body = feedback("proceeding", "none");
        body["status"]["details"] = json!(["<new> is not there"]);
        assert_eq!(server.send("POST", "/deploymentBase/10/feedback", &body), status);
    }
}

/// HB-6, HB-11, 6.7.
#[test]
fn a_cancellation_is_answered_and_holds_up_what_follows() {
    for (execution, finished, state, link) in [
        ("closed", "success", State::Canceled, "deploymentBase"),
        ("closed", "none", State::Canceled, "deploymentBase"),
        ("closed", "failure", State::Running, "deploymentBase"),
        ("rejected", "none", State::Running, "deploymentBase"),
        ("canceled", "none", State::Canceling, "cancelAction"),
        ("proceeding", "none", State::Canceling, "cancelAction"),
    ] {
        let server = Asking::new(options());
        server.get("");
        assert_eq!(server.cancel_feedback(10, "closed", "success"), 405, "nobody asked");
        assert!(server.0.cancel("PAYLOAD0001", 10));
        assert!(!server.0.cancel("PAYLOAD0001", 10));
        server.0.assign("PAYLOAD0001", deployment());
        assert!(server.links().contains(&"cancelAction".to_owned()));
        assert_eq!(server.get("/deploymentBase/10").0, 404);
        assert_eq!(server.download(&format!("{BASE}/softwaremodules/1001/artifacts/pl.bin")), 404);
        let told = json!({ "id": "10", "cancelAction": { "stopId": "10" } });
        assert_eq!(server.get("/cancelAction/10"), (200, told));
        assert_eq!(server.cancel_feedback(10, execution, finished), 200);
        assert_eq!(server.state(10), state, "{execution} {finished}");
        assert!(server.links().contains(&link.to_owned()), "{execution}");
        let again = if state == State::Canceled { 410 } else { 405 };
        if state != State::Canceling {
            assert_eq!(server.cancel_feedback(10, "closed", "success"), again);
            assert_eq!(server.get("/cancelAction/10").0, 404);
        }
    }
    // What is being installed may still end by itself.
    let server = Asking::new(options());
    server.get("");
    server.0.cancel("PAYLOAD0001", 10);
    assert_eq!(server.feedback(10, "closed", "success"), 200);
    assert_eq!(server.state(10), State::Finished);
    assert!(!server.0.cancel("PAYLOAD0001", 10));
}

/// HB-6, HB-12.
#[test]
fn a_confirmation_lets_a_deployment_be_read() {
    let server = Asking::new(Options { confirmation: true, ..options() });
    assert_eq!(server.links(), ["configData", "confirmationBase"]);
    assert_eq!(server.get("/deploymentBase/10").0, 404);
    assert_eq!(server.feedback(10, "proceeding", "none"), 404);
    let (status, document) = server.get("/confirmationBase/10");
    assert_eq!(
        (status, &document["confirmation"]["chunks"][0]["name"]),
        (200, &json!("payload-fw"))
    );
    let say = |word: &str| {
        let body = json!({ "confirmation": word, "code": 200, "details": ["ok"] });
        server.send("POST", "/confirmationBase/10/feedback", &body)
    };
    assert_eq!(say("maybe"), 400);
    assert_eq!(say("denied"), 200);
    assert!(server.links().contains(&"confirmationBase".to_owned()), "it is asked again");
    let told = server.get("/confirmationBase/10?actionHistory=10").1["actionHistory"].clone();
    assert_eq!(told, json!({ "status": "WAIT_FOR_CONFIRMATION", "messages": ["ok"] }));
    assert_eq!(say("confirmed"), 200);
    assert_eq!(server.get("/deploymentBase/10").0, 200);
    assert_eq!(say("confirmed"), 404, "it is not waited for any more");
    server.feedback(10, "closed", "success");
    assert_eq!(say("confirmed"), 410);
    // A device that says yes to all is not asked.
    assert_eq!(server.send("POST", "/confirmationBase/activateAutoConfirm", &json!({})), 200);
    assert_eq!(server.get("/confirmationBase").1["autoConfirm"]["active"], true);
    server.0.assign("PAYLOAD0001", deployment());
    assert!(server.links().contains(&"deploymentBase".to_owned()));
    // After hawkBit 1.1 a yes can be taken back.
    for (release, status) in [(Release::V1_1, 404), (Release::Master, 200)] {
        let server = Asking::new(Options { confirmation: true, release, ..options() });
        server.get("");
        let say = |word: &str| {
            let body = json!({ "confirmation": word });
            server.send("POST", "/confirmationBase/10/feedback", &body)
        };
        assert_eq!(say("confirmed"), 200);
        assert_eq!(say("denied"), status);
    }
}

#[test]
fn a_device_says_what_is_installed() {
    let server = Asking::new(options());
    server.get("");
    let declare = |body: &Value| server.send("PUT", "/installedBase", body);
    let one = json!({ "name": "set", "version": "1" });
    assert_eq!([declare(&one), declare(&one), declare(&json!({ "name": "set" }))], [201, 200, 400]);
}
