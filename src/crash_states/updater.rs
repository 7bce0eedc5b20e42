//! Another updater, as a model: what it is told, and what it leaves on the disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::firmware::Firmware;
use crate::component::command::{Ended, Job, Purpose};
use crate::disk;
use crate::disk::recording::RecordingDisk;

/// Another updater: it keeps what it is handed, and writes down that it was run.
#[derive(Debug)]
pub(crate) struct Updater {
    pub(crate) disk: Arc<RecordingDisk>,
    /// Its own directory.
    pub(crate) directory: PathBuf,
    /// Whether what it installs is there afterwards.
    pub(crate) works: AtomicBool,
}

impl Updater {
    /// What is installed, and every run that was begun, a line each.
    pub(crate) const INSTALLED: &str = "installed";
    pub(crate) const RUNS: &str = "runs";

    /// Does a job.
    pub(crate) fn run(&self, job: &Job) -> Ended {
        let version = match job.command.as_slice() {
            [install, file] if install == "install" => self.version_in(Path::new(file)),
            [revert, version] if revert == "revert" => version.clone(),
            other => panic!("nobody runs {other:?}"),
        };
        let mut runs = fs::read_to_string(self.directory.join(Self::RUNS)).unwrap_or_default();
        runs.push_str(&format!("{} {version}\n", job.id));
        self.write(Self::RUNS, &runs);
        if self.works.load(Ordering::Relaxed) || job.id.purpose == Purpose::Revert {
            self.write(Self::INSTALLED, &version);
        }
        Ended::Exit(0)
    }

    /// That which the name of a file tells, and all of the file must be of it.
    fn version_in(&self, file: &Path) -> String {
        let name = file.file_stem().unwrap().to_str().unwrap();
        let version = name.split('_').next_back().unwrap();
        let bytes = fs::read(file).unwrap();
        match bytes == Firmware::new(version).bytes {
            true => version.to_owned(),
            false => format!("a damaged {version}"),
        }
    }

    fn write(&self, name: &str, text: &str) {
        disk::write_atomic(&*self.disk, &self.directory, name, text.as_bytes()).unwrap();
    }
}
