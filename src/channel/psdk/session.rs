//! The session: what a command does in which state (docs/wire/payload-link.md section 5b), as a
//! pure state machine.
//!
//! Commands, results and status go in with the time at which they came; answers, pushes and
//! operations to perform come out. No I/O and no clock; the engine and the transfers are names of
//! operations here. Every operation that a state waits for is answered by one [`Event`]. A command
//! that asks for the same joins the wait instead of starting it twice, so that a lost answer never
//! breaks an upgrade; any other waits for its turn.

mod askers;
mod commands;
mod reporting;
mod view;

use std::time::{Duration, Instant};

use bytes::Bytes;

use self::askers::{Askers, Queue};
use self::reporting::{Concluded, Started};
pub use self::view::{PendingReport, Told, View, Work};
use super::guess;
use super::words::{Answer, Asker, CheckAnswer, FileOffer, Offered, Question, Stage, StatusPush};
use crate::model::version::Version;
use crate::model::{Failure, FailureKind, Md5Digest, UpgradeId};
use crate::transfer::dcftp::Sequence;

/// Silence of the host after which an upgrade that is not yet started is given up (section 5b).
pub const SILENCE_LIMIT: Duration = Duration::from_secs(60);

impl Question {
    fn answer(self, answer: Answer) -> Vec<Effect> {
        vec![Effect::Answer(self, answer)]
    }
}

/// What the session wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Send this answer.
    Answer(Question, Answer),
    /// Push this status to everybody who is told.
    Push(StatusPush),
    /// Throw away what was received, choose the transfer, and begin an upgrade. Answered by
    /// [`Event::Entered`].
    Enter {
        /// On whose behalf.
        asker: Asker,
    },
    /// Throw away what was received, and start to receive a file over this link. Answered by
    /// [`Event::Opened`].
    Receive(UpgradeId, FileOffer),
    /// Hand over the next chunk. Answered by [`Event::Stored`].
    Store(Bytes),
    /// The file is complete: compare size and MD5. Answered by [`Event::Finished`].
    FinishReception(Md5Digest),
    /// Throw away what was received.
    Discard,
    /// Throw away what was received and say why: the reception failed, and the host may begin
    /// again.
    ReceptionFailed(UpgradeId, Failure),
    /// Fetch what is left of the file, have it checked, and start. Answered by [`Event::Decided`].
    CheckAndStart(UpgradeId),
    /// There is nothing to check: end the upgrade, for this reason. Answered by [`Event::Decided`].
    Reject(UpgradeId, Failure),
    /// Throw away what was received and abandon the upgrade; nobody waits for its report.
    GiveUp(UpgradeId, Failure),
    /// The host has seen the report.
    Acknowledge,
}

/// What became of an operation, and the engine's news.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Of [`Effect::Enter`].
    Entered(Result<(UpgradeId, Offered), Failure>),
    /// Of [`Effect::Receive`]: so many bytes are there already.
    Opened(Result<u64, Failure>),
    /// Of [`Effect::Store`].
    Stored(Result<(), Failure>),
    /// Of [`Effect::FinishReception`].
    Finished(Result<(), Failure>),
    /// Of [`Effect::CheckAndStart`] and [`Effect::Reject`].
    Decided(Result<(), Rejection>),
    /// The engine's status changed.
    Status(View),
}

/// Why "check and start" did not start anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejection {
    /// The file could not be fetched, or the check failed.
    CheckFailed(Failure),
    /// The check passed, but the upgrade could not start.
    StartFailed(Failure),
}

impl Rejection {
    fn answer(&self) -> CheckAnswer {
        match self {
            Self::CheckFailed(_) => CheckAnswer::CheckFailed,
            Self::StartFailed(_) => CheckAnswer::StartFailed,
        }
    }

    fn failure(&self) -> &Failure {
        match self {
            Self::CheckFailed(failure) | Self::StartFailed(failure) => failure,
        }
    }
}

/// The session of the payload link. One upgrade at a time.
#[derive(Debug)]
pub struct Session {
    state: State,
    view: View,
    ftp_port: u16,
    /// How long a host waits for the answer to "check and start".
    patience: Duration,
    /// Whether a host may have heard before the answer that its upgrade has started.
    answered_ahead: bool,
    /// The upgrade whose report was acknowledged last; the status may show it for a moment longer.
    acknowledged: Option<UpgradeId>,
    /// Empty while no work is under way.
    queue: Queue,
}

#[derive(Debug)]
enum State {
    Idle,
    /// The store is being cleared and the engine asked; the answer to "enter" waits.
    Entering {
        askers: Askers,
        before: Option<UpgradeId>,
    },
    Entered(Entered),
    Receiving(Receiving),
    /// The whole file came over this link.
    Received {
        upgrade: Upgrade,
        offer: FileOffer,
        sequence: Sequence,
        md5: Md5Digest,
    },
    Started(Started),
    Concluded(Concluded),
}

