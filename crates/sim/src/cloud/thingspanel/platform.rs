//! Pushes tasks, and hears devices.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Map, Value, json};

use super::Event;
use super::entry::{Entry, State, Step};
use super::options::{Generation, Options, PushWhen, Signed, Size, Spelling, Task};
use super::site;
use crate::cloud::broker::{Broker, Heard, Message, Messages, Publisher, Qos};
use crate::cloud::event::{Events, Log, lock};
use crate::cloud::http::{Request, Response, Site};

/// Between two looks at whether the platform is still there.
const LOOK: Duration = Duration::from_millis(500);

/// The platform's state, and what it is told to be.
pub(super) struct Platform {
    pub(super) options: Mutex<Options>,
    log: Log<Event>,
    tasks: Mutex<Vec<(Entry, Task)>>,
    publisher: OnceLock<Publisher>,
    at: OnceLock<SocketAddr>,
    me: Weak<Self>,
}

impl Platform {
    pub(super) fn new(options: Options) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            options: Mutex::new(options),
            log: Log::new(),
            tasks: Mutex::default(),
            publisher: OnceLock::new(),
            at: OnceLock::new(),
            me: me.clone(),
        })
    }

    pub(super) fn is_at(&self, address: SocketAddr) {
        let _ = self.at.set(address);
    }

    /// Connects, and begins the task of the options.
    pub(super) fn run(&self, broker: &Broker) -> anyhow::Result<()> {
        let options = lock(&self.options).clone();
        let (progress, report) = (topic_of_progress(&options), topic_of_reports(&options));
        let name = format!("thingspanel-{}", fastrand::u64(..));
        let (publisher, messages) = broker.connect(&name, &[&progress, &report])?;
        let _ = self.publisher.set(publisher);
        let me = self.me.clone();
        std::thread::Builder::new()
            .name("thingspanel".to_owned())
            .spawn(move || hear(&me, &messages))?;
        if let Some(task) = &options.task {
            let id = self.keep(task);
            if options.when == PushWhen::AtStart {
                self.push(&id)?;
            }
        }
        Ok(())
    }

    pub(super) fn events(&self) -> Events<Event> {
        self.log.events()
    }

    pub(super) fn state(&self, id: &str) -> Option<State> {
        let tasks = lock(&self.tasks);
        tasks.iter().find(|(entry, _)| entry.id == id).map(|(entry, _)| entry.state)
    }

    pub(super) fn begin(&self, task: &Task) -> anyhow::Result<String> {
        let id = self.keep(task);
        self.push(&id)?;
        Ok(id)
    }

    pub(super) fn cancel(&self, id: &str) {
        let mut tasks = lock(&self.tasks);
        if let Some((entry, _)) = tasks.iter_mut().find(|(entry, _)| entry.id == id) {
            entry.state = State::Cancelled;
        }
    }

    pub(super) fn keep(&self, task: &Task) -> String {
        let by_chance = || fastrand::u32(100_000_000..1_000_000_000).to_string();
        let id = task.id.clone().unwrap_or_else(by_chance);
        let entry = Entry {
            id: id.clone(),
            module: task.module.clone(),
            version: task.version.clone(),
            state: State::Pending,
            retries: lock(&self.options).retries,
        };
        lock(&self.tasks).push((entry, task.clone()));
        id
    }

    pub(super) fn push(&self, id: &str) -> anyhow::Result<()> {
        let options = lock(&self.options).clone();
        let message = {
            let mut tasks = lock(&self.tasks);
            let (entry, task) = tasks
                .iter_mut()
                .find(|(entry, _)| entry.id == id)
                .context("there is no such task")?;
            if entry.state == State::Pending {
                entry.state = State::Pushed;
            }
            self.message(&options, id, task)
        };
        // What a device does at once is told behind it.
        self.log.tell(Event::Pushed { id: id.to_owned() });
        for _ in 0..options.times {
            self.say(message.to_string().as_bytes())?;
        }
        Ok(())
    }

    pub(super) fn say(&self, bytes: &[u8]) -> anyhow::Result<()> {
        let options = lock(&self.options).clone();
        let publisher = self.publisher.get().context("there is no broker yet")?;
        for topic in topics_of_tasks(&options) {
            publisher.publish(&topic, bytes, Qos::AtLeastOnce, options.is_retained)?;
        }
        Ok(())
    }

    fn message(&self, options: &Options, id: &str, task: &Task) -> Value {
        let mut params = Map::new();
        params.insert("version".to_owned(), json!(task.version));
        params.insert("url".to_owned(), json!(self.url(options, task)));
        if let Some(size) = told_size(options.generation, task) {
            params.insert("size".to_owned(), size);
        }
        if let Some((method, sign)) = told_sign(options.generation, task) {
            params.insert("signMethod".to_owned(), method);
            params.insert("sign".to_owned(), sign);
        }
        params.insert("module".to_owned(), json!(task.module));
        params.insert(
            "extData".to_owned(),
            if task.module.is_some() { json!({}) } else { Value::Null },
        );
        let code = if task.code_is_number { json!(200) } else { json!("200") };
        json!({ "id": id, "code": code, "params": params })
    }

    fn url(&self, options: &Options, task: &Task) -> String {
        if let Some(url) = &task.url {
            return url.clone();
        }
        let path = site::path_of(options.generation, task);
        match self.at.get().filter(|_| !task.path_only) {
            Some(at) => format!("http://{at}{path}"),
            None => path,
        }
    }

    fn take(&self, message: &Message) {
        let options = lock(&self.options).clone();
        let value: Value = serde_json::from_slice(&message.payload).unwrap_or_default();
        let text = String::from_utf8_lossy(&message.payload).into_owned();
        if message.topic == topic_of_progress(&options) {
            return self.take_progress(&message.topic, &value, text);
        }
        let (version, module) = match options.generation {
            Generation::V1 => (&value["firmware_version"], &value["module"]),
            _ => (&value["params"]["version"], &value["params"]["module"]),
        };
        let [version, module] = [version, module].map(|value| value.as_str().map(str::to_owned));
        self.log.tell(Event::Reported {
            module: module.clone(),
            version: version.clone(),
            message: text,
        });
        self.take_version(options.generation, module.as_deref(), version.as_deref());
    }

    fn take_version(&self, generation: Generation, module: Option<&str>, version: Option<&str>) {
        let due: Vec<String> = {
            let mut tasks = lock(&self.tasks);
            let of_module = tasks.iter_mut().filter(|(entry, _)| {
                entry.module.as_deref().unwrap_or("default") == module.unwrap_or("default")
            });
            let due = of_module.filter_map(|(entry, _)| {
                entry.reported(generation, version.unwrap_or_default()).then(|| entry.id.clone())
            });
            due.collect()
        };
        for id in due {
            // The broker is there: it has just brought a message.
            let _ = self.push(&id);
        }
    }

    fn take_progress(&self, topic: &str, value: &Value, message: String) {
        let step = Step::read(value.get("step"));
        let (desc, module) = (&value["desc"], &value["module"]);
        let is_short = desc.as_str().is_none_or(|desc| desc.chars().count() < 128);
        if step == Step::Bad || !is_short {
            return self.log.tell(Event::Senseless { topic: topic.to_owned(), message });
        }
        let module = module.as_str().map(str::to_owned);
        let task = {
            let mut tasks = lock(&self.tasks);
            let mut open = tasks.iter_mut().map(|(entry, _)| entry);
            let entry = open.find(|entry| {
                !entry.is_over() && entry.state != State::Pending && entry.is_of(module.as_deref())
            });
            entry.map(|entry| {
                entry.step(&step);
                (entry.id.clone(), entry.state)
            })
        };
        let step = value["step"].as_str().map_or_else(|| value["step"].to_string(), str::to_owned);
        let desc = desc.as_str().unwrap_or_default().to_owned();
        self.log.tell(Event::Progress { step, desc, module, task });
    }

    fn file(&self, request: &Request) -> Response {
        let options = lock(&self.options).clone();
        let content = {
            let tasks = lock(&self.tasks);
            let is_it = |task: &Task| site::path_of(options.generation, task) == request.path();
            tasks.iter().rev().find(|(_, task)| is_it(task)).map(|(_, task)| task.content.clone())
        };
        let status = {
            let mut options = lock(&self.options);
            (!options.way.statuses.is_empty()).then(|| options.way.statuses.remove(0))
        };
        let response = match (content, status) {
            (_, Some(status)) => Response::new(status),
            (None, None) => Response::new(404),
            (Some(content), None) => {
                let (sum_is_wrong, cut_after) = self.faults(request);
                let (response, from) =
                    site::answer(request, &options, &content, sum_is_wrong, cut_after);
                if matches!(response.status, 200 | 206) {
                    return self.watched(response, from, content.size());
                }
                response
            }
        };
        let (path, status) = (request.path().to_owned(), response.status);
        let range = request.header("Range").map(str::to_owned);
        self.log.tell(Event::Refused { path, range, status });
        response
    }

    /// Faults that happen so often and no more.
    fn faults(&self, request: &Request) -> (bool, Option<u64>) {
        let way = &mut lock(&self.options).way;
        let has_sum = request.header("Range").is_some();
        let sum_is_wrong = has_sum && way.wrong_sums > 0;
        way.wrong_sums -= u32::from(sum_is_wrong);
        let cut_after = way.cut_after;
        if cut_after.is_some() && way.cuts > 0 {
            way.cuts -= 1;
            if way.cuts == 0 {
                way.cut_after = None;
            }
        }
        (sum_is_wrong, cut_after)
    }

    fn watched(&self, response: Response, from: u64, of: u64) -> Response {
        let (log, status) = (self.log.clone(), response.status);
        response.finished(move |sent| log.tell(Event::Sent { status, from, sent, of }))
    }
}

