//! A change by another updater: what it was agreed to be, and how far it is.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::terms::milliseconds;
use super::{Attempt, Confirm, Origin, PackageSummary, Restart, Verdict};

/// What another updater is told to install, and in which boot that began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What is installed.
    pub package: PackageSummary,
    /// The boot in which it began; while the machine restarts, that which has to end.
    pub origin: Origin,
    /// What was agreed.
    pub terms: ChangeTerms,
}

/// What a change by another updater was agreed to be at the word to install. A configuration that
/// changes meanwhile can't change it.
///
/// | field | meaning |
/// |---|---|
/// | `install` | program and arguments, with `{file}` where the file's path belongs |
/// | `revert` | program and arguments of the way back, or `null` where there is none |
/// | `unchanged_exit_codes` | exit codes by which the updater says that it has changed nothing |
/// | `command_deadline` | milliseconds that each of the two may take |
/// | `restart` | `"reboot"` or `{"command": [program, argument, …]}`, or `null` where what is installed needs none |
/// | `restart_deadline` | milliseconds until a restart that did not come counts as failed |
/// | `version_command` | program and arguments that print what is installed, or `null` |
/// | `health_command` | program and arguments that must succeed, or `null` |
/// | `deadline` | milliseconds of the trial, in each boot |
/// | `boots` | how many boots the trial may take |
/// | `confirm` | `"auto"` or `"explicit"` |
/// | `begins_again` | whether an updater that was cut off is begun again, because it leaves nothing that works; `false` where it is missing |
/// | `read_back` | whether an updater that succeeds has seen in the device what it installed; `false` where it is missing |
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the table above")]
pub struct ChangeTerms {
    pub install: Vec<String>,
    pub revert: Option<Vec<String>>,
    pub unchanged_exit_codes: Vec<u8>,
    #[serde(with = "milliseconds")]
    pub command_deadline: Duration,
    pub restart: Option<Restart>,
    #[serde(with = "milliseconds")]
    pub restart_deadline: Duration,
    pub version_command: Option<Vec<String>>,
    pub health_command: Option<Vec<String>>,
    #[serde(with = "milliseconds")]
    pub deadline: Duration,
    pub boots: u32,
    pub confirm: Confirm,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub begins_again: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_back: bool,
}

/// How far a change is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "at", rename_all = "kebab-case")]
pub enum Step {
    /// The updater works, or was never begun.
    Installing,
    /// It has installed; the machine restarts.
    Restarting {
        /// How often the restart was asked for.
        requests: u32,
    },
    /// What it has installed must show that it works.
    Trial {
        /// Which boot of it this is.
        attempt: Attempt,
        /// Who has confirmed that it works.
        confirmed_by: Option<String>,
    },
    /// The updater goes back to what was before.
    Reverting {
        /// Why.
        verdict: Verdict,
    },
    /// It has gone back; the machine restarts.
    RestartingBack {
        /// Why.
        verdict: Verdict,
        /// How often the restart was asked for.
        requests: u32,
    },
}
