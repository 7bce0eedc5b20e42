//! Upgrades that are broken off: by the host, by the daemon's death, by the disk.

use std::fs;

use uplift::model::{FailureKind, Outcome, Phase};

use super::payload::{NEW, OLD, Payload, Transfer, finish, verdict};
use crate::world::watched::Watched as _;

impl Payload {
    /// The daemon dies on taking over.
    fn dies_again(&mut self) {
        self.sandbox.kill_daemon();
        self.sandbox.start_daemon().unwrap();
    }
}

#[test]
fn a_host_that_falls_silent_at_any_stage_can_come_back() {
    for transfer in Transfer::BOTH {
        for stage in ["probe", "version", "enter", "transfer", "finish"] {
            let mut payload = Payload::new(transfer);
            let firmware = payload.firmware();
            let first = verdict(&finish(
                payload.aircraft(transfer, &firmware, &["--abort-at", stage]).spawn().unwrap(),
            ));
            assert_eq!(first["result"], "aborted", "{first}");
            assert_eq!(payload.sandbox.reported_version().unwrap(), OLD);
            let second = payload.upgrade(transfer, &firmware, &[]);
            assert_eq!(
                second["result"],
                "success",
                "{transfer:?}, silent at {stage}: {second}\n{}",
                payload.log()
            );
        }
    }
}

#[test]
fn a_host_that_falls_silent_after_the_start_misses_nothing() {
    for stage in ["check", "upgrade", "reboot"] {
        let mut payload = Payload::new(Transfer::Dcftp);
        let firmware = payload.firmware();
        let aircraft =
            payload.aircraft(Transfer::Dcftp, &firmware, &["--abort-at", stage]).spawn().unwrap();
        payload.sandbox.wait_for_restart_request().unwrap();
        let aborted = verdict(&finish(aircraft));
        assert_eq!(aborted["result"], "aborted", "silent at {stage}: {aborted}");
        payload.sandbox.reboot().unwrap();
        payload.sandbox.wait_until_settled().unwrap();
        assert_eq!(payload.last_report().outcome, Outcome::Succeeded, "silent at {stage}");
        assert_eq!(payload.status().unacknowledged.len(), 1, "silent at {stage}: the report waits");
        assert_eq!(payload.sandbox.reported_version().unwrap(), NEW);
    }
}

#[test]
fn the_daemon_dies_while_a_file_is_received() {
    for transfer in Transfer::BOTH {
        let mut payload = Payload::new(transfer);
        let firmware = payload.firmware();
        let mut aircraft =
            payload.aircraft(transfer, &firmware, &["--pause", "transfer=60s"]).spawn().unwrap();
        let wanted = if transfer == Transfer::Ftp { Phase::Preparing } else { Phase::Receiving };
        payload.sandbox.wait_for_status(|status| status.phase == wanted).unwrap();
        payload.sandbox.kill_daemon();
        aircraft.kill().unwrap();
        aircraft.wait().unwrap();
        payload.sandbox.start_daemon().unwrap();
        payload.dies_again();
        assert_eq!(payload.status().phase, Phase::Idle);
        let leftovers: Vec<_> = fs::read_dir(payload.sandbox.root().join("bin/.uplift"))
            .map(|names| names.flatten().collect())
            .unwrap_or_default();
        assert!(
            leftovers.iter().all(|name| name.file_name() == "lock"),
            "{transfer:?}: {leftovers:?}"
        );
        let verdict = payload.upgrade(transfer, &firmware, &[]);
        assert_eq!(verdict["result"], "success", "{transfer:?}: {verdict}\n{}", payload.log());
    }
}

#[test]
fn the_daemon_dies_while_it_checks() {
    // A program that is asked for its version and does not answer keeps the check going for five
    // seconds.
    let mut payload = Payload::new(Transfer::Dcftp);
    let config = fs::read_to_string(payload.sandbox.config()).unwrap();
    fs::write(
        payload.sandbox.config(),
        config.replace(
            "version_command = [\"--version\"]",
            "version_command = []\npreflight_deadline = \"5s\"",
        ),
    )
    .unwrap();
    payload.sandbox.reboot().unwrap();
    let firmware = payload.firmware();
    let aircraft = payload.aircraft(Transfer::Dcftp, &firmware, &[]).spawn().unwrap();
    payload.sandbox.wait_for_status(|status| status.phase == Phase::Checking).unwrap();
    payload.sandbox.kill_daemon();
    payload.sandbox.start_daemon().unwrap();
    payload.dies_again();
    let verdict = verdict(&finish(aircraft));
    assert_eq!(
        verdict["result"],
        "failure",
        "the aircraft hears the truth: {verdict}\n{}",
        payload.log()
    );
    assert_eq!(payload.last_report().failure.unwrap().kind, FailureKind::Interrupted);
}

