//! Files that must not be installed: what the aircraft is told, and what the history says.

use std::fs;

use uplift::model::FailureKind;

use crate::payload::{NEW, OLD, Payload, Transfer, version};

/// Refused, told why over the link, remembered under its kind, and the payload ready for the next one.
fn is_refused(transfer: Transfer, payload: &mut Payload, firmware: &std::path::Path, kind: FailureKind, reason: &str) {
    let verdict = payload.refused(transfer, firmware, &[]);
    assert_eq!(verdict["reason"].as_str(), Some(reason), "{transfer:?} {kind}: {verdict}\n{}", payload.log());
    let report = payload.last_report();
    assert_eq!(report.failure.expect("a failure").kind, kind);
    let good = payload.firmware();
    let verdict = payload.upgrade(transfer, &good, &[]);
    assert_eq!(verdict["result"], "success", "after {kind}: {verdict}\n{}", payload.log());
}

fn bad_bytes(name: &str, kind: FailureKind, reason: &str, bytes: impl Fn(Vec<u8>) -> Vec<u8>) {
    for transfer in Transfer::BOTH {
        let mut payload = Payload::new(transfer);
        let good = fs::read(payload.firmware()).unwrap();
        let firmware = payload.firmware_of(name, &bytes(good));
        is_refused(transfer, &mut payload, &firmware, kind, reason);
    }
}

const NAME: &str = "PSDK_APPALIAS_V02.00.00.00.bin";

#[test]
fn cut_off() {
    bad_bytes(NAME, FailureKind::Truncated, "firmware-error", |good| good[..good.len() - 1].to_vec());
}

#[test]
fn one_byte_too_long() {
    bad_bytes(NAME, FailureKind::Truncated, "firmware-error", |mut good| {
        good.push(0);
        good
    });
}

#[test]
fn not_a_program() {
    bad_bytes(NAME, FailureKind::WrongMachine, "firmware-mismatch", |_| b"#!/bin/sh\nexit 0\n".repeat(100));
}

#[test]
fn for_another_machine() {
    bad_bytes(NAME, FailureKind::WrongMachine, "firmware-mismatch", |mut good| {
        good[18] ^= 0xff; // e_machine
        good
    });
}

#[test]
fn an_older_version() {
    bad_bytes("PSDK_APPALIAS_V00.99.00.00.bin", FailureKind::Downgrade, "illegal-downgrade", |good| good);
}

#[test]
fn the_same_version() {
    bad_bytes(&format!("PSDK_APPALIAS_{OLD}.bin"), FailureKind::SameVersion, "same-version", |good| good);
}

#[test]
fn another_version_than_the_program_tells() {
    bad_bytes("PSDK_APPALIAS_V02.00.00.01.bin", FailureKind::WrongVersion, "firmware-mismatch", |good| good);
}

#[test]
fn another_product() {
    let payload = Payload::new(Transfer::Dcftp);
    let good = fs::read(payload.firmware()).unwrap();
    let firmware = payload.firmware_of(&format!("OTHER_{NEW}.bin"), &good);
    let mut payload = payload;
    is_refused(Transfer::Dcftp, &mut payload, &firmware, FailureKind::WrongProduct, "firmware-mismatch");
}

#[test]
fn another_product_uploaded_over_ftp_is_listed() {
    let payload = Payload::new(Transfer::Ftp);
    let good = fs::read(payload.firmware()).unwrap();
    let firmware = payload.firmware_of(&format!("OTHER_{NEW}.bin"), &good);
    payload.refused(Transfer::Ftp, &firmware, &[]);
    let failure = payload.last_report().failure.expect("a failure");
    assert!(failure.to_string().contains(&format!("OTHER_{NEW}.bin")), "{failure}");
}

#[test]
fn names_that_are_none() {
    for name in
        ["firmware.bin", "PSDK_APPALIAS_V2.0.0.0.bin", "../../etc/passwd", "PSDK_APPALIAS_V02.00.00.00.bin/", "a\u{7}_V02.00.00.00.bin"]
    {
        let payload = Payload::new(Transfer::Dcftp);
        let firmware = payload.firmware();
        let verdict = payload.refused(Transfer::Dcftp, &firmware, &["--claim-name", name]);
        assert_eq!(payload.last_report().failure.expect("a failure").kind, FailureKind::NameInvalid, "{name:?}: {verdict}");
    }
}

#[test]
fn too_large() {
    for transfer in Transfer::BOTH {
        let payload = Payload::configured(transfer, "", "max_size = \"100KiB\"");
        let firmware = payload.firmware();
        payload.refused(transfer, &firmware, &[]);
        assert_eq!(payload.last_report().failure.expect("a failure").kind, FailureKind::TooLarge);
    }
}

#[test]
fn empty() {
    for transfer in Transfer::BOTH {
        let payload = Payload::new(transfer);
        let firmware = payload.firmware_of(NAME, b"");
        payload.refused(transfer, &firmware, &[]);
        assert_eq!(payload.last_report().failure.expect("a failure").kind, FailureKind::Truncated);
    }
}

#[test]
fn dcftp_with_another_md5() {
    let payload = Payload::new(Transfer::Dcftp);
    let firmware = payload.firmware();
    payload.refused(Transfer::Dcftp, &firmware, &["--claim-md5", "00112233445566778899aabbccddeeff"]);
    assert_eq!(payload.last_report().failure.expect("a failure").kind, FailureKind::DigestMismatch);
}

#[test]
fn dcftp_with_another_size() {
    for (size, kind) in [("299999", FailureKind::TransferFailed), ("300001", FailureKind::Truncated)] {
        let payload = Payload::new(Transfer::Dcftp);
        let firmware = payload.firmware();
        let verdict = payload.refused(Transfer::Dcftp, &firmware, &["--claim-size", size]);
        assert_eq!(payload.last_report().failure.expect("a failure").kind, kind, "{size}: {verdict}");
    }
}

#[test]
fn a_wrong_password() {
    let payload = Payload::new(Transfer::Ftp);
    let firmware = payload.firmware();
    let verdict = payload.refused(Transfer::Ftp, &firmware, &["--ftp-password", "wrong"]);
    assert_eq!(verdict["reached"], "enter", "{verdict}");
}

#[test]
fn two_files_in_the_upload_area() {
    let payload = Payload::new(Transfer::Ftp);
    let firmware = payload.firmware();
    // Comes in beside the aircraft's file, after "enter" has emptied the area.
    let aircraft = payload.aircraft(Transfer::Ftp, &firmware, &["--pause", "enter=2s"]).spawn().unwrap();
    payload.sandbox.wait_for_status(|status| status.upgrade.is_some()).unwrap();
    fs::copy(&firmware, payload.sandbox.upload_area().join("PSDK_APPALIAS_V03.00.00.00.bin")).unwrap();
    let verdict = crate::payload::verdict(crate::payload::finish(aircraft));
    assert_eq!(verdict["result"], "failure", "{verdict}");
    let failure = payload.last_report().failure.expect("a failure");
    assert!(failure.to_string().contains(NAME) && failure.to_string().contains("V03.00.00.00"), "{failure}");
    assert_eq!(version(&payload.sandbox.reported_version().unwrap()), version(OLD));
}
