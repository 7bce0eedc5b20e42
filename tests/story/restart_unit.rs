//! Restarts that systemd carries out, refuses, or never ends: of the program's unit while the
//! daemon goes on, and of the machine. systemd is a script of one unit (`systemctl`), the rest is
//! the real binary.

mod by_hand;
mod stopped;
mod trial;

use std::fs;

use uplift::model::{
    Evidence, Failure, FailureKind, Outcome, Phase, Report, RunningEvidence, Status, TrialWait,
};

use crate::world::payload::{NEW, OLD, Payload, Setup};
use crate::world::watched::Watched as _;

const UNIT: &str = "restart = \"unit\"\nrestart_deadline = \"3s\"";
/// The section of a link without an FTP server.
pub(crate) const DCFTP_LINK: &str =
    "[channel.psdk]\ndevice = \"ROOT/run/ttyPayload\"\nbaud = 921600\ntransfer = \"dcftp\"\n";
const REBOOT: &str = "restart = \"reboot\"\nrestart_deadline = \"2s\"";

impl Payload {
    /// The unit runs, the daemon does too; `program` and `sections` are lines of the configuration.
    fn of_unit(program: &str, sections: &str) -> Self {
        Self::with_trial(program, &format!("window = \"100ms\"\ndeadline = \"2s\"\n{sections}"))
    }

    /// The same with a trial of the test's own, and whatever sections follow.
    pub(crate) fn with_trial(program: &str, trial: &str) -> Self {
        Self::unit_setup(program, trial).start()
    }

    pub(crate) fn unit_setup(program: &str, trial: &str) -> Setup {
        Self::setup().with_systemd().program(program).trial(trial)
    }

    /// Waits until the trial waits for this.
    fn wait_for_trial(&self, wanted: impl Fn(&TrialWait) -> bool) {
        let waits = |status: &Status| {
            status
                .upgrade
                .as_ref()
                .and_then(|upgrade| upgrade.waits_for.as_ref())
                .is_some_and(&wanted)
        };
        self.wait_for_status(waits).unwrap();
    }

    /// An upgrade that fails like this.
    fn fails(&self, kind: FailureKind) -> (Report, Failure) {
        let report = self.upgrade();
        let failure = report.failure.clone().unwrap_or_else(|| panic!("{report:?}"));
        assert_eq!(failure.kind, kind, "{failure}");
        (report, failure)
    }
}

#[test]
fn a_unit_is_restarted_and_its_process_is_the_evidence() {
    let payload = Payload::of_unit(UNIT, "");
    assert_eq!(payload.running().as_deref(), Some(OLD));
    let report = payload.upgrade();
    assert_eq!(report.outcome, Outcome::Succeeded, "{report:?}");
    let evidence = Evidence {
        restarted: true,
        digest_at_path: true,
        running: RunningEvidence::Verified,
        restarts: 0,
        boots: 1,
        health_command: None,
        bridge: None,
        confirmed_by: None,
    };
    assert_eq!(report.evidence.unwrap(), evidence);
    assert_eq!(payload.running().as_deref(), Some(NEW));
    assert_eq!(payload.asked("restart"), 2, "once for the start, once for the upgrade");
}

#[test]
fn a_unit_that_does_not_start_is_rolled_back_and_remembered() {
    let payload = Payload::of_unit(UNIT, "");
    payload.systemd_has("fails", NEW);
    let (report, _) = payload.fails(FailureKind::Unhealthy);
    assert_eq!(report.outcome, Outcome::RolledBack);
    assert_eq!(payload.running().as_deref(), Some(OLD), "the old program runs again");
    let (report, _) = payload.fails(FailureKind::KnownBad);
    assert_eq!(report.outcome, Outcome::Failed);
}

#[test]
fn neither_program_starts() {
    let payload = Payload::of_unit(UNIT, "");
    payload.systemd_has("fails", &format!("{NEW}\n{OLD}"));
    let (report, _) = payload.fails(FailureKind::Unhealthy);
    assert_eq!(report.outcome, Outcome::RolledBack, "the old program is at the path: {report:?}");
    assert_eq!(payload.reported_version().unwrap(), OLD);
}

