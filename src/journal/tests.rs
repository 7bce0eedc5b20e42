mod components;
mod foreign;
mod history;
mod recovery;
mod rescued;

use std::time::Duration;

use tempfile::TempDir;

use super::checksum::tests::sealed;
use super::*;
use crate::disk::faulty::FaultyDisk;
use crate::log::said::Said;
use crate::model::{
    Failure, FailureKind, FileDigest, KeyId, Outcome, PackageSummary, Request, TransferKind,
    Upgrade, UpgradeId,
};
use crate::record::HISTORY_LENGTH;

fn report(id: &str, channel: ChannelName, outcome: Outcome, digest: u8) -> Report {
    Report {
        id: UpgradeId(id.into()),
        request: Request { channel, ..Request::of_link("0xed".into(), TransferKind::Ftp) },
        component: None,
        from: None,
        file_name: Some("P_V02.00.00.00.bin".into()),
        package: Some(PackageSummary {
            file_name: "P_V02.00.00.00.bin".into(),
            product: "P".into(),
            version: Version::new([2, 0, 0, 0]).unwrap(),
            size: 1,
            file_digest: FileDigest([digest; 32]),
            program_size: None,
            program_digest: ProgramDigest([digest; 32]),
            trusted_key: None,
        }),
        outcome,
        failure: (outcome != Outcome::Succeeded)
            .then(|| Failure::new(FailureKind::Unhealthy, "it failed")),
        evidence: None,
        program_log: Vec::new(),
        began: stamp(),
        ended: stamp(),
        phases: Vec::new(),
    }
}

fn trusted() -> Option<KeyId> {
    "0123456789ABCDEF".parse().ok()
}

/// The report of a sealed package of this version.
fn of_version(number: u8, outcome: Outcome) -> Report {
    let mut report = report(&number.to_string(), ChannelName::SHELL, outcome, number);
    let package = report.package.as_mut().unwrap();
    (package.version, package.trusted_key) = (Version::new([number, 0, 0, 0]).unwrap(), trusted());
    report
}

fn open(directory: &TempDir) -> (Journal, Vec<Damaged>) {
    Journal::open(directory.path()).unwrap()
}

#[test]
fn what_was_concluded_is_found_again() {
    let directory = TempDir::new().unwrap();
    let (mut journal, damaged) = open(&directory);
    assert!(damaged.is_empty());
    journal.conclude(&report("one", ChannelName::PSDK, Outcome::Succeeded, 1), false).unwrap();
    let (mut journal, damaged) = open(&directory);
    assert!(damaged.is_empty());
    assert_eq!(journal.unacknowledged().len(), 1);
    assert_eq!(journal.installed(ComponentName::PROGRAM).unwrap().digest, ProgramDigest([1; 32]));
    journal.acknowledge(ChannelName::PSDK).unwrap();
    assert!(open(&directory).0.unacknowledged().is_empty());
    assert_eq!(open(&directory).0.history().len(), 1);
}

#[test]
fn one_unacknowledged_report_a_channel() {
    let directory = TempDir::new().unwrap();
    let (mut journal, _) = open(&directory);
    journal.conclude(&report("one", ChannelName::PSDK, Outcome::Failed, 1), false).unwrap();
    journal.conclude(&report("two", ChannelName::SHELL, Outcome::Failed, 1), true).unwrap();
    assert_eq!(journal.unacknowledged().len(), 1);
    journal.conclude(&report("three", ChannelName::PSDK, Outcome::Failed, 1), false).unwrap();
    assert_eq!(journal.unacknowledged()[0].id, UpgradeId("three".into()));
    assert_eq!(journal.history().len(), 3);
}

