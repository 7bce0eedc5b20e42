//! Any conversation over the payload link, an upgrade over DCFTP above all: whatever a host says,
//! and however the work that the session asks for ends, a chunk is taken in its turn only, never
//! more than was announced, and nothing is called started before it was checked.
//!
//! A conversation is records of six bytes and a payload: how the work ends, seconds that pass
//! before, command set, command id, size of the payload (little-endian). The engine is played here.
#![no_main]

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use uplift::channel::psdk::guess;
use uplift::channel::psdk::serial;
use uplift::channel::psdk::serial::frame::{Address, CommandId, Frame, Kind};
use uplift::channel::psdk::serial::route::PAYLOAD_PORT as PAYLOAD;
use uplift::channel::psdk::serial::wire::{HOST, PC, ParseError, id};
use uplift::channel::psdk::session::{
    Effect, Event, PendingReport, Rejection, Session, View, Work,
};
use uplift::channel::psdk::words::{Command, Offered, Reason, StatusPush};
use uplift::model::{Failure, FailureKind, Phase, TransferKind, UpgradeId};
use uplift::transfer::dcftp::Place;

const PORT: u16 = 2121;

fuzz_target!(|script: &[u8]| {
    let mut play = Play::new();
    let mut left = script;
    while let Some((record, rest)) = Record::read(left) {
        play.perform(&record);
        left = rest;
    }
});

/// What the host says, and how the payload does.
struct Record<'a> {
    /// Bits: 0 other host, 1 work fails, 2 work is not done before the next record, 3 FTP is
    /// offered, 4 the engine goes on, 5 the upgrade fails, 6 no command.
    ways: u8,
    seconds: u8,
    command: CommandId,
    payload: &'a [u8],
}

impl<'a> Record<'a> {
    fn read(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let ([ways, seconds, set, id, low, high], rest) = bytes.split_first_chunk::<6>()?;
        let (payload, rest) =
            rest.split_at(usize::from(u16::from_le_bytes([*low, *high])).min(rest.len()));
        Some((
            Self { ways: *ways, seconds: *seconds, command: CommandId::new(*set, *id), payload },
            rest,
        ))
    }

    fn has(&self, bit: u8) -> bool {
        self.ways >> bit & 1 == 1
    }

    fn asker(&self) -> Address {
        if self.has(0) { HOST } else { PC }
    }
}

/// A session, its engine, and what must be remembered to judge it.
struct Play {
    session: Session,
    now: Instant,
    view: View,
    upgrades: u32,
    /// Work that the session asked for and that is not done.
    pending: VecDeque<Effect>,
    /// The reception that is open: bytes announced, bytes taken, chunks taken.
    open: Option<(u64, u64, u32)>,
    /// The chunks that the host offered: one may have to wait for its turn.
    offered: Vec<(u32, Bytes)>,
    check_asked: Option<Instant>,
    check_passed: bool,
}

impl Play {
    fn new() -> Self {
        let now = Instant::now();
        let session = Session::new(View::default(), PORT, guess::HOST_WAIT_FOR_CHECK, now);
        Self {
            session,
            now,
            view: View::default(),
            upgrades: 0,
            pending: VecDeque::new(),
            open: None,
            offered: Vec::new(),
            check_asked: None,
            check_passed: false,
        }
    }

    fn perform(&mut self, record: &Record<'_>) {
        self.pass(Duration::from_secs(record.seconds.into()));
        if record.has(4) {
            self.go_on(record.has(5));
        }
        if !record.has(6) {
            self.say(record);
        }
        while !record.has(2) {
            let Some(effect) = self.pending.pop_front() else { break };
            let event = self.finish(effect, record);
            let effects = self.session.event(event, self.now);
            self.judge(effects);
        }
    }

