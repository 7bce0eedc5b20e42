//! Hears gateways, answers them, asks them for upgrades, and hands out the files.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use serde_json::{Map, Value, json};

use super::options::{Answers, Device, File, Md5, Options, Order};
use super::rules::{Fault, Judge};
use super::{Event, Ids};
use crate::cloud::broker::{Message, Publisher, Qos};
use crate::cloud::delivery::{Counts, Habits, Served};
use crate::cloud::event::{Log, lock};
use crate::cloud::http::{self, Request, Response};

/// Where files are, each at its number.
const FILES: &str = "/fw/";

/// The platform's state, and what it is told to be.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) options: Mutex<Options>,
    pub(super) publisher: Publisher,
    pub(super) log: Log<Event>,
    judge: Mutex<Judge>,
    files: Mutex<Vec<File>>,
    requests: Mutex<u64>,
    counts: Counts,
    at: OnceLock<SocketAddr>,
    me: Weak<Self>,
}

impl Site {
    pub(super) fn new(options: Options, publisher: Publisher) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            options: Mutex::new(options),
            publisher,
            log: Log::new(),
            judge: Mutex::default(),
            files: Mutex::default(),
            requests: Mutex::default(),
            counts: Counts::default(),
            at: OnceLock::new(),
            me: me.clone(),
        })
    }

    pub(super) fn is_at(&self, address: SocketAddr) {
        let _ = self.at.set(address);
    }

    /// Asks for an upgrade.
    pub(super) fn ask(
        &self,
        gateway: &str,
        order: &Order,
        named: Option<(&Ids, bool)>,
    ) -> anyhow::Result<Ids> {
        let devices: Vec<Value> = order.devices.iter().map(|device| self.entry(device)).collect();
        self.command(gateway, "ota_create", &json!({ "devices": devices }), named)
    }

    fn entry(&self, device: &Device) -> Value {
        let mut entry = Map::new();
        entry.insert("sn".to_owned(), json!(device.sn));
        entry.insert("product_version".to_owned(), json!(device.product_version));
        entry.insert("firmware_upgrade_type".to_owned(), json!(device.kind));
        let Some(file) = &device.file else { return Value::Object(entry) };
        let md5 = &file.content.digests().md5;
        let md5 = match file.md5 {
            Md5::Right => Some(md5.clone()),
            Md5::Upper => Some(md5.to_uppercase()),
            Md5::Wrong => Some("0".repeat(md5.len())),
            Md5::None => None,
        };
        let size = file.content.size().saturating_add_signed(file.size_error);
        entry.insert("file_url".to_owned(), json!(self.url(file)));
        entry.insert("file_size".to_owned(), json!(size));
        entry.insert("file_name".to_owned(), json!(file.name));
        entry.extend(md5.map(|md5| ("md5".to_owned(), json!(md5))));
        Value::Object(entry)
    }

    /// Signed, as those of an object storage are.
    fn url(&self, file: &File) -> String {
        let mut files = lock(&self.files);
        let is_it =
            |one: &File| one.name == file.name && one.content.digests() == file.content.digests();
        let number = files.iter().position(is_it).unwrap_or_else(|| {
            files.push(file.clone());
            files.len() - 1
        });
        let at = self.at.get().map(ToString::to_string).unwrap_or_default();
        format!("http://{at}{FILES}{number}?Signature=5ecret")
    }

    pub(super) fn command(
        &self,
        gateway: &str,
        method: &str,
        data: &Value,
        named: Option<(&Ids, bool)>,
    ) -> anyhow::Result<Ids> {
        let ids = named.map_or_else(|| Ids { tid: uuid(), bid: uuid() }, |(ids, _)| ids.clone());
        let is_retained = named.is_some_and(|(_, is_retained)| is_retained);
        let Ids { tid, bid } = &ids;
        // The vendor's server names no gateway here.
        let message = json!({
            "tid": tid, "bid": bid, "timestamp": timestamp(), "method": method, "data": data,
        });
        lock(&self.judge).sent(tid, bid, method, Instant::now());
        let (gateway_, method) = (gateway.to_owned(), method.to_owned());
        let (tid, bid) = (tid.clone(), bid.clone());
        self.log.tell(Event::Sent { gateway: gateway_, tid, bid, method });
        let topic = format!("thing/product/{gateway}/services");
        // So does the vendor's; a broker keeps nothing of it for who is away.
        self.publisher
            .publish(&topic, message.to_string(), Qos::AtMostOnce, is_retained)
            .context("the command can't be sent")?;
        Ok(ids)
    }

    /// A message has come.
    pub(super) fn take(&self, message: &Message) {
        let parts: Vec<&str> = message.topic.split('/').collect();
        let [family, "product", sn, what] = parts[..] else { return };
        let Ok(value) = serde_json::from_slice::<Value>(&message.payload) else {
            return self.fault(("2.2", format!("{} is no JSON", message.topic)));
        };
        if message.is_retained {
            self.fault(("1.3", format!("{} is kept by the broker", message.topic)));
        }
        for name in ["tid", "bid"] {
            if value[name].as_str().is_none_or(str::is_empty) {
                self.fault(("2.2", format!("{} has no {name}", message.topic)));
            }
        }
        match (family, what) {
            ("sys", "status") => self.topology(sn, &value),
            (_, "services_reply") => self.replied(&value),
            (_, "events") => self.event(sn, &value),
            (_, "state") => self.state(sn, &value),
            (_, "osd") => self.osd(sn, &value),
            _ => {}
        }
    }

    fn topology(&self, sn: &str, message: &Value) {
        let data = message["data"].clone();
        let answer = lock(&self.options).topology;
        if answer == Some(0) {
            let mut judge = lock(&self.judge);
            judge.heard_of(sn, Instant::now());
            let devices = data["sub_devices"].as_array().into_iter().flatten();
            for device in devices.filter_map(|device| device["sn"].as_str()) {
                judge.heard_of(device, Instant::now());
            }
        }
        self.log.tell(Event::Topology { gateway: sn.to_owned(), data });
        if let Some(code) = answer {
            self.answer(&format!("sys/product/{sn}/status_reply"), message, code);
        }
    }

    fn replied(&self, message: &Value) {
        let (took, faults) = lock(&self.judge).replied(message, Instant::now());
        faults.into_iter().for_each(|fault| self.fault(fault));
        let text = |value: &Value| value.as_str().map(str::to_owned);
        self.log.tell(Event::Replied {
            tid: text(&message["tid"]).unwrap_or_default(),
            bid: text(&message["bid"]).unwrap_or_default(),
            result: message["data"]["result"].as_i64().unwrap_or(i64::MIN),
            status: text(&message["data"]["output"]["status"]),
            after_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        });
    }

    fn event(&self, sn: &str, message: &Value) {
        if message["method"] != "ota_progress" {
            return;
        }
        let (told, faults) = lock(&self.judge).progress(sn, message, Instant::now());
        faults.into_iter().for_each(|fault| self.fault(fault));
        let Some(told) = told else { return };
        let text = |name: &str| message[name].as_str().unwrap_or_default().to_owned();
        self.log.tell(Event::Progress {
            tid: text("tid"),
            bid: text("bid"),
            status: told.status,
            percent: told.percent,
            step: told.step,
            result: told.result,
            is_online: told.is_online,
        });
        // The vendor's server says nothing to who is not there.
        let answers = match lock(&self.options).answers {
            Answers::Always => true,
            Answers::Never => false,
            Answers::Late => told.times != 1 && told.times != 2,
        };
        if told.is_online && answers {
            self.answer(&format!("thing/product/{sn}/events_reply"), message, 0);
        }
    }

    fn state(&self, sn: &str, message: &Value) {
        Judge::state(message).into_iter().for_each(|fault| self.fault(fault));
        let data = message["data"].clone();
        self.log.tell(Event::State { sn: sn.to_owned(), data });
    }

    fn osd(&self, sn: &str, message: &Value) {
        let mut judge = lock(&self.judge);
        let now = Instant::now();
        if judge.is_online(sn, now) {
            judge.heard_of(sn, now);
        }
        drop(judge);
        let data = message["data"].clone();
        self.log.tell(Event::Osd { sn: sn.to_owned(), data });
    }

    fn answer(&self, topic: &str, message: &Value, code: i64) {
        let answer = json!({
            "tid": message["tid"], "bid": message["bid"], "method": message["method"],
            "timestamp": timestamp(), "data": { "result": code },
        });
        // Lost with the broker, the gateway says it again.
        let _ = self.publisher.publish(topic, answer.to_string(), Qos::AtLeastOnce, false);
    }

    fn fault(&self, (rule, what): Fault) {
        self.log.tell(Event::Fault { rule: rule.to_owned(), what });
    }

    fn file(&self, request: &Request, file: &File) -> Response {
        let options = lock(&self.options).clone();
        let is_first = {
            let mut requests = lock(&self.requests);
            *requests += 1;
            *requests == 1
        };
        if options.expires && !is_first {
            let text = "<Error><Code>AccessDenied</Code></Error>";
            return self.served(Response::text(403, "application/xml", text), 0, 0);
        }
        let served = Served {
            content: &file.content,
            name: &file.name,
            tag: &file.content.digests().md5,
            elsewhere: None,
            habits: Habits::default(),
        };
        let (response, from) = options.delivery.answer(request, &served, &self.counts);
        self.served(response, from, file.content.size())
    }

    fn served(&self, response: Response, from: u64, of: u64) -> Response {
        let (me, status) = (self.me.clone(), response.status);
        response.finished(move |sent| {
            if let Some(site) = me.upgrade() {
                site.log.tell(Event::Served { status, from, sent, of });
            }
        })
    }
}

impl http::Site for Site {
    fn answer(&self, request: &Request) -> Option<Response> {
        let number = request.path().strip_prefix(FILES).and_then(|rest| rest.parse().ok());
        let file = number.and_then(|number: usize| lock(&self.files).get(number).cloned());
        let is_signed =
            request.query().iter().any(|(name, value)| name == "Signature" && value == "5ecret");
        Some(match file {
            Some(file) if is_signed => self.file(request, &file),
            Some(_) => Response::new(403),
            None => Response::new(404),
        })
    }
}

/// A name that nobody else has at the broker.
pub(super) fn client_id() -> String {
    format!("dji-cloud-{:016x}", fastrand::u64(..))
}

fn uuid() -> String {
    let hex = format!("{:032x}", fastrand::u128(..));
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

#[allow(clippy::disallowed_methods, reason = "what a platform sends says when")]
fn timestamp() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
