//! What was agreed about restart and trial.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What restart and trial were agreed to be at the word to install. A configuration that changes or
/// breaks meanwhile can't change them, and `uplift-rescue` needs no other source.
///
/// | field | meaning |
/// |---|---|
/// | `program` | path of the program |
/// | `unit` | its unit, or `null` |
/// | `restart` | `"reboot"`, `{"unit": name}`, or `{"command": [program, argument, …]}` |
/// | `restart_deadline` | milliseconds until a restart that did not come counts as failed |
/// | `window` | milliseconds that the unit must run without a restart |
/// | `deadline` | milliseconds from the restart to the verdict, at most, in each boot |
/// | `boots` | how many boots the trial may take |
/// | `confirm` | `"auto"` or `"explicit"` |
/// | `health_command` | program and arguments, or `null` |
/// | `bridge` | what the program must show at the bridge: `"connected"`, or `"aircraft"` where it must have seen the aircraft, too. Absent: nothing |
/// | `runs` | `"itself"`, or `"another"` where the program becomes another one; absent is `"itself"` |
/// | `form` | `"file"`, or `"tree"` where the path is that of a directory which is replaced as a whole; absent is `"file"` |
/// | `start_before` | invocation id of the unit's last start before the swap, where it is known: what it logged up to then is not the new program's |
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the table above")]
pub struct Terms {
    pub program: PathBuf,
    pub unit: Option<String>,
    pub restart: Restart,
    #[serde(with = "milliseconds")]
    pub restart_deadline: Duration,
    #[serde(with = "milliseconds")]
    pub window: Duration,
    #[serde(with = "milliseconds")]
    pub deadline: Duration,
    pub boots: u32,
    pub confirm: Confirm,
    pub health_command: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bridge: Option<BridgeHealth>,
    #[serde(default, skip_serializing_if = "Runs::is_itself")]
    pub runs: Runs,
    #[serde(default, skip_serializing_if = "Form::is_file")]
    pub form: Form,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_before: Option<String>,
}

/// What a program shows at the bridge, over which a payload's own application passes the link on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BridgeHealth {
    /// It has connected, and the vendor's library is up.
    Connected,
    /// The same, and it has seen the aircraft.
    Aircraft,
}

/// What lies at the path of a program.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// A file, which is the program.
    #[default]
    File,
    /// A directory, of which the program is a part.
    Tree,
}

impl Form {
    /// The rule, which needs no word.
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands it in so")]
    pub(crate) fn is_file(&self) -> bool {
        *self == Self::File
    }
}

/// What the process runs that is started from the program's path.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Runs {
    /// The program at the path.
    #[default]
    Itself,
    /// Something that the program becomes: what it unpacks, or an interpreter.
    Another,
}

impl Runs {
    /// The rule, which needs no word.
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands it in so")]
    pub(crate) fn is_itself(&self) -> bool {
        *self == Self::Itself
    }
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

/// Whether a person must say that the new program works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Confirm {
    /// What the trial sees is enough.
    Auto,
    /// `uplift confirm` is waited for until the deadline.
    Explicit,
}

/// A duration as a whole number.
pub(crate) mod milliseconds {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        duration: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}
