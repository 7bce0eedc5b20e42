//! The platform's newer protocol: it says where the file lies, and hears how it ended (LU-8).

use uplift::model::{ChannelState, FailureKind, Outcome};
use uplift_sim::cloud::luatos::{Event, Options};

use super::{LONG, Site, TURNKEY, asks_anew, reported, says};
use crate::world::payload::{OLD, Payload};

impl Site {
    /// Waits until so many results were told; each with the answer's code.
    fn results(&self, count: usize) -> Vec<(String, i64)> {
        let mut events = self.server.events();
        let results = (0..count).map(|_| {
            let is_result = |event: &Event| matches!(event, Event::Result { .. });
            let Some(Event::Result { result, code, .. }) = events.wait_for(LONG, is_result) else {
                panic!("{:#?}", self.server.events().so_far())
            };
            (result, code)
        });
        results.collect()
    }
}

fn result(result: &str, code: i64) -> (String, i64) {
    (result.to_owned(), code)
}

#[test]
fn lu_8_success_is_told_after_the_trial_until_it_is_taken() {
    let mut site = Site::new(TURNKEY, Options { lost_results: 1, ..Options::default() });
    site.succeeds();
    assert_eq!(site.results(2), [result("1", 1), result("1", 0)]);
    says(&site.payload, ChannelState::Works, "nothing newer");
    asks_anew(&mut site.payload);
    says(&site.payload, ChannelState::Works, "nothing newer");
    assert_eq!(site.server.events().so_far().iter().filter(is_result).count(), 2, "told once");
}

fn is_result(event: &&Event) -> bool {
    matches!(event, Event::Result { .. })
}

#[test]
fn lu_8_a_result_that_is_not_taken_is_told_again_after_a_restart_of_the_machine() {
    let mut site = Site::new(TURNKEY, Options { lost_results: u32::MAX, ..Options::default() });
    site.payload.restart_when_asked();
    assert_eq!(site.results(1), [result("1", 1)]);
    site.payload.reboot();
    let after = site.results(2);
    assert_eq!(after, [result("1", 1), result("1", 1)]);
    site.server.change(|options| options.lost_results = 0);
    site.payload.kill_channels();
    site.payload.start_channels().unwrap();
    assert_eq!(reported(&site.payload).outcome, Outcome::Succeeded);
}

#[test]
fn lu_8_what_was_rolled_back_is_told_as_2_and_not_fetched_again() {
    let setup = Payload::setup()
        .trial("window = \"0s\"\ndeadline = \"1s\"\nhealth_command = [\"/bin/false\"]");
    let mut site = Site::with(setup, TURNKEY, Options::default());
    site.payload.restart_when_asked();
    site.payload.restart_when_asked();
    assert_eq!(site.results(1), [result("2", 0)]);
    assert_eq!(reported(&site.payload).outcome, Outcome::RolledBack);
    says(&site.payload, ChannelState::Works, "its server offers the file that failed here before");
    assert_eq!(site.payload.history().len(), 1);
}

#[test]
fn lu_8_a_digest_that_is_not_the_file_s_refuses_it() {
    let told = Some("00".repeat(32));
    let site = Site::new(TURNKEY, Options { told_sha256: told, ..Options::default() });
    assert_eq!(site.results(1), [result("2", 0)]);
    let report = reported(&site.payload);
    assert_eq!(report.failure.unwrap().kind, FailureKind::DigestMismatch);
    assert_eq!(site.payload.reported_version().unwrap(), OLD);
}

#[test]
fn dl_4_an_offer_without_a_digest_is_proved_by_its_seal() {
    let told = Some(String::new());
    let mut site = Site::new(TURNKEY, Options { told_sha256: told, ..Options::default() });
    site.succeeds();
    assert_eq!(site.results(1), [result("1", 0)]);
}
