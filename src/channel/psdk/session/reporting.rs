//! From "check and start" to the end: the decision, the progress that is pushed, and the report
//! until somebody has acknowledged it (docs/wire/payload-link.md sections 4 and 5).

use std::time::{Duration, Instant};

use super::super::words::{Answer, Asker, CheckAnswer, Offered, Question, StatusPush};
use super::askers::Askers;
use super::{Effect, Entered, Receiving, Rejection, Session, State, Step, View, Work};
use crate::model::{Phase, UpgradeId};

/// A status is pushed at least this often.
const PUSH_INTERVAL: Duration = Duration::from_secs(1);

/// "Check and start" was asked for; the upgrade runs until its report is there.
#[derive(Debug)]
pub(super) struct Started {
    id: UpgradeId,
    /// Who asked for it; not known when the daemon has started since.
    asker: Option<Asker>,
    offered: Offered,
    decision: Decision,
    meter: Meter,
    countdown: Countdown,
    pushed: StatusPush,
    push_at: Instant,
}

#[derive(Debug)]
enum Decision {
    /// The check runs and the host waits, for so long.
    Awaited { askers: Askers, answer_by: Instant },
    /// The check runs longer than a host waits; it was told that all is well, and `end` will say if
    /// it is not.
    Anticipated,
    /// The upgrade started.
    Made,
}

impl Started {
    pub(super) fn at_check(
        id: UpgradeId,
        offered: Offered,
        question: Question,
        view: &View,
        (now, answer_by): (Instant, Instant),
    ) -> Self {
        let asker = Some(question.asker);
        let decision = Decision::Awaited { askers: Askers::new(question), answer_by };
        let meter = Meter::starting_at(view.work.as_ref());
        let pushed = StatusPush::Ongoing(0);
        let countdown = Countdown::default();
        Self { id, asker, offered, decision, meter, countdown, pushed, push_at: now }
    }

    /// An upgrade that was started before the daemon was.
    fn found(work: &Work, now: Instant) -> Self {
        let offered = work.offered();
        let mut meter = Meter::default();
        let mut countdown = Countdown::default();
        let pushed =
            status_push(work, &mut meter, &mut countdown, now).unwrap_or(StatusPush::Ongoing(0));
        Self {
            id: work.id.clone(),
            asker: None,
            offered,
            decision: Decision::Made,
            meter,
            countdown,
            pushed,
            push_at: now,
        }
    }

    pub(super) const fn asker(&self) -> Option<Asker> {
        self.asker
    }

    pub(super) fn offered(&self) -> Offered {
        self.offered
    }

    pub(super) fn deadline(&self) -> Instant {
        match &self.decision {
            Decision::Awaited { answer_by, .. } => *answer_by,
            Decision::Anticipated | Decision::Made => self.push_at,
        }
    }

    /// `85` again: the same result as the first.
    pub(super) fn ask_again(&mut self, question: Question) -> Vec<Effect> {
        match &mut self.decision {
            Decision::Awaited { askers, .. } => {
                askers.join(question);
                Vec::new()
            }
            Decision::Anticipated | Decision::Made => {
                question.answer(Answer::Check(CheckAnswer::Started))
            }
        }
    }

    pub(super) fn tick(&mut self, view: &View, now: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        if let Decision::Awaited { askers, answer_by } = &self.decision
            && *answer_by <= now
        {
            effects = askers.answer(Answer::Check(CheckAnswer::Started));
            self.decision = Decision::Anticipated;
        }
        effects.extend(self.push(view, now));
        effects
    }

    /// How far the upgrade is when the host hears that it started. The rest may be over in an
    /// instant; no host is led from the start to the restart without a word between.
    fn first_push(&mut self, view: &View, now: Instant) -> Effect {
        let work = view.work.as_ref().filter(|work| work.id == self.id);
        self.pushed = StatusPush::Ongoing(work.map_or(0, |work| self.meter.read(work)));
        self.push_at = now + PUSH_INTERVAL;
        Effect::Push(self.pushed)
    }

