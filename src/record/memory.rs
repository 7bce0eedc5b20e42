//! What is remembered of one component between upgrades, and what the end of one changes in it.

use serde::{Deserialize, Serialize};

use super::past::{InstalledRecord, Past};
use crate::model::version::Version;
use crate::model::{ComponentName, Outcome, PackageSummary, ProgramDigest, Report};

/// How many known-bad digests are kept; the oldest is forgotten first.
pub(crate) const KNOWN_BAD_LENGTH: usize = 100;

/// What is remembered of one component.
///
/// | field | meaning |
/// |---|---|
/// | `installed` | version and digest of the program that `uplift` installed last |
/// | `previous` | the same of the program that this one replaced, if `uplift` had installed that too |
/// | `known_bad` | digests of programs that failed on trial, or were rolled back by hand |
/// | `minimum_version` | highest version that succeeded with a trusted seal, or `null`; lowered by a person alone. May be absent |
/// | `minimum_raised` | digest of the program that raised it last (`by`), and what it was `before`. Absent: none, or an earlier version of the daemon did |
/// | `minimum_forgotten` | `version`, `by` and `at`: a person has forgotten the lowest version, the last time. Absent: never |
/// | `incomplete` | `true` where an earlier state was lost, until an upgrade succeeds: what runs may have come by an upgrade that nobody remembers. Absent: `false` |
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Memory {
    pub(crate) installed: Option<InstalledRecord>,
    #[serde(default)]
    pub(crate) previous: Option<InstalledRecord>,
    pub(crate) known_bad: Vec<ProgramDigest>,
    #[serde(default)]
    pub(crate) minimum_version: Option<Version>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) minimum_raised: Option<Raised>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) minimum_forgotten: Option<Forgotten>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) incomplete: bool,
}

/// What raised the lowest version last: where a person takes that program back, it does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Raised {
    /// The program whose success did.
    by: ProgramDigest,
    /// The lowest version before.
    before: Option<Version>,
}

/// That a person has lowered the lowest version, for a repair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Forgotten {
    /// What it was.
    pub(crate) version: Version,
    /// Who, such as "uid 0".
    pub(crate) by: String,
    /// When, RFC 3339. For people only.
    pub(crate) at: String,
}

impl Memory {
    /// Of a component that nobody has upgraded yet.
    pub(crate) const fn empty(incomplete: bool) -> Self {
        Self {
            installed: None,
            previous: None,
            known_bad: Vec::new(),
            minimum_version: None,
            minimum_raised: None,
            minimum_forgotten: None,
            incomplete,
        }
    }

    /// What the end of an upgrade changes for the programs that are known here; what was reported
    /// before.
    pub(crate) fn take_in(&mut self, report: &Report, earlier: &[Past]) {
        let Some(package) = &report.package else { return };
        let digest = package.program_digest;
        if report.outcome == Outcome::Succeeded {
            let installed =
                self.installed.replace(InstalledRecord { version: package.version, digest });
            self.previous =
                installed.filter(|installed| installed.digest != digest).or(self.previous);
            self.raise_minimum(package);
            self.known_bad.retain(|bad| *bad != digest);
            self.incomplete &= self.previous.is_none();
        } else if report.blames_program() {
            self.remember_bad(digest);
        }
        if report.is_taken_back() {
            self.lower_minimum(package, report.component(), earlier);
        }
        if report.outcome == Outcome::RolledBack
            && self.installed.is_some_and(|installed| installed.digest == digest)
        {
            self.installed = self.previous.take();
        }
    }

    /// Nobody but the holder of a trusted key decides which versions don't come back.
    fn raise_minimum(&mut self, package: &PackageSummary) {
        if package.trusted_key.is_some() && self.minimum_version < Some(package.version) {
            self.minimum_raised =
                Some(Raised { by: package.program_digest, before: self.minimum_version });
            self.minimum_version = Some(package.version);
        }
    }

    /// A version that a person has taken back does not count.
    fn lower_minimum(
        &mut self,
        package: &PackageSummary,
        component: ComponentName,
        earlier: &[Past],
    ) {
        match self.minimum_raised {
            Some(Raised { by, before }) if by == package.program_digest => {
                self.minimum_version = before;
                self.minimum_raised = None;
            }
            // As an earlier version of the daemon has left it, which did not write down what had
            // raised it.
            None if self.minimum_version == Some(package.version) => {
                let stands = |earlier: &&InstalledRecord| !self.known_bad.contains(&earlier.digest);
                let succeeded =
                    earlier.iter().filter_map(|past| past.report.as_ref()).filter(|report| {
                        report.outcome == Outcome::Succeeded && report.component == component
                    });
                let programs =
                    succeeded.filter_map(|report| report.program.as_ref()).filter(stands);
                self.minimum_version = programs.map(|program| program.version).max();
            }
            _ => {}
        }
    }

    /// A program that failed on trial; the newest is last.
    pub(crate) fn remember_bad(&mut self, program: ProgramDigest) {
        self.known_bad.retain(|digest| *digest != program);
        self.known_bad.push(program);
        let excess = self.known_bad.len().saturating_sub(KNOWN_BAD_LENGTH);
        self.known_bad.drain(..excess);
    }
}
