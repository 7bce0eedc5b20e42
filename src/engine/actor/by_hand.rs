//! What a person decides by hand: that the program on trial works, or that it goes; that the program
//! before the last upgrade comes back; that the lowest version is forgotten.

use super::Actor;
use crate::config::Component;
use crate::engine::way_back::by_hand;
use crate::engine::{Answer, choice};
use crate::machine::{Event, State};
use crate::model::version::Version;
use crate::model::{
    ChannelName, ComponentName, Confirm, Failure, FailureKind, Outcome, Phase, Report, Request,
    Step, Upgrade, UpgradeId,
};
use crate::record::InstalledRecord;

impl Actor {
    /// Written down before it counts, so that a daemon that starts again knows it.
    pub(super) async fn confirm(&mut self, by: String) -> Result<(), Failure> {
        let (confirm, confirmed_by) = match &self.state {
            State::Trial { swap, confirmed_by, .. } => (swap.terms.confirm, confirmed_by),
            State::Changing { change, step: Step::Trial { confirmed_by, .. }, .. } => {
                (change.terms.confirm, confirmed_by)
            }
            _ => return Err(nothing_on_trial()),
        };
        if confirm == Confirm::Auto {
            return Err(no_confirmation_needed());
        }
        if confirmed_by.is_some() {
            return Ok(());
        }
        let (confirmed, _) =
            self.state.clone().step(Event::Confirm(by)).map_err(|refused| refused.failure)?;
        let written = confirmed.clone();
        self.write_journal("the confirmation", move |journal| journal.record(&written)).await?;
        self.state = confirmed;
        self.hands.confirm_trial();
        Ok(())
    }

    /// Written down before it counts.
    pub(super) async fn forget_minimum(
        &mut self,
        by: String,
        component: Option<ComponentName>,
    ) -> Result<Option<Version>, Failure> {
        let component = choice::named(&self.config, ChannelName::SHELL, component)?.name();
        let Some(version) = self.journal.minimum_version(component) else { return Ok(None) };
        let who = by.clone();
        self.write_journal("that the lowest version is forgotten", move |journal| {
            journal.forget_minimum(component, by).map(drop)
        })
        .await?;
        self.herald.minimum_forgotten(component, version, &who);
        Ok(Some(version))
    }

    pub(super) async fn roll_back(
        &mut self,
        request: Request,
        component: Option<ComponentName>,
        answer: Answer<UpgradeId>,
    ) {
        // What was put off keeps nobody from the way back.
        if let Err(failure) = self.make_room(&request).await {
            return drop(answer.send(Err(failure)));
        }
        match &self.state {
            State::Trial { upgrade, .. }
            | State::Changing { upgrade, step: Step::Trial { .. }, .. }
                if component.is_none_or(|named| named == upgrade.component()) =>
            {
                let id = upgrade.id.clone();
                let ended = self.apply(Event::RollBack(by_hand(&request))).await;
                let _ = answer.send(ended.map(|()| id));
            }
            State::Idle | State::Concluded { .. } => {
                self.find_way_back(request, component, answer);
            }
            state => {
                let _ = answer.send(Err(not_now(state.phase())));
            }
        }
    }

    fn find_way_back(
        &self,
        request: Request,
        component: Option<ComponentName>,
        answer: Answer<UpgradeId>,
    ) {
        let named = choice::named(&self.config, request.channel, component);
        let named = named.map(Component::name);
        let upgrade = match named.and_then(|name| self.new_upgrade(request, Some(name))) {
            Ok(upgrade) => upgrade,
            Err(failure) => return drop(answer.send(Err(failure))),
        };
        let component = upgrade.component();
        let installed = self.journal.installed(component);
        // As when a trial fails: the upgrade from the one to the other is what is taken back.
        let success = installed.and_then(|installed| self.success_of(component, installed));
        let upgrade = Upgrade { from: success.as_ref().and_then(|report| report.from), ..upgrade };
        let package = success.and_then(|report| report.package);
        self.hands.find_way_back(upgrade, installed, package, answer);
    }

    /// The upgrade that has installed it, by the history.
    fn success_of(&self, component: ComponentName, installed: InstalledRecord) -> Option<Report> {
        self.journal.newest_report(|report| {
            report.outcome == Outcome::Succeeded
                && report.component == component
                && report.program.is_some_and(|program| program.digest == installed.digest)
        })
    }

    pub(super) async fn go_back(
        &mut self,
        found: Result<Event, Failure>,
        answer: Answer<UpgradeId>,
    ) {
        let begun = match found {
            Ok(event) => self.apply(event).await,
            Err(failure) => Err(failure),
        };
        let id =
            || self.state.upgrade().map(|upgrade| upgrade.id.clone()).ok_or_else(nothing_on_trial);
        let _ = answer.send(begun.and_then(|()| id()));
    }
}

fn nothing_on_trial() -> Failure {
    Failure::new(FailureKind::Cancelled, "nothing is on trial, so there is nothing to confirm")
        .with_hint(
            "`uplift status` shows what the daemon does, `uplift history` how upgrades ended",
        )
}

fn no_confirmation_needed() -> Failure {
    Failure::new(
        FailureKind::Cancelled,
        "this trial needs no confirmation: `confirm` was \"auto\" when the upgrade began",
    )
    .with_hint("`uplift status --watch` shows what it waits for; `uplift rollback` ends it")
}

fn not_now(phase: Phase) -> Failure {
    Failure::new(FailureKind::Busy, format!("an upgrade is {phase} and can't be rolled back now"))
        .with_hint(
            "wait until its trial begins, or until it is over; `uplift status --watch` shows it",
        )
}
