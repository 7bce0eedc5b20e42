//! The bridge: the payload's own application passes the link on, and speaks as docs/wire/bridge.md
//! says.

mod application;
mod callbacks;
mod client;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use uplift::model::{FailureKind, LinkState, Outcome, Phase};

use crate::world::payload::{NEW, OLD, Payload};
use crate::world::watched::Watched as _;
use client::{Client, ENTERED, FAILED, GONE, REPORT, WELCOME, WRITTEN};

const BRIDGE: &str = "[channel.psdk]\ndoor = \"bridge\"\ntransfer = \"dcftp\"\n";

fn payload() -> Payload {
    Payload::setup().sections(BRIDGE).start()
}

impl Payload {
    fn bridge(&self) -> PathBuf {
        self.control_socket().with_file_name("bridge.sock")
    }

    fn application(&self) -> Client {
        Client::connect(&self.bridge())
    }
}

#[test]
fn an_application_in_python_upgrades() {
    let mut payload = payload();
    let firmware = payload.new_firmware();
    let client = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/story/bridge/client.py");
    let child = Command::new("python3")
        .arg(client)
        .args([payload.bridge(), firmware])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    payload.restart_when_asked();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{said}{:?}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        said.contains("ongoing") && said.contains("reboot") && said.ends_with("end 1\n"),
        "{said}"
    );
    payload.wait_for_status(|status| status.phase == Phase::Idle).unwrap();
    let report = payload.last_report();
    assert_eq!(report.outcome, Outcome::Succeeded);
    let caller = report.request.caller.unwrap();
    assert!(caller.starts_with("client.py, process "), "{caller}");
    assert_eq!(payload.reported_version().unwrap(), NEW);
}

#[test]
fn the_status_tells_whether_an_application_is_there() {
    let payload = payload();
    let status = payload.status().unwrap();
    assert_eq!(status.link.state, LinkState::Waiting);
    assert_eq!(status.link.device, payload.bridge().display().to_string());
    let application = payload.application();
    payload.wait_for_status(|status| status.link.state == LinkState::Linked).unwrap();
    drop(application);
    payload.wait_for_status(|status| status.link.state == LinkState::Waiting).unwrap();
}

#[test]
fn welcome_tells_how_things_stand() {
    let payload = payload();
    let mut application = payload.application();
    assert_eq!(application.welcome(), [1, 0, 0, 1, 1, 0, 0, 0, 2, 21, 0]);
    application.enter();
    let next = payload.application();
    assert_eq!(next.welcome()[2], 1, "an upgrade waits for its file");
}

#[test]
fn a_daemon_of_another_protocol_says_so() {
    let payload = payload();
    for versions in [[2, 3], [0, 0]] {
        let mut client = Client::without_hello(&payload.bridge());
        client.hello(versions, "later");
        let (_, text) = client.expect(GONE);
        assert!(String::from_utf8(text).unwrap().contains("version 1"));
    }
    let mut client = Client::without_hello(&payload.bridge());
    client.hello([1, 7], "later");
    client.expect(WELCOME);
    client.say(0x7F, b"a word of version 7");
    client.say(0x10, &[2, 9, 9, 9]);
    assert_eq!(client.expect(ENTERED).1[0], 0, "what it does not know is passed over");
}

#[test]
fn the_last_one_has_the_link() {
    let payload = payload();
    let mut old = payload.application();
    old.enter();
    let mut new = payload.application();
    let (_, text) = old.expect(GONE);
    assert!(String::from_utf8(text).unwrap().contains("another application"));
    assert!(old.is_closed());
    new.enter();
    assert_eq!(new.start("PSDK_APPALIAS_V02.00.00.00.bin", 10, 0), Some(0));
}

