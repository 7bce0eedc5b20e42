use tempfile::TempDir;

use super::*;
use crate::model::{Failure, FailureKind, PackageSummary, Request, TransferKind, UpgradeId};
use crate::package::digest::FileDigest;

fn report(id: &str, channel: Channel, outcome: Outcome, digest: u8) -> Report {
    Report {
        id: UpgradeId(id.into()),
        request: Request { channel, requester: "0xed".into(), transfer: TransferKind::Ftp },
        from: None,
        package: Some(PackageSummary {
            file_name: "P_V02.00.00.00.bin".into(),
            product: "P".into(),
            version: Version::new([2, 0, 0, 0]).unwrap(),
            size: 1,
            file_digest: FileDigest([digest; 32]),
            program_digest: ProgramDigest([digest; 32]),
        }),
        outcome,
        failure: (outcome != Outcome::Succeeded).then(|| Failure::new(FailureKind::Unhealthy, "it failed")),
        evidence: None,
        began: stamp(),
        ended: stamp(),
        phases: Vec::new(),
    }
}

fn open(directory: &TempDir) -> (Journal, Vec<Damaged>) {
    Journal::open(directory.path()).unwrap()
}

#[test]
fn what_was_concluded_is_found_again() {
    let directory = TempDir::new().unwrap();
    let (mut journal, damaged) = open(&directory);
    assert!(damaged.is_empty());
    journal.conclude(&report("one", Channel::Psdk, Outcome::Succeeded, 1), false).unwrap();
    let (mut journal, damaged) = open(&directory);
    assert!(damaged.is_empty());
    assert_eq!(journal.unacknowledged().len(), 1);
    assert_eq!(journal.installed().unwrap().digest, ProgramDigest([1; 32]));
    journal.acknowledge(Channel::Psdk).unwrap();
    assert!(open(&directory).0.unacknowledged().is_empty());
    assert_eq!(open(&directory).0.history().len(), 1);
}

#[test]
fn one_unacknowledged_report_a_channel() {
    let directory = TempDir::new().unwrap();
    let (mut journal, _) = open(&directory);
    journal.conclude(&report("one", Channel::Psdk, Outcome::Failed, 1), false).unwrap();
    journal.conclude(&report("two", Channel::Shell, Outcome::Failed, 1), true).unwrap();
    assert_eq!(journal.unacknowledged().len(), 1);
    journal.conclude(&report("three", Channel::Psdk, Outcome::Failed, 1), false).unwrap();
    assert_eq!(journal.unacknowledged()[0].id, UpgradeId("three".into()));
    assert_eq!(journal.history().len(), 3);
}

#[test]
fn a_program_that_was_rolled_back_is_known_bad_until_it_succeeds() {
    let directory = TempDir::new().unwrap();
    let (mut journal, _) = open(&directory);
    journal.conclude(&report("one", Channel::Psdk, Outcome::RolledBack, 7), false).unwrap();
    assert_eq!(open(&directory).0.known_bad(), [ProgramDigest([7; 32])]);
    journal.conclude(&report("two", Channel::Psdk, Outcome::Succeeded, 7), false).unwrap();
    assert!(journal.known_bad().is_empty());
}

#[test]
fn a_program_that_failed_on_trial_is_known_bad_even_if_it_could_not_be_taken_away() {
    let directory = TempDir::new().unwrap();
    let (mut journal, _) = open(&directory);
    journal.conclude(&report("one", Channel::Psdk, Outcome::Failed, 7), false).unwrap();
    assert_eq!(journal.known_bad(), [ProgramDigest([7; 32])]);
    let mut refused = report("two", Channel::Psdk, Outcome::RolledBack, 8);
    refused.failure = Some(Failure::new(FailureKind::RestartFailed, "the restart was refused"));
    journal.conclude(&refused, false).unwrap();
    assert_eq!(journal.known_bad(), [ProgramDigest([7; 32])], "a restart that never came is not the program's fault");
}

#[test]
fn the_history_has_a_length() {
    let directory = TempDir::new().unwrap();
    let (mut journal, _) = open(&directory);
    for number in 0..=HISTORY_LENGTH {
        journal.conclude(&report(&number.to_string(), Channel::Shell, Outcome::Failed, 1), true).unwrap();
    }
    assert_eq!(journal.history().len(), HISTORY_LENGTH);
    assert_eq!(journal.history()[0].id, UpgradeId("1".into()));
}

#[test]
fn damage_is_set_aside_and_told() {
    let directory = TempDir::new().unwrap();
    for (text, expected) in [("{", "EOF"), ("", "EOF"), ("\0\0\0\0", "expected value"), ("{\"format\":2}", "missing field")] {
        write_file(&directory, STATE_FILE, text);
        let (journal, damaged) = open(&directory);
        assert!(journal.upgrade().is_none());
        assert_eq!(damaged.len(), 1);
        assert!(damaged[0].to_string().contains(expected), "{}", damaged[0]);
    }
    let kept = std::fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(kept, 4, "each damaged file is kept");
}

#[test]
fn a_file_of_a_newer_version_is_not_guessed_at() {
    let directory = TempDir::new().unwrap();
    write_file(&directory, HISTORY_FILE, r#"{"format":2,"reports":[]}"#);
    let (_, damaged) = open(&directory);
    assert!(damaged[0].to_string().contains("format 2 is not known"), "{}", damaged[0]);
}

#[test]
fn damage_again_and_again_does_not_fill_the_disk() {
    let directory = TempDir::new().unwrap();
    for _ in 0..30 {
        write_file(&directory, STATE_FILE, "damaged");
        open(&directory);
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 10);
}

#[test]
fn a_crash_between_the_two_files_does_not_cost_the_history_its_entry() {
    let directory = TempDir::new().unwrap();
    let (mut journal, _) = open(&directory);
    journal.conclude(&report("one", Channel::Psdk, Outcome::Failed, 1), false).unwrap();
    std::fs::remove_file(directory.path().join(HISTORY_FILE)).unwrap();
    assert_eq!(open(&directory).0.history().len(), 1);
}

fn write_file(directory: &TempDir, name: &str, text: &str) {
    use std::io::Write;
    std::fs::File::create(directory.path().join(name)).unwrap().write_all(text.as_bytes()).unwrap();
}
