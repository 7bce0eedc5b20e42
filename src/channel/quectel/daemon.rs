//! The daemon's side: what becomes of a plan as the [`Job`](crate::channel::job::Job) has it, and
//! what is asked of the daemon.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::Channel;
use super::dialogue::Resumed;
use super::handing::{Handing, Wanted};
use super::offer::{self, Planned};
use crate::channel::job::{Act, Word, action_of};
use crate::channel::offer::{Install, Telling, What};
use crate::channel::runner::{PATIENCE, REST};
use crate::handover::channel_client::{Conversation, Own, Watch};
use crate::handover::channels::OwnUpgrade;
use crate::handover::client::Trouble as Daemon;
use crate::model::version::Version;
use crate::model::{ChannelName, Failure, FailureKind, Phase, UpgradeId};

impl Channel {
    pub(super) fn lose_daemon(&mut self, watch: &mut Option<Watch>) {
        *watch = None;
        self.own = None;
        // It may want the file again.
        (self.handing, self.rests_until) = (None, None);
        self.job.fetching(None);
        self.job.own(None);
    }

    pub(super) fn take_own(&mut self, own: Own) {
        let id = own.upgrade.as_ref().map(|upgrade| &upgrade.id);
        if self.handing.as_ref().is_some_and(|handing| Some(&handing.upgrade) != id) {
            self.stop_handing();
        }
        let is_quiet = own.upgrade.is_none() && own.reports.is_empty();
        self.rests_until = None;
        self.job.own(Some(own.clone()));
        self.own = Some(own);
        if is_quiet && self.dialogue.offered().is_none() {
            self.job.offered_nothing();
        }
    }

    pub(super) fn upgrade(&self) -> Option<&OwnUpgrade> {
        self.own.as_ref()?.upgrade.as_ref()
    }

    /// Component and version of the upgrade that runs, or whose report waits, as the platform names
    /// them.
    pub(super) fn wanted(&self) -> Option<(String, String)> {
        let own = self.own.as_ref()?;
        let running = own.upgrade.iter().filter_map(|upgrade| upgrade.reference.as_ref());
        let ended = own.reports.iter().filter_map(|report| report.request.reference.as_ref());
        running.chain(ended).find_map(|reference| offer::parted(&action_of(reference)?))
    }

    pub(super) fn planned(&self) -> Option<Planned> {
        let (component, to) = self.wanted()?;
        self.platform.planned(&component, &to).ok()
    }

    pub(super) fn version_of(&self, component: &str) -> Option<Version> {
        let name = self.config.components.get(component)?;
        let own = self.own.as_ref()?;
        own.components.iter().find(|one| one.component == *name)?.version
    }

    /// What runs, while nothing of ours is under way (QT-4).
    pub(super) fn truth(&self) -> Option<BTreeMap<String, Version>> {
        let own = self.own.as_ref()?;
        // What somebody else installs is no truth before it has proved itself.
        let is_quiet =
            own.upgrade.is_none() && own.reports.is_empty() && !own.busy && self.plan.is_none();
        let names = self.config.components.keys();
        let versions = names.filter_map(|name| Some((name.clone(), self.version_of(name)?)));
        is_quiet.then(|| versions.collect())
    }

    /// Looks once whether something goes on that another process has begun (QT-11, QT-14).
    pub(super) fn resume(&mut self) {
        if std::mem::replace(&mut self.is_resumed, true) {
            return;
        }
        let Some(upgrade) = self.upgrade() else { return };
        let id = upgrade.id.clone();
        match upgrade.phase {
            Phase::Preparing | Phase::Receiving => {
                let Some(planned) = self.planned() else { return };
                let wanted = Wanted {
                    upgrade: id.clone(),
                    name: planned.name,
                    file: None,
                    crc: self.config.crc,
                };
                self.job.fetching(Some(id));
                self.handing = Some(Handing::start(&self.daemon, wanted));
            }
            // What becomes of it is waited for.
            Phase::Checking => self.is_resumed = false,
            Phase::Ready => self.go_on(Resumed::Proved),
            _ => self.go_on(Resumed::Installing),
        }
    }

