//! The QuecThing platform behind a module of a mobile network, which fetches files and is read over
//! AT commands (docs/use/quectel.md).
//!
//! `words` are what goes over the wire, `dialogue` what is said when: neither knows a port or a
//! clock. What becomes of an offer is the `Job`'s, as with every platform; here they are brought
//! together with the port and the daemon.

mod daemon;
mod dialogue;
mod fuzz;
mod handing;
mod offer;
mod status;
pub(crate) mod words;

use std::path::PathBuf;

use bytes::BytesMut;
use tokio::time::{Instant, sleep_until};

use crate::channel::job::{Job, Word};
use crate::channel::runner::PAUSE;
use crate::channel::secret;
use crate::config::{Component, Config, Password, Quectel};
use crate::handover::channel_client::{Own, Watch};
use crate::handover::client::Trouble as Daemon;
use crate::host::device::{FIRST_PAUSE, Waiting};
use crate::model::{ChannelName, ChannelStatus, Failure, FailureKind};
use crate::wire::serial::Port;
use dialogue::{Dialogue, News, Resumed, Settings};
pub use fuzz::fuzz;
use handing::{Handed, Handing};
use offer::{Place, Platform};
use words::{Command, Heard, Parser, PlanInfo};

/// The channel at work. [`Channel::run`] is its life.
pub(crate) struct Channel {
    config: Quectel,
    platform: Platform,
    daemon: PathBuf,
    door: Door,
    incoming: BytesMut,
    parser: Parser,
    dialogue: Dialogue,
    job: Job,
    own: Option<Own>,
    /// A plan that was not passed on yet, with the signal in dBm.
    plan: Option<(PlanInfo, Option<i32>)>,
    /// The final word that is on its way.
    last_word: Option<Word>,
    handing: Option<Handing>,
    /// It was looked whether something goes on that another process has begun.
    is_resumed: bool,
    /// When what came of a file is given up whose plan has ended.
    kept_until: Option<Instant>,
    /// When the daemon may be asked again.
    rests_until: Option<Instant>,
    /// What became of the last plan, where that is worth a sentence.
    note: Option<String>,
    errors: u64,
    told: Option<ChannelStatus>,
}

enum Door {
    Open(Port),
    Waits(Waiting),
}

enum Event {
    Own(Result<Own, Daemon>),
    DaemonMayBeBack,
    Port,
    Read(std::io::Result<usize>),
    Handed(Handed),
    Time,
}

impl Channel {
    /// The channel of this configuration; the product's secret is read now.
    pub(crate) fn new(config: &Config, quectel: &Quectel) -> Result<Self, Failure> {
        let settings = Settings {
            product: product(quectel)?,
            form: quectel.version_form.clone(),
            period: quectel.request_period,
            block: quectel.block,
            baud: quectel.baud,
            sha256: quectel.sha256,
        };
        Ok(Self {
            config: quectel.clone(),
            platform: Platform::new(config, quectel),
            daemon: config.paths.channels(),
            door: Door::Waits(Waiting::first(&quectel.device)),
            incoming: BytesMut::new(),
            parser: Parser::default(),
            dialogue: Dialogue::new(settings),
            // A module can't be put off: what may not begin now is refused.
            job: Job::new(false),
            own: None,
            plan: None,
            last_word: None,
            handing: None,
            is_resumed: false,
            kept_until: None,
            rests_until: None,
            note: None,
            errors: 0,
            told: None,
        })
    }

    /// Serves until the task is dropped.
    pub(crate) async fn run(mut self) {
        let mut watch = None;
        let mut look_at = Instant::now();
        loop {
            if let Err(trouble) = self.work(&mut watch).await {
                tracing::info!("the daemon is waited for: {trouble}");
                self.lose_daemon(&mut watch);
                look_at = Instant::now() + PAUSE.mul_f64(1.0 + fastrand::f64());
            }
            match self.wait(&mut watch, look_at).await {
                Event::Own(Ok(own)) => self.take_own(own),
                Event::Own(Err(trouble)) => {
                    tracing::info!("the daemon is waited for: {trouble}");
                    self.lose_daemon(&mut watch);
                    look_at = Instant::now() + PAUSE.mul_f64(1.0 + fastrand::f64());
                }
                Event::DaemonMayBeBack => {
                    look_at = Instant::now() + PAUSE.mul_f64(1.0 + fastrand::f64());
                    watch = Watch::open(&self.daemon, ChannelName::QUECTEL).await.ok();
                    self.told = None;
                }
                Event::Port => self.open_port(),
                Event::Read(read) => self.take_read(read),
                Event::Handed(handed) => self.take_handed(handed),
                Event::Time => {}
            }
            let now = Instant::now();
            self.rests_until = self.rests_until.filter(|until| *until > now);
            if self.dialogue.tick(now.into_std()) {
                self.errors += 1;
                self.parser.reset();
            }
        }
    }

