//! The daemon, as docs/wire/hand-over.md and docs/design/machine.md describe it to a channel.

use super::{Action, Failure, FailureKind, Offer, Outcome, Phase, Step, UpgradeId};
use crate::channel::job::action_of;
use crate::channel::job::mark::Mark;
use crate::channel::offer::{FirmwareName, OfferedFile};
use crate::handover::channel_client::Own;
use crate::handover::channels::{OwnComponent, OwnUpgrade};
use crate::model::file_name::FileName;
use crate::model::version::Version;
use crate::model::{
    ChannelName, ComponentName, Conclusion, Progress, Receipt, Reference, Report, Request, Upgrade,
};

/// Components that there are.
pub(super) const COMPONENTS: usize = 3;

#[derive(Default)]
pub(super) struct Daemon {
    pub(super) is_away: bool,
    pub(super) upgrade: Option<Current>,
    pub(super) report: Option<Ended>,
    /// For which upgrade somebody sends a file.
    pub(super) sender_of: Option<UpgradeId>,
    runs: [Option<Version>; COMPONENTS],
    /// What failed on trial is not let in again.
    known_bad: Vec<FileName>,
    /// All that was ever installed and stayed, for which request.
    log: Vec<Logged>,
    /// All that was ever begun to be installed.
    begun: Vec<(Action, FileName)>,
    busy: bool,
    refuses: Option<FailureKind>,
    defers: bool,
    count: usize,
}

/// A component, its new version, and the request.
type Logged = (usize, Version, Reference);

/// The upgrade that runs.
pub(super) struct Current {
    id: UpgradeId,
    pub(super) phase: Phase,
    reference: Reference,
    mark: Mark,
    file: Option<FileName>,
    failure: Option<Failure>,
    received: u64,
}

/// A report that nobody has acknowledged.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) id: UpgradeId,
    /// Nothing where its reference is foreign.
    pub(super) action: Option<Action>,
    pub(super) outcome: Outcome,
    pub(super) is_last: bool,
    mark: Option<Mark>,
    pub(super) report: Report,
}

impl Ended {
    pub(super) fn is_of(&self, action: &Action) -> bool {
        self.action.as_ref() == Some(action)
    }

    pub(super) fn is_of_offer(&self, offer: &Offer) -> bool {
        self.mark.as_ref().is_some_and(|mark| Mark::of(offer).is_of_same_offer(mark))
    }
}

impl Daemon {
    pub(super) fn own(&self) -> Option<Own> {
        if self.is_away {
            return None;
        }
        let upgrade = self.upgrade.as_ref().map(|upgrade| OwnUpgrade {
            id: upgrade.id.clone(),
            phase: upgrade.phase,
            reference: Some(upgrade.reference.clone()),
            progress: Progress { done: upgrade.received, total: 8 },
            failure: upgrade.failure.clone(),
        });
        let components = (0..COMPONENTS).filter_map(|number| {
            let (component, product) = (component(number)?, product(number));
            Some(OwnComponent {
                component,
                product,
                version: self.runs[number],
                brought_by: self.brought_by(number),
            })
        });
        Some(Own {
            busy: self.busy && upgrade.is_none(),
            upgrade,
            reports: self.report.iter().map(|ended| ended.report.clone()).collect(),
            components: components.collect(),
            not_now: None,
            boot: String::new(),
        })
    }

    pub(super) fn step(&mut self, step: Step) {
        match step {
            Step::Advance if !self.is_away => self.advance(),
            Step::Fail if !self.is_away => self.fail(),
            Step::Cancel if !self.is_away && self.is_open() => {
                self.fail_with(FailureKind::Cancelled, Outcome::Failed);
            }
            Step::Busy(busy) => self.busy = busy,
            Step::Refuse(kind) => self.refuses = kind,
            Step::Defer(defers) => self.defers = defers,
            Step::Foreign if !self.is_away && self.upgrade.is_none() && self.report.is_none() => {
                let id = self.new_id();
                self.conclude(id, None, Outcome::Failed, None);
            }
            Step::DaemonComes => self.is_away = false,
            _ => {}
        }
    }

    /// Nothing stands in the way any more.
    pub(super) fn heal(&mut self) {
        (self.is_away, self.busy, self.refuses, self.defers) = (false, false, None, false);
    }

