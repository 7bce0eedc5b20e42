//! Tasks that come twice, late, kept by the broker, for others, in place of others, and what is none.

use uplift::model::{ChannelState, Outcome, Phase};
use uplift_sim::cloud::broker::{Choice, Qos};
use uplift_sim::cloud::thingspanel::{Event, Generation, Options, State, Task, Way};

use super::{Site, TOKEN, of, v05};
use crate::world::mosquitto::Mosquitto as Broker;
use crate::world::payload::{NEW, OLD, Payload};

fn slow() -> Options {
    Options { way: Way { rate: Some(100_000), ..Way::default() }, ..v05() }
}

/// TP-9, MQ-7: never a second upgrade.
#[test]
fn tp_9_a_task_that_comes_three_times_is_done_once() {
    for is_retained in [false, true] {
        let mut site = Site::new(Options { times: 3, is_retained, ..slow() });
        let id = site.server.push(&site.task()).unwrap();
        site.succeeds(&id);
        assert_eq!(site.payload.history().len(), 1);
        assert_eq!(site.sent().len(), 1);
    }
}

/// TP-9: the same again while it runs is answered with how far it is.
#[test]
fn tp_9_a_push_of_what_runs_is_answered_with_the_current_progress() {
    let mut site = Site::new(slow());
    let task = site.task();
    let id = site.server.push(&task).unwrap();
    let step = |event: &Event| matches!(event, Event::Progress { .. });
    let mut events = site.server.events();
    assert!(events.wait_for(super::LONG, step).is_some());
    for push in ["the same name", "another name"] {
        // Two words are 2 s apart, but for an answer.
        let before = site.steps().len();
        if push == "the same name" {
            site.server.push_again(&id).unwrap();
        } else {
            site.server.say(&same_file_under_another_name(&site, &task)).unwrap();
        }
        site.payload.wait_for(push, || site.steps().len() > before);
    }
    site.succeeds(&id);
    assert_eq!((site.payload.history().len(), site.sent().len()), (1, 1));
}

fn same_file_under_another_name(site: &Site, task: &Task) -> Vec<u8> {
    let url = format!(
        "{}/api/ota/download/files/upgradePackage/2026-01-01/package.bin",
        site.server.url()
    );
    let params = serde_json::json!({ "version": task.version, "url": url, "module": "default" });
    serde_json::json!({ "id": "another", "code": "200", "params": params }).to_string().into_bytes()
}

/// MQ-7: what the broker keeps comes again at each connection, and is left alone once it has ended.
#[test]
fn mq_7_a_task_that_the_broker_keeps_is_done_once_whatever_ends() {
    let mut site = Site::new(Options { is_retained: true, ..v05() });
    let id = site.server.push(&site.task()).unwrap();
    site.succeeds(&id);
    // The version comes behind the end; channels that are stopped before tell it after the next start alone.
    site.reported(2);
    let words = site.steps().len();
    site.restart_channels();
    let log = || std::fs::read_to_string(site.payload.log("channels")).unwrap();
    site.payload.wait_for("the task again", || log().contains("has ended, and is left alone"));
    site.payload.reboot();
    site.says(ChannelState::Works, "hears tasks");
    site.reported(3);
    assert_eq!((site.payload.history().len(), site.steps().len()), (1, words));
    site.is_well_spoken();
}

/// 3.8: the device is away when the task is pushed.
#[test]
fn a_task_for_a_device_that_is_away_comes_by_what_the_broker_keeps() {
    let mut site = Site::silent(Payload::setup(), Options { is_retained: true, ..v05() }, "");
    let id = site.server.push(&site.task()).unwrap();
    site.payload.start_channels().unwrap();
    site.succeeds(&id);
}

/// 3.5: 0.5.4 pushes on the next version.
#[test]
fn tp_15_a_task_for_a_device_that_is_away_comes_by_its_version() {
    for generation in [Generation::V05, Generation::V1] {
        let mut site = Site::silent(Payload::setup(), of(generation), "");
        let id = site.server.keep(&site.task());
        site.payload.start_channels().unwrap();
        site.succeeds(&id);
    }
}

