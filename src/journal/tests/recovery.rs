//! What is left when the state is lost or damaged, what a person takes back or forgets, and which
//! format is written.

use super::rescued::rescued;
use super::*;

/// Version 1 by hand; 2 succeeds, 3 fails, 4 succeeds, and a person takes it back.
fn a_long_life(directory: &TempDir) {
    let (mut journal, _) = open(directory);
    for (number, outcome) in
        [(2, Outcome::Succeeded), (3, Outcome::RolledBack), (4, Outcome::Succeeded)]
    {
        journal.conclude(&of_version(number, outcome), true).unwrap();
    }
    journal.conclude(&taken_back(4), true).unwrap();
}

/// A person has taken back the program of this version.
fn taken_back(number: u8) -> Report {
    let failure = Some(Failure::new(FailureKind::Cancelled, "rolled back by uid 0"));
    Report {
        id: UpgradeId(format!("{number} taken back")),
        failure,
        ..of_version(number, Outcome::RolledBack)
    }
}

#[test]
fn a_version_that_a_person_took_back_does_not_count() {
    let directory = TempDir::new().unwrap();
    let minimum = || open(&directory).0.minimum_version(ComponentName::PROGRAM);
    let conclude = |report: &Report| open(&directory).0.conclude(report, true).unwrap();
    conclude(&of_version(2, Outcome::Succeeded));
    conclude(&of_version(9, Outcome::Succeeded));
    assert_eq!(minimum(), Version::new([9, 0, 0, 0]));
    conclude(&taken_back(9));
    assert_eq!(minimum(), Version::new([2, 0, 0, 0]));
    let mut failed = of_version(2, Outcome::RolledBack);
    failed.failure = Some(Failure::new(FailureKind::Unhealthy, "it failed"));
    conclude(&failed);
    assert_eq!(minimum(), Version::new([2, 0, 0, 0]), "only a person takes back");
}

#[test]
fn a_version_that_succeeded_twice_does_not_count_either_once_it_is_taken_back() {
    let directory = TempDir::new().unwrap();
    for _ in 0..2 {
        open(&directory).0.conclude(&of_version(9, Outcome::Succeeded), true).unwrap();
    }
    open(&directory).0.conclude(&taken_back(9), true).unwrap();
    assert_eq!(open(&directory).0.minimum_version(ComponentName::PROGRAM), None);
}

#[test]
fn what_did_not_raise_the_lowest_version_does_not_lower_it() {
    for is_written_down in [true, false] {
        let directory = TempDir::new().unwrap();
        let (mut journal, _) = open(&directory);
        for number in [9, 5] {
            journal.conclude(&of_version(number, Outcome::Succeeded), true).unwrap();
        }
        if !is_written_down {
            journal.state.program.minimum_raised = None;
            std::fs::remove_file(directory.path().join(HISTORY_FILE)).unwrap();
            journal.history = History::empty(2);
        }
        journal.conclude(&taken_back(5), true).unwrap();
        assert_eq!(
            open(&directory).0.minimum_version(ComponentName::PROGRAM),
            Version::new([9, 0, 0, 0])
        );
    }
}

/// As the versions before 0.2 have left it: by whatever succeeded, and not written down by what.
#[test]
fn nor_does_it_where_an_earlier_version_of_the_daemon_let_it_raise_the_lowest() {
    let directory = TempDir::new().unwrap();
    let (mut journal, _) = open(&directory);
    for (number, outcome) in
        [(2, Outcome::Succeeded), (3, Outcome::RolledBack), (99, Outcome::Succeeded)]
    {
        journal.conclude(&of_version(number, outcome), true).unwrap();
    }
    journal.state.program.minimum_raised = None;
    journal.conclude(&taken_back(99), true).unwrap();
    assert_eq!(
        open(&directory).0.minimum_version(ComponentName::PROGRAM),
        Version::new([2, 0, 0, 0])
    );
}

#[test]
fn a_person_can_forget_the_lowest_version_and_that_is_written_down() {
    let directory = TempDir::new().unwrap();
    assert_eq!(
        open(&directory).0.forget_minimum(ComponentName::PROGRAM, "uid 0".into()).unwrap(),
        None
    );
    open(&directory).0.conclude(&of_version(9, Outcome::Succeeded), true).unwrap();
    assert_eq!(
        open(&directory).0.forget_minimum(ComponentName::PROGRAM, "uid 7".into()).unwrap(),
        Version::new([9, 0, 0, 0])
    );
    let journal = open(&directory).0;
    let forgotten = journal
        .state
        .program
        .minimum_forgotten
        .as_ref()
        .map(|forgotten| (forgotten.version, forgotten.by.as_str()));
    assert_eq!(
        (journal.minimum_version(ComponentName::PROGRAM), forgotten),
        (None, Some((Version::new([9, 0, 0, 0]).unwrap(), "uid 7")))
    );
    open(&directory).0.conclude(&of_version(4, Outcome::Succeeded), true).unwrap();
    assert_eq!(
        open(&directory).0.minimum_version(ComponentName::PROGRAM),
        Version::new([4, 0, 0, 0]),
        "a success sets it anew"
    );
}