#[test]
fn a_program_that_was_rolled_back_is_known_bad_until_it_succeeds() {
    let directory = TempDir::new().unwrap();
    let (mut journal, _) = open(&directory);
    journal.conclude(&report("one", ChannelName::PSDK, Outcome::RolledBack, 7), false).unwrap();
    assert_eq!(open(&directory).0.known_bad(ComponentName::PROGRAM), [ProgramDigest([7; 32])]);
    journal.conclude(&report("two", ChannelName::PSDK, Outcome::Succeeded, 7), false).unwrap();
    assert!(journal.known_bad(ComponentName::PROGRAM).is_empty());
}

#[test]
fn a_program_that_failed_on_trial_is_known_bad_even_if_it_could_not_be_taken_away() {
    let directory = TempDir::new().unwrap();
    let (mut journal, _) = open(&directory);
    journal.conclude(&report("one", ChannelName::PSDK, Outcome::Failed, 7), false).unwrap();
    assert_eq!(journal.known_bad(ComponentName::PROGRAM), [ProgramDigest([7; 32])]);
    let mut refused = report("two", ChannelName::PSDK, Outcome::RolledBack, 8);
    refused.failure = Some(Failure::new(FailureKind::RestartFailed, "the restart was refused"));
    journal.conclude(&refused, false).unwrap();
    assert_eq!(
        journal.known_bad(ComponentName::PROGRAM),
        [ProgramDigest([7; 32])],
        "a restart that never came is not the program's fault"
    );
}

#[test]
fn the_minimum_version_is_raised_by_the_success_of_a_trusted_seal_alone() {
    let directory = TempDir::new().unwrap();
    let version = |number| Version::new([number, 0, 0, 0]);
    let (sealed, unsealed) = (true, false);
    for (number, outcome, is_sealed, minimum) in [
        (1, Outcome::Failed, sealed, None),
        (99, Outcome::Succeeded, unsealed, None),
        (3, Outcome::Succeeded, sealed, Some(3)),
        (98, Outcome::Succeeded, unsealed, Some(3)),
        (2, Outcome::Succeeded, sealed, Some(3)),
        (4, Outcome::RolledBack, sealed, Some(3)),
    ] {
        let (mut journal, _) = open(&directory);
        let mut report = of_version(number, outcome);
        report.package.as_mut().unwrap().trusted_key = trusted().filter(|_| is_sealed);
        journal.conclude(&report, true).unwrap();
        assert_eq!(
            open(&directory).0.minimum_version(ComponentName::PROGRAM),
            minimum.and_then(version),
            "after {number}"
        );
    }
}

#[test]
fn a_state_file_from_before_the_minimum_version_is_read() {
    let directory = TempDir::new().unwrap();
    write_file(
        &directory,
        STATE_FILE,
        r#"{"format":1,"upgrade":null,"unacknowledged":[],"installed":null,"known_bad":[]}"#,
    );
    let (journal, damaged) = open(&directory);
    assert!(damaged.is_empty() && journal.minimum_version(ComponentName::PROGRAM).is_none());
}

#[test]
fn the_history_has_a_length() {
    let directory = TempDir::new().unwrap();
    let (mut journal, _) = open(&directory);
    for number in 0..=HISTORY_LENGTH {
        journal
            .conclude(&report(&number.to_string(), ChannelName::SHELL, Outcome::Failed, 1), true)
            .unwrap();
    }
    assert_eq!(journal.history().len(), HISTORY_LENGTH);
    assert_eq!(journal.history()[0].key(), "1");
}

#[test]
fn damage_is_set_aside_and_told() {
    let directory = TempDir::new().unwrap();
    for (text, expected) in [
        ("{", "EOF"),
        ("", "EOF"),
        ("\0\0\0\0", "expected value"),
        ("{\"format\":1}", "missing field"),
        ("{\"format\":2}", "its checksum is missing"),
    ] {
        write_file(&directory, STATE_FILE, text);
        let (journal, damaged) = open(&directory);
        assert!(journal.upgrade().is_none());
        assert_eq!(damaged.len(), 1);
        assert!(damaged[0].to_string().contains(expected), "{}", damaged[0]);
    }
    assert_eq!(set_aside(&directory), 5, "each damaged file is kept");
}

