//! What is known of the platform's requests, and what each new one comes to. It outlives the process
//! and the boot; nothing here knows a file, a clock or a connection.

use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use super::words::{Call, Code, Entry, Fares, Status};
use crate::channel::offer::What;

/// Ends that wait for the platform; of more than so many the oldest is forgotten.
const MOST_ENDINGS: usize = 8;
/// How often an end is told (DJ-13).
const MOST_TOLD: u8 = 5;

/// What is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The request that is worked on.
    pub(crate) job: Option<Job>,
    /// Ends of which the platform has not said that it knows them.
    pub(crate) endings: Vec<Ending>,
    /// The last request that has ended.
    last: Option<Last>,
}

/// A request that is worked on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Job {
    /// Our name of it, which it keeps when the platform repeats it under others.
    pub(crate) name: String,
    /// As the platform asked for it the last time.
    pub(crate) call: Call,
    /// Its files.
    pub(crate) entries: Vec<Entry>,
    /// Which of them is next.
    pub(crate) next: usize,
    /// How it fares, as far as that was worth writing down.
    pub(crate) fares: Fares,
}

/// An end of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ending {
    /// Name of the message that tells it.
    pub(crate) tid: String,
    /// Of which request.
    pub(crate) bid: String,
    /// How it ended.
    pub(crate) fares: Fares,
    /// With which code.
    pub(crate) code: Code,
    /// How often it was told.
    told: u8,
}

/// The last request that has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Last {
    name: String,
    call: Call,
    status: Status,
    code: Code,
}

/// What a command comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is a new request.
    New,
    /// It is the one that is worked on, once more.
    Again,
    /// It is the one that has ended, once more.
    Ended(Status, Code),
    /// Another one is worked on.
    Busy,
    /// The broker has kept it from before.
    Stale,
}

impl Ending {
    /// Whether it was told often enough (DJ-13).
    pub(crate) fn is_over(&self) -> bool {
        self.told >= MOST_TOLD
    }
}

impl Job {
    /// Of a command that nobody has asked before.
    pub(crate) fn new(call: Call, entries: Vec<Entry>) -> Self {
        let mut hasher = sha2::Sha256::new();
        for text in [&call.tid, &call.bid] {
            hasher.update((text.len() as u64).to_be_bytes());
            hasher.update(text);
        }
        let name = hasher.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Self { name, call, entries, next: 0, fares: Fares::BEGUN }
    }

    /// Whether these are its files (DJ-9).
    pub(crate) fn is_for(&self, entries: &[Entry]) -> bool {
        self.entries.len() == entries.len()
            && self.entries.iter().zip(entries).all(|(one, other)| one.is_same(other))
    }

    /// The name of what is wanted now: of one file alone, since the seal of any may be what names it.
    pub(crate) fn action(&self) -> String {
        format!("{}.{}", self.name, self.next)
    }

    /// How it fares after this.
    #[must_use]
    pub(crate) fn after(&self, fares: Fares, what: &What) -> Fares {
        fares.after(what, self.next, self.entries.len())
    }
}

impl Record {
    /// What a command comes to, where nothing newer than this record is being worked on.
    pub(crate) fn verdict(&self, call: &Call, entries: &[Entry], is_retained: bool) -> Verdict {
        if let Some(job) = &self.job {
            let is_old = is_retained && call.is_no_newer_than(&job.call);
            return match (is_old, job.is_for(entries)) {
                (true, _) => Verdict::Stale,
                (false, true) => Verdict::Again,
                (false, false) => Verdict::Busy,
            };
        }
        match &self.last {
            // MQ-7.
            Some(last) if is_retained && call.is_no_newer_than(&last.call) => Verdict::Stale,
            Some(last) if last.call.bid == call.bid => Verdict::Ended(last.status, last.code),
            _ => Verdict::New,
        }
    }

    /// The request was repeated: what is said of it goes by its latest name.
    pub(crate) fn again(&mut self, call: Call) {
        if let Some(job) = &mut self.job
            && job.call.is_no_newer_than(&call)
        {
            job.call = call;
        }
    }

    /// A request is worked on from now on.
    pub(crate) fn begin(&mut self, job: Job) {
        self.job = Some(job);
    }

    /// Its next file is wanted.
    pub(crate) fn go_on(&mut self, fares: Fares) {
        if let Some(job) = &mut self.job {
            job.next += 1;
            job.fares = fares;
        }
    }

    /// The platform is told that the request of this name fares so. This is written down before it is
    /// said: a percentage must not go back after a power cut.
    pub(crate) fn fares(&mut self, bid: &str, fares: Fares) {
        if let Some(job) = self.job.as_mut().filter(|job| job.call.bid == bid) {
            job.fares = fares;
        }
    }

    /// A request was refused before it was begun: its answer is its end.
    pub(crate) fn refuse(&mut self, job: Job, code: Code) {
        let Job { name, call, .. } = job;
        self.last = Some(Last { name, call, status: Status::Rejected, code });
    }

    /// The request has ended; `tid` names the message that tells so.
    pub(crate) fn end(&mut self, fares: Fares, code: Code, tid: String) {
        let Some(Job { name, call, .. }) = self.job.take() else { return };
        let bid = call.bid.clone();
        self.endings.push(Ending { tid, bid, fares, code, told: 0 });
        let too_many = self.endings.len().saturating_sub(MOST_ENDINGS);
        self.endings.drain(..too_many);
        self.last = Some(Last { name, call, status: fares.status, code });
    }

    /// Whether the request of this name was the last that ended.
    pub(crate) fn has_ended(&self, name: &str) -> bool {
        self.last.as_ref().is_some_and(|last| last.name == name)
    }

    /// An end is told once more. This is written down before it is said: whoever dies each time that
    /// he says it must not say it for ever.
    pub(crate) fn told(&mut self, tid: &str) {
        self.named(tid).for_each(|one| one.told = one.told.saturating_add(1));
    }

    /// An end was not told after all.
    pub(crate) fn not_told(&mut self, tid: &str) {
        self.named(tid).for_each(|one| one.told = one.told.saturating_sub(1));
    }

    fn named<'a>(&'a mut self, tid: &'a str) -> impl Iterator<Item = &'a mut Ending> {
        self.endings.iter_mut().filter(move |one| one.tid == tid)
    }

    /// The platform has answered to this message, or was told it often enough.
    pub(crate) fn heard(&mut self, tid: &str) {
        self.endings.retain(|one| one.tid != tid);
    }
}
