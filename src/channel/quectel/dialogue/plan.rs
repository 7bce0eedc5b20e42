//! A plan of the platform, from its announcement to the word that it may be installed, as far as
//! the module has it.

use std::time::{Duration, Instant};

use super::{Brought, Dialogue, News};
use crate::channel::quectel::words::{Command, Event, FileInfo, Piece, PlanInfo};

/// How long nothing may be heard of a file that the module fetches, of which it tells every 5 s.
const SILENCE: Duration = Duration::from_secs(120);
/// The same of a module that says that it goes on, before it has said so.
const CONFIRMATION: Duration = Duration::from_secs(10);
/// So often a read is tried that the module refuses, or another command of a plan.
const TRIES: u32 = 3;

/// The plan.
#[derive(Debug)]
pub(super) enum Plan {
    None,
    /// It is not answered yet.
    Offered {
        info: PlanInfo,
        told: bool,
        answer: Option<bool>,
    },
    /// It was accepted.
    Runs(Run),
}

#[derive(Debug)]
pub(super) struct Run {
    component: String,
    to: String,
    file: Option<FileInfo>,
    /// The byte that is read next; nothing until it is known how many are here.
    next: Option<u64>,
    at: At,
    /// The module said too early that it is being installed (QT-15).
    is_early: bool,
    tries: u32,
    /// How long what is waited for may take.
    until: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// To be accepted once more.
    Accepting,
    /// The module has not told the file yet.
    Accepted,
    /// It fetches.
    Downloading,
    /// Bytes from `start` on can be read; to `end`, where that is known.
    Piece { start: u64, end: Option<u64> },
    /// All bytes are here, and it was not said what becomes of them.
    Whole,
    /// It is to be told that they are being installed.
    Installing,
    /// It was told, and has not confirmed it.
    Unconfirmed,
    /// It waits for the new version.
    Updating,
}

/// Where a plan goes on that another process has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum Resumed {
    /// The module was to accept it; what file it fetches is not known.
    Accepted,
    /// Of this file some bytes are here.
    Reading(FileInfo, u64),
    /// All bytes are proved.
    Proved,
    /// It is being installed.
    Installing,
}

impl Plan {
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Runs(run) => run.until,
            Self::None | Self::Offered { .. } => None,
        }
    }
}

impl Run {
    fn new(component: String, to: String, at: At) -> Self {
        let (file, next, is_early, tries, until) = (None, None, false, 0, None);
        Self { component, to, file, next, at, is_early, tries, until }
    }

    fn go(&mut self, at: At, until: Option<Instant>) {
        (self.at, self.until, self.tries) = (at, until, 0);
    }

    fn length(&self) -> u64 {
        self.file.as_ref().map_or(0, |file| file.length)
    }

    /// The next command; what keeps it from going on.
    fn next(&mut self, most: u32, room: bool) -> Result<Option<Command>, String> {
        match self.at {
            At::Accepting => Ok(Some(Command::Accept)),
            At::Installing => Ok(Some(Command::Install)),
            At::Piece { start, end } => self.read(start, end, most, room),
            At::Accepted | At::Downloading | At::Whole | At::Unconfirmed | At::Updating => Ok(None),
        }
    }

    fn read(
        &mut self,
        start: u64,
        end: Option<u64>,
        most: u32,
        room: bool,
    ) -> Result<Option<Command>, String> {
        let Some(next) = self.next else { return Ok(None) };
        let length = self.length();
        if next < start {
            return Err(format!("the bytes from {next} to {start} are not to be had any more"));
        }
        let end = end.unwrap_or(length);
        if next >= end {
            if end < length {
                return Ok(Some(Command::NextPiece));
            }
            self.go(At::Whole, None);
            return Ok(None);
        }
        let count = u32::try_from(end - next).map_or(most, |left| left.min(most));
        Ok(room.then_some(Command::Read { start: next, length: count }))
    }

