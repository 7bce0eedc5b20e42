//! The desk between a platform and a daemon that are played by the test.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::desk::{Desk, uuid};
use super::words::Voice;
use super::words::tests::{command, config, device};
use crate::channel::kept::Writing;
use crate::channel::offer::{Telling, What};
use crate::model::{ComponentName, Failure, FailureKind};

/// A desk, and the directory of its record.
struct Office {
    place: TempDir,
    desk: Desk,
    now: Instant,
}

impl Office {
    fn new() -> Self {
        let place = TempDir::new().unwrap();
        Self { desk: open(place.path()), place, now: Instant::now() }
    }

    /// Another process.
    fn again(self) -> Self {
        let Self { place, now, mut desk } = self;
        // The gateway has done it by then.
        desk.noted().into_iter().for_each(Writing::run);
        Self { desk: open(place.path()), place, now }
    }

    /// The platform asks, by this name and at this time of its own.
    fn asks(&mut self, bid: &str, version: &str, timestamp: u64) -> Vec<(i64, String)> {
        self.sends(bid, version, timestamp, false)
    }

    fn sends(
        &mut self,
        bid: &str,
        version: &str,
        timestamp: u64,
        is_retained: bool,
    ) -> Vec<(i64, String)> {
        let mut device = device();
        device["product_version"] = json!(version);
        self.sends_all(bid, timestamp, is_retained, &json!([device]))
    }

    fn sends_all(
        &mut self,
        bid: &str,
        timestamp: u64,
        is_retained: bool,
        devices: &Value,
    ) -> Vec<(i64, String)> {
        let mut message = command(devices);
        message["tid"] = json!(format!("t-{bid}"));
        message["bid"] = json!(bid);
        message["timestamp"] = json!(timestamp);
        self.desk.command(message.to_string().as_bytes(), is_retained, self.now);
        self.answers(bid)
    }

    /// What was answered, all of it to this request.
    fn answers(&mut self, bid: &str) -> Vec<(i64, String)> {
        let answers = self.desk.answers().into_iter();
        let answers = answers.map(|said| {
            let answer: Value = serde_json::from_slice(&said.payload).unwrap();
            assert_eq!((&answer["bid"], &answer["tid"]), (&json!(bid), &json!(format!("t-{bid}"))));
            let status = answer["data"]["output"]["status"].as_str().unwrap();
            (answer["data"]["result"].as_i64().unwrap(), status.to_owned())
        });
        answers.collect()
    }

    /// The daemon tells of what is wanted now.
    fn tells(&mut self, what: What) {
        let action = self.desk.wanted().unwrap().action;
        self.desk.tell(&Telling { action, what });
    }

    fn endings(&self) -> Vec<(String, i64)> {
        self.desk.endings().iter().map(|ending| (ending.bid.clone(), ending.code.0)).collect()
    }
}

fn open(place: &Path) -> Desk {
    let fields = "devices = { PAYLOAD0001 = \"program\", MODEM1 = \"modem\" }\n";
    Desk::open(place.to_owned(), Arc::new(Voice::new(&config(fields), BTreeMap::new(), None)))
}

fn failed(kind: FailureKind) -> What {
    let (replaced, kept) = (Vec::new(), Vec::new());
    What::Failed { failure: Failure::new(kind, "why"), replaced, kept }
}

fn success() -> What {
    What::Succeeded { sentence: String::new() }
}

fn answer(code: i64, word: &str) -> Vec<(i64, String)> {
    vec![(code, word.to_owned())]
}

#[test]
fn dj_8_a_command_is_answered_when_its_upgrade_has_begun_and_is_written_down() {
    let mut office = Office::new();
    assert_eq!(office.asks("b", "2", 1), []);
    office.tells(What::Accepted);
    let record = office.place.path().join("dji-cloud.json");
    assert!(std::fs::read_to_string(record).unwrap().contains("\"bid\":\"b\""));
    assert_eq!(office.answers("b"), answer(0, "in_progress"));
    // Another process goes on with it, and knows its URL.
    let office = office.again();
    let offer = office.desk.wanted().unwrap();
    assert!(offer.files[0].url.ends_with("sign=secret"));
    assert_eq!(office.desk.at_work().unwrap().0, "b");
}

