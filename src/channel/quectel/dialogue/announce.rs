//! Which version of a component is announced, and when: only the truth, and never while a plan is
//! being processed, except as its last word (QT-4, QT-11, QT-12).

use std::collections::BTreeMap;
use std::time::Instant;

use super::{Dialogue, News, Plan, READY};
use crate::channel::quectel::words::Command;
use crate::config::QuectelVersions;
use crate::model::version::Version;

/// So often an announcement is tried that the module does not take.
const TRIES: u32 = 3;

/// What is announced.
#[derive(Debug, Default)]
pub(super) struct Announcing {
    /// What was announced since the module began to listen; by component.
    done: BTreeMap<String, Version>,
    /// The version that the module has stored of a component, as it was read last.
    stored: Option<(String, Option<String>)>,
    /// What is announced at once.
    last_word: Option<LastWord>,
    /// A component whose version can't be written as the platform writes it.
    untellable: Option<String>,
    tries: u32,
}

#[derive(Debug, Clone)]
struct LastWord {
    component: String,
    version: Version,
    /// The plan's own text of its version.
    planned: Option<String>,
}

impl Announcing {
    /// What the module has stored is read anew.
    pub(super) fn forget_reading(&mut self) {
        self.stored = None;
    }

    /// The module has been away.
    pub(super) fn forget(&mut self) {
        self.done.clear();
        self.untellable = None;
        self.forget_reading();
    }

    pub(super) fn read(&mut self, component: String, version: Option<String>) {
        self.stored = Some((component, version));
    }

    pub(super) fn untellable(&self) -> Option<&str> {
        self.untellable.as_deref()
    }

    fn stored(&self, component: &str) -> Option<Option<&str>> {
        let (of, version) = self.stored.as_ref()?;
        (of == component).then_some(version.as_deref())
    }
}

impl Dialogue {
    /// Announces what runs at once, whatever the module does: the last word of a plan. `planned` is
    /// the plan's own text of the version that was to run.
    pub(in super::super) fn announce(
        &mut self,
        component: &str,
        version: Version,
        planned: Option<&str>,
    ) {
        let planned = planned.map(str::to_owned);
        self.announcing.last_word =
            Some(LastWord { component: component.to_owned(), version, planned });
        self.announcing.tries = 0;
        self.announcing.forget_reading();
    }

    /// Whether something is being announced at once.
    pub(in super::super) fn is_announcing(&self) -> bool {
        self.announcing.last_word.is_some()
    }

    pub(super) fn next_announcement(&mut self) -> Option<Command> {
        loop {
            let LastWord { component, version, planned } = self.to_announce()?;
            let Some(stored) = self.announcing.stored(&component) else {
                return Some(Command::VersionOf(component));
            };
            let text = text(&self.settings.form, version, [planned.as_deref(), stored]);
            let is_stored = text.is_some() && text.as_deref() == stored;
            let is_last_word = self.announcing.last_word.is_some();
            match text {
                Some(text) if is_last_word || !is_stored => {
                    return Some(Command::Announce(component, text));
                }
                Some(_) => self.announcing.done.insert(component, version),
                None => {
                    self.announcing.untellable = Some(component.clone());
                    if self.announcing.last_word.take().is_some() {
                        self.news.push_back(News::Announced);
                    }
                    self.announcing.done.insert(component, version)
                }
            };
        }
    }

    fn to_announce(&self) -> Option<LastWord> {
        if let Some(last_word) = &self.announcing.last_word {
            return Some(last_word.clone());
        }
        if !matches!(self.plan, Plan::None) || self.state != READY {
            return None;
        }
        let done = &self.announcing.done;
        let mut truth = self.truth.iter().flatten();
        truth.find(|(component, version)| done.get(*component) != Some(*version)).map(
            |(component, version)| LastWord {
                component: component.clone(),
                version: *version,
                planned: None,
            },
        )
    }

    pub(super) fn was_announced(
        &mut self,
        component: String,
        text: &str,
        is_ok: bool,
        now: Instant,
    ) {
        self.announcing.tries += 1;
        if !is_ok && self.announcing.tries < TRIES {
            return;
        }
        self.announcing.tries = 0;
        self.announcing.forget_reading();
        let version = self.settings.form.version(text);
        if let Some(last_word) = self.announcing.last_word.take() {
            self.announcing.done.insert(component, last_word.version);
            if matches!(self.plan, Plan::Runs(_)) {
                self.plan = Plan::None;
            }
            // A plan that has just failed would be made again at once.
            self.request_at = Some(now + self.settings.period);
            self.news.push_back(News::Announced);
        } else if let Some(version) = version {
            self.announcing.done.insert(component, version);
        }
    }
}

/// How a version is written: as the plan does it, as the module has it, or by the form. A text that
/// means another version is none.
fn text(form: &QuectelVersions, version: Version, known: [Option<&str>; 2]) -> Option<String> {
    let means = |text: &&str| form.version(text) == Some(version);
    let known = known.into_iter().flatten().find(means).map(str::to_owned);
    known.or_else(|| form.text(version))
}