/// 3.8: the task of a module that this device has not.
#[test]
fn tp_8_a_task_for_another_module_is_answered_and_disturbs_nothing() {
    let mut site = Site::new(slow());
    let id = site.server.push(&site.task()).unwrap();
    site.payload.wait_for_phase(Phase::Receiving);
    let other = Task { module: Some("gimbal \u{e4}".to_owned()), ..site.task() };
    let other = site.server.push(&other).unwrap();
    site.stands(&other, State::Failed);
    let (step, desc) = site.last_word();
    assert!(step == "-1" && desc.contains("no such module"), "{step} {desc}");
    site.succeeds(&id);
    assert_eq!(site.payload.history().len(), 1);
}

/// A newer task of the same module takes the place of one that is not being installed yet, and the
/// platform hears of the newer one alone: its progress names no task.
#[test]
fn the_newest_task_of_a_module_counts() {
    let mut site = Site::new(slow());
    let older = site.server.push(&site.task_of("V03.00.00.00", 900_000)).unwrap();
    site.payload.wait_for_phase(Phase::Receiving);
    let step = |event: &Event| matches!(event, Event::Progress { .. });
    assert!(site.server.events().wait_for(super::LONG, step).is_some());
    site.server.cancel(&older);
    site.server.change(|options| options.way.rate = None);
    let newer = Task { file_name: "newer.bin".to_owned(), ..site.task() };
    let newer = site.server.push(&newer).unwrap();
    site.succeeds(&newer);
    let outcomes: Vec<Outcome> =
        site.payload.history().iter().map(|report| report.outcome).collect();
    assert_eq!(outcomes, [Outcome::Failed, Outcome::Succeeded]);
}

/// TP-10, and the re-push of a version that runs already.
#[test]
fn tp_10_a_task_for_what_runs_is_100_at_once() {
    for generation in [Generation::V05, Generation::V1] {
        let site = Site::new(of(generation));
        let task = Task { version: "v1.0.0".to_owned(), ..site.task_of(OLD, 10_000) };
        let id = site.server.push(&task).unwrap();
        site.stands(&id, State::Success);
        assert_eq!(site.steps(), [100]);
        assert_eq!((site.sent(), site.payload.history().len()), (vec![], 0));
        // 0.5.4 may not have heard it.
        site.server.push_again(&id).unwrap();
        site.says(ChannelState::Works, "hears tasks");
    }
}

