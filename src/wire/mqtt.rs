//! A connection to a broker of MQTT 3.1.1 that lasts: it comes back after every loss, subscribes
//! again, and gives each channel the messages of its topics. Several channels may share one.
//!
//! Nothing is kept for a broker that is away: what must arrive, its channel says again once the
//! connection is ready. The library of the protocol stands behind the trait [`Library`]; nothing here
//! knows what messages mean.

mod fuzz;
mod library;
mod narrow;
mod retry;
mod rumqttc;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use tokio::sync::{Notify, SetOnce, mpsc, watch};
use tokio::time::{Instant, sleep, timeout};

#[doc(hidden)]
pub use fuzz::fuzz;

use super::spread::{Chance, part};
use library::{Heard, Library, Post as _};
pub(crate) use library::{Loss, Qos};
use retry::Retry;
use rumqttc::Rumqttc;

/// Largest message that is sent, in bytes: brokers close the connection of whoever sends more than
/// they take, and what was not acknowledged would come again for ever.
pub(crate) const LARGEST_SENT: usize = 64 << 10;
/// Longest wait for a broker's word to something that it was sent.
const PATIENCE: Duration = Duration::from_secs(15);
/// Messages that wait for a channel. Behind them the broker is not read.
const WAITING: usize = 16;

/// Tells how long the machine has slept since its boot.
type Slept = fn() -> Duration;

/// A broker, and who we are there.
#[derive(Clone)]
pub(crate) struct Broker {
    /// Name or address.
    pub(crate) host: String,
    /// Port.
    pub(crate) port: u16,
    /// TLS, where it is spoken.
    pub(crate) tls: Option<Arc<rustls::ClientConfig>>,
    /// Our name, which nobody else has there.
    pub(crate) client_id: String,
    /// Our name and password, where they are asked for.
    pub(crate) login: Option<Login>,
    /// Time without a word after which either side asks whether the other is there.
    pub(crate) keep_alive: Duration,
    /// Whether the broker forgets us when the connection ends.
    pub(crate) clean_session: bool,
    /// Largest message in bytes that may come. A larger one comes empty.
    pub(crate) largest: usize,
    /// Over how long the connections of many devices are spread that lose their broker together; zero
    /// where there are not many.
    pub(crate) spread: Duration,
}

/// Whom a broker knows us as.
#[derive(Clone)]
pub(crate) struct Login {
    /// The name.
    pub(crate) user: String,
    /// The password, which may be empty.
    pub(crate) password: String,
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// A message of a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    /// Where it was published.
    pub(crate) topic: String,
    /// Its bytes.
    pub(crate) payload: bytes::Bytes,
    /// Whether the broker has kept it since before we subscribed.
    pub(crate) is_retained: bool,
}

/// What a channel hears of its connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// The broker is there, and has answered every subscription; these it refused. Messages come behind
    /// it, but for a session that has kept too many of them.
    Ready {
        /// Topics of which nothing will come.
        refused: Vec<String>,
    },
    /// The connection was lost, or could not be made; it will be tried again.
    Lost {
        /// Why, a sentence.
        why: String,
    },
    /// A message of one of the channel's topics.
    Message(Message),
}

/// Why a message was not published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotPublished {
    /// There is no connection now.
    #[error("its broker is not there")]
    NoConnection,
    /// The broker did not say that it has it.
    #[error("its broker did not acknowledge it")]
    NotAcknowledged,
    /// It is larger than brokers must take.
    #[error("the message is larger than {LARGEST_SENT} bytes")]
    TooLarge,
}

/// Sends over a connection; a copy is the same one.
#[derive(Debug)]
pub(crate) struct Publisher<L: Library = Rumqttc> {
    post: watch::Receiver<Option<L::Post>>,
}

impl<L: Library> Clone for Publisher<L> {
    fn clone(&self) -> Self {
        Self { post: self.post.clone() }
    }
}

