//! What is remembered of the history all the time: enough for each upgrade, and small.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::model::version::Version;
use crate::model::{
    ChannelName, ComponentName, Entry, FailureKind, FileDigest, Outcome, ProgramDigest, Reference,
    Report, UpgradeId,
};

/// Longest key that is remembered as it is.
const LONGEST_KEY: usize = 100;

/// A program and its version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstalledRecord {
    /// Version by the package's name.
    pub version: Version,
    /// Digest of the program.
    pub digest: ProgramDigest,
}

/// What is remembered of an entry all the time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Past {
    key: String,
    /// Of a report that this version can read.
    pub(crate) report: Option<PastReport>,
}

/// How an upgrade ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PastReport {
    pub(crate) id: UpgradeId,
    pub(crate) component: ComponentName,
    pub(crate) outcome: Outcome,
    /// Why, where it did not succeed.
    pub(crate) kind: Option<FailureKind>,
    /// Of what, where that was known.
    pub(crate) program: Option<InstalledRecord>,
    /// For which request of which network channel.
    pub(crate) asked: Option<(ChannelName, Reference)>,
}

impl Past {
    /// What is remembered of this entry.
    pub(crate) fn of(entry: &Entry) -> Self {
        Self { key: short(&entry.key()), report: entry.report().map(PastReport::of) }
    }

    /// The same of a report.
    pub(crate) fn of_report(report: &Report) -> Self {
        Self { key: short(&report.id.0), report: Some(PastReport::of(report)) }
    }

    /// Whether it is the entry of this key ([`Entry::key`]).
    pub(crate) fn is(&self, key: &str) -> bool {
        self.key == short(key)
    }
}

impl PastReport {
    fn of(report: &Report) -> Self {
        let program = report.package.as_ref().map(|package| InstalledRecord {
            version: package.version,
            digest: package.program_digest,
        });
        Self {
            id: report.id.clone(),
            component: report.component(),
            outcome: report.outcome,
            kind: report.failure.as_ref().map(|failure| failure.kind),
            program,
            asked: report.request.reference.clone().map(|of| (report.request.channel, of)),
        }
    }
}

/// An entry of another version without an id has itself for a key.
fn short(key: &str) -> String {
    if key.len() <= LONGEST_KEY {
        return key.to_owned();
    }
    FileDigest(Sha256::digest(key).into()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_key_is_remembered_by_its_digest() {
        let long = Entry::Foreign(serde_json::json!({ "of": "x".repeat(10_000) }));
        let past = Past::of(&long);
        assert!(past.key.len() == 64 && past.is(&long.key()) && !past.is("x"));
    }
}
