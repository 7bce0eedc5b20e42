//! Whether a device ended what it was offered as a device should. Looks at events only.

use serde::Serialize;

use super::Event;
use super::options::{Answer, Options};

/// How it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// The device asks with the new version, or tells the result 1.
    Success,
    /// The device tells the result 2.
    Failure,
    /// The device was told a code, and took it.
    Told,
}

/// Watches one device to the end of what it is offered.
#[derive(Debug, Default)]
pub struct Watch {
    was_sent: bool,
    told: usize,
    ending: Option<Ending>,
}

impl Ending {
    /// How a device should end what these options have happen: with the new version, unless nothing
    /// but codes is to be told.
    #[must_use]
    pub fn expected(options: &Options) -> Self {
        let has_code = options.answers.iter().any(|answer| !matches!(answer, Answer::File));
        let goes_on = options.answers.iter().any(|answer| {
            matches!(answer, Answer::File | Answer::Code(43) | Answer::CodeWith(43, _))
        });
        if options.packages.is_empty() || (has_code && !goes_on) {
            Self::Told
        } else {
            Self::Success
        }
    }
}

impl Watch {
    /// Looks at what happened next.
    pub fn see(&mut self, event: &Event) {
        match event {
            Event::Sent { from, sent, of, .. } => self.was_sent |= from + sent >= *of,
            Event::Asked { code: Some(27), .. } if self.was_sent => {
                self.ending = Some(Ending::Success);
            }
            Event::Asked { code: Some(code), .. } if *code != 0 => self.told += 1,
            Event::Asked { status: 200, code: None, .. } => {}
            Event::Result { result, code: 0, .. } => {
                self.ending = match result.as_str() {
                    "1" => Some(Ending::Success),
                    "2" => Some(Ending::Failure),
                    _ => self.ending,
                };
            }
            _ => {}
        }
    }

    /// How it ended, if it did; what is expected says whether a code is an end.
    #[must_use]
    pub fn ending(&self, expected: Ending) -> Option<Ending> {
        let told = expected == Ending::Told && self.told > 0;
        self.ending.or_else(|| told.then_some(Ending::Told))
    }
}
