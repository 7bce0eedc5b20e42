//! What trials of all kinds have in common: a command that says by its end whether something works,
//! and the wait between two looks.

use std::ffi::OsStr;
use std::io;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use crate::host::command::{self, Isolation, Reach};

/// Between two runs of a health command that failed.
pub(super) const HEALTH_INTERVAL: Duration = Duration::from_secs(1);
/// How long one run of it may take.
pub(super) const HEALTH_DEADLINE: Duration = Duration::from_secs(10);

/// Runs a command, without a shell, until the deadline at most; an error says how it failed.
pub(super) async fn succeeds(
    command: &[String],
    isolation: Isolation,
    deadline: Duration,
) -> io::Result<()> {
    let Some((program, arguments)) = command.split_first() else { return Ok(()) };
    let (program, arguments) = (program.clone(), arguments.to_vec());
    let run = move || {
        command::run(OsStr::new(&program), &arguments, Reach::Machine, isolation, deadline)
            .map(drop)
            .map_err(io::Error::other)
    };
    blocking(run).await
}

/// Waits until the next look; the deadline and a confirmation end that at once.
pub(super) async fn pause(confirmed: &mut watch::Receiver<bool>, interval: Duration, end: Instant) {
    let was_confirmed = *confirmed.borrow();
    tokio::select! {
        () = sleep(interval) => {}
        () = sleep_until(end) => {}
        Ok(_) = confirmed.wait_for(|confirmed| *confirmed), if !was_confirmed => {}
    }
}

/// Work that blocks, in a thread for that.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
