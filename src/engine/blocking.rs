//! Work that waits for the disk, off the runtime's one thread.

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::model::{Failure, FailureKind};

/// Runs file work off the runtime's thread.
pub(super) async fn blocking<T, E>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E>
where
    T: Send + 'static,
    E: From<WorkDied> + Send + 'static,
{
    off_thread(work).await?
}

/// Runs any work off the runtime's thread.
pub(super) async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, WorkDied> {
    let (task, result) = begin(work);
    task.await.map_err(|error| WorkDied(error.to_string()))?;
    result.await.map_err(|error| WorkDied(error.to_string()))
}

/// Begins any work off the runtime's thread: its task, and where its result arrives.
pub(super) fn begin<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> (JoinHandle<()>, oneshot::Receiver<T>) {
    let (done, result) = oneshot::channel();
    // One kind of task for all work: the runtime's code for a kind is a kilobyte of an idle
    // daemon's memory.
    let work: Box<dyn FnOnce() + Send> = Box::new(move || drop(done.send(work())));
    (tokio::task::spawn_blocking(work), result)
}

/// A piece of blocking work panicked.
#[derive(Debug)]
pub(super) struct WorkDied(String);

impl From<WorkDied> for Failure {
    fn from(died: WorkDied) -> Self {
        Self::new(FailureKind::Internal, format!("a task of the daemon died: {}", died.0))
    }
}

impl From<WorkDied> for std::io::Error {
    fn from(died: WorkDied) -> Self {
        Self::other(died.0)
    }
}
