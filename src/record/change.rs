//! The files of a change by another updater, in a directory of their own beside the state: what is
//! to be run, that it was begun, and how it ended. The daemon writes the first, the runner of the
//! change the others.

use std::fmt;
use std::io;
use std::path::Path;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::disk::{self, Disk};
use crate::model::{UpgradeId, milliseconds};

/// The directory, below that of the state.
pub(crate) const DIRECTORY: &str = "change";
/// What is to be run: [`Job`].
pub(crate) const JOB_FILE: &str = "job.json";
/// That it was begun: [`Begun`].
pub(crate) const BEGUN_FILE: &str = "begun.json";
/// How it ended: [`Result`].
pub(crate) const RESULT_FILE: &str = "result.json";

/// Largest of these files that is read; a command line has at most 2 MiB, and is far smaller.
const LARGEST_FILE: u64 = 4 << 20;
const FORMAT: u32 = 1;

/// What a command of another updater is run for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// To install a file.
    Install,
    /// To go back to what was before.
    Revert,
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Install => "install",
            Self::Revert => "revert",
        })
    }
}

/// A job's name: one upgrade has at most one of each purpose. As text, it is a part of its unit's
/// name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobId {
    /// The upgrade.
    pub upgrade: UpgradeId,
    /// What it does for that.
    pub purpose: Purpose,
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.purpose, self.upgrade)
    }
}

/// `job.json`: the command that is to be run.
///
/// | field | meaning |
/// |---|---|
/// | `format` | 1; unknown fields are passed over |
/// | `upgrade` | the upgrade that it is for |
/// | `purpose` | `"install"` or `"revert"` |
/// | `command` | program and arguments, with the file's path in its place |
/// | `deadline` | milliseconds that it may take |
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Its name.
    #[serde(flatten)]
    pub id: JobId,
    /// Program and arguments.
    pub command: Vec<String>,
    /// How long it may take.
    #[serde(with = "milliseconds")]
    pub deadline: Duration,
}

/// `begun.json`: the runner is in charge of this job; it is never begun again.
///
/// | field | meaning |
/// |---|---|
/// | `format` | 1; unknown fields are passed over |
/// | `upgrade`, `purpose` | the job |
/// | `runner` | the runner's process id, for a person who looks |
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Begun {
    #[serde(flatten)]
    pub(crate) id: JobId,
    pub(crate) runner: u32,
}

/// `result.json`: how the job ended. Without it, the runner lives, or was killed, or the power was
/// cut.
///
/// | field | meaning |
/// |---|---|
/// | `format` | 1; unknown fields are passed over |
/// | `upgrade`, `purpose` | the job |
/// | `ended` | `"exit"`, `"signal"`, `"timed-out"`, `"not-started"` |
/// | `detail` | the exit code, the signal's number, or why it could not be started; none where the time was over |
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Result {
    #[serde(flatten)]
    pub(crate) id: JobId,
    #[serde(flatten)]
    pub(crate) ended: Ended,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ended", content = "detail", rename_all = "kebab-case")]
pub enum Ended {
    /// With this exit code.
    Exit(i32),
    /// By this signal, which somebody else sent.
    Signal(i32),
    /// Its time was over, and it was ended with all its children.
    TimedOut,
    /// It could not be started, for this reason.
    NotStarted(String),
    /// The runner was killed, or the power was cut: how far it came is not known. No file says so.
    #[serde(skip)]
    Vanished,
    /// No runner ever took charge of it, so that nothing was run. No file says so.
    #[serde(skip)]
    NotBegun,
}

#[derive(Serialize)]
struct Formatted<'a, T> {
    format: u32,
    #[serde(flatten)]
    content: &'a T,
}

/// Reads one of these files, if there is one.
pub(crate) fn read<T: DeserializeOwned>(directory: &Path, name: &str) -> io::Result<Option<T>> {
    let text = disk::read_limited(&directory.join(name), LARGEST_FILE)?;
    text.map(|text| serde_json::from_slice(&text).map_err(io::Error::from)).transpose()
}

/// Writes one of them, durably.
pub(crate) fn write(
    disk: &dyn Disk,
    directory: &Path,
    name: &str,
    content: &impl Serialize,
) -> io::Result<()> {
    let mut text = serde_json::to_vec_pretty(&Formatted { format: FORMAT, content })?;
    text.push(b'\n');
    disk::write_atomic(disk, directory, name, &text)
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "files of a test need not survive anything")]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::disk::LocalDisk;

    fn id(purpose: Purpose) -> JobId {
        JobId { upgrade: UpgradeId("7".into()), purpose }
    }

    /// Writes it, and reads it again with a field more; what the file says.
    fn round<T>(name: &str, content: &T) -> Value
    where
        T: Serialize + DeserializeOwned + PartialEq + fmt::Debug,
    {
        let directory = tempfile::tempdir().unwrap();
        write(&LocalDisk, directory.path(), name, content).unwrap();
        let path = directory.path().join(name);
        let text: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let mut later = text.clone();
        later["of_a_later_version"] = 1.into();
        std::fs::write(&path, later.to_string()).unwrap();
        assert_eq!(read::<T>(directory.path(), name).unwrap().as_ref(), Some(content));
        text
    }

    #[test]
    fn each_file_has_its_documented_fields_and_passes_over_others() {
        let job = Job {
            id: id(Purpose::Install),
            command: vec!["rauc".into(), "install".into(), "/a b".into()],
            deadline: Duration::from_secs(600),
        };
        assert_eq!(
            round(JOB_FILE, &job),
            json!({ "format": 1, "upgrade": "7", "purpose": "install",
                "command": ["rauc", "install", "/a b"], "deadline": 600_000 })
        );
        assert_eq!(
            round(BEGUN_FILE, &Begun { id: id(Purpose::Revert), runner: 12 }),
            json!({ "format": 1, "upgrade": "7", "purpose": "revert", "runner": 12 })
        );
        for (ended, rest) in [
            (Ended::Exit(3), json!({ "ended": "exit", "detail": 3 })),
            (Ended::Signal(9), json!({ "ended": "signal", "detail": 9 })),
            (Ended::TimedOut, json!({ "ended": "timed-out" })),
            (Ended::NotStarted("no".into()), json!({ "ended": "not-started", "detail": "no" })),
        ] {
            let written = round(RESULT_FILE, &Result { id: id(Purpose::Install), ended });
            let mut expected = json!({ "format": 1, "upgrade": "7", "purpose": "install" });
            expected.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
            assert_eq!(written, expected);
        }
    }

    /// Its unit is found by that name, also by the next daemon.
    #[test]
    fn a_job_is_named_by_purpose_and_upgrade() {
        assert_eq!(id(Purpose::Install).to_string(), "install-7");
        assert_eq!(id(Purpose::Revert).to_string(), "revert-7");
    }

    #[test]
    fn what_is_not_there_is_no_error_and_what_is_damaged_is_one() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(read::<Job>(directory.path(), JOB_FILE).unwrap(), None);
        std::fs::write(directory.path().join(JOB_FILE), "{").unwrap();
        assert!(read::<Job>(directory.path(), JOB_FILE).is_err());
    }
}
