//! ThingsPanel: tasks come over a broker of MQTT, files over HTTP, and each task hears how far it is
//! (docs/use/thingspanel.md).
//!
//! `words` are what both sides say, `record` is what must be known again after a restart: neither
//! knows a socket or a clock. Here they are said and kept.

mod fuzz;
mod record;
mod words;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use crate::channel::kept::Kept;
use crate::channel::offer::{Action, FirmwareName, Install, Offer, OfferedFile, Telling};
use crate::channel::platform::{Here, Link, NEVER, Platform, Poll, Standing, Taken, Wanted};
use crate::channel::secret;
use crate::config::{
    Component, Components, DeviceKey, Generation, TaskNames, ThingsPanel, WHOLE_FIRMWARE,
    is_device_key,
};
use crate::model::file_name::FileName;
use crate::model::version::Version;
use crate::model::{ChannelName, ChannelState, ComponentName, Failure, FailureKind};
use crate::transfer::http::{Authorization, Pieces, Trouble, WrongUrl};
use crate::wire::mqtt::{Connection, Event, Message, NotPublished, Publisher, Qos, Subscription};

pub use fuzz::fuzz;
use record::{Came, Push, Record};
use words::{Code, Heard, Progress, Step, Task, Url};

/// Pause between two words of progress (TP-14).
const PACE: Duration = Duration::from_secs(2);
/// Until it is looked again whether something has changed here that the platform should hear of.
const LOOK: Duration = Duration::from_secs(5 * 60);
/// Pause before something is said again that the broker has not taken.
const SOON: Duration = Duration::from_secs(5);

/// The platform, as this device speaks to it.
pub(crate) struct Server {
    config: ThingsPanel,
    /// The device's key, which may be a secret.
    device: String,
    base: Option<Url>,
    products: BTreeMap<ComponentName, String>,
    record: Kept<Record>,
    hears: Subscription,
    publisher: Publisher,
    line: Line,
    /// The last progress that was told, of which task, and when.
    said: Option<(Action, Progress, Instant)>,
    /// Whether it is to be told again (TP-9).
    again: bool,
    /// Why the last message was not understood.
    misunderstood: Option<String>,
}

/// How it stands with the broker.
enum Line {
    /// It was not reached yet.
    New,
    /// It is there.
    Ready {
        /// Topics of tasks that it refuses, as they are configured.
        refused: Vec<String>,
    },
    /// It is gone; why.
    Lost(String),
}

/// Why a task can't be done.
struct InVain(Code, String);

impl Server {
    /// The configured one, heard over this connection; the token and the record are read now.
    pub(crate) fn new(
        config: &ThingsPanel,
        components: &Components,
        connection: &mut Connection,
        directory: PathBuf,
    ) -> Result<Self, Failure> {
        let device = device(config)?;
        let base = config.download_base.as_ref().map(|base| base.reveal().parse());
        let base = base.transpose().map_err(|error: WrongUrl| {
            let sentence = "`download_base` of the [channel.thingspanel] section is no URL";
            Failure::new(FailureKind::Internal, sentence).because(error)
        })?;
        let product = |component: &Component| (component.name(), component.product().to_owned());
        let topics = config.topics.tasks.iter().map(|topic| topic.of(&device, "")).collect();
        Ok(Self {
            config: config.clone(),
            device,
            base,
            products: components.iter().map(product).collect(),
            record: Kept::open(directory, "thingspanel.json"),
            hears: connection.subscribe(topics),
            publisher: connection.publisher(),
            line: Line::New,
            said: None,
            again: false,
            misunderstood: None,
        })
    }

    fn is_ready(&self) -> bool {
        matches!(self.line, Line::Ready { .. })
    }

    fn hear(&mut self, event: Event, here: &Here) {
        match event {
            Event::Ready { refused } => {
                let forms = self.config.topics.tasks.iter();
                let is_refused = |topic: &String| refused.contains(topic);
                let refused: Vec<String> = forms
                    .filter(|topic| is_refused(&topic.of(&self.device, "")))
                    .map(|topic| topic.form().to_owned())
                    .collect();
                if !refused.is_empty() {
                    let topics = refused.join(", ");
                    tracing::warn!("the broker does not let this device hear {topics}");
                }
                self.line = Line::Ready { refused };
            }
            Event::Lost { why } => self.line = Line::Lost(why),
            Event::Message(message) => self.take(&message, here),
        }
    }

