//! A daemon, a platform and the network between them, for the property test and the fuzzer: what
//! docs/wire/hand-over.md and docs/design/network-channels.md promise of them, and what must hold
//! of a [`Job`] between them whatever happens. It knows nothing of how the job does it.

mod daemon;
mod platform;

use std::collections::BTreeSet;

use super::{Act, Job, Word};
use crate::channel::offer::{Action, Install, Offer, Telling, What};
use crate::model::{Failure, FailureKind, Outcome, Phase, UpgradeId};

use daemon::Daemon;
use platform::Platform;

/// Something that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The platform wants something new: so many files, to be installed later, or nothing that can
    /// be done.
    Offer { files: usize, later: bool, impossible: bool },
    /// The same files again, under another name.
    OfferAgain,
    /// Other files under the same name.
    Exchange,
    /// It wants nothing any more.
    Withdraw,
    /// It gives the word to install.
    Allow,
    /// It takes back what it offers, or something that it offered long ago.
    TakeBack { long_ago: bool },
    /// It goes on offering what has ended, or does not.
    Forget(bool),
    /// How what is said to it fares from now on.
    Network(Network),
    /// It is asked.
    Poll,
    /// It begins to be told, or that ends.
    Tell,
    /// The daemon is asked for the next thing.
    Act,
    /// It may be asked again that it refused.
    TryAgain,
    /// The daemon goes on.
    Advance,
    /// Something fails in it.
    Fail,
    /// The download breaks off, or can't be made at all.
    LoseFile { for_ever: bool },
    /// A person cancels.
    Cancel,
    /// Somebody else's upgrade runs, or does not.
    Busy(bool),
    /// The daemon refuses to begin, for now or for ever, or does not.
    Refuse(Option<FailureKind>),
    /// It puts off what it could install, or does not.
    Defer(bool),
    /// A report is there that no version here has made.
    Foreign,
    /// The channel's process ends, and begins anew.
    ChannelDies,
    /// The daemon ends, or the machine loses its power.
    DaemonDies,
    /// It is there again.
    DaemonComes,
}

/// How what is said to the platform fares.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Network {
    #[default]
    Works,
    /// It does not get there.
    Away,
    /// It gets there, and the answer is lost.
    LosesAnswers,
}

impl Step {
    /// Any two bytes are a step.
    pub(super) fn read(code: u8, how: u8) -> Self {
        let flag = how & 1 == 1;
        match code % 29 {
            0 | 1 => Self::Offer {
                files: 1 + usize::from(how / 8 % 3),
                later: how & 3 == 1,
                impossible: how & 7 == 2,
            },
            2 => Self::OfferAgain,
            3 => Self::Exchange,
            4 => Self::Withdraw,
            5 => Self::Allow,
            6 => Self::TakeBack { long_ago: how & 3 == 1 },
            7 => Self::Forget(flag),
            8 => Self::Network(
                [Network::Works, Network::Away, Network::LosesAnswers][usize::from(how % 3)],
            ),
            9 | 10 => Self::Poll,
            11..=13 => Self::Tell,
            14..=16 => Self::Act,
            17 => Self::TryAgain,
            18..=20 => Self::Advance,
            21 => Self::Fail,
            22 => Self::LoseFile { for_ever: how & 3 == 1 },
            23 => match how % 4 {
                0 => Self::Cancel,
                _ => Self::Defer(flag),
            },
            24 => Self::Busy(flag),
            25 => Self::Refuse(match how % 4 {
                0 => Some(FailureKind::NotNow),
                1 => Some(FailureKind::Internal),
                _ => None,
            }),
            26 => match how % 4 {
                0 => Self::Foreign,
                _ => Self::DaemonComes,
            },
            27 => Self::ChannelDies,
            _ => Self::DaemonDies,
        }
    }
}

/// All of them together.
#[derive(Default)]
pub(super) struct World {
    job: Job,
    daemon: Daemon,
    platform: Platform,
    /// What is being said, and of which report.
    in_flight: Option<(Word, Option<UpgradeId>)>,
    /// What it has said last, unless that was final.
    said: Option<Telling>,
    /// What this process was offered last.
    seen: Option<Offer>,
    /// Reports whose end this process knows to be taken.
    taken: BTreeSet<String>,
    /// Actions that the daemon has refused for ever.
    refused: BTreeSet<String>,
}

/// Rounds in which all must have come to its end that can.
const ROUNDS: usize = 200;