#[test]
fn repetitions_are_answered_alike_and_only_the_next_bytes_are_taken() {
    let payload = payload();
    let mut application = payload.application();
    for _ in 0..5 {
        application.enter();
    }
    let content: Vec<u8> = (0..100_000u32).map(|i| (i * 7 % 251) as u8).collect();
    for _ in 0..5 {
        let started = application.start("PSDK_APPALIAS_V02.00.00.00.bin", 100_000, 0);
        assert_eq!(started, Some(0));
    }
    for (at, chunk) in content.chunks(1005).enumerate() {
        let offset = u32::try_from(at * 1005).unwrap();
        application.data(offset, chunk);
        if at == 50 {
            application.data(offset, chunk);
            application.data(offset + 4000, chunk);
        }
    }
    for _ in 0..5 {
        assert!(application.finish(&content));
    }
    assert!(!application.finish(b"another file"));
    assert_eq!(application.last(WRITTEN).map(|written| written <= 100_000), Some(true));
    application.is_refused();
    for _ in 0..4 {
        assert_eq!(application.check(), 1, "it is no program");
    }
    assert_eq!(payload.ending(), (Outcome::Failed, Some(FailureKind::WrongMachine)));
}

#[test]
fn what_fails_is_said_once_and_the_host_begins_again() {
    let payload = payload();
    let mut application = payload.application();
    assert_eq!(application.start("PSDK_APPALIAS_V02.00.00.00.bin", 10, 0), None, "not entered");
    application.data(0, b"nothing is received");
    assert!(String::from_utf8(application.expect(FAILED).1).unwrap().contains("no file"));
    application.enter();
    assert_eq!(application.start("OTHER_V02.00.00.00.bin", 10, 0), None, "another product");
    application.enter();
    assert_eq!(application.start("PSDK_APPALIAS_V02.00.00.00.bin", 10, 0), Some(0));
    application.data(0, b"more bytes than announced");
    application.data(25, b"and more");
    let (_, why) = application.expect(FAILED);
    assert!(String::from_utf8(why).unwrap().contains("more bytes"));
    assert_eq!(application.start("PSDK_APPALIAS_V02.00.00.00.bin", 4, 0), Some(0));
    application.data(0, b"four");
    assert!(!application.finish(b"five"), "another MD5");
    application.expect(FAILED);
    assert_eq!(application.start("PSDK_APPALIAS_V02.00.00.00.bin", 4, 0), Some(0));
    application.data(0, b"fo");
    assert!(!application.finish(b"fo"), "less than announced");
}

/// The daemon dies in the transfer, and the next one goes on behind what it told to be written.
#[test]
fn a_daemon_that_dies_in_a_transfer_goes_on() {
    let mut payload = payload();
    let firmware = payload.new_firmware();
    let content = std::fs::read(&firmware).unwrap();
    let name = firmware.file_name().unwrap().to_str().unwrap();
    let size = u32::try_from(content.len()).unwrap();
    let mut application = payload.application();
    application.enter();
    assert_eq!(application.start(name, size, 0), Some(0));
    for (at, chunk) in content[..200_000].chunks(1000).enumerate() {
        application.data(u32::try_from(at * 1000).unwrap(), chunk);
    }
    let written = application.wait_for_written(160_000);
    payload.restart_daemon();
    let mut application = payload.application();
    assert_eq!(application.welcome()[2], 1, "the upgrade waits for its file");
    let there = application.start(name, size, written).expect("it goes on");
    assert!(there >= written && there <= 200_000, "{there} behind {written}");
    let there = usize::try_from(there).unwrap();
    for (at, chunk) in content[there..].chunks(1000).enumerate() {
        application.data(u32::try_from(there + at * 1000).unwrap(), chunk);
    }
    assert!(application.finish(&content));
    // Once more: the file is whole, and the connection was lost before that was heard.
    payload.restart_daemon();
    let mut application = payload.application();
    assert_eq!(application.start(name, size, written), Some(size));
    assert!(application.finish(&content));
    assert_eq!(application.check(), 0);
    payload.restart_when_asked();
    let mut application = payload.application();
    let end = application.wait_for_push(4);
    assert_eq!(end, 1);
    let report = application.last_body(REPORT).expect("the report is told");
    assert_eq!(report[..9], [1, 1, 0, 0, 0, 2, 0, 0, 0]);
    application.end();
    payload.wait_for_status(|status| status.unacknowledged.is_empty()).unwrap();
    assert_eq!(payload.reported_version().unwrap(), NEW);
}

/// The application hands everything over, hears nothing of the answers, and is gone.
#[test]
fn what_an_application_said_before_it_died_is_carried_out() {
    let mut payload = payload();
    let firmware = payload.new_firmware();
    let content = std::fs::read(&firmware).unwrap();
    let mut application = payload.application();
    application.enter();
    application.say_all_of(firmware.file_name().unwrap().to_str().unwrap(), &content);
    drop(application);
    payload.restart_when_asked();
    payload.wait_for_status(|status| status.phase == Phase::Concluded).unwrap();
    assert_eq!(payload.ending(), (Outcome::Succeeded, None));
}

