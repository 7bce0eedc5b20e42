//! The rescue's file. The daemon begins it before a swap (its second copy of a trial) and removes it
//! with the end of the trial; all else in it is the rescue's. Whoever writes it holds the lock of
//! the swap.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::trial::Trial;
use crate::disk::{self, Disk, Operation};
use crate::model::{Failure, Origin, Restart, Verdict};
use crate::record::checksum::{self, FIRST_FORMAT};

pub(crate) const RESCUE_FILE: &str = "rescue.json";
/// What a writer leaves that is killed.
pub(crate) const UNFINISHED: &str = "rescue.json.new";
/// Instead of the seconds, while no call of the rescue has seen the trial: its first one takes the
/// smaller number.
const NOT_YET: u64 = u64::MAX;
/// Largest file that is read; a log of fifty long lines makes a tenth of it.
const LARGEST_FILE: u64 = 1 << 20;

/// `rescue.json`, beside `state.json`: how long a trial has been seen, and the verdict on it.
///
/// | field | meaning |
/// |---|---|
/// | `format` | that of the state file in which the trial was seen, which every daemon reads that may have to: from 2 on with a [`checksum`]. Unknown fields are passed over; what can't be read is damaged, and begun anew |
/// | `trial` | the trial as it was first seen: upgrade, digests, terms, and what a report needs |
/// | `boot_id` | the boot that was seen last |
/// | `since` | seconds since that boot began (CLOCK_BOOTTIME, as `/proc/uptime` tells) when the rescue first saw the trial in it; the largest number of 64 bits while it has not |
/// | `boots` | boots that the trial has taken; the one of the swap does not count where the restart is a reboot, or a command that may be one |
/// | `ruling` | `null`, or the end of the trial by the rescue's word |
/// | `ruling.verdict` | why, and the last lines that the new program logged |
/// | `ruling.rolled_back` | whether the old program is back at the path; `false` is carried out at the next call |
/// | `ruling.restart_from` | the boot and the invocation in which the old program must be restarted, `null` where it need not |
/// | `ruling.requests` | how often that restart was asked for |
/// | `crc32` | the checksum |
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RescueFile {
    pub(crate) format: u32,
    pub(crate) trial: Trial,
    pub(crate) boot_id: String,
    pub(crate) since: u64,
    pub(crate) boots: u32,
    pub(crate) ruling: Option<Ruling>,
}

/// The end of a trial by the rescue's word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ruling {
    pub(crate) verdict: Verdict,
    pub(crate) rolled_back: bool,
    pub(crate) restart_from: Option<Origin>,
    pub(crate) requests: u32,
}

impl RescueFile {
    /// A trial that is seen for the first time.
    pub(crate) fn begin(trial: Trial, boot_id: String, since: u64, boots: u32) -> Self {
        Self { format: trial.format.max(FIRST_FORMAT), trial, boot_id, since, boots, ruling: None }
    }

    /// A trial that the rescue has not seen, in the boot in which it is swapped in. A boot too few
    /// gives it one more; one too many would end it.
    pub(crate) fn not_looked_at(trial: Trial) -> Self {
        let boots = u32::from(matches!(trial.terms.restart, Restart::Unit(_)));
        let boot_id = trial.origin.boot_id.clone();
        Self::begin(trial, boot_id, NOT_YET, boots)
    }

    /// With this end of the trial, which is still to be carried out.
    pub(crate) fn concluded(self, failure: Failure, restart_from: Option<Origin>) -> Self {
        let ruling =
            Ruling { verdict: failure.into(), rolled_back: false, restart_from, requests: 0 };
        Self { ruling: Some(ruling), ..self }
    }

    /// Whether the old program came back and may not run yet; where no restart leaves evidence, all
    /// is known that ever will be.
    pub(crate) fn may_owe_restart(&self) -> bool {
        let terms = &self.trial.terms;
        let leaves_evidence = terms.unit.is_some() || !matches!(terms.restart, Restart::Command(_));
        leaves_evidence
            && self
                .ruling
                .as_ref()
                .is_some_and(|ruling| ruling.rolled_back && ruling.restart_from.is_some())
    }

    /// The file in `directory`, if there is one.
    pub(crate) fn read(directory: &Path) -> io::Result<Option<Self>> {
        let Some(text) = disk::read_limited(&directory.join(RESCUE_FILE), LARGEST_FILE)? else {
            return Ok(None);
        };
        checksum::examine(&text).map_err(io::Error::other)?;
        let file: Self = serde_json::from_slice(&text)?;
        if file.format >= FIRST_FORMAT {
            Ok(Some(file))
        } else {
            Err(io::Error::other(format!("format {} is not known", file.format)))
        }
    }

