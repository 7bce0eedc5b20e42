//! How the file comes, and what ends on the way.

use std::fs;

use uplift::model::{ChannelState, FailureKind, Outcome, Phase};
use uplift_sim::cloud::delivery::{Delivery, Framed, Ranges, Redirect};
use uplift_sim::cloud::luatos::{Event, Options};

use super::{
    PACKAGE, PLATFORM, Site, VERBATIM, asks_anew, payload, record, reported, says, sections, signer,
};
use crate::world::clock;
use crate::world::payload::{OLD, Payload};
use crate::world::watched::Watched as _;
use crate::world::web::raw::{Raw, Turn, answer};

fn delivered(delivery: Delivery) -> Options {
    Options { delivery, ..Options::default() }
}

#[test]
fn lu_7_a_file_comes_whatever_tells_its_end() {
    for delivery in [
        Delivery { framed: Framed::Chunked, ..Delivery::default() },
        Delivery { redirect: Redirect::Elsewhere, ..Delivery::default() },
        Delivery { rate: Some(200_000), ..Delivery::default() },
    ] {
        let mut site = Site::new(PLATFORM, delivered(delivery));
        site.succeeds();
        site.answered(PACKAGE, 27);
        assert_eq!(site.served(), [None, None]);
    }
}

/// Whatever the length says, what came is not the file.
#[test]
fn lu_7_a_file_whose_end_is_wrong_is_not_installed() {
    for framed in [Framed::Short, Framed::Long, Framed::Close] {
        let delivery = Delivery { framed, ..Delivery::default() };
        let site = Site::new(PLATFORM, delivered(delivery));
        let report = reported(&site.payload);
        assert_eq!(report.outcome, Outcome::Failed, "{framed:?}: {report:?}");
        assert_eq!(site.payload.reported_version().unwrap(), OLD);
        assert!(site.served().len() <= 5, "{framed:?}");
    }
}

#[test]
fn dl_1_what_is_cut_off_goes_on_where_it_was() {
    // One cut is of the request that finds the file.
    let delivery = Delivery { cut_after: Some(100_000), cuts: 2, ..Delivery::default() };
    let mut site = Site::new(PLATFORM, delivered(delivery));
    site.succeeds();
    assert_eq!(site.served(), [None, None, Some("bytes=100000-".to_owned())]);
}

#[test]
fn dl_2_the_rest_is_asked_for_with_the_proof_that_it_is_of_the_same_file() {
    let signer = signer();
    let made = Payload::setup().stopped();
    let firmware = made.new_firmware();
    signer.seal_file(&firmware).unwrap();
    let file = std::fs::read(firmware).unwrap();
    let length = format!("Content-Length: {}", file.len());
    let head = ["HTTP/1.1 200 OK", "ETag: \"generation-0\"", &length];
    // The request that finds the file, and the first that fetches it.
    let half = || Turn::Say(answer(&head, &file[..100_000]));
    let raw = Raw::start(&file, [half(), half()]);
    let url = format!("http://{}", raw.address());
    let mut payload = payload(Payload::setup(), &sections(VERBATIM, &url, &signer));
    payload.start_channels().unwrap();
    payload.restart_when_asked();
    assert_eq!(reported(&payload).outcome, Outcome::Succeeded);
    let requests = raw.requests();
    assert!(requests[2].contains("range: bytes=100000-\r\n"), "{requests:#?}");
    assert!(requests[2].contains("if-range: \"generation-0\"\r\n"), "{}", requests[2]);
    assert!(requests.iter().all(|request| request.contains("accept-encoding: identity\r\n")));
    // What is installed is told.
    payload.wait_for("its tag in a request", || {
        let requests = raw.requests();
        requests.iter().any(|one| one.contains("if-none-match: \"generation-0\"\r\n"))
    });
}

/// The downloads of a target in a day: never more than five, whatever goes wrong. What came is kept
/// where the server goes on with it.
#[test]
fn lu_3_a_file_that_comes_in_pieces_is_asked_for_five_times_a_day_and_goes_on_after_it() {
    let delivery = Delivery { cut_after: Some(20_000), ..Delivery::default() };
    let mut site = Site::new(PLATFORM, delivered(delivery));
    says(&site.payload, ChannelState::Waits, "as often as it may in a day");
    site.payload.wait_for("the fifth request", || site.served().len() == 5);
    site.payload.wait_for_phase(Phase::Receiving);
    let before = site.requests();
    // No reboot: that of a test has the uptime of this machine, and more than a day of it would be over then.
    site.payload.kill_daemon();
    site.payload.start_daemon().unwrap();
    asks_anew(&mut site.payload);
    says(&site.payload, ChannelState::Waits, "as often as it may in a day");
    assert_eq!((site.requests(), site.payload.history().len()), (before, 0), "no code 40 either");
    // A day is over, and the connection is better.
    site.payload.kill_channels();
    fs::remove_file(record(&site.payload)).unwrap();
    site.server.change(|options| options.delivery.cut_after = None);
    site.payload.start_channels().unwrap();
    site.succeeds();
    let last = site.served().pop().flatten();
    assert_eq!(
        last.as_deref(),
        Some("bytes=77824-"),
        "whole blocks of four pieces: {:?}",
        site.served()
    );
    assert_eq!(site.payload.history().len(), 1);
}

