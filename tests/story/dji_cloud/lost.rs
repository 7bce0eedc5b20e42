//! What ends in the middle: either process, the machine, the broker; and a platform that does not
//! answer.

use std::fs;
use std::time::Duration;

use uplift::model::ChannelState;
use uplift_sim::cloud::delivery::Delivery;
use uplift_sim::cloud::dji::{Event, Options};

use super::{Site, slow};
use crate::world::payload::{OLD, Payload};

const MIB: u64 = 1 << 20;

/// A large file that comes slowly, of which a part has come.
fn under_way() -> (Site, String) {
    let delivery = Delivery { rate: Some(4 * MIB), ..Delivery::default() };
    let site = Site::of(Options { delivery, ..Options::default() }, "");
    let firmware = site.sealed("V02.00.00.00", 24 * MIB);
    let ids = site.ask(&super::order(&firmware));
    site.has_received(6 * MIB);
    (site, ids.bid)
}

impl Site {
    fn at_full_rate(&self) {
        self.platform.change(|options| options.delivery.rate = None);
    }

    /// Goes through, and has gone on from where it was.
    fn goes_on(&mut self, bid: &str) {
        self.at_full_rate();
        self.payload.wait_for_restart_request_within(super::LONG).unwrap();
        self.payload.reboot();
        self.succeeds(bid);
        assert_eq!(self.ends(bid), 1, "{}", self.seen());
        assert_eq!(self.payload.history().len(), 1);
        let served = self.served();
        assert!(served.iter().any(|(status, from)| *status == 206 && *from > 0), "{served:?}");
    }
}

#[test]
fn dj_13_channels_that_are_killed_in_the_download_go_on_where_it_was() {
    let (mut site, bid) = under_way();
    site.payload.kill_channels();
    site.payload.has_written_down(5 * MIB);
    site.payload.start_channels().unwrap();
    site.goes_on(&bid);
}

#[test]
fn dj_13_a_daemon_that_is_killed_in_the_download_goes_on_where_it_was() {
    let (mut site, bid) = under_way();
    site.payload.has_written_down(16 * MIB);
    site.payload.restart_daemon();
    site.goes_on(&bid);
}

#[test]
fn dj_13_after_a_power_cut_in_the_download_it_goes_on_under_the_same_name() {
    let (mut site, bid) = under_way();
    site.payload.has_written_down(16 * MIB);
    site.payload.reboot();
    site.goes_on(&bid);
}

/// Scenario 8: a power cut in the installation, or right behind it.
#[test]
fn dj_14_after_a_power_cut_in_the_installation_there_is_exactly_one_end() {
    let mut site = Site::new();
    let ids = site.ask(&site.order());
    let is_installing = |event: &Event| matches!(event, Event::Progress { step: Some(step), .. } if step == "upgrade_firmware");
    site.sees("the installation", is_installing);
    site.payload.reboot();
    let (word, _) = site.end(&ids.bid);
    assert!(["ok", "failed"].contains(&word.as_str()), "{word}");
    site.reported();
    // Whoever is killed before the platform's confirmation is written down tells it once more.
    site.knows_all_ends();
    let before = site.so_far();
    site.restart_channels();
    site.sees_now("its state", before, |event| matches!(event, Event::State { .. }));
    assert_eq!(site.ends(&ids.bid), 1, "{}", site.seen());
    site.keeps_the_rules();
}

/// Scenario 7. What the broker knew is lost with it.
#[test]
fn mq_3_a_broker_that_is_killed_in_the_middle_is_told_the_topology_again_and_all_goes_on() {
    let mut site = Site::of(slow(), "");
    let ids = site.ask(&site.order());
    site.has_received(50_000);
    site.platform.broker().unwrap().kill();
    site.says(ChannelState::Waits, "its broker is away");
    site.payload.wait_for_restart_request_within(super::LONG).unwrap();
    let before = site.so_far();
    site.platform.broker().unwrap().start_again().unwrap();
    site.sees_now("the topology", before, |event| matches!(event, Event::Topology { .. }));
    site.sees_now("its state", before, |event| matches!(event, Event::State { .. }));
    site.sees_now(
        "how it fares",
        before,
        |event| matches!(event, Event::Progress { bid, .. } if *bid == ids.bid),
    );
    site.payload.reboot();
    site.succeeds(&ids.bid);
    assert_eq!(site.payload.history().len(), 1);
}