impl<L: Library> Publisher<L> {
    /// Publishes a message. With [`Qos::AtLeastOnce`] the broker has acknowledged it after that, which
    /// on 3.1.1 does not prove that it passes it on.
    pub(crate) async fn publish(
        &self,
        topic: &str,
        payload: Vec<u8>,
        qos: Qos,
    ) -> Result<(), NotPublished> {
        if payload.len() > LARGEST_SENT {
            return Err(NotPublished::TooLarge);
        }
        let mut connection = self.post.clone();
        let post = connection.borrow_and_update().clone().ok_or(NotPublished::NoConnection)?;
        let sent = tokio::select! {
            biased;
            sent = timeout(PATIENCE, post.publish(topic, payload, qos)) => sent,
            // The library keeps silent about what it had not taken yet.
            _ = connection.changed() => return Err(NotPublished::NotAcknowledged),
        };
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(NotPublished::NotAcknowledged),
        }
    }
}

/// What a channel hears. Whoever does not listen holds up all that share the connection.
#[derive(Debug)]
pub(crate) struct Subscription {
    events: mpsc::Receiver<Event>,
    news: Arc<Notify>,
}

impl Subscription {
    /// The next event.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    /// One that is there already.
    pub(crate) fn heard(&mut self) -> Option<Event> {
        self.events.try_recv().ok()
    }

    /// Told whenever there is something to be heard.
    pub(crate) fn news(&self) -> Arc<Notify> {
        Arc::clone(&self.news)
    }
}

/// A connection before it is made: channels subscribe, then it [runs](Self::run).
#[derive(Debug)]
pub(crate) struct Connection<L: Library = Rumqttc> {
    broker: Broker,
    chance: Chance,
    slept: Slept,
    listeners: Vec<Listener>,
    post: watch::Sender<Option<L::Post>>,
}

/// How far a connection has come.
struct Progress {
    let_in: SetOnce<()>,
    ready_since: SetOnce<Instant>,
    /// Messages that came before [`Event::Ready`] was told; who answered them then could not send.
    /// `None` since they go their way.
    early: Mutex<Option<VecDeque<Message>>>,
}

#[derive(Debug)]
struct Listener {
    topics: Vec<String>,
    events: mpsc::Sender<Event>,
    news: Arc<Notify>,
}

impl Connection {
    /// A connection to this broker. `chance` spreads the devices of a fleet.
    pub(crate) fn new(broker: Broker, chance: Chance) -> Self {
        Self::of(broker, chance, slept)
    }
}

impl<L: Library> Connection<L> {
    fn of(broker: Broker, chance: Chance, slept: Slept) -> Self {
        Self { broker, chance, slept, listeners: Vec::new(), post: watch::Sender::new(None) }
    }

    /// The events of these topics, none of which has a wildcard.
    pub(crate) fn subscribe(&mut self, topics: Vec<String>) -> Subscription {
        let (sender, events) = mpsc::channel(WAITING);
        let news = Arc::new(Notify::new());
        self.listeners.push(Listener { topics, events: sender, news: Arc::clone(&news) });
        Subscription { events, news }
    }

    /// Sends over it.
    pub(crate) fn publisher(&self) -> Publisher<L> {
        Publisher { post: self.post.subscribe() }
    }

    /// Keeps the connection until the task is dropped.
    pub(crate) async fn run(self) {
        let mut retry = Retry::new(self.broker.spread);
        // Devices that start together do not come together.
        sleep(part(self.broker.spread, (self.chance)())).await;
        loop {
            let progress = Progress::new();
            let loss = self.connect(&progress).await;
            self.post.send_replace(None);
            let lasted = progress.ready_since.get().map(Instant::elapsed);
            let pause = retry.after(&loss, lasted, (self.chance)());
            let why = match retry.suspicion() {
                Some(suspicion) => format!("{loss}; {suspicion}"),
                None => loss.to_string(),
            };
            tracing::info!("the broker {:?} is tried again in {pause:.0?}: {why}", self.broker);
            self.tell_all(&Event::Lost { why }).await;
            sleep(pause).await;
        }
    }

    /// One connection from its beginning to its end.
    async fn connect(&self, progress: &Progress) -> Loss {
        // A new one each time: what the last one has not sent, its channel says again.
        let (post, mut library) = L::open(&self.broker);
        tokio::select! {
            loss = self.hear(&mut library, progress) => loss,
            loss = self.look_after(&post, progress) => loss,
        }
    }

