//! The broker of simulated platforms, and their connection to it.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as expected")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use uplift_sim::cloud::broker::{Broker, Choice, Heard, Message, Qos};

const DEADLINE: Duration = Duration::from_secs(30);

/// Where tests/install-packages unpacks it.
fn mosquitto() -> PathBuf {
    let path =
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/servers/usr/sbin/mosquitto"));
    assert!(path.exists(), "the broker is not there; `tests/install-packages` unpacks it");
    path.to_owned()
}

fn open() -> Broker {
    Broker::open(&Choice { mosquitto: Some(mosquitto()), ..Choice::default() }).unwrap()
}

#[test]
fn what_one_publishes_another_hears_through_wildcards() {
    let broker = open();
    let (_, platform) = broker.connect("platform", &["thing/+/up", "sys/#"]).unwrap();
    let (device, _kept) = broker.connect("device", &[]).unwrap();
    for topic in ["thing/1/down", "thing/1/up", "sys/a/b"] {
        device.publish(topic, topic, Qos::AtLeastOnce, false).unwrap();
    }
    for topic in ["thing/1/up", "sys/a/b"] {
        let message =
            Message { topic: topic.to_owned(), payload: topic.into(), is_retained: false };
        assert_eq!(platform.next(DEADLINE), Some(Heard::Message(message)));
    }
    device.publish("sys/kept", "", Qos::AtMostOnce, false).unwrap();
    device.publish("sys/large", vec![b'x'; 10 << 20], Qos::AtLeastOnce, true).unwrap();
    assert_eq!(
        platform.wait_for(DEADLINE, |it| it.topic == "sys/large").unwrap().payload.len(),
        10 << 20
    );
    let (_, late) = broker.connect("late", &["#"]).unwrap();
    assert!(late.wait_for(DEADLINE, |it| it.topic == "sys/large").unwrap().is_retained);
}

#[test]
fn a_connection_outlives_its_broker_s_power_cut() {
    let mut broker = open();
    let (platform, heard) = broker.connect("platform", &["up"]).unwrap();
    let ours = broker.ours().unwrap();
    ours.kill();
    assert!(matches!(heard.next(DEADLINE), Some(Heard::Lost(_))));
    ours.start_again().unwrap();
    while heard.next(DEADLINE).unwrap() != Heard::Ready {}
    platform.publish("up", "again", Qos::AtLeastOnce, false).unwrap();
    assert_eq!(heard.wait_for(DEADLINE, |_| true).unwrap().payload, b"again");
}

#[test]
fn a_broker_that_is_not_there_is_told_with_its_address() {
    let choice = Choice { url: Some("mqtt://broker.invalid:1".to_owned()), ..Choice::default() };
    let error = Broker::open(&choice).unwrap().connect("platform", &[]).unwrap_err();
    assert!(format!("{error:#}").contains("mqtt://broker.invalid:1"), "{error:#}");
}
