//! Sealed files over the link: let in by whose key they are sealed, refused otherwise, and never an
//! old one again.

use std::fs;
use std::path::{Path, PathBuf};

use uplift::digest::program_digest;
use uplift::model::{FailureKind, Outcome};
use uplift_sim::signer::Signer;

use super::{version, with_package};
use crate::world::payload::{OLD, Payload, Transfer};
use crate::world::watched::Watched as _;

/// Completion reasons of docs/wire/payload-link.md section 4.
const FIRMWARE_ERROR: u64 = 3;
const ILLEGAL_DOWNGRADE: u64 = 9;

fn new_signer() -> Signer {
    Signer::new(Path::new(env!("CARGO_BIN_EXE_uplift"))).unwrap()
}

fn payload_that_requires_seals(transfer: Transfer, signer: &Signer) -> Payload {
    with_package(transfer, &format!("seal = \"required\"\n{}", signer.trusted_section()))
}

/// Firmware of this version, and its program's digest.
fn sealed(payload: &Payload, signer: &Signer, text: &str) -> PathBuf {
    let firmware = payload.firmware(text.parse().unwrap(), Some(100_000)).unwrap();
    signer.seal_file(&firmware).unwrap();
    firmware
}

fn is_refused(
    payload: &Payload,
    transfer: Transfer,
    firmware: &Path,
    kind: FailureKind,
    reason: u64,
) {
    let verdict = payload.refused(transfer, firmware, &[]);
    assert_eq!(verdict["reason"].as_u64(), Some(reason), "{kind}: {verdict}");
    assert_eq!(payload.last_report().failure.expect("a failure").kind, kind);
}

#[test]
fn only_a_file_that_a_trusted_key_sealed_is_installed() {
    let signer = new_signer();
    for transfer in Transfer::BOTH {
        let mut payload = payload_that_requires_seals(transfer, &signer);
        let unsealed = payload.new_firmware();
        let program = program_digest(fs::File::open(&unsealed).unwrap()).unwrap();
        is_refused(&payload, transfer, &unsealed, FailureKind::SealMissing, FIRMWARE_ERROR);
        new_signer().seal_file(&unsealed).unwrap();
        is_refused(&payload, transfer, &unsealed, FailureKind::SealInvalid, FIRMWARE_ERROR);

        let firmware = payload.new_firmware();
        signer.seal_file(&firmware).unwrap();
        payload.is_upgraded_by(transfer, &firmware);
        let report = payload.last_report();
        let package = report.package.expect("a package");
        assert_eq!(
            (report.outcome, package.program_digest),
            (Outcome::Succeeded, program),
            "the identity is without the seal"
        );
        assert_ne!(package.file_digest.0, program.0);
        assert_eq!(payload.status().unwrap().components[0].digest, Some(program));
        assert_eq!(
            fs::read(payload.program()).unwrap(),
            fs::read(&firmware).unwrap(),
            "installed as it is, with its seal"
        );
    }
}

/// Stored by a neighbour under a name of its own, between the host's upload and its word.
#[test]
fn a_neighbour_s_file_beside_a_sealed_one_changes_nothing() {
    let signer = new_signer();
    // Where unsealed files are let in, and where they are not.
    for rule in ["", "seal = \"optional\""] {
        let mut payload =
            with_package(Transfer::Ftp, &format!("{rule}\n{}", signer.trusted_section()));
        let neighbour = payload.firmware_of("V03.00.00.00", 200_000);
        let firmware = payload.new_firmware();
        signer.seal_file(&firmware).unwrap();
        let aircraft = payload.aircraft(Transfer::Ftp, &firmware, &["--pause", "enter=2s"]);
        payload.wait_for_status(|status| status.upgrade.is_some()).unwrap();
        fs::copy(&neighbour, payload.upload_area().join("PSDK_APPALIAS_V03.00.00.00.bin")).unwrap();
        payload.restart_when_asked();
        let verdict = aircraft.verdict();
        assert_eq!(verdict["result"], "success", "{rule}: {verdict}");
        assert_eq!(fs::read(payload.program()).unwrap(), fs::read(&firmware).unwrap());
    }
}

/// The program is put back by hand; the journal knows better.
#[test]
fn an_old_sealed_file_does_not_come_back() {
    let signer = new_signer();
    let transfer = Transfer::Dcftp;
    let mut payload = payload_that_requires_seals(transfer, &signer);
    let firmware = sealed(&payload, &signer, "V02.00.00.00");
    payload.is_upgraded_by(transfer, &firmware);
    payload.power_off();
    fs::remove_file(payload.program()).unwrap();
    payload.install_by_hand(OLD.parse().unwrap()).unwrap();
    payload.start_daemon().unwrap();
    let status = payload.status().unwrap();
    assert_eq!(
        (status.components[0].version, status.components[0].minimum_version),
        (Some(version(OLD)), Some(version("V02.00.00.00")))
    );
    let between = sealed(&payload, &signer, "V01.50.00.00");
    is_refused(&payload, transfer, &between, FailureKind::Downgrade, ILLEGAL_DOWNGRADE);
    // For a repair a person lets it in; who that was is written down.
    let forget = || {
        let output = payload.command(&["forget", "--minimum-version", "--json"]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()["minimum_version"]
            .clone()
    };
    assert_eq!((forget(), forget()), ("V02.00.00.00".into(), serde_json::Value::Null));
    assert!(
        payload
            .logs()
            .contains("the lowest version of program, V02.00.00.00, was forgotten by uid ")
    );
    payload.is_upgraded_by(transfer, &between);
    assert_eq!(
        payload.status().unwrap().components[0].minimum_version,
        Some(version("V01.50.00.00"))
    );
    let again = sealed(&payload, &signer, "V02.00.00.00");
    payload.is_upgraded_by(transfer, &again);
}
