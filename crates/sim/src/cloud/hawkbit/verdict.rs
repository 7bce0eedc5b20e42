//! Whether a device ended what it was offered as a device should. Looks at events only.

use serde::Serialize;

use super::options::{Digests, Lie, Moment, Options, Turn};
use super::{Event, State};

/// Polls after which a device that does not take what it can't take has shown that.
const PATIENCE: u32 = 3;

/// How it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// `closed` with `success`.
    Success,
    /// `closed` with `failure`.
    Failure,
    /// The device gave the action up when asked to.
    Canceled,
    /// The device's user did not want it.
    Denied,
    /// The device did not take what can't be taken: it failed it, or left it alone for some polls.
    NotInstalled,
}

/// Watches one device's first offer to its end.
#[derive(Debug, Default)]
pub struct Watch {
    /// Polls since the device read a deployment.
    polls: u32,
    was_read: bool,
    ending: Option<Ending>,
}

impl Ending {
    /// How a device should end what these options have happen.
    #[must_use]
    pub fn expected(options: &Options) -> Self {
        let is_bad = |lie: &Lie| match lie {
            Lie::Digests(digests) => matches!(digests, Digests::Wrong | Digests::Short),
            _ => true,
        };
        let cancels = |moment: Moment| {
            let mut turns = options.turns.iter();
            turns.any(|(at, turn)| *at == moment && matches!(turn, Turn::Cancel))
        };
        if options.lies.iter().any(is_bad) {
            Self::NotInstalled
        } else if cancels(Moment::BeforeDownload) || cancels(Moment::InDownload) {
            Self::Canceled
        } else {
            Self::Success
        }
    }

    /// Whether this is as good as what was expected.
    #[must_use]
    pub fn satisfies(self, expected: Self) -> bool {
        self == expected || (self == Self::Failure && expected == Self::NotInstalled)
    }
}

impl Watch {
    /// Looks at what happened next.
    pub fn see(&mut self, event: &Event) {
        match event {
            Event::Read { resource, .. } if resource == "deploymentBase" => {
                self.was_read = true;
            }
            Event::Poll { .. } if self.was_read => {
                self.polls += 1;
            }
            Event::Action { state, .. } => {
                self.ending = match state {
                    State::Finished => Some(Ending::Success),
                    State::Error => Some(Ending::Failure),
                    State::Canceled => Some(Ending::Canceled),
                    _ => self.ending,
                };
            }
            Event::Assigned { .. } => {
                // What was offered before is over.
                *self = Self::default();
            }
            Event::Feedback { execution, .. } if execution == "denied" => {
                self.ending = Some(Ending::Denied);
            }
            _ => {}
        }
    }

    /// How it ended, if it did; what is expected says how long to wait for nothing.
    #[must_use]
    pub fn ending(&self, expected: Ending) -> Option<Ending> {
        let left_alone = expected == Ending::NotInstalled && self.polls >= PATIENCE;
        self.ending.or_else(|| left_alone.then_some(Ending::NotInstalled))
    }
}