    fn take(&mut self, message: &Message, here: &Here) {
        let came = Came {
            is_retained: message.is_retained,
            hears_ends_again: self.config.generation != Generation::V1,
        };
        self.misunderstood = None;
        match words::heard(&message.payload) {
            Heard::Nothing(why) => {
                tracing::warn!("a message of the platform is left alone: {why}");
                self.misunderstood = Some(why);
            }
            Heard::InVain { id, module, code, why } => {
                if self.is_new(&id, None, came) {
                    self.refuse(&id, None, module.as_deref(), InVain(code, why));
                }
            }
            Heard::Task(task) => {
                if self.is_new(&task.id, Some(&task), came) {
                    self.begin(task, here);
                }
            }
        }
    }

    /// Whether a push is of a task that nobody knows; another one is answered or left alone.
    fn is_new(&mut self, id: &str, task: Option<&Task>, came: Came) -> bool {
        let push = self.record.change(|record| record.known(id, task, came));
        match push {
            Push::New => tracing::info!("the platform has a task, {id:?}"),
            Push::Again => tracing::info!("the task {id:?} has come again, and goes on"),
            Push::Ended => tracing::info!("the task {id:?} has come again, and has ended"),
            Push::Stale => tracing::info!("the task {id:?} has ended, and is left alone"),
        }
        self.again |= push == Push::Again;
        push == Push::New
    }

    fn begin(&mut self, task: Task, here: &Here) {
        let module = task.module.clone();
        let component = match self.offer(&task) {
            Ok((component, _)) => component,
            Err(in_vain) => return self.refuse(&task.id, Some(&task), module.as_deref(), in_vain),
        };
        let installed = here.components.iter().find(|one| one.component == component);
        let version = installed.and_then(|one| one.version);
        // While something is on trial, what runs is not settled.
        let runs = !here.is_upgrading && version.is_some_and(|one| self.is(component, one, &task));
        self.record.change(|record| {
            if runs {
                // TP-10.
                record.call(component, &task.version, version);
                let word = Progress::done("this version runs already", module.as_deref());
                record.owe(&task.id, Some(&task), word);
            } else {
                record.begin(task);
            }
        });
    }

    fn refuse(&mut self, id: &str, task: Option<&Task>, module: Option<&str>, in_vain: InVain) {
        let InVain(code, why) = in_vain;
        tracing::warn!("the task {id:?} can't be done: {why}");
        let word = Progress::failed(code, &why, module);
        self.record.change(|record| record.owe(id, task, word));
    }

    /// Whether this version of a component is what a task asks for.
    fn is(&self, component: ComponentName, version: Version, task: &Task) -> bool {
        self.record.get().text(component, version) == Some(&*task.version)
            || (self.config.names == TaskNames::Task
                && Version::of_numbers(&task.version) == Some(version))
    }

    /// What a task is for, and what is offered by it.
    fn offer(&self, task: &Task) -> Result<(ComponentName, Offer), InVain> {
        let module = task.module.as_deref().filter(|module| !module.is_empty());
        let component = *self
            .config
            .modules
            .get(module.unwrap_or(WHOLE_FIRMWARE))
            .ok_or_else(|| InVain(Code::Failed, "this device has no such module".to_owned()))?;
        let failed = |failure: Failure| InVain(words::code_of(failure.kind), failure.to_string());
        let url = words::url_of(&task.url, self.base.as_ref()).map_err(failed)?;
        let name = self.name(task, component, &url)?;
        let action = Action::try_from(task.id.clone())
            .map_err(|error| InVain(Code::Failed, error.to_string()))?;
        let (size, digests) = (task.size, task.digests);
        let file = OfferedFile { name, url: url.text(), size, digests };
        Ok((component, Offer { action, files: vec![file], install: Install::Now }))
    }

