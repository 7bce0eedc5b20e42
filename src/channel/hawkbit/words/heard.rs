//! What a server means by the status of an answer.

/// What the server was asked or told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Question {
    /// Whether there is something.
    Poll,
    /// What is to be installed, agreed to or taken back.
    Fetch,
    /// How an action fares.
    Feedback {
        /// Whether it has let this device in before.
        is_let_in: bool,
    },
    /// What becomes of a cancellation, or of a confirmation.
    Answer,
    /// The device's attributes.
    ConfigData,
}

/// What the server means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It has it.
    Taken,
    /// It is finished with this action: nothing of it is told again.
    Over,
    /// The same again, after a while.
    Again,
    /// It takes nothing more of this action but its end: that again, ten minutes apart at least.
    Quota,
    /// It does not let this device in, or does not know it.
    NotAllowed,
    /// It does not understand, and never will.
    Senseless,
}

impl Heard {
    /// What a status of HTTP means (HB-6, HB-8, HB-15). Redirects are followed before.
    pub(crate) fn of(status: u16, question: Question) -> Self {
        use Question::{Answer, ConfigData, Feedback, Fetch, Poll};
        match (status, question) {
            (200..=299, _) => Self::Taken,
            (401, _) => Self::NotAllowed,
            // A server before 0.10.0: credentials that were right are right still.
            (403, Feedback { is_let_in: true }) => Self::Quota,
            (403, _) => Self::NotAllowed,
            (404, Poll | ConfigData) => Self::NotAllowed,
            (404 | 410, Fetch | Feedback { .. } | Answer) => Self::Over,
            // It was not being cancelled any more.
            (405, Answer) => Self::Over,
            (408 | 409 | 425 | 429 | 500..=599, _) => Self::Again,
            _ => Self::Senseless,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_means_something_to_each_question() {
        use Heard::{Again, NotAllowed, Over, Quota, Senseless, Taken};
        let questions = [
            Question::Poll,
            Question::Fetch,
            Question::Feedback { is_let_in: false },
            Question::Feedback { is_let_in: true },
            Question::Answer,
            Question::ConfigData,
        ];
        // HB-6: 404 of a fetch. HB-8: 404, 410, 409, 429, 5xx of feedback. HB-15: 403.
        for (status, heard) in [
            (200, [Taken; 6]),
            (201, [Taken; 6]),
            (204, [Taken; 6]),
            (304, [Senseless; 6]),
            (400, [Senseless; 6]),
            (401, [NotAllowed; 6]),
            (403, [NotAllowed, NotAllowed, NotAllowed, Quota, NotAllowed, NotAllowed]),
            (404, [NotAllowed, Over, Over, Over, Over, NotAllowed]),
            (405, [Senseless, Senseless, Senseless, Senseless, Over, Senseless]),
            (408, [Again; 6]),
            (409, [Again; 6]),
            (410, [Senseless, Over, Over, Over, Over, Senseless]),
            (415, [Senseless; 6]),
            (422, [Senseless; 6]),
            (429, [Again; 6]),
            (500, [Again; 6]),
            (503, [Again; 6]),
            (599, [Again; 6]),
            (600, [Senseless; 6]),
            (0, [Senseless; 6]),
        ] {
            let found = questions.map(|question| Heard::of(status, question));
            assert_eq!(found, heard, "{status}");
        }
    }
}
