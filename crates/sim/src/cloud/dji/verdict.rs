//! Whether a gateway ended what it was asked for as it should. Looks at events only.

use serde::Serialize;

use super::Event;

/// How it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// The gateway tells `ok`.
    Success,
    /// The gateway tells another end.
    Failure,
    /// The gateway refuses the command.
    Refused,
}

/// Watches one gateway to the end of what it is asked for.
#[derive(Debug, Default)]
pub struct Watch {
    ending: Option<Ending>,
    faults: u32,
}

impl Watch {
    /// Looks at what happened next.
    pub fn see(&mut self, event: &Event) {
        match event {
            Event::Fault { .. } => self.faults += 1,
            Event::Replied { result, status, .. } if *result != 0 => {
                let is_refused = status.as_deref() == Some("rejected");
                self.ending = if is_refused { Some(Ending::Refused) } else { self.ending };
            }
            Event::Progress { status, .. } => match status.as_str() {
                "ok" => self.ending = Some(Ending::Success),
                "rejected" | "failed" | "canceled" | "timeout" => {
                    self.ending = Some(Ending::Failure);
                }
                _ => {}
            },
            _ => {}
        }
    }

    /// How it ended, if it did.
    #[must_use]
    pub const fn ending(&self) -> Option<Ending> {
        self.ending
    }

    /// Whether it kept to the rules.
    #[must_use]
    pub const fn kept_the_rules(&self) -> bool {
        self.faults == 0
    }
}
