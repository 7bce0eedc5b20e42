//! What no platform should send: it is answered where it can be, nothing ends, and the next command
//! is obeyed.

use std::time::{Duration, Instant};

use serde_json::json;
use uplift::model::ChannelState;

use super::{SN, Site};

/// How soon a command must be obeyed after whatever came before it.
const SOON: Duration = Duration::from_secs(60);
/// Most memory in KiB that its process may ever have had: the program itself is most of it.
const MOST_MEMORY: u64 = 64 << 10;

impl Site {
    fn sends(&self, topic: &str, payload: &[u8]) {
        self.platform.publish(&topic.replace("SN", SN), payload, false).unwrap();
    }

    /// The process is the same, and no larger than it may be.
    fn is_still(&self, pid: Option<u32>) {
        assert_eq!(self.payload.channels_pid(), pid);
        let status = std::fs::read_to_string(format!("/proc/{}/status", pid.unwrap())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
        let peak: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        assert!(peak < MOST_MEMORY, "{peak} KiB");
    }

    /// The next command is obeyed in time.
    fn obeys(&mut self, since: Instant) {
        let order = self.order();
        while self.platform.ask_until_answered(SN, &order).unwrap().is_none() {
            assert!(since.elapsed() < SOON, "{}", self.seen());
        }
        assert!(since.elapsed() < SOON);
        self.payload.restart_when_asked();
        self.tells_version(super::TARGET, 0);
        self.keeps_the_rules();
    }
}

/// Scenario 9, and more.
#[test]
fn dj_3_what_is_no_command_is_passed_over_or_refused_and_the_next_one_is_obeyed() {
    let mut site = Site::new();
    let pid = site.payload.channels_pid();
    let deep = "[".repeat(100_000);
    let long = json!({ "tid": "t", "bid": "b", "method": "x".repeat(100_000) }).to_string();
    let many = format!(
        "{{\"tid\":\"t\",\"bid\":\"b\",\"method\":\"m\",\"data\":[{}0]}}",
        "0,".repeat(100_000)
    );
    let number = r#"{"tid":1,"bid":2,"method":"ota_create","data":{"devices":[]}}"#;
    let lacking = r#"{"method":"ota_create","data":{"devices":[]}}"#;
    let wrong: [&[u8]; 12] = [
        b"",
        b"{",
        b"\xff\xfe\x00",
        b"null",
        b"7",
        b"[]",
        b"\"\"",
        b"{}",
        deep.as_bytes(),
        long.as_bytes(),
        number.as_bytes(),
        lacking.as_bytes(),
    ];
    for topic in [
        "thing/product/SN/services",
        "thing/product/SN/events_reply",
        "sys/product/SN/status_reply",
    ] {
        wrong.iter().for_each(|payload| site.sends(topic, payload));
        site.sends(topic, many.as_bytes());
    }
    // An answer to nothing that was said.
    site.sends("thing/product/SN/events_reply", br#"{"tid":"t","bid":"b","data":{"result":0}}"#);
    site.sends(
        "sys/product/SN/status_reply",
        br#"{"tid":"t","data":{"result":-9223372036854775808}}"#,
    );
    for (method, data) in
        [("ota_create", json!("")), ("unheard", json!({ "a": [null] })), ("", json!(1))]
    {
        let ids = site.platform.command(SN, method, &data).unwrap();
        if !method.is_empty() {
            assert_eq!(site.answer(&ids).0, 312_010, "{method}");
        }
    }
    site.is_still(pid);
    // What has no name of its own was answered to nobody, but for the list of zeros, which nobody sent.
    let faults = site.platform.faults();
    assert!(faults.iter().all(|fault| fault.contains("an answer to nothing")), "{faults:?}");
    assert_eq!(faults.len(), 1, "{faults:?}");
    let order = site.order();
    assert_eq!(site.asked(&order).0, 0);
    site.payload.restart_when_asked();
    site.tells_version(super::TARGET, 0);
}

/// MQ-2.
#[test]
fn mq_2_a_string_of_10_mib_is_passed_over_and_the_next_command_is_obeyed() {
    let mut site = Site::new();
    let (pid, topologies, since) = (site.payload.channels_pid(), site.topologies(), Instant::now());
    let huge = json!({
        "tid": "t", "bid": "b", "method": "ota_create",
        "data": { "devices": [{ "sn": SN, "product_version": "x".repeat(10 << 20) }] },
    });
    site.sends("thing/product/SN/services", huge.to_string().as_bytes());
    let log = site.payload.log("channels");
    let is_told = || std::fs::read_to_string(&log).unwrap().contains("largest_message");
    site.payload.wait_for("it to be passed over", is_told);
    site.is_still(pid);
    assert_eq!(site.topologies(), topologies, "the connection has stood");
    site.obeys(since);
}

#[test]
fn dj_6_commands_for_other_devices_are_refused_or_not_heard() {
    let mut site = Site::new();
    let order = {
        let mut order = site.order();
        order.devices[0].sn = "PAYLOAD0002".to_owned();
        order
    };
    assert_eq!(site.asked(&order), (312_012, "rejected".to_owned()));
    site.platform.ask("PAYLOAD0002", &site.order()).unwrap();
    site.says(ChannelState::Works, "the platform knows that we are here");
    assert!(site.payload.history().is_empty());
    site.obeys(Instant::now());
}

#[test]
fn dj_8_of_a_flood_of_commands_some_are_answered_and_what_follows_is_obeyed() {
    let mut site = Site::new();
    let pid = site.payload.channels_pid();
    for number in 0..2000 {
        site.platform.command(SN, &format!("flood{number}"), &json!({})).unwrap();
    }
    site.is_still(pid);
    let since = Instant::now();
    let order = site.order();
    while site.platform.ask_until_answered(SN, &order).unwrap().is_none() {
        assert!(since.elapsed() < SOON, "{}", site.seen());
    }
    site.payload.restart_when_asked();
    site.tells_version(super::TARGET, 0);
}
