use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::rules::Judge;
use super::{Ending, Event, Watch};

fn event(bid: &str, status: &str, percent: i64) -> Value {
    json!({
        "tid": "t", "bid": bid, "gateway": "G", "method": "ota_progress",
        "data": { "result": 0, "output": { "status": status,
            "progress": { "percent": percent, "step_key": "download_firmware" } } },
    })
}

/// The rules that these events break, one after the other, each so many seconds after the last.
fn broken(events: &[(u64, Value)]) -> Vec<&'static str> {
    let (mut judge, mut now) = (Judge::default(), Instant::now());
    judge.heard_of("G", now);
    let mut faults = Vec::new();
    for (seconds, event) in events {
        now += Duration::from_secs(*seconds);
        faults.extend(judge.progress("G", event, now).1.into_iter().map(|(rule, _)| rule));
        judge.heard_of("G", now);
    }
    faults
}

#[test]
fn a_good_upgrade_breaks_no_rule() {
    let good = [(0, event("b", "in_progress", 0)), (2, event("b", "in_progress", 40))];
    let end = [(59, event("b", "ok", 100)), (5, event("b", "ok", 100))];
    assert_eq!(broken(&[good, end].concat()), Vec::<&str>::new());
}

#[test]
fn each_rule_that_is_broken_is_named() {
    let without = |path: &str| {
        let mut event = event("b", "in_progress", 1);
        match path {
            "gateway" => event["gateway"] = Value::Null,
            path => event["data"]["output"][path] = Value::Null,
        }
        event
    };
    assert_eq!(broken(&[(0, without("gateway"))]), ["DJ-2"]);
    assert_eq!(broken(&[(0, without("status"))]), ["DJ-11"]);
    assert_eq!(broken(&[(0, without("progress"))]), ["DJ-11"]);
    assert_eq!(broken(&[(0, event("b", "done", 1))]), ["2.4"]);
    let falls = [(0, event("b", "in_progress", 9)), (1, event("b", "in_progress", 8))];
    assert_eq!(broken(&falls), ["2.4"]);
    let silent = [(0, event("b", "in_progress", 1)), (61, event("b", "in_progress", 2))];
    // Nobody has heard of it for as long, either.
    assert_eq!(broken(&silent), ["DJ-12"]);
    let twice = [(0, event("b", "failed", 1)), (1, event("b", "ok", 100))];
    assert_eq!(broken(&twice), ["DJ-14"]);
    assert_eq!(broken(&[(61, event("b", "ok", 100))]), ["DJ-17"]);
}

#[test]
fn an_answer_is_to_what_was_sent_and_in_time() {
    let (mut judge, now) = (Judge::default(), Instant::now());
    judge.sent("t", "b", "ota_create", now);
    let reply = |bid: &str| json!({ "tid": "t", "bid": bid, "method": "ota_create", "data": { "result": 0 } });
    assert!(judge.replied(&reply("b"), now).1.is_empty());
    assert_eq!(judge.replied(&reply("c"), now).1[0].0, "DJ-1");
    let late = now + Duration::from_millis(3001);
    assert_eq!(judge.replied(&reply("b"), late).1[0].0, "DJ-8");
    assert_eq!(judge.replied(&json!({ "tid": "x" }), now).1[0].0, "DJ-1");
}

#[test]
fn an_end_is_what_the_gateway_says() {
    let replied = |result, status: &str| Event::Replied {
        tid: String::new(),
        bid: String::new(),
        result,
        status: Some(status.to_owned()),
        after_ms: 1,
    };
    let mut watch = Watch::default();
    watch.see(&replied(0, "in_progress"));
    assert_eq!(watch.ending(), None);
    watch.see(&replied(312_014, "rejected"));
    assert_eq!((watch.ending(), watch.kept_the_rules()), (Some(Ending::Refused), true));
    watch.see(&Event::Fault { rule: "DJ-1".to_owned(), what: String::new() });
    assert!(!watch.kept_the_rules());
}