#[test]
fn a_restart_of_the_unit_that_is_refused() {
    let payload = Payload::of_unit(UNIT, "");
    payload.systemd_has("refuse", "restart");
    let (report, failure) = payload.fails(FailureKind::RestartFailed);
    assert!(failure.to_string().contains("Access denied"), "{failure}");
    assert_eq!(report.outcome, Outcome::RolledBack);
    assert_eq!(payload.reported_version().unwrap(), OLD);
    assert_eq!(payload.running().as_deref(), Some(OLD), "it was never stopped");
    // The program is not to blame: once systemd obeys, the same file goes in.
    payload.systemd_has("refuse", "");
    assert_eq!(payload.upgrade().outcome, Outcome::Succeeded);
}

#[test]
fn a_restart_of_the_unit_that_never_ends() {
    let payload = Payload::of_unit(UNIT, "");
    payload.systemd_has("hang", "restart");
    let (report, _) = payload.fails(FailureKind::RestartFailed);
    assert_eq!(report.outcome, Outcome::RolledBack);
    assert_eq!(payload.reported_version().unwrap(), OLD);
}

#[test]
fn the_daemon_dies_between_swap_and_restart_of_the_unit() {
    let mut payload = Payload::of_unit("restart = \"unit\"\nrestart_deadline = \"30s\"", "");
    payload.systemd_has("hang", "restart");
    let client = payload.install();
    payload.wait_until_hung(1);
    payload.kill_daemon();
    drop(client);
    payload.systemd_has("hang", "");
    payload.start_daemon().unwrap();
    payload.wait_until_settled().unwrap();
    let report = payload.last_report();
    assert_eq!(report.outcome, Outcome::Succeeded, "{report:?}");
    assert_eq!(payload.running().as_deref(), Some(NEW));
}

#[test]
fn a_reboot_that_is_refused_puts_the_old_program_back() {
    let payload = Payload::of_unit(REBOOT, "");
    payload.systemd_has("refuse", "reboot");
    let (report, failure) = payload.fails(FailureKind::RestartFailed);
    assert!(failure.to_string().contains("Access denied"), "{failure}");
    assert_eq!(report.outcome, Outcome::RolledBack);
    assert_eq!(payload.reported_version().unwrap(), OLD);
    assert_eq!(payload.asked("reboot"), 1, "the old program runs; nothing is to be restarted back");
}

#[test]
fn a_reboot_that_never_comes_has_a_deadline() {
    for hangs in [true, false] {
        let payload = Payload::of_unit(REBOOT, "");
        payload.systemd_has("hang", if hangs { "reboot" } else { "" });
        let (report, _) = payload.fails(FailureKind::RestartFailed);
        assert_eq!(report.outcome, Outcome::RolledBack);
        assert_eq!(payload.reported_version().unwrap(), OLD);
    }
}

#[test]
fn a_restart_of_the_unit_is_no_reboot() {
    // The unit crashes and is started again while the reboot is awaited: what runs is right, but
    // the reboot never came.
    let payload = Payload::of_unit("restart = \"reboot\"\nrestart_deadline = \"3s\"", "");
    let client = payload.install();
    payload.wait_for_phase(Phase::Restarting);
    payload.start_unit();
    client.wait_with_output().unwrap();
    let failure = payload.last_report().failure.unwrap();
    assert_eq!(failure.kind, FailureKind::RestartFailed);
    assert_eq!(
        payload.running().as_deref(),
        Some(NEW),
        "systemd has started what lay at the path then"
    );
    assert_eq!(payload.asked("reboot"), 2, "so the old program must be restarted too");
    assert!(
        failure.to_string().contains("was not restarted, so that the new one may run"),
        "{failure}"
    );
    assert!(
        failure.hint().contains("payload.service takes longer to end, shorten `TimeoutStopSec=`"),
        "{}",
        failure.hint()
    );
}

