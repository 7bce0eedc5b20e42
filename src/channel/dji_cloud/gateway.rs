//! This device at the platform's broker: that it is here, how it is, how its upgrade fares, and the
//! answers to commands. One task for all of it; what must be durable is written on another thread.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::desk::{Desk, timestamp, uuid};
use super::words::{Code, Fares, Ids, Said, Voice, answer};
use crate::channel::platform::Standing;
use crate::channel::runner::joined;
use crate::config::Serial;
use crate::handover::channel_client::{Own, Watch};
use crate::host::alarm::Alarm;
use crate::model::version::Version;
use crate::model::{ChannelName, ChannelState, ComponentName, Phase};
use crate::wire::mqtt::{Event, Message, NotPublished, Publisher, Qos, Subscription};

/// First pause before the topology, or an end, is told again; then ever longer ones.
const FIRST_AGAIN: Duration = Duration::from_secs(5);
/// Longest such pause.
const LONGEST_AGAIN: Duration = Duration::from_secs(60);
/// Least time between two events of which only the percentage differs (DJ-12).
const PACE: Duration = Duration::from_secs(2);
/// Longest time without an event while an upgrade is worked on (DJ-12).
const RHYTHM: Duration = Duration::from_secs(55);
/// Pause before the daemon is looked for again.
const PAUSE: Duration = Duration::from_millis(500);
/// Messages that wait to be sent; what is told anyway, is told anew later.
const MOST_WAITING: usize = 64;

/// What of the daemon the platform is told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Seen {
    versions: BTreeMap<ComponentName, Version>,
    upgrades: bool,
}

/// How far the way to the platform is open.
#[derive(Debug)]
enum Way {
    /// There is no broker.
    Closed,
    /// It was told that we are here, with this message.
    Asked { tid: String, again: Instant, pause: Duration },
    /// It knows that we are here.
    Open,
}

/// A message on its way.
struct Sending {
    said: Said,
    qos: Qos,
    first: First,
}

/// What is written down before a message is sent.
#[derive(Clone)]
enum First {
    /// Nothing.
    Nothing,
    /// That the request of this name fares so.
    Fares(String, Fares),
    /// That this end is told once more.
    Told(String),
}

type Sent = Pin<Box<dyn Future<Output = (Sending, Result<(), NotPublished>)> + Send>>;

/// Messages that go one after the other: each waits until the broker has the one before it.
#[derive(Default)]
struct Lane {
    waiting: VecDeque<Sending>,
    sent: Option<Sent>,
}

/// The device at the broker. [`Gateway::run`] is its life.
pub(crate) struct Gateway {
    pub(super) voice: Arc<Voice>,
    pub(super) osd: Duration,
    pub(super) desk: Arc<Mutex<Desk>>,
    /// The desk was told something.
    pub(super) told: Arc<Notify>,
    /// There is something new for the daemon.
    pub(super) news: Arc<Notify>,
    pub(super) subscription: Subscription,
    pub(super) publisher: Publisher,
    pub(super) daemon: PathBuf,
}

/// The same at work.
struct Work {
    gateway: Gateway,
    seen: watch::Receiver<Seen>,
    way: Way,
    /// Topics of which nothing will come.
    refused: Vec<String>,
    /// Answers to commands. They wait for nothing else.
    answers: Lane,
    /// All else.
    events: Lane,
    /// What is made durable while all goes on.
    writing: Option<JoinHandle<()>>,
    /// What was told last of each device since the way is open.
    states: BTreeMap<Serial, (Version, bool)>,
    next_osd: Instant,
    /// The last event: of which request, how it fared, and when.
    event: Option<(String, Fares, Instant)>,
    /// When ends are told again, with the pause after that, by the messages that tell them.
    endings: BTreeMap<String, (Instant, Duration)>,
}