    /// Time passes, deadline by deadline.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(deadline) = self.session.deadline().filter(|deadline| *deadline <= end) {
            self.now = self.now.max(deadline);
            let effects = self.session.tick(self.now);
            let settled = self.session.deadline().is_none_or(|next| next > self.now);
            assert!(settled || !effects.is_empty(), "a deadline that has passed does something");
            self.judge(effects);
        }
        self.now = end;
    }

    fn say(&mut self, record: &Record<'_>) {
        let payload = Bytes::copy_from_slice(record.payload);
        let frame = Frame::request(record.asker(), PAYLOAD, 5, record.command, payload.clone());
        let question = serial::question(&frame);
        let effects = match Command::parse(record.command, &payload) {
            Ok(command) => {
                if let Command::DcftpData { place: Place::Number(number), data } = &command {
                    self.offered.push((*number, data.clone()));
                }
                self.session.command(question, command, self.now)
            }
            Err(ParseError::Malformed(malformed)) => {
                let effects = self.session.malformed(question, malformed, self.now);
                assert!(
                    effects.iter().all(|effect| matches!(effect, Effect::Answer(..))),
                    "what is malformed changes nothing"
                );
                effects
            }
            Err(ParseError::Unknown) => Vec::new(),
        };
        self.judge(effects);
    }

    /// The engine's own steps: started, restarting, on trial, ended.
    fn go_on(&mut self, fails: bool) {
        let Some(work) = &mut self.view.work else { return };
        work.phase = match work.phase {
            Phase::Preparing => Phase::Receiving,
            Phase::Installing => Phase::Restarting,
            Phase::Restarting => Phase::Trial,
            Phase::Trial => Phase::Concluded,
            other => other,
        };
        work.seconds_left = (work.phase == Phase::Restarting).then_some(180);
        if fails || work.phase == Phase::Concluded {
            let result =
                if fails { StatusPush::Failed(Reason::Failure) } else { StatusPush::Succeeded };
            self.view.report = Some(PendingReport { id: work.id.clone(), result });
            self.view.work = None;
        }
        self.show();
    }

    fn show(&mut self) {
        self.check_passed |= self.view.work.is_some();
        let effects = self.session.event(Event::Status(self.view.clone()), self.now);
        self.judge(effects);
    }

    /// Does what the session asked for, well or badly.
    fn finish(&mut self, effect: Effect, record: &Record<'_>) -> Event {
        let result = || {
            if record.has(1) {
                Err(Failure::new(FailureKind::Internal, "it failed"))
            } else {
                Ok(())
            }
        };
        match effect {
            Effect::Enter { .. } => Event::Entered(result().map(|()| self.enter(record.has(3)))),
            Effect::Receive(..) => Event::Opened(result().map(|()| 0)),
            Effect::Store(_) => Event::Stored(result()),
            Effect::FinishReception(_) => Event::Finished(result()),
            Effect::CheckAndStart(_) => {
                self.check_passed |= !record.has(1);
                if let Some(work) = self.view.work.as_mut().filter(|_| !record.has(1)) {
                    work.phase = Phase::Installing;
                }
                Event::Decided(result().map_err(if record.has(5) {
                    Rejection::StartFailed
                } else {
                    Rejection::CheckFailed
                }))
            }
            other => unreachable!("{other:?} is not waited for"),
        }
    }

    fn enter(&mut self, ftp: bool) -> (UpgradeId, Offered) {
        self.upgrades += 1;
        let id = UpgradeId(self.upgrades.to_string());
        let (offered, transfer) = if ftp {
            (Offered::Ftp, TransferKind::Ftp)
        } else {
            (Offered::Dcftp, TransferKind::Dcftp)
        };
        let work = Work {
            id: id.clone(),
            transfer,
            phase: Phase::Preparing,
            received: 0,
            seconds_left: None,
        };
        (self.view.work, self.view.report) = (Some(work), None);
        (id, offered)
    }

    fn judge(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match &effect {
                Effect::Answer(question, answer) => {
                    let frame = serial::response(*question, *answer);
                    self.judge_answer(&frame.expect("only requests are made"));
                }
                Effect::Push(_) => {}
                Effect::Acknowledge => self.view.report = None,
                Effect::Discard => self.open = None,
                Effect::ReceptionFailed(id, _) => {
                    self.open = None;
                    if let Some(work) = self
                        .view
                        .work
                        .as_mut()
                        .filter(|work| work.id == *id && work.phase == Phase::Receiving)
                    {
                        work.phase = Phase::Preparing;
                    }
                }
                Effect::GiveUp(id, _) => {
                    self.open = None;
                    self.view.work = self.view.work.take().filter(|work| work.id != *id);
                }
                Effect::Enter { .. } | Effect::FinishReception(_) => self.open = None,
                Effect::Receive(_, offer) => self.open = Some((offer.size.into(), 0, 0)),
                Effect::Store(data) => self.judge_chunk(data),
                Effect::Reject(..) => unreachable!("no host is answered ahead"),
                Effect::CheckAndStart(_) => {
                    (self.check_asked, self.check_passed, self.open) =
                        (Some(self.now), false, None);
                }
            }
            let is_work = !matches!(
                effect,
                Effect::Answer(..)
                    | Effect::Push(_)
                    | Effect::Acknowledge
                    | Effect::Discard
                    | Effect::ReceptionFailed(..)
                    | Effect::GiveUp(..)
            );
            if is_work {
                // An operation that nobody waits for any more is dropped by whoever performs it.
                self.pending.clear();
                self.pending.push_back(effect);
            }
        }
    }

    fn judge_chunk(&mut self, data: &Bytes) {
        let (announced, taken, chunks) =
            self.open.as_mut().expect("data is taken only while a file is received");
        assert!(
            self.offered.contains(&(*chunks, data.clone())),
            "the chunk in its turn, as it was sent"
        );
        *taken += data.len() as u64;
        *chunks += 1;
        assert!(*taken <= *announced, "never more than announced");
    }

    fn judge_answer(&self, frame: &Frame) {
        assert!(
            frame.kind == Kind::Response && frame.sender == PAYLOAD && frame.payload.len() <= 71
        );
        if frame.command == id::CHECK && frame.payload[..] == [guess::CHECK_PASSED_AND_STARTED] {
            let waited = self.check_asked.map_or(Duration::ZERO, |asked| self.now - asked);
            assert!(
                self.check_passed || waited >= guess::HOST_WAIT_FOR_CHECK,
                "started only if the check passed or the host's time did"
            );
        }
    }
}
