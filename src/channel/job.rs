//! One upgrade for a platform of the network, from its offer to its acknowledged report. Pure: it is
//! told what was heard of either side, and says what is wanted now.
//!
//! It keeps nothing that must survive. What the daemon has of the channel (the upgrade that runs,
//! reports that nobody has acknowledged, each with its mark) and what the platform offers are
//! enough to go on, so the end of either process at any moment loses nothing. Nothing here knows a
//! platform, a clock, a socket or a file.

mod fuzz;
mod mark;
mod model;
#[cfg(test)]
mod tests;

use crate::channel::offer::{Action, FirmwareName, Install, Offer, OfferedFile, Telling, What};
use crate::handover::channel_client::Own;
use crate::handover::channels::OwnUpgrade;
use crate::model::{
    ComponentName, Failure, FailureKind, Outcome, Phase, Reference, Report, UpgradeId,
};

pub use fuzz::fuzz;
use mark::Mark;

/// What is wanted now.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Wants {
    /// The platform should know this. Of what is not final, the last word is enough.
    pub(crate) tell: Option<Word>,
    /// The daemon should do this next.
    pub(crate) act: Option<Act>,
}

/// What the platform should know, with what it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word {
    /// That.
    pub(crate) telling: Telling,
    of: Option<Subject>,
}

/// What a word is about. While it is on its way, all may change here.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Subject {
    mark: Mark,
    /// The upgrade whose report says it.
    report: Option<UpgradeId>,
}

/// The next thing to do with the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Act {
    /// An upgrade begins.
    Begin(Reference),
    /// Its file is fetched, handed over and proved.
    Fetch(UpgradeId, Box<OfferedFile>),
    /// What was proved is installed.
    Start(UpgradeId),
    /// It is given up.
    Abandon(UpgradeId, Failure),
    /// The channel's report was seen.
    Acknowledge,
}

/// What the platform wants, as far as is known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
enum Wanted {
    /// It was not reached yet.
    #[default]
    Unknown,
    /// Nothing.
    Nothing,
    /// This.
    Offer(Box<Offer>),
    /// Something that can't be done.
    Impossible(Action, Failure),
}

/// The machine of one platform.
#[derive(Debug, Clone, Default)]
pub(crate) struct Job {
    /// Whether the platform does not wait where an upgrade may not begin now: it hears so as its end.
    is_impatient: bool,
    own: Option<Own>,
    wanted: Wanted,
    /// The request that the platform takes back, until it has heard the answer.
    taken_back: Option<Action>,
    /// The file of this upgrade is on its way, or rests before the next try.
    fetching: Option<UpgradeId>,
    /// The daemon did not begin an upgrade for this offer, or not now.
    refused: Option<(Mark, Failure)>,
    /// The final word that the platform has taken.
    told: Option<(Mark, What)>,
    /// The report that it was of, whatever the platform has offered since.
    told_of: Option<UpgradeId>,
}

impl Job {
    /// Of a platform that nothing is known of.
    pub(crate) fn new(waits: bool) -> Self {
        Self { is_impatient: !waits, ..Self::default() }
    }

    /// What the daemon has of the channel; nothing where it is away.
    pub(crate) fn own(&mut self, own: Option<Own>) {
        self.own = own;
    }

    /// The platform offers this. It says so as long as it wants it.
    pub(crate) fn offered(&mut self, offer: Offer) {
        let mark = Mark::of(&offer);
        self.remember_only(|of| of.is_of_same_offer(&mark));
        self.wanted = Wanted::Offer(Box::new(offer));
    }

    /// The platform offers something that can't be done, and is told why.
    pub(crate) fn offered_in_vain(&mut self, action: Action, failure: Failure) {
        self.remember_only(|of| of.action == action);
        self.wanted = Wanted::Impossible(action, failure);
    }

    /// The platform wants nothing.
    pub(crate) fn offered_nothing(&mut self) {
        (self.wanted, self.refused, self.told) = (Wanted::Nothing, None, None);
    }