impl Gateway {
    /// Stands at the broker until the task is dropped.
    pub(crate) async fn run(self) {
        let (sender, seen) = watch::channel(Seen::default());
        let daemon = self.daemon.clone();
        let work = Work {
            gateway: self,
            seen,
            way: Way::Closed,
            refused: Vec::new(),
            answers: Lane::default(),
            events: Lane::default(),
            writing: None,
            states: BTreeMap::new(),
            next_osd: Instant::now(),
            event: None,
            endings: BTreeMap::new(),
        };
        tokio::join!(follow(&daemon, &sender), work.run());
    }
}

/// Follows the daemon as long as the process lives.
async fn follow(daemon: &Path, seen: &watch::Sender<Seen>) {
    loop {
        if let Ok(mut watch) = Watch::open(daemon, ChannelName::DJI_CLOUD).await {
            while let Ok(own) = watch.next().await {
                seen.send_if_modified(|seen| {
                    let now = seen.after(&own);
                    std::mem::replace(seen, now.clone()) != now
                });
            }
        }
        sleep(PAUSE.mul_f64(1.0 + fastrand::f64())).await;
    }
}

impl Seen {
    /// What is seen now. A version that has not proved itself yet is told to nobody: it may be taken
    /// back.
    fn after(&self, own: &Own) -> Self {
        let phase = own.upgrade.as_ref().map(|upgrade| upgrade.phase);
        let is_unproved = matches!(
            phase,
            Some(Phase::Installing | Phase::Restarting | Phase::Trial | Phase::Reverting)
        );
        // Of another channel's upgrade nothing more is known than that it runs.
        let versions = if is_unproved || (own.busy && !self.versions.is_empty()) {
            self.versions.clone()
        } else {
            let components = own.components.iter();
            components.filter_map(|one| Some((one.component, one.version?))).collect()
        };
        Self { versions, upgrades: own.busy || phase.is_some() }
    }
}

impl Work {
    async fn run(mut self) {
        // How the devices are is told at a steady pace, idle or not.
        let mut alarm = Alarm::default();
        loop {
            let next = self.attend().await;
            tokio::select! {
                // An answer comes before what follows it.
                biased;
                (sending, sent) = self.answers.done() => self.take_sent(sending, sent).await,
                (sending, sent) = self.events.done() => self.take_sent(sending, sent).await,
                event = self.gateway.subscription.next() => match event {
                    Some(event) => self.hear(event).await,
                    None => return,
                },
                () = joined(self.writing.as_mut()) => self.writing = None,
                changed = self.seen.changed() => if changed.is_err() { return },
                () = self.gateway.told.notified() => {}
                () = alarm.until(next) => {}
            }
        }
    }

    async fn hear(&mut self, event: Event) {
        match event {
            Event::Ready { refused } => {
                self.refused = refused;
                self.stands(ChannelState::Waits, "the platform was told that we are here").await;
                self.ask(FIRST_AGAIN);
            }
            Event::Lost { why } => {
                self.way = Way::Closed;
                (self.answers, self.events) = (Lane::default(), Lane::default());
                self.refused.clear();
                self.stands(ChannelState::Waits, &format!("its broker is away: {why}")).await;
            }
            Event::Message(message) => self.take(message).await,
        }
    }

    async fn take(&mut self, message: Message) {
        let Message { topic, payload, is_retained } = message;
        if topic == self.gateway.voice.services() {
            let now = std::time::Instant::now();
            self.durably(move |desk| desk.command(&payload, is_retained, now)).await;
            self.gateway.news.notify_one();
        } else if let Some(answer) = answer(&payload) {
            if topic == self.gateway.voice.status_reply() {
                self.greeted(&answer.tid, answer.result).await;
            } else if self.endings.remove(&answer.tid).is_some() {
                self.durably(move |desk| desk.heard(&answer.tid)).await;
            }
        } else {
            tracing::warn!("an answer of the platform is not understood");
        }
    }

