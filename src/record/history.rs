//! The content of `history.json`.

use serde::{Deserialize, Serialize};

use crate::model::{Entry, Report};

/// How many entries the history keeps.
pub const HISTORY_LENGTH: usize = 100;

/// The history.
///
/// | field | meaning |
/// |---|---|
/// | `format`, `crc32` | as in `state.json` |
/// | `reports` | the last [`HISTORY_LENGTH`] reports, oldest first; one in the form of another version stays as it is |
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HistoryFile {
    pub(crate) format: u32,
    pub(crate) reports: Vec<Entry>,
}

impl HistoryFile {
    /// The reports that this version can read, oldest first.
    pub(crate) fn known(&self) -> impl DoubleEndedIterator<Item = &Report> {
        self.reports.iter().filter_map(Entry::report)
    }
}
