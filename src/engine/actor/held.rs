//! What the policy has to say: who may begin, what is put off and looked at again, and the hold that
//! a person puts on upgrades.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::Actor;
use crate::engine::Answer;
use crate::engine::blocking::blocking;
use crate::log::message;
use crate::machine::{Event, State};
use crate::model::{Countdown, Deferral, Failure, FailureKind, HoldStatus, Request, UpgradeId};
use crate::package::check::Checked;
use crate::policy::{self, Gatekeeper, Later};

/// When the policy is looked at again without being asked: for an upgrade that was put off, and for
/// a hold that ends by itself.
#[derive(Debug, Default)]
pub(super) struct Looks {
    next: Option<Instant>,
    /// A look at this upgrade is under way.
    at: Option<UpgradeId>,
}

impl Looks {
    /// Resolves when it is time; never, where there is nothing to look at.
    pub(super) fn time(&self) -> impl Future<Output = ()> + 'static {
        let next = self.next;
        async move {
            match next {
                Some(next) => sleep_until(next).await,
                None => std::future::pending().await,
            }
        }
    }
}

impl Actor {
    /// Whoever would be refused as busy is not asked about.
    pub(super) async fn ask_to_begin(&mut self, request: Request, answer: Answer<UpgradeId>) {
        let is_free = match &self.state {
            State::Idle | State::Concluded { .. } => true,
            state => {
                self.is_superseded_by(&request)
                    || state
                        .upgrade()
                        .is_some_and(|upgrade| upgrade.request.is_by_requester_of(&request))
            }
        };
        if is_free && self.policy.is_to_be_asked() {
            return self.hands.ask_to_begin(request, answer);
        }
        self.begin_if(policy::Answer::Now, request, answer).await;
    }

    /// Begins what may begin.
    pub(super) async fn begin_if(
        &mut self,
        said: policy::Answer,
        request: Request,
        answer: Answer<UpgradeId>,
    ) {
        let result = match said {
            policy::Answer::Later(later) if !request.waits => Err(later.into()),
            policy::Answer::No(failure) => Err(failure),
            policy::Answer::Now | policy::Answer::Later(_) => self.supersede(request.clone()).await,
        };
        if let Err(failure) = &result {
            self.herald.refused(&self.state, &request, failure);
        }
        let _ = answer.send(result);
    }

    async fn supersede(&mut self, request: Request) -> Result<UpgradeId, Failure> {
        if self.is_superseded_by(&request) {
            self.make_room(&request).await?;
        }
        self.begin(request).await
    }

    /// What a person or the payload link asks for comes before what a platform of the network does,
    /// until that is being installed; and a person before a link of whose file nothing has come.
    fn is_superseded_by(&self, request: &Request) -> bool {
        let Some(upgrade) = self.state.upgrade() else { return false };
        let comes_before = request.comes_before(&upgrade.request);
        match &self.state {
            State::Preparing { .. } => comes_before,
            State::Deferred { .. } => comes_before || upgrade.request.is_by_requester_of(request),
            State::Receiving { .. } | State::Checking { .. } | State::Ready { .. } => {
                comes_before && upgrade.request.is_of_network()
            }
            _ => false,
        }
    }

    /// What is not being installed yet makes room.
    pub(super) async fn make_room(&mut self, request: &Request) -> Result<(), Failure> {
        let why = match &self.state {
            State::Deferred { .. } => "was put off",
            State::Preparing { .. } | State::Receiving { .. } => "waited for its file",
            State::Checking { upgrade } | State::Ready { upgrade, .. }
                if upgrade.request.is_of_network() =>
            {
                "was not being installed yet"
            }
            _ => return Ok(()),
        };
        let sentence = format!(
            "the upgrade {why}, and another one took its place ({}, {})",
            request.channel, request.requester
        );
        self.apply(Event::Cancel(Failure::new(FailureKind::Cancelled, sentence))).await
    }

    pub(super) async fn cancel(&mut self, id: &UpgradeId, by: &str) -> Result<(), Failure> {
        self.owned(id)?;
        let failure = Failure::new(FailureKind::Cancelled, format!("cancelled by {by}"));
        self.apply(Event::Cancel(failure)).await
    }

    /// It may not be installed yet.
    pub(super) async fn put_off(&mut self, later: Later) -> Result<(), Failure> {
        let Later { why, look_again, held } = later;
        let deferral = match &self.state {
            State::Deferred { deferral, .. } => {
                let deferral = Deferral { why, ..deferral.clone() };
                self.hands.put_off_again();
                Ok(deferral)
            }
            _ => self.deferral(why).await,
        };
        let event = deferral.map_or_else(Event::Fail, Event::Later);
        let put_off = self.apply(event).await;
        self.looks.at = None;
        // Released while the question was under way, it is not waited for.
        let is_over = held && self.policy.status().hold.is_none();
        self.look_in(if is_over { Duration::ZERO } else { look_again });
        put_off?;
        match self.state {
            State::Deferred { .. } => Ok(()),
            // What can't be kept, or written down, is over.
            _ => Err(self.herald.last_failure().unwrap_or_else(super::over)),
        }
    }