    /// The platform's answer to the topology.
    async fn greeted(&mut self, to: &str, result: i64) {
        if !matches!(&self.way, Way::Asked { tid, .. } if tid == to) {
            return;
        }
        if result != 0 {
            let sentence = format!("the platform does not take our topology: code {result}");
            return self.stands(ChannelState::Fails, &sentence).await;
        }
        self.stands(ChannelState::Works, "the platform knows that we are here").await;
        self.way = Way::Open;
        self.states.clear();
        self.endings.clear();
        self.event = None;
        self.next_osd = Instant::now();
    }

    /// Tells the platform that we are here.
    fn ask(&mut self, pause: Duration) {
        let ids = ids();
        let tid = ids.tid.clone();
        self.send(self.gateway.voice.update_topo(&ids), Qos::AtLeastOnce);
        self.way = Way::Asked { tid, again: Instant::now() + pause, pause };
    }

    /// Says what is due; when the next thing is.
    async fn attend(&mut self) -> Instant {
        let now = Instant::now();
        let mut next = now + LONGEST_AGAIN;
        let desk = Arc::clone(&self.gateway.desk);
        let mut desk = desk.lock().await;
        if desk.forget_unheard(now.into_std()) {
            self.gateway.news.notify_one();
        }
        next = next.min(desk.unheard_until().map_or(next, Instant::from_std));
        for said in desk.answers() {
            self.answers.take(Sending { said, qos: Qos::AtLeastOnce, first: First::Nothing });
        }
        let seen = self.seen.borrow_and_update().clone();
        desk.versions.clone_from(&seen.versions);
        match self.way {
            Way::Closed => {}
            Way::Asked { again, pause, .. } if again <= now => {
                let pause = (pause * 2).min(LONGEST_AGAIN);
                self.ask(pause);
                next = next.min(now + pause);
            }
            Way::Asked { again, .. } => next = next.min(again),
            Way::Open if self.events.waiting.len() > MOST_WAITING / 2 => {
                next = next.min(now + PAUSE);
            }
            Way::Open => {
                next = next.min(self.tell_properties(&seen, &desk, now));
                next = next.min(self.tell_progress(&desk, now));
                next = next.min(self.tell_endings(&desk, now));
            }
        }
        let over: Vec<String> = self.over(&desk);
        if self.writing.is_none() {
            self.writing = desk.noted().map(|noted| tokio::task::spawn_blocking(|| noted.run()));
        }
        drop(desk);
        for tid in over {
            self.durably(move |desk| desk.heard(&tid)).await;
        }
        self.answers.post(&self.gateway);
        self.events.post(&self.gateway);
        next
    }

    /// How the devices are (DJ-15, DJ-16).
    fn tell_properties(&mut self, seen: &Seen, desk: &Desk, now: Instant) -> Instant {
        let upgrades = seen.upgrades || desk.at_work().is_some();
        let voice = Arc::clone(&self.gateway.voice);
        let present = voice.present();
        let version = |sn: &Serial| {
            voice.component(sn.as_str()).and_then(|one| seen.versions.get(&one).copied())
        };
        for sn in &present {
            let Some(version) = version(sn) else { continue };
            if self.states.insert(sn.clone(), (version, upgrades)) != Some((version, upgrades)) {
                self.send(voice.state(sn, version, upgrades, &ids()), Qos::AtLeastOnce);
            }
        }
        if self.next_osd <= now {
            for sn in &present {
                self.send(voice.osd(sn, version(sn), upgrades, &ids()), Qos::AtMostOnce);
            }
            self.next_osd = now + self.gateway.osd;
        }
        self.next_osd
    }

