//! Section `[trial]`: what a new program must show after the restart.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::duration;

/// What a new program must show after the restart.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "TrialFields")]
pub struct Trial {
    /// How long the unit must run the new program without a restart.
    pub window: Duration,
    /// From the restart to the verdict, at most, in each boot.
    pub deadline: Duration,
    /// Boots that the trial may take.
    pub boots: u32,
    /// Whether a person must say that the new program works.
    pub confirm: Confirm,
    /// A program and its arguments that must succeed.
    pub health_command: Option<Vec<String>>,
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TrialFields {
    #[serde(deserialize_with = "duration")]
    window: Duration,
    #[serde(deserialize_with = "duration")]
    deadline: Duration,
    boots: u32,
    confirm: Confirm,
    health_command: Option<Vec<String>>,
}

impl Default for TrialFields {
    fn default() -> Self {
        Self { window: Duration::from_secs(20), deadline: Duration::from_secs(120), boots: 3, confirm: Confirm::Auto, health_command: None }
    }
}

impl Default for Trial {
    fn default() -> Self {
        let TrialFields { window, deadline, boots, confirm, health_command } = TrialFields::default();
        Self { window, deadline, boots, confirm, health_command }
    }
}

impl TryFrom<TrialFields> for Trial {
    type Error = String;

    fn try_from(fields: TrialFields) -> Result<Self, String> {
        let TrialFields { window, deadline, boots, confirm, health_command } = fields;
        if window >= deadline {
            let (window, deadline) = (humantime::format_duration(window), humantime::format_duration(deadline));
            return Err(format!("`window` ({window}) must be shorter than `deadline` ({deadline}): the verdict comes after it"));
        }
        if boots == 0 {
            return Err("`boots` must be at least 1: the trial takes one".into());
        }
        if health_command.as_ref().is_some_and(Vec::is_empty) {
            return Err("`health_command` needs at least the program".into());
        }
        Ok(Self { window, deadline, boots, confirm, health_command })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn parse(trial: &str) -> Result<Trial, String> {
        let text = format!("[program]\nname = \"demo\"\nproduct = \"P\"\n[trial]\n{trial}\n");
        Config::parse(&text, std::path::Path::new("uplift.toml")).map(|config| config.trial).map_err(|error| error.to_string())
    }

    #[test]
    fn a_trial_that_can_not_end_well_is_an_error() {
        for (trial, reason) in [
            ("window = \"2m\"", "`window` (2m) must be shorter than `deadline` (2m)"),
            ("deadline = \"10s\"", "`window` (20s) must be shorter than `deadline` (10s)"),
            ("boots = 0", "at least 1"),
            ("health_command = []", "needs at least the program"),
            ("confirm = \"maybe\"", "`auto` or `explicit`"),
        ] {
            let error = parse(trial).unwrap_err();
            assert!(error.contains(reason) && error.contains("field trial"), "{trial}: {error}");
        }
    }

    #[test]
    fn every_field_of_a_trial() {
        let trial =
            parse("window = \"0s\"\ndeadline = \"1s\"\nboots = 1\nconfirm = \"explicit\"\nhealth_command = [\"/bin/true\"]").unwrap();
        assert_eq!((trial.window, trial.deadline, trial.boots), (Duration::ZERO, Duration::from_secs(1), 1));
        assert_eq!((trial.confirm, trial.health_command), (Confirm::Explicit, Some(vec!["/bin/true".into()])));
        assert_eq!(parse("").unwrap(), Trial::default());
    }
}
