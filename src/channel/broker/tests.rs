//! The connection as configured, at Debian's mosquitto.

#![allow(clippy::disallowed_methods, reason = "files of a test need not survive anything")]

#[path = "../../../tests/world/web/certificates.rs"]
mod certificates;
#[path = "../../../tests/world/mosquitto.rs"]
mod mosquitto;

use std::io;
use std::path::Path;
use std::sync::{Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::time::timeout;

use self::certificates::Certificates;
use self::mosquitto::{Mosquitto, Setup};
use super::*;
use crate::wire::mqtt::{Event, Message, Publisher, Qos, Subscription};

/// Generous: a loaded machine is no failure.
const DEADLINE: Duration = Duration::from_secs(30);
/// What the broker says of each client that it lets in.
const LET_IN: [&str; 2] = ["New client connected", "as device"];

/// A device whose connection runs on a thread of its own, until it is dropped.
struct Device {
    heard: Subscription,
    publisher: Publisher,
    log: Log,
    runtime: Runtime,
    /// Dropped, the thread ends.
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

/// What it says to its log.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Device {
    /// One that subscribes to these topics, with further fields of `[broker.cloud]`.
    fn start(url: &str, fields: &str, topics: &[&str]) -> Self {
        let text = format!(
            "[component.program]\nname = \"demo\"\nproduct = \"P\"\n\
             [broker.cloud]\nurl = \"{url}\"\nclient_id = \"device\"\nspread = \"0s\"\n{fields}\n"
        );
        let config = Config::parse(&text, Path::new("uplift.toml")).unwrap();
        let topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
        let (log, (ends, end)) = (Log::default(), oneshot::channel());
        let (sender, made) = mpsc::channel();
        let writer = log.clone();
        let thread = std::thread::spawn(move || {
            let subscriber =
                tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false);
            let _logging = tracing::subscriber::set_default(subscriber.finish());
            let mut brokers = Brokers::new(&config, || 0.0);
            let connection = brokers.to("cloud".parse().unwrap()).unwrap();
            sender.send((connection.subscribe(topics), connection.publisher())).unwrap();
            runtime().block_on(async {
                let mut at_work = JoinSet::new();
                brokers.run(&mut at_work);
                let _ = end.await;
            });
        });
        let (heard, publisher) = made.recv().unwrap();
        let running = Some((ends, thread));
        Self { heard, publisher, log, runtime: runtime(), running }
    }

    fn at(broker: &Mosquitto, topics: &[&str]) -> Self {
        Self::start(&broker.url(), "", topics)
    }

    fn next(&mut self) -> Event {
        let next = self.runtime.block_on(async { timeout(DEADLINE, self.heard.next()).await });
        next.unwrap_or_else(|_| panic!("nothing; {}", self.log.text())).unwrap()
    }

    fn is_ready(&mut self) {
        assert_eq!(self.next(), Event::Ready { refused: Vec::new() }, "{}", self.log.text());
    }

    /// Why the connection was lost.
    fn is_lost(&mut self) -> String {
        match self.next() {
            Event::Lost { why } => why,
            other => panic!("{other:?}"),
        }
    }

    fn hears(&mut self, topic: &str, text: &str) {
        let message = message(topic, text);
        assert_eq!(self.next(), Event::Message(message), "{}", self.log.text());
    }

    fn publish(&self, topic: &str, text: &str) {
        let sent = self.publisher.publish(topic, text.into(), Qos::AtLeastOnce);
        assert_eq!(self.runtime.block_on(sent), Ok(()));
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        if let Some((ends, thread)) = self.running.take() {
            drop(ends);
            let _ = thread.join();
        }
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn message(topic: &str, text: &str) -> Message {
    Message {
        topic: topic.to_owned(),
        payload: text.to_owned().into_bytes().into(),
        is_retained: false,
    }
}

/// Has the broker publish this many bytes.
fn publish_large(broker: &Mosquitto, topic: &str, size: usize, arguments: &[&str]) {
    let file = broker.directory().join("large");
    std::fs::write(&file, vec![b'x'; size]).unwrap();
    let all = [&["-t", topic, "-f", file.to_str().unwrap()], arguments].concat();
    assert!(broker.client("mosquitto_pub", &all).status.success());
}

/// MQ-6: mosquitto refuses a wrong password with CONNACK 5.
#[test]
fn who_we_are_is_proved_by_a_password() {
    let broker = Setup::new().users(&[("device", "right")]).start();
    let file = broker.directory().join("password");
    let login = format!("user = \"device\"\npassword_file = \"{}\"", file.display());
    std::fs::write(&file, "right\n").unwrap();
    Device::start(&broker.url(), &login, &["down"]).is_ready();
    std::fs::write(&file, "wrong\n").unwrap();
    for fields in [&*login, ""] {
        let mut device = Device::start(&broker.url(), fields, &["down"]);
        let why = device.is_lost();
        assert_eq!(
            why,
            "it does not let us in: our user, password or client id has no right there"
        );
        let log = device.log.text();
        assert!(log.contains("is tried again in 150s") && !log.contains("wrong"), "{log}");
    }
}

/// MQ-4: the broker acknowledges what it drops, and grants what it will not send.
#[test]
fn an_access_list_drops_in_silence() {
    let broker = Setup::new().acl("topic readwrite allowed\n").start();
    let mut device = Device::at(&broker, &["denied", "allowed"]);
    device.is_ready();
    broker.publish("denied", "lost", &[]);
    device.publish("denied", "lost");
    broker.publish("allowed", "there", &[]);
    device.hears("allowed", "there");
    device.publish("allowed", "back");
    device.hears("allowed", "back");
}

/// Dynamic security refuses for real, and one filter does not drag the others along.
#[test]
fn a_refused_subscription_is_told() {
    let broker = Setup::new().refuse_subscriptions(&["denied"]).start();
    let mut device = Device::at(&broker, &["one", "denied", "two"]);
    assert_eq!(device.next(), Event::Ready { refused: vec!["denied".to_owned()] });
    let log = device.log.text();
    // Which ones, their channel says: a topic may hold a secret.
    assert!(log.contains("refuses 1 of 3 topics") && !log.contains("denied"), "{log}");
    broker.publish("two", "there", &[]);
    device.hears("two", "there");
}

#[test]
fn tls_believes_the_authority_that_is_named_and_nobody_else() {
    let certificates = Certificates::make();
    let at = |name: &str| certificates.file(name);
    let broker = Setup::new().tls(&at("server.pem"), &at("server.key"), None).start();
    let url = broker.url().replace("mqtt:", "mqtts:");
    let believes = |name: &str| format!("ca_file = \"{}\"", at(name).display());
    let mut device = Device::start(&url, &believes("ca.pem"), &["down"]);
    device.is_ready();
    broker.publish("down", "there", &[]);
    device.hears("down", "there");
    let why = Device::start(&url, &believes("stranger.pem"), &["down"]).is_lost();
    assert_eq!(why, "no TLS with it: invalid peer certificate: UnknownIssuer");
    let by_name = url.replace("127.0.0.1", "localhost");
    let why = Device::start(&by_name, &believes("ca.pem"), &["down"]).is_lost();
    assert!(why.contains("certificate not valid for name \"localhost\""), "{why}");
}

#[test]
fn a_certificate_proves_who_we_are_where_it_is_demanded() {
    let certificates = Certificates::make();
    let at = |name: &str| certificates.file(name);
    let clients = at("ca.pem");
    let broker = Setup::new().tls(&at("server.pem"), &at("server.key"), Some(&clients)).start();
    let url = broker.url().replace("mqtt:", "mqtts:");
    let ca = format!("ca_file = \"{}\"\n", at("ca.pem").display());
    let shows = |name: &str| {
        let file = |end| at(&format!("{name}.{end}")).display().to_string();
        let (certificate, key) = (file("pem"), file("key"));
        format!("{ca}client_certificate = \"{certificate}\"\nclient_key = \"{key}\"")
    };
    Device::start(&url, &shows("client"), &["down"]).is_ready();
    for (fields, alert) in [(&*ca, "CertificateRequired"), (&shows("stranger"), "UnknownCA")] {
        let why = Device::start(&url, fields, &["down"]).is_lost();
        assert_eq!(why, format!("received fatal alert: {alert}"));
    }
}

/// MQ-3: a broker that was killed knows nobody, and a restart of it is no loss of a channel.
#[test]
fn a_broker_that_lost_its_power_is_subscribed_to_again() {
    let mut broker = Setup::new().persistent().start();
    let fields = "clean_session = false";
    for fields in ["", fields] {
        let mut device = Device::start(&broker.url(), fields, &["down"]);
        device.is_ready();
        broker.kill();
        assert_eq!(device.is_lost(), "it has closed the connection");
        assert!(device.is_lost().contains("Connection refused"));
        broker.start_again().unwrap();
        while !matches!(device.next(), Event::Ready { .. }) {}
        broker.publish("down", "there", &[]);
        device.hears("down", "there");
    }
}

/// MQ-6.
#[test]
fn another_client_with_our_name_is_left_alone_after_the_third_time() {
    let broker = Mosquitto::start();
    let mut device = Device::at(&broker, &["down"]);
    for thrown_out in 1..=3 {
        device.is_ready();
        broker.publish("elsewhere", "mine", &["-i", "device"]);
        let why = device.is_lost();
        let is_told = why.contains("another client seems to have our `client_id`");
        assert_eq!(is_told, thrown_out == 3, "{why}");
    }
    let log = device.log.text();
    assert!(log.contains("is tried again in 150s") && log.contains("another client"), "{log}");
}

/// MQ-2: its content is passed over, and what stands behind it is heard.
#[test]
fn a_message_that_is_too_large_comes_empty() {
    let broker = Mosquitto::start();
    let mut device = Device::at(&broker, &["down"]);
    device.is_ready();
    for qos in ["0", "1"] {
        publish_large(&broker, "down", 10 << 20, &["-q", qos]);
        broker.publish("down", "there", &["-q", qos]);
        device.hears("down", "");
        device.hears("down", "there");
    }
    publish_large(&broker, "down", 255 << 10, &[]);
    assert!(matches!(device.next(), Event::Message(message) if message.payload.len() == 255 << 10));
    let log = device.log.text();
    assert!(log.contains("more than `largest_message` allows"), "{log}");
    assert_eq!(broker.logged(&LET_IN), 1);
}

/// MQ-2, MQ-7: nor does one that the broker has kept, and sends with each subscription.
#[test]
fn a_message_that_is_too_large_and_kept_keeps_us_from_nothing() {
    for qos in ["0", "1"] {
        let broker = Mosquitto::start();
        publish_large(&broker, "down", 1 << 20, &["-r", "-q", qos]);
        let mut device = Device::at(&broker, &["down", "other"]);
        device.is_ready();
        let kept = Message { is_retained: true, ..message("down", "") };
        assert_eq!(device.next(), Event::Message(kept));
        broker.publish("down", "there", &["-q", qos]);
        device.hears("down", "there");
        assert_eq!(broker.logged(&LET_IN), 1);
    }
}

/// Our limit lies above TLS, whose records end anywhere.
#[test]
fn a_message_that_is_too_large_comes_empty_over_tls() {
    let certificates = Certificates::make();
    let at = |name: &str| certificates.file(name);
    let broker = Setup::new().tls(&at("server.pem"), &at("server.key"), None).start();
    let url = broker.url().replace("mqtt:", "mqtts:");
    let fields = format!("ca_file = \"{}\"", at("ca.pem").display());
    let mut device = Device::start(&url, &fields, &["down"]);
    device.is_ready();
    publish_large(&broker, "down", 1 << 20, &["-q", "1"]);
    broker.publish("down", "there", &["-q", "1"]);
    device.hears("down", "");
    device.hears("down", "there");
}

#[test]
fn a_session_that_outlives_its_connection_brings_what_was_acknowledged() {
    let broker = Mosquitto::start();
    let fields = "clean_session = false";
    Device::start(&broker.url(), fields, &["down"]).is_ready();
    for number in 0..100 {
        let number = number.to_string();
        broker.publish("down", &number, &["-q", "1"]);
        broker.publish("down", &number, &["-q", "0"]);
    }
    let mut device = Device::start(&broker.url(), fields, &["down"]);
    let mut came = 0;
    while came < 100 {
        if let Event::Message(heard) = device.next() {
            assert_eq!(heard, message("down", &came.to_string()));
            came += 1;
        }
    }
}

/// MQ-2: it is acknowledged, so that the session gets past it, and keeps what waits behind it.
#[test]
fn a_session_goes_on_behind_a_message_that_is_too_large() {
    let broker = Mosquitto::start();
    let fields = "clean_session = false";
    Device::start(&broker.url(), fields, &["down"]).is_ready();
    publish_large(&broker, "down", 1 << 20, &["-q", "1"]);
    broker.publish("down", "behind it", &["-q", "1"]);
    for _ in 0..2 {
        let mut device = Device::start(&broker.url(), fields, &["down"]);
        broker.publish("down", "there", &["-q", "1"]);
        while device.next() != Event::Message(message("down", "there")) {}
    }
    let mut device = Device::start(&broker.url(), fields, &["down"]);
    device.is_ready();
    broker.publish("down", "last", &["-q", "1"]);
    device.hears("down", "last");
}

#[test]
fn a_broker_that_stands_still_is_noticed_within_two_keep_alives() {
    let broker = Mosquitto::start();
    let mut device = Device::start(&broker.url(), "keep_alive = \"5s\"", &["down"]);
    device.is_ready();
    broker.wait_for_log(1, &["Received PINGREQ from device"]);
    let frozen = Instant::now();
    broker.freeze();
    assert_eq!(device.is_lost(), "it says nothing any more");
    let noticed = frozen.elapsed();
    broker.thaw();
    // Two of 5 s, and as much again for a loaded machine.
    assert!(noticed < Duration::from_secs(20), "{noticed:?}");
    while !matches!(device.next(), Event::Ready { .. }) {}
    broker.publish("down", "there", &[]);
    device.hears("down", "there");
}

/// MQ-7.
#[test]
fn what_the_broker_has_kept_is_told_apart() {
    let broker = Mosquitto::start();
    broker.publish("down", "old", &["-r", "-q", "1"]);
    let mut device = Device::at(&broker, &["down"]);
    device.is_ready();
    let old = Message { is_retained: true, ..message("down", "old") };
    assert_eq!(device.next(), Event::Message(old));
    broker.publish("down", "new", &["-r", "-q", "1"]);
    device.hears("down", "new");
}