impl World {
    /// Something happens.
    pub(super) fn step(&mut self, step: Step) {
        match step {
            Step::Offer { .. }
            | Step::OfferAgain
            | Step::Exchange
            | Step::Withdraw
            | Step::Allow
            | Step::TakeBack { .. }
            | Step::Forget(_)
            | Step::Network(_) => {
                let of = |(word, _): &(Word, _)| word.telling.action.clone();
                self.platform.step(step, self.in_flight.as_ref().map(of).as_ref());
            }
            Step::Poll => self.poll(),
            Step::Tell => self.tell(),
            Step::Act => self.act(),
            Step::TryAgain => self.job.try_again(),
            Step::LoseFile { for_ever } => self.lose_file(for_ever),
            Step::ChannelDies => {
                self.job = Job::default();
                (self.in_flight, self.said, self.seen) = (None, None, None);
                self.platform.ask_anew();
                self.taken.clear();
                self.daemon.lose_sender();
            }
            Step::DaemonDies => {
                self.daemon.die();
                self.job.fetching(None);
            }
            _ => self.daemon.step(step),
        }
        self.follow();
    }

    /// All is well from now on: it ends, and the platform knows.
    pub(super) fn settle(mut self) {
        self.daemon.heal();
        self.platform.heal();
        for _ in 0..ROUNDS {
            if self.in_flight.is_some() {
                self.tell();
            }
            self.follow();
            if self.is_settled() {
                let often = self.daemon.most_often();
                assert!(often <= 1 || self.platform.has_forgotten, "installed {often} times");
                return;
            }
            for step in
                [Step::TryAgain, Step::Poll, Step::Tell, Step::Tell, Step::Act, Step::Advance]
            {
                self.step(step);
            }
        }
        let (wants, own) = (self.job.wants(), self.daemon.own());
        panic!("it does not end: {wants:?}, {own:?}, {:?}", self.platform);
    }

    fn is_settled(&self) -> bool {
        let wants = self.job.wants();
        let is_idle = self.daemon.upgrade.is_none() && self.daemon.report.is_none();
        let news = wants.tell.filter(|word| self.said.as_ref() != Some(&word.telling));
        let is_silent = news.is_none() && wants.act.is_none() && self.in_flight.is_none();
        is_idle && is_silent && self.platform.is_content()
    }

    /// The daemon tells of each change.
    fn follow(&mut self) {
        let own = self.daemon.own();
        let runs = own.as_ref().and_then(|own| own.upgrade.as_ref()).map(|upgrade| &upgrade.id);
        let sends = self.daemon.sender_of.as_ref();
        if own.is_some() && sends.is_some() && sends != runs {
            self.daemon.lose_sender();
            self.job.fetching(None);
        }
        self.job.own(own);
    }

    fn poll(&mut self) {
        if self.in_flight.is_some()
            || self.daemon.is_away
            || self.platform.network != Network::Works
        {
            return;
        }
        if let Some(action) = self.platform.taken_back.clone() {
            return self.job.taken_back(action);
        }
        self.seen = None;
        match self.platform.open.clone() {
            None => self.job.offered_nothing(),
            Some(open) if open.impossible => {
                let failure = Failure::new(FailureKind::NameInvalid, "no such file can be");
                self.job.offered_in_vain(open.offer.action, failure);
            }
            Some(open) => {
                self.seen = Some(open.offer.clone());
                self.job.offered(open.offer);
            }
        }
    }

    /// What is to be said is on its way, or what was on its way comes back.
    fn tell(&mut self) {
        let Some((word, report)) = self.in_flight.take() else {
            let said = self.said.as_ref();
            let word = self.job.wants().tell.filter(|word| Some(&word.telling) != said);
            let Some(word) = word else { return };
            self.is_true(&word);
            let report = self.daemon.report.as_ref();
            let report = report.filter(|report| report.is_of(&word.telling.action));
            let report = report.filter(|_| word.telling.what.is_final()).map(|one| one.id.clone());
            let is_news = report.as_ref().is_none_or(|id| !self.taken.contains(&id.0));
            assert!(is_news, "it is told once that it took: {word:?}");
            self.in_flight = Some((word, report));
            return;
        };
        let network = self.platform.network;
        if network != Network::Away {
            self.platform.hear(&word.telling);
        }
        if network == Network::Works {
            self.taken.extend(report.map(|id| id.0));
            self.job.told(&word);
            self.said = Some(word.telling).filter(|telling| !telling.what.is_final());
        }
    }