impl Site for Platform {
    fn answer(&self, request: &Request) -> Option<Response> {
        Some(match request.method.as_str() {
            "GET" | "HEAD" => self.file(request),
            _ => Response::new(405),
        })
    }
}

/// Until the platform is gone.
fn hear(platform: &Weak<Platform>, messages: &Messages) {
    loop {
        let heard = messages.next(LOOK);
        let Some(platform) = platform.upgrade() else { return };
        match heard {
            Some(Heard::Message(message)) => platform.take(&message),
            Some(Heard::Lost(why)) => platform.log.tell(Event::Lost { why }),
            Some(Heard::Ready) | None => {}
        }
    }
}

fn topics_of_tasks(options: &Options) -> Vec<String> {
    let device = &options.device;
    if let Some(topic) = &options.topics.tasks {
        return vec![topic.replace("{device}", device)];
    }
    let spelt: &[&str] = match (options.generation, options.spelling) {
        (Generation::LegacyInfrom, _) => &["ota/device/infrom"],
        (Generation::V05, _) => &["ota/device/inform"],
        (Generation::V1, Spelling::Infrom) => &["ota/devices/infrom"],
        (Generation::V1, Spelling::Inform) => &["ota/devices/inform"],
        (Generation::V1, Spelling::Both) => &["ota/devices/infrom", "ota/devices/inform"],
    };
    spelt.iter().map(|topic| format!("{topic}/{device}")).collect()
}

