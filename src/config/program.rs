//! Section `[program]`: what is upgraded, and how it is restarted.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error as _};

use super::error::Mistake;
use super::unit_name::ServiceName;
use super::values::{NO_PROGRAM, absolute, names_a_program, some_time, some_time_if_any};
use crate::host::command::Isolation;
use crate::model::file_name::FileName;
use crate::model::version::Version;
use crate::model::{Restart, Runs};
use crate::stage;

/// What is upgraded, and how it is restarted.
#[derive(Debug, Clone)]
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
    /// How long a restart may take to begin before it counts as failed; by default what the unit
    /// may take.
    pub restart_deadline: Option<Duration>,
    /// Whether the process that is started remains the program.
    pub runs: Runs,
    /// Version of a program that was installed by hand; a version that `uplift` installed itself is
    /// remembered.
    pub version: Option<Version>,
    /// Arguments with which the program prints its version, such as `["--version"]`.
    pub version_command: Option<Vec<String>>,
    /// How the programs that are run for a check (version, health) are kept from the machine.
    pub isolate_commands: Isolation,
    /// How long a program may take to print its version.
    pub preflight_deadline: Duration,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProgramFields {
    name: Option<PlainName>,
    product: ProductName,
    #[serde(default)]
    aliases: BTreeSet<ProductName>,
    #[serde(default, deserialize_with = "program_path")]
    path: Option<PathBuf>,
    unit: Option<ServiceName>,
    #[serde(default)]
    restart: RestartField,
    #[serde(default, deserialize_with = "some_time_if_any")]
    restart_deadline: Option<Duration>,
    #[serde(default)]
    runs: Runs,
    version: Option<Version>,
    version_command: Option<Vec<String>>,
    #[serde(default)]
    isolate_commands: Isolation,
    #[serde(default = "default_preflight_deadline", deserialize_with = "preflight_deadline")]
    preflight_deadline: Duration,
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

/// A file name in the directory of programs.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct PlainName(String);

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

/// The part of a firmware file's name before the version.
#[derive(PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
struct ProductName(String);

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

#[derive(Default)]
enum RestartField {
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

impl TryFrom<ProgramFields> for Program {
    type Error = Mistake;

    fn try_from(fields: ProgramFields) -> Result<Self, Mistake> {
        let unit = fields.unit.map(|unit| unit.0);
        if fields.runs == Runs::Another && unit.is_none() {
            return Err(Mistake::new(
                &["program.runs"],
                "`runs = \"another\"` needs `unit`: its start is all that can be proved",
            ));
        }
        Ok(Self {
            product: fields.product.0,
            aliases: fields.aliases.into_iter().map(|alias| alias.0).collect(),
            path: path(fields.path, fields.name)?,
            restart: restart(fields.restart, unit.as_deref())?,
            unit,
            restart_deadline: fields.restart_deadline,
            runs: fields.runs,
            version: fields.version,
            version_command: fields.version_command,
            isolate_commands: fields.isolate_commands,
            preflight_deadline: fields.preflight_deadline,
        })
    }
}

fn path(path: Option<PathBuf>, name: Option<PlainName>) -> Result<PathBuf, Mistake> {
    match (path, name) {
        (Some(path), None) => Ok(path),
        (None, Some(PlainName(name))) => Ok(Path::new("/usr/local/bin").join(name)),
        (Some(_), Some(_)) => {
            Err(Mistake::new(&["program.path"], "give `name` or `path`, not both"))
        }
        (None, None) => Err(Mistake::new(
            &["program"],
            "give the program's `name` (in /usr/local/bin) or its `path`",
        )),
    }
}

fn restart(restart: RestartField, unit: Option<&str>) -> Result<Restart, Mistake> {
    match (restart, unit) {
        (RestartField::Reboot, _) => Ok(Restart::Reboot),
        (RestartField::Unit, Some(unit)) => Ok(Restart::Unit(unit.to_owned())),
        (RestartField::Unit, None) => Err(Mistake::new(
            &["program.restart"],
            "`restart = \"unit\"` needs `unit`, the program's unit",
        )),
        (RestartField::Command(command), _) => Ok(Restart::Command(command)),
    }
}

impl Program {
    /// Whether a file with this product name is for this payload.
    pub fn accepts_product(&self, product: &str) -> bool {
        self.product == product || self.aliases.contains(product)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;

    fn error(fields: &str) -> String {
        let text = format!("[program]\n{fields}\n");
        Config::parse(&text, std::path::Path::new("uplift.toml")).unwrap_err().to_string()
    }

    #[test]
    fn a_program_that_can_not_be_is_an_error_at_its_field() {
        let product = "product = \"P\"";
        for (fields, place, right) in [
            (
                "path = \"bin/p\"\nproduct = \"P\"",
                "2, field program.path",
                "must be absolute, not \"bin/p\"",
            ),
            (
                "product = \"P\"\npath = \"/opt/.uplift\"",
                "3, field program.path",
                "the staging area",
            ),
            ("product = \"P\"\npath = \"/opt/..\"", "3, field program.path", "that of a file"),
            ("product = \"P\"\npath = \"/\"", "3, field program.path", "that of a file"),
            (
                "product = \"P\"\npath = \"/a\\u0000\"",
                "3, field program.path",
                "no control characters",
            ),
            (
                "product = \"P\"\nname = \"bin/p\"",
                "3, field program.name",
                "must be a file name, not \"bin/p\"",
            ),
            ("product = \"P\"\nname = \".uplift\"", "3, field program.name", "the staging area"),
            ("name = \"p\"\nproduct = \"P\"\npath = \"/p\"", "4, field program.path", "not both"),
            (product, "1, field program", "give the program's `name`"),
            (
                "name = \"p\"\nproduct = \"\"",
                "3, field program.product",
                "such as \"PSDK_APPALIAS\"",
            ),
            ("name = \"p\"\nproduct = \"P/x\"", "3, field program.product", "contains '/'"),
            ("name = \"p\"\nproduct = \"P\\n\"", "3, field program.product", "contains '\\n'"),
            (
                "name = \"p\"\nproduct = \"P\"\naliases = [\"\"]",
                "4, field program.aliases",
                "there is no product before",
            ),
            (
                "path = \"/a\\nb\"\nproduct = \"P\"",
                "2, field program.path",
                "no control characters",
            ),
            (
                "name = \"p\"\nproduct = \"P\"\nunit = \"p*\"",
                "4, field program.unit",
                "no unit has '*' in its name",
            ),
            (
                "name = \"p\"\nproduct = \"P\"\nrestart = []",
                "4, field program.restart",
                "at least the program",
            ),
            (
                "name = \"p\"\nproduct = \"P\"\nrestart = \"unit\"",
                "4, field program.restart",
                "needs `unit`",
            ),
            (
                "name = \"p\"\nproduct = \"P\"\nrestart = \"now\"",
                "4, field program.restart",
                "expected \"reboot\", \"unit\"",
            ),
            (
                "name = \"p\"\nproduct = \"P\"\nruns = \"another\"",
                "4, field program.runs",
                "needs `unit`",
            ),
            (
                "name = \"p\"\nproduct = \"P\"\npreflight_deadline = \"0s\"",
                "4, field program.preflight_deadline",
                "such as \"20s\"",
            ),
            (
                "name = \"p\"\nproduct = \"P\"\npreflight_deadline = \"1h\"",
                "4, field program.preflight_deadline",
                "within 2m at most",
            ),
            (
                "name = \"p\"\nproduct = \"P\"\nruns = \"it\"",
                "4, field program.runs",
                "expected `itself` or `another`",
            ),
            (
                "name = \"p\"\nproduct = \"P\"\nrestart = 5",
                "4, field program.restart",
                "expected \"reboot\", \"unit\"",
            ),
            (
                "name = \"p\"\nproduct = \"P\"\nisolate_commands = \"no\"",
                "4, field program.isolate_commands",
                "`auto`, `always`, `never`",
            ),
            (
                "name = \"p\"\nproduct = \"P\"\nrestart_deadline = \"0s\"",
                "4, field program.restart_deadline",
                "such as \"20s\"",
            ),
        ] {
            let error = error(fields);
            assert!(
                error.contains(&format!("line {place}: ")) && error.contains(right),
                "{fields}: {error}"
            );
        }
        let long = error(&format!("name = \"p\"\nproduct = \"{}\"", "P".repeat(239)));
        assert!(
            long.contains("field program.product") && long.contains("the limit is 255"),
            "{long}"
        );
    }
}
