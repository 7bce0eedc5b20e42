//! What a trial sees, and what it takes for enough.

use std::fs;

use uplift::model::{FailureKind, Outcome, Phase, TrialWait};

use crate::world::payload::{NEW, OLD, Payload};
use crate::world::watched::Watched as _;

const UNIT: &str = "restart = \"unit\"\nrestart_deadline = \"30s\"";
const REBOOT: &str = "restart = \"reboot\"\nrestart_deadline = \"60s\"";

/// A health command that succeeds once the file `healthy` is in the sandbox.
fn with_health_command(trial: &str) -> Payload {
    Payload::with_trial(
        UNIT,
        &format!("{trial}\nhealth_command = [\"test\", \"-e\", \"ROOT/healthy\"]"),
    )
}

fn becomes_healthy(payload: &Payload) {
    fs::write(payload.root().join("healthy"), "").unwrap();
}

#[test]
fn a_unit_that_is_stable_for_the_window() {
    let payload = Payload::with_trial(UNIT, "window = \"6s\"\ndeadline = \"60s\"");
    let client = payload.install();
    payload.wait_for_trial(|wait| matches!(wait, TrialWait::Window { stable: 1.., window: 6 }));
    let (_, status) = payload.uplift(&["status"]);
    assert!(status.contains(" s of 6 s stable") || status.contains("idle"), "{status}");
    assert!(client.wait_with_output().unwrap().status.success());
    assert_eq!(payload.last_report().evidence.unwrap().restarts, 0);
}

#[test]
fn restarts_begin_the_window_anew_and_are_counted() {
    let payload = Payload::with_trial(UNIT, "window = \"1s\"\ndeadline = \"60s\"");
    payload.systemd_has("crashes", &format!("{NEW} 3"));
    let output = payload.install().wait_with_output().unwrap();
    let report = payload.last_report();
    assert_eq!(report.outcome, Outcome::Succeeded, "{report:?}");
    // The first crash comes before the trial's first look, while the restart is awaited.
    let restarts = report.evidence.unwrap().restarts;
    assert!((1..=3).contains(&restarts), "{restarts}");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        said.starts_with("V02.00.00.00 runs now.\n")
            && said.contains("after ")
            && said.contains("restart"),
        "{said}"
    );
}

#[test]
fn a_crash_loop_is_rolled_back_and_its_last_words_are_kept() {
    let payload = Payload::with_trial(UNIT, "window = \"1s\"\ndeadline = \"3s\"");
    payload.systemd_has("crashes", &format!("{NEW} 100000"));
    let log: String =
        (1..=60).map(|n| format!("line {n}\n")).chain(["\x1b[31mpanicked\n".to_owned()]).collect();
    payload.systemd_has("log", log.trim_end());
    let (report, failure) = payload.fails(FailureKind::Unhealthy);
    assert!(failure.sentence.contains(" restarts") && failure.sentence.contains("3s"), "{failure}");
    assert_eq!(report.outcome, Outcome::RolledBack);
    assert_eq!(payload.running().as_deref(), Some(OLD), "the old program runs again");
    assert_eq!(report.program_log.len(), 50);
    assert_eq!(report.program_log.last().unwrap(), "\\u{1b}[31mpanicked");
    let (_, history) = payload.uplift(&["history"]);
    assert!(
        history.contains("    | line 60\n") && history.contains("\\u{1b}[31mpanicked"),
        "{history}"
    );
    payload.fails(FailureKind::KnownBad);
}

/// What the versions before had to say is no explanation.
#[test]
fn last_words_are_of_the_failed_programs_own_starts() {
    let payload = Payload::with_trial(UNIT, "window = \"1s\"\ndeadline = \"10m\"");
    payload.systemd_has("fails", NEW);
    payload.systemd_has(
        "log",
        "@start-0 of a version before\n@start-1 works\n@start-1 stopped\n@start-2 started\nfailed",
    );
    let (report, _) = payload.fails(FailureKind::Unhealthy);
    assert_eq!(report.program_log, ["started", "failed"]);
}

