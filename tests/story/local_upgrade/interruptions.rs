//! Upgrades that are broken off: by the host, by the daemon's death, by the disk.

use std::fs;

use uplift::model::{FailureKind, LinkState, Outcome, Phase};

use super::setup;
use crate::world::payload::{NEW, OLD, Payload, Transfer};
use crate::world::watched::Watched as _;

#[test]
fn a_host_that_falls_silent_at_any_stage_can_come_back() {
    for transfer in Transfer::BOTH {
        for stage in ["probe", "version", "enter", "transfer", "finish"] {
            let mut payload = setup(transfer).start();
            let firmware = payload.new_firmware();
            let first = payload.aircraft(transfer, &firmware, &["--abort-at", stage]).verdict();
            assert_eq!(first["result"], "aborted", "{first}");
            assert_eq!(payload.reported_version().unwrap(), OLD);
            let second = payload.upgrade_by(transfer, &firmware, &[]);
            assert_eq!(second["result"], "success", "{transfer:?}, silent at {stage}: {second}");
        }
    }
}

#[test]
fn a_host_that_falls_silent_after_the_start_misses_nothing() {
    for stage in ["check", "upgrade", "reboot"] {
        let mut payload = setup(Transfer::Dcftp).start();
        let firmware = payload.new_firmware();
        let aircraft = payload.aircraft(Transfer::Dcftp, &firmware, &["--abort-at", stage]);
        payload.wait_for_restart_request().unwrap();
        let aborted = aircraft.verdict();
        assert_eq!(aborted["result"], "aborted", "silent at {stage}: {aborted}");
        payload.reboot();
        payload.wait_until_settled().unwrap();
        assert_eq!(payload.last_report().outcome, Outcome::Succeeded, "silent at {stage}");
        assert_eq!(
            payload.status().unwrap().unacknowledged.len(),
            1,
            "silent at {stage}: the report waits"
        );
        assert_eq!(payload.reported_version().unwrap(), NEW);
    }
}

#[test]
fn the_daemon_dies_while_a_file_is_received() {
    for transfer in Transfer::BOTH {
        let mut payload = setup(transfer).start();
        let firmware = payload.new_firmware();
        let aircraft = payload.aircraft(transfer, &firmware, &["--pause", "transfer=60s"]);
        payload.wait_for_phase(Phase::Receiving);
        payload.kill_daemon();
        drop(aircraft);
        payload.start_daemon().unwrap();
        payload.restart_daemon();
        assert_eq!(payload.status().unwrap().phase, Phase::Idle);
        let leftovers: Vec<_> = fs::read_dir(payload.stage())
            .map(|names| names.flatten().collect())
            .unwrap_or_default();
        assert!(
            leftovers.iter().all(|name| name.file_name() == "lock"),
            "{transfer:?}: {leftovers:?}"
        );
        payload.is_upgraded_by(transfer, &firmware);
    }
}

#[test]
fn the_daemon_dies_while_it_checks() {
    // A program that is asked for its version and does not answer keeps the check going for five
    // seconds.
    let mut payload =
        setup(Transfer::Dcftp).version("version_command = []\npreflight_deadline = \"5s\"").start();
    let firmware = payload.new_firmware();
    let aircraft = payload.aircraft(Transfer::Dcftp, &firmware, &[]);
    payload.wait_for_phase(Phase::Checking);
    payload.restart_daemon();
    payload.restart_daemon();
    let verdict = aircraft.verdict();
    assert_eq!(verdict["result"], "failure", "the aircraft hears the truth: {verdict}");
    assert_eq!(payload.last_report().failure.unwrap().kind, FailureKind::Interrupted);
}

/// Found by a story whose aircraft was answered by another story's daemon, in a line that had the number of the one that was lost
/// there.
#[test]
fn a_killed_aircraft_leaves_no_link_to_its_line() {
    let payload = setup(Transfer::Dcftp).start();
    let aircraft = payload.plug_aircraft();
    payload.wait_for_status(|status| status.link.state == LinkState::Linked).unwrap();
    drop(aircraft);
    assert!(fs::read_link(payload.root().join("run/ttyPayload")).is_err());
}

