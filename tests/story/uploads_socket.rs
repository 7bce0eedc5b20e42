//! The socket over which an upload server hands files over, and clients that mean harm: what they may
//! not, they can't, and they keep nobody out.

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use uplift::model::Phase;

use crate::world::local_socket::{self, answer};
use crate::world::payload::{Aircraft, Payload, Transfer};
use crate::world::watched::Watched as _;

const NAME: &str = "PSDK_APPALIAS_V02.00.00.00.bin";

/// A payload whose upgrade an aircraft has entered.
fn entered() -> (Payload, Aircraft) {
    let payload = Payload::setup().link("921600", None).ftp_server(true).start();
    let aircraft =
        payload.aircraft(Transfer::Ftp, &payload.new_firmware(), &["--pause", "enter=600s"]);
    payload.wait_for_status(|status| status.upgrade.is_some()).unwrap();
    (payload, aircraft)
}

fn connect(payload: &Payload) -> UnixStream {
    local_socket::connect(&payload.uploads_socket())
}

fn say(payload: &Payload, bytes: &[u8]) -> UnixStream {
    local_socket::say(&payload.uploads_socket(), bytes)
}

fn ask(payload: &Payload, request: &Value) -> Value {
    answer(&say(payload, format!("{request}\n").as_bytes()))
}

fn upload(offset: u64) -> Value {
    json!({"request": "upload", "file_name": NAME, "owner": "somebody", "offset": offset})
}

/// An upload that the daemon wants the bytes of.
fn begin(payload: &Payload, offset: u64) -> UnixStream {
    let stream = say(payload, format!("{}\n", upload(offset)).as_bytes());
    assert_eq!(answer(&stream), json!({"answer": "send"}));
    stream
}

/// What there is of an upload: size, and whether it comes.
fn seen(payload: &Payload) -> Option<(u64, bool)> {
    let answer = ask(payload, &json!({"request": "look"}));
    let upload = answer["upload"].as_object()?;
    Some((upload["size"].as_u64()?, upload["is_arriving"].as_bool()?))
}

#[test]
fn it_has_the_requests_of_an_upload_server_and_no_others() {
    let (payload, _aircraft) = entered();
    for request in [
        json!({"request": "status"}),
        json!({"request": "history"}),
        json!({"request": "watch"}),
        json!({"request": "confirm"}),
        json!({"request": "rollback"}),
        json!({"request": "install", "file_name": NAME, "size": 9}),
        json!({"request": "begin", "channel": "psdk"}),
        json!({"request": "start"}),
        json!({"request": "look", "and": "more"}),
        json!({"request": "upload", "file_name": NAME, "owner": "me", "offset": -1}),
        json!(["upload"]),
    ] {
        let answer = ask(&payload, &request);
        assert_eq!(answer["answer"], "failure", "{request}: {answer}");
    }
    assert_eq!(payload.status().unwrap().phase, Phase::Preparing, "nothing came of it");
}

#[test]
fn names_are_data_and_never_become_paths() {
    let (payload, _aircraft) = entered();
    for name in ["../uplift.toml", "/etc/passwd", "PSDK_APPALIAS_V02.00.00.00.bin/..", ""] {
        let request = json!({"request": "upload", "file_name": name, "owner": "me", "offset": 0});
        assert_eq!(ask(&payload, &request)["answer"], "elsewhere", "{name:?}");
        for request in [
            json!({"request": "remove", "file_name": name}),
            json!({"request": "rename", "from": name, "to": NAME}),
            json!({"request": "rename", "from": NAME, "to": name}),
        ] {
            assert_eq!(ask(&payload, &request)["answer"], "failure", "{request}");
        }
    }
    assert!(payload.config().exists());
}

#[test]
fn a_line_or_a_piece_without_end_is_not_collected() {
    let (payload, _aircraft) = entered();
    let mut stream = connect(&payload);
    let mut closed = false;
    for _ in 0..100 {
        closed |= stream.write_all(&[b'x'; 10_000]).is_err();
    }
    assert!(closed || stream.read(&mut [0]).is_ok_and(|length| length == 0));
    let mut stream = begin(&payload, 0);
    stream.write_all(&[0, 0, 0, 2, 7, 7]).unwrap();
    stream.write_all(&u32::MAX.to_be_bytes()).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0, "it is left");
    payload.wait_for("what came", || seen(&payload) == Some((2, false)));
}

#[test]
fn a_client_that_leaves_loses_nothing_and_may_go_on() {
    let (payload, _aircraft) = entered();
    let mut stream = begin(&payload, 0);
    stream.write_all(&[0, 0, 0, 5, 1, 2, 3, 4, 5, 0, 0, 0, 9, 6]).unwrap();
    drop(stream);
    payload.wait_for("what came", || seen(&payload) == Some((5, false)));
    let other = json!({"request": "upload", "file_name": NAME, "owner": "other", "offset": 5});
    assert_eq!(ask(&payload, &other)["answer"], "elsewhere");
    assert_eq!(ask(&payload, &upload(6))["answer"], "nothing-to-go-on");
    let mut stream = begin(&payload, 5);
    stream.write_all(&[0, 0, 0, 1, 6, 0, 0, 0, 0]).unwrap();
    assert_eq!(answer(&stream), json!({"answer": "stored", "size": 6}));
    assert_eq!(seen(&payload), Some((6, false)));
}

#[test]
fn clients_that_say_nothing_keep_no_upload_out() {
    let (payload, _aircraft) = entered();
    let _silent: Vec<UnixStream> = (0..60).map(|_| connect(&payload)).collect();
    let mut stream = begin(&payload, 0);
    // It stays, whoever comes.
    let _more: Vec<UnixStream> = (0..60).map(|_| connect(&payload)).collect();
    stream.write_all(&[0, 0, 0, 1, 7, 0, 0, 0, 0]).unwrap();
    assert_eq!(answer(&stream), json!({"answer": "stored", "size": 1}));
    assert!(payload.command(&["status"]).output().unwrap().status.success());
}

#[test]
fn uploads_that_never_end_hold_neither_the_engine_nor_the_next_upgrade() {
    let (payload, aircraft) = entered();
    let _held = begin(&payload, 0);
    assert_eq!(ask(&payload, &upload(0))["answer"], "elsewhere", "one at a time");
    drop(aircraft);
    // Whoever asks again begins anew.
    let firmware = payload.new_firmware();
    let again = payload.aircraft(Transfer::Ftp, &firmware, &[]);
    payload.wait_for_restart_request().unwrap();
    drop(again);
}

#[test]
fn the_socket_is_for_its_group_alone() {
    assert!(nix::unistd::geteuid().is_root(), "this test becomes another user: run it as root");
    let (payload, _aircraft) = entered();
    let metadata = payload.uploads_socket().metadata().unwrap();
    assert_eq!((metadata.permissions().mode() & 0o777, metadata.uid()), (0o660, 0));
    // The way there is open.
    for directory in [payload.root().to_owned(), payload.root().join("run")] {
        std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let connect = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])";
    let mut other = Command::new("setpriv");
    other.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]);
    other
        .args(["/usr/bin/python3", "-c", connect])
        .arg(payload.uploads_socket())
        .stdin(Stdio::null());
    let output = other.output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("PermissionError"), "{output:?}");
}

#[test]
fn without_a_link_that_offers_ftp_there_is_none() {
    let payload = Payload::setup().start();
    let error = UnixStream::connect(payload.uploads_socket()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}
