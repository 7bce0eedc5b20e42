//! The cells of the table of docs/wire/payload-link.md section 5b: one function a row, one match
//! arm a column.

use std::time::Instant;

use bytes::Bytes;

use super::super::guess;
use super::super::words::{
    Acknowledgement, Answer, Asker, CheckAnswer, Command, DataResult, FileOffer, Malformed,
    Offered, Question,
};
use super::askers::Askers;
use super::reporting::Started;
use super::{Effect, Entered, Receiving, Session, State, Step, Upgrade};
use crate::model::{Failure, FailureKind, Md5Digest};
use crate::transfer::dcftp::{Offer, Place, Sequence};

/// The answer to the chunk that was just taken.
pub(super) fn taken(sequence: &Sequence) -> Answer {
    Answer::DcftpData(Acknowledgement { result: DataResult::Taken, next: sequence.next() })
}

/// The last acknowledgement again.
fn not_taken(sequence: &Sequence) -> Answer {
    Answer::DcftpData(Acknowledgement { result: DataResult::NotTaken, next: sequence.next() })
}

/// Nothing is being received, or the reception failed before chunk `next`.
pub(super) fn failed(next: u32) -> Answer {
    Answer::DcftpData(Acknowledgement { result: DataResult::Failed, next })
}

impl Session {
    /// Takes a command.
    pub fn command(&mut self, question: Question, command: Command, now: Instant) -> Vec<Effect> {
        match command {
            // What an aircraft asks anyway says nothing of the host, and waits for nothing.
            Command::Version => return question.answer(Answer::Version(self.view.version)),
            Command::ServiceInfo => return question.answer(Answer::ServiceInfo),
            _ => self.hear(question.asker, now),
        }
        if self.waits_its_turn(question, &command) {
            self.queue.push(question, command);
            return Vec::new();
        }
        self.carry_out(question, command, now)
    }

    /// The entered host whose upgrade a stranger's command would disturb, if this is such a
    /// command: it is refused.
    pub fn is_disturbed_by(&self, asker: Asker, command: &Command) -> Option<Asker> {
        let disturbs = match command {
            Command::DcftpStart(_)
            | Command::DcftpData { .. }
            | Command::DcftpFinish(_)
            | Command::Transfer
            | Command::Check => true,
            Command::Version | Command::ServiceInfo | Command::Enter | Command::Finish => false,
        };
        self.owner().filter(|owner| guess::ONLY_WHO_ENTERED && disturbs && *owner != asker)
    }

    /// Who has entered.
    fn owner(&self) -> Option<Asker> {
        match &self.state {
            State::Entering { askers, .. } => Some(askers.asker()),
            State::Entered(Entered { upgrade, .. })
            | State::Receiving(Receiving { upgrade, .. })
            | State::Received { upgrade, .. } => Some(upgrade.asker),
            State::Started(started) => started.asker(),
            State::Idle | State::Concluded(_) => None,
        }
    }

    /// Whether work is under way on whose result this command depends. What asks for that same work
    /// does not wait: it joins.
    fn waits_its_turn(&self, question: Question, command: &Command) -> bool {
        if *command == Command::Finish || self.is_disturbed_by(question.asker, command).is_some() {
            return false;
        }
        match &self.state {
            State::Entering { .. } => *command != Command::Enter,
            State::Receiving(Receiving { upgrade, .. })
                if upgrade.asker != question.asker && *command == Command::Enter =>
            {
                false
            }
            State::Receiving(receiving) => match &receiving.step {
                Step::Open => false,
                Step::Opening(_) => {
                    !matches!(command, Command::DcftpStart(offer) if *offer == receiving.offer)
                }
                Step::Storing { .. } => {
                    !matches!(command, Command::DcftpData { place, .. } if receiving.sequence.is_next(*place))
                }
                Step::Finishing { md5, .. } => *command != Command::DcftpFinish(*md5),
            },
            _ => false,
        }
    }

    /// Carries out what has waited for its turn, until work is under way again.
    pub(super) fn take_turns(&mut self, now: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        while !self.is_at_work() {
            let Some((question, command)) = self.queue.pop() else { break };
            effects.extend(self.carry_out(question, command, now));
        }
        effects
    }

