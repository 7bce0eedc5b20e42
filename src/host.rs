//! The machine that `uplift` runs on: programs that it runs for us, such as `systemctl`, and what
//! the kernel shows of processes.
//!
//! Spawned directly, as the daemon's own user; what a user names for a check runs unprivileged, by
//! [`crate::host::command`]. Knows nothing of what is asked. In tests a model can stand in the machine's
//! place.

pub(crate) mod alarm;
pub mod command;
pub(crate) mod descendants;
pub(crate) mod device;
pub(crate) mod helper;
pub mod peer;
pub(crate) mod stop;
pub mod unit;
pub(crate) mod watch;

use std::io;
use std::path::PathBuf;
use std::process::{Output, Stdio};

use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

/// Runs a program to its end and collects what it says. Dropped before that, it ends the program.
/// No deadline: that is the asker's.
pub(crate) async fn output(program: &str, arguments: &[&str]) -> io::Result<Output> {
    #[cfg(test)]
    if let Some(host) = modelled::host() {
        return match host.output(program, arguments) {
            Some(output) => Ok(output),
            None => std::future::pending().await,
        };
    }
    Command::new(program).args(arguments).stdin(Stdio::null()).kill_on_drop(true).output().await
}

/// The same, but of what it says no more than the first `most` bytes, and nothing of how it ended:
/// it is ended then.
pub(crate) async fn first_bytes(
    program: &str,
    arguments: &[&str],
    most: u64,
) -> io::Result<Vec<u8>> {
    #[cfg(test)]
    if modelled::host().is_some() {
        return Ok(output(program, arguments).await?.stdout);
    }
    let mut command = Command::new(program);
    let command =
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.kill_on_drop(true).spawn()?;
    let mut bytes = Vec::new();
    if let Some(output) = child.stdout.take() {
        output.take(most).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

/// Where the kernel shows the file that a process runs, whatever became of its name.
pub(crate) fn executable(pid: u32) -> PathBuf {
    #[cfg(test)]
    if let Some(host) = modelled::host() {
        return host.executable(pid);
    }
    format!("/proc/{pid}/exe").into()
}

/// Place of the start among the fields behind a process's name.
const START: usize = 19;

/// When a process started, as its `stat` below `/proc` tells it: ticks of the clock since the boot.
/// Its name is in brackets, and may hold some itself.
pub(crate) fn start_in(stat: &str) -> Option<&str> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(START)
}

/// Machines that are models, one a thread: a test runs its daemon on its own.
#[cfg(test)]
pub(crate) mod modelled {
    use std::cell::RefCell;
    use std::io;
    use std::path::{Path, PathBuf};
    use std::process::Output;
    use std::sync::Arc;

    /// A model of a machine.
    pub(crate) trait Host: Send + Sync {
        /// What a program says; nothing, ever, where whoever asks is ended by it.
        fn output(&self, program: &str, arguments: &[&str]) -> Option<Output>;

        /// The file that stands for the one that this process runs.
        fn executable(&self, pid: u32) -> PathBuf;

        /// Another process takes charge of this job of another updater.
        fn change(&self, directory: &Path, job: &str) -> io::Result<()>;
    }

    thread_local! {
        static HOST: RefCell<Option<Arc<dyn Host>>> = const { RefCell::new(None) };
    }

    pub(crate) fn host() -> Option<Arc<dyn Host>> {
        HOST.with_borrow(Clone::clone)
    }

    /// Does something on a model machine.
    pub(crate) fn on<T>(host: Arc<dyn Host>, work: impl FnOnce() -> T) -> T {
        HOST.set(Some(host));
        let done = work();
        HOST.set(None);
        done
    }
}