/// An upgrade that is not yet started.
#[derive(Debug)]
struct Upgrade {
    id: UpgradeId,
    asker: Asker,
    offered: Offered,
    /// When the host was heard last.
    heard: Instant,
}

#[derive(Debug)]
struct Entered {
    upgrade: Upgrade,
    since: Instant,
    /// The FTP port was told.
    port_told: bool,
    /// Why the last reception failed.
    failure: Option<Failure>,
}

/// A file comes over this link.
#[derive(Debug)]
struct Receiving {
    upgrade: Upgrade,
    offer: FileOffer,
    sequence: Sequence,
    step: Step,
}

#[derive(Debug)]
enum Step {
    /// The stage is being prepared; the answer to "DCFTP start" waits.
    Opening(Askers),
    /// The next chunk is awaited.
    Open,
    /// A chunk was handed over; its answer waits.
    Storing { askers: Askers, length: usize },
    /// Size and MD5 are being compared; the answer to "DCFTP finish" waits.
    Finishing { askers: Askers, md5: Md5Digest },
}

impl Session {
    /// The session as it stands after a start of the daemon: an upgrade that runs goes on being
    /// reported, and so does a report that was not acknowledged; one of which a part of the file is
    /// there waits for the rest.
    pub fn new(view: View, ftp_port: u16, patience: Duration, now: Instant) -> Self {
        let mut session = Self {
            state: State::Idle,
            view: View::default(),
            ftp_port,
            patience,
            answered_ahead: false,
            acknowledged: None,
            queue: Queue::default(),
        };
        session.adopt(view, now);
        if let (State::Idle, Some(work)) = (&session.state, &session.view.work) {
            session.state = State::Entered(Entered::found(work, now));
        }
        session
    }

    /// The same, where hosts may hear that their upgrade has started before that is decided: what
    /// they ask to be checked, and never came, has an end then.
    pub fn answered_ahead(mut self, is_so: bool) -> Self {
        self.answered_ahead = is_so;
        self
    }

    /// The version that the link tells.
    pub fn version(&self) -> Option<Version> {
        self.view.version
    }

    /// Where the upgrade is.
    pub fn stage(&self) -> Stage {
        match &self.state {
            State::Idle => Stage::Nothing,
            State::Entering { .. }
            | State::Entered(_)
            | State::Receiving(_)
            | State::Received { .. } => Stage::Waits,
            State::Started(_) => Stage::Started,
            State::Concluded(_) => Stage::Reported,
        }
    }

    /// Takes the result of an operation, or news of the engine. A result that nobody waits for any
    /// more is ignored.
    pub fn event(&mut self, event: Event, now: Instant) -> Vec<Effect> {
        let mut effects = match event {
            Event::Entered(result) => self.entered(result, now),
            Event::Opened(result) => self.opened(result, now),
            Event::Stored(result) => self.stored(result, now),
            Event::Finished(result) => self.finished(result, now),
            Event::Decided(result) => self.decided(result, now),
            Event::Status(view) => self.status(view, now),
        };
        effects.extend(self.take_turns(now));
        effects
    }