    /// A name that the file has at the platform, or else what the task says; the seal, where neither
    /// is in our form.
    fn name(
        &self,
        task: &Task,
        component: ComponentName,
        url: &Url,
    ) -> Result<FirmwareName, InVain> {
        if self.config.names == TaskNames::Seal {
            return Ok(FirmwareName::BySeal);
        }
        let wrong = |why: String| InVain(Code::Verify, why);
        let named = url.file_name().and_then(|name| name.parse::<FileName>().ok());
        match (Version::of_numbers(&task.version), named) {
            (Some(version), Some(name)) if name.version() != version => {
                let why = format!(
                    "the task is for {version}, and its file's name says {}",
                    name.version()
                );
                Err(wrong(why))
            }
            (_, Some(name)) => Ok(FirmwareName::Known(name)),
            (Some(version), None) => {
                let product = self.products.get(&component).map_or("", String::as_str);
                let name = format!("{product}_{version}.bin").parse::<FileName>();
                name.map(FirmwareName::Known).map_err(|error| wrong(error.to_string()))
            }
            (None, None) => Ok(FirmwareName::BySeal),
        }
    }

    /// What the task at work asks for. One that can't be done any more, after a change of the
    /// configuration, ends.
    fn wanted(&mut self) -> Wanted {
        while let Some(task) = self.record.get().at_work().cloned() {
            match self.offer(&task) {
                Ok((_, offer)) => return Wanted::Offer(offer),
                Err(InVain(code, why)) => {
                    let word = Progress::failed(code, &why, task.module.as_deref());
                    self.record.change(|record| record.give_up(&task.id, word));
                }
            }
        }
        Wanted::Nothing
    }

    /// Says what the platform has not heard of tasks; whether all was taken.
    fn pay(&mut self) -> bool {
        while let Some(end) = self.record.get().owed() {
            let word = end.word.clone();
            if self.progress(&word).is_err() {
                return false;
            }
            self.record.change(Record::paid);
        }
        if std::mem::take(&mut self.again)
            && let Some((action, progress, _)) = self.said.clone()
            && self.record.get().open(action.as_str()).is_some()
        {
            self.again = self.progress(&progress).is_err();
        }
        !self.again
    }

    /// TP-15: the version of each module, once a boot and once after it has changed. While an
    /// upgrade runs nothing is told: the old version would cost one of the platform's three tries,
    /// and the new one is not proved.
    fn report(&mut self, here: &Here) -> bool {
        let Some(topic) = self.config.topics.report.clone() else { return true };
        // The end of a task is followed by a poll, that of somebody else's upgrade is not.
        if self.record.get().has_open() {
            return true;
        }
        if here.is_upgrading {
            return false;
        }
        self.record.change(|record| record.see(&here.components));
        let mut is_taken = true;
        for (module, component) in self.config.modules.clone() {
            let Some(version) = self.version(component, here) else { continue };
            if self.record.get().is_told(&module, &here.boot, &version) {
                continue;
            }
            let message = fastrand::u32(100_000_000..1_000_000_000).to_string();
            let ThingsPanel { generation, version_attribute, .. } = &self.config;
            let body = words::report(*generation, version_attribute, &message, &module, &version);
            if self.publish(&topic.of(&self.device, &message), body).is_ok() {
                self.record.change(|record| record.tell(&module, &here.boot, &version));
            } else {
                is_taken = false;
            }
        }
        is_taken
    }

    /// The version of a component, in the platform's own words where it has named it.
    fn version(&self, component: ComponentName, here: &Here) -> Option<String> {
        let version = here.components.iter().find(|one| one.component == component)?.version?;
        let named = self.record.get().text(component, version).map(str::to_owned);
        Some(named.unwrap_or_else(|| words::print(version, self.config.version_form)))
    }

    fn progress(&mut self, progress: &Progress) -> Result<(), NotPublished> {
        let topic = self.config.topics.progress.of(&self.device, "");
        self.publish(&topic, progress.to_bytes())
    }

    fn publish(&mut self, topic: &str, body: Vec<u8>) -> Result<(), NotPublished> {
        if !self.is_ready() {
            return Err(NotPublished::NoConnection);
        }
        Handle::current().block_on(self.publisher.publish(topic, body, Qos::AtLeastOnce))
    }

