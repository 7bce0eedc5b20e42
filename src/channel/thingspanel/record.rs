//! What must be known of tasks after a restart: those that have not ended, ends that the platform
//! has not heard, those that it has, and which versions it knows. Pure: what keeps it in a file is
//! not known here.
//!
//! The platform's progress names no task, only its module. So of one module the newest task counts,
//! and nothing more is said of the one before.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use super::words::{Code, Progress, Task};
use crate::handover::channels::OwnComponent;
use crate::model::ComponentName;
use crate::model::version::Version;

/// Most tasks that have not ended, each of another module.
const MOST_OPEN: usize = 4;
/// Most ends that wait for the broker, and most that are remembered.
const MOST_ENDS: usize = 16;
/// Most names of one task.
const MOST_IDS: usize = 8;

/// What is known of tasks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Record {
    /// Tasks that have not ended. The first one is at work.
    open: Vec<Open>,
    /// Ends that the platform has not heard, oldest first.
    owed: Vec<End>,
    /// Those that it has heard.
    ended: Vec<End>,
    /// What it was told of a module's version.
    told: BTreeMap<String, Told>,
    /// How it calls the version that runs.
    texts: BTreeMap<ComponentName, Text>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Open {
    task: Task,
    /// Further names under which it was pushed again.
    also: Vec<String>,
}

/// A task's end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct End {
    ids: Vec<String>,
    /// What was asked for, where that is known.
    target: Option<String>,
    /// What the platform hears.
    pub(super) word: Progress,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    boot: String,
    version: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Text {
    text: String,
    /// The version that it is, once that was seen to run.
    version: Option<Version>,
}

/// What a push comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Push {
    /// It is a new task.
    New,
    /// It is a task that has not ended: the platform should hear how far it is (TP-9).
    Again,
    /// It is one that has ended, and hears so again.
    Ended,
    /// It is one that has ended, and nobody waits for an answer.
    Stale,
}

/// How a push came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Came {
    /// The broker has kept it since before we subscribed (MQ-7).
    pub(super) is_retained: bool,
    /// Whether the end of a task is told again to a platform that pushes it again; 1.x must not hear
    /// of a task that it has closed (TP-18).
    pub(super) hears_ends_again: bool,
}

impl Record {
    /// The task at work.
    pub(super) fn at_work(&self) -> Option<&Task> {
        self.open.first().map(|open| &open.task)
    }

    /// The open task of this name.
    pub(super) fn open(&self, id: &str) -> Option<&Task> {
        self.open.iter().map(|open| &open.task).find(|task| task.id == id)
    }

    /// Whether one has not ended.
    pub(super) fn has_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// The next end that the platform has not heard.
    pub(super) fn owed(&self) -> Option<&End> {
        self.owed.first()
    }

    /// What a push is, if it is one of those that are known. One that is not is [`Push::New`].
    pub(super) fn known(&mut self, id: &str, task: Option<&Task>, came: Came) -> Push {
        let target = task.map(target);
        let is_it = |open: &Open| {
            open.has(id)
                || target.as_ref().is_some_and(|wanted| *wanted == self::target(&open.task))
        };
        if let Some(open) = self.open.iter_mut().find(|open| is_it(open)) {
            open.call(id);
            return Push::Again;
        }
        if self.owed.iter().any(|end| end.has(id)) {
            return Push::Ended;
        }
        let is_it = |end: &End| {
            // The broker gives what it keeps again and again, under the same name or another one.
            end.has(id) || (came.is_retained && target.is_some() && end.target == target)
        };
        let Some(at) = self.ended.iter().position(is_it) else { return Push::New };
        let end = self.ended.remove(at);
        if came.is_retained || !came.hears_ends_again {
            // It is the newest again, so that it is not forgotten.
            self.ended.push(end);
            return Push::Stale;
        }
        self.owed.push(end);
        Push::Ended
    }

