//! The platform: what it wants, and what it has heard.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::{Discriminant, discriminant};

use super::daemon::product;
use super::{Action, Install, Network, Offer, Step, Word, action};
use crate::channel::offer::{FirmwareName, OfferedFile, Telling, What};
use crate::model::AnnouncedDigests;

#[derive(Debug, Default)]
pub(super) struct Platform {
    pub(super) open: Option<Open>,
    pub(super) taken_back: Option<Action>,
    pub(super) network: Network,
    /// It goes on offering what has ended.
    forgets: bool,
    /// It ever did.
    pub(super) has_forgotten: bool,
    ended: BTreeMap<String, Discriminant<What>>,
    impossible: BTreeSet<String>,
    took_back: BTreeSet<String>,
    actions: usize,
    versions: usize,
}

/// What it wants.
#[derive(Debug, Clone)]
pub(super) struct Open {
    pub(super) offer: Offer,
    pub(super) impossible: bool,
    is_exchanged: bool,
}

impl Platform {
    /// It changes its mind; of this action something is being said to it.
    pub(super) fn step(&mut self, step: Step, being_said: Option<&Action>) {
        match step {
            Step::Offer { files, later, impossible } => self.offer(files, later, impossible),
            Step::OfferAgain => {
                let files = self.open.take().map(|open| open.offer.files);
                if let Some(files) = files {
                    self.put(files, Install::Now, false);
                }
            }
            Step::Exchange => self.exchange(being_said),
            Step::Withdraw => self.open = None,
            Step::Allow => self.allow(),
            Step::TakeBack { long_ago } => {
                let open = self.open.as_ref().map(|open| open.offer.action.clone());
                let open = open.filter(|_| !self.forgets);
                let taken_back = if long_ago { action(self.actions / 2) } else { open };
                self.took_back.extend(taken_back.iter().map(|one| one.as_str().to_owned()));
                self.taken_back = taken_back;
            }
            Step::Forget(forgets) => {
                let is_simple = self
                    .open
                    .as_ref()
                    .is_none_or(|open| !open.is_exchanged && !self.took_back(&open.offer.action));
                self.forgets = forgets && is_simple;
                self.has_forgotten |= self.forgets;
            }
            Step::Network(network) => self.network = network,
            _ => {}
        }
    }

    /// It can be reached, remembers, and lets be installed what it wants.
    pub(super) fn heal(&mut self) {
        (self.network, self.forgets) = (Network::Works, false);
        self.allow();
    }

    /// Nobody remembers the end of what it goes on offering: it is asked for anew.
    pub(super) fn ask_anew(&mut self) {
        if let Some(open) = self.open.as_ref().filter(|_| self.forgets) {
            self.ended.remove(open.offer.action.as_str());
        }
    }

    /// Whether it has heard all that it waits for.
    pub(super) fn is_content(&self) -> bool {
        self.open.is_none() && self.taken_back.is_none()
    }

    /// It is told something. What ends a request ends it once.
    pub(super) fn hear(&mut self, telling: &Telling) {
        let Telling { action, what } = telling;
        if self.taken_back.as_ref() == Some(action) && (what.is_final() || *what == What::TooLate) {
            self.taken_back = None;
        }
        if !what.is_final() {
            return;
        }
        let kind = discriminant(what);
        let first = self.ended.entry(action.as_str().to_owned()).or_insert(kind);
        let is_same = *first == kind;
        // Who takes back what ended long ago may hear that nothing of it is here.
        let is_answer = self.took_back.contains(action.as_str()) && *what == What::Cancelled;
        assert!(is_same || is_answer, "it heard another truth before: {telling:?}");
        if self.open.as_ref().is_some_and(|open| open.offer.action == *action) && !self.forgets {
            self.open = None;
        }
    }

    /// Whether it has taken the same before.
    pub(super) fn has_heard(&self, word: &Word) -> bool {
        let told = self.ended.get(word.telling.action.as_str());
        told == Some(&discriminant(&word.telling.what))
    }

    pub(super) fn has_ended(&self, action: &Action) -> bool {
        self.ended.contains_key(action.as_str())
    }

    pub(super) fn is_impossible(&self, action: &Action) -> bool {
        self.impossible.contains(action.as_str())
    }

    pub(super) fn took_back(&self, action: &Action) -> bool {
        self.took_back.contains(action.as_str())
    }

    fn offer(&mut self, files: usize, later: bool, impossible: bool) {
        let files = self.new_files(files);
        let install = if later { Install::Later } else { Install::Now };
        self.put(files, install, impossible);
    }

    fn put(&mut self, files: Vec<OfferedFile>, install: Install, impossible: bool) {
        self.actions += 1;
        let Some(action) = action(self.actions) else { return };
        if impossible {
            self.impossible.insert(action.as_str().to_owned());
        }
        let offer = Offer { action, files, install };
        self.open = Some(Open { offer, impossible, is_exchanged: false });
    }

    /// What was said of it before is said of the earlier files: so nothing is, for now.
    fn exchange(&mut self, being_said: Option<&Action>) {
        let Some(mut open) = self.open.clone() else { return };
        let action = &open.offer.action;
        if self.forgets || self.has_ended(action) || being_said == Some(action) {
            return;
        }
        open.offer.files = self.new_files(open.offer.files.len());
        open.is_exchanged = true;
        self.open = Some(open);
    }

    fn allow(&mut self) {
        if let Some(open) = &mut self.open {
            open.offer.install = Install::Now;
        }
    }

    fn new_files(&mut self, count: usize) -> Vec<OfferedFile> {
        self.versions += 1;
        let (high, low) = (self.versions / 100 % 100, self.versions % 100);
        let file = |number| {
            let name = format!("{}_V01.{high:02}.{low:02}.00.bin", product(number));
            Some(OfferedFile {
                name: FirmwareName::Known(name.parse().ok()?),
                url: "http://127.0.0.1/file".into(),
                size: Some(8),
                digests: AnnouncedDigests::default(),
            })
        };
        (0..count).filter_map(file).collect()
    }
}
