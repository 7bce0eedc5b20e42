//! One upgrade for a platform of the network, from its offer to its acknowledged report. Pure: it is
//! told what was heard of either side, and says what is wanted now.
//!
//! It keeps nothing that must survive. What the daemon has of the channel (the upgrade that runs,
//! reports that nobody has acknowledged, each with its [`Mark`]) and what the platform offers are
//! enough to go on, so the end of either process at any moment loses nothing. Nothing here knows a
//! platform, a clock, a socket or a file.

mod mark;
#[cfg(test)]
mod tests;

use crate::channel::offer::{Action, FirmwareName, Install, Offer, OfferedFile, Telling, What};
use crate::handover::channel_client::Own;
use crate::handover::channels::OwnUpgrade;
use crate::model::{
    ComponentName, Failure, FailureKind, Outcome, Phase, Reference, Report, UpgradeId,
};

use mark::Mark;

/// What is wanted now.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Wants {
    /// The platform should know this. Of what is not final, the last word is enough.
    pub(crate) tell: Option<Telling>,
    /// The daemon should do this next.
    pub(crate) act: Option<Act>,
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
}

impl Job {
    /// What the daemon has of the channel; nothing where it is away.
    pub(crate) fn own(&mut self, own: Option<Own>) {
        self.own = own;
    }

    /// The platform offers this. It says so as long as it wants it.
    pub(crate) fn offered(&mut self, offer: Offer) {
        let mark = Mark::of(&offer);
        self.refused = self.refused.take().filter(|(refused, _)| *refused == mark);
        self.told = self.told.take().filter(|(told, _)| *told == mark);
        self.wanted = Wanted::Offer(Box::new(offer));
    }

    /// The platform offers something that can't be done, and is told why.
    pub(crate) fn offered_in_vain(&mut self, action: Action, failure: Failure) {
        self.wanted = Wanted::Impossible(action, failure);
    }

    /// The platform wants nothing.
    pub(crate) fn offered_nothing(&mut self) {
        (self.wanted, self.refused, self.told) = (Wanted::Nothing, None, None);
    }

    /// The platform takes a request back.
    pub(crate) fn taken_back(&mut self, action: Action) {
        self.taken_back = Some(action);
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

    /// The platform has taken this word, or is finished with the request.
    pub(crate) fn told(&mut self, telling: &Telling) {
        if self.taken_back.as_ref() == Some(&telling.action)
            && matches!(telling.what, What::Cancelled | What::TooLate)
        {
            self.taken_back = None;
        }
        if !telling.what.is_final() {
            return;
        }
        let of_report = self.report().map(|(mark, _)| mark);
        let of_offer = self.offer().map(Mark::of);
        let mark = of_report.or(of_offer).filter(|mark| mark.action == telling.action);
        if let Some(mark) = mark {
            self.told = Some((mark, telling.what.clone()));
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
        if let Some(upgrade) = &own.upgrade {
            return self.of_upgrade(upgrade);
        }
        if let Some((mark, report)) = self.report() {
            return self.of_report(mark, report);
        }
        if !own.reports.is_empty() {
            return Wants::act(Act::Acknowledge); // of a request that no version here has made
        }
        if let Some(action) = &self.taken_back {
            return Wants::tell(action, What::Cancelled);
        }
        self.of_wanted(own)
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
                Wants::tell(&mark.action, What::TooLate)
            };
        }
        let offer = match &self.wanted {
            Wanted::Offer(offer) if Mark::of(offer).is_of_same_offer(&mark) => Some(offer),
            Wanted::Unknown => None,
            _ if is_open => {
                let why = "the platform does not ask for this any more";
                return give_up(FailureKind::Cancelled, why);
            }
            _ => None,
        };
        self.of_phase(upgrade, &mark, offer.map(AsRef::as_ref))
    }

