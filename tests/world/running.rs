//! A process that ends with its test.

use std::process::Child;

/// A process; dropped, it is killed.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