/// A program that does not end when it is told to is killed by systemd after its unit's time, and
/// the restart comes only then.
#[test]
fn a_restart_has_the_time_that_its_unit_may_take() {
    for (program, deadline) in
        [("restart = \"unit\"", 101_500), ("restart = \"unit\"\nrestart_deadline = \"7s\"", 7_000)]
    {
        let payload = Payload::with_trial(program, "window = \"10s\"\ndeadline = \"10m\"");
        payload.systemd_has("properties", "TimeoutStopUSec=1min 30s\nTimeoutStartUSec=1.500s");
        let client = payload.install();
        payload.wait_for_trial(|wait| matches!(wait, TrialWait::Window { .. }));
        let state: serde_json::Value =
            serde_json::from_slice(&fs::read(payload.state().join("state.json")).unwrap()).unwrap();
        assert_eq!(state["upgrade"]["swap"]["terms"]["restart_deadline"], deadline, "{program}");
        drop(client);
    }
}

#[test]
fn a_unit_that_systemd_gave_up_is_a_verdict_at_once() {
    let payload = Payload::with_trial(UNIT, "window = \"1s\"\ndeadline = \"10m\"");
    payload.systemd_has("fails", NEW);
    let (report, failure) = payload.fails(FailureKind::Unhealthy);
    assert_eq!(report.outcome, Outcome::RolledBack);
    assert_eq!(failure.sentence, "payload.service has failed");
}

/// systemd refuses to start such a unit for a while, be the program at its path another one by
/// then.
#[test]
fn the_old_program_runs_again_after_one_that_crashed_up_to_the_start_limit() {
    let payload = Payload::with_trial(UNIT, "window = \"1s\"\ndeadline = \"10m\"");
    payload.systemd_has("limits", NEW);
    let (report, failure) = payload.fails(FailureKind::Unhealthy);
    assert_eq!(report.outcome, Outcome::RolledBack);
    assert_eq!(failure.causes, [""; 0], "the old program was restarted");
    assert_eq!(payload.running().as_deref(), Some(OLD));
}

#[test]
fn a_health_command_that_succeeds_in_the_end() {
    let payload = with_health_command("window = \"100ms\"\ndeadline = \"60s\"");
    let client = payload.install();
    payload.wait_for_trial(|wait| matches!(wait, TrialWait::HealthCommand { why: Some(why) } if why.contains("exit code 1")));
    becomes_healthy(&payload);
    assert!(client.wait_with_output().unwrap().status.success());
    assert_eq!(payload.last_report().evidence.unwrap().health_command.unwrap()[0], "test");
}

#[test]
fn a_health_command_that_never_succeeds() {
    let payload = with_health_command("window = \"100ms\"\ndeadline = \"3s\"");
    let (report, failure) = payload.fails(FailureKind::Unhealthy);
    assert_eq!(failure.sentence, "the health command did not succeed within 3s");
    assert_eq!(report.outcome, Outcome::RolledBack);
    assert_eq!(payload.running().as_deref(), Some(OLD));
}

#[test]
fn a_trial_that_a_person_confirms() {
    let payload =
        Payload::with_trial(UNIT, "window = \"100ms\"\ndeadline = \"60s\"\nconfirm = \"explicit\"");
    let client = payload.install();
    payload.wait_for_trial(|wait| matches!(wait, TrialWait::Confirmation {}));
    let (_, status) = payload.uplift(&["status"]);
    assert!(status.contains("waits for `uplift confirm`"), "{status}");
    assert_eq!(payload.uplift(&["confirm"]).0, Some(0));
    assert!(client.wait_with_output().unwrap().status.success());
    let uid = nix::unistd::getuid();
    assert_eq!(payload.last_report().evidence.unwrap().confirmed_by, Some(format!("uid {uid}")));
}

#[test]
fn nobody_confirms() {
    let payload =
        Payload::with_trial(UNIT, "window = \"100ms\"\ndeadline = \"2s\"\nconfirm = \"explicit\"");
    let (report, failure) = payload.fails(FailureKind::Unhealthy);
    assert_eq!(report.outcome, Outcome::RolledBack);
    assert!(failure.sentence.contains("nobody confirmed"), "{failure}");
}

