//! Who waits for an answer: those who asked for the same piece of work, and those whose turn has
//! not come.

use std::collections::VecDeque;

use super::super::words::{Answer, Asker, Command, Question};
use super::Effect;

/// Requests that wait for one piece of work; a host that repeats for ever is answered for its last
/// ones.
const MOST_ASKERS: usize = 16;
/// Requests that wait for their turn; what comes beyond is not taken, and its host repeats it.
const MOST_WAITING: usize = 16;

/// All who asked for the piece of work that is under way. There is one at least.
#[derive(Debug)]
pub(super) struct Askers {
    first: Question,
    joined: VecDeque<Question>,
}

impl Askers {
    pub(super) const fn new(first: Question) -> Self {
        Self { first, joined: VecDeque::new() }
    }

    /// Who asked for the work.
    pub(super) fn asker(&self) -> Asker {
        self.first.asker
    }

    /// Another request for the same. The same frame once more is a repetition, and one answer is
    /// enough.
    pub(super) fn join(&mut self, question: Question) {
        if self.first == question || self.joined.contains(&question) {
            return;
        }
        if self.joined.len() == MOST_ASKERS {
            self.joined.pop_front();
        }
        self.joined.push_back(question);
    }

    /// The answer to each, with its own sequence number.
    pub(super) fn answer(&self, answer: Answer) -> Vec<Effect> {
        std::iter::once(&self.first)
            .chain(&self.joined)
            .flat_map(|question| question.answer(answer))
            .collect()
    }
}

/// Requests that came while another's work is under way on whose result theirs depends.
#[derive(Debug, Default)]
pub(super) struct Queue(VecDeque<(Question, Command)>);

impl Queue {
    pub(super) fn push(&mut self, question: Question, command: Command) {
        let is_repetition =
            self.0.iter().any(|(waiting, wanted)| *waiting == question && *wanted == command);
        if !is_repetition && self.0.len() < MOST_WAITING {
            self.0.push_back((question, command));
        }
    }

    pub(super) fn pop(&mut self) -> Option<(Question, Command)> {
        self.0.pop_front()
    }
}
