//! When the version is told: every needless report costs 0.5.4 one of three tries.

use uplift::model::ChannelState;
use uplift_sim::cloud::thingspanel::{Event, Generation};

use super::{NUMBER, Site, of, v05};
use crate::world::payload::{NEW, OLD, Payload};

/// TP-15: neither a new connection nor a new process is a start.
#[test]
fn tp_15_a_version_is_told_once_a_start_of_the_machine() {
    let mut site = Site::new(v05());
    for _ in 0..2 {
        site.restart_channels();
        site.says(ChannelState::Works, "hears tasks");
    }
    site.payload.restart_daemon();
    site.server.broker_mut().ours().unwrap().kill();
    site.says(ChannelState::Waits, "is away");
    site.server.broker_mut().ours().unwrap().start_again().unwrap();
    site.says(ChannelState::Works, "hears tasks");
    assert_eq!(site.versions().len(), 1);
    site.payload.reboot();
    site.reported(2);
    assert_eq!(site.versions(), vec![("default".to_owned(), OLD.to_owned()); 2]);
}

/// TP-15: a person's upgrade changes the version, too.
#[test]
fn tp_15_a_version_that_somebody_else_has_installed_is_told() {
    let mut site = Site::new(v05());
    let firmware = site.payload.new_firmware();
    site.signer.seal_file(&firmware).unwrap();
    let person = site.payload.install_file(&firmware);
    site.payload.restart_when_asked();
    drop(person);
    site.reported(2);
    assert_eq!(site.versions()[1], ("default".to_owned(), NEW.to_owned()));
}

/// The platform compares texts: what it calls a version comes back as that.
#[test]
fn tp_15_a_version_is_told_in_the_platform_s_own_words() {
    let mut site = Site::with(Payload::setup(), v05(), "version_form = \"short\"\n");
    let task = uplift_sim::cloud::thingspanel::Task { version: "v2.0.0".to_owned(), ..site.task() };
    let id = site.server.push(&task).unwrap();
    site.succeeds(&id);
    site.reported(2);
    let versions = site.versions().into_iter().map(|(_, version)| version);
    assert_eq!(versions.collect::<Vec<_>>(), ["v1.0", "v2.0.0"]);
    site.payload.reboot();
    site.reported(3);
    assert_eq!(site.versions()[2].1, "v2.0.0");
}

/// TP-16.
#[test]
fn tp_16_since_1_0_the_version_is_an_attribute_whose_name_is_configured() {
    let site = Site::silent(Payload::setup(), of(Generation::V1), "version_attribute = \"fw\"\n");
    let mut site = site;
    let (_, messages) = site.server.broker().connect("watcher", &["devices/attributes/#"]).unwrap();
    site.payload.start_channels().unwrap();
    let message = messages.wait_for(super::LONG, |_| true).unwrap();
    let number = message.topic.strip_prefix("devices/attributes/").unwrap();
    assert!(number.parse::<u64>().is_ok() && !message.topic.contains(NUMBER), "{}", message.topic);
    let value: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
    assert_eq!(value, serde_json::json!({ "fw": OLD, "module": "default" }));
}

#[test]
fn tp_15_no_version_is_told_where_none_is_wanted() {
    let mut site = Site::silent(Payload::setup(), v05(), "report = \"\"\n");
    site.payload.start_channels().unwrap();
    site.says(ChannelState::Works, "hears tasks");
    let id = site.server.push(&site.task()).unwrap();
    site.succeeds(&id);
    assert!(!site.events().iter().any(|event| matches!(event, Event::Reported { .. })));
}
