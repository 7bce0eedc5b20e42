//! A component of the kind "command": another updater that is handed the file, such as RAUC,
//! SWUpdate or a package manager.

use std::time::Duration;

use super::common::Common;
use super::error::Mistake;
use super::fields::{Fields, RestartField};
use super::program::SHORTEST_RESTART;
use crate::model::{Board, ChangeTerms, Restart};

/// Stands for the file's path among the arguments of `install`.
pub const FILE: &str = "{file}";

/// Stands for the SHA-256 of the payload that is to go among the arguments of `revert`.
pub const AWAY: &str = "{sha256}";

/// How long the updater may take, unless the configuration says otherwise.
pub(super) const DEFAULT_DEADLINE: Duration = Duration::from_secs(30 * 60);

/// What another updater installs.
#[derive(Debug, Clone)]
pub struct Command {
    /// What it has as any component.
    pub common: Common,
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
    /// Whether it is begun again where it was cut off.
    pub begins_again: bool,
    /// The microcontroller, where uplift itself is the updater.
    pub board: Option<Board>,
}

impl Command {
    pub(super) fn of(fields: Fields, common: Common) -> Result<Self, Mistake> {
        let mistake = |field: &str, explanation: &str| {
            Mistake::new(&[&format!("component.{}{field}", common.name)], explanation)
        };
        let foreign = [
            (".name", fields.name.is_some()),
            (".path", fields.path.is_some()),
            (".unit", fields.unit.is_some()),
            (".trial.window", fields.trial.has_window()),
        ];
        fields.check_no_board(&common)?;
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
            install,
            revert: fields.revert,
            suffix,
            unchanged_exit_codes: fields.unchanged_exit_codes,
            command_deadline: fields.command_deadline.unwrap_or(DEFAULT_DEADLINE),
            restart,
            restart_deadline: fields.restart_deadline.unwrap_or(SHORTEST_RESTART),
            begins_again: false,
            board: None,
            common,
        })
    }

    /// Who is handed the file, for a person.
    pub fn updater(&self) -> String {
        match &self.board {
            Some(board) => format!("the microcontroller at {}", board.port.display()),
            None => format!("`{}`", self.install.join(" ")),
        }
    }

    /// What an upgrade is agreed to be by this configuration.
    pub fn terms(&self) -> ChangeTerms {
        let trial = &self.common.trial;
        ChangeTerms {
            install: self.install.clone(),
            revert: self.revert.clone(),
            unchanged_exit_codes: self.unchanged_exit_codes.clone(),
            command_deadline: self.command_deadline,
            restart: self.restart.clone(),
            restart_deadline: self.restart_deadline,
            version_command: self.common.version_command.clone(),
            health_command: trial.health_command.clone(),
            deadline: trial.deadline,
            boots: trial.boots,
            confirm: trial.confirm,
            begins_again: self.begins_again,
            read_back: self.board.is_some(),
        }
    }
}
