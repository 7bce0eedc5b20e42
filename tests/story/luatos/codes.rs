//! What the platform says instead of a file (LU-5, LU-6).

use std::fs;

use serde_json::Value;
use uplift::model::ChannelState::{Fails, Waits, Works};
use uplift::model::Phase;
use uplift_sim::cloud::luatos::{Answer, Options};

use super::{NAME, PACKAGE, PLATFORM, RUNS, Site, asks_anew, record, says};
use crate::world::payload::Payload;
use crate::world::watched::Watched as _;

fn answers(answers: impl Into<Vec<Answer>>) -> Options {
    Options { answers: answers.into(), ..Options::default() }
}

/// Which status comes with which code nobody has published.
#[test]
fn lu_5_a_code_is_words_whatever_its_status() {
    let mut site = Site::stopped(Payload::setup(), PLATFORM, Options::default());
    let table = [
        (27, Works, "nothing newer, not for this payload, or switched off on the platform"),
        (3, Fails, "the server does not know this payload"),
        (21, Works, "the platform forbids upgrades of this payload"),
        (17, Fails, "payload, firmware and project are not in the same account"),
        (0, Works, "the server says that all is well"),
        (25, Fails, "the platform does not know the project: is its key right?"),
        (26, Fails, "the project has no firmware of this name"),
        (99, Works, "for a reason not known here"),
        (44, Fails, "the platform does not have this `core`"),
        (43, Waits, "the platform is still making the file"),
    ];
    for status in [400, 404, 500, 200] {
        for (code, state, sentence) in table {
            site.server.change(|options| options.answers = vec![Answer::CodeWith(code, status)]);
            asks_anew(&mut site.payload);
            says(&site.payload, state, sentence);
            let shown = site.payload.uplift(&["status"]).1;
            assert!(shown.contains(sentence), "{status} {code}: {shown}");
            assert!(shown.contains(&format!("code {code}")), "{shown}");
        }
    }
    assert_eq!(site.payload.status().unwrap().phase, Phase::Idle);
    assert!(site.payload.history().is_empty() && site.served().is_empty());
}

#[test]
fn lu_5_304_has_no_body_and_means_nothing_new() {
    let mut site = Site::stopped(Payload::setup(), PLATFORM, answers([Answer::CodeWith(27, 304)]));
    asks_anew(&mut site.payload);
    says(&site.payload, Works, "the server has no other file than the last one");
}

#[test]
fn lu_6_json_with_status_200_is_no_file() {
    let site = Site::new(PLATFORM, answers([Answer::CodeWith(27, 200)]));
    says(&site.payload, Works, "code 27");
    assert!(site.payload.history().is_empty());
}

/// Half a minute: the one story that waits for the channel's own pace, which its unit tests cover.
#[test]
fn lu_5_a_file_that_is_still_being_made_is_asked_for_again() {
    let mut site = Site::new(PLATFORM, answers([Answer::Code(43)]));
    says(&site.payload, Waits, "still making the file");
    site.succeeds();
    site.answered(PACKAGE, 27);
    assert_eq!(site.served().len(), 2);
}

/// Ten times; what it was asked is counted over restarts, each of which asks at once.
#[test]
fn lu_5_a_file_that_is_never_made_is_not_asked_for_without_end() {
    let mut site = Site::stopped(Payload::setup(), PLATFORM, answers(vec![Answer::Code(43); 11]));
    for times in 1..=10 {
        asks_anew(&mut site.payload);
        let record = record(&site.payload);
        site.payload.wait_for("the answer to be written down", || {
            let record: Value =
                serde_json::from_slice(&fs::read(&record).unwrap_or_default()).unwrap_or_default();
            record["not_yet"] == times
        });
    }
    asks_anew(&mut site.payload);
    says(&site.payload, Works, "still making the file");
    let shown = site.payload.uplift(&["status"]).1;
    assert!(shown.contains("and was after 10 more requests"), "{shown}");
    // Made at last, it is installed.
    let firmware = site.payload.new_firmware();
    site.signer.seal_file(&firmware).unwrap();
    site.upload(&firmware);
    asks_anew(&mut site.payload);
    site.succeeds();
    site.answered(PACKAGE, 27);
}

#[test]
fn lu_5_an_empty_answer_or_none_is_tried_again() {
    for answer in [Answer::Empty, Answer::Nothing] {
        let mut site = Site::new(PLATFORM, answers([answer]));
        site.succeeds();
        site.answered(PACKAGE, 27);
    }
}

/// Blocked, it asks nothing for a day, whatever restarts; somebody who has allowed it again at the
/// platform deletes the record.
#[test]
fn lu_3_a_payload_that_is_blocked_asks_no_more() {
    let mut site = Site::new(PLATFORM, answers([Answer::Code(40)]));
    says(&site.payload, Fails, "allow it again there (code 40: upgrade loop)");
    asks_anew(&mut site.payload);
    says(&site.payload, Waits, "the server has blocked this payload");
    assert_eq!(site.requests(), 1);
    site.payload.kill_channels();
    std::fs::remove_file(record(&site.payload)).unwrap();
    site.payload.start_channels().unwrap();
    site.succeeds();
    assert_eq!(site.served().len(), 2);
}

#[test]
fn lu_5_the_platform_s_own_refusals_are_words() {
    let mut site = Site::stopped(Payload::setup(), PLATFORM, Options::default());
    asks_anew(&mut site.payload);
    says(&site.payload, Fails, "the project has no firmware of this name");
    site.answered(RUNS, 26);
    site.server.change(|options| options.project_key = Some(format!("not {NAME}")));
    asks_anew(&mut site.payload);
    says(&site.payload, Fails, "the platform does not know the project");
    site.answered(RUNS, 25);
}