/// A daemon that was rolled back, in the state that the newer one left, lets in nothing that it
/// refused before.
#[test]
fn what_can_be_read_of_a_state_file_of_another_version_is_kept() {
    let digest = |byte| serde_json::to_value(ProgramDigest([byte; 32])).unwrap();
    let told = report("one", ChannelName::PSDK, Outcome::RolledBack, 7);
    let checking = checking(&report("two", ChannelName::PSDK, Outcome::Failed, 7));
    for (upgrade, kept, foreign) in [
        (serde_json::Value::Null, None, false),
        (serde_json::to_value(&checking).unwrap(), Some(checking), false),
        (serde_json::json!({ "phase": "of its own" }), None, false),
        (serde_json::json!({ "phase": "of its own", "swap": {} }), None, true),
    ] {
        let directory = TempDir::new().unwrap();
        let text = serde_json::json!({
            "format": 2, "of_its_own": 1, "upgrade": upgrade, "unacknowledged": [told, "in a new form"], "known_bad": ["new", digest(7)],
            "installed": { "version": "V01.00.00.00", "digest": digest(1) }, "previous": "in a new form", "minimum_version": "V03.00.00.00",
        });
        write_file(&directory, STATE_FILE, &sealed(&text));
        for damage in [1, 0] {
            let (journal, damaged) = open(&directory);
            assert_eq!(damaged.len(), damage, "{damaged:?}");
            assert_eq!((journal.upgrade(), journal.has_foreign_trial()), (kept.as_ref(), foreign));
            assert_eq!(
                (journal.unacknowledged(), journal.known_bad(ComponentName::PROGRAM)),
                (&[told.clone()][..], &[ProgramDigest([7; 32])][..])
            );
            assert_eq!(
                journal.installed(ComponentName::PROGRAM).unwrap().digest,
                ProgramDigest([1; 32])
            );
            assert_eq!(
                (
                    journal.previous(ComponentName::PROGRAM),
                    journal.minimum_version(ComponentName::PROGRAM)
                ),
                (None, Version::new([3, 0, 0, 0]))
            );
        }
        let state: serde_json::Value =
            serde_json::from_slice(&std::fs::read(directory.path().join(STATE_FILE)).unwrap())
                .unwrap();
        assert_eq!(state["upgrade"]["swap"].is_object(), foreign, "the rescue reads it still");
    }
}

#[test]
fn a_format_that_never_was_is_set_aside_once() {
    for format in [serde_json::json!(0), serde_json::json!("two"), serde_json::Value::Null] {
        let directory = TempDir::new().unwrap();
        write_file(
            &directory,
            STATE_FILE,
            &serde_json::json!({ "format": format, "upgrade": null }).to_string(),
        );
        assert_eq!([open(&directory).1.len(), open(&directory).1.len()], [1, 0], "{format}");
    }
}

#[test]
fn a_salvage_that_is_cut_off_anywhere_forgets_nothing() {
    let text =
        serde_json::json!({ "format": 2, "upgrade": null, "known_bad": [ProgramDigest([7; 32])] });
    let text = sealed(&text);
    for death in 0..20 {
        let directory = TempDir::new().unwrap();
        write_file(&directory, STATE_FILE, &text);
        let _ =
            Journal::open_on(Arc::new(FaultyDisk::sound().and_dying_at(death)), directory.path());
        assert_eq!(
            open(&directory).0.known_bad(ComponentName::PROGRAM),
            [ProgramDigest([7; 32])],
            "dies at {death}"
        );
    }
}

