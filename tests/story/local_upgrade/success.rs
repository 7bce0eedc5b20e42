//! Upgrades that succeed, on good and on bad lines.

use std::net::SocketAddr;
use std::path::Path;

use uplift::model::{ChannelName, FailureKind, Outcome, Phase, TransferKind};

use super::{setup, version};
use crate::world::payload::{NEW, OLD, Payload, Transfer};
use crate::world::servers::stock;
use crate::world::servers::vsftpd::Vsftpd;
use crate::world::watched::Watched as _;

fn succeeds(transfer: Transfer, arguments: &[&str]) -> (Payload, serde_json::Value) {
    let mut payload = setup(transfer).start();
    let firmware = payload.new_firmware();
    let verdict = payload.upgrade_by(transfer, &firmware, arguments);
    assert_eq!(verdict["result"], "success", "{verdict}");
    assert_eq!(
        (verdict["version_before"].as_str(), verdict["version_after"].as_str()),
        (Some(OLD), Some(NEW))
    );
    assert_eq!(payload.reported_version().unwrap(), NEW);
    (payload, verdict)
}

#[test]
fn over_ftp() {
    let (payload, _) = succeeds(Transfer::Ftp, &[]);
    let report = payload.last_report();
    assert_eq!(
        (report.outcome, report.request.channel, report.request.transfer),
        (Outcome::Succeeded, ChannelName::PSDK, TransferKind::Ftp)
    );
    assert_eq!((report.from, report.package.unwrap().version), (Some(version(OLD)), version(NEW)));
    let status = payload.status().unwrap();
    assert_eq!(
        (status.phase, status.unacknowledged.len()),
        (Phase::Idle, 0),
        "the aircraft acknowledged"
    );
    let left: Vec<_> = std::fs::read_dir(payload.upload_area()).unwrap().collect();
    assert!(left.is_empty(), "the upload area is emptied: {left:?}");
}

#[test]
fn over_dcftp() {
    let (payload, _) = succeeds(Transfer::Dcftp, &[]);
    assert_eq!(payload.last_report().request.transfer, TransferKind::Dcftp);
}

#[test]
fn dcftp_is_offered_when_the_ftp_server_does_not_answer() {
    let mut payload = setup(Transfer::Dcftp).start();
    let firmware = payload.new_firmware();
    let verdict = payload.upgrade_by(Transfer::Any, &firmware, &[]);
    assert_eq!(
        (verdict["result"].as_str(), verdict["transfer"].as_str()),
        (Some("success"), Some("dcftp")),
        "{verdict}"
    );
}

#[test]
fn over_ftp_with_the_newer_account_name() {
    succeeds(Transfer::Ftp, &["--ftp-user", "dji_payload_ftp"]);
}

/// By another FTP server, whose upload area is `home`.
fn succeeds_over(server: SocketAddr, home: &Path) {
    let mut payload = Payload::setup().link("921600", Some(server)).start();
    let firmware = payload.new_firmware();
    payload.is_upgraded_by(Transfer::Ftp, &firmware);
    assert_eq!(payload.reported_version().unwrap(), NEW);
    assert_eq!(std::fs::read_dir(home).unwrap().count(), 0, "the upload area is emptied");
}

#[test]
fn over_vsftpd_as_in_the_vendors_tutorial() {
    let server = Vsftpd::start();
    succeeds_over(server.address(), &server.home());
}

#[test]
fn over_proftpd_with_its_defaults() {
    let server = stock::proftpd();
    succeeds_over(server.address, &server.home());
}

#[test]
fn over_pure_ftpd_with_its_defaults() {
    for server in [stock::pure_ftpd(), stock::pure_ftpd_with_virtual_users()] {
        succeeds_over(server.address, &server.home());
    }
}

#[test]
fn a_broken_upload_to_vsftpd_is_refused_and_the_next_one_works() {
    let server = Vsftpd::start();
    let mut payload = Payload::setup().link("921600", Some(server.address())).start();
    let firmware = payload.new_firmware();
    // An upload whose data connection is closed early is told `226`, and lies there under its final
    // name.
    let whole = std::fs::read(&firmware).unwrap();
    std::fs::write(&firmware, &whole[..200_000]).unwrap();
    let verdict = payload.refused(Transfer::Ftp, &firmware, &[]);
    assert_eq!(payload.last_report().failure.unwrap().kind, FailureKind::Truncated, "{verdict}");
    std::fs::write(&firmware, &whole).unwrap();
    payload.is_upgraded_by(Transfer::Ftp, &firmware);
}

