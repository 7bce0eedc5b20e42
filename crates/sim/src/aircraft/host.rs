//! The host's end of the conversation: requests with their repetitions, answers to probes, and
//! everything that is noticed on the way. It knows the order of nothing.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::verdict::{PhaseTime, Pushes, Result as Ending, Step, Transfer, Verdict};
use super::words::{self, Status};
use super::{Device, Model, Options, Patience, Stage, Trouble, Version};
use crate::frame::{Command, Frame, Kind, LONGEST_FRAME};
use crate::line::{Line, Received};

/// Routes that are told; a payload has three.
const MOST_ROUTES: usize = 8;
/// The longest answer of the link (where to put the file), with its frame.
const LONGEST_ANSWER: usize = 84;
/// How many pushes are kept that came during a pause; one comes every second, and equal ones in a
/// row count as one.
const MOST_WAITING: usize = 256;

/// One host, one payload, one upgrade.
pub(super) struct Host<'a> {
    line: Line,
    model: Model,
    address: Device,
    /// The payload's, learned from its presence.
    payload: Option<Device>,
    patience: Patience,
    abort_at: Option<Stage>,
    pauses: &'a [(Stage, Duration)],
    steps: &'a mut dyn FnMut(&Step),
    sequence: u16,
    /// The routes on which a payload asked, and whether they were answered; each is told once.
    asked: Vec<(Device, Device, bool)>,
    stage: Stage,
    stage_begun: Instant,
    phases: Vec<PhaseTime>,
    gated: Vec<Stage>,
    /// Pushes that came while nobody asked for any.
    waiting: VecDeque<Status>,
    last_push: Option<Instant>,
    pushes: Pushes,
    repeats: u32,
    version_before: Option<Version>,
    version_after: Option<Version>,
    transfer: Option<Transfer>,
    bytes: u64,
}

/// What a request brought.
pub(super) enum Reply {
    Answer(Vec<u8>),
    Status(Status),
}

/// What listening brought.
enum Heard {
    Answer(Vec<u8>),
    Status(Status),
    SignOfLife,
    Other,
    Silence,
}

impl<'a> Host<'a> {
    pub(super) fn new(line: Line, options: &'a Options, steps: &'a mut dyn FnMut(&Step)) -> Self {
        Self {
            line,
            model: options.aircraft,
            address: Device(options.address),
            payload: None,
            patience: options.patience,
            abort_at: options.abort_at,
            pauses: &options.pauses,
            steps,
            sequence: 0,
            asked: Vec::new(),
            stage: Stage::Probe,
            stage_begun: Instant::now(),
            phases: Vec::new(),
            gated: Vec::new(),
            waiting: VecDeque::new(),
            last_push: None,
            pushes: Pushes::default(),
            repeats: 0,
            version_before: None,
            version_after: None,
            transfer: None,
            bytes: 0,
        }
    }

    /// Tells a step, and remembers of it what the verdict needs.
    pub(super) fn tell(&mut self, step: &Step) {
        match step {
            Step::Runs { version } => self.version_before = Some(*version),
            Step::RunsNow { version } => self.version_after = Some(*version),
            Step::Entered { transfer, .. } => self.transfer = Some(*transfer),
            Step::Transferred { bytes, .. } => self.bytes = *bytes,
            _ => {}
        }
        (self.steps)(step);
    }

    /// A part of the upgrade begins; its time counts from now.
    pub(super) fn begin(&mut self, stage: Stage) {
        if stage == self.stage {
            return;
        }
        let now = Instant::now();
        self.phases.push(PhaseTime { stage: self.stage, time: now - self.stage_begun });
        (self.stage, self.stage_begun) = (stage, now);
    }

    /// A part is reached: pauses or aborts here if that was asked for, once.
    pub(super) fn reach(&mut self, stage: Stage) -> Result<(), Trouble> {
        if self.gated.contains(&stage) {
            return Ok(());
        }
        self.gated.push(stage);
        if self.abort_at == Some(stage) {
            return Err(Trouble::Aborted(stage));
        }
        let pause = self.pause_at(stage);
        self.idle(Instant::now() + pause);
        Ok(())
    }

    /// How long to pause at this stage.
    pub(super) fn pause_at(&self, stage: Stage) -> Duration {
        self.pauses.iter().filter(|(at, _)| *at == stage).map(|(_, pause)| *pause).sum()
    }

    /// Waits until the payload says that it is there; its probes alone do not show that it can be
    /// upgraded.
    pub(super) fn wait_for_payload(&mut self) -> Result<(), Trouble> {
        let deadline = Instant::now() + self.patience.link;
        let is_asked = |host: &Self| host.falls_silent_at_probe() && !host.asked.is_empty();
        while self.payload.is_none() && !is_asked(self) {
            if matches!(self.hear(deadline, None), Heard::Silence) {
                return Err(self.not_linked());
            }
        }
        Ok(())
    }