#[test]
fn a_file_of_a_newer_version_is_not_guessed_at() {
    let directory = TempDir::new().unwrap();
    let newer = sealed(&serde_json::json!({ "format": 3, "reports": {} }));
    for (history, why) in [
        (newer.as_str(), "expected a sequence"),
        (r#"{"format":0,"reports":[]}"#, "format 0 is not known"),
    ] {
        write_file(&directory, HISTORY_FILE, history);
        let (_, damaged) = open(&directory);
        assert!(damaged[0].to_string().contains(why), "{}", damaged[0]);
    }
}

/// A field that this version does not know, in every object that has fields; a restart has a name.
fn with_unknown_fields(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Array(values) => values.iter_mut().for_each(with_unknown_fields),
        serde_json::Value::Object(fields) => {
            fields
                .iter_mut()
                .filter(|(name, _)| *name != "restart")
                .for_each(|(_, value)| with_unknown_fields(value));
            fields.insert("of_a_later_version".into(), serde_json::json!({ "new": [1] }));
        }
        _ => {}
    }
}

/// Files as version 0.1.0 writes them, in each phase that it writes down.
const FIRST_FORMAT: [&str; 8] = [
    include_str!("../../fuzz/corpus/state/checking"),
    include_str!("../../fuzz/corpus/state/installing"),
    include_str!("../../fuzz/corpus/state/restarting"),
    include_str!("../../fuzz/corpus/state/trial"),
    include_str!("../../fuzz/corpus/state/reverting"),
    include_str!("../../fuzz/corpus/state/restarting-back"),
    include_str!("../../fuzz/corpus/state/unacknowledged"),
    include_str!("../../fuzz/corpus/state/with-history"),
];

#[test]
fn fields_that_are_not_known_are_passed_over() {
    for text in FIRST_FORMAT {
        for format in [1, 2, 3] {
            let (known, later) = (TempDir::new().unwrap(), TempDir::new().unwrap());
            for (name, text) in [STATE_FILE, HISTORY_FILE].into_iter().zip(text.split('\0')) {
                write_file(&known, name, text);
                let mut value: serde_json::Value = serde_json::from_str(text).unwrap();
                with_unknown_fields(&mut value);
                value["format"] = format.into();
                write_file(
                    &later,
                    name,
                    &if format == 1 { value.to_string() } else { sealed(&value) },
                );
            }
            let ((known, _), (later, damaged)) = (open(&known), open(&later));
            assert!(damaged.is_empty(), "{damaged:?}");
            assert_eq!(
                (known.upgrade(), known.unacknowledged()),
                (later.upgrade(), later.unacknowledged())
            );
            assert_eq!(
                (known.history(), known.known_programs(ComponentName::PROGRAM)),
                (later.history(), later.known_programs(ComponentName::PROGRAM))
            );
            assert_eq!(
                (
                    known.known_bad(ComponentName::PROGRAM),
                    known.minimum_version(ComponentName::PROGRAM)
                ),
                (
                    later.known_bad(ComponentName::PROGRAM),
                    later.minimum_version(ComponentName::PROGRAM)
                )
            );
        }
    }
}

#[test]
fn what_a_killed_daemon_had_begun_to_write_is_removed() {
    let directory = TempDir::new().unwrap();
    for name in [
        "state.json.new",
        "history.json.new",
        "state.json.damaged.2.new",
        "rescue.json.new",
        "notes.new",
        "state.json.damaged",
    ] {
        write_file(&directory, name, "{");
    }
    open(&directory);
    let mut left: Vec<_> = std::fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["notes.new", "rescue.json.new", "state.json.damaged"]);
}

#[test]
fn damage_again_and_again_does_not_fill_the_disk() {
    let directory = TempDir::new().unwrap();
    for _ in 0..30 {
        write_file(&directory, STATE_FILE, "damaged");
        open(&directory);
    }
    assert_eq!(set_aside(&directory), 10);
}

