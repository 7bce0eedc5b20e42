//! A change by another updater: it is handed the checked file, or told to go back, by a command of
//! its own, and how that ended is known afterwards, whatever happened to the daemon meanwhile.
//!
//! The command is run by a runner, a process that is not the daemon's: a package may restart the
//! daemon in the middle. Both meet in `change/`, below the directory of the state, which nobody but
//! root can enter:
//!
//! | file in `change/` | what it is | by whom |
//! |---|---|---|
//! | `payload/<name>` | the file without manifest and seal, read-only, complete before the command is begun | daemon |
//! | `job.json` | the command that is to be run ([`Job`]) | daemon |
//! | `lock` | locked by the runner as long as it lives | runner |
//! | `begun.json` | the runner is in charge: this job is never begun again | runner |
//! | `progress` | what the command told last of its work on its standard output: the number of `percent N`, or of `N% …`, right-aligned in three characters, and the words of `phase WORDS`; 256 bytes | runner |
//! | `output`, `output.before` | the last lines that it wrote, on both streams, at most 64 KiB | runner |
//! | `reserve` | room for the result on a disk that the command fills | runner |
//! | `result.json` | how it ended | runner |
//!
//! So a job is found in one of these states by any daemon, at any time:
//!
//! | `begun.json` | `lock` | `result.json` | the job |
//! |---|---|---|---|
//! | is another's or none | free | | was not begun |
//! | is of this job | held | | runs |
//! | is of this job | free | is of this job | has ended |
//! | is of this job | free | is another's or none | vanished: the runner was killed, or the power was cut |
//!
//! The room must not know why something is changed, what an exit code means to the updater, and
//! what follows.

mod payload;
mod runner;
mod start;
mod told;
mod wait;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::disk::{self, Disk, LocalDisk, Operation};
use crate::host::command::{Isolation, Reach};
use crate::model::version::Version;
use crate::model::{Failure, FailureKind};
use crate::package::preflight;
use crate::record::change;

pub use change::{Ended, Job, JobId, Purpose};
#[cfg(test)]
pub(crate) use runner::carry_out;
pub(crate) use runner::run;
pub use told::Told;
pub use wait::Finished;

/// Locked by the runner.
const LOCK: &str = "lock";
/// The last percentage.
const PROGRESS: &str = "progress";
/// What the command wrote last, and before that.
const OUTPUT: [&str; 2] = ["output", "output.before"];
/// Room on the disk.
const RESERVE: &str = "reserve";
/// The directory of the file.
const PAYLOAD: &str = "payload";

/// The directory of the changes, of which there is one at a time.
#[derive(Debug, Clone)]
pub struct Change {
    directory: PathBuf,
    disk: Arc<dyn Disk>,
    runner: Option<PathBuf>,
}

impl Change {
    /// The one below this directory of the state, which must exist.
    pub fn below(state: &Path) -> Self {
        Self::on(Arc::new(LocalDisk), state)
    }

    /// [`Change::below`] on a disk of the caller's.
    pub(crate) fn on(disk: Arc<dyn Disk>, state: &Path) -> Self {
        Self { directory: state.join(change::DIRECTORY), disk, runner: None }
    }

    /// With another `uplift` to run the command than the program of this process.
    #[must_use]
    pub fn with_runner(self, runner: PathBuf) -> Self {
        Self { runner: Some(runner), ..self }
    }

    /// Where it is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Removes what the last job has left, its file included. `busy` while that runs. Blocks.
    pub fn clear(&self) -> Result<(), Failure> {
        self.check_free()?;
        self.forget_payload().and_then(|()| self.forget_job()).map_err(|error| self.unusable(error))
    }

    /// `busy` while a runner lives.
    fn check_free(&self) -> Result<(), Failure> {
        match disk::is_locked(&self.lock()).map_err(|error| self.unusable(error))? {
            false => Ok(()),
            true => Err(Failure::new(FailureKind::Busy, "another updater still runs")),
        }
    }

    /// The job that is known last goes first: without it the rest is nobody's.
    fn forget_job(&self) -> io::Result<()> {
        disk::remove_if_present(&*self.disk, &self.directory.join(change::JOB_FILE))?;
        self.forget_run()
    }

    /// What is left of a run, but not what was to be run.
    fn forget_run(&self) -> io::Result<()> {
        let of_run = [change::BEGUN_FILE, change::RESULT_FILE, PROGRESS, RESERVE];
        for name in of_run.into_iter().chain(OUTPUT) {
            disk::remove_if_present(&*self.disk, &self.directory.join(name))?;
        }
        // What a power cut has left half-written.
        let files = [change::JOB_FILE, change::BEGUN_FILE, change::RESULT_FILE];
        files.into_iter().try_for_each(|name| {
            disk::remove_if_present(&*self.disk, &self.directory.join(disk::unfinished(name)))
        })
    }

    /// Makes the directory, durably.
    fn prepare(&self) -> io::Result<()> {
        self.make_directory(&self.directory)
    }

    fn make_directory(&self, path: &Path) -> io::Result<()> {
        match self.disk.apply(Operation::MakeDirectory { path }) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
            made => made?,
        }
        let parent = path.parent().unwrap_or(Path::new("/"));
        self.disk.apply(Operation::SyncDirectory { path: parent })
    }

    fn lock(&self) -> PathBuf {
        self.directory.join(LOCK)
    }

    fn unusable(&self, error: io::Error) -> Failure {
        let sentence =
            format!("the directory {} of another updater can't be used", self.directory.display());
        Failure::from_io(FailureKind::InstallFailed, sentence, error)
    }
}

/// The version that a command tells, such as one that asks another updater what is installed.
/// Blocks, until the deadline at most.
pub fn told_version(
    command: &[String],
    isolation: Isolation,
    deadline: Duration,
) -> Result<Version, Failure> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(Failure::new(FailureKind::PreflightFailed, "no command tells the version"));
    };
    let program = Path::new(program);
    Ok(preflight::printed_version(program, arguments, Reach::Machine, isolation, deadline)?)
}