    /// Drives the library, and passes on what comes.
    async fn hear(&self, library: &mut L, progress: &Progress) -> Loss {
        loop {
            match library.next().await {
                Ok(Heard::Connected) => _ = progress.let_in.set(()),
                Ok(Heard::Message(message)) => {
                    for message in progress.put_off(message) {
                        self.deliver(message).await;
                    }
                }
                Ok(Heard::Else) => {}
                Err(loss) => return loss,
            }
        }
    }

    /// Subscribes as soon as the broker is there, and then watches over the clock.
    async fn look_after(&self, post: &L::Post, progress: &Progress) -> Loss {
        progress.let_in.wait().await;
        let mut answered = Vec::new();
        for listener in &self.listeners {
            let Some(refused) = self.subscribe_anew(post, listener).await else {
                return Loss::Else("it does not answer a subscription".into());
            };
            if !refused.is_empty() {
                // A topic may hold a secret: whose it is tells which one.
                let (count, of) = (refused.len(), listener.topics.len());
                tracing::warn!("the broker {:?} refuses {count} of {of} topics", self.broker);
            }
            answered.push((listener, refused));
        }
        _ = progress.ready_since.set(Instant::now());
        self.post.send_replace(Some(post.clone()));
        for (listener, refused) in answered {
            listener.tell(Event::Ready { refused }).await;
        }
        while let Some(message) = progress.next_early() {
            self.deliver(message).await;
        }
        self.sleep_of_the_machine().await
    }

    /// One filter a packet: some brokers look at the first of a packet alone, and refuse all with it.
    async fn subscribe_anew(&self, post: &L::Post, listener: &Listener) -> Option<Vec<String>> {
        let mut refused = Vec::new();
        for topic in &listener.topics {
            match timeout(PATIENCE, post.subscribe(topic)).await {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) => refused.push(topic.clone()),
                Ok(Err(_)) | Err(_) => return None,
            }
        }
        Some(refused)
    }

    /// Ends when the machine has slept for longer than a broker waits: it has given us up, and our
    /// timers stood still.
    async fn sleep_of_the_machine(&self) -> Loss {
        let mut before = (self.slept)();
        loop {
            sleep(self.broker.keep_alive / 2).await;
            let now = (self.slept)();
            if now.saturating_sub(before) > self.broker.keep_alive {
                return Loss::Slept;
            }
            before = now;
        }
    }

    async fn deliver(&self, message: Message) {
        let hears = |listener: &&Listener| listener.topics.contains(&message.topic);
        for listener in self.listeners.iter().filter(hears) {
            listener.tell(Event::Message(message.clone())).await;
        }
    }

    async fn tell_all(&self, event: &Event) {
        for listener in &self.listeners {
            listener.tell(event.clone()).await;
        }
    }
}

impl Progress {
    fn new() -> Self {
        let early = Mutex::new(Some(VecDeque::new()));
        Self { let_in: SetOnce::new(), ready_since: SetOnce::new(), early }
    }

    /// Keeps a message that has come too early; those that are to be told now.
    fn put_off(&self, message: Message) -> Vec<Message> {
        let mut early = self.early.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *early {
            None => vec![message],
            Some(waiting) if waiting.len() < WAITING => {
                waiting.push_back(message);
                Vec::new()
            }
            Some(_) => early.take().unwrap_or_default().into_iter().chain([message]).collect(),
        }
    }

    /// One that was kept; after the last one they are told at once.
    fn next_early(&self) -> Option<Message> {
        let mut early = self.early.lock().unwrap_or_else(PoisonError::into_inner);
        let next = early.as_mut()?.pop_front();
        if next.is_none() {
            *early = None;
        }
        next
    }
}

impl Listener {
    async fn tell(&self, event: Event) {
        // Who has gone hears nothing.
        let _ = self.events.send(event).await;
        self.news.notify_one();
    }
}

/// How long the machine has slept since its boot.
fn slept() -> Duration {
    let since = |clock| clock_gettime(clock).map(Duration::from).unwrap_or_default();
    since(ClockId::CLOCK_BOOTTIME).saturating_sub(since(ClockId::CLOCK_MONOTONIC))
}