/// From a server that begins anew each time nothing is worth being kept.
#[test]
fn lu_3_a_file_that_never_comes_whole_is_given_up_after_five_downloads() {
    let ranges = Ranges::Ignored;
    let delivery = Delivery { cut_after: Some(20_000), ranges, ..Delivery::default() };
    let mut site = Site::new(PLATFORM, delivered(delivery));
    let report = reported(&site.payload);
    let failure = report.failure.unwrap();
    assert_eq!(failure.kind, FailureKind::TransferFailed);
    assert!(failure.sentence.contains("as often as it may in a day"), "{failure}");
    says(&site.payload, ChannelState::Waits, "as often as it may in a day");
    assert_eq!(site.served().len(), 5);
    let before = site.requests();
    asks_anew(&mut site.payload);
    says(&site.payload, ChannelState::Waits, "as often as it may in a day");
    assert_eq!(site.requests(), before, "no code 40 either");
}

/// Slow enough to be killed on the way.
fn slow() -> Site {
    let delivery = Delivery { rate: Some(60_000), ..Delivery::default() };
    let site = Site::new(PLATFORM, delivered(delivery));
    let comes = |status: &uplift::model::Status| {
        status.phase == Phase::Receiving
            && status.upgrade.as_ref().is_some_and(|upgrade| upgrade.progress.done > 50_000)
    };
    site.payload.wait_for_status(comes).unwrap();
    site
}

/// Goes on at the full rate.
fn fast(site: &Site) {
    site.server.change(|options| options.delivery.rate = None);
}

#[test]
fn dl_1_a_channel_that_is_killed_goes_on_where_it_was() {
    let mut site = slow();
    fast(&site);
    asks_anew(&mut site.payload);
    site.succeeds();
    let served = site.served();
    assert!(matches!(&served[..], [None, None, None, Some(_)]), "{served:?}");
    site.answered(PACKAGE, 27);
    assert_eq!(site.payload.history().len(), 1);
}

#[test]
fn lu_3_a_daemon_that_is_killed_has_the_file_fetched_again() {
    let mut site = slow();
    fast(&site);
    site.payload.restart_daemon();
    site.succeeds();
    site.answered(PACKAGE, 27);
    assert!(site.served().len() <= 4, "{:?}", site.served());
    assert_eq!(site.payload.history().len(), 1);
}

#[test]
fn dl_1_a_restart_of_the_machine_goes_on_where_it_was() {
    let mut site = slow();
    fast(&site);
    site.payload.reboot();
    site.succeeds();
    site.answered(PACKAGE, 27);
    assert!(site.served().len() <= 4, "{:?}", site.served());
    assert_eq!(site.payload.history().len(), 1);
}

/// What a server takes back while it comes is given up.
#[test]
fn lu_5_a_file_that_the_platform_no_longer_offers_is_given_up() {
    let mut site = slow();
    site.server.change(|options| options.packages[0].version = "2012.010.000".to_owned());
    asks_anew(&mut site.payload);
    let report = reported(&site.payload);
    assert_eq!(report.failure.unwrap().kind, FailureKind::Cancelled);
    assert_eq!(site.payload.reported_version().unwrap(), OLD);
}

/// As on a machine without a battery for its clock, at each start.
#[test]
fn a_payload_whose_clock_stands_in_1970_is_upgraded() {
    let mut site = Site::stopped(Payload::setup(), PLATFORM, Options::default());
    clock::in_1970(&mut site.payload);
    site.payload.restart_daemon();
    let firmware = site.payload.new_firmware();
    site.signer.seal_file(&firmware).unwrap();
    site.upload(&firmware);
    site.payload.start_channels().unwrap();
    let report = site.succeeds();
    assert!(report.ended.starts_with("1970-01-01T00:0"), "{}", report.ended);
    site.answered(PACKAGE, 27);
}

#[test]
fn lu_2_a_url_that_is_taken_as_it_is_needs_no_device() {
    let mut site = Site::new(VERBATIM, Options::default());
    site.succeeds();
    // The simulation sends it all the same: it is known by its tag, and not taken.
    says(&site.payload, ChannelState::Works, "its server offers the file that runs");
    let sent = site.server.events();
    let sent = sent.so_far().into_iter().filter(|event| matches!(event, Event::Sent { .. }));
    assert!(sent.count() <= 4);
    assert_eq!(site.payload.history().len(), 1);
}
