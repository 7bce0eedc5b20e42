//! Section `[trial]`: what a new program must show after the restart.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error as _};

use super::error::Mistake;
use super::values::{command, duration, some_time};
use crate::model::Confirm;

/// What a new program must show after the restart.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Trial {
    /// How long the unit must run the new program without a restart.
    #[serde(deserialize_with = "duration")]
    pub window: Duration,
    /// From the restart to the verdict, at most, in each boot.
    #[serde(deserialize_with = "some_time")]
    pub deadline: Duration,
    /// Boots that the trial may take.
    #[serde(deserialize_with = "boots")]
    pub boots: u32,
    /// Whether a person must say that the new program works.
    pub confirm: Confirm,
    /// A program and its arguments that must succeed.
    #[serde(deserialize_with = "command")]
    pub health_command: Option<Vec<String>>,
}

impl Default for Trial {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(20),
            deadline: Duration::from_secs(120),
            boots: 3,
            confirm: Confirm::Auto,
            health_command: None,
        }
    }
}

impl Trial {
    pub(super) fn check_window(&self) -> Result<(), Mistake> {
        if self.window < self.deadline {
            return Ok(());
        }
        let (window, deadline) =
            (humantime::format_duration(self.window), humantime::format_duration(self.deadline));
        let explanation = format!(
            "`window` ({window}) must be shorter than `deadline` ({deadline}): the verdict comes after it"
        );
        Err(Mistake::new(&["trial.window", "trial.deadline"], explanation))
    }
}

fn boots<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    match u32::deserialize(deserializer)? {
        0 => Err(D::Error::custom("`boots` must be at least 1: the trial takes one")),
        boots => Ok(boots),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn parse(trial: &str) -> Result<Trial, String> {
        let text = format!("[program]\nname = \"demo\"\nproduct = \"P\"\n[trial]\n{trial}\n");
        Config::parse(&text, std::path::Path::new("uplift.toml"))
            .map(|config| config.trial)
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
        let trial =
            parse("window = \"0s\"\ndeadline = \"1s\"\nboots = 1\nconfirm = \"explicit\"\nhealth_command = [\"/bin/true\"]").unwrap();
        assert_eq!(
            (trial.window, trial.deadline, trial.boots),
            (Duration::ZERO, Duration::from_secs(1), 1)
        );
        assert_eq!(
            (trial.confirm, trial.health_command),
            (Confirm::Explicit, Some(vec!["/bin/true".into()]))
        );
        assert_eq!(parse("").unwrap(), Trial::default());
    }
}