    pub(super) fn begin(
        &mut self,
        reference: Reference,
        seen: Option<&Offer>,
    ) -> Result<(), Failure> {
        assert!(self.upgrade.is_none(), "an upgrade runs");
        assert!(self.report.is_none(), "its beginning would forget a report");
        let (Some(mark), Some(offer)) = (Mark::read(&reference), seen) else {
            panic!("nothing is asked for")
        };
        assert!(Mark::of(offer).is_of_same_offer(&mark), "something else is asked for");
        let refused = self.busy.then_some(FailureKind::Busy).or(self.refuses);
        if let Some(kind) = refused {
            return Err(Failure::new(kind, "it may not begin"));
        }
        let (id, phase) = (self.new_id(), Phase::Preparing);
        let (file, failure, received) = (None, None, 0);
        self.upgrade = Some(Current { id, phase, reference, mark, file, failure, received });
        Ok(())
    }

    pub(super) fn send(&mut self, id: &UpgradeId, file: &OfferedFile) {
        assert!(self.sender_of.is_none(), "two send it");
        let FirmwareName::Known(name) = &file.name else { return };
        let upgrade = self.owned(id);
        assert!(matches!(upgrade.phase, Phase::Preparing | Phase::Receiving), "it is there");
        (upgrade.file, upgrade.failure) = (Some(name.clone()), None);
        let (running, id) = (self.is_running(name), id.clone());
        assert!(!running, "{name} runs already");
        self.sender_of = Some(id);
    }

    pub(super) fn start(&mut self, id: &UpgradeId) {
        let defers = self.defers;
        let upgrade = self.owned(id);
        assert_eq!(upgrade.phase, Phase::Ready);
        upgrade.phase = Phase::Deferred;
        if !defers {
            self.install();
        }
    }

    pub(super) fn abandon(&mut self, id: &UpgradeId, failure: Failure) {
        let id = self.owned(id).id.clone();
        assert!(self.is_open(), "it is being installed");
        if let Some(upgrade) = self.upgrade.take() {
            self.conclude(id, Some(upgrade), Outcome::Failed, Some(failure));
        }
    }

    /// Whoever sent a file sends no more.
    pub(super) fn lose_sender(&mut self) {
        self.sender_of = None;
    }

    /// What docs/design/machine.md says of a daemon that starts again.
    pub(super) fn die(&mut self) {
        self.is_away = true;
        self.sender_of = None;
        match self.upgrade.as_ref().map(|upgrade| upgrade.phase) {
            Some(Phase::Preparing) => self.upgrade = None,
            // What came of its file is kept, and proved again.
            Some(Phase::Checking | Phase::Ready) => {
                if let Some(upgrade) = &mut self.upgrade {
                    upgrade.phase = Phase::Receiving;
                }
            }
            Some(Phase::Installing) => self.fail_with(FailureKind::Interrupted, Outcome::Failed),
            _ => {}
        }
    }

    /// Components that run what was installed for this action.
    pub(super) fn installed(&self, action: &Action) -> Vec<ComponentName> {
        let stays = (0..COMPONENTS).filter(|number| {
            self.brought_by(*number).is_some_and(|by| action_of(&by).as_ref() == Some(action))
        });
        stays.filter_map(component).collect()
    }

    /// For which request what runs in a component was installed.
    fn brought_by(&self, number: usize) -> Option<Reference> {
        let is_it =
            |(of, version, _): &&Logged| *of == number && self.runs[number] == Some(*version);
        self.log.iter().rev().find(is_it).map(|(.., reference)| reference.clone())
    }

    /// Whether all files of an offer run.
    pub(super) fn runs_all(&self, offer: &Offer) -> bool {
        offer.files.iter().all(|file| match &file.name {
            FirmwareName::Known(name) => self.is_running(name),
            FirmwareName::BySeal => false,
        })
    }

    fn is_running(&self, name: &FileName) -> bool {
        number(name).is_some_and(|number| self.runs[number] == Some(name.version()))
    }

    fn is_open(&self) -> bool {
        self.upgrade.as_ref().is_some_and(|upgrade| {
            matches!(
                upgrade.phase,
                Phase::Preparing
                    | Phase::Receiving
                    | Phase::Checking
                    | Phase::Ready
                    | Phase::Deferred
            )
        })
    }

    fn owned(&mut self, id: &UpgradeId) -> &mut Current {
        match &mut self.upgrade {
            Some(upgrade) if upgrade.id == *id => upgrade,
            _ => panic!("{id} does not run"),
        }
    }

    fn new_id(&mut self) -> UpgradeId {
        self.count += 1;
        UpgradeId(self.count.to_string())
    }

    fn install(&mut self) {
        let Some(Current { phase, file: Some(file), mark, .. }) = &mut self.upgrade else { return };
        *phase = Phase::Installing;
        self.begun.push((mark.action.clone(), file.clone()));
    }