    /// A command was refused; what keeps it from going on.
    fn refused(&mut self, command: &Command, now: Instant) -> Result<(), String> {
        self.tries += 1;
        match (command, self.at) {
            // What is readable after a restart of ours only the module knows.
            (Command::Read { .. }, At::Piece { start, end: None }) => {
                let next = self.next.unwrap_or(start);
                self.at = At::Piece { start: next, end: Some(next) };
                Ok(())
            }
            (Command::Accept, at) if at != At::Accepting => Ok(()),
            // It may have heard the command, though we not its answer.
            (Command::NextPiece, _) => {
                self.go(At::Downloading, Some(now + SILENCE));
                Ok(())
            }
            (Command::Install, _) if self.is_early => {
                self.go(At::Updating, None);
                Ok(())
            }
            _ if self.tries < TRIES => Ok(()),
            _ => Err(format!("the module refuses {command:?}")),
        }
    }
}

impl Dialogue {
    /// Answers the plan that was told last.
    pub(in super::super) fn answer(&mut self, accepts: bool) {
        if let Plan::Offered { answer, .. } = &mut self.plan {
            *answer = Some(accepts);
        }
    }

    /// The plan that is not answered yet.
    pub(in super::super) fn offered(&self) -> Option<&PlanInfo> {
        match &self.plan {
            Plan::Offered { info, told: true, answer: None } => Some(info),
            _ => None,
        }
    }

    /// Whether a plan runs that was accepted, or is about to be.
    pub(in super::super) fn runs(&self) -> bool {
        matches!(&self.plan, Plan::Runs(_) | Plan::Offered { answer: Some(true), .. })
    }

    /// Whether the plan that runs is of this component.
    pub(in super::super) fn is_of(&self, name: &str) -> bool {
        matches!(&self.plan, Plan::Runs(run) if run.component == name)
    }

    /// A plan goes on that another process has begun.
    pub(in super::super) fn resume(&mut self, component: &str, to: &str, how: Resumed) {
        let at = match &how {
            Resumed::Accepted => At::Accepting,
            Resumed::Reading(..) => At::Piece { start: 0, end: None },
            Resumed::Proved => At::Installing,
            Resumed::Installing => At::Updating,
        };
        let mut run = Run::new(component.to_owned(), to.to_owned(), at);
        if let Resumed::Reading(file, next) = how {
            (run.file, run.next) = (Some(file), Some(next));
        }
        self.plan = Plan::Runs(run);
    }

    /// So many bytes of the file are here.
    pub(in super::super) fn begin_at(&mut self, offset: u64) {
        if let Plan::Runs(run) = &mut self.plan {
            run.next = Some(offset);
            // They are to be read once more.
            if run.at == At::Whole && offset < run.length() {
                run.at = At::Piece { start: offset, end: None };
            }
        }
    }

    /// Whether the module waits for the new version.
    pub(in super::super) fn is_updating(&self) -> bool {
        matches!(&self.plan, Plan::Runs(run) if run.at == At::Updating)
    }

    /// Whether a plan waits for this side, and the module has no time in which it must speak.
    pub(super) fn plan_waits(&self) -> bool {
        !matches!(self.plan, Plan::None) && self.plan.deadline().is_none() && !self.is_updating()
    }

    /// What the module fetches.
    pub(in super::super) fn file(&self) -> Option<&FileInfo> {
        match &self.plan {
            Plan::Runs(run) => run.file.as_ref(),
            _ => None,
        }
    }

    /// The file is proved: the module is told that it is being installed (QT-10).
    pub(in super::super) fn install(&mut self) {
        if let Plan::Runs(run) = &mut self.plan
            && matches!(run.at, At::Whole | At::Piece { .. })
        {
            run.go(At::Installing, None);
        }
    }

