//! Files that must not be installed: what the aircraft is told, and what the history says.

use std::fs;

use uplift::model::{FailureKind, Phase};

use super::{setup, version, with_package};
use crate::world::payload::{NEW, OLD, Payload, Transfer};
use crate::world::watched::Watched as _;

/// Completion reasons of docs/wire/payload-link.md section 4.
const FIRMWARE_ERROR: u64 = 3;
const SAME_VERSION: u64 = 4;
const DOES_NOT_MATCH: u64 = 8;
const ILLEGAL_DOWNGRADE: u64 = 9;

/// Refused, told why over the link, remembered under its kind, and the payload ready for the next
/// one.
fn is_refused(
    transfer: Transfer,
    payload: &mut Payload,
    firmware: &std::path::Path,
    kind: FailureKind,
    reason: u64,
) {
    let verdict = payload.refused(transfer, firmware, &[]);
    assert_eq!(verdict["reason"].as_u64(), Some(reason), "{transfer:?} {kind}: {verdict}");
    let report = payload.last_report();
    assert_eq!(report.failure.expect("a failure").kind, kind);
    let good = payload.new_firmware();
    payload.is_upgraded_by(transfer, &good);
}

fn bad_bytes(name: &str, kind: FailureKind, reason: u64, bytes: impl Fn(Vec<u8>) -> Vec<u8>) {
    for transfer in Transfer::BOTH {
        let mut payload = setup(transfer).start();
        let good = fs::read(payload.new_firmware()).unwrap();
        let firmware = payload.file_of(name, &bytes(good));
        is_refused(transfer, &mut payload, &firmware, kind, reason);
    }
}

const NAME: &str = "PSDK_APPALIAS_V02.00.00.00.bin";

#[test]
fn cut_off() {
    bad_bytes(NAME, FailureKind::Truncated, FIRMWARE_ERROR, |good| good[..good.len() - 1].to_vec());
}

#[test]
fn one_byte_too_long() {
    bad_bytes(NAME, FailureKind::Truncated, FIRMWARE_ERROR, |mut good| {
        good.push(b'x');
        good
    });
}

#[test]
fn not_a_program() {
    bad_bytes(NAME, FailureKind::WrongMachine, DOES_NOT_MATCH, |_| {
        b"#!/bin/sh\nexit 0\n".repeat(100)
    });
}

#[test]
fn for_another_machine() {
    bad_bytes(NAME, FailureKind::WrongMachine, DOES_NOT_MATCH, |mut good| {
        good[18] ^= 0xff; // e_machine
        good
    });
}

#[test]
fn an_older_version() {
    bad_bytes(
        "PSDK_APPALIAS_V00.99.00.00.bin",
        FailureKind::Downgrade,
        ILLEGAL_DOWNGRADE,
        |good| good,
    );
}

#[test]
fn the_same_version() {
    bad_bytes(
        &format!("PSDK_APPALIAS_{OLD}.bin"),
        FailureKind::SameVersion,
        SAME_VERSION,
        |good| good,
    );
}

#[test]
fn another_version_than_the_program_tells() {
    bad_bytes(
        "PSDK_APPALIAS_V02.00.00.01.bin",
        FailureKind::WrongVersion,
        FIRMWARE_ERROR,
        |good| good,
    );
}

#[test]
fn another_product() {
    let payload = setup(Transfer::Dcftp).start();
    let good = fs::read(payload.new_firmware()).unwrap();
    let firmware = payload.file_of(&format!("OTHER_{NEW}.bin"), &good);
    let mut payload = payload;
    is_refused(Transfer::Dcftp, &mut payload, &firmware, FailureKind::WrongProduct, DOES_NOT_MATCH);
}

#[test]
fn another_product_uploaded_over_ftp_is_listed() {
    let payload = setup(Transfer::Ftp).start();
    let good = fs::read(payload.new_firmware()).unwrap();
    let firmware = payload.file_of(&format!("OTHER_{NEW}.bin"), &good);
    payload.refused(Transfer::Ftp, &firmware, &[]);
    let report = payload.last_report();
    assert_eq!(report.failure.expect("a failure").kind, FailureKind::WrongProduct);
    assert_eq!(
        report.file_name,
        Some(format!("OTHER_{NEW}.bin")),
        "the history tells which file it was"
    );
}

#[test]
fn names_that_are_none() {
    for name in [
        "firmware.bin",
        "PSDK_APPALIAS_V2.0.0.0.bin",
        "../../etc/passwd",
        "PSDK_APPALIAS_V02.00.00.00.bin/",
        "a\u{7}_V02.00.00.00.bin",
    ] {
        let payload = setup(Transfer::Dcftp).start();
        let firmware = payload.new_firmware();
        let verdict = payload.refused(Transfer::Dcftp, &firmware, &["--claim-name", name]);
        let report = payload.last_report();
        assert_eq!(
            report.failure.expect("a failure").kind,
            FailureKind::NameInvalid,
            "{name:?}: {verdict}"
        );
        assert_eq!(report.file_name.as_deref(), Some(name), "the history tells which file it was");
    }
}

