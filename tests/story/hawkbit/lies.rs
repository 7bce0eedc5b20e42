//! Answers that are not as they should be: a clear word for the server or for a person, nothing
//! installed, and nothing lost.

use serde_json::{Value, json};
use uplift_sim::cloud::delivery::{Delivery, Redirect};
use uplift_sim::cloud::hawkbit::{Deployment, Digests, Event, Lie, Options, State};

use super::site::{DEVICE, Site};
use crate::world::watched::Watched as _;

const ARTIFACT: &str = "/deployment/chunks/0/artifacts/0";

fn replaced(pointer: &str, value: Value) -> Lie {
    Lie::Replaced(pointer.to_owned(), value)
}

fn of_artifact(member: &str, value: Value) -> Lie {
    replaced(&format!("{ARTIFACT}{member}"), value)
}

fn missing(pointer: &str) -> Lie {
    Lie::Missing(pointer.to_owned())
}

/// Each of these closes its action as failed; then what is right is installed.
fn each_fails(cases: Vec<(&str, Vec<Lie>, &str)>) {
    let mut site = Site::new();
    for (what, lies, kind) in cases {
        site.server.change(|options| options.lies = lies);
        let action = site.offer_new();
        let details = site.fails(action, kind);
        assert!(details.contains("What to do: "), "{what}: {details}");
    }
    site.server.change(|options| options.lies = Vec::new());
    let action = site.offer_new();
    site.payload.restart_when_asked();
    site.succeeds(action);
}

#[test]
fn dl_3_a_file_with_another_digest_or_size_is_refused() {
    let sha1 = json!("0".repeat(40));
    let hashes = |name: &str, digits: usize| json!({ name: "0".repeat(digits) });
    each_fails(vec![
        ("all wrong", vec![Lie::Digests(Digests::Wrong)], "digest-mismatch"),
        ("sha256", vec![of_artifact("/hashes", hashes("sha256", 64))], "digest-mismatch"),
        ("md5", vec![of_artifact("/hashes", hashes("md5", 32))], "digest-mismatch"),
        ("sha1", vec![of_artifact("/hashes", json!({ "sha1": sha1 }))], "digest-mismatch"),
        ("short", vec![Lie::Digests(Digests::Short)], "transfer-failed"),
        ("larger", vec![Lie::Size(1_000_000)], "transfer-failed"),
        ("smaller", vec![Lie::Size(1000)], "transfer-failed"),
        ("negative", vec![Lie::Size(-1)], "transfer-failed"),
    ]);
}

#[test]
fn what_can_not_be_understood_of_an_action_closes_it() {
    each_fails(vec![
        ("no chunks", vec![missing("/deployment/chunks")], "wrong-product"),
        ("no files", vec![missing(&format!("{ARTIFACT}/_links"))], "transfer-failed"),
        ("no file name", vec![missing(&format!("{ARTIFACT}/filename"))], "transfer-failed"),
        ("no deployment", vec![missing("/deployment")], "transfer-failed"),
        ("chunks are text", vec![replaced("/deployment/chunks", json!("x"))], "transfer-failed"),
        ("size is a list", vec![of_artifact("/size", json!([1]))], "transfer-failed"),
        (
            "link is a number",
            vec![of_artifact("/_links", json!({"download": 7}))],
            "transfer-failed",
        ),
        (
            "encrypted",
            vec![replaced("/deployment/chunks/0", json!({"encrypted": true}))],
            "transfer-failed",
        ),
    ]);
}

#[test]
fn hostile_links_to_a_file_close_the_action() {
    let to = |href: &str| vec![Lie::Href(href.to_owned())];
    each_fails(vec![
        ("file", to("file:///etc/passwd"), "transfer-failed"),
        ("ftp", to("ftp://127.0.0.1/x"), "transfer-failed"),
        ("nothing", to(""), "transfer-failed"),
        ("no host", to("http://["), "transfer-failed"),
        ("too long", to(&format!("http://127.0.0.1/{}", "x".repeat(5000))), "transfer-failed"),
    ]);
}

/// DL-10.
#[test]
fn dl_10_redirections_to_nowhere_close_the_action() {
    let mut site = Site::new();
    for redirect in [Redirect::Loop, Redirect::To("file:///etc/passwd".to_owned())] {
        site.server.change(|options| {
            options.delivery = Delivery { redirect, ..Delivery::default() };
        });
        let action = site.offer_new();
        site.fails(action, "transfer-failed");
    }
}