fn topic_of_progress(options: &Options) -> String {
    let usual = match options.generation {
        Generation::LegacyInfrom | Generation::V05 => "ota/device/progress",
        Generation::V1 => "ota/devices/progress",
    };
    options.topics.progress.as_deref().unwrap_or(usual).replace("{device}", &options.device)
}

fn topic_of_reports(options: &Options) -> String {
    let usual = match options.generation {
        Generation::LegacyInfrom | Generation::V05 => "ota/device/inform",
        Generation::V1 => "devices/attributes/+",
    };
    options.topics.report.as_deref().unwrap_or(usual).replace("{device}", &options.device)
}

fn told_size(generation: Generation, task: &Task) -> Option<Value> {
    let usual = match generation {
        Generation::LegacyInfrom => Size::Absent,
        Generation::V05 => Size::Number,
        Generation::V1 => Size::Zero,
    };
    let size = task.content.size();
    match task.size.unwrap_or(usual) {
        Size::Number => Some(json!(size)),
        Size::Text => Some(json!(size.to_string())),
        Size::Zero => Some(json!("0")),
        Size::Absent => None,
        Size::Wrong => Some(json!(size + 1)),
    }
}

fn told_sign(generation: Generation, task: &Task) -> Option<(Value, Value)> {
    let digests = task.content.digests();
    let usual = if generation == Generation::V1 { Signed::Empty } else { Signed::Md5 };
    let signed = if task.signed == Signed::Usual { usual } else { task.signed };
    let (method, sign) = match signed {
        Signed::Usual | Signed::Md5 => (json!("MD5"), json!(digests.md5)),
        Signed::Sha256 => (json!("SHA256"), json!(digests.sha256)),
        Signed::Dashed => (json!("sha-256"), json!(digests.sha256.to_uppercase())),
        Signed::Empty => (json!("MD5"), json!("")),
        Signed::Null => (Value::Null, Value::Null),
        Signed::Absent => return None,
        Signed::Wrong => (json!("MD5"), json!("00112233445566778899aabbccddeeff")),
        Signed::Unknown => (json!("SM3"), json!(digests.md5)),
    };
    Some((method, sign))
}