    /// What was seen of a payload that did not link.
    fn not_linked(&self) -> Trouble {
        let within = self.patience.link;
        match &self.asked[..] {
            [] => Trouble::NotLinked(within),
            asked if asked.iter().any(|(_, _, answered)| *answered) => {
                Trouble::NotPresent { within }
            }
            _ => Trouble::OtherRoutes { within },
        }
    }

    fn falls_silent_at_probe(&self) -> bool {
        self.abort_at == Some(Stage::Probe)
    }

    /// Only answers probes until `deadline`. What the payload pushes meanwhile waits for
    /// [`Host::next_status`].
    pub(super) fn idle(&mut self, deadline: Instant) {
        loop {
            match self.hear(deadline, None) {
                Heard::Status(status) => self.keep(status),
                Heard::Silence => return,
                _ => {}
            }
        }
    }

    fn keep(&mut self, status: Status) {
        if self.waiting.back() == Some(&status) {
            return;
        }
        if self.waiting.len() == MOST_WAITING {
            self.waiting.pop_front();
        }
        self.waiting.push_back(status);
    }

    /// What was pushed until now is of no interest.
    pub(super) fn forget_pushes(&mut self) {
        self.waiting.clear();
    }

    /// The next status push, or `None` at the deadline.
    pub(super) fn next_status(&mut self, deadline: Instant) -> Option<Status> {
        if let Some(status) = self.waiting.pop_front() {
            return Some(status);
        }
        loop {
            match self.hear(deadline, None) {
                Heard::Status(status) => return Some(status),
                Heard::Silence => return None,
                _ => {}
            }
        }
    }

    /// Sends without waiting for an answer.
    pub(super) fn send(&mut self, command: Command, payload: Vec<u8>) -> Result<(), Trouble> {
        let request = self.next_request(command, payload);
        Ok(self.line.send(&request)?)
    }

    /// Asks, again and again if need be, and returns the answer.
    pub(super) fn request(
        &mut self,
        command: Command,
        payload: Vec<u8>,
    ) -> Result<Vec<u8>, Trouble> {
        match self.ask(command, payload, self.patience.answer, |_| false)? {
            Reply::Answer(answer) => Ok(answer),
            // No status was asked for.
            Reply::Status(_) => {
                Err(Trouble::NoAnswer { command, attempts: self.patience.attempts })
            }
        }
    }

    /// Asks for "check and start". A status push that only a started payload sends is as good as
    /// its answer: that may have been lost, and the payload may have restarted and forgotten the
    /// request since.
    pub(super) fn request_start(&mut self) -> Result<Reply, Trouble> {
        let shows_start = |status| !matches!(status, Status::End(reason) if !reason.is_success());
        self.ask(words::START, Vec::new(), self.patience.check, shows_start)
    }

    /// All repetitions carry one sequence number, so that an answer to any of them is the answer,
    /// and a late one is never taken for the answer to something else.
    fn ask(
        &mut self,
        command: Command,
        payload: Vec<u8>,
        wait: Duration,
        is_reply: impl Fn(Status) -> bool,
    ) -> Result<Reply, Trouble> {
        let request = self.next_request(command, payload);
        // A payload that is just sending something else answers behind that.
        let on_the_wire =
            self.line.wire_time(LONGEST_ANSWER.max(request.length()).min(LONGEST_FRAME));
        let mut wait = wait;
        for attempt in 0..self.patience.attempts {
            self.repeats += u32::from(attempt > 0);
            self.line.send(&request)?;
            let deadline = Instant::now() + wait + on_the_wire;
            wait = (wait * 2).min(self.patience.longest_answer);
            loop {
                match self.hear(deadline, Some(&request)) {
                    Heard::Answer(answer) => return Ok(Reply::Answer(answer)),
                    Heard::Status(status) if is_reply(status) => return Ok(Reply::Status(status)),
                    Heard::Silence => break,
                    _ => {}
                }
            }
        }
        Err(Trouble::NoAnswer { command, attempts: self.patience.attempts })
    }

    fn next_request(&mut self, command: Command, payload: Vec<u8>) -> Frame {
        self.sequence = self.sequence.wrapping_add(1);
        // Nothing is asked before the payload has told its address.
        let payload_address = self.payload.unwrap_or(Device(0));
        Frame {
            sender: self.address,
            receiver: payload_address,
            sequence: self.sequence,
            kind: Kind::Request,
            command,
            payload,
        }
    }