    /// Takes a new task. An earlier one of its module has ended.
    pub(super) fn begin(&mut self, task: Task) {
        let place = self.open.iter().position(|open| open.task.module == task.module);
        if place.is_none() && self.open.len() >= MOST_OPEN {
            let why = "too many other tasks wait here";
            let word = Progress::failed(Code::Failed, why, task.module.as_deref());
            return self.owe(&task.id, Some(&task), word);
        }
        let open = Open { task, also: Vec::new() };
        match place {
            Some(place) => {
                let before = std::mem::replace(&mut self.open[place], open);
                let why = "a newer task has taken its place";
                let word = Progress::failed(Code::Failed, why, before.task.module.as_deref());
                self.remember(before.ended(word));
            }
            None => self.open.push(open),
        }
    }

    /// The platform should hear this end.
    pub(super) fn owe(&mut self, id: &str, task: Option<&Task>, word: Progress) {
        self.owed.push(End { ids: vec![id.to_owned()], target: task.map(target), word });
        if self.owed.len() > MOST_ENDS {
            tracing::warn!(
                "more tasks have ended than the broker takes the ends of; one is left out"
            );
            let oldest = self.owed.remove(0);
            self.remember(oldest);
        }
    }

    /// The platform has heard the end that was owed first.
    pub(super) fn paid(&mut self) {
        if !self.owed.is_empty() {
            let end = self.owed.remove(0);
            self.remember(end);
        }
    }

    /// The platform has heard this end of an open task.
    pub(super) fn end(&mut self, id: &str, word: Progress) {
        if let Some(at) = self.open.iter().position(|open| open.task.id == id) {
            let end = self.open.remove(at).ended(word);
            self.remember(end);
        }
    }

    /// An open task can't be done any more.
    pub(super) fn give_up(&mut self, id: &str, word: Progress) {
        if let Some(at) = self.open.iter().position(|open| open.task.id == id) {
            let end = self.open.remove(at).ended(word);
            self.owed.push(end);
        }
    }

    fn remember(&mut self, end: End) {
        self.ended.push(end);
        let surplus = self.ended.len().saturating_sub(MOST_ENDS);
        self.ended.drain(..surplus);
    }

    /// This text is what the platform calls the version of a component that runs now, or will be
    /// seen to run next.
    pub(super) fn call(&mut self, component: ComponentName, text: &str, version: Option<Version>) {
        self.texts.insert(component, Text { text: text.to_owned(), version });
    }

    /// Sees what runs.
    pub(super) fn see(&mut self, components: &[OwnComponent]) {
        for one in components {
            if let Some(text) = self.texts.get_mut(&one.component)
                && text.version.is_none()
            {
                text.version = one.version;
            }
        }
    }

    /// What the platform calls this version of a component, if it has ever named it.
    pub(super) fn text(&self, component: ComponentName, version: Version) -> Option<&str> {
        let text = self.texts.get(&component).filter(|text| text.version == Some(version))?;
        Some(&text.text)
    }

    /// Whether the platform knows that this version of a module runs since this boot (TP-15).
    pub(super) fn is_told(&self, module: &str, boot: &str, version: &str) -> bool {
        self.told.get(module).is_some_and(|told| told.boot == boot && told.version == version)
    }

    /// It does.
    pub(super) fn tell(&mut self, module: &str, boot: &str, version: &str) {
        let told = Told { boot: boot.to_owned(), version: version.to_owned() };
        self.told.insert(module.to_owned(), told);
    }
}

impl Open {
    fn has(&self, id: &str) -> bool {
        self.task.id == id || self.also.iter().any(|also| also == id)
    }

    fn call(&mut self, id: &str) {
        if !self.has(id) && self.also.len() < MOST_IDS {
            self.also.push(id.to_owned());
        }
    }

    fn ended(self, word: Progress) -> End {
        let target = Some(target(&self.task));
        let ids = std::iter::once(self.task.id).chain(self.also).collect();
        End { ids, target, word }
    }
}

impl End {
    fn has(&self, id: &str) -> bool {
        self.ids.iter().any(|own| own == id)
    }
}

/// What a task asks for, without its secrets.
fn target(task: &Task) -> String {
    let wanted = (&task.module, &task.version, &task.url);
    let digest = sha2::Sha256::digest(serde_json::to_vec(&wanted).unwrap_or_default());
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