    /// Whether a final word says what is.
    fn is_true(&self, word: &Word) {
        let (action, what) = (&word.telling.action, &word.telling.what);
        let report = self.daemon.report.as_ref().filter(|report| report.is_of(action));
        let has_installed = self.daemon.installed(action);
        let seen = self.seen.as_ref().filter(|offer| offer.action == *action);
        match what {
            What::Succeeded { .. } => {
                let runs = seen.is_some_and(|offer| self.daemon.runs_all(offer));
                let succeeded =
                    |one: &daemon::Ended| one.outcome == Outcome::Succeeded && one.is_last;
                let is_true = runs || report.is_some_and(succeeded);
                assert!(is_true || self.platform.has_heard(word), "{word:?}");
            }
            What::Failed { replaced, .. } => {
                let failed =
                    |one: &daemon::Ended| one.outcome != Outcome::Succeeded || !one.is_last;
                let is_true = report.is_some_and(failed)
                    || self.refused.contains(action.as_str())
                    || self.platform.is_impossible(action)
                    || (self.platform.took_back(action) && !has_installed.is_empty());
                assert!(is_true || self.platform.has_heard(word), "{word:?}");
                let names_all = has_installed.iter().all(|one| replaced.contains(one));
                let names_no_more = replaced.iter().all(|one| has_installed.contains(one));
                let is_repeated = self.platform.has_heard(word);
                assert!(names_all && names_no_more || is_repeated, "{word:?} of {has_installed:?}");
            }
            What::Cancelled => {
                let is_true = has_installed.is_empty() && self.platform.took_back(action);
                // A new process knows nothing of what ended long ago.
                let is_over = self.platform.has_ended(action) && self.seen.is_none();
                assert!(is_true || is_over || self.platform.has_heard(word), "{word:?}");
            }
            _ => {}
        }
    }

    fn act(&mut self) {
        let Some(act) = self.job.wants().act else { return };
        match act {
            Act::Begin(reference) => {
                let seen = self.seen.as_ref();
                let begun = self.daemon.begin(reference, seen);
                if let Err(failure) = begun {
                    if failure.kind == FailureKind::Internal {
                        self.refused.extend(seen.map(|offer| offer.action.as_str().to_owned()));
                    }
                    self.job.refused(failure);
                }
            }
            Act::Fetch(upgrade, file) => {
                self.daemon.send(&upgrade, &file);
                self.job.fetching(Some(upgrade));
            }
            Act::Start(upgrade) => {
                let may = self.seen.as_ref().is_some_and(|offer| offer.install == Install::Now);
                assert!(may, "the platform has not given the word");
                self.daemon.start(&upgrade);
            }
            Act::Abandon(upgrade, failure) => self.daemon.abandon(&upgrade, failure),
            Act::Acknowledge => self.acknowledge(),
        }
    }

    fn acknowledge(&mut self) {
        let report = self.daemon.report.take();
        let Some(report) = report else { panic!("there is nothing to acknowledge") };
        let Some(action) = &report.action else { return };
        let more =
            self.seen.as_ref().filter(|offer| offer.action == *action).is_some_and(|offer| {
                let goes_on = report.outcome == Outcome::Succeeded && !report.is_last;
                goes_on || !report.is_of_offer(offer)
            });
        // What it does not ask for any more it waits for no end of.
        let is_moot = super::was_given_up(&report.report, super::NOT_ASKED);
        assert!(
            more || is_moot || self.taken.contains(&report.id.0),
            "nobody has heard of {report:?}"
        );
    }

    fn lose_file(&mut self, for_ever: bool) {
        let Some(upgrade) = self.daemon.sender_of.clone() else { return };
        let comes = |phase| matches!(phase, Phase::Preparing | Phase::Receiving);
        let comes = self.daemon.upgrade.as_ref().is_some_and(|upgrade| comes(upgrade.phase));
        if self.daemon.is_away || !comes {
            return;
        }
        self.daemon.lose_sender();
        self.job.fetching(None);
        if for_ever {
            let failure = Failure::new(FailureKind::TransferFailed, "the server has no such file");
            self.daemon.abandon(&upgrade, failure);
        }
    }
}

/// The name of an action.
fn action(number: usize) -> Option<Action> {
    Action::try_from(format!("a{number}")).ok()
}
