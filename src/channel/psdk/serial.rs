//! The serial door: the aircraft on a serial line, for hosts and benches that need no verified
//! identity (docs/wire/payload-link.md sections 1 and 2).
//!
//! [`link`] finds the aircraft ([`route`]: on which port) and carries frames, [`wire`] reads them.

pub mod frame;
pub mod link;
pub mod route;
pub mod wire;

use std::time::Duration;

use super::door::{Door, News, Standing};
use super::guess;
use super::words::{Answer, Asker, Command, Question, Stage, StatusPush, Ticket};
use crate::config::{self, TransferChoice};
use crate::model::{Failure, LinkStatus};
use frame::{Address, CommandId, Frame, Kind};
use link::Link;
use wire::{HOST, PC, ParseError, id};

/// The serial door.
#[derive(Debug)]
pub struct Serial {
    link: Link,
    choice: TransferChoice,
}

impl Serial {
    /// The door at the device of the configuration.
    pub fn new(config: &config::Link) -> Self {
        Self { link: Link::new(config), choice: config.transfer }
    }
}

impl Door for Serial {
    const PATIENCE: Duration = guess::HOST_WAIT_FOR_CHECK;
    const ANSWERS_AHEAD: bool = false;
    const IN_TURN: bool = false;
    const RESUMES: bool = false;

    async fn next(&mut self) -> News {
        loop {
            let frame = match self.link.next().await {
                link::News::Frame(frame) => frame,
                link::News::Status => return News::Status,
            };
            match Command::parse(frame.command, &frame.payload) {
                Ok(command) => return News::Command(question(&frame), command),
                Err(ParseError::Malformed(malformed)) => {
                    tracing::debug!("malformed {malformed:?} from {}", frame.sender);
                    return News::Malformed(question(&frame), malformed);
                }
                Err(ParseError::Unknown) => {
                    tracing::debug!("unknown command {} from {}", frame.command, frame.sender);
                }
            }
        }
    }

    fn status(&self) -> LinkStatus {
        self.link.status()
    }

    fn choice(&self) -> TransferChoice {
        self.choice
    }

    fn name_of(&self, asker: Asker) -> String {
        format!("0x{asker}").to_lowercase()
    }

    fn caller(&self) -> Option<String> {
        None
    }

    fn answer(&mut self, question: Question, answer: Answer) {
        if let Some(response) = response(question, answer) {
            self.link.send(&response);
        }
    }

    fn push(&mut self, push: StatusPush) {
        let payload = push.encode();
        for receiver in [HOST, PC] {
            let sequence = self.link.next_sequence();
            let from = self.link.address();
            self.link.send(&Frame::push(from, receiver, sequence, id::STATUS, payload.clone()));
        }
    }

    fn stand(&mut self, standing: &Standing<'_>) {
        self.link.set_keeps_rate(matches!(standing.stage, Stage::Waits | Stage::Started));
    }

    fn written(&mut self, _offset: u64) {}

    fn reception_failed(&mut self, _failure: &Failure) {}
}

/// The question that a frame asks. Its ticket is the frame's head.
pub fn question(frame: &Frame) -> Question {
    let [low, high] = frame.sequence.to_le_bytes();
    let (CommandId { set, id }, flags) = (frame.command, frame.kind.flags());
    let ticket = Ticket([frame.sender.0, frame.receiver.0, low, high, flags, set, id, 0]);
    Question { asker: Asker(frame.sender.0), ticket }
}

/// The answer's frame; none to what is no request.
pub fn response(question: Question, answer: Answer) -> Option<Frame> {
    let Ticket([sender, receiver, low, high, flags, set, id, _]) = question.ticket;
    let asked = Frame {
        sender: Address(sender),
        receiver: Address(receiver),
        sequence: u16::from_le_bytes([low, high]),
        kind: Kind::from_flags(flags),
        command: CommandId { set, id },
        payload: answer.encode(),
    };
    matches!(asked.kind, Kind::Request(_)).then(|| asked.response(asked.payload.clone()))
}

#[cfg(test)]
mod tests {
    use super::frame::Ack;
    use super::*;

    #[test]
    fn what_wants_no_answer_gets_none() {
        let push = Frame::push(PC, route::PAYLOAD_PORT, 300, id::VERSION, &[4][..]);
        assert_eq!(response(question(&push), Answer::Version(None)), None);
        let before = Frame { kind: Kind::Request(Ack::BeforeExecution), ..push };
        let answer = response(question(&before), Answer::Version(None)).unwrap();
        assert_eq!((answer.sender, answer.receiver), (route::PAYLOAD_PORT, PC));
        assert_eq!((answer.sequence, answer.command), (300, id::VERSION));
        assert_eq!(answer.kind, Kind::Response);
    }
}