#[test]
fn a_history_that_could_not_be_written_gets_its_entry_later() {
    let directory = TempDir::new().unwrap();
    let (mut journal, _) = open(&directory);
    journal.conclude(&report("one", ChannelName::PSDK, Outcome::Failed, 1), false).unwrap();
    std::fs::remove_file(directory.path().join(HISTORY_FILE)).unwrap();
    assert_eq!(open(&directory).0.history().len(), 1);
}

#[test]
fn whoever_dies_while_concluding_has_the_upgrade_in_the_journal_or_its_report_in_the_history() {
    for death in 0.. {
        let directory = TempDir::new().unwrap();
        let report = report("one", ChannelName::SHELL, Outcome::Succeeded, 1);
        open(&directory).0.record(&checking(&report)).unwrap();
        let disk = Arc::new(FaultyDisk::sound().and_dying_at(death));
        let concluded = Journal::open_on(disk, directory.path()).unwrap().0.conclude(&report, true);
        let (journal, _) = open(&directory);
        assert!(
            journal.upgrade().is_some() || journal.reports().eq([report.clone()]),
            "dies at {death}"
        );
        if concluded.is_ok() {
            return;
        }
    }
}

fn checking(report: &Report) -> State {
    let Report { id, request, .. } = report.clone();
    State::Checking {
        upgrade: Upgrade {
            id,
            request,
            component: None,
            from: None,
            file_name: None,
            began: stamp(),
            phases: Vec::new(),
        },
    }
}

fn set_aside(directory: &TempDir) -> usize {
    let names =
        std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_str().unwrap().contains(".damaged")).count()
}

fn write_file(directory: &TempDir, name: &str, text: &str) {
    use std::io::Write;
    std::fs::File::create(directory.path().join(name)).unwrap().write_all(text.as_bytes()).unwrap();
}

/// What is written must be read again: a history at its limits, each line of a log as long as it
/// gets, of what JSON escapes.
#[test]
fn the_largest_history_is_not_taken_for_a_damaged_one() {
    let directory = TempDir::new().unwrap();
    let mut worst = report("one", ChannelName::SHELL, Outcome::RolledBack, 1);
    worst.program_log = vec!["\\".repeat(243); 50];
    let of = |number| Report { id: UpgradeId(format!("{number:036}")), ..worst.clone() };
    let reports: Vec<Report> = (0..HISTORY_LENGTH).map(of).collect();
    let history = serde_json::json!({ "format": FORMAT, "reports": reports });
    write_file(&directory, HISTORY_FILE, &sealed(&history));
    let (mut journal, damaged) = open(&directory);
    assert!(damaged.is_empty(), "{damaged:?}");
    journal.conclude(&of(HISTORY_LENGTH), true).unwrap();
    assert!(journal.reports().eq((1..=HISTORY_LENGTH).map(of)));
    let (journal, damaged) = open(&directory);
    assert!(damaged.is_empty(), "{damaged:?}");
    let answer = serde_json::to_vec(&journal.history()).unwrap();
    assert!(answer.len() < crate::control::LONGEST_LINE, "{}", answer.len());
}

#[test]
fn of_too_many_known_bad_programs_the_oldest_is_forgotten() {
    let directory = TempDir::new().unwrap();
    let (mut journal, _) = open(&directory);
    let most = u8::try_from(crate::record::memory::KNOWN_BAD_LENGTH).unwrap();
    for number in 0..=most {
        journal
            .conclude(
                &report(&number.to_string(), ChannelName::SHELL, Outcome::RolledBack, number),
                true,
            )
            .unwrap();
    }
    let expected: Vec<ProgramDigest> =
        (1..=most).map(|number| ProgramDigest([number; 32])).collect();
    assert_eq!(open(&directory).0.known_bad(ComponentName::PROGRAM), expected);
}

