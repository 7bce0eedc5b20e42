//! The file on its way in: what is announced of it, its reception, and its check.

use super::Actor;
use crate::config::Component;
use crate::engine::hands::Seen;
use crate::engine::{Answer, IfRefused, choice};
use crate::machine::{Event, State};
use crate::model::{
    ChannelName, ComponentName, Failure, FailureKind, PackageSummary, PartStatus, UpgradeId,
};
use crate::package::check::Doorkeeper;
use crate::policy::Gatekeeper;
use crate::stage::{Announced, Observer, Receiving, Staged};

/// How much is kept of the name that a peer gives a file, in characters; a longer one is refused,
/// but the report is to say of which.
const LONGEST_FILE_NAME: usize = 255;

impl Actor {
    pub(super) async fn receive(
        &mut self,
        id: &UpgradeId,
        announced: Announced,
        if_refused: IfRefused,
    ) -> Result<Receiving, Failure> {
        self.owned(id)?;
        let channel = self.state.upgrade().map_or(ChannelName::SHELL, |one| one.request.channel);
        let chosen = choice::of_file(&self.config, channel, announced.file_name.as_deref());
        if let Ok(component) = chosen
            && choice::only(&self.config, channel).is_none()
        {
            self.look_at(component).await; // where there is only one, that was done at the beginning
        }
        let chosen = chosen.map(Component::name);
        let admitted = match &chosen {
            Ok(component) => self.admit(*component, &announced).await,
            Err(failure) => Err(failure.clone()),
        };
        if let (Err(failure), IfRefused::GoesOn) = (&admitted, if_refused) {
            return Err(failure.clone());
        }
        let component = chosen.ok();
        let from = component.and_then(|name| self.herald.installed(name).0);
        let file_name = announced.file_name.as_deref().map(kept_name);
        self.apply(Event::Receive { file_name, component, from }).await?;
        let received = match admitted {
            Ok(component) => {
                let observer = self.herald.progress_of_next(announced.size.unwrap_or_default());
                self.place(id, component, announced, observer).await
            }
            Err(failure) => Err(failure),
        };
        if let Err(failure) = &received {
            let event = match if_refused {
                IfRefused::Ends => Event::Fail(failure.clone()),
                IfRefused::GoesOn => Event::ReceptionFailed,
            };
            self.apply(event).await?;
        }
        received
    }

    /// A place for the file. Where its bytes outlive restarts, so does the upgrade from now on.
    async fn place(
        &mut self,
        id: &UpgradeId,
        component: ComponentName,
        announced: Announced,
        observer: Observer,
    ) -> Result<Receiving, Failure> {
        let rules = self.rules(component)?;
        let doorkeeper = Doorkeeper::new(rules, announced.file_name.clone());
        let seen = Seen { observer, watch: Box::new(doorkeeper) };
        if !self.state.upgrade().is_some_and(|upgrade| upgrade.request.resumes) {
            return self.hands.receive(component, announced, seen).await;
        }
        let receiving = self.hands.receive_kept(id, component, announced, seen).await?;
        self.apply(Event::Kept).await?;
        self.owned(id)?; // what could not be written down has ended it
        self.look_in(Gatekeeper::RENEWAL);
        Ok(receiving)
    }

    /// What is there of the file of an upgrade that outlives restarts.
    pub(super) fn part(&self, id: &UpgradeId) -> Result<Option<PartStatus>, Failure> {
        self.owned(id)?;
        Ok(self.hands.part(id).map(|part| PartStatus {
            file_name: part.file_name,
            size: part.size,
            offset: part.offset,
            note: part.note,
        }))
    }

    /// What its channel keeps with it from now on.
    pub(super) async fn note(&self, id: &UpgradeId, note: Option<String>) -> Result<(), Failure> {
        self.owned(id)?;
        self.hands.note(id, note).await
    }

    /// Gives up an upgrade of whose file a part is there, and nothing more has come for as long as
    /// one may wait; until then writes down now and then what is left.
    pub(super) async fn look_at_part(&mut self) {
        let State::Receiving { upgrade } = &self.state else { return };
        let (Some(part), Ok(now)) = (self.hands.part(&upgrade.id), self.policy.now()) else {
            return;
        };
        if part.ends.left(&now).is_zero() {
            let of_all = part.size.map(|size| format!(" of {size}")).unwrap_or_default();
            let sentence = format!(
                "{}{of_all} bytes came, and no more for as long as an upgrade may wait",
                part.offset
            );
            let failure = Failure::new(FailureKind::Timeout, sentence);
            return super::told(self.apply(Event::Fail(failure)).await);
        }
        if part.ends.is_older_than(Gatekeeper::RENEWAL, &now) {
            self.hands.renew_part(&upgrade.id, part.ends.renewed(&now)).await;
        }
    }

    /// The name of the file in the staging area that the upgrade is to find again.
    pub(super) fn kept(&self) -> Option<String> {
        match &self.state {
            State::Deferred { deferral, .. } => Some(deferral.staged.clone()),
            State::Receiving { upgrade } => self.hands.part(&upgrade.id).map(|part| part.staged),
            _ => None,
        }
    }

    /// The component, if what is announced of a file for it passes.
    async fn admit(
        &self,
        component: ComponentName,
        announced: &Announced,
    ) -> Result<ComponentName, Failure> {
        let rules = self.rules(component)?;
        self.hands.admit(component, announced, rules).await.map(|()| component)
    }

    pub(super) async fn reception_failed(
        &mut self,
        id: &UpgradeId,
        failure: Failure,
    ) -> Result<(), Failure> {
        self.owned(id)?;
        self.apply(Event::ReceptionFailed).await?;
        self.herald.reception_failed(failure);
        Ok(())
    }

    pub(super) async fn check(
        &mut self,
        id: &UpgradeId,
        staged: Staged,
        answer: Answer<PackageSummary>,
    ) {
        if let Err(failure) = self.owned(id) {
            let _ = answer.send(Err(failure));
            return;
        }
        let file_name = staged.file_name.as_deref().map(kept_name);
        self.hands.take_staged(Some(staged));
        // Before the step: one that can't be written down ends the upgrade, and with it the wait,
        // at once.
        let earlier = self.check_answer.replace(answer);
        if let Err(failure) = self.apply(Event::Received { file_name }).await {
            self.hands.take_staged(None);
            if let Some(answer) = std::mem::replace(&mut self.check_answer, earlier) {
                let _ = answer.send(Err(failure));
            }
        }
    }
}

/// As much as is kept of the name that a peer gives a file.
fn kept_name(file_name: &str) -> String {
    file_name.chars().take(LONGEST_FILE_NAME).collect()
}
