//! What a change is called: the same in each run, and different for each change of a story.

use std::collections::HashMap;
use std::path::Path;

use super::files::STATE;
use super::model::Model;
use crate::disk::recording::{Change, Created, Recorded, first_word};

/// The labels of these changes: operation, names, for the journal the entry that is being written,
/// and from the second time on the number of the time.
pub(crate) fn labels(before: &Model, changes: &[Recorded]) -> Vec<String> {
    let mut model = before.clone();
    let mut entry = String::new();
    let mut labels: Vec<String> = Vec::new();
    let mut times: HashMap<String, usize> = HashMap::new();
    for (i, Recorded { change, .. }) in changes.iter().enumerate() {
        if matches!(change, Change::Create { path, .. } if path.starts_with(STATE)) {
            entry = written_next(&changes[i..]);
        }
        let (mut label, in_journal) = describe(change, &model);
        if in_journal {
            label.push_str(&format!(" ({entry})"));
        }
        let time = times.entry(label.clone()).and_modify(|times| *times += 1).or_insert(1);
        if *time > 1 {
            label.push_str(&format!(" [{time}]"));
        }
        labels.push(label);
        model.apply(change).expect("what took place is possible");
    }
    labels
}

/// The phase that is written to the state file, or which other file it is.
fn written_next(changes: &[Recorded]) -> String {
    let bytes = changes.iter().find_map(|recorded| match &recorded.change {
        Change::Write { bytes, .. } => Some(bytes),
        _ => None,
    });
    let written: serde_json::Value =
        bytes.and_then(|bytes| serde_json::from_slice(bytes).ok()).unwrap_or_default();
    if written.get("reports").is_some() {
        return "history".into();
    }
    if written.get("ruling").is_some() {
        return if written["ruling"].is_null() { "rescue" } else { "ruling" }.into();
    }
    match written["upgrade"]["phase"].as_str() {
        Some(phase) => phase.into(),
        None if written["unacknowledged"].as_array().is_some_and(|reports| !reports.is_empty()) => {
            "concluded".into()
        }
        None => "acknowledged".into(),
    }
}

/// The label, and whether the change is one of the journal.
fn describe(change: &Change, model: &Model) -> (String, bool) {
    let paths: Vec<&Path> = match change {
        Change::Create { path, .. }
        | Change::Open { path, .. }
        | Change::MakeDirectory { path }
        | Change::SyncDirectory { path }
        | Change::SyncMoved { path }
        | Change::MakeLink { path, .. }
        | Change::Remove { path }
        | Change::RemoveDirectory { path } => {
            vec![path]
        }
        Change::Exchange { one: first, other: second }
        | Change::Rename { from: first, to: second }
        | Change::Link { original: first, name: second } => vec![first, second],
        Change::Allocate { file, .. }
        | Change::Write { file, .. }
        | Change::SyncData { file }
        | Change::Sync { file }
        | Change::SetOwner { file, .. }
        | Change::SetMode { file, .. }
        | Change::SetAttribute { file, .. }
        | Change::RemoveAttribute { file, .. } => name_of(model, *file),
    };
    let operation = first_word(change);
    let names: Vec<String> = paths.iter().map(|path| plain(path)).collect();
    (format!("{operation} {}", names.join(" ")), paths.iter().any(|path| path.starts_with(STATE)))
}

fn name_of(model: &Model, file: Created) -> Vec<&Path> {
    model.name(file).into_iter().collect()
}

/// The last part of a path, without numbers that differ from run to run.
fn plain(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.split('-').next().unwrap_or_default().to_owned()
}