/// An older daemon has to read what is written during a trial, so its format is that of the file; a
/// new file has one too.
#[test]
fn a_trial_may_be_the_first_thing_that_is_ever_written_down() {
    let trial: StateFile = serde_json::from_str(FIRST_FORMAT[3]).unwrap();
    let Recorded::Known(Some(trial)) = trial.upgrade else { panic!("a trial") };
    for damage in [None, Some("{")] {
        let directory = TempDir::new().unwrap();
        if let Some(text) = damage {
            write_file(&directory, STATE_FILE, text);
        }
        open(&directory).0.record(&trial).unwrap();
        let (journal, damaged) = open(&directory);
        assert!(damaged.is_empty(), "{damaged:?}");
        assert_eq!(journal.upgrade(), Some(&*trial));
    }
}

#[test]
fn a_journal_is_new_until_anything_is_written_down() {
    let directory = TempDir::new().unwrap();
    let (mut journal, _) = open(&directory);
    assert!(journal.is_new());
    journal.note_gap().unwrap();
    assert!(!journal.is_new() && !open(&directory).0.is_new());
    journal.conclude(&report("one", ChannelName::SHELL, Outcome::Succeeded, 1), true).unwrap();
    journal.conclude(&report("two", ChannelName::SHELL, Outcome::Succeeded, 2), true).unwrap();
    assert!(!open(&directory).0.is_new(), "its state is whole");
}

#[test]
fn programs_are_known_by_what_is_installed_first_and_then_by_the_newest_report() {
    let directory = TempDir::new().unwrap();
    let (mut journal, _) = open(&directory);
    for (number, outcome) in
        [(1, Outcome::Succeeded), (2, Outcome::Succeeded), (3, Outcome::RolledBack)]
    {
        journal.conclude(&of_version(number, outcome), true).unwrap();
    }
    let record = |number| InstalledRecord {
        version: Version::new([number, 0, 0, 0]).unwrap(),
        digest: ProgramDigest([number; 32]),
    };
    let (journal, _) = open(&directory);
    assert_eq!(
        (journal.installed(ComponentName::PROGRAM), journal.previous(ComponentName::PROGRAM)),
        (Some(record(2)), Some(record(1)))
    );
    assert_eq!(journal.known_programs(ComponentName::PROGRAM), [2, 1, 3, 2, 1].map(record));
}

#[test]
fn what_is_on_trial_is_known_of_its_own_component() {
    let trial: StateFile = serde_json::from_str(FIRST_FORMAT[3]).unwrap();
    let Recorded::Known(Some(trial)) = trial.upgrade else { panic!("a trial") };
    let directory = TempDir::new().unwrap();
    let (mut journal, _) = open(&directory);
    journal.record(&trial).unwrap();
    let known = journal.known_programs(ComponentName::PROGRAM);
    assert_eq!(known[0].digest, trial.swap().unwrap().package.program_digest);
    assert!(journal.known_programs("camera".parse().unwrap()).is_empty());
}

#[test]
fn a_report_that_waits_is_added_to_the_history_only_where_it_is_missing() {
    let directory = TempDir::new().unwrap();
    let (mut journal, _) = open(&directory);
    journal.conclude(&report("one", ChannelName::PSDK, Outcome::Failed, 1), false).unwrap();
    journal.conclude(&report("two", ChannelName::SHELL, Outcome::Failed, 2), true).unwrap();
    let ids = |directory| {
        open(directory).0.history().iter().map(|entry| entry.key().into_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&directory), ["one", "two"], "it keeps its place");
    let mut history: serde_json::Value =
        serde_json::from_slice(&std::fs::read(directory.path().join(HISTORY_FILE)).unwrap())
            .unwrap();
    history["reports"].as_array_mut().unwrap().remove(0);
    write_file(&directory, HISTORY_FILE, &sealed(&history));
    assert_eq!(ids(&directory), ["two", "one"], "beside others");
}

#[test]
fn the_time_of_a_report_is_told_as_people_write_it() {
    let told = humantime::parse_rfc3339(&stamp()).unwrap();
    assert!(told.elapsed().unwrap() < Duration::from_secs(60 * 60));
}
