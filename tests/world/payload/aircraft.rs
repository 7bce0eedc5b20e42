//! The aircraft with Assistant 2, a process at the other end of the payload's line.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::Payload;
use crate::world::programs::uplift_sim;
use crate::world::running::Running;

/// How the file is to be transferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transfer {
    Ftp,
    Dcftp,
    /// As the payload offers.
    Any,
}

impl Transfer {
    pub(crate) const BOTH: [Self; 2] = [Self::Ftp, Self::Dcftp];

    fn name(self) -> &'static str {
        match self {
            Self::Ftp => "ftp",
            Self::Dcftp => "dcftp",
            Self::Any => "auto",
        }
    }
}

/// The aircraft's process, and where its line is.
pub(crate) struct Aircraft {
    process: Running,
    line: PathBuf,
}

impl Payload {
    /// The aircraft upgrades the payload to the new version, over DCFTP.
    pub(crate) fn plug_aircraft(&self) -> Aircraft {
        self.aircraft(Transfer::Dcftp, &self.new_firmware(), &[])
    }

    /// The aircraft upgrades the payload with this file.
    pub(crate) fn aircraft(
        &self,
        transfer: Transfer,
        firmware: &Path,
        arguments: &[&str],
    ) -> Aircraft {
        let mut command = Command::new(uplift_sim());
        let line = self.root().join("run/ttyPayload");
        command.arg("aircraft").arg("--make-pty").arg(&line);
        command.arg("--firmware").arg(firmware);
        command.args(["--json", "--quiet", "--via", transfer.name(), "--chunk", "1000"]);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Aircraft { process: Running::start(&mut command), line }
    }
}

impl Aircraft {
    /// Whether it has told its verdict.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.process.try_wait().unwrap().is_some()
    }

    /// Waits for its end; its verdict.
    pub(crate) fn verdict(mut self) -> Value {
        let output = self.process.take_output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    }

    /// Waits for its end, which must be this one: `success`, `failure` or `aborted`.
    pub(crate) fn hears(self, result: &str) -> Value {
        let verdict = self.verdict();
        assert_eq!(verdict["result"], result, "{verdict}");
        verdict
    }
}

/// A process that is killed leaves the link to its line, and the next story's line may get the number of this one: the
/// daemon here would answer the aircraft there.
impl Drop for Aircraft {
    fn drop(&mut self) {
        let device = fs::read_link(&self.line).ok();
        if self.process.end() && device.is_some() && fs::read_link(&self.line).ok() == device {
            let _ = fs::remove_file(&self.line);
        }
    }
}
