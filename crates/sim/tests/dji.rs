//! The simulated DJI cloud as a program, with a gateway that the test plays.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as expected")]
#![allow(clippy::disallowed_methods, reason = "files of a test need not survive anything")]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use uplift_sim::cloud::broker::{Broker, Choice, Messages, Publisher, Qos};

const DEADLINE: Duration = Duration::from_secs(30);

fn mosquitto() -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/servers/usr/sbin/mosquitto"))
        .to_owned()
}

/// A gateway that says what the test has it say.
struct Gateway {
    publisher: Publisher,
    heard: Messages,
}

impl Gateway {
    fn come(broker: &Broker) -> Self {
        let topics = ["thing/product/GW1/#", "sys/product/GW1/#"];
        let (publisher, heard) = broker.connect("gateway", &topics).unwrap();
        let gateway = Self { publisher, heard };
        let data = json!({ "domain": "3", "type": 1, "sub_type": 0, "sub_devices": [] });
        let mut topology = message("b0", &data);
        topology["method"] = json!("update_topo");
        gateway.say("sys/product/GW1/status", &topology);
        gateway.hear("status_reply");
        gateway.say(
            "thing/product/GW1/state",
            &message("b1", &json!({ "firmware_version": "1", "compatible_status": 0 })),
        );
        gateway
    }

    fn say(&self, topic: &str, message: &Value) {
        self.publisher.publish(topic, message.to_string(), Qos::AtLeastOnce, false).unwrap();
    }

    fn hear(&self, what: &str) -> Value {
        let heard = self.heard.wait_for(DEADLINE, |one| one.topic.ends_with(what)).unwrap();
        serde_json::from_slice(&heard.payload).unwrap()
    }

    /// Takes the next command apart, and answers it.
    fn answer(&self, result: i64, status: &str) -> Value {
        let mut command = self.hear("/services");
        let asked = command.clone();
        command["gateway"] = json!("GW1");
        command["data"] = json!({ "result": result, "output": { "status": status } });
        self.say("thing/product/GW1/services_reply", &command);
        asked
    }

    fn tell(&self, bid: &Value, status: &str, percent: u8) {
        let output =
            json!({ "status": status, "progress": { "percent": percent, "current_step": 2 } });
        let mut event = message(bid.as_str().unwrap(), &json!({ "result": 0, "output": output }));
        event["method"] = json!("ota_progress");
        self.say("thing/product/GW1/events", &event);
    }
}

fn message(bid: &str, data: &Value) -> Value {
    json!({ "tid": format!("t-{bid}"), "bid": bid, "timestamp": 1, "gateway": "GW1", "data": data })
}

/// The platform's verdict and exit code, with these arguments and this gateway.
fn judged(arguments: &[&str], play: impl FnOnce(&Gateway)) -> (String, Option<i32>) {
    let choice = Choice { mosquitto: Some(mosquitto()), ..Choice::default() };
    let broker = Broker::open(&choice).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let firmware = directory.path().join("P_V02.00.00.00.bin");
    std::fs::write(&firmware, b"firmware").unwrap();
    let mut cloud = Command::new(env!("CARGO_BIN_EXE_uplift-sim"));
    cloud.args(["cloud", "dji", "--json", "--timeout", "60s", "--broker", &broker.url()]);
    let cloud = cloud.arg("--firmware").arg(firmware).args(arguments);
    let mut process = cloud.stdout(Stdio::piped()).spawn().unwrap();
    let mut told = BufReader::new(process.stdout.take().unwrap()).lines();
    let first: Value = serde_json::from_str(&told.next().unwrap().unwrap()).unwrap();
    assert_eq!(first["url"], broker.url());
    // Until the verdict: what is under way when it goes is lost.
    let gateway = Gateway::come(&broker);
    play(&gateway);
    let last = told.map_while(Result::ok).last().unwrap();
    let verdict: Value = serde_json::from_str(&last).unwrap();
    (verdict["ending"].as_str().unwrap().to_owned(), process.wait().unwrap().code())
}

#[test]
fn a_gateway_that_keeps_the_rules_is_as_it_should_be() {
    let success = judged(&[], |gateway| {
        let command = gateway.answer(0, "in_progress");
        let device = &command["data"]["devices"][0];
        assert_eq!((&device["sn"], &device["file_size"]), (&json!("GW1"), &json!(8)));
        assert_eq!(device["firmware_upgrade_type"], 4);
        gateway.tell(&command["bid"], "in_progress", 50);
        gateway.tell(&command["bid"], "ok", 100);
        assert_eq!(gateway.hear("events_reply")["data"]["result"], 0);
    });
    assert_eq!(success, ("success".to_owned(), Some(0)));
}

#[test]
fn one_that_breaks_a_rule_or_ends_otherwise_is_not() {
    let falls = judged(&[], |gateway| {
        let command = gateway.answer(0, "in_progress");
        gateway.tell(&command["bid"], "in_progress", 50);
        gateway.tell(&command["bid"], "in_progress", 40);
        gateway.tell(&command["bid"], "ok", 100);
    });
    assert_eq!(falls, ("success".to_owned(), Some(1)));
    let refused = judged(&[], |gateway| drop(gateway.answer(312_014, "rejected")));
    assert_eq!(refused, ("refused".to_owned(), Some(1)));
    let expected = judged(&["--upgrade-type", "9", "--expect", "refused"], |gateway| {
        let command = gateway.answer(312_012, "rejected");
        assert_eq!(command["data"]["devices"][0]["firmware_upgrade_type"], 9);
    });
    assert_eq!(expected, ("refused".to_owned(), Some(0)));
}

/// DJ-8: as the vendor's server does, three times and each time under new names.
#[test]
fn a_gateway_that_does_not_answer_is_asked_again() {
    let ended = judged(&[], |gateway| {
        let (first, second) = (gateway.hear("/services"), gateway.answer(0, "in_progress"));
        assert_ne!(first["tid"], second["tid"]);
        assert_ne!(first["bid"], second["bid"]);
        assert_eq!(first["data"], second["data"]);
        gateway.tell(&second["bid"], "failed", 0);
    });
    assert_eq!(ended, ("failure".to_owned(), Some(1)));
}
