//! Whether a device ended its task as a device should. Looks at events only.

use serde::Serialize;

use super::Event;
use super::entry::State;
use super::options::{Options, Signed, Size};

/// How it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// The device tells 100, and nothing that the platform can't take.
    Success,
    /// The device tells a negative step.
    Failure,
    /// The device says something that the platform can't take.
    Senseless,
}

/// Watches one device to the end of its task.
#[derive(Debug, Default)]
pub struct Watch {
    ending: Option<Ending>,
}

impl Ending {
    /// How a device should end the task of these options.
    #[must_use]
    pub fn expected(options: &Options) -> Self {
        let can_be_done = options.task.as_ref().is_none_or(|task| {
            !matches!(task.signed, Signed::Wrong | Signed::Unknown)
                && task.size != Some(Size::Wrong)
        });
        if can_be_done { Self::Success } else { Self::Failure }
    }
}

impl Watch {
    /// Looks at what happened next.
    pub fn see(&mut self, event: &Event) {
        self.ending = self.ending.or(match event {
            Event::Senseless { .. } | Event::Progress { task: None, .. } => Some(Ending::Senseless),
            Event::Progress { task: Some((_, State::Success)), .. } => Some(Ending::Success),
            Event::Progress { task: Some((_, State::Failed)), .. } => Some(Ending::Failure),
            _ => None,
        });
    }

    /// How it ended, if it did.
    #[must_use]
    pub const fn ending(&self) -> Option<Ending> {
        self.ending
    }
}
