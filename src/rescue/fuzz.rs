//! What must hold of any two files that the rescue finds.

use std::path::Path;

use super::judge::{Call, Decision, Now, judge, trial_of};
use crate::disk::LocalDisk;
use crate::journal::Journal;
use crate::model::{Origin, ProgramDigest};
use crate::record::rescue::RescueFile;
use crate::record::trial::{self, Known};

/// For the fuzzer: reads state file and rescue's file in `directory`, and judges at every moment
/// that differs. Panics where a promise is broken. The state file may be set aside.
#[doc(hidden)]
#[allow(clippy::expect_used, reason = "a fuzzer wants to know")]
pub fn fuzz(directory: &Path) {
    let known = trial::read(directory);
    let file = RescueFile::read(directory).ok().flatten();
    // Alone with the state file first: a verdict beside it may end the trial that the two are asked
    // about.
    RescueFile::forget(&LocalDisk, directory).expect("the disk is sound");
    agrees_with_daemon(&known, directory);
    if let Some(file) = &file {
        file.write(&LocalDisk, directory).expect("the disk is sound");
        assert_eq!(
            RescueFile::read(directory).expect("what was written is read").as_ref(),
            Some(file)
        );
    }
    let Some(trial) = trial_of(&known, file.as_ref()) else { return };
    let foreign = (0..3)
        .map(|byte| ProgramDigest([byte; 32]))
        .find(|digest| *digest != trial.on_trial && Some(*digest) != trial.old);
    let origins = [trial.origin.clone(), Origin { boot_id: "another".into(), invocation: None }];
    for call in [Call::Boot, Call::Deadline] {
        for origin in &origins {
            for uptime in [0, u64::MAX] {
                for at_path in [None, Some(trial.on_trial), trial.old, foreign] {
                    let now = Now { call, origin: origin.clone(), uptime, at_path };
                    let decision = judge(&known, file.as_ref(), &now);
                    if let Decision::RollBack(after) = &decision {
                        assert!(after.ruling.is_some(), "nothing is rolled back without a verdict");
                        assert!(at_path != foreign, "a program of another's is left alone");
                    }
                }
            }
        }
    }
}

/// Whatever the daemon can read, the rescue reads alike: whether a program is on trial, and which.
/// Of a trial in another version's form the daemon knows no more than that it is one.
fn agrees_with_daemon(known: &Known, directory: &Path) {
    let Ok((journal, damaged)) = Journal::open(directory) else { return };
    if !damaged.is_empty() || *known == Known::Absent {
        return;
    }
    let on_trial = journal.upgrade().and_then(|state| Some((state.upgrade()?, state.swap()?)));
    match (on_trial, known) {
        (None, known) if journal.has_foreign_trial() => assert_ne!(*known, Known::NoTrial),
        (None, known) => assert_eq!(*known, Known::NoTrial),
        (Some((upgrade, swap)), Known::Trial(trial) | Known::WayBack(trial, _)) => {
            assert_eq!(
                (&upgrade.id, swap.package.program_digest, swap.old),
                (&trial.upgrade, trial.on_trial, trial.old)
            );
            assert_eq!(
                (&swap.origin, &swap.terms.program, swap.terms.boots),
                (&trial.origin, &trial.terms.program, trial.terms.boots)
            );
            assert_eq!(
                (&swap.terms.restart, &swap.terms.unit),
                (&trial.terms.restart, &trial.terms.unit)
            );
            assert_eq!(swap.terms.restart_deadline, trial.terms.restart_deadline());
        }
        (Some(_), other) => panic!("the daemon reads a trial, the rescue {other:?}"),
    }
}
