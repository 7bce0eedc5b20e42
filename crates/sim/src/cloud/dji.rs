//! A simulated DJI cloud: the server side of the Cloud API for firmware, at a broker of MQTT, with a
//! web server for the files. It asks gateways for upgrades, and judges what they say by the rules
//! DJ-1 to DJ-18 (docs/use/dji-cloud.md).
//!
//! The rules are in `rules`, which is pure; `site` hears and answers.

mod event;
mod options;
mod rules;
mod site;
#[cfg(test)]
mod tests;
mod verdict;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;

pub use self::event::Event;
pub use self::options::{Answers, Device, File, Md5, Options, Order};
pub use self::verdict::{Ending, Watch};

use self::site::Site;
use super::broker::{Broker, Heard, Messages, Qos};
use super::event::{Events, lock};
use super::http;
use super::mosquitto::Mosquitto;

/// What gateways say.
const FILTERS: [&str; 6] = [
    "sys/product/+/status",
    "thing/product/+/services_reply",
    "thing/product/+/events",
    "thing/product/+/state",
    "thing/product/+/osd",
    "thing/product/+/requests",
];
/// Between two looks at whether all is over.
const LOOK: Duration = Duration::from_millis(200);
/// How long the vendor's server waits for an answer, and how often it asks (DJ-8).
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
const SENDS: u32 = 3;

/// A running platform. Dropped, it closes, with its broker if that is its own.
pub struct Platform {
    site: Arc<Site>,
    files: http::Server,
    broker: Broker,
    is_over: Arc<AtomicBool>,
    hearing: Option<JoinHandle<()>>,
}

/// What names a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ids {
    /// Of this message.
    pub tid: String,
    /// Of the upgrade.
    pub bid: String,
}

impl Platform {
    /// Starts it at its broker.
    pub fn start(options: Options) -> anyhow::Result<Self> {
        let broker = Broker::open(&options.broker)?;
        let listen = options.listen;
        let (publisher, messages) = broker.connect(&site::client_id(), &FILTERS)?;
        let site = Site::new(options, publisher);
        let files = http::Server::start(listen, Arc::clone(&site) as Arc<dyn http::Site>)
            .with_context(|| format!("nobody can listen at {listen}"))?;
        site.is_at(files.address());
        let is_over = Arc::new(AtomicBool::new(false));
        let (hears, until) = (Arc::clone(&site), Arc::clone(&is_over));
        let hearing = thread::Builder::new()
            .name("dji".to_owned())
            .spawn(move || hear(&hears, &messages, &until))?;
        Ok(Self { site, files, broker, is_over, hearing: Some(hearing) })
    }

    /// Where gateways find its broker.
    #[must_use]
    pub fn broker_url(&self) -> String {
        self.broker.url()
    }

    /// The broker's process, where it is its own.
    pub const fn broker(&mut self) -> Option<&mut Mosquitto> {
        self.broker.ours()
    }

    /// Where files are.
    #[must_use]
    pub fn files_url(&self) -> String {
        format!("http://{}", self.files.address())
    }

    /// All that happens, from the start on.
    #[must_use]
    pub fn events(&self) -> Events<Event> {
        self.site.log.events()
    }

    /// Changes what the platform does from now on.
    pub fn change(&self, change: impl FnOnce(&mut Options)) {
        change(&mut lock(&self.site.options));
    }

    /// Asks a gateway for an upgrade, once.
    pub fn ask(&self, gateway: &str, order: &Order) -> anyhow::Result<Ids> {
        self.site.ask(gateway, order, None)
    }

    /// The same under these names, and maybe so that the broker keeps it.
    pub fn ask_as(
        &self,
        gateway: &str,
        order: &Order,
        ids: &Ids,
        is_retained: bool,
    ) -> anyhow::Result<Ids> {
        self.site.ask(gateway, order, Some((ids, is_retained)))
    }

    /// Asks as the vendor's server does: three times, each with names of its own, until one is
    /// answered; its code.
    pub fn ask_until_answered(&self, gateway: &str, order: &Order) -> anyhow::Result<Option<i64>> {
        for _ in 0..SENDS {
            let mut events = self.events();
            let ids = self.ask(gateway, order)?;
            let answered = |event: &Event| matches!(event, Event::Replied { tid, bid, .. } if *tid == ids.tid && *bid == ids.bid);
            if let Some(Event::Replied { result, .. }) = events.wait_for(ANSWER_WITHIN, answered) {
                return Ok(Some(result));
            }
        }
        Ok(None)
    }

    /// Sends any bytes to a topic.
    pub fn publish(&self, topic: &str, payload: &[u8], is_retained: bool) -> anyhow::Result<()> {
        self.site.publisher.publish(topic, payload, Qos::AtLeastOnce, is_retained)
    }

    /// Sends any command to a gateway, and knows that it did.
    pub fn command(&self, gateway: &str, method: &str, data: &Value) -> anyhow::Result<Ids> {
        self.site.command(gateway, method, data, None)
    }

    /// What gateways did that they should not.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let events = self.events().so_far().into_iter();
        let faults = events.filter_map(|event| match event {
            Event::Fault { rule, what } => Some(format!("{rule}: {what}")),
            _ => None,
        });
        faults.collect()
    }

    /// Waits until no file is being sent, but no longer than this.
    pub fn settle(&self, within: Duration) {
        self.files.settle(within);
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        if let Some(hearing) = self.hearing.take() {
            let _ = hearing.join();
        }
    }
}

impl std::fmt::Debug for Platform {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Platform").field("broker", &self.broker).finish_non_exhaustive()
    }
}

fn hear(site: &Site, messages: &Messages, is_over: &AtomicBool) {
    while !is_over.load(Ordering::SeqCst) {
        match messages.next(LOOK) {
            Some(Heard::Message(message)) => site.take(&message),
            Some(Heard::Lost(_)) => site.log.tell(Event::BrokerLost),
            Some(Heard::Ready) => site.log.tell(Event::BrokerThere),
            None => {}
        }
    }
}
