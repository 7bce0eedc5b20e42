//! Processors that do not sleep: what a sleeping one costs is the machine's, not the daemon's.
//!
//! The idle processor of a virtual machine is given back to the host, which takes tens of
//! microseconds to bring it back. A frame on an emulated line wakes four times (the kernel's half
//! of the pseudo-terminal, the daemon, and both ways back).

use std::process::{Child, Command, Stdio};
use std::thread;

use anyhow::{Context as _, Result};

/// A loop on each processor that gives way to everything else. Ends with this value.
pub(crate) struct KeptAwake {
    loops: Vec<Child>,
}

impl KeptAwake {
    pub(crate) fn new() -> Result<Self> {
        let mut awake = Self { loops: Vec::new() };
        for _ in 0..thread::available_parallelism()?.get() {
            let mut idle = Command::new("chrt");
            idle.args(["--idle", "0", "sh", "-c", "while :; do :; done"]).stdin(Stdio::null());
            awake.loops.push(idle.spawn().context("chrt (of util-linux) can't be started")?);
        }
        Ok(awake)
    }
}

impl Drop for KeptAwake {
    fn drop(&mut self) {
        for child in &mut self.loops {
            // One that has ended by itself is as good.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
