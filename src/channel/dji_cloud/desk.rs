//! The platform's requests between the two sides: commands come, answers and an offer go out; what
//! became of the offer comes back. What must be known again is durable before it is said.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::record::{Ending, Job, Record, Verdict};
use super::words::{Call, Code, Entry, Fares, Refusal, Said, Service, Status, Voice, service};
use crate::channel::kept::{Kept, Writing};
use crate::channel::offer::{Action, Install, Offer, Telling, What};
use crate::channel::platform::Standing;
use crate::model::version::Version;
use crate::model::{ChannelState, ComponentName};
use crate::policy::clock::since_1970;

/// The record's file.
const FILE: &str = "dji-cloud.json";
/// How long a command waits for the daemon: the platform sends it three times in 9 s, and gives up.
const PATIENCE: Duration = Duration::from_secs(10);
/// Answers that wait to be said; whoever sends more commands at once is not answered.
const MOST_ANSWERS: usize = 32;

/// The requests of one platform.
pub(crate) struct Desk {
    kept: Kept<Record>,
    voice: Arc<Voice>,
    /// A request that the daemon has not begun yet, and since when.
    asked: Option<(Job, Instant)>,
    /// How the one that is worked on fares.
    fares: Option<Fares>,
    answers: Vec<Said>,
    /// What runs.
    pub(crate) versions: BTreeMap<ComponentName, Version>,
    /// How the channel stands.
    pub(crate) standing: Standing,
}

impl Desk {
    /// With what is known from before.
    pub(crate) fn open(directory: PathBuf, voice: Arc<Voice>) -> Self {
        let kept = Kept::<Record>::open(directory, FILE);
        let fares = kept.get().job.as_ref().map(|job| job.fares);
        Self {
            kept,
            voice,
            asked: None,
            fares,
            answers: Vec::new(),
            versions: BTreeMap::new(),
            standing: Standing {
                state: ChannelState::Waits,
                sentence: "its broker was not reached yet".to_owned(),
            },
        }
    }

    /// A command has come.
    pub(crate) fn command(&mut self, bytes: &[u8], is_retained: bool, now: Instant) {
        self.forget_unheard(now);
        let voice = &self.voice;
        match service(bytes, |sn| voice.component(sn).is_some()) {
            Err(senseless) => tracing::warn!("{senseless}: it can't be answered"),
            Ok(Service { call, asked: Err(Refusal { code, why }) }) => {
                tracing::warn!(
                    "the platform's {:?} is refused with {}: {why}",
                    call.method,
                    code.0
                );
                self.answer(&call, code, Some(Status::Rejected));
            }
            Ok(Service { call, asked: Ok(entries) }) => {
                self.asked_for(call, entries, is_retained, now);
            }
        }
    }

    fn asked_for(&mut self, call: Call, entries: Vec<Entry>, is_retained: bool, now: Instant) {
        if let Some((job, _)) = &mut self.asked {
            // Of several sends the platform waits for the answer to the last one.
            if job.is_for(&entries) {
                job.call = call;
            } else {
                self.answer(&call, Code::BUSY, Some(Status::Rejected));
            }
            return;
        }
        match self.kept.get().verdict(&call, &entries, is_retained) {
            Verdict::New => self.take(Job::new(call, entries), now),
            Verdict::Again => {
                // The upgrade itself is durable: its answer need not wait for another name of it.
                self.kept.note(|record| record.again(call.clone()));
                let status = self.fares.map_or(Status::InProgress, |fares| fares.status);
                self.answer(&call, Code::OK, Some(status));
            }
            Verdict::Ended(status, code) => self.answer(&call, code, Some(status)),
            Verdict::Busy => self.answer(&call, Code::BUSY, Some(Status::Rejected)),
            Verdict::Stale => {
                tracing::info!("a command that the broker has kept from before is passed over");
            }
        }
    }

    fn take(&mut self, job: Job, now: Instant) {
        if !job.entries.iter().all(|entry| self.runs(entry)) {
            tracing::info!("the platform asks for {}", versions(&job));
            self.asked = Some((job, now));
            return;
        }
        tracing::info!("the platform asks for {}, which runs already", versions(&job));
        let (call, last) = (job.call.clone(), job.entries.len().saturating_sub(1));
        self.begin(Job { next: last, ..job });
        self.answer(&call, Code::OK, Some(Status::InProgress));
        self.becomes(&What::Succeeded { sentence: String::new() });
    }

    /// Whether this device tells that version of itself.
    fn runs(&self, entry: &Entry) -> bool {
        let component = self.voice.component(&entry.sn);
        let version = component.and_then(|component| self.versions.get(&component));
        version.is_some_and(|version| self.voice.version(*version) == entry.product_version)
    }

    /// What the daemon did not hear in time, nobody waits for any more. Whether there was such.
    pub(crate) fn forget_unheard(&mut self, now: Instant) -> bool {
        let unheard = self.asked.take_if(|(_, since)| *since + PATIENCE <= now);
        if let Some((job, _)) = &unheard {
            tracing::warn!("{} is not upgraded to: the daemon did not answer", versions(job));
        }
        unheard.is_some()
    }

    /// When the command is forgotten that waits for the daemon.
    pub(crate) fn unheard_until(&self) -> Option<Instant> {
        self.asked.as_ref().map(|(_, since)| *since + PATIENCE)
    }