    /// How the upgrade fares (DJ-12).
    fn tell_progress(&mut self, desk: &Desk, now: Instant) -> Instant {
        let Some((bid, fares)) = desk.at_work() else {
            self.event = None;
            return now + RHYTHM;
        };
        let last = self.event.as_ref().filter(|(of, ..)| of == bid);
        let due = last.map_or(now, |(_, told, at)| *at + pause(*told, fares));
        if due > now {
            return due;
        }
        let ids = Ids { bid: bid.to_owned(), ..ids() };
        self.event = Some((bid.to_owned(), fares, now));
        let said = self.gateway.voice.progress(fares, Code::OK, &ids);
        let first = First::Fares(ids.bid, fares);
        self.events.take(Sending { said, qos: Qos::AtLeastOnce, first });
        now + RHYTHM
    }

    /// Ends that were told often enough, and had time to be answered.
    fn over(&self, desk: &Desk) -> Vec<String> {
        let is_due =
            |tid: &String| self.endings.get(tid).is_none_or(|(due, _)| *due <= Instant::now());
        let over = desk.endings().iter().filter(|ending| ending.is_over());
        over.map(|ending| ending.tid.clone()).filter(is_due).collect()
    }

    /// How upgrades have ended, until the platform has answered (DJ-13, DJ-17).
    fn tell_endings(&mut self, desk: &Desk, now: Instant) -> Instant {
        let known = desk.endings();
        self.endings.retain(|tid, _| known.iter().any(|ending| ending.tid == *tid));
        let mut next = now + LONGEST_AGAIN;
        for ending in known {
            let entry = self.endings.entry(ending.tid.clone());
            let (due, pause) = *entry.or_insert((now, FIRST_AGAIN));
            if due > now || ending.is_over() {
                next = next.min(due.max(now));
                continue;
            }
            let doubled = (pause * 2).min(LONGEST_AGAIN);
            self.endings.insert(ending.tid.clone(), (now + pause, doubled));
            next = next.min(now + pause);
            let ids = Ids { tid: ending.tid.clone(), bid: ending.bid.clone(), ..ids() };
            let said = self.gateway.voice.progress(ending.fares, ending.code, &ids);
            let first = First::Told(ending.tid.clone());
            self.events.take(Sending { said, qos: Qos::AtLeastOnce, first });
        }
        next
    }

    async fn take_sent(&mut self, sending: Sending, sent: Result<(), NotPublished>) {
        let Err(why) = sent else { return };
        tracing::info!("{} was not told: {why}", sending.said.topic);
        if let First::Told(tid) = sending.first {
            self.durably(move |desk| desk.not_told(&tid)).await;
        }
    }

    fn send(&mut self, said: Said, qos: Qos) {
        self.events.take(Sending { said, qos, first: First::Nothing });
    }

    /// Changes what must be durable, on a thread that may wait for it.
    async fn durably(&mut self, change: impl FnOnce(&mut Desk) + Send + 'static) {
        durably(Arc::clone(&self.gateway.desk), change).await;
    }

    async fn stands(&mut self, state: ChannelState, sentence: &str) {
        let standing = if self.refused.is_empty() {
            Standing { state, sentence: sentence.to_owned() }
        } else {
            let topics = self.refused.join(", ");
            let sentence = format!("its broker does not let us hear {topics}");
            Standing { state: ChannelState::Fails, sentence }
        };
        self.gateway.desk.lock().await.standing = standing;
        self.gateway.news.notify_one();
    }
}

impl Lane {
    fn take(&mut self, sending: Sending) {
        if self.waiting.len() < MOST_WAITING {
            self.waiting.push_back(sending);
        } else {
            tracing::warn!("the broker is slow: {} is not told", sending.said.topic);
        }
    }

    /// Sends the next one, where none is on its way.
    fn post(&mut self, gateway: &Gateway) {
        if self.sent.is_some() {
            return;
        }
        let Some(sending) = self.waiting.pop_front() else { return };
        let publisher = gateway.publisher.clone();
        let desk = Arc::clone(&gateway.desk);
        self.sent = Some(Box::pin(async move {
            match sending.first.clone() {
                First::Nothing => {}
                First::Fares(bid, fares) => {
                    durably(desk, move |desk| desk.fares(&bid, fares)).await;
                }
                First::Told(tid) => durably(desk, move |desk| desk.told(&tid)).await,
            }
            let Said { topic, payload } = &sending.said;
            let sent = publisher.publish(topic, payload.clone(), sending.qos).await;
            (sending, sent)
        }));
    }

