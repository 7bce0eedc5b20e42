//! The content of `state.json`, and what the end of an upgrade changes in it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::machine::State;
use crate::model::{Outcome, Report};
use crate::package::digest::ProgramDigest;
use crate::package::version::Version;

/// How many known-bad digests are kept; the oldest is forgotten first.
pub(super) const KNOWN_BAD_LENGTH: usize = 100;

/// A program and its version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstalledRecord {
    /// Version by the package's name.
    pub version: Version,
    /// Digest of the program.
    pub digest: ProgramDigest,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StateFile {
    pub(super) format: u32,
    pub(super) upgrade: Recorded,
    pub(super) unacknowledged: Vec<Report>,
    pub(super) installed: Option<InstalledRecord>,
    #[serde(default)]
    pub(super) previous: Option<InstalledRecord>,
    pub(super) known_bad: Vec<ProgramDigest>,
    #[serde(default)]
    pub(super) minimum_version: Option<Version>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) incomplete: bool,
}

/// The upgrade that a restart must find again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, try_from = "Value")]
pub(super) enum Recorded {
    Known(Option<Box<State>>),
    /// A trial in the form of another version: its words stay for `uplift-rescue`, which can read enough of them.
    Foreign(Value),
}

impl Default for Recorded {
    fn default() -> Self {
        Self::Known(None)
    }
}

impl TryFrom<Value> for Recorded {
    type Error = serde_json::Error;

    fn try_from(upgrade: Value) -> Result<Self, Self::Error> {
        match Option::deserialize(&upgrade) {
            Ok(state) => Ok(Self::Known(state)),
            Err(_) if upgrade.get("swap").is_some() => Ok(Self::Foreign(upgrade)),
            Err(error) => Err(error),
        }
    }
}

impl StateFile {
    /// What these reports, oldest first, leave behind.
    pub(super) fn remembered(reports: &[Report]) -> Self {
        let mut file = Self::default();
        reports.iter().for_each(|report| file.take_in(report));
        file
    }

    /// Whether a new program may be at the path, or about to be, and nothing is decided about it.
    pub(super) fn has_trial(&self) -> bool {
        match &self.upgrade {
            Recorded::Known(state) => state.as_ref().is_some_and(|state| state.swap().is_some()),
            Recorded::Foreign(_) => true,
        }
    }

    /// What the end of an upgrade changes for the programs that are known here.
    pub(super) fn take_in(&mut self, report: &Report) {
        let Some(package) = &report.package else { return };
        let digest = package.program_digest;
        if report.outcome == Outcome::Succeeded {
            let installed = self.installed.replace(InstalledRecord { version: package.version, digest });
            self.previous = installed.filter(|installed| installed.digest != digest).or(self.previous);
            self.minimum_version = self.minimum_version.max(Some(package.version));
            self.known_bad.retain(|bad| *bad != digest);
            self.incomplete &= self.previous.is_none();
        } else if report.blames_program() {
            self.remember_bad(digest);
        }
        if report.outcome == Outcome::RolledBack && self.installed.is_some_and(|installed| installed.digest == digest) {
            self.installed = self.previous.take();
        }
    }

    /// A program that failed on trial; the newest is last.
    pub(super) fn remember_bad(&mut self, program: ProgramDigest) {
        self.known_bad.retain(|digest| *digest != program);
        self.known_bad.push(program);
        let excess = self.known_bad.len().saturating_sub(KNOWN_BAD_LENGTH);
        self.known_bad.drain(..excess);
    }
}