    /// What is wanted.
    pub(crate) fn wanted(&self) -> Option<Offer> {
        let job = self.asked.as_ref().map(|(job, _)| job).or(self.kept.get().job.as_ref())?;
        let action = Action::try_from(job.action()).ok()?;
        let entry = job.entries.get(job.next)?;
        let files = vec![entry.file(self.voice.product(&entry.sn))];
        Some(Offer { action, files, install: Install::Now })
    }

    /// What became of it.
    pub(crate) fn tell(&mut self, telling: &Telling) {
        let Telling { action, what } = telling;
        let is_it = |job: &Job| job.action() == action.as_str();
        if let Some((job, _)) = self.asked.take_if(|(job, _)| is_it(job)) {
            match what {
                What::Failed { failure, .. } => {
                    tracing::info!("{} is refused: {failure}", versions(&job));
                    return self.refuse(job, Code::of(failure.kind));
                }
                What::Cancelled => return self.refuse(job, Code::UNKNOWN),
                _ => {}
            }
            let call = job.call.clone();
            // DJ-8: what is answered is durable.
            self.begin(job);
            self.answer(&call, Code::OK, Some(Status::InProgress));
        }
        if self.kept.get().job.as_ref().is_some_and(is_it) {
            return self.becomes(what);
        }
        let name = action.as_str().split('.').next().unwrap_or_default();
        let is_known = self.kept.get().has_ended(name)
            || self.kept.get().job.as_ref().is_some_and(|job| job.name == name);
        if !is_known {
            tracing::warn!("an upgrade has ended that no request here is of");
        }
    }

    fn begin(&mut self, job: Job) {
        self.fares = Some(job.fares);
        self.kept.change(|record| record.begin(job));
    }

    fn refuse(&mut self, job: Job, code: Code) {
        let call = job.call.clone();
        self.kept.change(|record| record.refuse(job, code));
        self.answer(&call, code, Some(Status::Rejected));
    }

    /// The request fares like this now, or has ended.
    fn becomes(&mut self, what: &What) {
        let Some(job) = &self.kept.get().job else { return };
        let fares = job.after(self.fares.unwrap_or(job.fares), what);
        let has_more = job.next + 1 < job.entries.len();
        match what {
            What::Succeeded { .. } if has_more => {
                self.fares = Some(fares);
                self.kept.change(|record| record.go_on(fares));
            }
            what if what.is_final() => {
                let (code, why) = match what {
                    What::Succeeded { .. } => (Code::OK, "it runs".to_owned()),
                    What::Failed { failure, .. } => (Code::of(failure.kind), failure.to_string()),
                    _ => (Code::UNKNOWN, "it was given up".to_owned()),
                };
                tracing::info!("the platform hears {} of {}: {why}", code.0, versions(job));
                self.fares = None;
                self.kept.change(|record| record.end(fares, code, uuid()));
            }
            _ => self.fares = Some(fares),
        }
    }

    fn answer(&mut self, call: &Call, code: Code, status: Option<Status>) {
        if self.answers.len() < MOST_ANSWERS {
            self.answers.push(self.voice.reply(call, code, status, timestamp()));
        } else {
            tracing::warn!("more commands come at once than can be answered");
        }
    }

    /// Answers that were not said yet.
    pub(crate) fn answers(&mut self) -> Vec<Said> {
        std::mem::take(&mut self.answers)
    }

    /// The request that is worked on, by the platform's name, and how it fares.
    pub(crate) fn at_work(&self) -> Option<(&str, Fares)> {
        let job = self.kept.get().job.as_ref()?;
        Some((&job.call.bid, self.fares.unwrap_or(job.fares)))
    }

    /// The platform is told this next.
    pub(crate) fn fares(&mut self, bid: &str, fares: Fares) {
        self.kept.change(|record| record.fares(bid, fares));
    }

    /// Ends that the platform may not know.
    pub(crate) fn endings(&self) -> &[Ending] {
        &self.kept.get().endings
    }

    /// An end is told once more.
    pub(crate) fn told(&mut self, tid: &str) {
        self.kept.change(|record| record.told(tid));
    }

    /// An end was not told after all.
    pub(crate) fn not_told(&mut self, tid: &str) {
        self.kept.change(|record| record.not_told(tid));
    }

    /// What is known and would not outlive the process.
    pub(crate) fn noted(&mut self) -> Option<Writing> {
        self.kept.noted()
    }

    /// The platform has answered to this message of ours, or was told it often enough.
    pub(crate) fn heard(&mut self, tid: &str) {
        self.kept.change(|record| record.heard(tid));
    }
}

fn versions(job: &Job) -> String {
    let shown = |entry: &Entry| {
        let version: String = entry.product_version.chars().take(64).collect();
        format!("{version:?} of {}", entry.sn)
    };
    job.entries.iter().map(shown).collect::<Vec<_>>().join(" and ")
}

/// By this device's clock, which may stand in 1970.
pub(crate) fn timestamp() -> u64 {
    let since = since_1970().unwrap_or_default().as_millis();
    u64::try_from(since).unwrap_or_default()
}

/// A name that nobody else chooses (version 4 of RFC 9562).
pub(crate) fn uuid() -> String {
    let random = fastrand::u128(..);
    let marked = random & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let hex = format!("{marked:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}
