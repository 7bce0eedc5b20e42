//! A section `[component.NAME]` as it is written, of whatever kind, before its fields are held
//! against each other.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error as _};

use super::package::Format;
use super::trial::TrialFields;
use super::unit_name::ServiceName;
use super::values::{
    NO_PROGRAM, absolute, absolute_if_any, command, names_a_program, some_time, some_time_if_any,
};
use crate::host::command::Isolation;
use crate::model::file_name::FileName;
use crate::model::version::Version;
use crate::model::{BoardEntry, Runs};
use crate::stage;

/// A section `[component.NAME]` as it is written, of whatever kind.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fields {
    #[serde(default)]
    pub(super) kind: Kind,
    pub(super) name: Option<PlainName>,
    pub(super) product: ProductName,
    #[serde(default)]
    pub(super) aliases: BTreeSet<ProductName>,
    pub(super) format: Option<Format>,
    #[serde(default, deserialize_with = "program_path")]
    pub(super) path: Option<PathBuf>,
    pub(super) unit: Option<ServiceName>,
    pub(super) restart: Option<RestartField>,
    #[serde(default, deserialize_with = "some_time_if_any")]
    pub(super) restart_deadline: Option<Duration>,
    #[serde(default)]
    pub(super) runs: Runs,
    pub(super) version: Option<Version>,
    pub(super) version_command: Option<Vec<String>>,
    #[serde(default)]
    pub(super) isolate_commands: Isolation,
    #[serde(default = "default_preflight_deadline", deserialize_with = "preflight_deadline")]
    pub(super) preflight_deadline: Duration,
    #[serde(default)]
    pub(super) trial: TrialFields,
    #[serde(default, deserialize_with = "command")]
    pub(super) install: Option<Vec<String>>,
    #[serde(default, deserialize_with = "command")]
    pub(super) revert: Option<Vec<String>>,
    pub(super) suffix: Option<Suffix>,
    #[serde(default)]
    pub(super) unchanged_exit_codes: Vec<u8>,
    #[serde(default, deserialize_with = "some_time_if_any")]
    pub(super) command_deadline: Option<Duration>,
    #[serde(default, deserialize_with = "absolute_if_any")]
    pub(super) port: Option<PathBuf>,
    #[serde(default, deserialize_with = "board_rate")]
    pub(super) baud: Option<u32>,
    pub(super) device_id: Option<u16>,
    pub(super) mode: Option<Mode>,
    pub(super) bootloader: Option<Bootloader>,
    pub(super) entry: Option<BoardEntry>,
    pub(super) version_at: Option<u32>,
    #[serde(default, deserialize_with = "some_time_if_any")]
    pub(super) copy_deadline: Option<Duration>,
    pub(super) set_id: Option<bool>,
}

/// The end of a file's name.
#[derive(Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Suffix(pub(super) String);

impl TryFrom<String> for Suffix {
    type Error = String;

    fn try_from(suffix: String) -> Result<Self, String> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        if suffix.len() <= 32 && suffix.bytes().all(is_plain) {
            Ok(Self(suffix))
        } else {
            Err(format!("{suffix:?} is no end of a file's name: expected one such as \".raucb\""))
        }
    }
}

/// What kind of thing a component is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    /// A file at a path, which uplift itself swaps.
    #[default]
    Program,
    /// A directory, which uplift itself swaps as a whole.
    Tree,
    /// What another updater installs.
    Command,
    /// A microcontroller on a serial port.
    Stm32,
}

/// Where a program is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Mode {
    /// To a store, from where a bootloader copies it.
    #[default]
    Store,
    /// To where it runs: there is no bootloader.
    Direct,
}

/// Whose bootloader copies it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Bootloader {
    Uplift,
    Vendor,
}

/// A rate that the loader measures.
fn board_rate<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    match u32::deserialize(deserializer)? {
        rate @ 1200..=115_200 => Ok(Some(rate)),
        rate => Err(D::Error::custom(format!("the loader takes 1200 to 115200 baud, not {rate}"))),
    }
}

/// The part of a firmware file's name before the version.
#[derive(PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct ProductName(pub(super) String);

impl TryFrom<String> for ProductName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        match format!("{name}_V00.00.00.00.bin").parse::<FileName>() {
            Ok(_) => Ok(Self(name)),
            Err(error) => Err(format!(
                "no firmware file can be called {name:?}_Vaa.bb.cc.dd.bin: {error}; expected a name such as \"PSDK_APPALIAS\""
            )),
        }
    }
}

/// The part of a firmware file's name before the version, as of the field `product`.
pub fn product_name(text: &str) -> Result<String, String> {
    ProductName::try_from(text.to_owned()).map(|name| name.0)
}

/// A file name in the directory of programs.
#[derive(Deserialize)]
#[serde(try_from = "String")]
pub(super) struct PlainName(pub(super) String);

impl TryFrom<String> for PlainName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        if matches!(name.as_str(), "" | "." | "..") || name.contains(['/', '\0']) {
            return Err(format!(
                "`name` must be a file name, not {name:?}; use `path` for another directory"
            ));
        }
        if name == stage::DIRECTORY_NAME { Err(name_of_stage("name")) } else { Ok(Self(name)) }
    }
}

/// The absolute path of a file.
fn program_path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    let path = absolute(deserializer)?;
    match path.file_name() {
        None => {
            let path = path.display();
            Err(D::Error::custom(format!(
                "`path` must be that of a file, such as \"/opt/payload/bin/program\", not \"{path}\""
            )))
        }
        Some(name) if name == stage::DIRECTORY_NAME => Err(D::Error::custom(name_of_stage("path"))),
        Some(_) => Ok(Some(path)),
    }
}

fn name_of_stage(field: &str) -> String {
    format!(
        "`{field}` must be another one: {} is the staging area beside the program",
        stage::DIRECTORY_NAME
    )
}

#[derive(Default)]
pub(super) enum RestartField {
    #[default]
    Reboot,
    Unit,
    Command(Vec<String>),
}

impl<'de> Deserialize<'de> for RestartField {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const RIGHT: &str = "expected \"reboot\", \"unit\", or a command as a list of strings";
        #[derive(Deserialize)]
        #[serde(
            untagged,
            expecting = "expected \"reboot\", \"unit\", or a command as a list of strings"
        )]
        enum Field {
            Word(String),
            Command(Vec<String>),
        }
        match Field::deserialize(deserializer)? {
            Field::Word(word) if word == "reboot" => Ok(Self::Reboot),
            Field::Word(word) if word == "unit" => Ok(Self::Unit),
            Field::Word(word) => Err(D::Error::custom(format!("{RIGHT}, found {word:?}"))),
            Field::Command(command) if names_a_program(&command) => Ok(Self::Command(command)),
            Field::Command(_) => Err(D::Error::custom(NO_PROGRAM)),
        }
    }
}

/// A program of 96 MB that unpacks itself needs more than 5 s at a quarter of a core from a slow
/// card.
const fn default_preflight_deadline() -> Duration {
    Duration::from_secs(20)
}

/// A daemon that starts may have to wait twice for a program that does not answer; the unit's
/// `TimeoutStartSec=` is above that.
fn preflight_deadline<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    const LONGEST: Duration = Duration::from_secs(2 * 60);
    let deadline = some_time(deserializer)?;
    if deadline <= LONGEST {
        Ok(deadline)
    } else {
        Err(D::Error::custom("a version is told within 2m at most"))
    }
}
