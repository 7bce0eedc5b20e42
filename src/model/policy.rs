//! What keeps upgrades from beginning, as everybody is told.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What keeps upgrades from beginning, or would.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyStatus {
    /// The hold, while there is one.
    #[serde(default)]
    pub hold: Option<HoldStatus>,
    /// The maintenance window, where one is configured.
    #[serde(default)]
    pub window: Option<WindowStatus>,
}

impl PolicyStatus {
    /// Why no upgrade may begin now, as far as this tells.
    pub fn not_now(&self) -> Option<String> {
        let held = self.hold.as_ref().map(|hold| format!("upgrades are {hold}"));
        let closed = self.window.as_ref().filter(|window| !window.open);
        held.or_else(|| closed.map(|window| format!("the maintenance window is {window}")))
    }
}

/// A hold that somebody has put on upgrades.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldStatus {
    /// Who, such as "uid 1000".
    pub by: String,
    /// Why, where that was said.
    #[serde(default)]
    pub reason: Option<String>,
    /// When it began, RFC 3339, by the wall clock; for people only.
    pub began: String,
    /// Seconds until it ends by itself; absent: it does not.
    #[serde(default)]
    pub seconds_left: Option<u64>,
}

impl fmt::Display for HoldStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "held by {}", self.by)?;
        self.reason.iter().try_for_each(|reason| write!(f, ": {reason}"))
    }
}

/// The maintenance window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowStatus {
    /// Times of day in UTC, such as "02:00-05:00".
    pub utc: Vec<String>,
    /// Whether upgrades may begin by it.
    pub open: bool,
    /// Whether the clock can be trusted; where it can't, the window counts as closed.
    pub clock_trusted: bool,
}

impl fmt::Display for WindowStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match (self.open, self.clock_trusted) {
            (true, _) => "open",
            (false, true) => "closed",
            (false, false) => "closed, because the clock can't be trusted",
        };
        write!(f, "{} UTC, {state}", self.utc.join(", "))
    }
}