    /// QT-10: once the module waits for the new version, and not before.
    pub(super) fn let_install(&mut self) {
        let is_open = self.upgrade().is_some_and(|upgrade| upgrade.phase < Phase::Installing);
        if !is_open || !self.dialogue.is_updating() {
            return;
        }
        if let Some(mut planned) = self.planned() {
            planned.offer.install = Install::Now;
            self.job.offered(planned.offer);
        }
    }

    pub(super) fn go_on(&mut self, how: Resumed) {
        let Some((component, to)) = self.wanted() else { return };
        if let Some(planned) = self.planned() {
            self.job.offered(planned.offer);
        }
        tracing::info!("the upgrade of {component} to {to} goes on");
        self.dialogue.resume(&component, &to, how);
    }

    /// A plan becomes an offer, or is refused (QT-6). One that comes before the last word of another
    /// waits for that.
    pub(super) fn pass_plan_on(&mut self) {
        let Some(own) = &self.own else { return };
        if !own.reports.is_empty() || self.dialogue.offered().is_none() {
            return;
        }
        let (busy, has_upgrade) = (own.busy, own.upgrade.is_some());
        let components = own.components.clone();
        let Some((plan, signal)) = self.plan.take() else { return };
        if busy {
            self.refuse(&plan.to, "another upgrade runs");
            return;
        }
        match self.platform.examine(&plan, signal, &components) {
            Ok(planned) => {
                if !has_upgrade {
                    self.job.offered_nothing();
                }
                self.kept_until = None;
                self.job.offered(planned.offer);
            }
            Err(failure) => self.refuse(&plan.to, &failure.to_string()),
        }
    }

    pub(super) fn refuse(&mut self, to: &str, why: &str) {
        tracing::warn!("the plan for {to} is refused: {why}");
        self.note = Some(format!("the last plan, for {to}, was refused: {why}"));
        self.dialogue.answer(false);
    }

    /// Tells the platform, as far as a module takes words.
    pub(super) fn tell(&mut self) {
        let Some(word) = self.job.wants().tell else { return };
        let Telling { action, what } = &word.telling;
        let Some((component, to)) = offer::parted(action) else { return };
        let is_report = self.upgrade().is_none()
            && self.own.as_ref().is_some_and(|own| !own.reports.is_empty());
        let is_offered = self
            .dialogue
            .offered()
            .is_some_and(|plan| (&plan.component, &plan.to) == (&component, &to));
        match what {
            What::Accepted | What::Downloading { .. } if is_offered => self.dialogue.answer(true),
            What::Downloaded => self.dialogue.install(),
            what if what.is_final() && is_report => self.say_last_word(word, &component, &to),
            What::Succeeded { .. } if is_offered => {
                // The plan's own text is what the platform compares with.
                if let Some(version) = self.version_of(&component) {
                    self.dialogue.announce(&component, version, Some(&to));
                }
                self.refuse(&to, "it runs already");
            }
            What::Failed { failure, .. } if is_offered => self.refuse(&to, &failure.to_string()),
            _ => {}
        }
    }

    pub(super) fn say_last_word(&mut self, word: Word, component: &str, to: &str) {
        if self.last_word.is_some() {
            return;
        }
        self.note = match &word.telling.what {
            What::Failed { failure, .. } => Some(format!("the upgrade to {to} failed: {failure}")),
            _ => None,
        };
        let Some(version) = self.version_of(component) else {
            tracing::warn!("what runs of {component} is not known: the platform is told nothing");
            self.job.told(&word);
            return;
        };
        self.dialogue.announce(component, version, Some(to));
        self.last_word = Some(word);
    }

