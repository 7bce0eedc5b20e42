//! The content of `state.json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::memory::Memory;
use super::past::Past;
use crate::machine::State;
use crate::model::{ComponentName, Entry, Report};

/// The state.
///
/// | field | meaning |
/// |---|---|
/// | `format` | 1; from 2 on there is a checksum (`checksum.rs`). Where a field of a later version can't be read the others are taken over one by one; unknown ones are passed over |
/// | `upgrade` | the [`State`] of an upgrade that a restart must find again, or `null`; a trial of another version's form stays as it is |
/// | `unacknowledged` | reports that their receivers have not acknowledged, one a channel; one in the form of another version stays as it is |
/// | `installed`, `previous`, `known_bad`, `minimum_version`, `minimum_raised`, `minimum_forgotten`, `incomplete` | the [`Memory`] of the component called `program` |
/// | `components` | by name, the [`Memory`] of each other component that was upgraded here. Absent: none was |
/// | `incomplete_components` | `true` where an earlier state was lost: of other components nothing is known but what stands here. Absent: `false` |
/// | `crc32` | the checksum |
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StateFile {
    pub(crate) format: u32,
    pub(crate) upgrade: Recorded,
    pub(crate) unacknowledged: Waiting,
    #[serde(flatten)]
    pub(crate) program: Memory,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) components: BTreeMap<ComponentName, Memory>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) incomplete_components: bool,
}

/// Reports that wait for their receivers: one list on the disk, in which those of another version
/// come first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Entry>", into = "Vec<Entry>")]
pub(crate) struct Waiting {
    /// In the form of another version, for whom they wait too.
    foreign: Vec<Value>,
    pub(crate) reports: Vec<Report>,
}

impl From<Vec<Entry>> for Waiting {
    fn from(entries: Vec<Entry>) -> Self {
        let mut waiting = Self::default();
        for entry in entries {
            match entry {
                Entry::Known(report) => waiting.reports.push(report),
                Entry::Foreign(value) => waiting.foreign.push(value),
            }
        }
        waiting
    }
}

impl From<Waiting> for Vec<Entry> {
    fn from(Waiting { foreign, reports }: Waiting) -> Self {
        let foreign = foreign.into_iter().map(Entry::Foreign);
        foreign.chain(reports.into_iter().map(Entry::Known)).collect()
    }
}

/// The upgrade that a restart must find again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, try_from = "Value")]
pub(crate) enum Recorded {
    Known(Option<Box<State>>),
    /// A trial in the form of another version: its words stay for `uplift-rescue`, which can read
    /// enough of them.
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
    /// What these entries, oldest first, leave behind.
    pub(crate) fn remembered(entries: impl Iterator<Item = Entry>) -> Self {
        let (mut file, mut earlier) = (Self::default(), Vec::new());
        for entry in entries {
            if let Entry::Known(report) = &entry {
                file.take_in(report, &earlier);
            }
            earlier.push(Past::of(&entry));
        }
        file
    }

    /// Whether a new program may be at the path, or about to be, and nothing is decided about it.
    pub(crate) fn has_trial(&self) -> bool {
        match &self.upgrade {
            Recorded::Known(state) => state.as_ref().is_some_and(|state| state.swap().is_some()),
            Recorded::Foreign(_) => true,
        }
    }

    /// What is remembered of a component.
    pub(crate) fn of(&self, name: ComponentName) -> &Memory {
        static EMPTY: [Memory; 2] = [Memory::empty(false), Memory::empty(true)];
        if name == ComponentName::PROGRAM {
            return &self.program;
        }
        self.components.get(&name).unwrap_or(&EMPTY[usize::from(self.incomplete_components)])
    }

    /// The same, to be changed.
    pub(crate) fn of_mut(&mut self, name: ComponentName) -> &mut Memory {
        if name == ComponentName::PROGRAM {
            return &mut self.program;
        }
        let empty = || Memory::empty(self.incomplete_components);
        self.components.entry(name).or_insert_with(empty)
    }

    /// An earlier state is gone.
    pub(crate) fn note_gap(&mut self) {
        self.incomplete_components = true;
        self.program.incomplete = true;
        for memory in self.components.values_mut() {
            memory.incomplete = true;
        }
    }

    /// What the end of an upgrade changes for the component that it was of; what was reported
    /// before.
    pub(crate) fn take_in(&mut self, report: &Report, earlier: &[Past]) {
        if report.package.is_some() {
            self.of_mut(report.component()).take_in(report, earlier);
        }
    }
}
