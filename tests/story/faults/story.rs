//! What the stories have in common: the payload with a line, the daemon that dies, the rescue that
//! is called, and how each must end.

use std::process::{Command, Stdio};

use uplift::model::{FailureKind, Outcome, Phase, Report};

use crate::restart_unit::DCFTP_LINK;
use crate::world::payload::Payload;
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
        Self::with_trial(program, &format!("{trial}\n{DCFTP_LINK}"))
    }

    /// A call of `uplift-rescue` at its deadline, this many seconds after the machine started.
    pub(crate) fn rescue_at(&self, uptime: u64) -> Command {
        self.clock(uptime);
        let mut command = self.rescue(&[], "deadline");
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// The same, which has nothing to complain about.
    pub(crate) fn rescued_at(&self, uptime: u64) {
        let output = self.rescue_at(uptime).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    /// Waits for a phase, kills the daemon in it, and starts it again: what it makes of that is not
    /// waited for.
    pub(crate) fn dies_in(&mut self, phase: Phase) {
        self.wait_for_phase(phase);
        self.restart_daemon();
    }

    /// The same, and the next one is killed on taking over.
    pub(crate) fn dies_twice_in(&mut self, phase: Phase) {
        self.dies_in(phase);
        self.restart_daemon();
    }

    /// The upgrade ends like this, with this version at the path and in the unit's process, and is
    /// reported once.
    pub(crate) fn ends(&self, expected: Ending, version: &str) -> Report {
        self.wait_until_settled().unwrap();
        let mut history = self.history();
        assert_eq!(history.len(), 1, "{history:?}");
        let report = history.remove(0);
        assert_eq!(ending(&report), expected, "{report:?}");
        assert_eq!(self.reported_version().unwrap(), version);
        assert_eq!(self.running().as_deref(), Some(version));
        report
    }

    /// Nothing that went wrong is in the way of the next upgrade, to another version than what was
    /// tried.
    pub(crate) fn next_upgrade_works(&self) {
        let firmware = self.firmware_of("V03.00.00.00", 50_000);
        let (code, said) = self.uplift(&["install", firmware.to_str().unwrap()]);
        assert_eq!(code, Some(0), "{said}");
        assert_eq!(self.running().as_deref(), Some("V03.00.00.00"));
    }
}