#[test]
fn the_daemon_dies_after_the_swap_and_before_the_restart() {
    let mut payload = setup(Transfer::Ftp).start();
    let firmware = payload.new_firmware();
    let aircraft = payload.aircraft(Transfer::Ftp, &firmware, &[]);
    payload.wait_for_restart_request().unwrap();
    payload.restart_daemon();
    payload.restart_daemon();
    assert_eq!(
        payload.status().unwrap().phase,
        Phase::Restarting,
        "nothing is called done before the restart"
    );
    payload.reboot();
    let verdict = aircraft.verdict();
    assert_eq!(verdict["result"], "success", "{verdict}");
}

#[test]
fn the_restart_never_comes() {
    let payload =
        setup(Transfer::Dcftp).program("restart = [\"true\"]\nrestart_deadline = \"2s\"").start();
    let firmware = payload.new_firmware();
    let verdict = payload.refused(Transfer::Dcftp, &firmware, &[]);
    assert_eq!(verdict["reason"], 2, "{verdict}");
    let report = payload.last_report();
    let failure = report.failure.unwrap();
    assert_eq!((report.outcome, failure.kind), (Outcome::RolledBack, FailureKind::RestartFailed));
    // The command may have started the new program and left no evidence: the old one must be
    // restarted, or the report says why not.
    assert!(
        failure.to_string().contains("the old program is at its path, but was not restarted"),
        "{failure}"
    );
}

#[test]
fn the_new_program_is_replaced_by_hand_during_the_restart() {
    let mut payload = setup(Transfer::Dcftp).start();
    let firmware = payload.new_firmware();
    let aircraft = payload.aircraft(Transfer::Dcftp, &firmware, &[]);
    payload.wait_for_restart_request().unwrap();
    payload.power_off();
    fs::remove_file(payload.program()).unwrap();
    payload.install_by_hand("V07.00.00.00".parse().unwrap()).unwrap();
    payload.reboot();
    let verdict = aircraft.verdict();
    assert_eq!(verdict["result"], "failure", "{verdict}");
    assert_eq!(payload.last_report().failure.unwrap().kind, FailureKind::InstallFailed);
}

#[test]
fn a_damaged_state_file_is_set_aside_and_stops_nothing() {
    let mut payload = setup(Transfer::Dcftp).stopped();
    fs::write(payload.state().join("state.json"), "{\"format\": 1, \"upgr").unwrap();
    payload.start_daemon().unwrap();
    let status = payload.status().unwrap();
    assert!(
        status
            .notices
            .iter()
            .any(|notice| notice.contains("state.json") && notice.contains("set aside")),
        "{:?}",
        status.notices
    );
    assert!(payload.state().join("state.json.damaged").exists());
    let firmware = payload.new_firmware();
    payload.is_upgraded_by(Transfer::Dcftp, &firmware);
}

/// Runs the daemon in a mount namespace of its own, prepared by a command.
fn in_namespace(payload: &mut Payload, prepare: &str) {
    assert!(nix::unistd::geteuid().is_root(), "this test mounts file systems: run it as root");
    let script = format!("{prepare} && exec \"$@\"");
    payload.wrap_daemon(&[
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-e",
        "-c",
        &script,
        "sh",
    ]);
}

#[test]
fn a_full_disk() {
    for transfer in Transfer::BOTH {
        let mut payload = setup(Transfer::Dcftp).stopped();
        let bin = payload.root().join("bin").display().to_string();
        // The new program does not fit beside the old one.
        let prepare = format!(
            "cp -a {bin} {bin}.old; mount -t tmpfs -o size=256k tmpfs {bin}; cp -a {bin}.old/payload {bin}/"
        );
        in_namespace(&mut payload, &prepare);
        if transfer == Transfer::Ftp {
            payload.start_ftp_server().unwrap();
        }
        payload.start_daemon().unwrap();
        let firmware = payload.new_firmware();
        payload.refused(transfer, &firmware, &[]);
        assert_eq!(payload.last_report().failure.unwrap().kind, FailureKind::NoSpace);
    }
}

#[test]
fn a_program_directory_that_is_read_only() {
    let mut payload = setup(Transfer::Dcftp).stopped();
    let bin = payload.root().join("bin").display().to_string();
    in_namespace(
        &mut payload,
        &format!("mount --bind {bin} {bin}; mount -o remount,ro,bind {bin}"),
    );
    payload.start_daemon().unwrap();
    let firmware = payload.new_firmware();
    payload.refused(Transfer::Dcftp, &firmware, &[]);
    let failure = payload.last_report().failure.unwrap();
    assert_eq!(failure.kind, FailureKind::InstallFailed);
    assert!(failure.to_string().contains("Read-only file system"), "{failure}");
}