    /// Ends what has no other side any more.
    pub(super) async fn settle(&mut self) -> Result<(), Daemon> {
        let runs = self.dialogue.runs();
        let Some(own) = &self.own else { return Ok(()) };
        let Some(upgrade) = &own.upgrade else {
            self.kept_until = None;
            // The daemon lost it before anything of it was durable.
            if runs && own.reports.is_empty() && !self.dialogue.is_announcing() {
                self.fail_lost_plan();
            }
            return Ok(());
        };
        let id = upgrade.id.clone();
        let is_at_rest = !runs && self.handing.is_none() && self.is_resumed && self.plan.is_none();
        match upgrade.phase {
            Phase::Ready if is_at_rest && self.dialogue.offered().is_none() => {
                self.abandon(id, "the module has ended the plan before it was installed").await
            }
            Phase::Preparing | Phase::Receiving
                if is_at_rest && self.dialogue.offered().is_none() =>
            {
                let now = Instant::now();
                let until = *self.kept_until.get_or_insert(now + self.config.keep_part);
                if until > now {
                    return Ok(());
                }
                self.kept_until = None;
                self.abandon(
                    id,
                    "the module has given the file up, and the platform does not plan it again",
                )
                .await
            }
            _ => {
                self.kept_until = None;
                Ok(())
            }
        }
    }

    pub(super) fn fail_lost_plan(&mut self) {
        let names: Vec<String> = self.config.components.keys().cloned().collect();
        let running = names.iter().find(|name| self.dialogue.is_of(name));
        if let Some((name, version)) = running.and_then(|name| Some((name, self.version_of(name)?)))
        {
            self.dialogue.announce(name, version, None);
        }
    }

    pub(super) async fn abandon(&mut self, upgrade: UpgradeId, why: &str) -> Result<(), Daemon> {
        if self.rests_until.is_some() {
            return Ok(());
        }
        let failure = Failure::new(FailureKind::TransferFailed, why);
        self.perform(Act::Abandon(upgrade, failure)).await
    }

    /// Has the daemon do the next thing.
    pub(super) async fn act(&mut self) -> Result<(), Daemon> {
        let Some(act) = self.job.wants().act else { return Ok(()) };
        if let Act::Fetch(upgrade, _) = act {
            self.fetch(upgrade);
            return Ok(());
        }
        if self.rests_until.is_some() {
            return Ok(());
        }
        self.perform(act).await
    }

    pub(super) async fn perform(&mut self, act: Act) -> Result<(), Daemon> {
        let begins = matches!(act, Act::Begin(_));
        let mut engine = Conversation::open(&self.daemon).await?;
        let name = ChannelName::QUECTEL;
        let done = match act {
            Act::Begin(reference) => {
                engine.begin(name, name.to_string(), false, Some(reference)).await.map(drop)
            }
            Act::Start(upgrade) => engine.start(upgrade).await,
            Act::Abandon(upgrade, failure) => engine.abandon(upgrade, failure).await,
            Act::Acknowledge => engine.acknowledge(name).await,
            Act::Fetch(..) => return Ok(()),
        };
        match done {
            Ok(()) => self.rests_until = Some(Instant::now() + PATIENCE),
            Err(Daemon::Refused(failure)) => {
                tracing::info!("the daemon refused: {failure}");
                self.rests_until = Some(Instant::now() + REST);
                if begins {
                    self.rests_until = None;
                    self.job.refused(failure);
                    self.tell();
                }
            }
            Err(away) => return Err(away),
        }
        Ok(())
    }

    /// The bytes of a file can be taken once the module has said which.
    pub(super) fn fetch(&mut self, upgrade: UpgradeId) {
        let Some(file) = self.dialogue.file().cloned() else { return };
        let Some(planned) = self.planned() else { return };
        self.job.fetching(Some(upgrade.clone()));
        let wanted = Wanted { upgrade, name: planned.name, file: Some(file), crc: self.config.crc };
        self.handing = Some(Handing::start(&self.daemon, wanted));
    }
}