    /// Writes it, durably.
    pub(crate) fn write(&self, disk: &dyn Disk, directory: &Path) -> io::Result<()> {
        disk::write_atomic(disk, directory, RESCUE_FILE, &checksum::to_text(self, self.format)?)
    }

    /// Removes what somebody left who was killed while he wrote: at a boot, when nobody else runs,
    /// or under the lock.
    pub(crate) fn remove_unfinished(disk: &dyn Disk, directory: &Path) -> io::Result<()> {
        let unfinished = directory.join(UNFINISHED);
        if unfinished.exists() { disk::remove_if_present(disk, &unfinished) } else { Ok(()) }
    }

    /// Removes the file of a trial that is over.
    pub(crate) fn forget(disk: &dyn Disk, directory: &Path) -> io::Result<()> {
        disk::remove_if_present(disk, &directory.join(RESCUE_FILE))?;
        disk.apply(Operation::SyncDirectory { path: directory })
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "files of a test need not survive anything")]
mod tests {
    use super::*;
    use crate::record::checksum::tests::sealed;
    use crate::record::trial::tests::trial;

    /// As version 0.1.0 writes it.
    const FIRST_FORMAT: &str = include_str!("../../fuzz/corpus/rescue/ruled");

    #[test]
    fn fields_that_are_not_known_are_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        let (_, text) = FIRST_FORMAT.split_once('\0').unwrap();
        std::fs::write(directory.path().join(RESCUE_FILE), text).unwrap();
        let known = RescueFile::read(directory.path()).unwrap().unwrap();
        let mut value: serde_json::Value = serde_json::from_str(text).unwrap();
        for object in [
            "",
            "/trial",
            "/trial/origin",
            "/trial/terms",
            "/ruling",
            "/ruling/verdict",
            "/ruling/verdict/failure",
        ] {
            value.pointer_mut(object).unwrap()["of_a_later_version"] = 1.into();
        }
        value["format"] = 2.into();
        std::fs::write(directory.path().join(RESCUE_FILE), sealed(&value)).unwrap();
        let later = RescueFile::read(directory.path()).unwrap().unwrap();
        assert_eq!(RescueFile { format: 1, ..later }, known);
    }

    fn ruled(rolled_back: bool, restart_from: Option<Origin>) -> RescueFile {
        let failure = Failure::new(crate::model::FailureKind::Unhealthy, "why");
        let mut file = RescueFile::begin(trial(Restart::Reboot), "boot-1".into(), 9, 1)
            .concluded(failure, restart_from);
        let ruling = file.ruling.as_mut().unwrap();
        assert!(!ruling.rolled_back && ruling.requests == 0, "it is still to be carried out");
        ruling.rolled_back = rolled_back;
        file
    }

    #[test]
    fn a_restart_is_owed_once_the_old_program_is_back() {
        let from = Some(trial(Restart::Reboot).origin);
        for (rolled_back, from, owed) in [
            (true, from.clone(), true),
            (true, None, false),
            (false, from.clone(), false),
            (false, None, false),
        ] {
            assert_eq!(ruled(rolled_back, from).may_owe_restart(), owed);
        }
        let undecided = RescueFile { ruling: None, ..ruled(true, from) };
        assert!(!undecided.may_owe_restart());
    }

    #[test]
    fn a_restart_that_leaves_no_evidence_is_never_owed() {
        let command = || Restart::Command(vec!["restart".into()]);
        for (unit, restart, owed) in [
            (Some("u"), Restart::Unit("u".into()), true),
            (Some("u"), command(), true),
            (None, Restart::Reboot, true),
            (None, command(), false),
        ] {
            let mut file = ruled(true, Some(trial(Restart::Reboot).origin));
            file.trial.terms.unit = unit.map(String::from);
            file.trial.terms.restart = restart.clone();
            assert_eq!(file.may_owe_restart(), owed, "{restart:?}");
        }
    }

    #[test]
    fn what_is_written_is_read_and_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let mut file = ruled(true, None);
        // That of the file serves, and is not written twice.
        file.trial.format = 0;
        file.write(&disk::LocalDisk, directory).unwrap();
        assert_eq!(RescueFile::read(directory).unwrap(), Some(file));
        std::fs::write(directory.join(UNFINISHED), "").unwrap();
        RescueFile::remove_unfinished(&disk::LocalDisk, directory).unwrap();
        assert!(!directory.join(UNFINISHED).exists() && directory.join(RESCUE_FILE).exists());
        RescueFile::forget(&disk::LocalDisk, directory).unwrap();
        assert_eq!(RescueFile::read(directory).unwrap(), None);
    }
}