#[test]
fn the_daemon_dies_after_the_swap_and_before_the_restart() {
    let mut payload = Payload::new(Transfer::Ftp);
    let firmware = payload.firmware();
    let aircraft = payload.aircraft(Transfer::Ftp, &firmware, &[]).spawn().unwrap();
    payload.sandbox.wait_for_restart_request().unwrap();
    payload.sandbox.kill_daemon();
    payload.sandbox.start_daemon().unwrap();
    payload.dies_again();
    assert_eq!(
        payload.status().phase,
        Phase::Restarting,
        "nothing is called done before the restart"
    );
    payload.sandbox.reboot().unwrap();
    let verdict = verdict(&finish(aircraft));
    assert_eq!(verdict["result"], "success", "{verdict}\n{}", payload.log());
}

#[test]
fn the_restart_never_comes() {
    let payload =
        Payload::configured(Transfer::Dcftp, "restart = [\"true\"]\nrestart_deadline = \"2s\"", "");
    let firmware = payload.firmware();
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
    let mut payload = Payload::new(Transfer::Dcftp);
    let firmware = payload.firmware();
    let aircraft = payload.aircraft(Transfer::Dcftp, &firmware, &[]).spawn().unwrap();
    payload.sandbox.wait_for_restart_request().unwrap();
    payload.sandbox.power_off();
    fs::remove_file(payload.sandbox.program()).unwrap();
    payload.sandbox.install_by_hand("V07.00.00.00".parse().unwrap()).unwrap();
    payload.sandbox.reboot().unwrap();
    let verdict = verdict(&finish(aircraft));
    assert_eq!(verdict["result"], "failure", "{verdict}");
    assert_eq!(payload.last_report().failure.unwrap().kind, FailureKind::InstallFailed);
}

#[test]
fn a_damaged_state_file_is_set_aside_and_stops_nothing() {
    let mut payload = Payload::stopped("", "");
    fs::write(payload.sandbox.state().join("state.json"), "{\"format\": 1, \"upgr").unwrap();
    payload.sandbox.start_daemon().unwrap();
    let status = payload.status();
    assert!(
        status
            .notices
            .iter()
            .any(|notice| notice.contains("state.json") && notice.contains("set aside")),
        "{:?}",
        status.notices
    );
    assert!(payload.sandbox.state().join("state.json.damaged").exists());
    let firmware = payload.firmware();
    let verdict = payload.upgrade(Transfer::Dcftp, &firmware, &[]);
    assert_eq!(verdict["result"], "success", "{verdict}");
}

/// Runs the daemon in a mount namespace of its own, prepared by a command.
fn in_namespace(payload: &mut Payload, prepare: &str) {
    assert!(nix::unistd::geteuid().is_root(), "this test mounts file systems: run it as root");
    let script = format!("{prepare} && exec \"$@\"");
    payload.sandbox.wrap_daemon(&[
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
        let mut payload = Payload::stopped("", "");
        let bin = payload.sandbox.root().join("bin").display().to_string();
        // The new program does not fit beside the old one.
        let prepare = format!(
            "cp -a {bin} {bin}.old; mount -t tmpfs -o size=256k tmpfs {bin}; cp -a {bin}.old/payload {bin}/"
        );
        in_namespace(&mut payload, &prepare);
        if transfer == Transfer::Ftp {
            payload.sandbox.start_ftp_server().unwrap();
        }
        payload.sandbox.start_daemon().unwrap();
        let firmware = payload.firmware();
        payload.refused(transfer, &firmware, &[]);
        assert_eq!(payload.last_report().failure.unwrap().kind, FailureKind::NoSpace);
    }
}

#[test]
fn a_program_directory_that_is_read_only() {
    let mut payload = Payload::stopped("", "");
    let bin = payload.sandbox.root().join("bin").display().to_string();
    in_namespace(
        &mut payload,
        &format!("mount --bind {bin} {bin}; mount -o remount,ro,bind {bin}"),
    );
    payload.sandbox.start_daemon().unwrap();
    let firmware = payload.firmware();
    payload.refused(Transfer::Dcftp, &firmware, &[]);
    let failure = payload.last_report().failure.unwrap();
    assert_eq!(failure.kind, FailureKind::InstallFailed);
    assert!(failure.to_string().contains("Read-only file system"), "{failure}");
}