    fn hear(&mut self, deadline: Instant, request: Option<&Frame>) -> Heard {
        match self.line.receive(deadline) {
            Received::Frame(frame) => self.notice(&frame, request),
            Received::Silence => Heard::Silence,
            Received::Lost => {
                self.tell(&Step::PortLost);
                Heard::Other
            }
            Received::Opened => {
                self.tell(&Step::PortOpened);
                Heard::Other
            }
        }
    }

    fn notice(&mut self, frame: &Frame, request: Option<&Frame>) -> Heard {
        let for_me = frame.receiver == self.address || frame.receiver == words::AIRCRAFT_SIDE;
        match (frame.kind, frame.command) {
            (Kind::Request, words::PROBE) => self.answer_probe(frame),
            (Kind::Response, _) if request.is_some_and(|request| is_answer(frame, request)) => {
                Heard::Answer(frame.payload.clone())
            }
            (Kind::Push, words::PRESENCE) if words::is_presence(&frame.payload) => {
                self.pushes.presence += 1;
                if self.payload.replace(frame.sender) != Some(frame.sender) {
                    self.tell(&Step::Linked { device: frame.sender });
                }
                Heard::SignOfLife
            }
            (Kind::Push, words::STATUS) if for_me => match Status::read(&frame.payload) {
                Some(status) => self.count(frame.receiver, status),
                None => Heard::Other,
            },
            _ => Heard::Other,
        }
    }

    /// An aircraft is silent on the routes of other aircraft: a payload takes the first answer for
    /// its port.
    fn answer_probe(&mut self, probe: &Frame) -> Heard {
        let (from, to) = (probe.sender, probe.receiver);
        let answers = self.model.answers(from, to) && !self.falls_silent_at_probe();
        if answers && self.line.send(&probe.answer(vec![self.model.code()])).is_err() {
            return Heard::Other;
        }
        if !self.asked.contains(&(from, to, answers)) && self.asked.len() < MOST_ROUTES {
            self.asked.push((from, to, answers));
            self.tell(&if answers {
                Step::Answered { from, to }
            } else {
                Step::NotAnswered { from, to }
            });
        }
        Heard::SignOfLife
    }

    /// The payload pushes to two receivers; what is meant for the other one helps when ours was
    /// lost, but is not counted.
    fn count(&mut self, receiver: Device, status: Status) -> Heard {
        if receiver == self.address {
            match status {
                Status::Ongoing { .. } => self.pushes.ongoing += 1,
                Status::Rebooting { .. } => self.pushes.reboot += 1,
                Status::End(_) => self.pushes.end += 1,
            }
            self.measure_gap(status);
        }
        Heard::Status(status)
    }

    /// From now on a push is due every second.
    pub(super) fn pushes_are_due(&mut self) {
        self.last_push = Some(Instant::now());
    }

    fn measure_gap(&mut self, status: Status) {
        let Some(last) = self.last_push else { return };
        let now = Instant::now();
        self.pushes.longest_gap = self.pushes.longest_gap.max(now - last);
        self.last_push = matches!(status, Status::Ongoing { .. }).then_some(now);
    }

    pub(super) fn patience(&self) -> Patience {
        self.patience
    }

    /// A payload can't be blamed for its silence where there is no line.
    fn with_cause(&mut self, trouble: Trouble) -> Trouble {
        if !trouble.is_silence() {
            return trouble;
        }
        self.line.take_trouble().map_or(trouble, Trouble::NoPort)
    }

    pub(super) fn into_verdict(mut self, ended: Result<(), Trouble>) -> Verdict {
        self.phases.push(PhaseTime { stage: self.stage, time: self.stage_begun.elapsed() });
        let ended = ended.map_err(|trouble| self.with_cause(trouble));
        let (result, reason) = match &ended {
            Ok(()) => (Ending::Success, None),
            Err(Trouble::Aborted(_)) => (Ending::Aborted, None),
            Err(trouble) => (Ending::Failure, trouble.reason()),
        };
        Verdict {
            aircraft: self.model,
            device: self.payload,
            result,
            message: ended.map_or_else(
                |trouble| trouble.to_string(),
                |()| "the payload runs the new firmware".to_owned(),
            ),
            reason,
            reached: self.stage,
            version_before: self.version_before,
            version_after: self.version_after,
            transfer: self.transfer,
            bytes: self.bytes,
            phases: self.phases,
            pushes: self.pushes,
            repeats: self.repeats,
        }
    }
}

fn is_answer(frame: &Frame, request: &Frame) -> bool {
    frame.command == request.command
        && frame.sequence == request.sequence
        && frame.receiver == request.sender
        && frame.sender == request.receiver
}