#[test]
fn dj_8_what_the_daemon_refuses_is_rejected_with_its_code_and_has_no_event() {
    let mut office = Office::new();
    office.asks("b", "2", 1);
    office.tells(failed(FailureKind::NotNow));
    assert_eq!(office.answers("b"), answer(312_015, "rejected"));
    assert!(office.desk.wanted().is_none() && office.endings().is_empty());
    // The same message once more: it has ended.
    assert_eq!(office.asks("b", "2", 1), answer(312_015, "rejected"));
    // Under a new name it is asked anew.
    assert_eq!(office.asks("c", "2", 2), []);
    assert!(office.desk.wanted().is_some());
}

#[test]
fn dj_8_a_command_that_the_daemon_does_not_hear_in_time_is_forgotten() {
    let mut office = Office::new();
    office.asks("b", "2", 1);
    office.now += Duration::from_secs(11);
    office.desk.forget_unheard(office.now);
    assert!(office.desk.wanted().is_none());
    assert_eq!(office.asks("c", "2", 2), []);
    assert!(office.desk.wanted().is_some());
}

#[test]
fn dj_9_of_what_is_asked_several_times_the_last_name_counts() {
    let mut office = Office::new();
    assert_eq!(office.asks("a", "2", 1), []);
    assert_eq!(office.asks("b", "2", 2), []);
    let action = office.desk.wanted().unwrap().action;
    office.tells(What::Accepted);
    assert_eq!(office.answers("b"), answer(0, "in_progress"));
    assert_eq!(office.asks("c", "2", 3), answer(0, "in_progress"));
    office.tells(What::NotNow { why: String::new() });
    assert_eq!(office.asks("d", "2", 4), answer(0, "paused"));
    let mut office = office.again();
    assert_eq!(office.desk.wanted().unwrap().action, action, "it is one upgrade");
    office.tells(success());
    assert_eq!(office.endings(), [("d".to_owned(), 0)]);
}

#[test]
fn dj_9_another_target_meanwhile_is_busy() {
    let mut office = Office::new();
    office.asks("a", "2", 1);
    assert_eq!(office.asks("x", "3", 2), answer(312_014, "rejected"));
    office.tells(What::Accepted);
    office.answers("a");
    assert_eq!(office.asks("y", "3", 3), answer(312_014, "rejected"));
    assert_eq!(office.desk.at_work().unwrap().0, "a");
}

#[test]
fn mq_7_what_the_broker_has_kept_is_passed_over_where_it_is_old_and_never_a_second_upgrade() {
    let mut office = Office::new();
    assert_eq!(office.sends("a", "2", 5, true), []);
    office.tells(What::Accepted);
    assert_eq!(office.answers("a"), answer(0, "in_progress"));
    office.asks("b", "2", 6);
    // The connection was lost: it comes again.
    assert_eq!(office.sends("a", "2", 5, true), []);
    assert_eq!(office.desk.at_work().unwrap().0, "b", "the latest name stays");
    office.tells(success());
    for timestamp in [5, 6] {
        assert_eq!(office.sends("a", "2", timestamp, true), []);
        assert_eq!(office.sends("z", "1", timestamp, true), [], "older than what has ended");
        assert!(office.desk.wanted().is_none());
    }
    let mut office = office.again();
    assert_eq!(office.sends("a", "2", 5, true), []);
    assert!(office.desk.wanted().is_none(), "nor in another process");
    // A newer one is a command like any other.
    office.sends("n", "3", 7, true);
    assert!(office.desk.wanted().is_some());
}

#[test]
fn dj_14_each_name_has_one_end_however_often_it_is_told() {
    let mut office = Office::new();
    office.asks("a", "2", 1);
    office.tells(What::Accepted);
    let telling = Telling { action: office.desk.wanted().unwrap().action, what: success() };
    // The daemon's report was not acknowledged before this process ended.
    office.desk.tell(&telling);
    office.desk.tell(&telling);
    let mut office = office.again();
    office.desk.tell(&telling);
    assert_eq!(office.endings(), [("a".to_owned(), 0)]);
    office.desk.answers();
    assert_eq!(office.asks("a", "2", 1), answer(0, "ok"));
    assert_eq!(office.endings().len(), 1);
}