#[test]
fn from_the_other_address_that_requesters_use() {
    let (payload, _) = succeeds(Transfer::Dcftp, &["--address", "ED"]);
    assert_eq!(payload.last_report().request.requester, "0xed");
}

/// The payload's address is that of the port; an aircraft that learned it from the presence speaks
/// to it, whichever it is.
#[test]
fn from_each_kind_of_port() {
    let mut payload = setup(Transfer::Dcftp).start();
    let mut number = 1;
    for (aircraft, device) in
        [("m350", "13"), ("m350-eport", "CA"), ("m30", "73"), ("m4", "73"), ("flycart30", "EA")]
    {
        number += 1;
        let firmware = payload.firmware_of(&format!("V0{number}.00.00.00"), 20_000);
        let verdict = payload.upgrade_by(Transfer::Dcftp, &firmware, &["--aircraft", aircraft]);
        assert_eq!(verdict["result"], "success", "{aircraft}: {verdict}");
        assert_eq!(
            (verdict["aircraft"].as_str(), verdict["device"].as_str()),
            (Some(aircraft), Some(device)),
            "{verdict}"
        );
    }
}

#[test]
fn from_an_impatient_host() {
    for transfer in Transfer::BOTH {
        succeeds(transfer, &["--impatient"]);
    }
}

#[test]
fn pushes_come_in_time_while_a_file_is_received() {
    let (_, verdict) = succeeds(Transfer::Dcftp, &["--pause", "transfer=3s"]);
    let presence = verdict["pushes"]["presence"].as_u64().unwrap();
    assert!(presence >= 3, "one presence push a second while the host pauses for three: {verdict}");
}

#[test]
fn a_host_that_comes_late_still_hears_how_the_upgrade_ended() {
    let mut payload = setup(Transfer::Dcftp).start();
    let firmware = payload.new_firmware();
    let first = payload.upgrade_by(Transfer::Dcftp, &firmware, &["--abort-at", "end"]);
    assert_eq!(first["result"], "aborted", "{first}");
    assert_eq!(payload.status().unwrap().phase, Phase::Concluded);
    payload.reboot();
    assert_eq!(
        payload.status().unwrap().unacknowledged.len(),
        1,
        "the report waits for its receiver over another restart"
    );
    // The next upgrade's "enter" counts as the acknowledgement.
    let newer = payload.firmware("V03.00.00.00".parse().unwrap(), None).unwrap();
    let second = payload.upgrade_by(Transfer::Dcftp, &newer, &[]);
    assert_eq!(second["result"], "success", "{second}");
    assert_eq!(payload.history().len(), 2);
}

#[test]
fn one_upgrade_after_the_other() {
    let mut payload = setup(Transfer::Ftp).start();
    for number in 2..6 {
        let firmware = payload.firmware_of(&format!("V0{number}.00.00.00"), 10_000);
        payload.is_upgraded_by(Transfer::Ftp, &firmware);
    }
    assert_eq!(payload.reported_version().unwrap(), "V05.00.00.00");
}

#[test]
fn a_first_installation() {
    let mut payload = setup(Transfer::Dcftp).without_program().start();
    let firmware = payload.new_firmware();
    let verdict = payload.upgrade_by(Transfer::Dcftp, &firmware, &[]);
    assert_eq!(
        (verdict["result"].as_str(), verdict["version_before"].as_str()),
        (Some("success"), Some("V00.00.00.00")),
        "{verdict}"
    );
}

#[test]
fn a_shell_and_an_aircraft_at_once() {
    let payload = setup(Transfer::Dcftp).start();
    let firmware = payload.new_firmware();
    let aircraft = payload.aircraft(Transfer::Dcftp, &firmware, &["--pause", "transfer=60s"]);
    payload.wait_for_phase(Phase::Receiving);
    let output = payload.command(&["install", firmware.to_str().unwrap()]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains("another upgrade is receiving (psdk, 0x2a)"), "{text}");
    drop(aircraft);
}

#[test]
fn an_aircraft_that_asks_while_the_shell_upgrades_is_refused() {
    let payload = setup(Transfer::Dcftp).program("restart = [\"sleep\", \"60\"]").start();
    let firmware = payload.new_firmware();
    let shell = payload.install_file(&firmware);
    payload.wait_for_phase(Phase::Restarting);
    let verdict = payload.aircraft(Transfer::Dcftp, &firmware, &[]).verdict();
    assert_eq!(
        (verdict["result"].as_str(), verdict["reached"].as_str()),
        (Some("failure"), Some("enter")),
        "{verdict}"
    );
    drop(shell);
}