    /// How often the same file was begun to be installed for the same request.
    pub(super) fn most_often(&self) -> usize {
        let often = |one| self.begun.iter().filter(|other| *other == one).count();
        self.begun.iter().map(often).max().unwrap_or_default()
    }

    fn advance(&mut self) {
        let comes = self.sender_of.is_some();
        let Some(upgrade) = &mut self.upgrade else { return };
        upgrade.phase = match upgrade.phase {
            Phase::Preparing | Phase::Receiving if comes && upgrade.received < 8 => {
                upgrade.received += 4;
                Phase::Receiving
            }
            Phase::Receiving if comes => Phase::Checking,
            Phase::Checking => {
                let is_bad = |file: &FileName| self.known_bad.contains(file);
                if upgrade.file.as_ref().is_some_and(is_bad) {
                    return self.fail_with(FailureKind::KnownBad, Outcome::Failed);
                }
                Phase::Ready
            }
            Phase::Deferred if !self.defers => return self.install(),
            Phase::Installing => Phase::Restarting,
            Phase::Restarting => Phase::Trial,
            Phase::Trial => return self.succeed(),
            Phase::Reverting => {
                self.known_bad.extend(upgrade.file.clone());
                return self.fail_with(FailureKind::Unhealthy, Outcome::RolledBack);
            }
            other => other,
        };
    }

    fn fail(&mut self) {
        let Some(upgrade) = &mut self.upgrade else { return };
        match upgrade.phase {
            // What came is not what was announced: the reception failed, and the upgrade waits.
            Phase::Receiving if self.sender_of.is_some() => {
                let failure = Failure::new(FailureKind::DigestMismatch, "something else came");
                (upgrade.phase, upgrade.failure) = (Phase::Preparing, Some(failure));
            }
            Phase::Checking => self.fail_with(FailureKind::SealInvalid, Outcome::Failed),
            Phase::Deferred => self.fail_with(FailureKind::Timeout, Outcome::Failed),
            Phase::Installing => self.fail_with(FailureKind::InstallFailed, Outcome::Failed),
            Phase::Trial | Phase::Restarting => upgrade.phase = Phase::Reverting,
            _ => {}
        }
    }

    fn succeed(&mut self) {
        let Some(upgrade) = self.upgrade.take() else { return };
        if let Some(file) = &upgrade.file
            && let Some(number) = number(file)
        {
            self.runs[number] = Some(file.version());
            self.log.push((number, file.version(), upgrade.reference.clone()));
        }
        self.conclude(upgrade.id.clone(), Some(upgrade), Outcome::Succeeded, None);
    }

    fn fail_with(&mut self, kind: FailureKind, outcome: Outcome) {
        let Some(upgrade) = self.upgrade.take() else { return };
        let failure = Failure::new(kind, "it failed");
        self.conclude(upgrade.id.clone(), Some(upgrade), outcome, Some(failure));
    }

    fn conclude(
        &mut self,
        id: UpgradeId,
        upgrade: Option<Current>,
        outcome: Outcome,
        failure: Option<Failure>,
    ) {
        self.sender_of = None;
        let file = upgrade.as_ref().and_then(|upgrade| upgrade.file.as_ref());
        let request = Request {
            channel: ChannelName::HAWKBIT,
            receipt: Receipt::Acknowledged,
            waits: true,
            reference: upgrade.as_ref().map(|upgrade| upgrade.reference.clone()),
            ..Request::of_shell("hawkbit".into())
        };
        let ended = Upgrade {
            id: id.clone(),
            request,
            component: file.and_then(number).and_then(component),
            from: None,
            file_name: None,
            began: String::new(),
            phases: Vec::new(),
        };
        let (package, evidence, program_log) = (None, None, Vec::new());
        let conclusion = Conclusion { package, outcome, failure, evidence, program_log };
        let report = Report::of(ended, conclusion, String::new());
        let mark = upgrade.map(|upgrade| upgrade.mark);
        let is_last = mark.as_ref().is_none_or(Mark::is_last);
        let action = mark.as_ref().map(|mark| mark.action.clone());
        self.report = Some(Ended { id, action, outcome, is_last, mark, report });
    }
}

/// What the files of a component are for.
pub(super) fn product(number: usize) -> String {
    format!("P{number}")
}

fn component(number: usize) -> Option<ComponentName> {
    ComponentName::try_from(format!("c{number}")).ok()
}

fn number(name: &FileName) -> Option<usize> {
    (0..COMPONENTS).find(|number| product(*number) == name.product())
}
