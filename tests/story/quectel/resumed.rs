//! The power fails, of the payload or of one of its processes: what came stays, and the platform
//! hears the truth (QT-11, QT-14).

use std::time::Duration;

use uplift::model::{FailureKind, Outcome, Phase};
use uplift_sim::module::quectel::{Event, Options};

use super::{RUNS, Site, TARGET, is_command, is_failed};
use crate::world::payload::{NEW, OLD, Payload};
use crate::world::watched::Watched as _;

/// Bytes of the firmware without its seal.
const SIZE: u64 = 1_000_000;
/// What is read twice at most: what is not durable yet, and what was under way.
const TWICE: u64 = (256 + 80) << 10;

/// A large file on a line on which it takes some seconds.
fn slow() -> Site {
    with(Options::default())
}

fn with(options: Options) -> Site {
    let options = Options { baud: Some(3_000_000), ..options };
    let mut site = Site::stopped(Payload::setup(), "", options);
    let firmware = site.payload.firmware_of(NEW, SIZE);
    site.signer.seal_file(&firmware).unwrap();
    site.plan(&firmware, TARGET);
    site.payload.start_channels().unwrap();
    site
}

/// Waits until most of the file is read.
#[track_caller]
fn reads(site: &Site) {
    site.waits_for(|event| matches!(event, Event::Read { start, .. } if *start > SIZE * 7 / 10));
}

#[track_caller]
fn was_read_once(site: &Site) {
    let read = site.read();
    assert!((SIZE..SIZE + TWICE).contains(&read), "{read} bytes were read");
    assert_eq!(site.count(is_failed), 0);
    assert_eq!(site.count(|event| matches!(event, Event::Accepted { .. })), 1);
}

#[test]
fn qt_14_the_channels_die_while_they_read_and_go_on_behind_what_came() {
    let mut site = slow();
    reads(&site);
    site.payload.kill_channels();
    site.payload.start_channels().unwrap();
    site.succeeds();
    was_read_once(&site);
    assert_eq!(site.announced(), [RUNS, TARGET], "the old version was not announced meanwhile");
}

#[test]
fn qt_14_the_daemon_dies_while_bytes_come() {
    let mut site = slow();
    reads(&site);
    site.payload.restart_daemon();
    site.succeeds();
    was_read_once(&site);
}

#[test]
fn qt_14_the_payload_loses_its_power_while_the_module_stays_on() {
    let mut site = slow();
    reads(&site);
    site.payload.reboot();
    site.succeeds();
    was_read_once(&site);
}

/// The bytes that are not durable are gone with the piece before.
#[test]
fn qt_14_what_can_not_go_on_is_planned_anew_and_keeps_what_came() {
    let mut site = with(Options { piece: 3_000, ..Options::default() });
    reads(&site);
    site.payload.kill_channels();
    site.payload.start_channels().unwrap();
    let failed = site.module.events().wait_for(Duration::from_secs(10), is_failed);
    if failed.is_some() {
        site.module.push();
    }
    site.succeeds();
    let read = site.read();
    assert!((SIZE..SIZE + TWICE).contains(&read), "{read} bytes were read");
}

#[test]
fn qt_14_a_power_cut_that_takes_the_module_s_time_is_told_as_a_failure_and_not_forgotten() {
    let mut site = slow();
    reads(&site);
    site.payload.power_off();
    site.module.fail();
    site.waits_for(is_failed);
    site.payload.reboot();
    site.payload.start_channels().unwrap();
    // The module is asked, and knows of nothing any more.
    site.payload.wait_for_phase(Phase::Receiving);
    site.waits_for(|event| is_command(event, "AT+QIOTUPDATE=2"));
    site.module.push();
    site.succeeds();
    let read = site.read();
    assert!((SIZE..SIZE + TWICE).contains(&read), "{read} bytes were read");
}

#[test]
fn qt_10_the_daemon_dies_after_the_word_to_install() {
    let mut site = Site::new(Options::default());
    site.waits_for(|event| *event == Event::Updating);
    site.payload.restart_daemon();
    // Either it was installed by then, or it is over as interrupted: the truth is told.
    let is_decided =
        |status: &uplift::model::Status| status.phase == Phase::Restarting || status.last.is_some();
    let status = site.payload.wait_for_status(is_decided).unwrap_or_else(|error| {
        panic!("{error:#}: {:?} {:#?}", site.payload.status(), site.so_far())
    });
    if status.phase == Phase::Restarting {
        site.succeeds();
        return;
    }
    let report = site.reported();
    let ending = (report.outcome, report.failure.unwrap().kind);
    assert_eq!(ending, (Outcome::Failed, FailureKind::Interrupted));
    let failed = site.waits_for(is_failed);
    assert_eq!(failed, Event::Failed { to: TARGET.into(), why: format!("{RUNS} was announced") });
    assert_eq!(site.payload.reported_version().unwrap(), OLD);
}

#[test]
fn qt_11_the_channels_are_dead_until_all_is_over() {
    let mut site = Site::new(Options::default());
    site.payload.wait_for_restart_request().unwrap();
    site.payload.kill_channels();
    site.payload.reboot();
    site.payload.wait_for_status(|status| status.last.is_some()).unwrap();
    assert_eq!(site.announced(), [RUNS]);
    site.payload.start_channels().unwrap();
    assert_eq!(site.reported().outcome, Outcome::Succeeded);
    site.waits_for(|event| *event == Event::Succeeded { to: TARGET.into() });
    assert_eq!(site.announced(), [RUNS, TARGET]);
}

#[test]
fn qt_11_the_channels_begin_anew_while_it_is_on_trial_and_say_nothing() {
    let setup =
        Payload::setup().trial("health_command = [\"/usr/bin/test\", \"-e\", \"ROOT/healthy\"]");
    let mut site = Site::with(setup, "", Options::default());
    site.payload.restart_when_asked();
    site.payload.wait_for_phase(Phase::Trial);
    site.payload.kill_channels();
    let began = |event: &Event| is_command(event, "AT+QIOTSTATE?");
    let before = site.count(began);
    site.payload.start_channels().unwrap();
    // It has spoken with the module, and had nothing to say.
    site.payload.wait_for("another beginning", || site.count(began) > before);
    assert_eq!(site.announced(), [RUNS]);
    std::fs::write(site.payload.root().join("healthy"), "").unwrap();
    assert_eq!(site.reported().outcome, Outcome::Succeeded);
    site.waits_for(|event| *event == Event::Succeeded { to: TARGET.into() });
    assert_eq!(site.announced(), [RUNS, TARGET]);
}

/// The module's time for the new version is over before the payload is back.
#[test]
fn qt_11_the_truth_is_told_although_nobody_waits_for_it_any_more() {
    let mut site = Site::new(Options::default());
    site.payload.wait_for_restart_request().unwrap();
    site.module.fail();
    site.waits_for(is_failed);
    site.payload.reboot();
    assert_eq!(site.reported().outcome, Outcome::Succeeded);
    assert_eq!(site.announced(), [RUNS, TARGET]);
}
