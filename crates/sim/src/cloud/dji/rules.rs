//! What gateways must keep, as a judge who sees each message with its time. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longest wait for an answer to a command.
const ANSWER: Duration = Duration::from_secs(3);
/// A device of which nothing was heard for so long counts as gone (DJ-17).
const ONLINE: Duration = Duration::from_secs(60);
/// Longest silence while an upgrade is worked on.
const RHYTHM: Duration = Duration::from_secs(60);
/// Words that end an upgrade.
const FINAL: [&str; 5] = ["ok", "rejected", "failed", "canceled", "timeout"];
/// The other words.
const OPEN: [&str; 3] = ["sent", "in_progress", "paused"];

/// What was broken.
pub(super) type Fault = (&'static str, String);

/// Sees all, and remembers what it needs.
#[derive(Debug, Default)]
pub(super) struct Judge {
    /// Commands that were sent, by their tid.
    sent: BTreeMap<String, (String, String, Instant)>,
    /// Which were answered.
    answered: BTreeMap<String, u32>,
    /// When each device was last heard of.
    heard: BTreeMap<String, Instant>,
    /// How upgrades fare, by bid.
    upgrades: BTreeMap<String, Upgrade>,
}

#[derive(Debug)]
struct Upgrade {
    status: String,
    result: i64,
    percent: i64,
    at: Instant,
    told_final: u32,
}

/// What a progress event says.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Told {
    pub(super) status: String,
    pub(super) percent: i64,
    pub(super) step: Option<Value>,
    pub(super) result: i64,
    pub(super) is_online: bool,
    /// How often this end was told, this time with it; 0 where it is none.
    pub(super) times: u32,
}

impl Judge {
    pub(super) fn sent(&mut self, tid: &str, bid: &str, method: &str, now: Instant) {
        self.sent.insert(tid.to_owned(), (bid.to_owned(), method.to_owned(), now));
    }

    /// A device is there.
    pub(super) fn heard_of(&mut self, sn: &str, now: Instant) {
        self.heard.insert(sn.to_owned(), now);
    }

    pub(super) fn is_online(&self, sn: &str, now: Instant) -> bool {
        self.heard.get(sn).is_some_and(|heard| now.duration_since(*heard) < ONLINE)
    }

    /// An answer to a command: how long it took.
    pub(super) fn replied(&mut self, message: &Value, now: Instant) -> (Duration, Vec<Fault>) {
        let text = |name: &str| message[name].as_str().unwrap_or_default();
        let Some((bid, method, sent)) = self.sent.get(text("tid")) else {
            return (Duration::ZERO, vec![("DJ-1", format!("an answer to nothing: {message}"))]);
        };
        let mut faults = Vec::new();
        if bid != text("bid") || method != text("method") {
            faults.push(("DJ-1", format!("the answer to {method} {bid} is of another: {message}")));
        }
        if message["data"]["result"].as_i64().is_none() {
            faults.push(("2.3", format!("an answer without a code: {message}")));
        }
        let took = now.duration_since(*sent);
        if took > ANSWER {
            faults.push(("DJ-8", format!("{method} {bid} was answered after {took:?}")));
        }
        *self.answered.entry(text("tid").to_owned()).or_default() += 1;
        (took, faults)
    }

    /// A progress event.
    pub(super) fn progress(
        &mut self,
        gateway: &str,
        message: &Value,
        now: Instant,
    ) -> (Option<Told>, Vec<Fault>) {
        let mut faults = Vec::new();
        if message["gateway"].as_str() != Some(gateway) {
            faults.push(("DJ-2", format!("an event without its gateway: {message}")));
        }
        let output = &message["data"]["output"];
        let (status, percent) = (output["status"].as_str(), output["progress"]["percent"].as_i64());
        let (Some(status), Some(percent), Some(result)) =
            (status, percent, message["data"]["result"].as_i64())
        else {
            faults.push(("DJ-11", format!("an event without status or progress: {message}")));
            return (None, faults);
        };
        if !(0..=100).contains(&percent) || !(FINAL.contains(&status) || OPEN.contains(&status)) {
            faults.push(("2.4", format!("an event that is none: {message}")));
        }
        let step = ["step_key", "current_step"].map(|key| &output["progress"][key]);
        let step = step.into_iter().find(|step| !step.is_null()).cloned();
        let is_online = self.is_online(gateway, now);
        let is_final = FINAL.contains(&status);
        if is_final && !is_online {
            faults.push(("DJ-17", "an end that is told before the topology".to_owned()));
        }
        let bid = message["bid"].as_str().unwrap_or_default();
        let before = self.upgrades.get(bid);
        faults.extend(before.map_or_else(Vec::new, |before| {
            against(before, status, result, percent, now.duration_since(before.at))
        }));
        let times = before.map_or(0, |before| before.told_final) + u32::from(is_final);
        let (status, told_final) = (status.to_owned(), times);
        let upgrade = Upgrade { status: status.clone(), result, percent, at: now, told_final };
        self.upgrades.insert(bid.to_owned(), upgrade);
        (Some(Told { status, percent, step, result, is_online, times }), faults)
    }

    /// The properties that are told when they change.
    pub(super) fn state(message: &Value) -> Vec<Fault> {
        let data = &message["data"];
        let has_version = data["firmware_version"].as_str().is_some_and(|text| !text.is_empty());
        if has_version && data["compatible_status"].is_i64() {
            return Vec::new();
        }
        vec![("DJ-15", format!("a state without version and compatibility: {message}"))]
    }
}

/// What a further event of an upgrade breaks.
fn against(
    before: &Upgrade,
    status: &str,
    result: i64,
    percent: i64,
    silence: Duration,
) -> Vec<Fault> {
    let mut faults = Vec::new();
    if FINAL.contains(&before.status.as_str()) {
        if (status, result) != (before.status.as_str(), before.result) {
            faults.push(("DJ-14", format!("{status} {result} after {}", before.status)));
        }
        return faults;
    }
    if percent < before.percent {
        faults.push(("2.4", format!("{percent} % after {} %", before.percent)));
    }
    if silence > RHYTHM {
        faults.push(("DJ-12", format!("no event for {silence:?}")));
    }
    faults
}