    /// The platform takes a request back.
    pub(crate) fn taken_back(&mut self, action: Action) {
        // What it took back before stays so, whether or not the answer got there.
        let before =
            self.taken_back.replace(action).filter(|one| self.taken_back.as_ref() != Some(one));
        if before.is_some() && self.offer().map(|offer| &offer.action) == before.as_ref() {
            self.wanted = Wanted::Unknown;
        }
    }

    /// The file is being fetched, or that has ended.
    pub(crate) fn fetching(&mut self, upgrade: Option<UpgradeId>) {
        self.fetching = upgrade;
    }

    /// The daemon did not begin an upgrade.
    pub(crate) fn refused(&mut self, failure: Failure) {
        if let Wanted::Offer(offer) = &self.wanted {
            self.refused = Some((Mark::of(offer), failure));
        }
    }

    /// The daemon may be asked again.
    pub(crate) fn try_again(&mut self) {
        self.refused = self.refused.take().filter(|(_, failure)| !is_for_now(failure));
    }

    fn remember_only(&mut self, is_wanted: impl Fn(&Mark) -> bool) {
        self.refused = self.refused.take().filter(|(refused, _)| is_wanted(refused));
        self.told = self.told.take().filter(|(told, _)| is_wanted(told));
    }

    /// The platform has taken this word, or is finished with the request.
    pub(crate) fn told(&mut self, word: &Word) {
        let Word { telling, of } = word;
        let is_final = telling.what.is_final();
        let is_answer = is_final || telling.what == What::TooLate;
        if self.taken_back.as_ref() == Some(&telling.action) && is_answer {
            self.taken_back = None;
        }
        if !is_final {
            return;
        }
        if let Some(Subject { mark, report }) = of {
            self.told = Some((mark.clone(), telling.what.clone()));
            self.told_of = report.clone().or(self.told_of.take());
        }
        // Whether it has understood, its next answer shows.
        let is_of = |action: &Action| *action == telling.action;
        let is_wanted = match &self.wanted {
            Wanted::Offer(offer) => is_of(&offer.action),
            Wanted::Impossible(action, _) => is_of(action),
            Wanted::Unknown | Wanted::Nothing => false,
        };
        if is_wanted {
            self.wanted = Wanted::Unknown;
        }
    }

    /// What is wanted now.
    pub(crate) fn wants(&self) -> Wants {
        let Some(own) = &self.own else { return Wants::default() };
        let wants = self.of_own(own);
        match &self.taken_back {
            Some(action) if self.at_work(own).is_none_or(|mark| mark.action != *action) => {
                Wants { tell: Some(self.answer(action)), act: wants.act }
            }
            _ => wants,
        }
    }

    fn of_own(&self, own: &Own) -> Wants {
        if let Some(upgrade) = &own.upgrade {
            return self.of_upgrade(upgrade);
        }
        if let Some((mark, report)) = self.report() {
            return self.of_report(mark, report);
        }
        if !own.reports.is_empty() {
            return Wants::act(Act::Acknowledge); // of a request that no version here has made
        }
        self.of_wanted(own)
    }

    /// What runs, or what has ended and waits.
    fn at_work(&self, own: &Own) -> Option<Mark> {
        match &own.upgrade {
            Some(upgrade) => upgrade.reference.as_ref().and_then(Mark::read),
            None => self.report().map(|(mark, _)| mark),
        }
    }

    /// What a platform hears that takes back what is not at work here.
    fn answer(&self, action: &Action) -> Word {
        let telling = |what| Telling { action: action.clone(), what };
        let told = self.told.as_ref().filter(|(told, _)| told.action == *action);
        if let Some((mark, what)) = told {
            let what = if *what == What::Cancelled { What::Cancelled } else { What::TooLate };
            let of = Some(Subject { mark: mark.clone(), report: None });
            return Word { telling: telling(what), of };
        }
        let offer = self.offer().filter(|offer| offer.action == *action);
        let of = offer.map(|offer| Subject { mark: Mark::of(offer), report: None });
        // Of several files the first ones may have been installed, whatever is known of the others.
        let (replaced, kept) = self.parted(action, offer);
        let what = if self.brought(action).any(|(_, mark)| mark.is_last()) {
            What::TooLate
        } else if replaced.is_empty() {
            What::Cancelled
        } else {
            let failure = Failure::new(FailureKind::Cancelled, TAKEN_BACK);
            What::Failed { failure, replaced, kept }
        };
        Word { telling: telling(what), of }
    }

