//! What a server asks besides: to give up, to agree, to wait.

use std::time::{Duration, Instant};

use uplift::model::Phase;
use uplift_sim::cloud::delivery::Delivery;
use uplift_sim::cloud::hawkbit::{Event, Handling, Moment, Options, State, Turn};

use super::site::{DEVICE, LONG, Site};
use crate::world::payload::{NEW, OLD};
use crate::world::watched::Watched as _;

fn slow(rate: u64) -> Options {
    Options { delivery: Delivery { rate: Some(rate), ..Delivery::default() }, ..Options::default() }
}

/// The action was given up; nothing was installed, and later actions are not blocked.
#[track_caller]
fn is_cancelled(site: &mut Site, action: u64) {
    let said = site.over(action);
    assert_eq!(site.server.state(DEVICE, action), Some(State::Canceled), "{said:?}");
    let last = said.last().unwrap();
    assert_eq!((&*last.resource, &*last.word), ("cancelAction", "closed/success"), "{said:?}");
    site.acknowledged();
    assert_eq!(site.payload.reported_version().unwrap(), OLD);
    site.server.change(|options| options.delivery = Delivery::default());
    let next = site.offer_new();
    site.payload.restart_when_asked();
    site.succeeds(next);
    assert_eq!(site.payload.reported_version().unwrap(), NEW);
    assert_eq!(site.server.state(DEVICE, action), Some(State::Canceled));
}

#[test]
fn hb_11_a_cancellation_before_the_download() {
    let options =
        Options { turns: vec![(Moment::BeforeDownload, Turn::Cancel)], ..Options::default() };
    let mut site = Site::of(options, "");
    let action = site.offer_new();
    is_cancelled(&mut site, action);
}

#[test]
fn hb_11_a_cancellation_during_the_download() {
    let turns = vec![(Moment::InDownload, Turn::Cancel)];
    let mut site = Site::of(Options { turns, ..slow(15_000) }, "");
    let action = site.offer_new();
    is_cancelled(&mut site, action);
    let report = site.payload.history().remove(0);
    assert_eq!(report.failure.unwrap().kind.as_str(), "cancelled");
}

/// Each time, however often it is asked.
#[test]
fn hb_11_a_cancellation_while_it_is_installed_is_answered_that_it_is_too_late() {
    let mut site = Site::new();
    let action = site.offer_new();
    site.payload.wait_for_restart_request().unwrap();
    for times in 1..=2 {
        assert!(site.server.cancel(DEVICE, action));
        let mut answers = 0;
        site.sees("the answer", |event| {
            let is_answer = matches!(event, Event::Feedback { resource, execution, .. }
                if resource == "cancelAction" && execution == "rejected");
            answers += usize::from(is_answer);
            answers == times
        });
        assert_eq!(site.server.state(DEVICE, action), Some(State::Running));
    }
    site.payload.reboot();
    site.succeeds(action);
    assert_eq!(site.payload.reported_version().unwrap(), NEW);
}

/// One that comes when nothing is left of the action here, and one of what was never begun.
#[test]
fn hb_11_a_cancellation_of_what_is_not_known_here_is_answered_too() {
    let mut site =
        Site::of(Options { confirmation: true, ..Options::default() }, "confirm = \"never\"");
    let action = site.offer_new();
    site.hears(action, "denied");
    site.is_polled(2);
    assert_eq!(site.words(action), ["denied"], "HB-12: once");
    assert_eq!(site.server.state(DEVICE, action), Some(State::WaitForConfirmation));
    assert!(site.server.cancel(DEVICE, action));
    site.over(action);
    assert_eq!(site.server.state(DEVICE, action), Some(State::Canceled));
    assert_eq!(site.downloads(), []);
}

#[test]
fn hb_12_a_confirmation_is_denied_once_under_a_hold_and_given_when_it_is_released() {
    let mut site = Site::of(Options { confirmation: true, ..Options::default() }, "");
    assert_eq!(site.payload.uplift(&["hold", "--for", "2h", "in", "the", "air"]).0, Some(0));
    let action = site.offer_new();
    site.hears(action, "denied");
    site.is_polled(2);
    let said = site.said(action);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].details[0].contains("in the air"), "{said:?}");
    assert_eq!(site.payload.uplift(&["release"]).0, Some(0));
    site.hears(action, "confirmed");
    site.payload.restart_when_asked();
    site.succeeds(action);
}

/// The server's own history of the action tells.
#[test]
fn hb_12_a_confirmation_that_was_denied_is_not_denied_again_by_the_next_process() {
    let mut site =
        Site::of(Options { confirmation: true, ..Options::default() }, "confirm = \"never\"");
    let action = site.offer_new();
    site.hears(action, "denied");
    site.restart_channels();
    site.is_polled(2);
    assert_eq!(site.words(action), ["denied"]);
    // Another one is denied, too.
    let next = site.offer_new();
    site.hears(next, "denied");
    site.payload.reboot();
    site.restart_channels();
    site.is_polled(2);
    assert_eq!(site.words(next), ["denied"]);
}