    async fn wait(&mut self, watch: &mut Option<Watch>, look_at: Instant) -> Event {
        let now = Instant::now();
        let deadline = self.dialogue.deadline(now.into_std()).map(Instant::from_std);
        let deadline = deadline.into_iter().chain(self.rests_until).chain(self.kept_until).min();
        let is_away = watch.is_none();
        tokio::select! {
            own = async { match watch {
                Some(watch) => watch.next().await,
                None => std::future::pending().await,
            }} => Event::Own(own),
            () = sleep_until(look_at), if is_away => Event::DaemonMayBeBack,
            event = through(&mut self.door, &mut self.incoming) => event,
            handed = async { match &mut self.handing {
                Some(handing) => handing.next().await,
                None => std::future::pending().await,
            }} => Event::Handed(handed),
            () = sleep_until(deadline.unwrap_or(now)), if deadline.is_some() => Event::Time,
        }
    }

    /// All that follows from what is known.
    async fn work(&mut self, watch: &mut Option<Watch>) -> Result<(), Daemon> {
        while let Some(news) = self.dialogue.news() {
            self.take_news(news);
        }
        self.speak();
        if watch.is_some() && self.own.is_some() {
            self.resume();
            self.let_install();
            self.pass_plan_on();
            self.tell();
            self.settle().await?;
            self.act().await?;
            self.tell_standing().await?;
        }
        self.dialogue.set_truth(self.truth());
        self.speak();
        Ok(())
    }

    /// Says the next command.
    fn speak(&mut self) {
        let Door::Open(port) = &mut self.door else { return };
        let room = self.handing.as_ref().is_some_and(Handing::has_room);
        let Some(command) = self.dialogue.next(room, Instant::now().into_std()) else { return };
        if let Command::Read { length, .. } = command {
            self.parser.expect(length);
        }
        tracing::debug!("said: {command:?}");
        // What the line does not take is said again.
        port.send(|buffer| {
            buffer.extend_from_slice(command.encode().as_bytes());
            true
        });
    }

    fn open_port(&mut self) {
        let Door::Waits(waiting) = &mut self.door else { return };
        match Port::open(&self.config.device, self.config.baud) {
            Ok(port) => {
                tracing::info!("{} is open", self.config.device.display());
                self.door = Door::Open(port);
                self.incoming.clear();
                self.parser.reset();
                self.dialogue.opened();
            }
            Err(error) => {
                if waiting.failed(error.to_string()) {
                    tracing::warn!("{error}");
                }
            }
        }
    }

    fn take_read(&mut self, read: std::io::Result<usize>) {
        let why = match read {
            Ok(0) => "the device is gone".to_owned(),
            Ok(_) => {
                let mut heard = Vec::new();
                self.parser.take(&self.incoming, &mut heard);
                self.incoming.clear();
                let now = Instant::now().into_std();
                for heard in heard {
                    match heard {
                        Heard::Said(said) => {
                            tracing::debug!("heard: {said:?}");
                            self.dialogue.hear(said, now);
                        }
                        Heard::Data { start, bytes } => self.dialogue.data(start, bytes),
                    }
                }
                return;
            }
            Err(error) => error.to_string(),
        };
        let why = format!("{}: {why}", self.config.device.display());
        tracing::warn!("{why}");
        self.errors += 1;
        self.dialogue.lost();
        self.door = Door::Waits(Waiting::again(&self.config.device, why, FIRST_PAUSE));
    }

