//! Waiting for the end of a job: by its lock, which the kernel frees however the runner ends.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use nix::sys::inotify::AddWatchFlags;

use super::told::{self, Told};
use super::{Change, Ended, JobId, OUTPUT, PROGRESS};
use crate::disk;
use crate::host::unit;
use crate::host::watch::Watch;
use crate::model::{Failure, FailureKind};
use crate::record::change::{self, RESULT_FILE};

/// What is read of the output: enough for the lines that are kept, each of the largest length.
const LARGEST_END: u64 = 32 * 1024;

/// A job that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// How.
    pub ended: Ended,
    /// The last lines that it wrote, oldest first, without control characters.
    pub last_lines: Vec<String>,
}

impl Change {
    /// Waits for the end of the job that was started under this name, and passes on
    /// what it tells of its work. The same in a daemon that has just begun and finds the job running,
    /// ended, or cut off by a restart of the machine. A job that no runner took charge of was not
    /// begun.
    ///
    /// Dropped, it leaves the job as it is.
    pub async fn ended(&self, id: &JobId, on_progress: impl Fn(Told)) -> Result<Finished, Failure> {
        if !self.has_begun(id)? {
            return Ok(Finished { ended: Ended::NotBegun, last_lines: Vec::new() });
        }
        let lock = self.lock();
        let mut end = tokio::task::spawn_blocking(move || disk::wait_until_unlocked(&lock));
        // Before the first look, so that none is missed; without it only the end is told.
        let kinds = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MODIFY;
        let mut watch = Watch::on(&self.directory, kinds).ok();
        let mut told = Told::default();
        let waited = loop {
            self.tell(&mut told, &on_progress);
            tokio::select! {
                biased;
                waited = &mut end => break waited,
                seen = changed(watch.as_ref()) => if seen.is_err() {
                    watch = None;
                },
            }
        };
        waited.map_err(io::Error::other).and_then(|ended| ended).map_err(|e| self.unusable(e))?;
        self.tell(&mut told, &on_progress);
        let result = change::read::<change::Result>(&self.directory, RESULT_FILE);
        let of_this = result.map_err(unreadable)?.filter(|result| result.id == *id);
        let ended = of_this.map_or(Ended::Vanished, |result| result.ended);
        Ok(Finished { ended, last_lines: self.last_lines() })
    }

    /// What was not passed on yet.
    fn tell(&self, before: &mut Told, on_progress: &impl Fn(Told)) {
        if let Some(told) = told::read(&self.directory).filter(|told| told != before) {
            *before = told.clone();
            on_progress(told);
        }
    }

    /// They explain an end, and nothing depends on them.
    fn last_lines(&self) -> Vec<String> {
        let [last, before] = OUTPUT.map(|name| end_of(&self.directory.join(name)));
        let text = [before.unwrap_or_default(), last.unwrap_or_default()].concat();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().map(shown).filter(|line| !line.is_empty()).collect();
        let first = lines.len().saturating_sub(unit::LINES);
        lines.into_iter().skip(first).map(unit::visible).collect()
    }
}

/// What a terminal shows of a line whose beginning is written again and again, as a percentage is.
fn shown(line: &str) -> &str {
    line.trim_end_matches('\r').rsplit('\r').next().unwrap_or_default()
}

async fn changed(watch: Option<&Watch>) -> io::Result<()> {
    match watch {
        Some(watch) => watch.sees(OsStr::new(PROGRESS)).await,
        None => std::future::pending().await,
    }
}

fn end_of(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LARGEST_END)))?;
    let mut bytes = Vec::new();
    file.take(LARGEST_END).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn unreadable(error: io::Error) -> Failure {
    Failure::from_io(
        FailureKind::InstallFailed,
        "what is known of another updater's work can't be read",
        error,
    )
}
