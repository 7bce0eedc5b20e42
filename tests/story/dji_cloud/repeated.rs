//! What is asked more than once, by the platform or by its broker: never a second upgrade.

use uplift_sim::cloud::dji::{Answers, Event, Ids, Options};

use super::{SN, Site, TARGET, slow};

fn ids(name: &str) -> Ids {
    Ids { tid: format!("tid-{name}"), bid: format!("bid-{name}") }
}

fn ok() -> (i64, String) {
    (0, "in_progress".to_owned())
}

/// Scenario 2: each has names of its own, and the answer to the last one counts.
#[test]
fn dj_9_what_is_asked_three_times_is_one_upgrade_under_its_latest_name_also_after_the_reboot() {
    let mut site = Site::of(slow(), "");
    let order = site.order();
    let first = site.ask(&order);
    let second = site.ask(&order);
    assert_eq!(site.answer(&second), ok(), "{}", site.seen());
    site.payload.wait_for_restart_request().unwrap();
    let last = site.ask(&order);
    assert_eq!(site.answer(&last), ok());
    // It is written down while it is answered.
    site.keeps(&last.bid);
    let before = site.so_far();
    site.payload.reboot();
    site.succeeds(&last.bid);
    assert_eq!((site.ends(&first.bid), site.ends(&second.bid)), (0, 0));
    let events = site.platform.events().so_far();
    let of_others = events[before..]
        .iter()
        .any(|event| matches!(event, Event::Progress { bid, .. } if *bid != last.bid));
    assert!(!of_others, "{}", site.seen());
    assert_eq!(site.payload.history().len(), 1);
}

#[test]
fn dj_9_another_target_meanwhile_is_refused_as_busy() {
    let mut site = Site::of(slow(), "");
    let order = site.order();
    let ids = site.ask(&order);
    assert_eq!(site.answer(&ids), ok());
    let mut other = order;
    other.devices[0].product_version = "03.00.0000".to_owned();
    assert_eq!(site.asked(&other), (312_014, "rejected".to_owned()));
    site.payload.restart_when_asked();
    site.succeeds(&ids.bid);
}

/// The broker gives it again with each subscription.
#[test]
fn mq_7_a_retained_command_is_obeyed_once() {
    let mut site = Site::of(slow(), "");
    let (order, ids) = (site.order(), ids("kept"));
    site.platform.ask_as(SN, &order, &ids, true).unwrap();
    site.has_received(50_000);
    // While it is worked on, in another process.
    site.restart_channels();
    site.platform.change(|options| options.delivery.rate = None);
    site.payload.restart_when_asked();
    site.succeeds(&ids.bid);
    site.knows_all_ends();
    for _ in 0..2 {
        let before = site.so_far();
        site.restart_channels();
        // What comes with the subscription comes before the answer to the topology.
        site.sees_now("its state", before, |event| matches!(event, Event::State { .. }));
    }
    assert_eq!(site.ends(&ids.bid), 1, "{}", site.seen());
    assert_eq!(site.payload.history().len(), 1);
    site.keeps_the_rules();
}

#[test]
fn mq_7_a_retained_command_that_failed_is_not_tried_again() {
    let mut site = Site::new();
    let firmware = site.payload.new_firmware();
    let order = super::order(&firmware);
    let ids = ids("kept");
    site.platform.ask_as(SN, &order, &ids, true).unwrap();
    assert_eq!(site.end(&ids.bid), ("failed".to_owned(), 312_003), "it has no seal");
    let before = site.so_far();
    site.restart_channels();
    site.sees_now("its state", before, |event| matches!(event, Event::State { .. }));
    assert_eq!(site.payload.history().len(), 1);
    assert_eq!(site.served().len(), 1);
    site.keeps_the_rules();
}

#[test]
fn dj_14_the_same_command_after_its_end_is_answered_with_that() {
    let mut site = Site::new();
    let (order, ids) = (site.order(), ids("once"));
    site.platform.ask_as(SN, &order, &ids, false).unwrap();
    site.payload.restart_when_asked();
    site.succeeds(&ids.bid);
    let before = site.so_far();
    site.platform.ask_as(SN, &order, &ids, false).unwrap();
    let answer = site.sees_now("an answer", before, |event| matches!(event, Event::Replied { .. }));
    assert!(
        matches!(&answer, Event::Replied { result: 0, status: Some(status), .. } if status == "ok"),
        "{answer}"
    );
    assert_eq!(site.ends(&ids.bid), 1);
    assert_eq!(site.payload.history().len(), 1);
}

#[test]
fn what_runs_already_is_done_without_an_upgrade() {
    let mut site = Site::new();
    let order = site.order();
    let ids = site.ask(&order);
    site.payload.restart_when_asked();
    site.succeeds(&ids.bid);
    assert_eq!(order.devices[0].product_version, TARGET);
    let again = site.ask(&order);
    assert_eq!(site.answer(&again), ok());
    assert_eq!(site.end(&again.bid), ("ok".to_owned(), 0));
    assert_eq!(site.payload.history().len(), 1);
    assert_eq!(site.served().len(), 1, "{}", site.seen());
    site.keeps_the_rules();
}

/// Scenario 3.
#[test]
fn dj_13_an_end_is_told_again_until_its_answer_comes_and_then_no_more() {
    let options = Options { answers: Answers::Late, ..Options::default() };
    let mut site = Site::of(options, "");
    let ids = site.ask(&site.order());
    site.payload.restart_when_asked();
    site.end(&ids.bid);
    site.payload.wait_for("the third telling", || site.ends(&ids.bid) == 3);
    site.knows_all_ends();
    let before = site.so_far();
    site.restart_channels();
    site.sees_now("its state", before, |event| matches!(event, Event::State { .. }));
    site.sees_now("its properties", before, |event| matches!(event, Event::Osd { .. }));
    assert_eq!(site.ends(&ids.bid), 3, "{}", site.seen());
    site.succeeds(&ids.bid);
}

/// DJ-13: also one who never answers is told in another process, but not for ever.
#[test]
fn dj_13_an_end_that_nobody_answers_is_told_after_a_restart_as_well() {
    let options = Options { answers: Answers::Never, ..Options::default() };
    let mut site = Site::of(options, "");
    let ids = site.ask(&site.order());
    site.payload.restart_when_asked();
    site.end(&ids.bid);
    for told in 2..=5 {
        site.restart_channels();
        site.payload.wait_for("the next telling", || site.ends(&ids.bid) >= told);
    }
    let before = site.so_far();
    site.restart_channels();
    site.sees_now("its properties", before, |event| matches!(event, Event::Osd { .. }));
    assert_eq!(site.ends(&ids.bid), 5, "{}", site.seen());
    site.knows_all_ends();
    site.keeps_the_rules();
}