    fn standing(&self) -> Standing {
        let (tasks, broker) = (&self.config.topics.tasks, self.config.broker);
        let (state, sentence) = match &self.line {
            Line::New => (ChannelState::Waits, format!("the broker {broker} was not reached yet")),
            Line::Lost(why) => (ChannelState::Waits, format!("the broker {broker} is away: {why}")),
            Line::Ready { refused } if refused.len() == tasks.len() => {
                let topics = refused.join(", ");
                let sentence = format!(
                    "the broker {broker} does not let this device hear its tasks ({topics}): look at `generation` and the device's key"
                );
                (ChannelState::Fails, sentence)
            }
            Line::Ready { refused } => {
                let refused = if refused.is_empty() {
                    String::new()
                } else {
                    format!("; it refuses {}", refused.join(", "))
                };
                (ChannelState::Works, format!("hears tasks at the broker {broker}{refused}"))
            }
        };
        let last = self.misunderstood.as_ref();
        let last = last
            .map_or_else(String::new, |why| format!("; the last message was left alone: {why}"));
        Standing { state, sentence: sentence + &last }
    }
}

impl Platform for Server {
    const NAME: ChannelName = ChannelName::THINGSPANEL;

    fn news(&self) -> Option<std::sync::Arc<tokio::sync::Notify>> {
        Some(self.hears.news())
    }

    fn poll(&mut self, here: &Here, _: &Link) -> Result<Poll, Trouble> {
        while let Some(event) = self.hears.heard() {
            self.hear(event, here);
        }
        let wanted = self.wanted();
        let is_quiet = !self.is_ready() || (self.pay() & self.report(here));
        let next = if is_quiet { LOOK } else { SOON };
        Ok(Poll { wanted, taken_back: None, next, status: self.standing() })
    }

    fn tell(&mut self, telling: &Telling, _: &Link) -> Result<Taken, Trouble> {
        let Some(task) = self.record.get().open(telling.action.as_str()).cloned() else {
            // A newer one has taken its place, or the platform has heard its end.
            return Ok(Taken::Yes);
        };
        let Some(progress) = Progress::of(&telling.what, task.module.as_deref()) else {
            return Ok(Taken::Yes);
        };
        if let Err(why) = self.progress(&progress) {
            tracing::info!("the platform was not told: {why}");
            return Ok(Taken::Later(None));
        }
        if telling.what.is_final() {
            self.ended(&task, progress);
        } else {
            self.said = Some((telling.action.clone(), progress, Instant::now()));
        }
        Ok(Taken::Yes)
    }

    fn due(&self, telling: &Telling) -> Option<Duration> {
        // Of one that is not open there is nothing to say, which `tell` does at once.
        let task = self.record.get().open(telling.action.as_str())?;
        if !self.is_ready() {
            return Some(NEVER);
        }
        if telling.what.is_final() {
            return None;
        }
        let Some(progress) = Progress::of(&telling.what, task.module.as_deref()) else {
            return Some(NEVER);
        };
        let (action, last, at) = self.said.as_ref()?;
        if *action != telling.action {
            return None;
        }
        if *last == progress { Some(NEVER) } else { Some(PACE.saturating_sub(at.elapsed())) }
    }

    fn authorization(&self, _: &OfferedFile) -> Option<Authorization> {
        None
    }

    fn pieces(&self) -> Pieces {
        if self.config.crc { Pieces::Summed } else { Pieces::None }
    }
}

impl Server {
    fn ended(&mut self, task: &Task, word: Progress) {
        let component = self.offer(task).ok().map(|(component, _)| component);
        let has_succeeded = word.step == Step::Done;
        self.record.change(|record| {
            if let Some(component) = component.filter(|_| has_succeeded) {
                record.call(component, &task.version, None);
            }
            record.end(&task.id, word);
        });
        self.said = None;
    }
}

/// Who this payload is in topics.
fn device(config: &ThingsPanel) -> Result<String, Failure> {
    let file = match &config.device {
        DeviceKey::Number(number) => return Ok(number.clone()),
        DeviceKey::Token(file) => file,
    };
    let token = secret::read(file, "the access token")?;
    let token = token.reveal().trim();
    if is_device_key(token) {
        return Ok(token.to_owned());
    }
    let sentence = format!("the first line of {} is no access token", file.display());
    Err(Failure::new(FailureKind::Internal, sentence))
}
