//! The simulated aircraft as a program: its exit codes, what it prints where, and that it leaves
//! nothing behind.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as expected")]

use std::fs::File;
use std::io::Write;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Command, Output};

use tempfile::TempDir;

fn aircraft(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_uplift-sim")).arg("aircraft").args(arguments).output().unwrap()
}

fn firmware(directory: &TempDir) -> PathBuf {
    let path = directory.path().join("SENSOR_V02.00.00.00.bin");
    File::create(&path).unwrap().write_all(b"firmware").unwrap();
    path
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn a_wrong_command_line_is_exit_code_2() {
    for (arguments, complaint) in [
        (&["--firmware", "x.bin"][..], "--port"),
        (&["--port", "x", "--make-pty", "y", "--firmware", "x.bin"], "cannot be used with"),
        (&["--port", "tcp:foo", "--firmware", "x.bin"], "tcp:HOST:PORT is expected"),
        (
            &["--port", "x", "--firmware", "x.bin", "--drop", "1.5"],
            "a probability lies from 0 to 1",
        ),
        (&["--port", "x", "--firmware", "x.bin", "--chunk", "1006"], "1006 is not in 1..=1005"),
        (&["--port", "x", "--firmware", "x.bin", "--pause", "transfer"], "STAGE=TIME is expected"),
        (&["--port", "x", "--firmware", "x.bin", "--aircraft", "m200"], "m350-eport"),
        (&["--port", "x", "--firmware", "x.bin", "--claim-md5", "00"], "32 hexadecimal digits"),
    ] {
        let output = aircraft(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(
            text(&output.stderr).contains(complaint),
            "{arguments:?}: {}",
            text(&output.stderr)
        );
    }
}

#[test]
fn without_a_payload_it_says_so_and_fails() {
    let directory = TempDir::new().unwrap();
    let link = directory.path().join("ttyPayload");
    let firmware = firmware(&directory);
    let output = aircraft(&[
        "--make-pty",
        link.to_str().unwrap(),
        "--firmware",
        firmware.to_str().unwrap(),
        "--link-wait",
        "100ms",
    ]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stdout);
    assert!(
        said.starts_with("failure: no payload looked for the aircraft within 100ms\n"),
        "{said}"
    );
    assert!(text(&output.stderr).contains("waiting for a payload"), "{}", text(&output.stderr));
    assert!(!link.is_symlink(), "the pseudo-terminal's link is gone");
}

#[test]
fn a_port_that_cannot_be_opened_is_not_a_payload_that_is_silent() {
    let directory = TempDir::new().unwrap();
    let firmware = firmware(&directory);
    for port in ["/nonexistent", "unix:/nonexistent", "tcp:127.0.0.1:1"] {
        let output = aircraft(&[
            "--port",
            port,
            "--firmware",
            firmware.to_str().unwrap(),
            "--link-wait",
            "100ms",
        ]);
        assert_eq!(output.status.code(), Some(1));
        let said = text(&output.stdout);
        assert!(said.starts_with(&format!("failure: the port {port} can't be opened: ")), "{said}");
        let cause = if port.starts_with("tcp") {
            "Connection refused"
        } else {
            "No such file or directory"
        };
        assert!(said.contains(cause), "{said}");
    }
}

#[test]
fn the_verdict_is_one_line_of_json_if_asked_for() {
    let directory = TempDir::new().unwrap();
    let socket = directory.path().join("payload.sock");
    let _payload = UnixListener::bind(&socket).unwrap();
    let port = format!("unix:{}", socket.display());
    let firmware = firmware(&directory);
    let output = aircraft(&[
        "--port",
        &port,
        "--firmware",
        firmware.to_str().unwrap(),
        "--link-wait",
        "100ms",
        "--json",
        "--quiet",
    ]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr), "");
    let verdict: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&verdict["result"], &verdict["reached"]), (&"failure".into(), &"probe".into()));
    assert!(
        verdict["version_before"].is_null()
            && verdict["phases"][0]["time"].as_f64().unwrap() >= 0.1,
        "{verdict}"
    );
}

#[test]
fn a_firmware_that_is_not_there_is_named() {
    let output =
        aircraft(&["--port", "unix:/nonexistent", "--firmware", "/nonexistent/S_V01.00.00.00.bin"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stdout).contains("the firmware /nonexistent/S_V01.00.00.00.bin can't be read"),
        "{}",
        text(&output.stdout)
    );
}

#[test]
fn a_file_at_the_links_place_is_not_replaced() {
    let directory = TempDir::new().unwrap();
    let firmware = firmware(&directory);
    let taken = firmware.to_str().unwrap();
    let output = aircraft(&["--make-pty", taken, "--firmware", taken]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("no pseudo-terminal at"), "{}", text(&output.stderr));
    assert_eq!(std::fs::read(&firmware).unwrap(), b"firmware");
}
