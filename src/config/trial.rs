//! Sections `[trial]` and `[component.NAME.trial]`: what a new program must show after the restart.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error as _};

use super::error::Mistake;
use super::values::{command, duration_if_any, some_time_if_any};
use crate::model::{BridgeHealth, ComponentName, Confirm};

/// What the new version of a component must show after the restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// From the restart to the verdict, at most, in each boot.
    pub deadline: Duration,
    /// Boots that the trial may take.
    pub boots: u32,
    /// Whether a person must say that the new program works.
    pub confirm: Confirm,
    /// A program and its arguments that must succeed.
    pub health_command: Option<Vec<String>>,
    /// What a program must show at the bridge.
    pub bridge: Option<BridgeHealth>,
}

/// What one of the sections says of a trial.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TrialFields {
    #[serde(default, deserialize_with = "duration_if_any")]
    window: Option<Duration>,
    #[serde(default, deserialize_with = "some_time_if_any")]
    deadline: Option<Duration>,
    #[serde(default, deserialize_with = "boots")]
    boots: Option<u32>,
    confirm: Option<Confirm>,
    #[serde(default, deserialize_with = "command")]
    health_command: Option<Vec<String>>,
    health: Option<HealthSource>,
    aircraft: Option<bool>,
}

/// Where else than from the unit and a command the program's health is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum HealthSource {
    /// The program is the payload's application, and connects to the bridge.
    Bridge,
}

/// How long the unit must run a new program, unless the configuration says otherwise.
const DEFAULT_WINDOW: Duration = Duration::from_secs(20);

impl Default for Trial {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(120),
            boots: 3,
            confirm: Confirm::Auto,
            health_command: None,
            bridge: None,
        }
    }
}

impl Trial {
    /// What a component's own section does not say, the one for all says.
    pub(super) fn of(all: &TrialFields, own: &TrialFields) -> Self {
        let default = Self::default();
        Self {
            deadline: own.deadline.or(all.deadline).unwrap_or(default.deadline),
            boots: own.boots.or(all.boots).unwrap_or(default.boots),
            confirm: own.confirm.or(all.confirm).unwrap_or(default.confirm),
            health_command: own.health_command.clone().or_else(|| all.health_command.clone()),
            bridge: own.health.or(all.health).map(|HealthSource::Bridge| {
                match own.aircraft.or(all.aircraft) {
                    Some(true) => BridgeHealth::Aircraft,
                    Some(false) | None => BridgeHealth::Connected,
                }
            }),
        }
    }

    /// How long a program's unit must run it within this trial.
    pub(super) fn window(
        &self,
        all: &TrialFields,
        own: &TrialFields,
        name: ComponentName,
    ) -> Result<Duration, Mistake> {
        let window = own.window.or(all.window).unwrap_or(DEFAULT_WINDOW);
        if window < self.deadline {
            return Ok(window);
        }
        let (shown, deadline) =
            (humantime::format_duration(window), humantime::format_duration(self.deadline));
        let explanation = format!(
            "`window` ({shown}) must be shorter than `deadline` ({deadline}): the verdict comes after it"
        );
        Err(Mistake::new(&fields_of_trial(name, &["window", "deadline"]), explanation))
    }
}

impl TrialFields {
    /// What another updater installs has no unit that must run for a while.
    pub(super) fn has_window(&self) -> bool {
        self.window.is_some()
    }
}

/// Where fields of a trial stand: in the component's own section, or in the one for all.
pub(super) fn fields_of_trial(name: ComponentName, fields: &[&str]) -> Vec<String> {
    let own = fields.iter().map(|field| format!("component.{name}.trial.{field}"));
    own.chain(fields.iter().map(|field| format!("trial.{field}"))).collect()
}

fn boots<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    match u32::deserialize(deserializer)? {
        0 => Err(D::Error::custom("`boots` must be at least 1: the trial takes one")),
        boots => Ok(Some(boots)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn parse(trial: &str) -> Result<(Duration, Trial), String> {
        let text =
            format!("[component.program]\nname = \"demo\"\nproduct = \"P\"\n[trial]\n{trial}\n");
        Config::parse(&text, std::path::Path::new("uplift.toml"))
            .map(|config| {
                let program = config.components.programs().next().unwrap();
                (program.window, program.common.trial.clone())
            })
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_trial_that_can_not_end_well_is_an_error() {
        for (trial, place, reason) in [
            (
                "window = \"2m\"",
                "5, field trial.window",
                "`window` (2m) must be shorter than `deadline` (2m)",
            ),
            (
                "deadline = \"10s\"",
                "5, field trial.deadline",
                "`window` (20s) must be shorter than `deadline` (10s)",
            ),
            ("boots = 2\nwindow = \"3m\"", "6, field trial.window", "must be shorter"),
            ("window = \"0s\"\ndeadline = \"0s\"", "6, field trial.deadline", "such as \"20s\""),
            ("boots = 0", "5, field trial.boots", "at least 1"),
            ("health_command = []", "5, field trial.health_command", "needs at least the program"),
            (
                "health_command = [\"\"]",
                "5, field trial.health_command",
                "needs at least the program",
            ),
            ("confirm = \"maybe\"", "5, field trial.confirm", "`auto` or `explicit`"),
        ] {
            let error = parse(trial).unwrap_err();
            assert!(
                error.contains(reason) && error.contains(&format!("line {place}: ")),
                "{trial}: {error}"
            );
        }
    }

    #[test]
    fn every_field_of_a_trial() {
        let (window, trial) =
            parse("window = \"0s\"\ndeadline = \"1s\"\nboots = 1\nconfirm = \"explicit\"\nhealth_command = [\"/bin/true\"]").unwrap();
        assert_eq!(
            (window, trial.deadline, trial.boots),
            (Duration::ZERO, Duration::from_secs(1), 1)
        );
        assert_eq!(
            (trial.confirm, trial.health_command),
            (Confirm::Explicit, Some(vec!["/bin/true".into()]))
        );
        assert_eq!(parse("").unwrap(), (DEFAULT_WINDOW, Trial::default()));
    }
}