    /// An upgrade of this channel runs.
    fn of_upgrade(&self, upgrade: &OwnUpgrade) -> Wants {
        let give_up = |kind, why: &str| {
            let failure = Failure::new(kind, why);
            Wants::act(Act::Abandon(upgrade.id.clone(), failure))
        };
        let is_open = matches!(
            upgrade.phase,
            Phase::Preparing | Phase::Receiving | Phase::Checking | Phase::Ready | Phase::Deferred
        );
        let Some(mark) = upgrade.reference.as_ref().and_then(Mark::read) else {
            let why = "what it was asked for is not understood";
            return if is_open { give_up(FailureKind::Internal, why) } else { Wants::default() };
        };
        if self.taken_back.as_ref() == Some(&mark.action) {
            return if is_open {
                give_up(FailureKind::Cancelled, TAKEN_BACK)
            } else {
                Wants::tell(mark, What::TooLate)
            };
        }
        let offer = match &self.wanted {
            Wanted::Offer(offer) if Mark::of(offer).is_of_same_offer(&mark) => Some(offer),
            Wanted::Unknown => None,
            _ if is_open => {
                return give_up(FailureKind::Cancelled, NOT_ASKED);
            }
            _ => None,
        };
        self.of_phase(upgrade, &mark, offer.map(AsRef::as_ref))
    }

    fn of_phase(&self, upgrade: &OwnUpgrade, mark: &Mark, offer: Option<&Offer>) -> Wants {
        // What came was refused, and is no better when it comes again.
        if let (Phase::Preparing, Some(failure)) = (upgrade.phase, &upgrade.failure) {
            return Wants::act(Act::Abandon(upgrade.id.clone(), failure.clone()));
        }
        let file = offer.and_then(|offer| offer.files.get(mark.file));
        let is_fetched_already = self.fetching.as_ref() == Some(&upgrade.id);
        let (what, act) = match upgrade.phase {
            Phase::Preparing | Phase::Receiving => {
                let fetch = file.filter(|_| !is_fetched_already).cloned().map(Box::new);
                (
                    Some(comes(upgrade, mark, offer)),
                    fetch.map(|file| Act::Fetch(upgrade.id.clone(), file)),
                )
            }
            Phase::Ready => match offer.map(|offer| offer.install) {
                Some(Install::Now) => (None, Some(Act::Start(upgrade.id.clone()))),
                Some(Install::Later) => (Some(What::Downloaded), None),
                None => (None, None),
            },
            Phase::Deferred => {
                let why = "it waits until it may be installed here".to_owned();
                (Some(What::NotNow { why }), None)
            }
            Phase::Installing | Phase::Restarting | Phase::Reverting => {
                (Some(What::Installing), None)
            }
            Phase::Trial => (Some(What::OnTrial), None),
            Phase::Idle | Phase::Checking | Phase::Concluded => (None, None),
        };
        let tell = what.and_then(|what| Wants::tell(mark.clone(), what).tell);
        Wants { tell, act }
    }

    /// A report of this channel waits for its acknowledgement.
    fn of_report(&self, mark: Mark, report: &Report) -> Wants {
        if self.told_of.as_ref() == Some(&report.id) {
            return Wants::act(Act::Acknowledge);
        }
        // Nobody waits for the end of it, and gooseBit would take it for that of what it asks for now.
        if was_given_up(report, NOT_ASKED) {
            return Wants::act(Act::Acknowledge);
        }
        let is_taken_back = self.taken_back.as_ref() == Some(&mark.action);
        match &self.wanted {
            // What is wanted under this name now has not ended yet.
            Wanted::Offer(offer) if offer.action == mark.action => {
                let is_same = Mark::of(offer).is_of_same_offer(&mark);
                let succeeded = report.outcome == Outcome::Succeeded;
                if !is_same || (succeeded && !mark.is_last()) {
                    return Wants::act(Act::Acknowledge);
                }
            }
            // The platform has not said yet of which components it speaks.
            Wanted::Unknown if mark.is_of_several() && !is_taken_back => return Wants::default(),
            _ => {}
        }
        let telling = Telling { action: mark.action.clone(), what: self.verdict(&mark, report) };
        let of = Some(Subject { mark, report: Some(report.id.clone()) });
        Wants { tell: Some(Word { telling, of }), act: None }
    }