#[test]
fn a_confirmation_outlives_the_daemon() {
    let mut payload =
        with_health_command("window = \"100ms\"\ndeadline = \"60s\"\nconfirm = \"explicit\"");
    let client = payload.install();
    payload.wait_for_trial(|wait| matches!(wait, TrialWait::HealthCommand { why: Some(_) }));
    assert_eq!(payload.uplift(&["confirm"]).0, Some(0));
    payload.kill_daemon();
    drop(client);
    payload.start_daemon().unwrap();
    assert_eq!(payload.status().unwrap().phase, Phase::Trial);
    becomes_healthy(&payload);
    payload.wait_until_settled().unwrap();
    let report = payload.last_report();
    assert_eq!(report.outcome, Outcome::Succeeded, "{report:?}");
    assert!(report.evidence.unwrap().confirmed_by.is_some());
}

#[test]
fn with_nothing_to_confirm_it_says_so() {
    let payload = Payload::with_trial(UNIT, "window = \"30s\"\ndeadline = \"60s\"");
    let (code, said) = payload.uplift(&["confirm"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("nothing is on trial") && said.contains("hint: "), "{said}");
    let client = payload.install();
    payload.wait_for_phase(Phase::Trial);
    let (code, said) = payload.uplift(&["confirm"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("needs no confirmation") && said.contains("hint: "), "{said}");
    drop(client);
}

#[test]
fn a_trial_has_so_many_boots_and_no_more() {
    let mut payload =
        Payload::with_trial(REBOOT, "window = \"100ms\"\ndeadline = \"60s\"\nboots = 2");
    payload.systemd_has("waits", NEW);
    let client = payload.install();
    payload.wait_for_phase(Phase::Restarting);
    for _ in 0..2 {
        payload.reboot();
        payload.wait_for_phase(Phase::Trial);
        // A daemon that starts again in the same boot takes none.
        payload.restart_daemon();
        assert_eq!(payload.status().unwrap().phase, Phase::Trial);
    }
    payload.reboot();
    payload.wait_for_phase(Phase::Restarting);
    assert_eq!(payload.reported_version().unwrap(), OLD);
    payload.reboot();
    client.wait_with_output().unwrap();
    let report = payload.last_report();
    assert_eq!(report.outcome, Outcome::RolledBack);
    assert_eq!(report.failure.unwrap().sentence, "2 boots were used up without a verdict");
}

#[test]
fn where_the_boot_never_changes_the_restart_is_not_asked_for_for_ever() {
    let mut payload = Payload::with_trial(REBOOT, "");
    let client = payload.install();
    payload.wait_for_phase(Phase::Restarting);
    drop(client);
    for _ in 0..3 {
        payload.restart_daemon();
    }
    payload.wait_until_settled().unwrap();
    assert_eq!(payload.ending(), (Outcome::RolledBack, Some(FailureKind::RestartFailed)));
    assert!(payload.asked("reboot") <= 3, "{}", payload.asked("reboot"));
    assert_eq!(payload.reported_version().unwrap(), OLD);
}

#[test]
fn a_configuration_that_changes_does_not_change_the_trial() {
    let mut payload = Payload::with_trial(
        REBOOT,
        "window = \"100ms\"\ndeadline = \"60s\"\nconfirm = \"explicit\"",
    );
    let client = payload.install();
    payload.wait_for_phase(Phase::Restarting);
    payload.edit_config(|text| {
        text.replace("explicit", "auto")
            .replace("bin/payload", "bin/other")
            .replace("payload.service", "other.service")
    });
    payload.reboot();
    payload.wait_for_trial(|wait| matches!(wait, TrialWait::Confirmation {}));
    assert_eq!(payload.uplift(&["confirm"]).0, Some(0));
    assert!(client.wait_with_output().unwrap().status.success());
}

#[test]
fn the_program_before_is_gone_when_it_is_wanted_back() {
    let payload = Payload::with_trial(UNIT, "window = \"100ms\"\ndeadline = \"60s\"");
    payload.systemd_has("waits", NEW);
    let client = payload.install();
    payload.wait_for_phase(Phase::Trial);
    fs::remove_file(payload.previous()).unwrap();
    payload.systemd_has("state", "failed");
    client.wait_with_output().unwrap();
    let report = payload.last_report();
    assert_eq!(
        report.outcome,
        Outcome::Failed,
        "the new program is at the path, and nothing is said to be rolled back"
    );
    let failure = report.failure.unwrap();
    assert_eq!(failure.kind, FailureKind::Unhealthy);
    assert!(
        failure.to_string().contains(
            "the old program could not be put back: there is no previous program to put back"
        ),
        "{failure}"
    );
    let (_, status) = payload.uplift(&["status"]);
    assert!(status.contains("could not be put back"), "{status}");
    assert_eq!(payload.reported_version().unwrap(), NEW);
}

/// Whether somebody holds the target's lock.
fn is_locked(payload: &Payload) -> bool {
    let lock = payload.root().join("bin/.uplift/lock");
    let status = std::process::Command::new("flock")
        .arg("--nonblock")
        .arg(lock)
        .arg("true")
        .status()
        .unwrap();
    !status.success()
}

#[test]
fn a_success_that_can_not_be_written_down_is_kept_from_the_rescue() {
    let payload = Payload::with_trial(UNIT, "window = \"6s\"\ndeadline = \"60s\"");
    let client = payload.install();
    payload.wait_for_trial(|wait| matches!(wait, TrialWait::Window { .. }));
    // The state file's temporary name is taken by a directory: it can be read, but not written.
    let taken = payload.state().join("state.json.new");
    fs::create_dir(&taken).unwrap();
    assert!(client.wait_with_output().unwrap().status.success());
    assert!(is_locked(&payload), "the state file still says that it is on trial");
    fs::remove_dir(&taken).unwrap();
    let next = payload.firmware_of("V03.00.00.00", 50_000);
    let (code, said) = payload.uplift(&["install", next.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{said}");
    assert!(!is_locked(&payload));
}

#[test]
fn a_verdict_of_the_rescue_comes_before_a_success() {
    let payload = Payload::with_trial(UNIT, "window = \"6s\"\ndeadline = \"60s\"");
    let client = payload.install();
    payload.wait_for_trial(|wait| matches!(wait, TrialWait::Window { .. }));
    let state: serde_json::Value =
        serde_json::from_slice(&fs::read(payload.state().join("state.json")).unwrap()).unwrap();
    let (upgrade, swap) = (&state["upgrade"]["upgrade"], &state["upgrade"]["swap"]);
    let terms = &swap["terms"];
    let rescue = serde_json::json!({
        "format": 1,
        "boot_id": swap["origin"]["boot_id"], "since": 1, "boots": 1,
        "trial": {
            "upgrade": upgrade["id"], "on_trial": swap["package"]["program_digest"], "old": swap["old"], "origin": swap["origin"],
            "terms": {
                "program": terms["program"], "unit": terms["unit"], "restart": terms["restart"],
                "restart_deadline": terms["restart_deadline"], "deadline": terms["deadline"], "boots": terms["boots"],
            },
        },
        "ruling": {
            "verdict": { "failure": { "kind": "unhealthy", "sentence": "the rescue says so" }, "program_log": ["its last words"] },
            "rolled_back": false, "restart_from": null, "requests": 0,
        },
    });
    fs::write(payload.state().join("rescue.json"), rescue.to_string()).unwrap();
    client.wait_with_output().unwrap();
    let report = payload.last_report();
    assert_eq!(
        (report.outcome, report.program_log),
        (Outcome::RolledBack, vec!["its last words".to_owned()])
    );
    assert_eq!(report.failure.unwrap().sentence, "the rescue says so");
    assert_eq!(payload.running().as_deref(), Some(OLD));
}