#[test]
fn dj_13_an_end_is_told_until_it_is_heard_or_five_times_over_restarts() {
    let mut office = Office::new();
    for (bid, timestamp) in [("a", 1), ("b2", 2)] {
        office.asks(bid, bid, timestamp);
        office.tells(What::Accepted);
        office.tells(failed(FailureKind::Unhealthy));
        office.desk.answers();
    }
    let tids: Vec<String> = office.desk.endings().iter().map(|one| one.tid.clone()).collect();
    let is_over = |office: &Office| office.desk.endings()[0].is_over();
    office.desk.told(&tids[0]);
    office.desk.not_told(&tids[0]);
    for _ in 0..5 {
        assert!(!is_over(&office));
        office.desk.told(&tids[0]);
        office = office.again();
    }
    assert!(is_over(&office) && !office.desk.endings()[1].is_over());
    office.desk.heard(&tids[0]);
    office.desk.heard("another message");
    assert_eq!(office.endings(), [("b2".to_owned(), 312_028)]);
    assert_eq!(office.endings().len(), 1);
    office.desk.heard(&tids[1]);
    assert!(office.again().endings().is_empty());
}

#[test]
fn what_runs_already_is_done_at_once() {
    let mut office = Office::new();
    let version = "V01.02.00.03".parse().unwrap();
    office.desk.versions.insert(ComponentName::PROGRAM, version);
    assert_eq!(office.asks("a", "01.02.0003", 1), answer(0, "in_progress"));
    assert!(office.desk.wanted().is_none());
    assert_eq!(office.endings(), [("a".to_owned(), 0)]);
}

#[test]
fn dj_4_two_files_are_wanted_one_after_the_other_and_have_one_end() {
    let modem = json!({
        "sn": "MODEM1", "product_version": "7", "file_url": "http://h/m", "firmware_upgrade_type": 3,
    });
    let mut office = Office::new();
    office.sends_all("a", 1, false, &json!([device(), modem]));
    let first = office.desk.wanted().unwrap();
    office.tells(What::Downloading { received: 1, size: 1 });
    assert_eq!(office.answers("a"), answer(0, "in_progress"));
    assert_eq!(office.desk.at_work().unwrap().1.percent, 40);
    office.tells(success());
    assert_eq!(office.desk.at_work().unwrap().1.percent, 50);
    let mut office = office.again();
    let second = office.desk.wanted().unwrap();
    assert_eq!(second.files[0].url, "http://h/m");
    assert_ne!(first.action, second.action);
    // The first one's report once more.
    office.desk.tell(&Telling { action: first.action, what: success() });
    assert_eq!(office.desk.wanted().unwrap().action, second.action);
    office.tells(failed(FailureKind::SealInvalid));
    assert_eq!(office.endings(), [("a".to_owned(), 312_003)]);
}

#[test]
fn what_the_fuzzer_begins_with_keeps_its_promises() {
    for input in [
        &include_bytes!("../../../fuzz/corpus/dji_cloud/single")[..],
        include_bytes!("../../../fuzz/corpus/dji_cloud/two-without-file"),
        include_bytes!("../../../fuzz/corpus/dji_cloud/size-as-text"),
        include_bytes!("../../../fuzz/corpus/dji_cloud/type-9"),
        include_bytes!("../../../fuzz/corpus/dji_cloud/empty-data"),
        include_bytes!("../../../fuzz/corpus/dji_cloud/unknown"),
        include_bytes!("../../../fuzz/corpus/dji_cloud/answer"),
    ] {
        super::fuzz(input);
    }
}

#[test]
fn a_flood_of_commands_is_answered_as_far_as_there_is_room() {
    let mut office = Office::new();
    for number in 0..1000 {
        office.desk.command(
            json!({ "tid": "t", "bid": "b", "method": format!("m{number}") })
                .to_string()
                .as_bytes(),
            false,
            office.now,
        );
    }
    assert_eq!(office.desk.answers().len(), 32);
}

#[test]
fn a_name_of_ours_has_the_form_of_a_random_uuid() {
    for _ in 0..1000 {
        let name = uuid();
        let parts: Vec<&str> = name.split('-').collect();
        assert_eq!(parts.iter().map(|part| part.len()).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
        assert!(parts[2].starts_with('4') && parts[3].starts_with(['8', '9', 'a', 'b']), "{name}");
    }
}