#[test]
fn a_program_that_fails_after_the_reboot_is_rolled_back_by_another_one() {
    let mut payload = Payload::of_unit("restart = \"reboot\"\nrestart_deadline = \"30s\"", "");
    payload.systemd_has("fails", NEW);
    let client = payload.install();
    payload.wait_for_phase(Phase::Restarting);
    payload.reboot();
    // The trial fails, the old program is put back, and the machine is to restart once more.
    payload.wait_for_phase(Phase::Restarting);
    assert_eq!(payload.reported_version().unwrap(), OLD);
    payload.reboot();
    let output = client.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(payload.ending(), (Outcome::RolledBack, Some(FailureKind::Unhealthy)));
    assert_eq!(payload.running().as_deref(), Some(OLD));
    payload.fails(FailureKind::KnownBad);
}

#[test]
fn a_program_that_was_installed_over_itself_and_fails_does_not_reboot_for_ever() {
    let mut payload = Payload::of_unit(
        "restart = \"reboot\"\nrestart_deadline = \"30s\"",
        "[package]\nallow_same_version = true\n",
    );
    let firmware = payload.root().join(format!("PSDK_APPALIAS_{OLD}.bin"));
    fs::copy(payload.program(), &firmware).unwrap();
    payload.systemd_has("fails", OLD);
    let client = payload.install_file(&firmware);
    for _ in 0..2 {
        payload.wait_for_phase(Phase::Restarting);
        payload.reboot();
    }
    client.wait_with_output().unwrap();
    assert_eq!(
        payload.ending(),
        (Outcome::Failed, Some(FailureKind::Unhealthy)),
        "nothing was rolled back"
    );
    assert_eq!(payload.asked("reboot"), 2, "one to the new program, one back");
    assert_eq!(payload.reported_version().unwrap(), OLD);
    let previous = payload.previous();
    assert!(!previous.exists(), "the place of the program before it was not taken");
}

#[test]
fn systemd_that_can_not_tell_of_the_unit_proves_no_restart() {
    // Without the invocation of the old program, that of the same process later would pass for a
    // new one.
    let payload = Payload::of_unit(UNIT, "");
    payload.systemd_has("refuse", "show");
    let (report, _) = payload.fails(FailureKind::RestartFailed);
    assert_eq!(report.outcome, Outcome::Failed, "nothing was swapped: {report:?}");
    assert_eq!(payload.reported_version().unwrap(), OLD);
}

#[test]
fn the_engine_answers_while_systemd_does_not() {
    let payload = Payload::of_unit(UNIT, "");
    payload.systemd_has("hang", "show");
    let client = payload.install();
    payload.wait_for_phase(Phase::Ready);
    let began = std::time::Instant::now();
    assert!(payload.command(&["history"]).output().unwrap().status.success());
    assert!(
        began.elapsed() < std::time::Duration::from_secs(5),
        "the engine waited for systemd: {:?}",
        began.elapsed()
    );
    client.wait_with_output().unwrap();
    assert_eq!(payload.ending(), (Outcome::Failed, Some(FailureKind::RestartFailed)));
}

#[test]
fn the_aircraft_hears_the_end_from_a_daemon_that_was_not_restarted() {
    for (fails, expected) in [("", "success"), (NEW, "failure")] {
        let payload = Payload::of_unit(UNIT, DCFTP_LINK);
        payload.systemd_has("fails", fails);
        payload.plug_aircraft().hears(expected);
        let status = payload.status().unwrap();
        assert!(status.unacknowledged.is_empty(), "the aircraft acknowledged");
    }
}

#[test]
fn a_journal_that_can_not_be_written_causes_no_endless_reboots() {
    let mut payload = Payload::of_unit("restart = \"reboot\"\nrestart_deadline = \"30s\"", "");
    payload.systemd_has("fails", NEW);
    let client = payload.install();
    payload.wait_for_phase(Phase::Restarting);
    drop(client);
    // The state file's temporary name is taken by a directory: it can be read, but not written.
    fs::create_dir(payload.state().join("state.json.new")).unwrap();
    payload.reboot();
    payload.wait_until_settled().unwrap();
    assert_eq!(payload.reported_version().unwrap(), OLD);
    assert_eq!(payload.asked("reboot"), 1, "a second one could never be followed up");
    assert_eq!(payload.ending(), (Outcome::RolledBack, Some(FailureKind::Unhealthy)));
}