    async fn deferral(&mut self, why: String) -> Result<Deferral, Failure> {
        let ends = self.policy.longest_wait()?;
        Ok(Deferral { why, staged: self.hands.put_off().await?, ends })
    }

    /// What was put off passed its check again.
    pub(super) async fn rechecked(&mut self, checked: Result<Checked, Failure>) {
        let event = match checked {
            Ok(checked) => {
                let summary = checked.summary().clone();
                self.hands.take_checked(checked);
                Event::CheckPassed(summary)
            }
            Err(failure) => Event::Fail(failure),
        };
        super::told(self.apply(event).await);
        if let State::Deferred { upgrade, .. } = &self.state {
            self.hands.find_old_unasked(upgrade);
        }
    }

    /// A look without being asked.
    pub(super) async fn look(&mut self) {
        self.looks.next = None;
        let policy = Arc::clone(&self.policy);
        match blocking(move || policy.renew()).await {
            Ok(true) => {
                tracing::warn!(MESSAGE_ID = message::RELEASED, "the time of the hold is over");
                self.herald.update_policy(self.policy.status());
            }
            Ok(false) => {}
            Err(failure) => self.herald.notice(&failure),
        }
        self.renew_deferral().await;
        self.look_at_deferred();
        self.look_at_part().await;
        self.look_in(Gatekeeper::RENEWAL);
    }

    fn look_at_deferred(&mut self) {
        let State::Deferred { upgrade, package, deferral } = &self.state else { return };
        if self.looks.at.as_ref() == Some(&upgrade.id) {
            return;
        }
        match self.rules(upgrade.component()) {
            Ok(rules) => {
                self.looks.at = Some(upgrade.id.clone());
                self.hands.look_again(upgrade, package, deferral, rules);
            }
            Err(failure) => self.herald.notice(&failure), // it is in the configuration no more
        }
    }

    /// Writes down now and then what is left of its time.
    async fn renew_deferral(&mut self) {
        let (State::Deferred { deferral, .. }, Ok(now)) = (&mut self.state, self.policy.now())
        else {
            return;
        };
        if deferral.ends.is_older_than(Gatekeeper::RENEWAL, &now) {
            deferral.ends = deferral.ends.renewed(&now);
            let state = self.state.clone();
            // A failed write is in the notices by then, and at worst it waits longer.
            let _ = self
                .write_journal("what is left of a wait", move |journal| journal.record(&state))
                .await;
        }
    }

    /// Looks again after this time at the latest, where there is something to look at.
    pub(super) fn look_in(&mut self, time: Duration) {
        let renewal = self.policy.renew_in();
        let part = match &self.state {
            State::Receiving { upgrade } => self.hands.part(&upgrade.id).map(|part| part.ends),
            _ => None,
        };
        let ends = self.state.deferral().map(|deferral| deferral.ends.clone()).or(part);
        let deferred = ends.map(|ends| {
            let left = self.policy.now().map_or(time, |now| ends.left(&now));
            time.min(Countdown::past(left))
        });
        let Some(time) = renewal.into_iter().chain(deferred).min() else { return };
        let next = Instant::now() + time;
        self.looks.next = Some(self.looks.next.map_or(next, |earlier| earlier.min(next)));
    }

    /// Written down before it counts.
    pub(super) async fn hold(
        &mut self,
        by: String,
        reason: Option<String>,
        time: Option<Duration>,
    ) -> Result<HoldStatus, Failure> {
        let policy = Arc::clone(&self.policy);
        let held = blocking(move || policy.hold(by, reason, time)).await?;
        tracing::warn!(MESSAGE_ID = message::HELD, "upgrades are {held}");
        self.herald.update_policy(self.policy.status());
        self.look_in(Gatekeeper::RENEWAL);
        Ok(held)
    }

    /// The same.
    pub(super) async fn release(&mut self, by: String) -> Result<Option<HoldStatus>, Failure> {
        let policy = Arc::clone(&self.policy);
        let held = blocking(move || policy.release()).await?;
        if let Some(held) = &held {
            tracing::warn!(
                MESSAGE_ID = message::RELEASED,
                "upgrades were {held}; released by {by}"
            );
        }
        self.herald.update_policy(self.policy.status());
        self.look_at_deferred();
        Ok(held)
    }
}