    /// The push that is due, or that news make due. None before the answer to "check and start":
    /// nothing has started yet.
    fn push(&mut self, view: &View, now: Instant) -> Option<Effect> {
        if matches!(self.decision, Decision::Awaited { .. }) {
            return None;
        }
        let work = view.work.as_ref().filter(|work| work.id == self.id);
        let push = work
            .and_then(|work| status_push(work, &mut self.meter, &mut self.countdown, now))
            .unwrap_or(self.pushed);
        let is_news = match (self.pushed, push) {
            // Seconds pass; that is no news.
            (StatusPush::Rebooting(_), StatusPush::Rebooting(_)) => false,
            (before, after) => before != after,
        };
        if !is_news && now < self.push_at {
            return None;
        }
        self.pushed = push;
        self.push_at = next_push(self.push_at, is_news, now);
        Some(Effect::Push(push))
    }
}

/// One second after the one that is due, so that being late once does not make all the others late;
/// one second from now if something new was said in between, or if a whole push was missed.
fn next_push(due: Instant, is_news: bool, now: Instant) -> Instant {
    let next = due + PUSH_INTERVAL;
    if is_news || next <= now { now + PUSH_INTERVAL } else { next }
}

fn status_push(
    work: &Work,
    meter: &mut Meter,
    countdown: &mut Countdown,
    now: Instant,
) -> Option<StatusPush> {
    match work.phase {
        Phase::Preparing
        | Phase::Receiving
        | Phase::Checking
        | Phase::Ready
        | Phase::Deferred
        | Phase::Installing => Some(StatusPush::Ongoing(meter.read(work))),
        Phase::Restarting | Phase::Trial | Phase::Reverting => {
            Some(StatusPush::Rebooting(countdown.read(work, now)))
        }
        Phase::Idle | Phase::Concluded => None,
    }
}

/// Percent of the work that was left at "check and start". Never goes back.
#[derive(Debug, Default)]
struct Meter {
    at_check: u8,
    shown: u8,
}

impl Meter {
    fn starting_at(work: Option<&Work>) -> Self {
        Self { at_check: work.map_or(0, Self::overall), shown: 0 }
    }

    fn read(&mut self, work: &Work) -> u8 {
        let left_then = 100 - u16::from(self.at_check);
        let done_since = u16::from(Self::overall(work).saturating_sub(self.at_check));
        let percent = u8::try_from(done_since * 100 / left_then).unwrap_or(100);
        self.shown = self.shown.max(percent);
        self.shown
    }

    /// Percent of the whole upgrade up to the restart. Receiving is measured in bytes; checking and
    /// installing are short, and each is entered at its own mark.
    fn overall(work: &Work) -> u8 {
        const RECEIVED: u8 = 70;
        match work.phase {
            Phase::Idle | Phase::Preparing => 0,
            Phase::Receiving => {
                u8::try_from(u16::from(RECEIVED) * u16::from(work.received.min(100)) / 100)
                    .unwrap_or(RECEIVED)
            }
            Phase::Checking => RECEIVED,
            // A host of the link never sees the second one: its upgrades wait for nothing.
            Phase::Ready | Phase::Deferred => 85,
            Phase::Installing => 90,
            Phase::Restarting | Phase::Trial | Phase::Reverting | Phase::Concluded => 99,
        }
    }
}

/// Seconds until the deadline of a phase. The status says them at least when the phase begins;
/// between, time passes here.
#[derive(Debug, Default)]
struct Countdown {
    said: Option<(Phase, u64)>,
    until: Option<Instant>,
}

impl Countdown {
    /// Whole seconds, rounded up, as far as one byte can say.
    fn read(&mut self, work: &Work, now: Instant) -> u8 {
        // Without a deadline in the status: the longest that a configuration may allow (section 4).
        let said = (work.phase, work.seconds_left.unwrap_or(u64::from(u8::MAX)));
        if self.said != Some(said) {
            self.said = Some(said);
            self.until = now.checked_add(Duration::from_secs(said.1));
        }
        let left = self.until.map_or(Duration::MAX, |until| until.saturating_duration_since(now));
        let seconds = left.as_secs().saturating_add(u64::from(left.subsec_nanos() > 0));
        u8::try_from(seconds).unwrap_or(u8::MAX)
    }
}

