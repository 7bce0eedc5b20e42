//! Waiting for a serial device that is not there, or can't be opened: tried again when its
//! directory changes, and otherwise with growing pauses.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::time::Duration;

use nix::sys::inotify::AddWatchFlags;
use tokio::time::{Instant, sleep_until};

use crate::host::watch::Watch;

pub(crate) const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The state of the wait.
#[derive(Debug)]
pub(crate) struct Waiting {
    directory: Option<Directory>,
    pause: Duration,
    try_at: Instant,
    reason: String,
}

impl Waiting {
    /// The first try is due at once.
    pub(crate) fn first(device: &Path) -> Self {
        let reason = format!("{} was not opened yet", device.display());
        Self { directory: watch(device), pause: FIRST_PAUSE, try_at: Instant::now(), reason }
    }

    /// The device was open and is lost: not tried at once, because it may still be on its way out.
    pub(crate) fn again(device: &Path, reason: String, pause: Duration) -> Self {
        let mut waiting = Self { directory: watch(device), pause, try_at: Instant::now(), reason };
        waiting.postpone();
        waiting
    }

    /// A sentence about what is wrong.
    pub(crate) fn reason(&self) -> &str {
        &self.reason
    }

    /// A try failed; true when the reason is another one than before.
    pub(crate) fn failed(&mut self, reason: String) -> bool {
        self.postpone();
        let news = self.reason != reason;
        self.reason = reason;
        news
    }

    fn postpone(&mut self) {
        let jitter = 0.75 + 0.5 * fastrand::f64();
        self.try_at = Instant::now() + self.pause.mul_f64(jitter).min(LONGEST_PAUSE);
        self.pause = longer(self.pause);
    }

    /// Resolves when the device may have come, or the pause is over.
    pub(crate) async fn until_worth_a_try(&mut self) {
        let appeared = async {
            match &self.directory {
                Some(directory) => directory.shows_device().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = sleep_until(self.try_at) => {}
            watched = appeared => if watched.is_err() {
                self.directory = None;
            },
        }
    }
}

/// The pause after this one.
pub(crate) fn longer(pause: Duration) -> Duration {
    (pause * 2).min(LONGEST_PAUSE)
}

/// Where the directory can't be watched, the pauses alone must do.
fn watch(device: &Path) -> Option<Directory> {
    Directory::of(device).ok()
}

/// The watched directory of a device.
#[derive(Debug)]
struct Directory {
    watch: Watch,
    device: OsString,
}

impl Directory {
    fn of(device: &Path) -> io::Result<Self> {
        let directory = device
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        // A node is made, moved here, or given the rights that were missing.
        let kinds =
            AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_ATTRIB;
        let watch = Watch::on(directory, kinds)?;
        Ok(Self { watch, device: device.file_name().unwrap_or(OsStr::new("")).to_owned() })
    }

    async fn shows_device(&self) -> io::Result<()> {
        self.watch.sees(&self.device).await
    }
}
