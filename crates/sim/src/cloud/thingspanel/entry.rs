//! A task as the platform keeps it, and what it makes of what a device says. Pure.

use serde::Serialize;

use super::options::Generation;

/// How a task stands. The numbers of the states differ between the generations, and go over no wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Not pushed yet.
    Pending,
    /// Pushed, and nothing was heard.
    Pushed,
    /// The device has told a step from 1 to 99.
    Upgrading,
    /// It has told 100.
    Success,
    /// It has told a negative step, or was pushed to too often.
    Failed,
    /// A person has ended it.
    Cancelled,
}

/// A task of one device.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) id: String,
    pub(super) module: Option<String>,
    pub(super) version: String,
    pub(super) state: State,
    /// How often it is pushed again at most.
    pub(super) retries: u32,
}

/// What a message of progress is to the platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Running(i64),
    Success,
    Failure(i64),
    /// "Bad format" in the platform's log.
    Bad,
}

impl Step {
    /// A text with a number, or a number whose decimals are cut off.
    pub(super) fn read(step: Option<&serde_json::Value>) -> Self {
        use serde_json::Value;
        let number = match step {
            Some(Value::String(text)) => text.parse::<i64>().ok(),
            #[allow(clippy::cast_possible_truncation, reason = "cut off, as the platform does")]
            Some(Value::Number(number)) => number.as_f64().map(|number| number as i64),
            _ => None,
        };
        match number {
            Some(step @ 1..=99) => Self::Running(step),
            Some(100) => Self::Success,
            Some(step @ -4..=-1) => Self::Failure(step),
            _ => Self::Bad,
        }
    }
}

impl Entry {
    pub(super) const fn is_over(&self) -> bool {
        matches!(self.state, State::Success | State::Failed | State::Cancelled)
    }

    /// Whether progress with this module is of this task.
    pub(super) fn is_of(&self, module: Option<&str>) -> bool {
        self.module.as_deref() == module
    }

    /// Takes a step of a task that is not over.
    pub(super) fn step(&mut self, step: &Step) {
        self.state = match step {
            Step::Running(_) => State::Upgrading,
            Step::Success => State::Success,
            Step::Failure(_) => State::Failed,
            Step::Bad => self.state,
        };
    }

    /// A device has told a version of this task's module: whether the task is pushed now. 0.5.4 has
    /// it pushed again and again where an upgrade has begun and another version runs.
    pub(super) fn reported(&mut self, generation: Generation, version: &str) -> bool {
        match self.state {
            State::Pending => {
                self.state = State::Pushed;
                true
            }
            State::Upgrading if generation != Generation::V1 && self.version != version => {
                if self.retries == 0 {
                    self.state = State::Failed;
                    return false;
                }
                self.retries -= 1;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(state: State) -> Entry {
        let (id, version) = ("1".to_owned(), "v2".to_owned());
        Entry { id, module: None, version, state, retries: 3 }
    }

    #[test]
    fn a_step_is_a_number_from_minus_four_to_a_hundred_and_never_zero() {
        for (step, read) in [
            (serde_json::json!("40"), Step::Running(40)),
            (serde_json::json!(40.9), Step::Running(40)),
            (serde_json::json!("100"), Step::Success),
            (serde_json::json!("-4"), Step::Failure(-4)),
            (serde_json::json!("0"), Step::Bad),
            (serde_json::json!("-5"), Step::Bad),
            (serde_json::json!("101"), Step::Bad),
            (serde_json::json!("1%"), Step::Bad),
            (serde_json::json!(null), Step::Bad),
        ] {
            assert_eq!(Step::read(Some(&step)), read, "{step}");
        }
    }

    #[test]
    fn tp_15_each_version_that_is_not_the_wanted_one_costs_one_of_three_pushes() {
        let mut entry = entry(State::Upgrading);
        let pushed = std::iter::repeat_with(|| entry.reported(Generation::V05, "v1"));
        assert_eq!(pushed.take(5).collect::<Vec<_>>(), [true, true, true, false, false]);
        assert_eq!(entry.state, State::Failed);
    }

    #[test]
    fn a_version_pushes_what_is_pending_and_closes_nothing() {
        let mut entry = entry(State::Pending);
        assert!(entry.reported(Generation::V1, "v1"));
        entry.step(&Step::Running(7));
        assert!(!entry.reported(Generation::V1, "v1") && !entry.reported(Generation::V05, "v2"));
        assert_eq!(entry.state, State::Upgrading);
    }
}