    /// The final word of a report.
    fn verdict(&self, mark: &Mark, report: &Report) -> What {
        if report.outcome == Outcome::Succeeded {
            if mark.is_last() {
                return What::Succeeded { sentence: installed(report) };
            }
            let why = "the platform does not ask for the files that come after it any more";
            let failure = Failure::new(FailureKind::Cancelled, why);
            let (replaced, kept) = self.parted(&mark.action, None);
            return What::Failed { failure, replaced, kept };
        }
        let failure = report.failure.clone().unwrap_or_else(|| {
            Failure::new(FailureKind::Internal, format!("the upgrade has {}", report.outcome))
        });
        let offer = self.offer().filter(|offer| Mark::of(offer).is_of_same_offer(mark));
        let (replaced, mut kept) = self.parted(&mark.action, offer);
        if was_given_up(report, TAKEN_BACK) && replaced.is_empty() {
            return What::Cancelled;
        }
        if offer.is_none() {
            kept.extend(report.component);
        }
        What::Failed { failure, replaced, kept }
    }

    /// The components that run what this action has brought, and by which of its files.
    fn brought(&self, action: &Action) -> impl Iterator<Item = (ComponentName, Mark)> {
        let components = self.own.iter().flat_map(|own| &own.components);
        components.filter_map(move |one| {
            let mark = one.brought_by.as_ref().and_then(Mark::read)?;
            (mark.action == *action).then_some((one.component, mark))
        })
    }

    /// The components that run what this action has brought, and the others of its offer.
    fn parted(
        &self,
        action: &Action,
        offer: Option<&Offer>,
    ) -> (Vec<ComponentName>, Vec<ComponentName>) {
        let replaced: Vec<ComponentName> = self.brought(action).map(|(one, _)| one).collect();
        let files = offer.map(|offer| offer.files.as_slice()).unwrap_or_default();
        let named = files.iter().filter_map(|file| self.component(file));
        let kept = named.filter(|one| !replaced.contains(one)).collect();
        (replaced, kept)
    }

    /// Nothing of this channel runs, and all is acknowledged.
    fn of_wanted(&self, own: &Own) -> Wants {
        let offer = match &self.wanted {
            Wanted::Unknown | Wanted::Nothing => return Wants::default(),
            Wanted::Impossible(action, failure) => {
                let failure = failure.clone();
                let what = What::Failed { failure, replaced: Vec::new(), kept: Vec::new() };
                let telling = Telling { action: action.clone(), what };
                return Wants { tell: Some(Word { telling, of: None }), act: None };
            }
            Wanted::Offer(offer) => offer,
        };
        if self.taken_back.as_ref() == Some(&offer.action) {
            return Wants::default();
        }
        let mark = Mark::of(offer);
        // Still offered, it has not heard the end, or does not remember it.
        if let Some((told, what)) = &self.told
            && told.is_of_same_offer(&mark)
        {
            return Wants::tell(mark, what.clone());
        }
        let Some(next) = offer.files.iter().position(|file| !self.runs(file)) else {
            let sentence = "what was asked for runs here already".to_owned();
            return Wants::tell(mark, What::Succeeded { sentence });
        };
        if own.busy {
            let why = "another upgrade runs".to_owned();
            if !self.is_impatient {
                return Wants::tell(mark, What::NotNow { why });
            }
            let (replaced, kept) = self.parted(&offer.action, Some(offer));
            let failure = Failure::new(FailureKind::Busy, why);
            return Wants::tell(mark, What::Failed { failure, replaced, kept });
        }
        match &self.refused {
            Some((_, failure)) if !self.is_impatient && is_for_now(failure) => {
                Wants::tell(mark, What::NotNow { why: failure.sentence.clone() })
            }
            Some((_, failure)) => {
                let (replaced, kept) = self.parted(&offer.action, Some(offer));
                Wants::tell(mark, What::Failed { failure: failure.clone(), replaced, kept })
            }
            None => Wants { tell: None, act: mark.at(next).to_reference().map(Act::Begin) },
        }
    }