/// 3.6: a version that is not the wanted one has 0.5.4 push again, at the cost of a try.
#[test]
fn tp_15_pushes_after_a_wrong_version_change_nothing() {
    let mut site = Site::new(slow());
    let id = site.server.push(&site.task()).unwrap();
    let step = |event: &Event| matches!(event, Event::Progress { .. });
    assert!(site.server.events().wait_for(super::LONG, step).is_some());
    let (somebody, _kept) = site.server.broker().connect("somebody", &[]).unwrap();
    for _ in 0..3 {
        let report = format!(r#"{{"id":"1","params":{{"version":"{OLD}","module":"default"}}}}"#);
        somebody.publish("ota/device/inform", report, Qos::AtLeastOnce, false).unwrap();
    }
    let pushes =
        || site.events().iter().filter(|event| matches!(event, Event::Pushed { .. })).count();
    site.payload.wait_for("three more pushes", || pushes() == 4);
    site.succeeds(&id);
    assert_eq!((site.payload.history().len(), site.sent().len()), (1, 1));
}

/// A person at the shell was first: the task waits, and is done then.
#[test]
fn a_task_waits_while_another_upgrade_runs_and_says_nothing() {
    let setup = Payload::setup().trial("window = \"0s\"\ndeadline = \"60s\"\nhealth_command = [\"test\", \"-e\", \"ROOT/healthy\"]");
    let mut site = Site::with(setup, v05(), "");
    let firmware = site.payload.firmware_of("V01.05.00.00", 10_000);
    site.signer.seal_file(&firmware).unwrap();
    let person = site.payload.install_file(&firmware);
    site.payload.restart_when_asked();
    site.payload.wait_for_phase(Phase::Trial);
    let id = site.server.push(&site.task()).unwrap();
    let is_kept = || {
        let record = site.payload.root().join("state-channels/thingspanel.json");
        std::fs::read_to_string(record).is_ok_and(|record| record.contains(&id))
    };
    site.payload.wait_for("the task", is_kept);
    assert!(site.steps().is_empty());
    std::fs::write(site.payload.root().join("healthy"), "").unwrap();
    drop(person);
    site.succeeds(&id);
}

/// Bad input: whatever comes, the next task is done.
#[test]
fn what_is_no_task_is_left_alone_and_the_next_task_is_done() {
    let mut site = Site::new(v05());
    for message in [
        &b"not json"[..],
        b"",
        &[0xff; 1000],
        b"[1,2,3]",
        b"{\"id\":\"1\",\"code\":\"404\",\"params\":{}}",
        b"{\"method\":\"reboot\"}",
        "[".repeat(100_000).as_bytes(),
    ] {
        site.server.say(message).unwrap();
    }
    site.says(ChannelState::Works, "the last message was left alone: it is no JSON");
    assert!(site.steps().is_empty(), "nobody waits for an answer");
    // What names a module is answered.
    for (params, step) in [
        (r#"{"module":"default"}"#, "-1"),
        (r#"{"module":"default","version":7,"url":"http://h/f"}"#, "-1"),
        (r#"{"module":"default","version":"v3","url":["http://h/f"]}"#, "-2"),
        (r#"{"module":"default","version":"v3","url":"http://h/f","size":"many"}"#, "-1"),
        (r#"{"module":"default","version":"v3","url":"http://h/f","sign":{}}"#, "-3"),
    ] {
        let before = site.steps().len();
        let message = format!(r#"{{"id":"{before}","code":200,"params":{params}}}"#);
        site.server.say(message.as_bytes()).unwrap();
        site.payload.wait_for("an answer", || site.steps().len() > before);
        assert_eq!(site.last_word().0, step, "{params}");
    }
    let id = site.server.push(&site.task()).unwrap();
    site.payload.wait_for_restart_request_within(super::LONG).unwrap();
    site.payload.reboot();
    site.stands(&id, State::Success);
}

/// MQ-2: a message above the limit is passed over, and the next task is done.
#[test]
fn mq_2_a_message_that_is_too_large_is_followed_by_a_task_that_is_done() {
    let broker = Broker::start();
    let choice = Choice { url: Some(broker.url()), ..Choice::default() };
    let mut site = Site::new(Options { broker: choice, ..v05() });
    let huge =
        format!(r#"{{"id":"1","code":200,"params":{{"version":"{}"}}}}"#, "x".repeat(10 << 20));
    site.server.say(huge.as_bytes()).unwrap();
    let log = site.payload.log("channels");
    let is_told = || std::fs::read_to_string(&log).unwrap().contains("largest_message");
    site.payload.wait_for("it to be passed over", is_told);
    assert_eq!(broker.logged(&["Sending SUBACK to PAYLOAD0001"]), 1);
    let id = site.server.push(&site.task()).unwrap();
    site.succeeds(&id);
}

/// Commands for other devices are nobody's here, also where the broker gives everything to everybody.
#[test]
fn a_task_for_another_device_is_not_heard() {
    let mut site = Site::new(v05());
    let (somebody, _kept) = site.server.broker().connect("somebody", &[]).unwrap();
    let task =
        br#"{"id":"1","code":200,"params":{"module":"default","version":"v3","url":"http://h/f"}}"#;
    for topic in
        ["ota/device/inform/other", "ota/device/inform", &format!("ota/devices/inform/{TOKEN}")]
    {
        somebody.publish(topic, &task[..], Qos::AtLeastOnce, false).unwrap();
    }
    let id = site.server.push(&site.task()).unwrap();
    site.succeeds(&id);
    assert_eq!(site.payload.reported_version().unwrap(), NEW);
    assert_eq!(site.payload.history().len(), 1);
}