/// The report stands, and is pushed until it is acknowledged.
#[derive(Debug)]
pub(super) struct Concluded {
    id: UpgradeId,
    result: StatusPush,
    /// The engine's status has shown the report; when it shows it no longer, somebody else has
    /// acknowledged it.
    seen: bool,
    push_at: Instant,
}

impl Concluded {
    pub(super) fn id(&self) -> &UpgradeId {
        &self.id
    }

    pub(super) fn deadline(&self) -> Instant {
        self.push_at
    }

    pub(super) fn tick(&mut self, now: Instant) -> Vec<Effect> {
        self.push_at = next_push(self.push_at, false, now);
        vec![Effect::Push(self.result)]
    }
}

impl Session {
    /// The check and the start are decided.
    pub(super) fn decided(&mut self, result: Result<(), Rejection>, now: Instant) -> Vec<Effect> {
        let State::Started(started) = &mut self.state else { return Vec::new() };
        let code = result.as_ref().map_or_else(Rejection::answer, |()| CheckAnswer::Started);
        let mut effects = match std::mem::replace(&mut started.decision, Decision::Made) {
            Decision::Awaited { askers, .. } => {
                let mut effects = askers.answer(Answer::Check(code));
                if result.is_ok() {
                    effects.push(started.first_push(&self.view, now));
                }
                effects
            }
            Decision::Anticipated => Vec::new(),
            Decision::Made => return Vec::new(),
        };
        if let Err(rejection) = result {
            let (id, result) =
                (started.id.clone(), StatusPush::Failed(rejection.failure().kind.into()));
            self.state = State::Concluded(Concluded { id, result, seen: false, push_at: now });
            effects.extend(self.tick(now));
        }
        effects.extend(self.adopt(self.view.clone(), now));
        effects
    }

    pub(super) fn status(&mut self, view: View, now: Instant) -> Vec<Effect> {
        self.adopt(view, now)
    }

    /// Brings the session in line with the engine, which knows the truth about what is started and
    /// how it ended.
    pub(super) fn adopt(&mut self, view: View, now: Instant) -> Vec<Effect> {
        self.view = view;
        let report = self
            .view
            .report
            .as_ref()
            .filter(|report| self.acknowledged.as_ref() != Some(&report.id))
            .cloned();
        match &mut self.state {
            State::Idle => match (report, &self.view.work) {
                (Some(report), _) => self.conclude(report.id, report.result, now),
                (None, Some(work)) if work.is_started() => {
                    self.state = State::Started(Started::found(work, now));
                    self.tick(now)
                }
                (None, _) => Vec::new(),
            },
            State::Entering { .. } => Vec::new(),
            // The answer that a host waits for comes first.
            State::Receiving(Receiving {
                step: Step::Opening(_) | Step::Storing { .. } | Step::Finishing { .. },
                ..
            }) => Vec::new(),
            // Somebody else has ended it.
            State::Entered(Entered { upgrade, .. })
            | State::Receiving(Receiving { upgrade, .. })
            | State::Received { upgrade, .. } => {
                match report.filter(|report| report.id == upgrade.id) {
                    Some(report) => {
                        let mut effects = vec![Effect::Discard];
                        effects.extend(self.conclude(report.id, report.result, now));
                        effects
                    }
                    None => Vec::new(),
                }
            }
            State::Started(started) => match report.filter(|report| report.id == started.id) {
                // The answer to "check and start" comes first.
                _ if !matches!(started.decision, Decision::Made) => {
                    started.push(&self.view, now).into_iter().collect()
                }
                Some(report) => self.conclude(report.id, report.result, now),
                None if self.view.work.as_ref().is_none_or(|work| work.id != started.id) => {
                    self.state = State::Idle;
                    Vec::new()
                }
                None => started.push(&self.view, now).into_iter().collect(),
            },
            State::Concluded(concluded) => {
                match report.filter(|report| report.id == concluded.id) {
                    Some(report) => {
                        concluded.seen = true;
                        concluded.result = report.result;
                    }
                    None if concluded.seen => self.state = State::Idle,
                    None => {}
                }
                Vec::new()
            }
        }
    }

    fn conclude(&mut self, id: UpgradeId, result: StatusPush, now: Instant) -> Vec<Effect> {
        self.state = State::Concluded(Concluded { id, result, seen: true, push_at: now });
        self.tick(now)
    }
}