    pub(super) fn next_of_plan(&mut self, room: bool, _now: Instant) -> Option<Command> {
        // The last word ends the plan.
        if self.is_announcing() {
            return None;
        }
        let next = match &mut self.plan {
            Plan::None => return None,
            Plan::Offered { told: false, .. } => return Some(Command::Signal),
            Plan::Offered { answer, .. } => {
                return answer
                    .map(|accepts| if accepts { Command::Accept } else { Command::Refuse });
            }
            Plan::Runs(run) => run.next(self.most, room),
        };
        next.unwrap_or_else(|why| {
            self.break_off(why);
            None
        })
    }

    fn break_off(&mut self, why: String) {
        self.plan = Plan::None;
        self.news.push_back(News::Broken(why));
    }

    fn end(&mut self, succeeded: bool) {
        self.plan = Plan::None;
        self.news.push_back(News::Over(succeeded));
    }

    pub(super) fn tick_plan(&mut self, now: Instant) {
        let Plan::Runs(run) = &mut self.plan else { return };
        if run.until.is_none_or(|until| until > now) {
            return;
        }
        if run.at == At::Unconfirmed {
            run.go(At::Updating, None);
            self.news.push_back(News::MayInstall);
        } else {
            self.break_off("the module says nothing of the file any more".to_owned());
        }
    }

    /// Section 5.5 of the wire: of a plan only what is being installed outlives the module.
    pub(super) fn plan_after_reset(&mut self) {
        match &self.plan {
            Plan::Runs(run)
                if matches!(run.at, At::Installing | At::Unconfirmed | At::Updating) => {}
            Plan::Runs(_) => self.break_off("the module has started anew".to_owned()),
            Plan::None | Plan::Offered { .. } => self.plan = Plan::None,
        }
    }

    pub(super) fn event(&mut self, event: Event, now: Instant) {
        match event {
            Event::Plan(info) => self.plan_came(info),
            Event::Success => self.end(true),
            Event::Failure => self.end(false),
            event => {
                self.believe_accepted();
                if let Plan::Runs(run) = &mut self.plan
                    && let Err(why) = run.event(event, &mut self.news, now)
                {
                    self.break_off(why);
                }
            }
        }
    }

    /// The module goes on with a plan whose acceptance it has heard, though we not its answer.
    fn believe_accepted(&mut self) {
        if let Plan::Offered { info, answer: Some(true), .. } = &self.plan {
            let (component, to) = (info.component.clone(), info.to.clone());
            self.plan = Plan::Runs(Run::new(component, to, At::Accepted));
        }
    }

    fn plan_came(&mut self, info: PlanInfo) {
        match &self.plan {
            Plan::Runs(Run { component, to, at: At::Accepting | At::Accepted, .. })
            | Plan::Offered { info: PlanInfo { component, to, .. }, answer: Some(true), .. }
                if (component, to) == (&info.component, &info.to) => {}
            Plan::Runs(_) => {
                // A module makes no plan before the last one has ended.
                self.end(false);
                self.plan = Plan::Offered { info, told: false, answer: None };
            }
            Plan::None | Plan::Offered { .. } => {
                self.plan = Plan::Offered { info, told: false, answer: None };
            }
        }
    }

    pub(super) fn answered_of_plan(
        &mut self,
        command: &Command,
        brought: Option<Brought>,
        is_ok: bool,
        now: Instant,
    ) {
        match (&mut self.plan, command) {
            (Plan::Offered { info, told, .. }, Command::Signal) => {
                *told = true;
                let signal = match brought {
                    Some(Brought::Signal(signal)) => signal,
                    _ => None,
                };
                self.news.push_back(News::Plan(info.clone(), signal));
            }
            (Plan::Offered { .. }, Command::Refuse) => {
                self.plan = Plan::None;
                self.news.push_back(News::Refused);
            }
            (Plan::Offered { info, .. }, Command::Accept) if is_ok => {
                let mut run = Run::new(info.component.clone(), info.to.clone(), At::Accepted);
                run.until = Some(now + SILENCE);
                self.plan = Plan::Runs(run);
            }
            (Plan::Offered { .. }, Command::Accept) => {
                self.break_off("the module does not take the acceptance".to_owned());
            }
            (Plan::Runs(run), _) => {
                let done = match is_ok {
                    true => run.done(command, brought, &mut self.news, now),
                    false => run.refused(command, now),
                };
                let may_install = run.at == At::Updating && matches!(command, Command::Install);
                match done {
                    Err(why) => self.break_off(why),
                    Ok(()) if may_install => self.news.push_back(News::MayInstall),
                    Ok(()) => {}
                }
            }
            _ => {}
        }
    }
}