    /// Whether work is under way that must be done before anything else can be asked for.
    pub fn is_at_work(&self) -> bool {
        match &self.state {
            State::Entering { .. } => true,
            State::Receiving(receiving) => !matches!(receiving.step, Step::Open),
            _ => false,
        }
    }

    fn carry_out(&mut self, question: Question, command: Command, now: Instant) -> Vec<Effect> {
        let is_stranger = self.is_disturbed_by(question.asker, &command).is_some();
        match command {
            Command::Version | Command::ServiceInfo => Vec::new(), // answered already
            Command::Enter => self.enter(question, now),
            Command::Finish => self.finish_reporting(),
            // In FTP mode DCFTP gets no answer (section 3).
            Command::DcftpStart(_) | Command::DcftpData { .. } | Command::DcftpFinish(_)
                if self.offered() == Some(Offered::Ftp) =>
            {
                Vec::new()
            }
            Command::DcftpData { .. } if is_stranger => question.answer(Answer::NothingReceived),
            Command::DcftpStart(_) | Command::DcftpFinish(_) | Command::Transfer if is_stranger => {
                question.answer(Answer::Refused)
            }
            Command::Check if is_stranger => {
                question.answer(Answer::Check(CheckAnswer::CheckFailed))
            }
            Command::DcftpStart(offer) => self.dcftp_start(question, offer),
            Command::DcftpData { place, data } => self.dcftp_data(question, place, data, now),
            Command::DcftpFinish(md5) => self.dcftp_finish(question, md5),
            Command::Transfer => self.transfer(question),
            Command::Check => self.check(question, now),
        }
    }

    /// Takes a command whose fields do not fit its payload: nothing changes, and the answer is the
    /// failure code.
    pub fn malformed(
        &mut self,
        question: Question,
        malformed: Malformed,
        now: Instant,
    ) -> Vec<Effect> {
        self.hear(question.asker, now);
        match malformed {
            Malformed::Enter => question.answer(Answer::EnterRefused),
            _ if self.offered() == Some(Offered::Ftp) => Vec::new(),
            Malformed::DcftpStart | Malformed::DcftpFinish => question.answer(Answer::Refused),
            Malformed::DcftpData => question.answer(match self.sequence() {
                Some(sequence) if self.owner() == Some(question.asker) => failed(sequence.next()),
                _ => Answer::NothingReceived,
            }),
        }
    }

    /// A host that speaks is not silent, whatever the answer is.
    fn hear(&mut self, asker: Asker, now: Instant) {
        let (State::Entered(Entered { upgrade, .. })
        | State::Receiving(Receiving { upgrade, .. })
        | State::Received { upgrade, .. }) = &mut self.state
        else {
            return;
        };
        if upgrade.asker == asker {
            upgrade.heard = now;
        }
    }

    /// How the file of the upgrade at hand comes, once that is decided.
    fn offered(&self) -> Option<Offered> {
        match &self.state {
            State::Entered(Entered { upgrade, .. }) => Some(upgrade.offered),
            State::Receiving(_) | State::Received { .. } => Some(Offered::Dcftp),
            State::Started(started) => Some(started.offered()),
            State::Idle | State::Entering { .. } | State::Concluded(_) => None,
        }
    }

    fn sequence(&self) -> Option<&Sequence> {
        match &self.state {
            State::Receiving(Receiving { sequence, .. }) | State::Received { sequence, .. } => {
                Some(sequence)
            }
            _ => None,
        }
    }

    /// `83`
    fn enter(&mut self, question: Question, now: Instant) -> Vec<Effect> {
        let before = match &mut self.state {
            State::Idle | State::Concluded(_) => None,
            State::Entered(entered) if entered.is_fresh(question.asker, now) => {
                return question.answer(Answer::Entered(entered.upgrade.offered));
            }
            State::Entering { askers, .. } if askers.asker() == question.asker => {
                askers.join(question);
                return Vec::new();
            }
            State::Entered(Entered { upgrade, .. })
            | State::Receiving(Receiving { upgrade, .. })
            | State::Received { upgrade, .. }
                if upgrade.asker == question.asker =>
            {
                Some(upgrade.id.clone())
            }
            _ => return question.answer(Answer::EnterRefused),
        };
        let asker = question.asker;
        self.state = State::Entering { askers: Askers::new(question), before };
        vec![Effect::Enter { asker }]
    }

