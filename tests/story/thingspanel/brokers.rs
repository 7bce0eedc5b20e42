//! Brokers that do not let everything through.

use uplift::model::ChannelState;
use uplift_sim::cloud::broker::Choice;
use uplift_sim::cloud::thingspanel::{Generation, Options, Spelling};

use super::{Site, of, v05};
use crate::world::mosquitto::Setup as Broker;
use crate::world::payload::Payload;

fn at(broker: &crate::world::mosquitto::Mosquitto, options: Options) -> Options {
    let choice = Choice { url: Some(broker.url()), ..Choice::default() };
    Options { broker: choice, ..options }
}

/// TP-2: one of two spellings is enough, and the status says which is missing.
#[test]
fn tp_2_a_broker_that_grants_one_spelling_is_enough() {
    for (refused, spelling) in [("inform", Spelling::Infrom), ("infrom", Spelling::Inform)] {
        let topic = format!("ota/devices/{refused}/4711");
        let broker = Broker::new().refuse_subscriptions(&[&topic]).start();
        let mut site = Site::new(at(&broker, Options { spelling, ..of(Generation::V1) }));
        let refuses = format!("it refuses ota/devices/{refused}/{{device}}");
        site.says(ChannelState::Works, &refuses);
        let id = site.server.push(&site.task()).unwrap();
        site.succeeds(&id);
    }
}

/// TP-2: without any of them nothing can come, and a person must know why.
#[test]
fn tp_2_a_broker_that_grants_no_topic_of_tasks_is_a_failure_that_says_so() {
    let topics = ["ota/devices/inform/4711", "ota/devices/infrom/4711"];
    let broker = Broker::new().refuse_subscriptions(&topics).start();
    let site = Site::new(at(&broker, of(Generation::V1)));
    let status = site.says(ChannelState::Fails, "does not let this device hear its tasks");
    assert!(status.sentence.contains("look at `generation`"), "{}", status.sentence);
}

/// TP-2: each filter is a packet of its own.
#[test]
fn tp_2_each_topic_is_subscribed_by_itself() {
    let broker = Broker::new().start();
    let site = Site::new(at(&broker, of(Generation::V1)));
    site.says(ChannelState::Works, "hears tasks");
    broker.wait_for_log(2, &["Received SUBSCRIBE from PAYLOAD0001"]);
}

/// TP-4, MQ-4: a publish that is denied is acknowledged on 3.1.1: nothing more can be known, and
/// nothing is said for ever.
#[test]
fn tp_4_progress_that_the_broker_drops_ends_the_task_all_the_same() {
    let rules = "topic readwrite #\ntopic deny ota/device/progress\n";
    let broker = Broker::new().acl(rules).start();
    let mut site = Site::silent(Payload::setup(), at(&broker, v05()), "");
    site.payload.start_channels().unwrap();
    site.says(ChannelState::Works, "hears tasks");
    site.server.push(&site.task()).unwrap();
    site.payload.wait_for_restart_request_within(super::LONG).unwrap();
    site.payload.reboot();
    site.over();
    assert!(site.steps().is_empty());
}
