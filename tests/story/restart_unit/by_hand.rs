//! Rolled back by a person, and forced by one.

use std::fs;

use uplift::model::{FailureKind, Outcome, Phase};

use crate::world::payload::{NEW, OLD, Payload};
use crate::world::watched::Watched as _;

const UNIT: &str = "restart = \"unit\"\nrestart_deadline = \"30s\"";

#[test]
fn a_trial_that_a_person_ends() {
    let payload = Payload::with_trial(UNIT, "window = \"30s\"\ndeadline = \"60s\"");
    let client = payload.install();
    let status = payload.wait_for_phase(Phase::Trial);
    assert_eq!(status.components[0].version.unwrap().to_string(), NEW, "what is at the path");
    let (code, said) = payload.uplift(&["rollback", "--yes"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("rolled back by uid "), "{said}");
    assert_eq!(
        client.wait_with_output().unwrap().status.code(),
        Some(1),
        "to who installed, it failed"
    );
    assert_eq!(payload.ending(), (Outcome::RolledBack, Some(FailureKind::Cancelled)));
    assert_eq!(payload.running().as_deref(), Some(OLD));
    payload.fails(FailureKind::KnownBad);
}

#[test]
fn the_program_before_the_last_upgrade_comes_back() {
    let payload = Payload::of_unit(UNIT, "");
    assert_eq!(payload.upgrade().outcome, Outcome::Succeeded);
    let (code, said) = payload.uplift(&["rollback", "--yes"]);
    assert_eq!(code, Some(0), "{said}");
    let report = payload.last_report();
    assert_eq!(
        (report.outcome, report.failure.unwrap().kind),
        (Outcome::RolledBack, FailureKind::Cancelled)
    );
    assert_eq!(report.package.unwrap().version.to_string(), NEW, "what went");
    assert_eq!(report.from.unwrap().to_string(), OLD, "what came back");
    assert_eq!(payload.running().as_deref(), Some(OLD));
    let status = payload.status().unwrap();
    assert_eq!(
        (
            status.components[0].version.unwrap().to_string().as_str(),
            status.components[0].known_bad.len()
        ),
        (OLD, 1)
    );
    let (code, said) = payload.uplift(&["rollback", "--yes"]);
    assert_eq!(code, Some(1), "once");
    assert!(said.contains("there is nothing to go back to") && said.contains("hint: "), "{said}");
}

/// An upgrade that was rolled back is none: what was there before the last success stays until the
/// next one.
#[test]
fn the_program_before_the_last_success_comes_back_after_a_later_upgrade_failed() {
    let mut payload = Payload::of_unit(UNIT, "");
    assert_eq!(payload.upgrade().outcome, Outcome::Succeeded);
    let install = |payload: &Payload, version: &str| {
        let firmware = payload.firmware(version.parse().unwrap(), Some(50_000)).unwrap();
        payload.uplift(&["install", firmware.to_str().unwrap()]);
        payload.last_report().outcome
    };
    payload.systemd_has("fails", "V03.00.00.00\nV04.00.00.00");
    for version in ["V03.00.00.00", "V04.00.00.00"] {
        assert_eq!(install(&payload, version), Outcome::RolledBack);
        let staged = fs::read_dir(payload.stage()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut staged: Vec<_> = staged.collect();
        staged.sort();
        assert_eq!(staged, ["lock", "payload.failed", "payload.previous"]);
    }
    // One more that is never swapped in, and a daemon that starts anew.
    let cut = payload.firmware_of("V05.00.00.00", 50_000);
    fs::OpenOptions::new().write(true).open(&cut).unwrap().set_len(20_000).unwrap();
    assert_eq!(payload.uplift(&["install", cut.to_str().unwrap()]).0, Some(1));
    payload.restart_daemon();
    let (code, said) = payload.uplift(&["rollback", "--yes"]);
    assert_eq!(code, Some(0), "{said}");
    let report = payload.last_report();
    assert_eq!(
        (report.outcome, report.from.unwrap().to_string().as_str()),
        (Outcome::RolledBack, OLD),
        "what came back"
    );
    assert_eq!(payload.running().as_deref(), Some(OLD));
    assert_eq!(payload.status().unwrap().components[0].version.unwrap().to_string(), OLD);
}

#[test]
fn the_daemon_dies_on_the_way_back() {
    let mut payload = Payload::of_unit(UNIT, "");
    assert_eq!(payload.upgrade().outcome, Outcome::Succeeded);
    payload.systemd_has("hang", "restart");
    let mut client = payload.spawn(&["rollback", "--yes"]);
    payload.wait_until_hung(1);
    payload.kill_daemon();
    payload.systemd_has("hang", "");
    payload.start_daemon().unwrap();
    assert!(client.wait().unwrap().success(), "it finds the report in the history");
    assert_eq!(payload.last_report().outcome, Outcome::RolledBack);
    assert_eq!(payload.running().as_deref(), Some(OLD));
}

#[test]
fn nothing_to_go_back_to_is_said() {
    let payload = Payload::of_unit(UNIT, "");
    let refused = |why: &str| {
        let (code, said) = payload.uplift(&["rollback", "--yes"]);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(why), "{said}");
    };
    refused("the program at the path is not one that uplift installed");
    assert_eq!(payload.upgrade().outcome, Outcome::Succeeded);
    let previous = payload.previous();
    let kept = fs::read(&previous).unwrap();
    fs::remove_file(&previous).unwrap();
    refused("the program from before the last upgrade was not kept");
    fs::write(&previous, kept).unwrap();
    fs::remove_file(payload.program()).unwrap();
    payload.install_by_hand("V07.00.00.00".parse().unwrap()).unwrap();
    refused("the program at the path is not one that uplift installed");
    assert_eq!(payload.reported_version().unwrap(), "V07.00.00.00", "and nothing was changed");
}

#[test]
fn while_an_upgrade_restarts_it_can_not_be_rolled_back() {
    let payload = Payload::of_unit(UNIT, "");
    payload.systemd_has("hang", "restart");
    let client = payload.install();
    payload.wait_for_phase(Phase::Restarting);
    let (code, said) = payload.uplift(&["rollback", "--yes"]);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("an upgrade is restarting"), "{said}");
    drop(client);
}

#[test]
fn a_person_can_insist() {
    let payload = Payload::of_unit(UNIT, "");
    payload.systemd_has("fails", NEW);
    payload.fails(FailureKind::Unhealthy);
    payload.fails(FailureKind::KnownBad);
    payload.systemd_has("fails", "");
    let firmware = payload.new_firmware();
    let (code, said) = payload.uplift(&["install", "--force", firmware.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{said}");
    let report = payload.last_report();
    assert!(report.request.forced && report.request.requester.starts_with("uid "), "{report:?}");
    assert!(
        payload.status().unwrap().components[0].known_bad.is_empty(),
        "it works, so it is not bad any more"
    );
    let lower = payload.firmware(OLD.parse().unwrap(), Some(50_000)).unwrap();
    let lower = lower.to_str().unwrap();
    assert_eq!(payload.uplift(&["install", lower]).0, Some(1));
    assert_eq!(payload.last_report().failure.unwrap().kind, FailureKind::Downgrade);
    let (code, said) = payload.uplift(&["install", "--force", lower]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(payload.running().as_deref(), Some(OLD));
}
