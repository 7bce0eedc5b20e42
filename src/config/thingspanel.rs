//! Section `[channel.thingspanel]`: at which broker ThingsPanel's tasks come, by which names, and for
//! what. What a task says is the channel's business.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Deserializer, de::Error as _};

use super::error::Mistake;
use super::luatos::RequestUrl;
use super::network::{Network, Unsealed, program_alone};
use super::values::password_file;
use crate::model::{BrokerName, ChannelName, ComponentName};

/// The module that is the whole firmware, and what a task without a module is for.
pub const WHOLE_FIRMWARE: &str = "default";
/// What stands in a topic for the device's key.
const DEVICE: &str = "{device}";
/// What stands in a topic for the number of a message.
const MESSAGE: &str = "{message}";
/// Longest topic in bytes, before its places are filled.
const LONGEST_TOPIC: usize = 256;
/// Longest key of a device, and name of a module or an attribute, in bytes.
const LONGEST_NAME: usize = 128;
/// Most topics of tasks: each is a subscription of its own.
const MOST_TOPICS: usize = 8;

/// Section `[channel.thingspanel]`.
#[derive(Debug, Clone)]
pub struct ThingsPanel {
    /// The broker, `NAME` of `[broker.NAME]`.
    pub broker: BrokerName,
    /// What is said, and when.
    pub generation: Generation,
    /// Who this payload is in topics.
    pub device: DeviceKey,
    /// Where it is said.
    pub topics: Topics,
    /// The component that each module of the platform is.
    pub modules: BTreeMap<String, ComponentName>,
    /// How a file comes by the name that the checks ask for.
    pub names: TaskNames,
    /// How our version is told where the platform's own text for it is not known.
    pub version_form: PlatformVersion,
    /// Name of the attribute that has the version.
    pub version_attribute: String,
    /// Before what is no more than a path.
    pub download_base: Option<RequestUrl>,
    /// Whether files come in pieces whose sums are compared.
    pub crc: bool,
    /// The components that it may replace.
    pub components: BTreeSet<ComponentName>,
    /// What may come without a trusted seal.
    pub unsealed: Unsealed,
}

/// Which generation of the platform.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Generation {
    /// 0.4.8, which misspells the topic of tasks.
    LegacyInfrom,
    /// 0.5.4, of which the platform's own description is.
    #[default]
    V05,
    /// 1.x, with topics for `devices` and the version as an attribute.
    V1,
}

/// Who a payload is in topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceKey {
    /// The access token, in the first line of this file: whoever knows it is this device.
    Token(PathBuf),
    /// The number of the device.
    Number(String),
}

/// Topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    /// Those that tasks come on.
    pub tasks: Vec<Topic>,
    /// That of progress.
    pub progress: Topic,
    /// That of the version; without it no version is told.
    pub report: Option<Topic>,
}

/// A topic with places for the device's key and the message's number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic(String);

impl Topic {
    /// It, with its places filled.
    pub(crate) fn of(&self, device: &str, message: &str) -> String {
        self.0.replace(DEVICE, device).replace(MESSAGE, message)
    }

    /// It, as it is written: it shows no key.
    pub(crate) fn form(&self) -> &str {
        &self.0
    }

    fn preset(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// No wildcards: the platform's broker refuses them (TP-3).
    fn parse(text: &str) -> Option<Self> {
        let bare = text.replace(DEVICE, "").replace(MESSAGE, "");
        let is_plain = !bare.contains(['+', '#', '{', '}']) && !bare.contains(char::is_control);
        ((1..=LONGEST_TOPIC).contains(&text.len()) && is_plain).then(|| Self(text.to_owned()))
    }
}

impl<'de> Deserialize<'de> for Topic {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            D::Error::custom(format!(
                "{text:?} is no topic: expected text without wildcards, such as \"ota/device/inform/{DEVICE}\""
            ))
        })
    }
}

/// How a file comes by the name that the checks ask for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TaskNames {
    /// From the task: the component's product and the task's version, where it is one of ours.
    #[default]
    Task,
    /// Its seal alone says them.
    Seal,
}

/// How a version of ours is written for the platform.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlatformVersion {
    /// `V01.02.00.00`.
    #[default]
    Full,
    /// `v1.2`: without the zeros behind the second number.
    Short,
    /// `1.2.0.0`.
    Numbers,
}

/// The section as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fields {
    broker: BrokerName,
    #[serde(default)]
    generation: Generation,
    #[serde(default, deserialize_with = "password_file")]
    token_file: Option<PathBuf>,
    #[serde(default, deserialize_with = "device_number")]
    device_number: Option<String>,
    #[serde(default)]
    tasks: Option<Vec<Topic>>,
    #[serde(default)]
    progress: Option<Topic>,
    #[serde(default)]
    report: Option<Report>,
    #[serde(default = "whole_firmware", deserialize_with = "modules")]
    modules: BTreeMap<String, ComponentName>,
    #[serde(default)]
    names: TaskNames,
    #[serde(default)]
    version_form: PlatformVersion,
    #[serde(default = "version_attribute", deserialize_with = "attribute")]
    version_attribute: String,
    #[serde(default)]
    download_base: Option<RequestUrl>,
    #[serde(default)]
    crc: bool,
    #[serde(default = "program_alone")]
    components: BTreeSet<ComponentName>,
    #[serde(default)]
    unsealed: Unsealed,
}

