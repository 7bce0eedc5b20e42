//! The daemon upgrades the daemon: a new one that works concludes its own trial; one that crashes
//! at its start, or hangs without a verdict, is rolled back by the rescue, and the old one reports
//! it.

mod daemon;

use std::fs;

use serde_json::Value;
use uplift::model::{FailureKind, Outcome, Report, RunningEvidence};

use crate::world::payload::Payload;
use crate::world::watched::Watched as _;
use daemon::LATE;

#[test]
fn a_new_daemon_concludes_its_own_trial() {
    let payload = Payload::of_daemon();
    let client = payload.install_daemon(&payload.good_daemon());
    let (report, said) = payload.report(client);
    assert_eq!(report.outcome, Outcome::Succeeded, "{report:?}\n{said}");
    let evidence = report.evidence.unwrap();
    assert!(
        evidence.restarted
            && evidence.digest_at_path
            && evidence.running == RunningEvidence::Verified,
        "{evidence:?}"
    );
    assert!(!payload.old_is_at_path());
    assert!(payload.asked("start -- uplift-rescue.timer") >= 1, "the second deadline was armed");
    payload.clock(LATE);
    payload.call_rescue("deadline");
    assert!(!payload.old_is_at_path(), "the trial is over");
    assert_eq!(payload.asked("stop -- uplift-rescue.timer"), 1);
}

/// What the old daemon says of one that was rolled back, and does about it.
fn assert_told(payload: &Payload, report: &Report, sentence: &str) {
    assert_eq!(report.outcome, Outcome::RolledBack, "{report:?}");
    let failure = report.failure.as_ref().unwrap();
    assert_eq!((failure.kind, failure.sentence.as_str()), (FailureKind::Unhealthy, sentence));
    assert_eq!(report.program_log, ["thread main panicked"]);
    assert!(payload.old_is_at_path());
    // The very same program is refused from now on.
    let again = payload.root().join("PSDK_APPALIAS_V02.00.00.00.bin");
    let (report, said) = payload.report(payload.install_daemon(&again));
    assert_eq!(report.failure.unwrap().kind, FailureKind::KnownBad, "{said}");
}

#[test]
fn a_new_daemon_that_crashes_or_hangs_is_rolled_back_and_reported_by_the_old_one() {
    for firmware in [Payload::crashing_daemon, Payload::hanging_daemon] {
        let payload = Payload::of_daemon();
        let client = payload.swap_in(&firmware(&payload));
        payload.call_rescue("deadline");
        assert!(!payload.old_is_at_path());
        payload.clock(LATE);
        payload.call_rescue("deadline");
        assert!(payload.old_is_at_path());
        let (report, said) = payload.report(client);
        assert_told(&payload, &report, "no verdict on the new program came within 90 s");
        assert!(said.contains("no verdict on the new program"), "{said}");
        payload.call_rescue("deadline");
        assert_eq!(payload.asked("stop -- uplift-rescue.timer"), 1);
    }
}

#[test]
fn boots_that_a_new_daemon_uses_up_bring_the_old_one_back() {
    let mut payload = Payload::of_daemon();
    let client = payload.swap_in(&payload.crashing_daemon());
    drop(client);
    payload.call_rescue("deadline");
    // The boot of the swap is the first of three.
    for boot in [2, 3] {
        payload.boot(boot);
        assert!(!payload.old_is_at_path(), "boot {boot}");
    }
    payload.boot(4);
    assert!(payload.old_is_at_path());
    payload
        .wait_for("the old daemon", || payload.status().is_ok_and(|status| status.last.is_some()));
    let report = payload.status().unwrap().last.unwrap();
    assert_told(&payload, &report, "3 boots were used up without a verdict");
}

#[test]
fn a_state_file_of_another_daemon_hides_nothing_from_the_old_one() {
    // Before it crashed the new daemon wrote the state in a form of its own; the second one has no
    // right checksum.
    for (format, is_damaged) in [(1, false), (2, true)] {
        let payload = Payload::of_daemon();
        let client = payload.swap_in(&payload.crashing_daemon());
        payload.call_rescue("deadline");
        let path = payload.state().join("state.json");
        let mut state: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        state.as_object_mut().unwrap().remove("crc32");
        state["format"] = format.into();
        state["of_its_own"] = true.into();
        state["upgrade"]["phase"] = "of-its-own".into();
        fs::write(&path, state.to_string()).unwrap();
        payload.clock(LATE);
        payload.call_rescue("deadline");
        let (report, _) = payload.report(client);
        assert_told(&payload, &report, "no verdict on the new program came within 90 s");
        let notices = payload.status().unwrap().notices;
        assert_eq!(
            notices
                .iter()
                .any(|notice| notice.contains("state.json") && notice.contains("set aside")),
            is_damaged,
            "{notices:?}"
        );
    }
}

