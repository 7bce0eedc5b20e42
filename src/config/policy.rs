//! Section `[policy]`: when an upgrade may begin.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::values::{Size, absolute_if_any, command, some_time};
use super::window::Window;
use crate::host::command::Isolation;

/// When an upgrade may begin. Without this section it may at any time.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Parts of the day in which it may; none: at any time.
    pub window_utc: Vec<Window>,
    /// By whose word the clock is right.
    pub clock: Clock,
    /// A file that exists once the clock was set since the boot; without it systemd is asked.
    #[serde(deserialize_with = "absolute_if_any")]
    pub clock_file: Option<PathBuf>,
    /// A program and its arguments that ends with success while the payload may be upgraded.
    #[serde(deserialize_with = "command")]
    pub ready_command: Option<Vec<String>>,
    /// How long it may take.
    #[serde(deserialize_with = "ready_deadline")]
    pub ready_deadline: Duration,
    /// How it is kept from the machine.
    pub isolate_commands: Isolation,
    /// What must be free where firmware and state lie.
    pub min_free_space: Size,
    /// How long an upgrade that was put off waits.
    #[serde(deserialize_with = "some_time")]
    pub longest_wait: Duration,
}

/// By whose word the clock is right.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Clock {
    /// It was set by NTP since the boot.
    #[default]
    Ntp,
    /// By whoever wrote the configuration: it keeps the time without power, or is set otherwise.
    Trusted,
}

/// The longest that may be asked: a host waits for its answer meanwhile.
const LONGEST_READY: Duration = Duration::from_secs(30);

impl Default for Policy {
    fn default() -> Self {
        Self {
            window_utc: Vec::new(),
            clock: Clock::Ntp,
            clock_file: None,
            ready_command: None,
            ready_deadline: Duration::from_secs(2),
            isolate_commands: Isolation::Auto,
            min_free_space: Size(0),
            longest_wait: Duration::from_secs(7 * 24 * 60 * 60),
        }
    }
}

impl Policy {
    /// Whether it says anything that could keep an upgrade from its beginning.
    pub fn asks(&self) -> bool {
        !self.window_utc.is_empty() || self.ready_command.is_some() || self.min_free_space.0 > 0
    }
}

fn ready_deadline<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let deadline = some_time(deserializer)?;
    if deadline <= LONGEST_READY {
        return Ok(deadline);
    }
    Err(serde::de::Error::custom(format!(
        "a host waits for its answer meanwhile: expected at most {} s",
        LONGEST_READY.as_secs()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn parse(policy: &str) -> Result<Policy, String> {
        let text =
            format!("[component.program]\nname = \"demo\"\nproduct = \"P\"\n[policy]\n{policy}\n");
        Config::parse(&text, std::path::Path::new("uplift.toml"))
            .map(|config| config.policy)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn every_field_of_the_policy() {
        assert!(!parse("").unwrap().asks());
        let policy = parse(
            "window_utc = [\"02:00-05:00\"]\nclock = \"trusted\"\nclock_file = \"/run/clock\"\nready_command = [\"/bin/true\"]\n\
             ready_deadline = \"1s\"\nisolate_commands = \"never\"\nmin_free_space = \"1MiB\"\nlongest_wait = \"2h\"",
        )
        .unwrap();
        assert!(policy.asks());
        assert_eq!(policy.window_utc[0].to_string(), "02:00-05:00");
        assert_eq!((policy.clock, policy.min_free_space), (Clock::Trusted, Size(1 << 20)));
        assert_eq!(
            (policy.ready_deadline, policy.longest_wait),
            (Duration::from_secs(1), Duration::from_secs(7200))
        );
    }

    #[test]
    fn an_error_says_what_would_be_right() {
        for (policy, field, reason) in [
            ("window_utc = [\"2-5\"]", "window_utc", "such as \"02:00-05:00\""),
            ("clock = \"gps\"", "clock", "`ntp` or `trusted`"),
            ("clock_file = \"clock\"", "clock_file", "must be absolute"),
            ("ready_command = []", "ready_command", "needs at least the program"),
            ("ready_deadline = \"31s\"", "ready_deadline", "at most 30 s"),
            ("longest_wait = \"0s\"", "longest_wait", "such as \"20s\""),
            ("min_free_space = \"1GB\"", "min_free_space", "is not a size"),
        ] {
            let error = parse(policy).unwrap_err();
            assert!(
                error.contains(reason) && error.contains(&format!("line 5, field policy.{field}")),
                "{policy}: {error}"
            );
        }
    }
}