/// What names no action can be told to nobody but a person; a cancellation is answered all the same.
#[test]
fn what_makes_no_sense_is_left_alone_and_shown() {
    let mut site = Site::new();
    for (lie, shown) in [
        (Lie::Garbage, "the answer is no JSON"),
        (Lie::HalfJson, "the answer is no JSON"),
        (missing("/id"), "the answer names no action"),
        (replaced("/id", json!({"x": 1})), "the answer is none of a hawkBit server"),
        (Lie::HugeString, "more than 1048576 bytes"),
        (Lie::OtherAction, "the answer is about another action"),
        (Lie::PollHref("file:///etc/passwd".to_owned()), "is no URL that is followed"),
    ] {
        let what = format!("{lie:?}");
        site.server.change(|options| options.lies = vec![lie]);
        let action = site.offer_new();
        site.is_polled(1);
        let status = site.shows(shown);
        assert!(!status.contains("hawkbit: works"), "{what}: {status}");
        assert_eq!(site.words(action), Vec::<String>::new(), "{what}");
        assert!(site.server.cancel(DEVICE, action));
        site.over(action);
        assert_eq!(site.server.state(DEVICE, action), Some(State::Canceled), "{what}");
    }
    site.server.change(|options| options.lies = Vec::new());
    let action = site.offer_new();
    site.payload.restart_when_asked();
    site.succeeds(action);
    site.shows("polls 127.0.0.1");
}

/// HB-1, HB-2: the answer to a poll itself. What is offered there is not lost, and comes when the answer
/// makes sense again.
#[test]
fn hb_2_an_answer_to_a_poll_that_makes_no_sense_is_shown_and_asked_for_again() {
    let mut site = Site::of(Options::default(), "poll = \"5s\"");
    let poll = |pointer: &str, value| Lie::PollReplaced(pointer.to_owned(), value);
    let missing = |pointer: &str| Lie::PollMissing(pointer.to_owned());
    let wrong = "none of a hawkBit server (line 1, column ";
    let action = site.server.assign(DEVICE, Deployment::default());
    for (lies, shown) in [
        (vec![poll("", json!([]))], wrong),
        (vec![poll("", json!(null))], wrong),
        (vec![poll("", json!("x"))], wrong),
        (vec![poll("/config", json!(7))], wrong),
        (vec![poll("/config/polling", json!("00:05:00"))], wrong),
        (vec![poll("/_links", json!("x"))], wrong),
        (vec![poll("/_links/deploymentBase", json!([1]))], wrong),
        (vec![poll("/_links/deploymentBase/href", json!(7))], wrong),
        (vec![missing("/_links/deploymentBase/href")], wrong),
        (vec![missing("/config"), missing("/_links")], "none of the members of a hawkBit server"),
        (
            vec![poll("/config/polling/sleep", json!("x".repeat(10 << 20)))],
            "more than 1048576 bytes",
        ),
    ] {
        let what = format!("{lies:?}").chars().take(200).collect::<String>();
        site.server.change(|options| options.lies = lies);
        site.polls();
        let status = site.shows(shown);
        assert!(!status.contains("hawkbit: works"), "{what}: {status}");
        assert_eq!(site.words(action), Vec::<String>::new(), "{what}");
        // The next one is not told apart from this one by its sentence.
        site.server
            .change(|options| options.lies = vec![missing("/config/polling"), missing("/_links")]);
        site.shows("polls 127.0.0.1");
    }
    site.server.change(|options| options.lies = vec![poll("/config/polling/sleep", json!([5]))]);
    assert!(site.server.cancel(DEVICE, action));
    let action = site.offer_new();
    site.payload.restart_when_asked();
    site.succeeds(action);
}

#[test]
fn a_link_of_another_device_is_left_alone() {
    let mut site = Site::new();
    let foreign = format!("{}/DEFAULT/controller/v1/OTHER/deploymentBase/10", site.server.url());
    site.server.change(|options| options.lies = vec![Lie::PollHref(foreign)]);
    let action = site.offer_new();
    site.is_polled(3);
    let events = site.server.events().so_far();
    assert!(
        !events.iter().any(|event| matches!(event, Event::Read { .. } | Event::Refused { .. }))
    );
    assert_eq!(site.words(action), Vec::<String>::new());
    assert!(site.payload.status().unwrap().last.is_none());
}

/// HB-3, DL-3, DL-5: what servers in the field leave out.
#[test]
fn hb_3_sha1_alone_no_digest_and_an_unknown_size_are_enough_where_the_seal_proves_the_file() {
    for (lie, version) in [
        (Lie::Digests(Digests::Sha1Only), "V02.00.00.00"),
        (Lie::Digests(Digests::None), "V03.00.00.00"),
        (Lie::Digests(Digests::UpperCase), "V04.00.00.00"),
        (Lie::Size(0), "V05.00.00.00"),
    ] {
        let mut site = Site::of(Options { lies: vec![lie], ..Options::default() }, "");
        let firmware = site.sealed(version, 10_000);
        let action = site.offer(&[&firmware]);
        site.payload.restart_when_asked();
        site.succeeds(action);
        assert_eq!(site.payload.reported_version().unwrap(), version);
    }
}
