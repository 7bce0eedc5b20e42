//! The end of an upgrade, as it is told.

use serde::{Deserialize, Serialize};

use super::version::Version;
use super::{
    ComponentName, Conclusion, Evidence, Failure, FailureKind, Outcome, PackageSummary,
    PhaseDuration, Request, Upgrade, UpgradeId,
};

/// The end of an upgrade.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The upgrade.
    pub id: UpgradeId,
    /// Who asked.
    pub request: Request,
    /// What was to be replaced, once that was known; absent in files of version 0.1.0, which has one
    /// alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<ComponentName>,
    /// The version that ran before, where known.
    pub from: Option<Version>,
    /// The file's name as the peer gave it; absent when the upgrade ended before that, or had no
    /// file.
    #[serde(default)]
    pub file_name: Option<String>,
    /// What was to be installed; absent when the upgrade failed before that was known.
    pub package: Option<PackageSummary>,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it failed; absent on success.
    pub failure: Option<Failure>,
    /// What was seen after the restart; absent when there was none.
    pub evidence: Option<Evidence>,
    /// The last lines that a program logged which was rolled back, oldest first, where it has a
    /// unit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub program_log: Vec<String>,
    /// When the request was accepted, RFC 3339. For people only: nothing depends on the wall clock.
    pub began: String,
    /// When the report was made, RFC 3339. For people only.
    pub ended: String,
    /// How long each phase took.
    pub phases: Vec<PhaseDuration>,
}

impl Report {
    /// Whether a person took the program back.
    pub fn is_taken_back(&self) -> bool {
        self.outcome == Outcome::RolledBack
            && self.failure.as_ref().is_some_and(|failure| failure.kind == FailureKind::Cancelled)
    }

    /// Whether the program is not let in again until somebody forces it: it failed on trial, or a
    /// person took it back.
    pub fn blames_program(&self) -> bool {
        match self.failure.as_ref().map(|failure| failure.kind) {
            Some(FailureKind::Unhealthy) => true,
            Some(FailureKind::Cancelled) => self.is_taken_back(),
            _ => false,
        }
    }

    /// What was to be replaced.
    pub fn component(&self) -> ComponentName {
        self.component.unwrap_or(ComponentName::PROGRAM)
    }

    /// What is reported of an upgrade that has ended.
    pub fn of(upgrade: Upgrade, conclusion: Conclusion, ended: String) -> Self {
        let Upgrade { id, request, component, from, file_name, began, phases } = upgrade;
        let Conclusion { package, outcome, failure, evidence, program_log } = conclusion;
        Self {
            id,
            request,
            component,
            from,
            file_name,
            package,
            outcome,
            failure,
            evidence,
            program_log,
            began,
            ended,
            phases,
        }
    }

    /// The upgrade, and how it ended.
    pub fn into_parts(self) -> (Upgrade, Conclusion) {
        let Self { id, request, component, from, file_name, began, phases, .. } = self;
        let Self { package, outcome, failure, evidence, program_log, .. } = self;
        (
            Upgrade { id, request, component, from, file_name, began, phases },
            Conclusion { package, outcome, failure, evidence, program_log },
        )
    }
}
