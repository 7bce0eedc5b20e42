//! The daemon's part in the rescue's file. It begins the file before a swap, so that a trial has a
//! second copy before it exists, and removes it when the trial is over: the rescue's first look may
//! come late, or never.
//!
//! It does both as the rescue would, by what lies on the disk and under the lock of the swap, and
//! leaves alone what the rescue has written of the same trial. It must not know the engine.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::judge::is_concluded;
use super::not_written;
use crate::component::program::Program;
use crate::disk::Disk;
use crate::model::{Failure, FailureKind};
use crate::record::rescue::{RescueFile, UNFINISHED};
use crate::record::trial::{self, Known};

/// The second copy of a trial, beside its state.
#[derive(Debug, Clone)]
pub(crate) struct SecondCopy {
    disk: Arc<dyn Disk>,
    /// Directory of `state.json` and `rescue.json`.
    state: PathBuf,
}

impl SecondCopy {
    /// That of the state in this directory.
    pub(crate) fn new(disk: Arc<dyn Disk>, state: PathBuf) -> Self {
        Self { disk, state }
    }

    /// Copies the trial that the state file tells of, durably. Where there is a copy already, it
    /// stays.
    pub(crate) fn make(&self) -> Result<(), Failure> {
        let (Known::Trial(trial) | Known::WayBack(trial, _)) = trial::read(&self.state) else {
            return Err(Failure::new(
                FailureKind::InstallFailed,
                "the state file tells of no trial, which so has no second copy",
            ));
        };
        let is_made = || {
            RescueFile::read(&self.state)
                .ok()
                .flatten()
                .is_some_and(|file| file.trial.upgrade == trial.upgrade)
        };
        if is_made() {
            return Ok(());
        }
        let _lock = Program::on(Arc::clone(&self.disk), &trial.terms.program).keep_others_out()?;
        if is_made() {
            return Ok(());
        }
        let written = RescueFile::not_looked_at((*trial).clone()).write(&*self.disk, &self.state);
        written.map_err(|error| {
            Failure::from_io(
                FailureKind::InstallFailed,
                "the second copy of the trial can't be written",
                error,
            )
        })
    }

    /// Removes the copy of a trial that the state file has concluded: with the state lost later it
    /// would speak of a trial that is over. A verdict of the rescue stays to be read.
    pub(crate) fn forget(&self) -> Result<(), Failure> {
        let look = || {
            RescueFile::read(&self.state)
                .ok()
                .flatten()
                .filter(|file| is_concluded(&trial::read(&self.state), Some(file)))
        };
        let Some(file) = look() else { return Ok(()) };
        // The copy of an upgrade that begins meanwhile is not this one.
        let _lock =
            Program::on(Arc::clone(&self.disk), &file.trial.terms.program).keep_others_out()?;
        if look().is_none() {
            return Ok(());
        }
        RescueFile::forget(&*self.disk, &self.state).map_err(not_written)
    }

    /// What a daemon does that starts and finds no trial: it removes what one that was killed left,
    /// of any of these programs.
    pub(crate) fn settle(&self, programs: &[Program]) -> Result<(), Failure> {
        if self.state.join(UNFINISHED).exists() {
            // Programs in one directory share a lock.
            let by_directory: BTreeMap<_, _> =
                programs.iter().map(|program| (program.path().parent(), program)).collect();
            let _locks = by_directory
                .values()
                .map(|program| program.keep_others_out())
                .collect::<Result<Vec<_>, _>>()?;
            RescueFile::remove_unfinished(&*self.disk, &self.state).map_err(not_written)?;
        }
        self.forget()
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "files of a test need not survive anything")]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::disk::LocalDisk;
    use crate::model::{Restart, UpgradeId};
    use crate::record::STATE_FILE;
    use crate::record::checksum::tests::sealed;
    use crate::record::trial::Trial;
    use crate::record::trial::tests::trial;

    /// The trial of a program in this directory, and the state file that tells of it.
    fn swapped_in(directory: &Path) -> (SecondCopy, Trial) {
        let mut trial = trial(Restart::Unit("u".into()));
        trial.format = 2;
        trial.terms.program = directory.join("program");
        let mut upgrade = trial.contract();
        upgrade["phase"] = "trial".into();
        let state = serde_json::json!({ "format": 2, "upgrade": upgrade });
        std::fs::write(directory.join(STATE_FILE), sealed(&state)).unwrap();
        (SecondCopy::new(Arc::new(LocalDisk), directory.into()), trial)
    }

    fn conclude(directory: &Path) {
        let idle = serde_json::json!({ "format": 2, "upgrade": null });
        std::fs::write(directory.join(STATE_FILE), sealed(&idle)).unwrap();
    }

    #[test]
    fn a_trial_is_copied_once() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let (copy, trial) = swapped_in(directory);
        copy.make().unwrap();
        let made = RescueFile::read(directory).unwrap().unwrap();
        assert_eq!(made.trial.upgrade, trial.upgrade);
        assert_eq!((made.boots, made.ruling.is_some()), (1, false));
        let counted = RescueFile { boots: 2, ..made };
        counted.write(&LocalDisk, directory).unwrap();
        copy.make().unwrap();
        assert_eq!(
            RescueFile::read(directory).unwrap(),
            Some(counted.clone()),
            "what the rescue has counted stays"
        );
        let mut other = counted;
        other.trial.upgrade = UpgradeId("another".into());
        other.write(&LocalDisk, directory).unwrap();
        copy.make().unwrap();
        let made = RescueFile::read(directory).unwrap().unwrap();
        assert_eq!((made.trial.upgrade, made.boots), (trial.upgrade, 1));
    }

    #[test]
    fn without_a_trial_there_is_nothing_to_copy() {
        let directory = tempfile::tempdir().unwrap();
        let (copy, _) = swapped_in(directory.path());
        conclude(directory.path());
        assert_eq!(copy.make().unwrap_err().kind, FailureKind::InstallFailed);
        assert_eq!(RescueFile::read(directory.path()).unwrap(), None);
    }

    #[test]
    fn what_a_killed_daemon_left_is_removed_and_a_verdict_stays() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let (copy, trial) = swapped_in(directory);
        let programs = [Program::on(Arc::new(LocalDisk), &trial.terms.program)];
        copy.make().unwrap();
        std::fs::write(directory.join(UNFINISHED), "{").unwrap();
        copy.settle(&programs).unwrap();
        assert!(!directory.join(UNFINISHED).exists(), "a beginning serves nobody");
        let made = RescueFile::read(directory).unwrap().expect("the trial is not over");
        conclude(directory);
        copy.settle(&programs).unwrap();
        assert_eq!(RescueFile::read(directory).unwrap(), None, "the trial is over");
        let ruled = made.concluded(Failure::new(FailureKind::Unhealthy, "why"), None);
        ruled.write(&LocalDisk, directory).unwrap();
        copy.settle(&programs).unwrap();
        assert_eq!(RescueFile::read(directory).unwrap(), Some(ruled));
    }
}