/// The broker is away when it ends.
#[test]
fn mq_4_an_end_that_the_broker_did_not_hear_is_told_when_it_is_back() {
    let mut site = Site::new();
    let ids = site.ask(&site.order());
    site.payload.wait_for_restart_request().unwrap();
    site.platform.broker().unwrap().kill();
    site.payload.reboot();
    site.reported();
    assert_eq!(site.ends(&ids.bid), 0);
    site.platform.broker().unwrap().start_again().unwrap();
    site.succeeds(&ids.bid);
}

#[test]
fn dj_17_no_event_is_sent_before_the_topology_was_answered() {
    let mut site = Site::new();
    let ids = site.ask(&site.order());
    site.payload.wait_for_restart_request().unwrap();
    site.platform.change(|options| options.topology = None);
    // One that gets no answer from the beginning: what one before it has said may be on its way still.
    let topologies = site.topologies();
    site.restart_channels();
    site.payload.wait_for("the topology", || site.topologies() > topologies);
    let (before, topologies) = (site.so_far(), site.topologies());
    site.payload.reboot();
    site.reported();
    site.says(ChannelState::Waits, "the platform was told that we are here");
    site.payload.wait_for("the topology once more", || site.topologies() >= topologies + 2);
    let events = site.platform.events().so_far();
    let told = events[before..]
        .iter()
        .any(|event| matches!(event, Event::Progress { .. } | Event::State { .. }));
    assert!(!told, "{}", site.seen());
    site.platform.change(|options| options.topology = Some(314_000));
    site.says(ChannelState::Fails, "does not take our topology: code 314000");
    site.platform.change(|options| options.topology = Some(0));
    site.succeeds(&ids.bid);
}

/// The platform sends it three times in 9 s, and has given up when the daemon is back.
#[test]
fn dj_8_a_command_that_comes_while_the_daemon_is_away_is_not_obeyed_later() {
    let mut site = Site::new();
    site.payload.kill_daemon();
    let answered = site.platform.ask_until_answered(super::SN, &site.order()).unwrap();
    assert_eq!(answered, None, "{}", site.seen());
    let log = site.payload.log("channels");
    site.payload.wait_for("the command to be forgotten", || {
        fs::read_to_string(&log).unwrap().contains("the daemon did not answer")
    });
    site.payload.start_daemon().unwrap();
    site.says(ChannelState::Works, "the platform knows that we are here");
    assert!(site.payload.history().is_empty());
    let ids = site.ask(&site.order());
    assert_eq!(site.answer(&ids).0, 0);
    site.payload.restart_when_asked();
    site.succeeds(&ids.bid);
}

/// What a download waits for, the platform hears of all the time (DJ-12, DJ-18).
#[test]
fn dj_17_the_properties_go_on_while_the_file_does_not_come() {
    let delivery = Delivery { delay: Duration::from_secs(8), ..Delivery::default() };
    let mut site = Site::with(Payload::setup(), Options { delivery, ..Options::default() }, "");
    let ids = site.ask(&site.order());
    site.answer(&ids);
    let before = site.so_far();
    let mut told = 0;
    site.sees_now("three times its properties", before, |event| {
        told += usize::from(matches!(event, Event::Osd { data, .. } if data["mode_code"] == 3));
        told == 3
    });
    assert_eq!(site.payload.reported_version().unwrap(), OLD);
    site.payload.restart_when_asked();
    site.succeeds(&ids.bid);
}
