//! What the rescue did, whose report the journal lacks.

use super::*;

/// `rescue.json` of an upgrade over the payload link that was rolled back; the package as it was
/// then.
pub(super) fn rescued(directory: &TempDir, package: &serde_json::Value, rolled_back: bool) {
    let digest = ProgramDigest([7; 32]);
    let terms = serde_json::json!({
        "program": "/usr/local/bin/p", "unit": null, "restart": "reboot", "restart_deadline": 1, "deadline": 1, "boots": 3,
    });
    let file = serde_json::json!({
        "format": 1, "boot_id": "b", "since": 1, "boots": 1,
        "trial": {
            "upgrade": "lost", "on_trial": digest, "old": null, "origin": { "boot_id": "b", "invocation": null }, "terms": terms,
            "request": { "channel": "psdk", "requester": "0xed", "transfer": "ftp" }, "package": package,
        },
        "ruling": {
            "verdict": { "failure": { "kind": "unhealthy", "sentence": "why" }, "program_log": ["panicked"] },
            "rolled_back": rolled_back, "restart_from": null, "requests": 0,
        },
    });
    write_text(directory, "rescue.json", &file.to_string());
}

#[allow(clippy::disallowed_methods, reason = "files of a test need not survive anything")]
fn write_text(directory: &TempDir, name: &str, text: &str) {
    std::fs::write(directory.path().join(name), text).unwrap();
}

#[test]
fn what_the_rescue_rolled_back_is_reported_though_the_state_is_lost_or_that_of_a_newer_daemon() {
    let package =
        serde_json::to_value(report("one", ChannelName::PSDK, Outcome::RolledBack, 7).package)
            .unwrap();
    let newer = sealed(&serde_json::json!({ "format": 2, "upgrade": {} }));
    for state in [None, Some("{"), Some(newer.as_str())] {
        for (package, known) in
            [(package.clone(), true), (serde_json::json!("in a new form"), false)]
        {
            let directory = TempDir::new().unwrap();
            rescued(&directory, &package, true);
            if let Some(text) = state {
                write_text(&directory, "state.json", text);
            }
            for _ in 0..2 {
                let (journal, _) = open(&directory);
                let [told] = journal.unacknowledged() else {
                    panic!("{:?}", journal.unacknowledged())
                };
                assert_eq!(
                    (told.id.0.as_str(), told.outcome, told.package.is_some()),
                    ("lost", Outcome::RolledBack, known)
                );
                assert_eq!(
                    (told.failure.as_ref().unwrap().to_string().as_str(), &*told.program_log),
                    ("why", &["panicked".to_owned()][..])
                );
                assert_eq!(
                    journal.known_bad(ComponentName::PROGRAM),
                    [ProgramDigest([7; 32])],
                    "its digest is remembered"
                );
                assert_eq!(journal.history().len(), 1, "it is told once");
            }
        }
    }
}

#[test]
fn what_was_cut_off_between_history_and_state_is_told_again_and_what_is_long_told_is_not() {
    let directory = TempDir::new().unwrap();
    rescued(&directory, &serde_json::Value::Null, true);
    open(&directory);
    std::fs::remove_file(directory.path().join("state.json")).unwrap();
    let (mut journal, _) = open(&directory);
    assert_eq!(
        (
            journal.unacknowledged().len(),
            journal.history().len(),
            journal.known_bad(ComponentName::PROGRAM).len()
        ),
        (1, 1, 1)
    );
    journal.conclude(&report("later", ChannelName::PSDK, Outcome::Succeeded, 1), true).unwrap();
    std::fs::remove_file(directory.path().join("state.json")).unwrap();
    let (journal, _) = open(&directory);
    assert_eq!((journal.unacknowledged().len(), journal.history().len()), (0, 2));
}

#[test]
fn what_the_rescue_has_not_carried_out_or_the_daemon_knows_better_is_not_reported_by_it() {
    let directory = TempDir::new().unwrap();
    rescued(&directory, &serde_json::Value::Null, false);
    assert!(open(&directory).0.history().is_empty());
    let directory = TempDir::new().unwrap();
    let (mut journal, _) = open(&directory);
    journal.conclude(&report("other", ChannelName::SHELL, Outcome::Failed, 1), true).unwrap();
    rescued(&directory, &serde_json::Value::Null, true);
    assert_eq!(
        open(&directory).0.history().len(),
        1,
        "the state is there, and knows of no such upgrade"
    );
}

/// The history has a form of its own from its first entry on, which may be that of a lost trial.
#[test]
fn the_report_of_a_lost_trial_may_be_the_first_that_is_ever_written_down() {
    let package =
        serde_json::to_value(report("lost", ChannelName::PSDK, Outcome::RolledBack, 7).package);
    for damage in [None, Some("{")] {
        let directory = TempDir::new().unwrap();
        rescued(&directory, package.as_ref().unwrap(), false);
        if let Some(text) = damage {
            write_text(&directory, STATE_FILE, text);
        }
        let (mut journal, _) = open(&directory);
        assert!(matches!(journal.upgrade(), Some(State::Reverting { .. })));
        journal
            .conclude(&report("lost", ChannelName::PSDK, Outcome::RolledBack, 7), false)
            .unwrap();
        let (journal, damaged) = open(&directory);
        assert!(damaged.is_empty(), "{damaged:?}");
        assert_eq!(journal.history().len(), 1);
    }
}