#[test]
fn what_the_history_remembers_comes_back_when_the_state_is_lost() {
    for damage in [None, Some("{"), Some("")] {
        let directory = TempDir::new().unwrap();
        a_long_life(&directory);
        let before = open(&directory).0;
        match damage {
            None => std::fs::remove_file(directory.path().join(STATE_FILE)).unwrap(),
            Some(text) => write_file(&directory, STATE_FILE, text),
        }
        for again in [false, true] {
            let (journal, damaged) = open(&directory);
            assert_eq!(journal.recovered().is_some(), !again, "told once");
            assert_eq!(damaged.len(), usize::from(damage.is_some() && !again));
            assert_eq!(
                (
                    journal.installed(ComponentName::PROGRAM),
                    journal.previous(ComponentName::PROGRAM)
                ),
                (before.installed(ComponentName::PROGRAM), before.previous(ComponentName::PROGRAM))
            );
            assert_eq!(
                (
                    journal.known_bad(ComponentName::PROGRAM),
                    journal.minimum_version(ComponentName::PROGRAM)
                ),
                (
                    before.known_bad(ComponentName::PROGRAM),
                    before.minimum_version(ComponentName::PROGRAM)
                )
            );
            assert_eq!(
                journal.known_programs(ComponentName::PROGRAM),
                before.known_programs(ComponentName::PROGRAM)
            );
            assert!(
                before.may_be_by_hand(ComponentName::PROGRAM, ProgramDigest([1; 32]))
                    && !journal.may_be_by_hand(ComponentName::PROGRAM, ProgramDigest([1; 32])),
                "who knows"
            );
        }
    }
}

#[test]
fn where_nothing_was_ever_swapped_nothing_is_missing() {
    let directory = TempDir::new().unwrap();
    let mut refused = report("one", ChannelName::SHELL, Outcome::Failed, 1);
    refused.failure = Some(Failure::new(FailureKind::Interrupted, "it was interrupted"));
    open(&directory).0.conclude(&refused, true).unwrap();
    let _ = std::fs::remove_file(directory.path().join(STATE_FILE));
    let (journal, _) = open(&directory);
    assert!(
        journal.is_new()
            && journal.recovered().is_none()
            && journal.may_be_by_hand(ComponentName::PROGRAM, ProgramDigest([1; 32]))
    );
}

/// Of the trial that the rescue has a copy of the old program comes back: by the daemon, or where
/// it can't, by the rescue.
#[test]
fn a_trial_whose_state_is_lost_or_damaged_is_put_back_by_the_copy_of_the_rescue() {
    let package =
        serde_json::to_value(report("lost", ChannelName::PSDK, Outcome::RolledBack, 7).package)
            .unwrap();
    for damage in [None, Some("{"), Some("{\"format\": 2, \"upgrade\": null}")] {
        for (package, told) in [(package.clone(), true), (serde_json::Value::Null, false)] {
            let directory = TempDir::new().unwrap();
            a_long_life(&directory);
            rescued(&directory, &package, false);
            match damage {
                None => std::fs::remove_file(directory.path().join(STATE_FILE)).unwrap(),
                Some(text) => write_file(&directory, STATE_FILE, text),
            }
            for _ in 0..2 {
                let (journal, _) = open(&directory);
                assert_eq!(
                    (journal.upgrade().is_some(), journal.has_foreign_trial()),
                    (told, !told)
                );
                assert!(
                    journal.minimum_version(ComponentName::PROGRAM).is_some(),
                    "what the history remembers is there too"
                );
                let Some(State::Reverting { upgrade, swap, verdict }) = journal.upgrade() else {
                    continue;
                };
                assert_eq!(
                    (upgrade.id.0.as_str(), swap.package.program_digest),
                    ("lost", ProgramDigest([7; 32]))
                );
                assert_eq!(verdict.failure.to_string(), "why", "the rescue's own verdict stands");
            }
        }
    }
}

#[test]
fn a_trial_that_was_reported_is_not_put_back_however_long_the_rescue_keeps_its_copy() {
    let directory = TempDir::new().unwrap();
    open(&directory)
        .0
        .conclude(&report("lost", ChannelName::SHELL, Outcome::Succeeded, 7), true)
        .unwrap();
    rescued(&directory, &serde_json::Value::Null, false);
    std::fs::remove_file(directory.path().join(STATE_FILE)).unwrap();
    let (journal, _) = open(&directory);
    assert!(journal.upgrade().is_none() && !journal.has_foreign_trial());
}

