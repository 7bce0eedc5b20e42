//! The devices that the server knows, with what each was offered. Pure rules of the server.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use super::action::{Action, State};
use super::options::Deployment;

/// Longest key and value of an attribute, and how many a device may have.
const LONGEST_ATTRIBUTE: usize = 128;
const MOST_ATTRIBUTES: usize = 100;

/// All devices of the tenant.
#[derive(Debug)]
pub(super) struct Fleet {
    pub(super) devices: BTreeMap<String, Device>,
    pub(super) next_action: u64,
}

/// What the server keeps of a device.
#[derive(Debug, Default)]
pub(super) struct Device {
    pub(super) attributes: BTreeMap<String, String>,
    pub(super) wants_attributes: bool,
    pub(super) confirms_by_itself: bool,
    pub(super) actions: Vec<Action>,
    pub(super) installed: Option<u64>,
    /// What it declared to be installed: name and version.
    pub(super) declared: Option<(String, String)>,
}

/// How attributes are taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Mode {
    #[default]
    Merge,
    Replace,
    Remove,
}

/// Attributes as a device tells them.
#[derive(Debug, Deserialize)]
pub(super) struct Attributes {
    #[serde(default)]
    pub(super) mode: Mode,
    pub(super) data: BTreeMap<String, String>,
}

/// Why attributes are not taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    TooLong,
    TooMany,
}

/// What the device is told to look at; at most one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exposed {
    Deployment(u64),
    Cancel(u64),
    Confirmation(u64),
}

impl Fleet {
    pub(super) const fn new(first_action: u64) -> Self {
        Self { devices: BTreeMap::new(), next_action: first_action }
    }

    /// The device of this name, which is registered when it appears.
    pub(super) fn device(&mut self, name: &str) -> &mut Device {
        self.devices.entry(name.to_owned()).or_insert_with(Device::registered)
    }

    /// Offers this to a device: what it was offered before is to be given up first.
    pub(super) fn assign(&mut self, name: &str, deployment: Arc<Deployment>, asks: bool) -> u64 {
        let id = self.next_action;
        self.next_action += 1;
        let device = self.device(name);
        for action in &mut device.actions {
            action.cancel();
        }
        let asks = asks && !device.confirms_by_itself;
        device.actions.push(Action::new(id, deployment, asks));
        id
    }
}

impl Device {
    /// One that has told nothing yet.
    fn registered() -> Self {
        Self { wants_attributes: true, ..Self::default() }
    }

    pub(super) fn action(&self, id: u64) -> Option<&Action> {
        self.actions.iter().find(|action| action.id == id)
    }

    pub(super) fn action_mut(&mut self, id: u64) -> Option<&mut Action> {
        self.actions.iter_mut().find(|action| action.id == id)
    }

    /// The oldest action that is not over: one that is to be given up holds up all that follow.
    pub(super) fn exposed(&self) -> Option<Exposed> {
        let action = self.actions.iter().find(|action| action.state.is_active())?;
        Some(match action.state {
            State::Canceling => Exposed::Cancel(action.id),
            State::WaitForConfirmation => Exposed::Confirmation(action.id),
            _ => Exposed::Deployment(action.id),
        })
    }

    /// What follows from the end of an action.
    pub(super) fn finish(&mut self, id: u64) {
        if self.action(id).is_some_and(|action| action.state == State::Finished) {
            self.installed = Some(id);
            self.wants_attributes = true;
        }
    }

    pub(super) fn take(&mut self, told: &Attributes) -> Result<(), Refused> {
        let is_long = |text: &String| text.chars().count() > LONGEST_ATTRIBUTE;
        if told.data.iter().any(|(key, value)| is_long(key) || is_long(value)) {
            return Err(Refused::TooLong);
        }
        let mut attributes = match told.mode {
            Mode::Replace => BTreeMap::new(),
            Mode::Merge | Mode::Remove => self.attributes.clone(),
        };
        for (key, value) in &told.data {
            if told.mode == Mode::Remove {
                attributes.remove(key);
            } else {
                attributes.insert(key.clone(), value.clone());
            }
        }
        if attributes.len() > MOST_ATTRIBUTES {
            return Err(Refused::TooMany);
        }
        self.attributes = attributes;
        self.wants_attributes = false;
        Ok(())
    }
}
