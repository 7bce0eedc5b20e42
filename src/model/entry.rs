//! A report as it stands in a list on the disk, whoever wrote it.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Report, UpgradeId};

/// An entry of the history, or of the reports that wait. One that another version wrote in a form
/// that this one can't read stays as it is, word by word, for a version that can.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, from = "Value")]
#[allow(clippy::large_enum_variant, reason = "nearly all are reports")]
pub enum Entry {
    /// A report of this version's form.
    Known(Report),
    /// One of another version's.
    Foreign(Value),
}

impl Entry {
    /// The report, where it can be read.
    pub fn report(&self) -> Option<&Report> {
        match self {
            Self::Known(report) => Some(report),
            Self::Foreign(_) => None,
        }
    }

    /// The report, where it can be read.
    pub fn into_report(self) -> Option<Report> {
        match self {
            Self::Known(report) => Some(report),
            Self::Foreign(_) => None,
        }
    }

    /// What tells it from others: the id of its upgrade, or all of it where none can be read.
    pub fn key(&self) -> Cow<'_, str> {
        match self {
            Self::Known(report) => Cow::Borrowed(&report.id.0),
            Self::Foreign(value) => match value.get("id") {
                Some(Value::String(id)) => Cow::Borrowed(id),
                _ => Cow::Owned(value.to_string()),
            },
        }
    }

    /// Whether it is the report of this upgrade, in whatever form.
    pub fn is_of(&self, upgrade: &UpgradeId) -> bool {
        self.key() == upgrade.0.as_str()
    }
}

impl From<Value> for Entry {
    fn from(value: Value) -> Self {
        match Report::deserialize(&value) {
            Ok(report) => Self::Known(report),
            Err(_) => Self::Foreign(value),
        }
    }
}

impl From<Report> for Entry {
    fn from(report: Report) -> Self {
        Self::Known(report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_not_be_read_is_the_same_however_often_it_is_written_again() {
        let text = r#"{"id":"1","of_its_own":[4.9666666666666674e86,"x",null]}"#;
        let entry: Entry = serde_json::from_str(text).unwrap();
        let again = serde_json::to_string(&entry).unwrap();
        assert_eq!(serde_json::from_str::<Entry>(&again).unwrap(), entry);
        assert_eq!(entry.key(), "1");
    }
}
