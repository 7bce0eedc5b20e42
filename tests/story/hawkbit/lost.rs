//! Words that a server does not take at once: each end is taken once, whatever is lost.

use uplift::model::Phase;
use uplift_sim::cloud::hawkbit::{Event, Lost, Options, Release, State};

use super::site::{DEVICE, Site};
use crate::world::payload::{NEW, Payload};
use crate::world::watched::Watched as _;

const WATCHED: &str =
    "window = \"0s\"\ndeadline = \"60s\"\nhealth_command = [\"test\", \"-e\", \"ROOT/healthy\"]";

/// A site whose new program is on trial, with its action.
fn on_trial(options: Options) -> (Site, u64) {
    let mut site = Site::with(Payload::setup().trial(WATCHED), options, "");
    let action = site.offer_new();
    site.payload.restart_when_asked();
    site.payload.wait_for_phase(Phase::Trial);
    (site, action)
}

impl Site {
    /// So many words from now on are not understood.
    fn hears_no_more(&self, words: usize) {
        self.server.change(|options| options.lost_feedbacks = vec![Lost::BadRequest; words]);
    }

    fn proves_itself(&self) {
        std::fs::write(self.payload.root().join("healthy"), "").unwrap();
    }

    /// The upgrade is over here, and the server does not know.
    fn is_unacknowledged(&self) {
        let is_over = |status: &uplift::model::Status| {
            status.last.is_some() && !status.unacknowledged.is_empty()
        };
        self.payload.wait_for_status(is_over).unwrap();
    }
}

/// HB-8.
#[test]
fn hb_8_an_end_that_is_not_answered_is_told_until_it_is_taken_and_no_longer() {
    for lost in [Lost::Answer, Lost::Request, Lost::Error, Lost::Quota] {
        let (site, action) = on_trial(Options::default());
        let ends = |event: &Event| matches!(event, Event::Feedback { execution, .. } if execution == "closed");
        // All words are lost until the end was lost, too.
        site.server.change(|options| options.lost_feedbacks = vec![lost; 2]);
        site.proves_itself();
        site.sees("the end", ends);
        site.over(action);
        site.acknowledged();
        assert_eq!(site.server.state(DEVICE, action), Some(State::Finished));
        let said = site.said(action);
        let taken = said
            .iter()
            .filter(|said| said.word.starts_with("closed") && said.status == 200)
            .count();
        // Stored without an answer, it is 410 when it is told again.
        assert!(taken <= 1, "{lost:?}: {said:?}");
        let before = said.len();
        site.is_polled(2);
        assert_eq!(site.said(action).len(), before, "{lost:?}");
        site.is_sound();
    }
}

/// HB-8: a member may be what the server stumbles over, so that the end is told once more without all
/// that can be left out.
#[test]
fn hb_8_an_end_that_is_not_understood_is_told_in_fewer_words() {
    let (site, action) = on_trial(Options::default());
    // The last word before it.
    site.sees("the trial", |event| match event {
        Event::Feedback { details, .. } => details.iter().any(|one| one.contains("being watched")),
        _ => false,
    });
    site.hears_no_more(1);
    site.proves_itself();
    site.succeeds(action);
    let said = site.said(action);
    let [.., first, second] = &said[..] else { panic!("{said:?}") };
    assert_eq!((first.status, &*first.word), (400, "closed/success"));
    assert_eq!((second.status, second.details.len()), (200, 0), "{said:?}");
}

/// HB-8: and then no more, so that nobody waits here for ever; a person reads why.
#[test]
fn hb_8_an_end_that_is_never_understood_is_not_repeated_for_ever() {
    let (mut site, action) = on_trial(Options::default());
    site.hears_no_more(100);
    site.proves_itself();
    site.acknowledged();
    let ends = || site.words(action).iter().filter(|word| word.starts_with("closed")).count();
    assert_eq!(ends(), 2);
    let shown = site.shows("does not understand how its action has ended (status 400)");
    assert!(shown.contains("close the action there"), "{shown}");
    site.is_polled(3);
    assert_eq!(ends(), 2);
    assert_eq!(site.server.state(DEVICE, action), Some(State::Running));
    assert_eq!(site.payload.history().len(), 1);
    // The next process tries again.
    site.server.change(|options| options.lost_feedbacks.clear());
    site.restart_channels();
    site.over(action);
    assert_eq!(site.server.state(DEVICE, action), Some(State::Finished));
    site.shows("polls 127.0.0.1");
}

/// HB-15.
#[test]
fn hb_15_a_quota_of_an_old_server_leaves_the_end_alone() {
    let options = Options { release: Release::V0_9, entry_quota: 1, ..Options::default() };
    let (site, action) = on_trial(options);
    site.sees("a refusal", |event| matches!(event, Event::Feedback { status: 403, .. }));
    site.is_polled(2);
    let refused = || site.said(action).iter().filter(|said| said.status == 403).count();
    let before = refused();
    site.is_polled(3);
    assert_eq!(refused(), before, "{:?}", site.words(action));
    site.proves_itself();
    site.succeeds(action);
}

/// HB-10: power fails between the end and its word, and the server is away for all of it.
#[test]
fn hb_10_an_end_outlives_a_power_loss_and_days_without_the_server() {
    let mut site = Site::new();
    let action = site.offer_new();
    site.payload.wait_for_restart_request().unwrap();
    site.server.go_down();
    site.payload.reboot();
    site.is_unacknowledged();
    site.payload.reboot();
    site.restart_channels();
    assert_eq!(site.payload.status().unwrap().unacknowledged.len(), 1);
    site.server.come_back().unwrap();
    site.succeeds(action);
    assert_eq!(site.payload.reported_version().unwrap(), NEW);
}

/// Either process is killed in each phase; one end is taken.
#[test]
fn either_process_may_be_killed_in_any_phase_and_one_end_is_taken() {
    let mut site = Site::with(Payload::setup().trial(WATCHED), Options::default(), "");
    site.server.change(|options| options.delivery.rate = Some(60_000));
    let action = site.offer_new();
    site.has_received(50_000);
    site.restart_channels();
    site.has_received(150_000);
    site.payload.restart_daemon();
    site.payload.wait_for_restart_request().unwrap();
    site.restart_channels();
    site.payload.restart_daemon();
    assert_eq!(site.payload.status().unwrap().phase, Phase::Restarting);
    site.payload.reboot();
    site.payload.wait_for_phase(Phase::Trial);
    site.restart_channels();
    site.payload.restart_daemon();
    site.payload.wait_for_phase(Phase::Trial);
    site.server.go_down();
    site.proves_itself();
    site.is_unacknowledged();
    site.restart_channels();
    site.payload.restart_daemon();
    site.server.come_back().unwrap();
    site.succeeds(action);
    site.is_polled(2);
    let words = site.words(action);
    assert_eq!(words.iter().filter(|word| word.starts_with("closed")).count(), 1, "{words:?}");
    assert_eq!(site.payload.history().len(), 1);
}