#[test]
fn too_large() {
    let limit = "max_size = \"100KiB\"";
    let payload = with_package(Transfer::Dcftp, limit);
    let firmware = payload.new_firmware();
    payload.refused(Transfer::Dcftp, &firmware, &[]);
    assert_eq!(payload.last_report().failure.expect("a failure").kind, FailureKind::TooLarge);
    // Over FTP the upload itself is refused, and the host may send another file.
    let payload = with_package(Transfer::Ftp, limit);
    let firmware = payload.new_firmware();
    let verdict = payload.refused(Transfer::Ftp, &firmware, &[]);
    assert!(verdict["message"].as_str().unwrap().contains("552"), "{verdict}");
    let status = payload.status().unwrap();
    let failure = status.upgrade.and_then(|upgrade| upgrade.failure).expect("a failure");
    assert_eq!(failure.kind, FailureKind::TooLarge);
}

#[test]
fn empty() {
    for transfer in Transfer::BOTH {
        let payload = setup(transfer).start();
        let firmware = payload.file_of(NAME, b"");
        payload.refused(transfer, &firmware, &[]);
        assert_eq!(payload.last_report().failure.expect("a failure").kind, FailureKind::Truncated);
    }
}

#[test]
fn dcftp_with_another_md5_or_size() {
    let claims = [
        ("--claim-md5", "00112233445566778899aabbccddeeff"),
        ("--claim-size", "299999"),
        ("--claim-size", "300001"),
    ];
    for (option, value) in claims {
        let mut payload = setup(Transfer::Dcftp).start();
        let firmware = payload.new_firmware();
        let verdict = payload.refused(Transfer::Dcftp, &firmware, &[option, value]);
        assert!(
            verdict["message"].as_str().unwrap().contains("refuses 00/2A with code 01"),
            "{option} {value}: {verdict}"
        );
        is_known_at_once(&payload, &format!("{option} {value}"));
        let verdict = payload.upgrade_by(Transfer::Dcftp, &firmware, &[]);
        assert_eq!(verdict["result"], "success", "after {option} {value}: {verdict}");
    }
}

/// The host may begin again, so nothing is concluded; and nobody is told that the file still
/// arrives.
fn is_known_at_once(payload: &Payload, what: &str) {
    let status = payload.status().unwrap();
    let upgrade = status.upgrade.expect("the host may begin again");
    let failure =
        upgrade.failure.unwrap_or_else(|| panic!("{what}: {:?} without a failure", status.phase));
    assert!(
        matches!(
            failure.kind,
            FailureKind::DigestMismatch | FailureKind::Truncated | FailureKind::TransferFailed
        ),
        "{what}: {failure}"
    );
    assert_eq!(
        (status.phase, upgrade.progress.done, status.unacknowledged.len()),
        (Phase::Preparing, 0, 0),
        "{what}"
    );
    let shown = payload.command(&["status"]).output().unwrap();
    let shown = String::from_utf8_lossy(&shown.stdout);
    assert!(shown.contains("the last file was refused: "), "{what}: {shown}");
    assert!(!payload.logs().contains("waits for its receiver"), "{what}");
}

#[test]
fn a_wrong_password() {
    let payload = setup(Transfer::Ftp).start();
    let firmware = payload.new_firmware();
    let verdict = payload.refused(Transfer::Ftp, &firmware, &["--ftp-password", "wrong"]);
    assert!(verdict["message"].as_str().unwrap().contains("530"), "{verdict}");
}

#[test]
fn a_fetch_that_can_not_go_on_is_known_before_the_host_asks() {
    let mut payload = setup(Transfer::Ftp).start();
    let firmware = payload.new_firmware();
    let aircraft = payload.aircraft(Transfer::Ftp, &firmware, &["--pause", "enter=60s"]);
    payload.wait_for_status(|status| status.upgrade.is_some()).unwrap();
    // The server comes back with another password: no later attempt can mend that.
    payload.kill_ftp_server();
    payload
        .edit_config(|text| text.replace("[ftp_server]", "[ftp_server]\npassword = \"another\""));
    payload.start_ftp_server().unwrap();
    let known = payload.wait_for_status(|status| {
        status.upgrade.as_ref().is_some_and(|upgrade| upgrade.failure.is_some())
    });
    let failure = known.map(|status| status.upgrade.and_then(|upgrade| upgrade.failure));
    assert!(
        matches!(&failure, Ok(Some(failure)) if failure.kind == FailureKind::TransferFailed),
        "{failure:?}"
    );
    drop(aircraft);
}

#[test]
fn two_files_in_the_upload_area() {
    let payload = setup(Transfer::Ftp).start();
    let firmware = payload.new_firmware();
    // Comes in beside the aircraft's file, after "enter" has emptied the area.
    let aircraft = payload.aircraft(Transfer::Ftp, &firmware, &["--pause", "enter=2s"]);
    payload.wait_for_status(|status| status.upgrade.is_some()).unwrap();
    fs::copy(&firmware, payload.upload_area().join("PSDK_APPALIAS_V03.00.00.00.bin")).unwrap();
    let verdict = aircraft.verdict();
    assert_eq!(verdict["result"], "failure", "{verdict}");
    let failure = payload.last_report().failure.expect("a failure");
    assert_eq!(failure.kind, FailureKind::TransferFailed);
    assert!(
        failure.to_string().contains(NAME) && failure.to_string().contains("V03.00.00.00"),
        "{failure}"
    );
    assert_eq!(version(&payload.reported_version().unwrap()), version(OLD));
}
