//! A command that says by its end whether something works.

use std::ffi::OsStr;
use std::io;
use std::time::Duration;

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

/// Work that blocks, in a thread for that.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
