//! Several components: what is remembered of each, and what of that outlives another version of the
//! daemon and the loss of the state.

use serde_json::{Value, json};

use super::*;

const CAMERA: &str = "camera";

fn camera() -> ComponentName {
    CAMERA.parse().unwrap()
}

/// Of the camera; the digest is as of the program of the same number.
fn of_camera(number: u8, outcome: Outcome) -> Report {
    let report = of_version(number, outcome);
    Report {
        id: UpgradeId(format!("camera {number} {outcome}")),
        component: Some(camera()),
        ..report
    }
}

/// Of the package of this version.
fn record(number: u8) -> InstalledRecord {
    let package = of_version(number, Outcome::Succeeded).package.unwrap();
    InstalledRecord { version: package.version, digest: package.program_digest }
}

fn taken_back(report: Report) -> Report {
    let failure = Some(Failure::new(FailureKind::Cancelled, "rolled back by uid 0"));
    let id = UpgradeId(format!("{} taken back", report.id));
    Report { id, failure, outcome: Outcome::RolledBack, ..report }
}

fn state(directory: &TempDir) -> Value {
    serde_json::from_slice(&std::fs::read(directory.path().join(STATE_FILE)).unwrap()).unwrap()
}

/// Versions and digests of the camera, and of the program.
fn memory(journal: &Journal) -> [(Option<InstalledRecord>, usize, Option<Version>); 2] {
    [camera(), ComponentName::PROGRAM].map(|name| {
        (journal.installed(name), journal.known_bad(name).len(), journal.minimum_version(name))
    })
}

/// The program has V05, the camera had V02 and V09 and is back at V02.
fn two_lives(directory: &TempDir) -> Journal {
    let (mut journal, _) = open(directory);
    for report in [
        of_version(5, Outcome::Succeeded),
        of_camera(2, Outcome::Succeeded),
        of_camera(9, Outcome::Succeeded),
        taken_back(of_camera(9, Outcome::Succeeded)),
    ] {
        journal.conclude(&report, true).unwrap();
    }
    journal
}

#[test]
fn each_has_a_memory_of_its_own() {
    let directory = TempDir::new().unwrap();
    two_lives(&directory);
    let journal = open(&directory).0;
    let [camera, program] = memory(&journal);
    assert_eq!(camera, (Some(record(2)), 1, Version::new([2, 0, 0, 0])));
    assert_eq!(program, (Some(record(5)), 0, Version::new([5, 0, 0, 0])));
    assert_eq!(journal.known_programs(ComponentName::PROGRAM), [5, 5].map(record));
    // In the file the program's stands where version 0.1.0 looks for it.
    let file = state(&directory);
    assert_eq!(file["minimum_version"], "V05.00.00.00");
    assert_eq!(file["components"][CAMERA]["minimum_version"], "V02.00.00.00");
}

/// An earlier daemon did not write down what had raised the lowest version: then the successes of
/// the same component tell it, and of no other.
#[test]
fn a_lowest_version_is_lowered_by_what_succeeded_of_the_same_component() {
    let directory = TempDir::new().unwrap();
    let (mut journal, _) = open(&directory);
    for report in [of_version(5, Outcome::Succeeded), of_version(9, Outcome::Succeeded)] {
        journal.conclude(&report, true).unwrap();
    }
    journal.conclude(&of_camera(7, Outcome::Succeeded), true).unwrap();
    journal.state.program.minimum_raised = None;
    journal.conclude(&taken_back(of_version(9, Outcome::Succeeded)), true).unwrap();
    let minimum = open(&directory).0.minimum_version(ComponentName::PROGRAM);
    assert_eq!(minimum, Version::new([5, 0, 0, 0]));
}

#[test]
fn a_lost_state_comes_back_for_each() {
    let directory = TempDir::new().unwrap();
    let before = memory(&two_lives(&directory));
    std::fs::remove_file(directory.path().join(STATE_FILE)).unwrap();
    for _ in 0..2 {
        let journal = open(&directory).0;
        assert_eq!(memory(&journal), before);
        // Of none is it believed that it was installed by hand, be it of one without a report.
        for name in [camera(), ComponentName::PROGRAM, "modem".parse().unwrap()] {
            assert!(!journal.may_be_by_hand(name, ProgramDigest([200; 32])), "{name}");
        }
    }
    let fresh = TempDir::new().unwrap();
    assert!(open(&fresh).0.may_be_by_hand(camera(), ProgramDigest([200; 32])));
}

/// A daemon of a later version has written it; this one can't read all of it, and keeps what it
/// can.
#[test]
fn what_can_be_read_of_another_version_is_kept_for_each() {
    let directory = TempDir::new().unwrap();
    let before = memory(&two_lives(&directory));
    let mut file = state(&directory);
    file["format"] = json!(99);
    file["upgrade"] = json!({ "phase": "of-its-own" });
    file["components"][CAMERA]["of_its_own"] = json!([1]);
    file["components"]["Not a name"] = json!({});
    file["components"]["modem"] = json!("of no form");
    write_file(&directory, STATE_FILE, &sealed(&file));
    let (journal, damaged) = open(&directory);
    assert_eq!(damaged.len(), 1);
    assert_eq!(memory(&journal), before);
}
