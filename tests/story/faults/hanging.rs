//! Something never ends: a program, systemd, a disk.

use uplift::model::{FailureKind, Outcome, Phase};

use super::story::{ROLLED_BACK, SUCCEEDED, TRIAL, UNIT, ending};
use crate::restart_unit::DCFTP_LINK;
use crate::world::payload::{NEW, OLD, Payload};
use crate::world::watched::Watched as _;

/// The restart, and the trial, end soon by their own deadlines.
const IMPATIENT: &str = "restart = \"unit\"\nrestart_deadline = \"2s\"";
const SHORT: &str = "window = \"100ms\"\ndeadline = \"2s\"";

/// The host hears that the upgrade has started, because it waits for that no longer, and then how
/// the check ended.
#[test]
fn a_program_that_does_not_tell_its_version() {
    let payload = Payload::unit_setup(UNIT, &format!("{TRIAL}\n{DCFTP_LINK}"))
        // Asked like this, it runs for ever.
        .version("version_command = []\npreflight_deadline = \"8s\"\nversion = \"V01.00.00.00\"")
        .start();
    let verdict = payload.plug_aircraft().hears("failure");
    assert!(verdict["pushes"]["end"].as_u64() > Some(0), "{verdict}");
    payload.ends((Outcome::Failed, Some(FailureKind::PreflightFailed)), OLD);
}

#[test]
fn a_unit_that_never_finishes_starting() {
    let payload = Payload::linked(UNIT, SHORT);
    payload.systemd_has("waits", NEW);
    payload.plug_aircraft().hears("failure");
    let report = payload.ends(ROLLED_BACK, OLD);
    assert!(report.failure.unwrap().to_string().contains("it is activating"));
}

#[test]
fn a_health_command_that_never_ends() {
    let payload =
        Payload::linked(UNIT, &format!("{SHORT}\nhealth_command = [\"/bin/sleep\", \"1000\"]"));
    payload.plug_aircraft().hears("failure");
    let report = payload.ends(ROLLED_BACK, OLD);
    assert!(
        report
            .failure
            .unwrap()
            .to_string()
            .contains("the health command did not succeed within 2s")
    );
}

#[test]
fn systemd_that_does_not_answer_any_more_during_the_trial() {
    let payload = Payload::linked(UNIT, SHORT);
    payload.systemd_has("waits", NEW);
    let aircraft = payload.plug_aircraft();
    payload.wait_for_phase(Phase::Trial);
    payload.systemd_has("hang", "show\nrestart");
    aircraft.hears("failure");
    let report = payload.history().remove(0);
    assert_eq!(ending(&report), ROLLED_BACK);
    let failure = report.failure.unwrap().to_string();
    assert!(failure.contains("the old program is at its path, but was not restarted"), "{failure}");
    assert_eq!(payload.reported_version().unwrap(), OLD);
}

/// The new program fails, and the unit can't be restarted any more.
fn no_way_back(verb: &str, why: &str) {
    let payload = Payload::linked(IMPATIENT, TRIAL);
    payload.systemd_has("waits", NEW);
    let aircraft = payload.plug_aircraft();
    payload.wait_for_phase(Phase::Trial);
    payload.systemd_has(verb, "restart");
    payload.systemd_has("state", "failed");
    aircraft.hears("failure");
    let report = payload.history().remove(0);
    assert_eq!(ending(&report), ROLLED_BACK);
    let failure = report.failure.unwrap().to_string();
    assert!(
        failure.contains("the old program is at its path, but was not restarted")
            && failure.contains(why),
        "{failure}"
    );
    assert_eq!(payload.reported_version().unwrap(), OLD);
}

#[test]
fn a_restart_of_the_old_program_that_never_ends() {
    no_way_back("hang", "did not end within 2 s");
}

#[test]
fn a_restart_of_the_old_program_that_is_refused() {
    no_way_back("refuse", "Access denied");
}

#[test]
fn a_disk_that_stands_still_while_it_installs() {
    let mut payload = Payload::linked(UNIT, TRIAL);
    payload.kill_daemon();
    payload.wrap_daemon(&[
        "strace",
        "-D",
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        "trace=renameat2",
        "-e",
        STANDS_STILL,
    ]);
    payload.start_daemon().unwrap();
    let aircraft = payload.plug_aircraft();
    payload.wait_for_phase(Phase::Installing);
    assert!(payload.history().is_empty());
    assert_eq!(payload.status().unwrap().phase, Phase::Installing, "the engine answers meanwhile");
    aircraft.hears("success");
    payload.ends(SUCCEEDED, NEW);
}

/// The exchange takes five seconds.
const STANDS_STILL: &str = "inject=renameat2:delay_enter=5000000:when=1";
