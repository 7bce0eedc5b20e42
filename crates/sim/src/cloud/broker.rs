//! What simulated platforms of MQTT share: the broker, theirs or another's, and a connection to it
//! that comes back after each loss and subscribes again. Knows nothing of what messages mean.

use std::fmt;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail, ensure};
use rumqttc::{
    Client, ClientBuilder, Event, Incoming, MqttOptions, PublishOptions, SubscribeFilter,
    SubscribeReasonCode,
};

use super::mosquitto::{self, Mosquitto};

/// Largest message in bytes, either way: larger ones than devices take must go through.
const LARGEST: usize = 64 << 20;
/// Messages that wait to be sent; behind them whoever publishes is held up.
const WAITING: usize = 1000;
const KEEP_ALIVE_SECONDS: u16 = 30;
/// How long a broker may take to let a platform in.
const PATIENCE: Duration = Duration::from_secs(20);
/// Before a broker that is away is tried again.
const PAUSE: Duration = Duration::from_millis(100);

/// Which broker a platform uses.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// One that runs: `mqtt://HOST[:PORT]`. Without it, one is started that lets everybody in.
    pub url: Option<String>,
    /// Its program, where one is started that is not found by itself.
    pub mosquitto: Option<PathBuf>,
    /// Name and password of the platform, where the broker asks for them.
    pub login: Option<Login>,
}

/// Whom a broker knows a platform as.
#[derive(Clone)]
pub struct Login {
    /// The name.
    pub user: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

/// A broker. Dropped, it ends if it is ours.
#[derive(Debug)]
pub struct Broker {
    host: String,
    port: u16,
    login: Option<Login>,
    ours: Option<Mosquitto>,
}

/// How surely a message arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Qos {
    /// Once, or not.
    AtMostOnce,
    /// Once or more often.
    AtLeastOnce,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Where it was published.
    pub topic: String,
    /// Its bytes.
    pub payload: Vec<u8>,
    /// Whether the broker has kept it since before the subscription.
    pub is_retained: bool,
}

/// What is heard over a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// The broker is there, and has granted all subscriptions.
    Ready,
    /// The broker is gone; why.
    Lost(String),
    /// A message.
    Message(Message),
}

/// Sends over a connection; a copy is the same one.
#[derive(Clone)]
pub struct Publisher(Client);

/// What comes over a connection. Dropped, it closes that.
pub struct Messages {
    heard: Receiver<Heard>,
    client: Client,
}

impl Broker {
    /// That broker, started where none is named.
    pub fn open(choice: &Choice) -> anyhow::Result<Self> {
        let login = choice.login.clone();
        if let Some(url) = &choice.url {
            let (host, port) = parse(url).context(
                "the broker's URL is not mqtt://HOST[:PORT]; TLS is not spoken, and name and password have arguments of their own",
            )?;
            return Ok(Self { host, port, login, ours: None });
        }
        let program = mosquitto::program(choice.mosquitto.as_deref())?;
        let ours = Mosquitto::start(&program, tempfile::tempdir()?, mosquitto::OPEN)?;
        let host = "127.0.0.1".to_owned();
        Ok(Self { host, port: ours.port(), login, ours: Some(ours) })
    }

    /// Where devices find it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("mqtt://{}:{}", self.host, self.port)
    }

    /// The process, where it was started here.
    pub const fn ours(&mut self) -> Option<&mut Mosquitto> {
        self.ours.as_mut()
    }

    /// Connects, with a name that nobody else has there, and subscribes to these filters, which may
    /// have wildcards. The broker has granted them then.
    pub fn connect(
        &self,
        client_id: &str,
        filters: &[&str],
    ) -> anyhow::Result<(Publisher, Messages)> {
        let mut options = MqttOptions::new(client_id, (self.host.clone(), self.port));
        options.set_keep_alive(KEEP_ALIVE_SECONDS).set_max_packet_size(LARGEST, LARGEST);
        if let Some(login) = &self.login {
            options.set_credentials(&login.user, login.password.clone());
        }
        let (client, mut connection) = ClientBuilder::new(options).capacity(WAITING).try_build()?;
        // What follows a confirmation is not to wait until that is acknowledged.
        connection.eventloop.network_options.set_tcp_nodelay(true);
        let (sender, heard) = channel();
        let line = Line {
            client: client.clone(),
            filters: filters.iter().map(|filter| (*filter).to_owned()).collect(),
            heard: sender,
        };
        thread::Builder::new().name("mqtt".to_owned()).spawn(move || line.run(connection))?;
        let messages = Messages { heard, client: client.clone() };
        messages.wait_until_ready().with_context(|| format!("the broker at {}", self.url()))?;
        Ok((Publisher(client), messages))
    }
}

