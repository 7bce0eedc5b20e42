//! Plans that are not followed (QT-6), and files that are not installed (QT-12).

use std::fs;

use uplift::model::{ChannelState, FailureKind, Outcome};
use uplift_sim::module::quectel::{Event, Options, Plan};

use super::{RUNS, Site, TARGET, is_command, is_failed, is_read, signer};
use crate::world::payload::{OLD, Payload};

/// A plan that is refused at once, and why.
#[track_caller]
fn is_refused(lines: &str, plan: Plan, why: &str) {
    let mut site = Site::stopped(Payload::setup(), lines, Options::default());
    fs::write(site.payload.root().join("charge"), "20\n").unwrap();
    let to = plan.to.clone();
    site.module.plan(plan);
    site.payload.start_channels().unwrap();
    site.waits_for(|event| *event == Event::Refused { to: to.clone() });
    site.says(ChannelState::Works, why);
    assert!(site.payload.history().is_empty(), "nothing was begun");
    assert_eq!(site.announced(), [RUNS]);
    assert_eq!(site.payload.reported_version().unwrap(), OLD);
}

fn plan() -> Plan {
    Plan::new("PAYLOAD", TARGET, vec![7; 4096])
}

#[test]
fn qt_6_a_plan_for_another_version_than_what_runs_is_refused() {
    let mut site = Site::stopped(Payload::setup(), "", Options::default());
    // The platform has the text that it was told before, and a plan for that.
    site.module.plan(Plan { from: RUNS.into(), to: "1_0".into(), ..plan() });
    site.payload.start_channels().unwrap();
    site.waits_for(|event| *event == Event::Refused { to: "1_0".into() });
    site.says(ChannelState::Works, "it runs already");
    assert_eq!(site.announced(), [RUNS, "1_0"], "in the platform's own words");
}

#[test]
fn qt_6_a_plan_for_a_battery_that_is_fuller_is_refused() {
    let lines = "battery_file = \"ROOT/charge\"";
    is_refused(lines, Plan { battery: 21, ..plan() }, "the battery has 20 %");
}

#[test]
fn qt_6_a_battery_that_nobody_can_read_is_none() {
    is_refused("battery_file = \"ROOT/none\"", plan(), "does not tell the battery's charge");
}

#[test]
fn qt_6_a_plan_for_a_stronger_signal_is_refused() {
    is_refused("", Plan { signal: -64, ..plan() }, "the signal is -65 dBm");
}

#[test]
fn qt_6_a_plan_that_needs_more_room_than_there_is_is_refused() {
    is_refused("", Plan { space: Some(1 << 60), ..plan() }, "wants room for");
}

#[test]
fn qt_6_a_version_that_is_none_is_refused() {
    is_refused("", Plan { to: "beta".into(), ..plan() }, "no version by `version_form`");
}

#[test]
fn qt_6_what_may_not_begin_now_is_refused_and_not_put_off() {
    let mut site = Site::stopped(Payload::setup(), "", Options::default());
    site.payload.uplift(&["hold", "a flight"]);
    site.plan_new_version();
    site.payload.start_channels().unwrap();
    site.waits_for(|event| matches!(event, Event::Refused { .. }));
    site.says(ChannelState::Works, "held");
    assert!(site.payload.history().is_empty());
    // The platform plans it once more when the hold is over.
    site.payload.uplift(&["release"]);
    site.plan_new_version();
    site.module.push();
    site.succeeds();
}

#[test]
fn i_4_who_asks_while_another_upgrade_runs_is_refused_in_the_platform_s_words() {
    let mut site = Site::stopped(Payload::setup(), "", Options::default());
    let firmware = site.payload.new_firmware();
    site.signer.seal_file(&firmware).unwrap();
    site.payload.start_channels().unwrap();
    site.waits_for(|event| is_command(event, "AT+QIOTOTAREQ=1"));
    let other = site.payload.install_file(&firmware);
    site.payload.wait_for_restart_request().unwrap();
    site.plan(&firmware, TARGET);
    site.module.push();
    site.waits_for(|event| matches!(event, Event::Refused { .. }));
    site.says(ChannelState::Works, "another upgrade runs");
    site.payload.reboot();
    other.wait_with_output().unwrap();
    assert_eq!(site.payload.ending(), (Outcome::Succeeded, None));
    assert_eq!(site.payload.history().len(), 1);
    assert_eq!(site.count(is_read), 0);
    // What was on trial was not announced before it had proved itself.
    site.payload.wait_for("the new version", || site.announced().len() == 2);
    assert_eq!(site.announced(), [RUNS, "2_0_0_0"]);
}

/// A file that is read and not installed.
#[track_caller]
fn fails(options: Options, kind: FailureKind, plan: impl Fn(&Site)) -> Site {
    let mut site = Site::stopped(Payload::setup(), "", options);
    plan(&site);
    site.payload.start_channels().unwrap();
    let report = site.reported();
    let failure = report.failure.unwrap();
    assert_eq!((report.outcome, failure.kind), (Outcome::Failed, kind), "{failure}");
    let failed = site.waits_for(is_failed);
    let Event::Failed { why, .. } = failed else { unreachable!() };
    assert_eq!(why, format!("{RUNS} was announced"));
    assert_eq!(site.count(|event| is_command(event, "AT+QIOTUPDATE=3")), 0, "QT-12");
    assert_eq!(site.payload.reported_version().unwrap(), OLD);
    site
}

#[test]
fn qt_12_a_file_with_another_md5_is_not_installed() {
    let options = Options { wrong_md5: true, ..Options::default() };
    fails(options, FailureKind::DigestMismatch, Site::plan_new_version);
}

/// QT-9: also where the MD5 is right.
#[test]
fn qt_9_a_file_with_another_sha_256_is_not_installed() {
    let options = Options { wrong_sha256: true, ..Options::default() };
    fails(options, FailureKind::DigestMismatch, Site::plan_new_version);
}

#[test]
fn qt_12_a_file_without_a_seal_is_not_installed() {
    fails(Options::default(), FailureKind::SealMissing, |site| {
        site.plan(&site.payload.new_firmware(), TARGET);
    });
}

#[test]
fn qt_12_a_file_that_a_stranger_has_sealed_is_not_installed() {
    fails(Options::default(), FailureKind::SealInvalid, |site| {
        let firmware = site.payload.new_firmware();
        signer().seal_file(&firmware).unwrap();
        site.plan(&firmware, TARGET);
    });
}

#[test]
fn qt_12_a_lower_version_is_not_even_read() {
    let site = fails(Options::default(), FailureKind::Downgrade, |site| {
        let firmware = site.payload.firmware_of("V00.09.00.00", 300_000);
        site.signer.seal_file(&firmware).unwrap();
        site.plan(&firmware, "0_9");
    });
    assert_eq!(site.count(is_read), 0);
}

#[test]
fn qt_9_a_file_of_another_version_than_its_plan_is_not_installed() {
    fails(Options::default(), FailureKind::WrongVersion, |site| {
        let firmware = site.payload.new_firmware();
        site.signer.seal_file(&firmware).unwrap();
        site.plan(&firmware, "3_0_0");
    });
}
