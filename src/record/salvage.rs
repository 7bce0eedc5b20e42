//! What can be kept of a state file in the form of another version: each field for itself, by its
//! name. The names keep their meaning in all versions (docs/use/rescue.md); what can't be read is
//! left out, and never guessed at.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::checksum::FIRST_FORMAT;
use super::memory::Memory;
use super::state::{Recorded, StateFile};
use crate::model::ComponentName;

/// What was kept.
pub(crate) struct Salvaged {
    pub(crate) state: StateFile,
    /// Whether there was an upgrade that is not kept.
    pub(crate) lost: bool,
}

/// What can be kept of the state file with this text. Nothing where it is none, or does not even
/// say whether there is an upgrade.
pub(crate) fn state(text: &[u8]) -> Option<Salvaged> {
    let Value::Object(mut fields) = serde_json::from_slice(text).ok()? else { return None };
    let upgrade: Option<Recorded> = one(fields.remove("upgrade")?);
    let mut take = |name: &str| fields.remove(name).unwrap_or_default();
    let incomplete_components = one(take("incomplete_components")).unwrap_or_default();
    let components = match take("components") {
        Value::Object(components) => components.into_iter().filter_map(component).collect(),
        _ => BTreeMap::new(),
    };
    let state = StateFile {
        format: one(take("format")).unwrap_or(FIRST_FORMAT).max(FIRST_FORMAT),
        unacknowledged: one(take("unacknowledged")).unwrap_or_default(),
        program: memory(&mut take),
        components,
        incomplete_components,
        upgrade: upgrade.clone().unwrap_or_default(),
    };
    Some(Salvaged { state, lost: upgrade.is_none() })
}

fn component((name, value): (String, Value)) -> Option<(ComponentName, Memory)> {
    let (name, Value::Object(mut fields)) = (name.parse().ok()?, value) else { return None };
    Some((name, memory(|name| fields.remove(name).unwrap_or_default())))
}

fn memory(mut take: impl FnMut(&str) -> Value) -> Memory {
    Memory {
        installed: one(take("installed")),
        previous: one(take("previous")),
        known_bad: each(take("known_bad")),
        minimum_version: one(take("minimum_version")),
        minimum_raised: one(take("minimum_raised")),
        minimum_forgotten: one(take("minimum_forgotten")),
        incomplete: one(take("incomplete")).unwrap_or_default(),
    }
}

fn one<T: DeserializeOwned>(value: Value) -> Option<T> {
    serde_json::from_value(value).ok()
}

fn each<T: DeserializeOwned>(value: Value) -> Vec<T> {
    one::<Vec<Value>>(value).unwrap_or_default().into_iter().filter_map(one).collect()
}