    /// When [`Session::tick`] is to be called next.
    pub fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Idle | State::Entering { .. } => None,
            State::Entered(entered) => Some(entered.silent_until()),
            State::Receiving(Receiving { upgrade, step: Step::Open, .. })
            | State::Received { upgrade, .. } => Some(upgrade.heard + SILENCE_LIMIT),
            State::Receiving(_) => None,
            State::Started(started) => Some(started.deadline()),
            State::Concluded(concluded) => Some(concluded.deadline()),
        }
    }

    /// Does what is due: pushes at 1 Hz, the answer that a host can't be kept waiting for any
    /// longer, giving up.
    pub fn tick(&mut self, now: Instant) -> Vec<Effect> {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return Vec::new();
        }
        match &mut self.state {
            State::Started(started) => started.tick(&self.view, now),
            State::Concluded(concluded) => concluded.tick(now),
            _ => self.give_up(),
        }
    }

    fn give_up(&mut self) -> Vec<Effect> {
        let (upgrade, failure) = match std::mem::replace(&mut self.state, State::Idle) {
            State::Entered(Entered { upgrade, failure, .. }) => (upgrade, failure),
            State::Receiving(Receiving { upgrade, .. }) | State::Received { upgrade, .. } => {
                (upgrade, None)
            }
            other => {
                self.state = other;
                return Vec::new();
            }
        };
        let silence = || {
            Failure::new(FailureKind::Timeout, "the host fell silent before it started the upgrade")
        };
        self.acknowledged = Some(upgrade.id.clone());
        vec![Effect::GiveUp(upgrade.id, failure.unwrap_or_else(silence))]
    }

    fn entered(
        &mut self,
        result: Result<(UpgradeId, Offered), Failure>,
        now: Instant,
    ) -> Vec<Effect> {
        let (askers, before) = match std::mem::replace(&mut self.state, State::Idle) {
            State::Entering { askers, before } => (askers, before),
            other => {
                self.state = other;
                return Vec::new();
            }
        };
        match result {
            Ok((id, offered)) => {
                let answer = askers.answer(Answer::Entered(offered));
                let upgrade = Upgrade { id, asker: askers.asker(), offered, heard: now };
                self.state = State::Entered(Entered {
                    upgrade,
                    since: now,
                    port_told: false,
                    failure: None,
                });
                answer
            }
            Err(failure) => {
                let mut effects = askers.answer(Answer::EnterRefused);
                if let Some(id) = before {
                    self.acknowledged = Some(id.clone());
                    effects.push(Effect::GiveUp(id, failure));
                }
                effects.extend(self.adopt(self.view.clone(), now));
                effects
            }
        }
    }

    fn opened(&mut self, result: Result<u64, Failure>, now: Instant) -> Vec<Effect> {
        let State::Receiving(receiving) = &mut self.state else { return Vec::new() };
        let Step::Opening(askers) = &receiving.step else { return Vec::new() };
        receiving.upgrade.heard = now;
        match result {
            Ok(there) => {
                let answer = askers.answer(Answer::DcftpStarted(there));
                receiving.sequence = Sequence::new(receiving.offer.size.into(), there);
                receiving.step = Step::Open;
                answer
            }
            Err(failure) => {
                let answer = askers.answer(Answer::Refused);
                self.fail_reception(failure, answer, now)
            }
        }
    }

    fn stored(&mut self, result: Result<(), Failure>, now: Instant) -> Vec<Effect> {
        let State::Receiving(receiving) = &mut self.state else { return Vec::new() };
        let Step::Storing { askers, length } = &receiving.step else { return Vec::new() };
        receiving.upgrade.heard = now;
        match result {
            Ok(()) => {
                receiving.sequence.advance(*length);
                let answer = askers.answer(commands::taken(&receiving.sequence));
                receiving.step = Step::Open;
                answer
            }
            Err(failure) => {
                let answer = askers.answer(commands::failed(receiving.sequence.next()));
                self.fail_reception(failure, answer, now)
            }
        }
    }

    fn finished(&mut self, result: Result<(), Failure>, now: Instant) -> Vec<Effect> {
        let receiving = match std::mem::replace(&mut self.state, State::Idle) {
            State::Receiving(receiving) => receiving,
            other => {
                self.state = other;
                return Vec::new();
            }
        };
        let Receiving { mut upgrade, offer, sequence, step } = receiving;
        upgrade.heard = now;
        match (step, result) {
            (Step::Finishing { askers, md5 }, Ok(())) => {
                self.state = State::Received { upgrade, offer, sequence, md5 };
                askers.answer(Answer::Done)
            }
            (Step::Finishing { askers, .. }, Err(failure)) => {
                let answer = askers.answer(Answer::Refused);
                self.state =
                    State::Receiving(Receiving { upgrade, offer, sequence, step: Step::Open });
                self.fail_reception(failure, answer, now)
            }
            (step, _) => {
                self.state = State::Receiving(Receiving { upgrade, offer, sequence, step });
                Vec::new()
            }
        }
    }

    /// A reception that failed is over: the host is told, and may start it again unless the engine
    /// has ended the upgrade.
    fn fail_reception(
        &mut self,
        failure: Failure,
        mut answer: Vec<Effect>,
        now: Instant,
    ) -> Vec<Effect> {
        self.state = match std::mem::replace(&mut self.state, State::Idle) {
            State::Receiving(Receiving { upgrade, .. }) => {
                answer.push(Effect::ReceptionFailed(upgrade.id.clone(), failure.clone()));
                State::Entered(Entered {
                    upgrade,
                    since: now,
                    port_told: false,
                    failure: Some(failure),
                })
            }
            other => other,
        };
        answer.extend(self.adopt(self.view.clone(), now));
        answer
    }
}

impl Entered {
    /// An upgrade that outlived the daemon that it was asked of.
    fn found(work: &Work, now: Instant) -> Self {
        let upgrade = Upgrade {
            id: work.id.clone(),
            asker: Asker::APPLICATION,
            offered: work.offered(),
            heard: now,
        };
        Self { upgrade, since: now, port_told: false, failure: None }
    }

    fn silent_until(&self) -> Instant {
        // A host that knows the port by itself does not ask for it before it uploads.
        self.upgrade.heard
            + if self.upgrade.offered == Offered::Ftp { guess::UPLOAD_LIMIT } else { SILENCE_LIMIT }
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
