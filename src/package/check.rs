//! The check: the only maker of a [`Checked`].

use crate::model::PackageSummary;
use crate::stage::Staged;

/// A file that passed every check.
#[derive(Debug)]
pub struct Checked {
    staged: Staged,
    summary: PackageSummary,
}

impl Checked {
    /// What the file is.
    pub fn summary(&self) -> &PackageSummary {
        &self.summary
    }

    /// The file and what it is, for the swap.
    pub(crate) fn into_parts(self) -> (Staged, PackageSummary) {
        (self.staged, self.summary)
    }

    /// A checked file without the checks.
    #[cfg(test)]
    pub(crate) fn for_test(staged: Staged, summary: PackageSummary) -> Self {
        Self { staged, summary }
    }
}