    /// `2A 01`
    fn dcftp_start(&mut self, question: Question, offer: FileOffer) -> Vec<Effect> {
        let upgrade = match std::mem::replace(&mut self.state, State::Idle) {
            State::Receiving(mut receiving) if receiving.goes_on_with(&offer) => {
                let answer = receiving.restart(question);
                self.state = State::Receiving(receiving);
                return answer;
            }
            State::Received { upgrade, offer: received, sequence, md5 }
                if offer.goes_on(&received) =>
            {
                let there = sequence.received();
                self.state = State::Received { upgrade, offer: received, sequence, md5 };
                return question.answer(Answer::DcftpStarted(there));
            }
            State::Entered(Entered { upgrade, .. })
            | State::Receiving(Receiving { upgrade, .. })
            | State::Received { upgrade, .. } => upgrade,
            other => {
                self.state = other;
                return question.answer(Answer::Refused);
            }
        };
        let effect = Effect::Receive(upgrade.id.clone(), offer.clone());
        let sequence = Sequence::new(u64::from(offer.size), 0);
        self.state = State::Receiving(Receiving {
            upgrade,
            offer,
            sequence,
            step: Step::Opening(Askers::new(question)),
        });
        vec![effect]
    }

    /// `2A 02`
    fn dcftp_data(
        &mut self,
        question: Question,
        place: Place,
        data: Bytes,
        now: Instant,
    ) -> Vec<Effect> {
        match &mut self.state {
            State::Receiving(receiving) => match receiving.offer(question, place, data.len()) {
                Chunk::Store => {
                    receiving.step =
                        Step::Storing { askers: Askers::new(question), length: data.len() };
                    vec![Effect::Store(data)]
                }
                Chunk::Joined => Vec::new(),
                Chunk::Answer(answer) => question.answer(answer),
                Chunk::TooMuch => self.refuse_excess(question, now),
            },
            State::Received { sequence, .. } => question.answer(late(sequence, place)),
            _ => question.answer(Answer::NothingReceived),
        }
    }

    fn refuse_excess(&mut self, question: Question, now: Instant) -> Vec<Effect> {
        let answer = question.answer(failed(self.sequence().map_or(0, Sequence::next)));
        let excess = Failure::new(
            FailureKind::TransferFailed,
            "the host sent more bytes than it had announced",
        );
        self.fail_reception(excess, answer, now)
    }

    /// `2A 03`
    fn dcftp_finish(&mut self, question: Question, md5: Md5Digest) -> Vec<Effect> {
        match &mut self.state {
            State::Receiving(Receiving { step: step @ Step::Open, .. }) => {
                *step = Step::Finishing { askers: Askers::new(question), md5 };
                vec![Effect::FinishReception(md5)]
            }
            State::Receiving(Receiving {
                step: Step::Finishing { askers, md5: announced },
                ..
            }) if *announced == md5 => {
                askers.join(question);
                Vec::new()
            }
            State::Received { md5: received, .. } if *received == md5 => {
                question.answer(Answer::Done)
            }
            _ => question.answer(Answer::Refused),
        }
    }

    /// `84`
    fn transfer(&mut self, question: Question) -> Vec<Effect> {
        let port = Answer::FtpPort(self.ftp_port);
        question.answer(match &mut self.state {
            State::Entered(entered) if entered.upgrade.offered == Offered::Ftp => {
                entered.port_told = true;
                port
            }
            State::Received { .. } => Answer::Done,
            State::Started(started) if started.offered() == Offered::Ftp => port,
            State::Started(_) => Answer::Done,
            State::Idle
            | State::Entering { .. }
            | State::Entered(_)
            | State::Receiving(_)
            | State::Concluded(_) => Answer::Refused,
        })
    }