/// A topic of versions, or that none is told.
struct Report(Option<Topic>);

impl<'de> Deserialize<'de> for Report {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() {
            return Ok(Self(None));
        }
        let right = || D::Error::custom("expected a topic, or \"\": no version is told");
        Topic::parse(&text).map(|topic| Self(Some(topic))).ok_or_else(right)
    }
}

impl Fields {
    /// The section with its fields held against each other.
    pub(super) fn settled(self) -> Result<ThingsPanel, Mistake> {
        let device = self.device()?;
        let topics = self.topics()?;
        if let Some((module, component)) =
            self.modules.iter().find(|(_, component)| !self.components.contains(component))
        {
            let explanation = format!(
                "the module {module:?} is the component {component}, which is none of the `components` of this section"
            );
            return Err(mistake("modules", explanation));
        }
        let Self { broker, generation, modules, names, version_form, version_attribute, .. } = self;
        let Self { download_base, crc, components, unsealed, .. } = self;
        Ok(ThingsPanel {
            broker,
            generation,
            device,
            topics,
            modules,
            names,
            version_form,
            version_attribute,
            download_base,
            crc,
            components,
            unsealed,
        })
    }

    fn device(&self) -> Result<DeviceKey, Mistake> {
        match (&self.token_file, &self.device_number) {
            (Some(file), None) => Ok(DeviceKey::Token(file.clone())),
            (None, Some(number)) => Ok(DeviceKey::Number(number.clone())),
            _ => Err(mistake(
                "token_file",
                "say who this payload is in topics, by exactly one of two: `token_file`, a file with the access token in its first line, as \
                 versions before 1.0 have it, or `device_number`",
            )),
        }
    }

    fn topics(&self) -> Result<Topics, Mistake> {
        let preset = self.generation.topics();
        let tasks = self.tasks.clone().unwrap_or(preset.tasks);
        if !(1..=MOST_TOPICS).contains(&tasks.len()) {
            let right = format!("expected one to {MOST_TOPICS} topics that tasks come on");
            return Err(mistake("tasks", right));
        }
        Ok(Topics {
            tasks,
            progress: self.progress.clone().unwrap_or(preset.progress),
            report: self.report.as_ref().map_or(preset.report, |report| report.0.clone()),
        })
    }
}

impl Generation {
    /// TP-1.
    fn topics(self) -> Topics {
        let (tasks, progress, report): (&[&str], _, _) = match self {
            Self::LegacyInfrom => {
                (&["ota/device/infrom/{device}"], "ota/device/progress", "ota/device/inform")
            }
            Self::V05 => {
                (&["ota/device/inform/{device}"], "ota/device/progress", "ota/device/inform")
            }
            // The server and its own broker spell it differently.
            Self::V1 => (
                &["ota/devices/inform/{device}", "ota/devices/infrom/{device}"],
                "ota/devices/progress",
                "devices/attributes/{message}",
            ),
        };
        Topics {
            tasks: tasks.iter().map(|topic| Topic::preset(topic)).collect(),
            progress: Topic::preset(progress),
            report: Some(Topic::preset(report)),
        }
    }
}

impl ThingsPanel {
    pub(super) fn network(&self) -> Network {
        Network {
            name: ChannelName::THINGSPANEL,
            components: self.components.clone(),
            unsealed: self.unsealed == Unsealed::Lab,
        }
    }

    /// The file with the access token, where there is one.
    pub fn token_file(&self) -> Option<&PathBuf> {
        match &self.device {
            DeviceKey::Token(file) => Some(file),
            DeviceKey::Number(_) => None,
        }
    }
}

/// Whether a text can be one level of a topic.
pub(crate) fn is_device_key(text: &str) -> bool {
    (1..=LONGEST_NAME).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"+#/{}".contains(&byte))
}

fn mistake(field: &str, explanation: impl Into<String>) -> Mistake {
    Mistake::new(&[format!("channel.thingspanel.{field}")], explanation)
}

fn whole_firmware() -> BTreeMap<String, ComponentName> {
    [(WHOLE_FIRMWARE.to_owned(), ComponentName::PROGRAM)].into()
}

fn version_attribute() -> String {
    "firmware_version".to_owned()
}

fn device_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if is_device_key(&text) {
        return Ok(Some(text));
    }
    Err(D::Error::custom(format!(
        "expected the device's number on the platform: 1 to {LONGEST_NAME} ASCII characters without spaces and without + # /"
    )))
}

fn modules<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, ComponentName>, D::Error> {
    let modules = BTreeMap::<String, ComponentName>::deserialize(deserializer)?;
    let is_name = |name: &String| (1..=LONGEST_NAME).contains(&name.len());
    if !modules.is_empty() && modules.keys().all(is_name) {
        return Ok(modules);
    }
    Err(D::Error::custom(format!(
        "expected at least one module with its component, such as {{ {WHOLE_FIRMWARE} = \"program\" }}"
    )))
}

fn attribute<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    let is_name = (1..=LONGEST_NAME).contains(&text.len()) && !text.contains(char::is_control);
    if is_name && text != "module" {
        return Ok(text);
    }
    Err(D::Error::custom(format!(
        "expected the name of an attribute, of 1 to {LONGEST_NAME} plain characters, such as \"firmware_version\""
    )))
}

#[cfg(test)]
mod tests;