type Told = std::collections::VecDeque<News>;

impl Run {
    /// A command was done; what keeps the plan from going on.
    fn done(
        &mut self,
        command: &Command,
        brought: Option<Brought>,
        news: &mut Told,
        now: Instant,
    ) -> Result<(), String> {
        match (command, self.at) {
            (Command::Accept, At::Accepting) => self.go(At::Accepted, Some(now + SILENCE)),
            (Command::NextPiece, At::Piece { .. }) => {
                self.go(At::Downloading, Some(now + SILENCE));
            }
            (Command::Install, At::Installing) => match self.is_early {
                true => self.go(At::Updating, None),
                false => self.go(At::Unconfirmed, Some(now + CONFIRMATION)),
            },
            (Command::Read { start, length }, At::Piece { .. }) => {
                let fits = |from: u64, count: usize| {
                    from == *start && (1..=*length as usize).contains(&count)
                };
                match brought {
                    Some(Brought::Data { start, bytes }) if fits(start, bytes.len()) => {
                        self.tries = 0;
                        self.next = Some(start + bytes.len() as u64);
                        news.push_back(News::Bytes { start, bytes });
                    }
                    _ => return self.refused(command, now),
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Something happened; what keeps the plan from going on.
    fn event(&mut self, event: Event, news: &mut Told, now: Instant) -> Result<(), String> {
        match event {
            Event::File(file) => self.file_came(file, news, now),
            Event::Downloading => {
                if matches!(self.at, At::Accepted | At::Downloading) {
                    self.go(At::Downloading, Some(now + SILENCE));
                }
                Ok(())
            }
            Event::Piece(piece) => self.piece_came(&piece),
            Event::Updating => {
                if matches!(self.at, At::Unconfirmed) {
                    self.go(At::Updating, None);
                    news.push_back(News::MayInstall);
                } else {
                    self.is_early = true;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn file_came(&mut self, file: FileInfo, news: &mut Told, now: Instant) -> Result<(), String> {
        let is_awaited = matches!(self.at, At::Accepting | At::Accepted | At::Downloading);
        if file.component != self.component || !is_awaited || self.file.as_ref() == Some(&file) {
            return Ok(());
        }
        self.go(At::Downloading, Some(now + SILENCE));
        (self.file, self.next) = (Some(file.clone()), None);
        news.push_back(News::File(file));
        Ok(())
    }

    fn piece_came(&mut self, piece: &Piece) -> Result<(), String> {
        if piece.component != self.component
            || matches!(self.at, At::Installing | At::Unconfirmed | At::Updating | At::Whole)
        {
            return Ok(());
        }
        let Some(file) = &self.file else {
            return Err("the module told nothing of the file before its first piece".to_owned());
        };
        if piece.length != file.length {
            let (was, is) = (file.length, piece.length);
            return Err(format!("the file had {was} bytes, and has {is} now"));
        }
        let Piece { start, size, .. } = *piece;
        if self.next.is_some_and(|next| start > next) {
            return Err(format!(
                "a piece begins with byte {start}, and those before it did not come"
            ));
        }
        self.go(At::Piece { start, end: Some(start + size) }, None);
        Ok(())
    }
}
