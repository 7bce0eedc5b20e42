//! A process that does not outlive its test.

use std::io::{self, Read};
use std::ops::{Deref, DerefMut};
use std::os::fd::AsFd;
use std::process::{Child, Command, ExitStatus, Output};

const NOBODY_WAITED: &str = "it is there until somebody waits for its output";

/// A process; dropped, it is killed.
#[must_use = "it is killed at once"]
pub(crate) struct Running(Option<Child>);

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(Some(command.spawn().unwrap()))
    }

    /// Waits for its end; what it said on pipes.
    pub(crate) fn wait_with_output(mut self) -> io::Result<Output> {
        self.take_output()
    }

    /// The same for who keeps it.
    pub(crate) fn take_output(&mut self) -> io::Result<Output> {
        self.0.take().expect(NOBODY_WAITED).wait_with_output()
    }

    /// Kills it. Whether it was running.
    pub(crate) fn end(&mut self) -> bool {
        let Some(mut child) = self.0.take() else { return false };
        let ended = child.try_wait();
        let _ = child.kill();
        let _ = child.wait();
        if std::thread::panicking() {
            tell(&mut child, &ended);
        }
        matches!(ended, Ok(None))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// What a process did and said that a failed test left alone: often the reason is there.
fn tell(child: &mut Child, ended: &io::Result<Option<ExitStatus>>) {
    eprintln!("process {}, ended by itself: {ended:?}", child.id());
    if let Some(output) = child.stdout.take() {
        eprint!("{}", left_in(output));
    }
    if let Some(errors) = child.stderr.take() {
        eprint!("{}", left_in(errors));
    }
}

/// What lies in a pipe. Its end is not waited for: a child of the process may have it still.
fn left_in(mut pipe: impl Read + AsFd) -> String {
    let mut bytes = Vec::new();
    if rustix::io::ioctl_fionbio(&pipe, true).is_ok() {
        let _ = pipe.read_to_end(&mut bytes); // what came before an error is kept
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

impl Deref for Running {
    type Target = Child;

    fn deref(&self) -> &Child {
        self.0.as_ref().expect(NOBODY_WAITED)
    }
}

impl DerefMut for Running {
    fn deref_mut(&mut self) -> &mut Child {
        self.0.as_mut().expect(NOBODY_WAITED)
    }
}