    /// What has become of the one on its way; never where there is none.
    async fn done(&mut self) -> (Sending, Result<(), NotPublished>) {
        let done = match &mut self.sent {
            Some(sent) => sent.as_mut().await,
            None => std::future::pending().await,
        };
        self.sent = None;
        done
    }
}

async fn durably(desk: Arc<Mutex<Desk>>, change: impl FnOnce(&mut Desk) + Send + 'static) {
    let mut thread = tokio::task::spawn_blocking(move || change(&mut desk.blocking_lock()));
    joined(Some(&mut thread)).await;
}

/// Least time between two events (DJ-12).
fn pause(told: Fares, now: Fares) -> Duration {
    if (told.status, told.step) != (now.status, now.step) {
        Duration::ZERO
    } else if told.percent != now.percent {
        PACE
    } else {
        RHYTHM
    }
}

fn ids() -> Ids {
    Ids { tid: uuid(), bid: uuid(), timestamp: timestamp() }
}

#[cfg(test)]
mod tests {
    use super::super::words::{Status, Step};
    use super::*;
    use crate::handover::channels::{OwnComponent, OwnUpgrade};
    use crate::model::{Progress, UpgradeId};

    fn own(version: &str, phase: Option<Phase>, busy: bool) -> Own {
        let component = OwnComponent {
            component: ComponentName::PROGRAM,
            product: "P".to_owned(),
            version: Some(version.parse().unwrap()),
            brought_by: None,
        };
        let upgrade = phase.map(|phase| OwnUpgrade {
            id: UpgradeId("0123456789abcdef".to_owned()),
            phase,
            reference: None,
            progress: Progress::default(),
            failure: None,
        });
        Own { upgrade, busy, components: vec![component], ..Own::default() }
    }

    #[test]
    fn dj_12_an_event_comes_at_once_every_two_seconds_or_within_a_minute() {
        let told = Fares::BEGUN;
        assert_eq!(pause(told, Fares { percent: 1, ..told }), Duration::from_secs(2));
        assert_eq!(pause(told, Fares { status: Status::Paused, ..told }), Duration::ZERO);
        assert_eq!(pause(told, Fares { step: Step::UpgradeFirmware, ..told }), Duration::ZERO);
        let silence = pause(told, told);
        assert!(silence < Duration::from_secs(60) && silence > Duration::from_secs(30));
    }

    #[test]
    fn dj_15_a_version_is_told_once_it_has_proved_itself() {
        let version = |seen: &Seen| seen.versions.values().next().map(ToString::to_string);
        let old = Seen::default().after(&own("V01.00.00.00", None, false));
        assert_eq!((version(&old).as_deref(), old.upgrades), (Some("V01.00.00.00"), false));
        for phase in [Phase::Installing, Phase::Restarting, Phase::Trial, Phase::Reverting] {
            let seen = old.after(&own("V02.00.00.00", Some(phase), false));
            assert_eq!((version(&seen).as_deref(), seen.upgrades), (Some("V01.00.00.00"), true));
            // After a reboot nobody knows what ran before.
            let seen = Seen::default().after(&own("V02.00.00.00", Some(phase), false));
            assert_eq!((version(&seen), seen.upgrades), (None, true));
        }
        let seen = old.after(&own("V02.00.00.00", None, true));
        assert_eq!((version(&seen).as_deref(), seen.upgrades), (Some("V01.00.00.00"), true));
        let seen = seen.after(&own("V02.00.00.00", None, false));
        assert_eq!((version(&seen).as_deref(), seen.upgrades), (Some("V02.00.00.00"), false));
    }
}
