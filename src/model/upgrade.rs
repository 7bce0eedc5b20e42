//! An upgrade from its first moment to its end: what is persisted of it.

use serde::{Deserialize, Serialize};

use super::version::Version;
use super::{
    ComponentName, Countdown, Evidence, Failure, Origin, Outcome, PackageSummary, PhaseDuration,
    ProgramDigest, Request, Terms, UpgradeId,
};

/// What is known of an upgrade from its first moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upgrade {
    /// Its name.
    pub id: UpgradeId,
    /// Who asked, over what.
    pub request: Request,
    /// What it replaces, once that is known; absent in files of version 0.1.0, which has one alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<ComponentName>,
    /// The version that ran when it began, where known.
    pub from: Option<Version>,
    /// The file's name as the peer gave it, once it did.
    #[serde(default)]
    pub file_name: Option<String>,
    /// When it began, RFC 3339. For people only.
    pub began: String,
    /// How long the phases that are over took.
    pub phases: Vec<PhaseDuration>,
}

impl Upgrade {
    /// What it replaces.
    pub fn component(&self) -> ComponentName {
        self.component.unwrap_or(ComponentName::PROGRAM)
    }
}

/// How an upgrade ended, before it becomes a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conclusion {
    /// What was to be installed, where that was known.
    pub package: Option<PackageSummary>,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// What was seen after the restart.
    pub evidence: Option<Evidence>,
    /// The last lines that the failed program logged.
    pub program_log: Vec<String>,
}

/// An upgrade that was put off: what it waits for, and for how long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deferral {
    /// What keeps it from being installed, for a person.
    pub why: String,
    /// The file's name in the staging area, in which it outlives restarts.
    pub staged: String,
    /// What is left until it is given up.
    pub ends: Countdown,
}

/// What is swapped for what, and where that took place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Swap {
    /// The new program's package.
    pub package: PackageSummary,
    /// Digest of the program that was at the path before; absent at the first installation.
    pub old: Option<ProgramDigest>,
    /// Boot and invocation in which the swap took place.
    pub origin: Origin,
    /// What restart and trial are.
    pub terms: Terms,
}

impl Swap {
    /// Whether the program was at the path before, too: there is no other to put back.
    pub(crate) fn is_over_itself(&self) -> bool {
        self.old == Some(self.package.program_digest)
    }
}

/// Which boot of the trial it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The kernel's boot id.
    pub boot_id: String,
    /// Boots in which the trial ran, this one included.
    pub number: u32,
}

impl Attempt {
    /// The first boot of a trial.
    pub fn first(boot_id: &str) -> Self {
        Self { boot_id: boot_id.to_owned(), number: 1 }
    }

    /// The attempt that a daemon makes in this boot, which may be the same one.
    #[must_use]
    pub fn resumed(self, boot_id: &str) -> Self {
        if self.boot_id == boot_id {
            self
        } else {
            Self { boot_id: boot_id.to_owned(), number: self.number.saturating_add(1) }
        }
    }
}
