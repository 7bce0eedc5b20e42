//! What the stories have in common: the aircraft that asks, the daemon that dies, the lock that
//! somebody holds.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use nix::fcntl::{Flock, FlockArg};
use serde_json::Value;
use uplift::model::{FailureKind, Outcome, Phase, Report};

use super::payload::Payload;
use crate::world::watched::Watched as _;

/// A restart of the unit that may take its time.
pub(crate) const UNIT: &str = "restart = \"unit\"\nrestart_deadline = \"60s\"";
/// A trial that ends by what the test does, not by its deadline.
pub(crate) const TRIAL: &str = "window = \"100ms\"\ndeadline = \"60s\"";

/// What each story ends with: outcome, and kind of the failure.
pub(crate) type Ending = (Outcome, Option<FailureKind>);
pub(crate) const SUCCEEDED: Ending = (Outcome::Succeeded, None);
pub(crate) const INTERRUPTED: Ending = (Outcome::Failed, Some(FailureKind::Interrupted));
pub(crate) const ROLLED_BACK: Ending = (Outcome::RolledBack, Some(FailureKind::Unhealthy));

pub(crate) fn ending(report: &Report) -> Ending {
    (report.outcome, report.failure.as_ref().map(|failure| failure.kind))
}

impl Payload {
    /// A payload that an aircraft can upgrade.
    pub(crate) fn linked(program: &str, trial: &str) -> Self {
        let mut payload = Self::with_trial(program, trial);
        let device = payload.sandbox.root().join("run/ttyPayload");
        payload.reconfigure(|text| {
            format!(
                "{text}[channel.psdk]\ndevice = \"{}\"\nbaud = 921600\ntransfer = \"dcftp\"\n",
                device.display()
            )
        });
        payload
    }

    /// The daemon starts again with another configuration.
    pub(crate) fn reconfigure(&mut self, change: impl FnOnce(String) -> String) {
        let text = fs::read_to_string(self.sandbox.config()).unwrap();
        fs::write(self.sandbox.config(), change(text)).unwrap();
        self.sandbox.kill_daemon();
        self.sandbox.start_daemon().unwrap();
    }

    /// The aircraft, upgrading the payload to the new version.
    pub(crate) fn aircraft(&self, arguments: &[&str]) -> Aircraft {
        let mut command = Command::new(crate::world::programs::uplift_sim());
        command.arg("aircraft").arg("--make-pty").arg(self.sandbox.root().join("run/ttyPayload"));
        command
            .arg("--firmware")
            .arg(self.firmware())
            .args(["--json", "--quiet", "--via", "dcftp", "--chunk", "1000"]);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Aircraft(command.spawn().unwrap())
    }

    pub(crate) fn wait_for(&self, phase: Phase) {
        self.sandbox
            .wait_for_status(|status| status.phase == phase)
            .unwrap_or_else(|error| panic!("{phase}: {error:#}\n{}", self.log()));
    }

    /// Waits for a phase, kills the daemon in it, and starts it again: what it makes of that is not
    /// waited for.
    pub(crate) fn dies_in(&mut self, phase: Phase) {
        self.wait_for(phase);
        self.sandbox.kill_daemon();
        self.sandbox.start_daemon().unwrap();
    }

    /// The same, and the next one is killed on taking over.
    pub(crate) fn dies_twice_in(&mut self, phase: Phase) {
        self.dies_in(phase);
        self.sandbox.kill_daemon();
        self.sandbox.start_daemon().unwrap();
    }

    /// The lock of a swap, held by somebody else.
    pub(crate) fn hold_lock(&self) -> Flock<fs::File> {
        let directory = self.sandbox.root().join("bin/.uplift");
        fs::create_dir_all(&directory).unwrap();
        let file = fs::File::create(directory.join("lock")).unwrap();
        Flock::lock(file, FlockArg::LockExclusive).unwrap()
    }

    pub(crate) fn previous(&self) -> PathBuf {
        self.sandbox.root().join("bin/.uplift/payload.previous")
    }

    pub(crate) fn history(&self) -> Vec<Report> {
        let output = self.sandbox.command(&["history", "--json"]).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The upgrade ends like this, with this version at the path and in the unit's process, and is
    /// reported once.
    pub(crate) fn ends(&self, expected: Ending, version: &str) -> Report {
        self.sandbox.wait_until_settled().unwrap();
        let mut history = self.history();
        assert_eq!(history.len(), 1, "{history:?}\n{}", self.log());
        let report = history.remove(0);
        assert_eq!(ending(&report), expected, "{report:?}\n{}", self.log());
        assert_eq!(self.sandbox.reported_version().unwrap(), version);
        assert_eq!(self.running().as_deref(), Some(version));
        report
    }

    /// Nothing that went wrong is in the way of the next upgrade, to another version than what was
    /// tried.
    pub(crate) fn next_upgrade_works(&self) {
        let firmware =
            self.sandbox.firmware("V03.00.00.00".parse().unwrap(), Some(50_000)).unwrap();
        let (code, said) = self.uplift(&["install", firmware.to_str().unwrap()]);
        assert_eq!(code, Some(0), "{said}\n{}", self.log());
        assert_eq!(self.running().as_deref(), Some("V03.00.00.00"));
    }
}

/// The aircraft's process; dropped, it ends.
pub(crate) struct Aircraft(Child);

impl Aircraft {
    /// Waits for its end, which must be this one: `success`, `failure` or `aborted`.
    pub(crate) fn hears(mut self, result: &str) -> Value {
        let (mut said, mut complained) = (String::new(), String::new());
        std::io::Read::read_to_string(self.0.stdout.as_mut().unwrap(), &mut said).unwrap();
        std::io::Read::read_to_string(self.0.stderr.as_mut().unwrap(), &mut complained).unwrap();
        let verdict: Value = serde_json::from_str(&said)
            .unwrap_or_else(|error| panic!("{error}: {said}{complained}"));
        assert_eq!(verdict["result"], result, "{verdict}");
        verdict
    }
}

impl Drop for Aircraft {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