/// No bit can flip so that the trial goes on by what it says, nor so that it is forgotten.
#[test]
fn a_flipped_bit_in_the_state_of_a_trial_ends_it() {
    let directory = TempDir::new().unwrap();
    rescued(
        &directory,
        &serde_json::to_value(report("lost", ChannelName::PSDK, Outcome::RolledBack, 7).package)
            .unwrap(),
        false,
    );
    let trial = serde_json::from_str(FIRST_FORMAT[3]).map(|mut state: serde_json::Value| {
        state["format"] = FORMAT.into();
        sealed(&state).into_bytes()
    });
    let trial = trial.unwrap();
    for at in (0..trial.len() * 8).step_by(61) {
        let mut flipped = trial.clone();
        flipped[at / 8] ^= 1 << (at % 8);
        std::fs::File::create(directory.path().join(STATE_FILE))
            .and_then(|mut file| std::io::Write::write_all(&mut file, &flipped))
            .unwrap();
        let (journal, damaged) = open(&directory);
        assert_eq!(damaged.len(), 1, "bit {at}");
        assert!(
            matches!(journal.upgrade(), Some(State::Reverting { .. })),
            "bit {at}: {:?}",
            journal.upgrade()
        );
        std::fs::remove_file(directory.path().join("state.json.damaged")).unwrap();
    }
}

#[test]
fn of_a_damaged_state_a_report_that_the_history_knows_still_waits_for_its_receiver() {
    let directory = TempDir::new().unwrap();
    open(&directory)
        .0
        .conclude(&report("one", ChannelName::PSDK, Outcome::Succeeded, 1), false)
        .unwrap();
    let whole = std::fs::read_to_string(directory.path().join(STATE_FILE)).unwrap();
    for (from, to, kept) in [("\"known_bad\"", "\"known_bat\"", 1), ("P_V02", "P_V03", 0)] {
        write_file(&directory, STATE_FILE, &whole.replace(from, to));
        let (journal, damaged) = open(&directory);
        assert!(damaged[0].to_string().contains("the checksum differs"), "{}", damaged[0]);
        assert_eq!(journal.unacknowledged().len(), kept);
    }
}

/// A daemon on trial leaves the files in the form that the one before it reads.
#[test]
fn a_new_format_is_written_once_nothing_is_on_trial() {
    let directory = TempDir::new().unwrap();
    let has_checksum =
        |name| std::fs::read_to_string(directory.path().join(name)).unwrap().contains("crc32");
    write_file(&directory, STATE_FILE, FIRST_FORMAT[3]);
    let (mut journal, damaged) = open(&directory);
    assert!(damaged.is_empty(), "{damaged:?}");
    let State::Trial { upgrade, swap, attempt, .. } = journal.upgrade().cloned().unwrap() else {
        panic!("a trial")
    };
    journal
        .record(&State::Trial { upgrade, swap, attempt, confirmed_by: Some("uid 0".into()) })
        .unwrap();
    assert!(!has_checksum(STATE_FILE));
    journal.conclude(&report("one", ChannelName::SHELL, Outcome::Succeeded, 1), true).unwrap();
    assert!(
        has_checksum(STATE_FILE) && !has_checksum(HISTORY_FILE),
        "the history is written before the trial is over"
    );
    journal.conclude(&report("two", ChannelName::SHELL, Outcome::Failed, 2), true).unwrap();
    assert!(has_checksum(HISTORY_FILE));
    assert!(open(&directory).1.is_empty());
}

/// What version 0.1.0 would make of them, if it passed over fields that it does not know: nothing
/// else hangs on the format.
#[test]
fn an_older_reader_reads_the_new_format() {
    let directory = TempDir::new().unwrap();
    open(&directory)
        .0
        .conclude(&report("one", ChannelName::PSDK, Outcome::Succeeded, 1), false)
        .unwrap();
    let text = |name| std::fs::read(directory.path().join(name)).unwrap();
    #[derive(serde::Deserialize)]
    struct HistoryFile {
        format: u32,
        reports: Vec<Report>,
    }
    let state: StateFile = serde_json::from_slice(&text(STATE_FILE)).unwrap();
    let history: HistoryFile = serde_json::from_slice(&text(HISTORY_FILE)).unwrap();
    let journal = open(&directory).0;
    assert_eq!((&state, history.format), (&journal.state, FORMAT));
    assert!(journal.reports().eq(history.reports));
}

#[test]
fn the_configuration_is_believed_again_once_both_programs_are_known() {
    let (directory, by_hand) = (TempDir::new().unwrap(), ProgramDigest([9; 32]));
    open(&directory).0.note_gap().unwrap();
    for (number, believed) in [(1, false), (2, true)] {
        let (mut journal, _) = open(&directory);
        journal
            .conclude(
                &report(&number.to_string(), ChannelName::SHELL, Outcome::Succeeded, number),
                true,
            )
            .unwrap();
        assert_eq!(
            open(&directory).0.may_be_by_hand(ComponentName::PROGRAM, by_hand),
            believed,
            "after {number}"
        );
    }
}

#[test]
fn a_program_that_failed_is_not_the_one_that_was_installed_by_hand() {
    let directory = TempDir::new().unwrap();
    let (mut journal, _) = open(&directory);
    journal.conclude(&report("one", ChannelName::SHELL, Outcome::RolledBack, 7), true).unwrap();
    assert!(
        !journal.may_be_by_hand(ComponentName::PROGRAM, ProgramDigest([7; 32]))
            && journal.may_be_by_hand(ComponentName::PROGRAM, ProgramDigest([8; 32]))
    );
}