    fn take_news(&mut self, news: News) {
        match news {
            News::Plan(info, signal) => self.plan = Some((info, signal)),
            News::Refused => {
                if self.upgrade().is_none() {
                    self.job.offered_nothing();
                }
            }
            // It begins with the job's word.
            News::File(_) => self.stop_handing(),
            News::Bytes { bytes, .. } => {
                if let Some(handing) = &self.handing {
                    handing.send(bytes);
                }
            }
            News::MayInstall => tracing::info!("the module waits for the new version"),
            News::Over(succeeded) => {
                let word = if succeeded { "success" } else { "failure" };
                tracing::info!("the platform's plan has ended: {word}");
                self.stop_handing();
            }
            News::Broken(why) => {
                tracing::warn!("the plan can't go on: {why}");
                self.errors += 1;
                self.note = Some(format!("its last plan could not go on: {why}"));
                self.stop_handing();
                self.fail_plan();
            }
            News::Announced => {
                if let Some(word) = self.last_word.take() {
                    self.job.told(&word);
                }
            }
        }
    }

    fn stop_handing(&mut self) {
        if self.handing.take().is_some() {
            self.job.fetching(None);
        }
    }

    /// The module hears what runs: that ends a plan at once (QT-12).
    fn fail_plan(&mut self) {
        let Some((component, _)) = self.wanted() else { return };
        if let Some(version) = self.version_of(&component) {
            self.dialogue.announce(&component, version, None);
        }
    }

    fn take_handed(&mut self, handed: Handed) {
        match handed {
            Handed::Room => {}
            Handed::Begun(begun) => match begun.file {
                Some(file) if self.dialogue.file().is_some() => {
                    drop(file);
                    self.dialogue.begin_at(begun.offset);
                }
                file => {
                    let how =
                        file.map_or(Resumed::Accepted, |file| Resumed::Reading(file, begun.offset));
                    if how == Resumed::Accepted {
                        self.stop_handing();
                    }
                    self.go_on(how);
                }
            },
            Handed::Ended(Ok(())) => self.handing = None,
            Handed::Ended(Err(Daemon::Away(error))) => {
                tracing::info!("the daemon takes no more bytes: {error}");
                self.stop_handing();
            }
            Handed::Ended(Err(Daemon::Refused(failure))) => {
                // The job looks what became of the upgrade.
                tracing::warn!(UPLIFT_KIND = %failure.kind, "the daemon takes no more: {failure}");
                self.handing = None;
            }
        }
    }
}

/// What the port brings.
async fn through(door: &mut Door, incoming: &mut BytesMut) -> Event {
    match door {
        Door::Open(port) => Event::Read(port.read(incoming).await),
        Door::Waits(waiting) => {
            waiting.until_worth_a_try().await;
            Event::Port
        }
    }
}

/// What a module is told that is not configured.
fn product(config: &Quectel) -> Result<Vec<Command>, Failure> {
    let Some(file) = &config.product_file else { return Ok(Vec::new()) };
    let line = secret::read(file, "the product's secret")?;
    let is_plain = |text: &str| {
        text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b','))
    };
    let parts: Vec<&str> = line.reveal().split_ascii_whitespace().collect();
    let [key, secret] = parts[..] else { return Err(no_product(file)) };
    if !is_plain(key) || !is_plain(secret) {
        return Err(no_product(file));
    }
    let mut commands = vec![Command::Product(Password::of(key), Password::of(secret))];
    commands.extend(config.server.iter().cloned().map(Command::Server));
    commands.push(Command::Register);
    Ok(commands)
}

fn no_product(file: &std::path::Path) -> Failure {
    let sentence = format!(
        "the first line of {} is not the product's key, a blank and its secret",
        file.display()
    );
    Failure::new(FailureKind::Internal, sentence)
}

/// The product of a component's files.
fn product_of(config: &Config, component: crate::model::ComponentName) -> Option<&str> {
    config.components.get(component).map(Component::product)
}

/// Where a component's files wait, where that is known.
fn place_of(config: &Config, component: crate::model::ComponentName) -> Place {
    let program = config.components.programs().find(|program| program.common.name == component);
    Place(program.and_then(|program| program.path.parent()).map(PathBuf::from))
}
