//! A process that does not outlive its test.

use std::io;
use std::ops::{Deref, DerefMut};
use std::process::{Child, Command, Output};

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
        self.0.take().expect(NOBODY_WAITED).wait_with_output()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
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
