//! A component of the kind "command": another updater that is handed the file, such as RAUC,
//! SWUpdate or a package manager.

use std::collections::BTreeSet;
use std::time::Duration;

use super::error::Mistake;
use super::fields::{Fields, RestartField};
use super::package::Format;
use super::program::SHORTEST_RESTART;
use super::trial::Trial;
use crate::host::command::Isolation;
use crate::model::version::Version;
use crate::model::{ChangeTerms, ComponentName, Restart};

/// Stands for the file's path among the arguments of `install`.
pub const FILE: &str = "{file}";

/// How long the updater may take, unless the configuration says otherwise.
const DEFAULT_DEADLINE: Duration = Duration::from_secs(30 * 60);

/// What another updater installs.
#[derive(Debug, Clone)]
pub struct Command {
    /// Its name among the components.
    pub name: ComponentName,
    /// Product name that a file must carry: the part before `_Vaa.bb.cc.dd.bin`.
    pub product: String,
    /// Other product names that are accepted.
    pub aliases: BTreeSet<String>,
    /// What its firmware files are, without their seals.
    pub format: Format,
    /// The updater's program and arguments; one of them holds [`FILE`].
    pub install: Vec<String>,
    /// The same for its way back, where it has one.
    pub revert: Option<Vec<String>>,
    /// The end of the name under which it finds the file.
    pub suffix: String,
    /// Exit codes by which it says that it has changed nothing.
    pub unchanged_exit_codes: Vec<u8>,
    /// How long it may take.
    pub command_deadline: Duration,
    /// How what it has installed comes to run; nothing where the updater sees to that.
    pub restart: Option<Restart>,
    /// How long a restart may take to begin before it counts as failed.
    pub restart_deadline: Duration,
    /// Version of what was installed by other means; a version that `uplift` installed itself is
    /// remembered.
    pub version: Option<Version>,
    /// A program and its arguments that print the version of what is installed.
    pub version_command: Option<Vec<String>>,
    /// How the commands of the trial (version, health) are kept from the machine.
    pub isolate_commands: Isolation,
    /// How long one answer about the version may take.
    pub preflight_deadline: Duration,
    /// What the updater's work must show.
    pub trial: Trial,
}

impl Command {
    pub(super) fn of(fields: Fields, name: ComponentName, trial: Trial) -> Result<Self, Mistake> {
        let mistake = |field: &str, explanation: &str| {
            Mistake::new(&[&format!("component.{name}{field}")], explanation)
        };
        let foreign = [
            (".name", fields.name.is_some()),
            (".path", fields.path.is_some()),
            (".unit", fields.unit.is_some()),
        ];
        if let Some((field, _)) = foreign.into_iter().find(|(_, given)| *given) {
            return Err(mistake(field, "this belongs to a component of the kind \"program\""));
        }
        let Some(install) = fields.install else {
            let right = "give `install`: the updater and its arguments, such as [\"rauc\", \"install\", \"{file}\"]";
            return Err(mistake("", right));
        };
        if !install.iter().skip(1).any(|argument| argument.contains(FILE)) {
            let right = "one argument must hold {file}, where the file's path belongs";
            return Err(mistake(".install", right));
        }
        let restart = match fields.restart {
            None => None,
            Some(RestartField::Reboot) => Some(Restart::Reboot),
            Some(RestartField::Command(command)) => Some(Restart::Command(command)),
            Some(RestartField::Unit) => {
                let right =
                    "expected \"reboot\" or a command: which units restart is the updater's";
                return Err(mistake(".restart", right));
            }
        };
        let suffix = fields.suffix.map_or_else(|| ".bin".to_owned(), |suffix| suffix.0);
        Ok(Self {
            name,
            product: fields.product.0,
            aliases: fields.aliases.into_iter().map(|alias| alias.0).collect(),
            format: fields.format.unwrap_or(Format::Any),
            install,
            revert: fields.revert,
            suffix,
            unchanged_exit_codes: fields.unchanged_exit_codes,
            command_deadline: fields.command_deadline.unwrap_or(DEFAULT_DEADLINE),
            restart,
            restart_deadline: fields.restart_deadline.unwrap_or(SHORTEST_RESTART),
            version: fields.version,
            version_command: fields.version_command,
            isolate_commands: fields.isolate_commands,
            preflight_deadline: fields.preflight_deadline,
            trial,
        })
    }

    /// What an upgrade is agreed to be by this configuration.
    pub fn terms(&self) -> ChangeTerms {
        let trial = &self.trial;
        ChangeTerms {
            install: self.install.clone(),
            revert: self.revert.clone(),
            unchanged_exit_codes: self.unchanged_exit_codes.clone(),
            command_deadline: self.command_deadline,
            restart: self.restart.clone(),
            restart_deadline: self.restart_deadline,
            version_command: self.version_command.clone(),
            health_command: trial.health_command.clone(),
            deadline: trial.deadline,
            boots: trial.boots,
            confirm: trial.confirm,
        }
    }
}