    fn offer(&self) -> Option<&Offer> {
        match &self.wanted {
            Wanted::Offer(offer) => Some(offer),
            _ => None,
        }
    }

    /// The report that waits, with what it is of.
    fn report(&self) -> Option<(Mark, &Report)> {
        let reports = &self.own.as_ref()?.reports;
        reports.iter().find_map(|report| {
            let mark = report.request.reference.as_ref().and_then(Mark::read)?;
            Some((mark, report))
        })
    }

    /// Which component a file is for, where its name says so.
    fn component(&self, file: &OfferedFile) -> Option<ComponentName> {
        let FirmwareName::Known(name) = &file.name else { return None };
        let components = &self.own.as_ref()?.components;
        components.iter().find(|one| one.product == name.product()).map(|one| one.component)
    }

    /// Whether the version of a file is what runs.
    fn runs(&self, file: &OfferedFile) -> bool {
        let FirmwareName::Known(name) = &file.name else { return false };
        let components = self.own.iter().flat_map(|own| &own.components);
        let mut of_product = components.filter(|one| one.product == name.product());
        of_product.any(|one| one.version == Some(name.version()))
    }
}

impl Wants {
    fn act(act: Act) -> Self {
        Self { tell: None, act: Some(act) }
    }

    fn tell(mark: Mark, what: What) -> Self {
        let telling = Telling { action: mark.action.clone(), what };
        Self { tell: Some(Word { telling, of: Some(Subject { mark, report: None }) }), act: None }
    }
}

/// The request of a platform that an upgrade is for, from what the daemon keeps with it.
pub(crate) fn action_of(reference: &Reference) -> Option<Action> {
    Mark::read(reference).map(|mark| mark.action)
}

/// The reference of an upgrade for an offer's first file.
#[cfg(test)]
pub(crate) fn reference_of(offer: &Offer) -> Option<Reference> {
    Mark::of(offer).to_reference()
}

/// Why an upgrade is given up that its platform takes back.
const TAKEN_BACK: &str = "the platform took it back";
/// The same of one that it has ended by itself, or put behind something else.
const NOT_ASKED: &str = "the platform does not ask for this any more";

/// Whether an upgrade was given up for this reason. By the report alone, so that whoever starts anew
/// says the same.
fn was_given_up(report: &Report, why: &str) -> bool {
    report
        .failure
        .as_ref()
        .is_some_and(|failure| failure.kind == FailureKind::Cancelled && failure.sentence == why)
}

/// Whether the daemon may say something else another time.
pub(crate) fn is_for_now(failure: &Failure) -> bool {
    matches!(failure.kind, FailureKind::Busy | FailureKind::NotNow | FailureKind::Interrupted)
}

/// How far the files are, where the sizes of all are known; of a single one always.
fn comes(upgrade: &OwnUpgrade, mark: &Mark, offer: Option<&Offer>) -> What {
    let (done, total) = (upgrade.progress.done, upgrade.progress.total);
    if done == 0 && mark.file == 0 {
        return What::Accepted;
    }
    if !mark.is_of_several() {
        return What::Downloading { received: done, size: total };
    }
    let files = offer.map(|offer| offer.files.as_slice()).unwrap_or_default();
    let size = |files: &[OfferedFile]| {
        files.iter().try_fold(0_u64, |sum, file| sum.checked_add(file.size?))
    };
    let before = files.get(..mark.file).and_then(size);
    match (before, size(files)) {
        (Some(before), Some(size)) => {
            What::Downloading { received: before.saturating_add(done), size }
        }
        _ => What::Downloading { received: done, size: 0 },
    }
}

fn installed(report: &Report) -> String {
    match &report.package {
        Some(package) => format!("{} {} runs", package.product, package.version),
        None => "it is installed".to_owned(),
    }
}