    fn of_phase(&self, upgrade: &OwnUpgrade, mark: &Mark, offer: Option<&Offer>) -> Wants {
        let file = offer.and_then(|offer| offer.files.get(mark.file));
        let is_fetched_already = self.fetching.as_ref() == Some(&upgrade.id);
        let (what, act) = match upgrade.phase {
            Phase::Preparing | Phase::Receiving => {
                let fetch = file.filter(|_| !is_fetched_already).cloned().map(Box::new);
                let received = upgrade.progress.done;
                let size = upgrade.progress.total;
                let what = match received {
                    0 => What::Accepted,
                    _ => What::Downloading { received, size },
                };
                (Some(what), fetch.map(|file| Act::Fetch(upgrade.id.clone(), file)))
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
        let tell = what.map(|what| Telling { action: mark.action.clone(), what });
        Wants { tell, act }
    }

    /// A report of this channel waits for its acknowledgement.
    fn of_report(&self, mark: Mark, report: &Report) -> Wants {
        if self.told.as_ref().is_some_and(|(told, _)| *told == mark) {
            return Wants::act(Act::Acknowledge);
        }
        let succeeded = report.outcome == Outcome::Succeeded;
        let more = match &self.wanted {
            Wanted::Offer(offer) if Mark::of(offer).is_of_same_offer(&mark) => {
                offer.files.len() > mark.file + 1
            }
            // Whether more is to come the platform has not said yet.
            Wanted::Unknown if succeeded && mark.is_of_several() => return Wants::default(),
            _ => false,
        };
        if succeeded && more {
            return Wants::act(Act::Acknowledge);
        }
        let what = self.verdict(&mark, report);
        Wants::tell(&mark.action, what)
    }

    /// The final word of a report.
    fn verdict(&self, mark: &Mark, report: &Report) -> What {
        if report.outcome == Outcome::Succeeded {
            return What::Succeeded { sentence: installed(report) };
        }
        let failure = report.failure.clone().unwrap_or_else(|| {
            Failure::new(FailureKind::Internal, format!("the upgrade has {}", report.outcome))
        });
        let is_cancelled = failure.kind == FailureKind::Cancelled;
        if is_cancelled && self.taken_back.as_ref() == Some(&mark.action) {
            return What::Cancelled;
        }
        let (replaced, kept) = self.replaced_and_kept(mark, report);
        What::Failed { failure, replaced, kept }
    }

    /// What runs anew in spite of the failure of a file, and what stays as it was.
    fn replaced_and_kept(
        &self,
        mark: &Mark,
        report: &Report,
    ) -> (Vec<ComponentName>, Vec<ComponentName>) {
        let Some(offer) = self.offer().filter(|offer| Mark::of(offer).is_of_same_offer(mark))
        else {
            return (Vec::new(), report.component.into_iter().collect());
        };
        let names = |files: &[OfferedFile]| -> Vec<ComponentName> {
            files.iter().filter_map(|file| self.component(file)).collect()
        };
        let (before, after) = offer.files.split_at(mark.file.min(offer.files.len()));
        (names(before), names(after))
    }

    /// Nothing of this channel runs, and all is acknowledged.
    fn of_wanted(&self, own: &Own) -> Wants {
        let offer = match &self.wanted {
            Wanted::Unknown | Wanted::Nothing => return Wants::default(),
            Wanted::Impossible(action, failure) => {
                let failure = failure.clone();
                let what = What::Failed { failure, replaced: Vec::new(), kept: Vec::new() };
                return Wants::tell(action, what);
            }
            Wanted::Offer(offer) => offer,
        };
        let mark = Mark::of(offer);
        // Still offered, it has not heard the end, or does not remember it.
        if let Some((told, what)) = &self.told
            && told.is_of_same_offer(&mark)
        {
            return Wants::tell(&mark.action, what.clone());
        }
        let Some(next) = offer.files.iter().position(|file| !self.runs(file)) else {
            let sentence = "what was asked for runs here already".to_owned();
            return Wants::tell(&mark.action, What::Succeeded { sentence });
        };
        if own.busy {
            let why = "another upgrade runs".to_owned();
            return Wants::tell(&mark.action, What::NotNow { why });
        }
        match &self.refused {
            Some((_, failure)) if is_for_now(failure) => {
                Wants::tell(&mark.action, What::NotNow { why: failure.sentence.clone() })
            }
            Some((_, failure)) => {
                let kept = offer.files.iter().filter_map(|file| self.component(file)).collect();
                let (failure, replaced) = (failure.clone(), Vec::new());
                Wants::tell(&mark.action, What::Failed { failure, replaced, kept })
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

    fn tell(action: &Action, what: What) -> Self {
        Self { tell: Some(Telling { action: action.clone(), what }), act: None }
    }
}

/// Why an upgrade is given up that its platform takes back.
const TAKEN_BACK: &str = "the platform took it back";

/// Whether the daemon may say something else another time.
pub(crate) fn is_for_now(failure: &Failure) -> bool {
    matches!(failure.kind, FailureKind::Busy | FailureKind::NotNow | FailureKind::Interrupted)
}

fn installed(report: &Report) -> String {
    match &report.package {
        Some(package) => format!("{} {} runs", package.product, package.version),
        None => "it is installed".to_owned(),
    }
}
