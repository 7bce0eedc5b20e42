//! Section `[program]`: what is upgraded, and how it is restarted.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::duration;
use crate::package::version::Version;

/// What is upgraded, and how it is restarted.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "ProgramFields")]
pub struct Program {
    /// Product name that a file must carry: the part before `_Vaa.bb.cc.dd.bin`.
    pub product: String,
    /// Other product names that are accepted.
    pub aliases: BTreeSet<String>,
    /// The program's path. Default: `/usr/local/bin/` and `name`.
    pub path: PathBuf,
    /// The program's systemd unit; evidence of the running program needs it.
    pub unit: Option<String>,
    /// How the new program comes to run.
    pub restart: Restart,
    /// How long a restart may take to begin before it counts as failed.
    pub restart_deadline: Duration,
    /// Version of a program that was installed by hand; a version that `uplift` installed itself is remembered.
    pub version: Option<Version>,
    /// Arguments with which the program prints its version, such as `["--version"]`.
    pub version_command: Option<Vec<String>>,
}

/// How the new program comes to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// `systemctl --no-block reboot`.
    Reboot,
    /// `systemctl restart` of the program's unit.
    Unit(String),
    /// A program and its arguments, spawned directly.
    Command(Vec<String>),
}

/// What will happen, as in "it must begin within …".
impl fmt::Display for Restart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reboot => f.write_str("reboot"),
            Self::Unit(unit) => write!(f, "restart of {unit}"),
            Self::Command(command) => write!(f, "the command {}", command.join(" ")),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProgramFields {
    name: Option<String>,
    product: String,
    #[serde(default)]
    aliases: BTreeSet<String>,
    path: Option<PathBuf>,
    unit: Option<String>,
    #[serde(default)]
    restart: RestartField,
    #[serde(default = "default_restart_deadline", deserialize_with = "duration")]
    restart_deadline: Duration,
    version: Option<Version>,
    version_command: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(untagged, expecting = "expected \"reboot\", \"unit\", or a command as a list of strings")]
enum RestartField {
    #[default]
    Unset,
    Word(RestartWord),
    Command(Vec<String>),
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RestartWord {
    Reboot,
    Unit,
}

fn default_restart_deadline() -> Duration {
    Duration::from_secs(60)
}

impl TryFrom<ProgramFields> for Program {
    type Error = String;

    fn try_from(fields: ProgramFields) -> Result<Self, String> {
        let path = match (fields.path, fields.name) {
            (Some(path), _) if !path.is_absolute() => return Err(format!("`path` must be absolute, not \"{}\"", path.display())),
            (Some(path), None) => path,
            (None, Some(name)) if is_plain_name(&name) => Path::new("/usr/local/bin").join(name),
            (None, Some(name)) => return Err(format!("`name` must be a file name, not \"{name}\"; use `path` for another directory")),
            (Some(_), Some(_)) => return Err("give `name` or `path`, not both".into()),
            (None, None) => return Err("give the program's `name` (in /usr/local/bin) or its `path`".into()),
        };
        let restart = match (fields.restart, &fields.unit) {
            (RestartField::Unset | RestartField::Word(RestartWord::Reboot), _) => Restart::Reboot,
            (RestartField::Word(RestartWord::Unit), Some(unit)) => Restart::Unit(unit.clone()),
            (RestartField::Word(RestartWord::Unit), None) => return Err("`restart = \"unit\"` needs `unit`, the program's unit".into()),
            (RestartField::Command(command), _) if command.is_empty() => {
                return Err("`restart` as a command needs at least the program".into());
            }
            (RestartField::Command(command), _) => Restart::Command(command),
        };
        if fields.product.is_empty() || !fields.aliases.iter().all(|alias| !alias.is_empty()) {
            return Err("`product` and `aliases` must not be empty names".into());
        }
        Ok(Self {
            product: fields.product,
            aliases: fields.aliases,
            path,
            unit: fields.unit,
            restart,
            restart_deadline: fields.restart_deadline,
            version: fields.version,
            version_command: fields.version_command,
        })
    }
}

fn is_plain_name(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0'])
}

impl Program {
    /// Whether a file with this product name is for this payload.
    pub fn accepts_product(&self, product: &str) -> bool {
        self.product == product || self.aliases.contains(product)
    }
}
