//! The changes of one story, and what the peer had been promised after each.

use std::path::Path;

use serde::Deserialize;

use super::enumerate::{crash_states, nothing_lost};
use super::files::{PROGRAMS, STATE};
use super::labels::labels;
use super::model::{Impossible, Model};
use super::tree::Tree;
use crate::disk::recording::{Change, Moment, Recorded};
use crate::model::{Outcome, Report};

/// What must be true of the report, whatever happens to the power.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Promise {
    /// The peer was told nothing that it would not ask for again.
    Nothing,
    /// The peer was told that its file is being checked, or more: it will hear how that ended.
    Report,
    /// The peer may have read this report, and has not acknowledged it.
    Reported(Outcome),
    /// It is acknowledging it.
    Acknowledging(Outcome),
    /// It has acknowledged it, and will not hear it again.
    Acknowledged(Outcome),
}

/// A change, and what is promised once it has taken place.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) change: Change,
    pub(crate) promise: Promise,
    pub(crate) moment: Moment,
    /// What it is, for people and lists.
    pub(crate) label: String,
}

/// What a fresh daemon finds, and what it is bound to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Case {
    pub(crate) tree: Tree,
    pub(crate) promise: Promise,
    pub(crate) moment: Moment,
}

/// A story that took place.
#[derive(Debug, Clone)]
pub(crate) struct Recording {
    before: Tree,
    promise: Promise,
    moment: Moment,
    pub(crate) steps: Vec<Step>,
    /// Whether the program lies on a file system of the vfat kind.
    fat: bool,
}

#[derive(Deserialize)]
struct StateFile {
    upgrade: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct HistoryFile {
    reports: Vec<Report>,
}

impl Recording {
    /// The story of these changes, before which the history had these reports. From the
    /// `acknowledged`th change on they are of the acknowledgement.
    pub(crate) fn new(
        before: Case,
        reports: usize,
        changes: Vec<Recorded>,
        acknowledged: usize,
    ) -> Self {
        let Case { tree: before, promise, moment: first } = before;
        let mut model = Model::of(&before);
        let (mut steps, mut given) = (Vec::new(), promise);
        let last = changes.len();
        let labels = labels(&model, &changes);
        for (i, (Recorded { change, moment }, label)) in changes.into_iter().zip(labels).enumerate()
        {
            model.apply(&change).expect("what took place is possible");
            if change == (Change::SyncDirectory { path: STATE.into() }) {
                given = given_by(&model, reports, given, i + 1 == last);
            }
            if let Promise::Reported(outcome) = given
                && i + 1 >= acknowledged
            {
                given = Promise::Acknowledging(outcome);
            }
            steps.push(Step { change, promise: given, moment, label });
        }
        Self { before, promise, moment: first, steps, fat: false }
    }

    /// The same story, as a file system of the vfat kind keeps it.
    pub(crate) fn on_fat(self) -> Self {
        Self { fat: true, ..self }
    }

    /// The same story without the syncs of files that were moved.
    pub(crate) fn without_syncs_of_moved(mut self) -> Self {
        self.steps.retain(|step| !matches!(step.change, Change::SyncMoved { .. }));
        self
    }

    /// Every state that a power cut leaves, with the number of changes before it.
    pub(crate) fn crash_states(&self) -> Result<Vec<(usize, Case)>, Impossible> {
        self.moments(|model, promise, _| {
            let case = |tree| Case { tree, promise, moment: self.next_boot() };
            crash_states(model).into_iter().map(case).collect()
        })
    }

    /// What a daemon leaves that dies after each change, with the power on.
    pub(crate) fn deaths(&self) -> Result<Vec<(usize, Case)>, Impossible> {
        self.moments(|model, promise, moment| {
            vec![Case { tree: nothing_lost(model), promise, moment: moment.clone() }]
        })
    }

    /// Its end, and nothing promised any more.
    pub(crate) fn end(&self) -> Case {
        let deaths = self.deaths().expect("what took place is possible");
        let (_, end) = deaths.into_iter().next_back().expect("one death at least");
        Case { moment: self.next_boot(), promise: Promise::Nothing, ..end }
    }

    /// The power is cut when this step has taken place, and nothing that was done is lost.
    pub(crate) fn cut_after(&self, label: &str) -> Case {
        Case { moment: self.next_boot(), ..self.death_after(label) }
    }

    /// The daemon dies when this step has taken place.
    pub(crate) fn death_after(&self, label: &str) -> Case {
        let deaths = self.deaths().expect("what took place is possible");
        let step = self.steps.iter().position(|step| step.label == label).expect("such a step");
        deaths.into_iter().nth(step + 1).expect("one death for each step").1
    }

    fn next_boot(&self) -> Moment {
        Moment { boot: format!("{}, cut", self.moment.boot), start: None }
    }

    /// The same story without one of its steps. What was promised after it is promised all the
    /// same.
    pub(crate) fn without(&self, left_out: usize) -> Self {
        let mut changed = self.clone();
        let step = changed.steps.remove(left_out);
        match left_out.checked_sub(1) {
            Some(before) => changed.steps[before].promise = step.promise,
            None => changed.promise = step.promise,
        }
        changed
    }

    /// The same story with a step after the one that followed it. Each still brings the promise
    /// that it brought.
    pub(crate) fn exchanged(&self, first: usize) -> Self {
        let mut changed = self.clone();
        let before = first.checked_sub(1).map_or(self.promise, |before| self.steps[before].promise);
        let (one, two) = (self.steps[first].promise, self.steps[first + 1].promise);
        changed.steps.swap(first, first + 1);
        changed.steps[first].promise = if two == one { before } else { two };
        changed.steps[first + 1].promise = two;
        changed
    }

    fn moments(
        &self,
        cases: impl Fn(&Model, Promise, &Moment) -> Vec<Case>,
    ) -> Result<Vec<(usize, Case)>, Impossible> {
        let model = Model::of(&self.before);
        let mut model = if self.fat { model.with_fat(Path::new(PROGRAMS)) } else { model };
        let mut all: Vec<_> =
            cases(&model, self.promise, &self.moment).into_iter().map(|case| (0, case)).collect();
        for (i, step) in self.steps.iter().enumerate() {
            model.apply(&step.change)?;
            all.extend(
                cases(&model, step.promise, &step.moment).into_iter().map(|case| (i + 1, case)),
            );
        }
        Ok(all)
    }
}

/// What stands in the journal, now that it is durable, is what the peer can be told.
fn given_by(model: &Model, reports: usize, before: Promise, at_the_end: bool) -> Promise {
    let file = |name: &str| model.read(Path::new(STATE).join(name));
    let underway = file("state.json")
        .and_then(parse::<StateFile>)
        .is_some_and(|state| state.upgrade.is_some());
    let last = file("history.json")
        .and_then(parse::<HistoryFile>)
        .and_then(|history| history.reports.into_iter().nth(reports));
    match (before, last) {
        (Promise::Acknowledging(outcome), _) if at_the_end => Promise::Acknowledged(outcome),
        (Promise::Nothing | Promise::Report, _) if underway => Promise::Report,
        (Promise::Nothing | Promise::Report, Some(report)) => Promise::Reported(report.outcome),
        (before, _) => before,
    }
}

/// A damaged file, as a mutant can leave it, tells nothing.
fn parse<T: for<'a> Deserialize<'a>>(text: &[u8]) -> Option<T> {
    serde_json::from_slice(text).ok()
}