/// Its host may believe that the upgrade has started: it has an end.
#[test]
fn the_check_of_a_file_that_never_came_ends_the_upgrade() {
    let payload = payload();
    let mut application = payload.application();
    application.enter();
    application.is_refused();
    assert_eq!(payload.ending(), (Outcome::Failed, Some(FailureKind::TransferFailed)));
    // The reason is that of the file, where one began.
    application.enter();
    assert_eq!(application.start("PSDK_APPALIAS_V02.00.00.00.bin", 4, 0), Some(0));
    application.data(0, b"four");
    assert!(!application.finish(b"five"), "another MD5");
    application.is_refused();
    assert_eq!(payload.ending(), (Outcome::Failed, Some(FailureKind::DigestMismatch)));
    application.enter();
}

#[test]
fn of_another_file_nothing_is_there_to_go_on_with() {
    let payload = payload();
    let mut application = payload.application();
    application.enter();
    assert_eq!(application.start("PSDK_APPALIAS_V02.00.00.00.bin", 10, 5), None);
    assert!(String::from_utf8(application.expect(FAILED).1).unwrap().contains("0 bytes"));
}

/// Of a file that its host begins anew, nothing of before is used.
#[test]
fn a_host_that_begins_again_after_a_restart_begins_at_the_first_byte() {
    let mut payload = payload();
    let (name, size) = ("PSDK_APPALIAS_V02.00.00.00.bin", 100_000);
    let mut application = payload.application();
    application.enter();
    application.start(name, size, 0);
    for at in 0..60 {
        application.data(at * 1000, &[1; 1000]);
    }
    application.wait_for_written(40_000);
    payload.restart_daemon();
    let mut application = payload.application();
    assert_eq!(application.start(name, size, 0), Some(0));
    for at in 0..100 {
        application.data(at * 1000, &[2; 1000]);
    }
    assert!(application.finish(&[2; 100_000]));
}

#[test]
fn a_refusal_comes_before_the_first_byte_and_its_reason_is_in_the_report() {
    let payload = payload();
    let mut application = payload.application();
    application.enter();
    assert_eq!(application.start("PSDK_APPALIAS_V00.09.00.00.bin", 10, 0), None);
    assert_eq!(payload.ending(), (Outcome::Failed, Some(FailureKind::Downgrade)));
    assert_eq!(application.wait_for_push(4), 2, "the end that the library can say");
    let report = application.wait_for(REPORT);
    assert_eq!(report[0], 2);
    let text = String::from_utf8(report[9..].to_vec()).unwrap();
    assert!(text.contains("V00.09.00.00"), "{text}");
    application.end();
    payload.wait_for_status(|status| status.phase == Phase::Idle).unwrap();
    assert_eq!(payload.reported_version().unwrap(), OLD);
}

#[test]
fn what_is_no_message_ends_its_connection_alone() {
    let payload = payload();
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[1, 1, 0xFF, 0xFF],
        &[0x10, 1, 1, 0, 2],
        &[1, 1, 3, 0, 1, 2, 3],
    ] {
        let mut client = Client::without_hello(&payload.bridge());
        client.send(bytes);
        assert!(client.is_closed(), "{bytes:02x?}");
    }
    let mut twice = payload.application();
    twice.hello([1, 1], "twice");
    assert!(twice.is_closed());
    let mut application = payload.application();
    application.enter();
    application.send(&[0x12, 1, 4, 0, 0, 0, 0, 0]);
    assert!(application.is_closed(), "data without a byte");
    payload.application().enter();
}

/// Whoever has the group opens connections, says nothing, and does not read.
#[test]
fn those_who_hang_keep_nobody_out() {
    let payload = payload();
    let silent: Vec<Client> = (0..16).map(|_| Client::without_hello(&payload.bridge())).collect();
    let mut deaf = payload.application();
    for _ in 0..20_000 {
        if !deaf.try_say(0x10, &[2]) {
            break;
        }
    }
    let mut application = payload.application();
    application.enter();
    drop(silent);
}