impl Publisher {
    /// Has a message published. It is on its way then, or waits for a broker that is away.
    pub fn publish(
        &self,
        topic: &str,
        payload: impl Into<Vec<u8>>,
        qos: Qos,
        is_retained: bool,
    ) -> anyhow::Result<()> {
        let options = PublishOptions::new(of(qos)).retain(is_retained);
        self.0.publish(topic, payload.into(), options)?;
        Ok(())
    }
}

impl Messages {
    /// The next event, unless none comes within this time.
    #[must_use]
    pub fn next(&self, within: Duration) -> Option<Heard> {
        self.heard.recv_timeout(within).ok()
    }

    /// The next message that is wanted, unless none comes within this time. What comes before it is
    /// passed over.
    pub fn wait_for(
        &self,
        within: Duration,
        mut wanted: impl FnMut(&Message) -> bool,
    ) -> Option<Message> {
        let deadline = Instant::now() + within;
        loop {
            match self.next(deadline.saturating_duration_since(Instant::now()))? {
                Heard::Message(message) if wanted(&message) => return Some(message),
                _ => {}
            }
        }
    }

    fn wait_until_ready(&self) -> anyhow::Result<()> {
        loop {
            match self.heard.recv_timeout(PATIENCE) {
                Ok(Heard::Ready) => return Ok(()),
                Ok(Heard::Message(_)) => {}
                Ok(Heard::Lost(why)) => return Err(anyhow!(why)),
                Err(_) => bail!("it does not answer"),
            }
        }
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        // Where it is lost, its thread ends with the next try.
        let _ = self.client.try_disconnect_now();
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Publisher")
    }
}

impl fmt::Debug for Messages {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Messages")
    }
}

/// The thread of a connection.
struct Line {
    client: Client,
    filters: Vec<String>,
    heard: Sender<Heard>,
}

impl Line {
    /// Until nobody listens any more.
    fn run(self, mut connection: rumqttc::Connection) {
        while let Ok(event) = connection.recv() {
            let is_lost = event.is_err();
            let heard = match event {
                Ok(event) => self.on(event),
                Err(error) => Ok(Some(Heard::Lost(error.to_string()))),
            };
            let heard = heard.unwrap_or_else(|error| Some(Heard::Lost(error.to_string())));
            if heard.is_some_and(|heard| self.heard.send(heard).is_err()) {
                return;
            }
            if is_lost {
                thread::sleep(PAUSE);
            }
        }
    }

    fn on(&self, event: Event) -> anyhow::Result<Option<Heard>> {
        match event {
            Event::Incoming(Incoming::ConnAck(_)) if self.filters.is_empty() => {
                Ok(Some(Heard::Ready))
            }
            Event::Incoming(Incoming::ConnAck(_)) => {
                let filter =
                    |filter: &String| SubscribeFilter::new(filter.clone(), of(Qos::AtLeastOnce));
                // This thread alone makes room where messages wait: it must not wait itself.
                self.client.try_subscribe_many(self.filters.iter().map(filter))?;
                Ok(None)
            }
            Event::Incoming(Incoming::SubAck(answer)) => {
                let is_refused = answer.return_codes.contains(&SubscribeReasonCode::Failure);
                ensure!(!is_refused, "it refuses a subscription");
                Ok(Some(Heard::Ready))
            }
            Event::Incoming(Incoming::Publish(message)) => Ok(Some(Heard::Message(Message {
                topic: String::from_utf8_lossy(&message.topic).into_owned(),
                payload: message.payload.to_vec(),
                is_retained: message.retain,
            }))),
            _ => Ok(None),
        }
    }
}

const fn of(qos: Qos) -> rumqttc::QoS {
    match qos {
        Qos::AtMostOnce => rumqttc::QoS::AtMostOnce,
        Qos::AtLeastOnce => rumqttc::QoS::AtLeastOnce,
    }
}

fn parse(url: &str) -> Option<(String, u16)> {
    let rest = url.strip_prefix("mqtt://")?.trim_end_matches('/');
    let (host, port) = rest.rsplit_once(':').unwrap_or((rest, "1883"));
    let is_host = !host.is_empty() && !host.contains(['@', '/']);
    is_host.then(|| Some((host.to_owned(), port.parse().ok()?)))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_s_url_has_a_host_and_maybe_a_port() {
        assert_eq!(parse("mqtt://a"), Some(("a".to_owned(), 1883)));
        assert_eq!(parse("mqtt://127.0.0.1:99/"), Some(("127.0.0.1".to_owned(), 99)));
        for wrong in ["a", "mqtts://a", "mqtt://", "mqtt://u:p@a", "mqtt://a:b", "mqtt://a:99999"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