/// A newer daemon tells of a channel that the old one does not have, in a form that it can't read, and
/// fails its trial; later it comes again and works. Nothing that it wrote was lost in between.
#[test]
fn what_a_newer_daemon_reported_outlives_its_rollback() {
    let payload = Payload::of_daemon();
    let foreign = payload.root().join("OTHER_V02.00.00.00.bin");
    fs::write(&foreign, "for another payload").unwrap();
    let (first, _) = payload.report(payload.install_daemon(&foreign));
    let client = payload.swap_in(&payload.crashing_daemon());
    let path = |name| payload.state().join(name);
    let read = |name| -> Value { serde_json::from_slice(&fs::read(path(name)).unwrap()).unwrap() };
    let mut newer = read("history.json")["reports"][0].clone();
    newer["request"]["channel"] = "hawkbit".into();
    newer["id"] = "of a new channel".into();
    let mut newest = newer.clone();
    newest["id"] = "in a new form".into();
    newest["request"]["transfer"] = serde_json::json!({ "http": "resumed" });
    for (name, list) in [("history.json", "reports"), ("state.json", "unacknowledged")] {
        let mut file = read(name);
        file.as_object_mut().unwrap().remove("crc32");
        file["format"] = 1.into();
        file[list].as_array_mut().unwrap().extend([newer.clone(), newest.clone()]);
        fs::write(path(name), file.to_string()).unwrap();
    }
    payload.call_rescue("deadline");
    payload.clock(LATE);
    payload.call_rescue("deadline");
    assert!(payload.old_is_at_path());
    let is_kept = |reports: usize| {
        let history = payload.raw_history();
        assert_eq!(history.len(), reports, "{history:?}");
        assert_eq!(history[0]["id"], first.id.0.as_str());
        assert_eq!((&history[1], &history[2]["id"]), (&newer, &newest["id"]));
        assert_eq!(history[2], newest, "word by word");
        let waiting = read("state.json")["unacknowledged"].clone();
        assert!(
            [&newer, &newest].iter().all(|report| waiting.as_array().unwrap().contains(report))
        );
    };
    let (report, said) = payload.report(client);
    assert_eq!(report.outcome, Outcome::RolledBack, "{said}");
    is_kept(4);
    let said = payload.command(&["history"]).output().unwrap().stdout;
    let said = String::from_utf8(said).unwrap();
    assert!(said.contains("in a report of another version of uplift"), "{said}");
    let (report, said) = payload.report(payload.install_daemon(&payload.good_daemon()));
    assert_eq!(report.outcome, Outcome::Succeeded, "{said}");
    is_kept(5);
}

/// The old daemon is of a version that has no checksums: neither the new one, while it is on trial,
/// nor the rescue may write any.
#[test]
fn a_daemon_on_trial_and_the_rescue_leave_what_an_older_daemon_can_read() {
    let payload = Payload::of_daemon();
    let client = payload.swap_in(&payload.hanging_daemon());
    let path = |name| payload.state().join(name);
    let mut state: Value = serde_json::from_slice(&fs::read(path("state.json")).unwrap()).unwrap();
    state.as_object_mut().unwrap().remove("crc32");
    state["format"] = 1.into();
    fs::write(path("state.json"), state.to_string()).unwrap();
    // Nor does it make a second copy.
    fs::remove_file(path("rescue.json")).unwrap();
    payload.call_rescue("deadline");
    let rescue = fs::read_to_string(path("rescue.json")).unwrap();
    assert!(rescue.contains("\"format\": 1") && !rescue.contains("crc32"), "{rescue}");
    payload.clock(LATE);
    payload.call_rescue("deadline");
    let (report, _) = payload.report(client);
    assert_told(&payload, &report, "no verdict on the new program came within 90 s");
    assert!(fs::read_to_string(path("state.json")).unwrap().contains("crc32"), "the trial is over");
}

#[test]
fn without_the_timer_the_upgrade_goes_on_and_the_status_says_so() {
    let payload = Payload::of_daemon();
    payload.systemd_has("refuse", "start");
    let client = payload.install_daemon(&payload.good_daemon());
    let (report, said) = payload.report(client);
    assert_eq!(report.outcome, Outcome::Succeeded, "{said}");
    let notices = payload.status().unwrap().notices;
    assert_eq!(
        notices.iter().filter(|notice| notice.contains("second deadline")).count(),
        1,
        "{notices:?}"
    );
}