    /// `85`
    fn check(&mut self, question: Question, now: Instant) -> Vec<Effect> {
        let (upgrade, effect) = match std::mem::replace(&mut self.state, State::Idle) {
            State::Entered(Entered { upgrade, .. }) if upgrade.offered == Offered::Ftp => {
                checked(upgrade)
            }
            State::Received { upgrade, .. } => checked(upgrade),
            State::Entered(Entered { upgrade, failure, .. }) if self.answered_ahead => {
                rejected(upgrade, failure)
            }
            State::Started(mut started) => {
                let answer = started.ask_again(question);
                self.state = State::Started(started);
                return answer;
            }
            other => {
                self.state = other;
                return question.answer(Answer::Check(CheckAnswer::CheckFailed));
            }
        };
        self.state = State::Started(Started::at_check(
            upgrade.id,
            upgrade.offered,
            question,
            &self.view,
            (now, now + self.patience),
        ));
        vec![effect]
    }

    /// `41 04`
    fn finish_reporting(&mut self) -> Vec<Effect> {
        let State::Concluded(concluded) = &self.state else { return Vec::new() };
        self.acknowledged = Some(concluded.id().clone());
        self.state = State::Idle;
        vec![Effect::Acknowledge]
    }
}

fn checked(upgrade: Upgrade) -> (Upgrade, Effect) {
    let effect = Effect::CheckAndStart(upgrade.id.clone());
    (upgrade, effect)
}

fn rejected(upgrade: Upgrade, failure: Option<Failure>) -> (Upgrade, Effect) {
    let nothing = || {
        let sentence = "the host asked for the check of a file that had not come";
        Failure::new(FailureKind::TransferFailed, sentence)
    };
    let effect = Effect::Reject(upgrade.id.clone(), failure.unwrap_or_else(nothing));
    (upgrade, effect)
}

impl Entered {
    /// Whether the host has just entered, and done nothing since.
    fn is_fresh(&self, asker: Asker, now: Instant) -> bool {
        let repeats = now.duration_since(self.since) < guess::REPEATED_ENTER;
        repeats && asker == self.upgrade.asker && !self.port_told && self.failure.is_none()
    }
}

/// What becomes of a chunk.
enum Chunk {
    Store,
    /// The same chunk is being stored; its answer goes to everybody who asked.
    Joined,
    Answer(Answer),
    TooMuch,
}

impl Receiving {
    /// Whether `offer` is that of this file once more: nothing came since, or its sender goes on
    /// with it.
    fn goes_on_with(&self, offer: &FileOffer) -> bool {
        let is_fresh = self.offer == *offer && self.sequence.is_untouched();
        (is_fresh || offer.goes_on(&self.offer))
            && matches!(self.step, Step::Opening(_) | Step::Open)
    }

    fn restart(&mut self, question: Question) -> Vec<Effect> {
        match &mut self.step {
            Step::Opening(askers) => {
                askers.join(question);
                Vec::new()
            }
            _ => question.answer(Answer::DcftpStarted(self.sequence.received())),
        }
    }

    fn offer(&mut self, question: Question, place: Place, length: usize) -> Chunk {
        match (&mut self.step, self.sequence.offer(place, length)) {
            (Step::Open, Offer::Next) => Chunk::Store,
            (Step::Open, Offer::TooMuch) => Chunk::TooMuch,
            (Step::Storing { askers, .. }, Offer::Next) => {
                askers.join(question);
                Chunk::Joined
            }
            (Step::Finishing { .. }, _) => Chunk::Answer(late(&self.sequence, place)),
            (Step::Open | Step::Opening(_) | Step::Storing { .. }, _) => {
                Chunk::Answer(not_taken(&self.sequence))
            }
        }
    }
}

/// The answer to a chunk after the end: a repeated one has its last acknowledgement again, a new
/// one is refused.
fn late(sequence: &Sequence, place: Place) -> Answer {
    if sequence.is_past(place) { not_taken(sequence) } else { failed(sequence.next()) }
}