#[test]
fn hb_12_a_confirmation_is_given_where_nothing_speaks_against_it() {
    let mut site = Site::of(Options { confirmation: true, ..Options::default() }, "");
    let action = site.offer_new();
    site.payload.restart_when_asked();
    site.succeeds(action);
    assert_eq!(site.words(action)[0], "confirmed");
}

/// HB-4: fetched and proved before the window opens, and installed when it has.
#[test]
fn hb_4_nothing_is_installed_outside_the_maintenance_window() {
    let mut site = Site::new();
    let firmware = site.firmware();
    let action = site.offer_as(Handling::Forced, Some(4), &[&firmware]);
    site.hears(action, "downloaded/none");
    assert!(!site.payload.restart_requested());
    assert_eq!(site.payload.status().unwrap().phase, Phase::Ready);
    let before = site.downloads().len();
    site.payload.restart_when_asked();
    site.succeeds(action);
    assert_eq!(site.downloads().len(), before, "fetched once");
}

/// What was proved and waits for the server's word is there still, and is proved again; nothing of it
/// is fetched twice.
#[test]
fn hb_4_what_waits_for_its_window_outlives_the_daemon_the_channels_and_a_power_loss() {
    let mut site = Site::new();
    let firmware = site.firmware();
    let action = site.offer_as(Handling::Forced, Some(7), &[&firmware]);
    site.hears(action, "downloaded/none");
    let before = site.downloads().len();
    let interruptions: [fn(&mut Site); 3] = [
        |site| site.payload.restart_daemon(),
        Site::restart_channels,
        |site| {
            site.payload.power_off();
            site.payload.start_daemon().unwrap();
            site.polls();
        },
    ];
    for interrupt in interruptions {
        interrupt(&mut site);
        site.payload.wait_for_phase(Phase::Ready);
        assert!(!site.payload.restart_requested(), "{:?}", site.words(action));
    }
    assert!(site.words(action).iter().all(|word| word.ends_with("/none")));
    site.payload.wait_for_restart_request_within(LONG).unwrap();
    site.payload.reboot();
    site.succeeds(action);
    assert_eq!(site.downloads().len(), before);
    assert_eq!(site.payload.history().len(), 1);
    assert_eq!(site.payload.reported_version().unwrap(), NEW);
}

#[test]
fn hb_4_what_is_only_to_be_downloaded_is_never_installed() {
    let mut site = Site::new();
    let firmware = site.firmware();
    let action = site.offer_as(Handling::DownloadOnly, None, &[&firmware]);
    site.over(action);
    assert_eq!(site.server.state(DEVICE, action), Some(State::Finished));
    site.acknowledged();
    assert_eq!(site.payload.reported_version().unwrap(), OLD);
    assert!(!site.payload.restart_requested());
}

#[test]
fn hb_4_what_is_skipped_waits_and_what_is_soft_is_installed() {
    let mut site = Site::new();
    let firmware = site.firmware();
    let action = site.offer_as(Handling::Skip, None, &[&firmware]);
    site.is_polled(2);
    assert_eq!((site.downloads(), site.words(action)), (vec![], vec![]));
    let soft = site.offer_as(Handling::Soft, None, &[&firmware]);
    site.over(action);
    assert_eq!(site.server.state(DEVICE, action), Some(State::Canceled));
    site.payload.restart_when_asked();
    site.succeeds(soft);
}

/// A hold is no refusal: the server hears that it waits, and no more is to be done there.
#[test]
fn an_offer_waits_under_a_hold_and_is_installed_when_it_is_released() {
    let mut site = Site::new();
    assert_eq!(site.payload.uplift(&["hold", "--for", "2h", "in", "the", "air"]).0, Some(0));
    let action = site.offer_new();
    site.hears(action, "scheduled/none");
    site.is_polled(1);
    assert!(!site.payload.restart_requested());
    assert_eq!(site.payload.uplift(&["release"]).0, Some(0));
    site.payload.wait_for_restart_request_within(LONG).unwrap();
    site.payload.reboot();
    site.succeeds(action);
}

#[test]
fn hb_1_polls_are_five_seconds_apart_at_least_and_a_day_at_most() {
    for (sleep, shown) in
        [("00:00:00", "every 5 s"), ("PT8760H", "every 86400 s"), ("nonsense", "every 7 s")]
    {
        let options = Options { sleep: sleep.to_owned(), ..Options::default() };
        let mut site = Site::of(options, "poll = \"7s\"");
        site.polls();
        site.shows(shown);
        if sleep == "00:00:00" {
            site.is_polled(1);
            let first = Instant::now();
            site.is_polled(1);
            assert!(first.elapsed() > Duration::from_millis(4500), "{:?}", first.elapsed());
        }
        site.is_sound();
    }
}
