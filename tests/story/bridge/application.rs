//! The whole way: simulated aircraft, the vendor's library as it was observed (the stand-in), the
//! example application with the bridge, the daemon, and a restart of the unit.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use uplift::model::{BridgeHealth, FailureKind, Outcome, Phase};
use uplift_fixtures::executable;

use crate::world::payload::{Aircraft, NEW, OLD, Payload, Setup, Transfer};
use crate::world::psdk_app::psdk_app;

const CREDENTIALS: &str =
    "app_name = test\napp_id = 1\napp_key = k\napp_license = l\naccount = a@example.org\n";

/// The application of this unit is what is upgraded.
pub(super) fn setup(sections: &str) -> Setup {
    Payload::setup().with_systemd().program("restart = \"unit\"").sections(&format!(
        "[channel.psdk]\ndoor = \"bridge\"\n[trial]\nwindow = \"1s\"\ndeadline = \"20s\"\n{sections}"
    ))
}

/// The same, whose library offers FTP.
pub(super) fn ftp_setup() -> Setup {
    Payload::setup()
        .with_systemd()
        .program("restart = \"unit\"")
        .trial("window = \"1s\"\ndeadline = \"20s\"\nhealth = \"bridge\"")
        .link("921600", None)
        .ftp_server(true)
}

/// The application in the old version, as it offers this transfer; nothing runs yet.
pub(super) fn stopped(setup: &Setup, transfer: Transfer) -> Payload {
    let payload = setup.stopped();
    payload.install_application();
    if transfer == Transfer::Ftp {
        let door = "[channel.psdk]\ndoor = \"bridge\"\ntransfer = \"ftp\"\n";
        payload.edit_config(|text| text.replace("[channel.psdk]\n", door));
        payload.give_argument("--transfer ftp");
    }
    payload
}

/// An aircraft and the application, which runs in the old version.
fn upgrade(
    setup: &Setup,
    transfer: Transfer,
    firmware: impl FnOnce(&Payload) -> PathBuf,
) -> (Payload, Aircraft) {
    let mut payload = stopped(setup, transfer);
    let aircraft = payload.plug(transfer, &firmware(&payload));
    setup.run(&mut payload);
    (payload, aircraft)
}

fn upgraded_by_aircraft(
    sections: &str,
    firmware: impl FnOnce(&Payload) -> PathBuf,
) -> (Payload, Value) {
    let (payload, aircraft) = upgrade(&setup(sections), Transfer::Dcftp, firmware);
    let verdict = aircraft.verdict();
    (payload, verdict)
}

impl Payload {
    /// An aircraft at the line of the application, long enough in each phase to be seen there.
    fn plug(&self, transfer: Transfer, firmware: &Path) -> Aircraft {
        let slow = ["--baud", "921600", "--pause", "enter=500ms", "--pause", "finish=500ms"];
        self.plug_with(transfer, firmware, &slow)
    }

    /// An aircraft at the line of the application, whose start fails without it.
    pub(super) fn plug_with(
        &self,
        transfer: Transfer,
        firmware: &Path,
        arguments: &[&str],
    ) -> Aircraft {
        let device = self.root().join("run/ttyPayload");
        let _ = fs::remove_file(&device); // of an aircraft before
        let aircraft = self.aircraft(transfer, firmware, arguments);
        self.wait_for("the aircraft's line", || device.exists());
        aircraft
    }

    fn install_application(&self) {
        executable::write(&self.program(), &psdk_app(OLD, &[])).unwrap();
        let run = self.root().join("run");
        let credentials = run.join("credentials");
        executable::write(&credentials, CREDENTIALS.as_bytes()).unwrap();
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(&credentials, private).unwrap();
        let (device, socket) = (run.join("ttyPayload"), run.join("bridge.sock"));
        let arguments = format!(
            "--credentials {} --device {} --socket {}",
            credentials.display(),
            device.display(),
            socket.display()
        );
        self.systemd_has("arguments", &arguments);
    }

    pub(super) fn signal_daemon(&self, signal: Signal) {
        let pid = i32::try_from(self.daemon_pid().expect("it runs")).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
    }

    fn give_argument(&self, argument: &str) {
        let before = fs::read_to_string(self.systemd_file("arguments")).unwrap();
        self.systemd_has("arguments", &format!("{} {argument}", before.trim()));
    }

    /// A firmware file: the application in the new version.
    pub(super) fn new_application(&self, definitions: &[&str]) -> PathBuf {
        let file = self.root().join(format!("PSDK_APPALIAS_{NEW}.bin"));
        fs::write(&file, psdk_app(NEW, definitions)).unwrap();
        file
    }
}

#[test]
fn an_aircraft_upgrades_the_application_through_the_vendors_library() {
    let sections = "health = \"bridge\"\naircraft = true\n";
    let (payload, verdict) = upgraded_by_aircraft(sections, |payload| payload.new_application(&[]));
    assert_eq!(
        (&verdict["result"], &verdict["version_after"]),
        (&json!("success"), &json!(NEW)),
        "{verdict}"
    );
    let report = payload.last_report();
    assert_eq!(report.outcome, Outcome::Succeeded);
    assert_eq!(report.evidence.unwrap().bridge, Some(BridgeHealth::Aircraft));
    let caller = report.request.caller.unwrap();
    assert!(caller.starts_with("psdk-app 01.00.00.00, process "), "{caller}");
}

#[test]
fn a_refusal_is_told_at_once_and_the_application_runs_on() {
    let (payload, verdict) = upgraded_by_aircraft("", |payload| {
        let lower = payload.root().join("PSDK_APPALIAS_V00.09.00.00.bin");
        fs::write(&lower, psdk_app(OLD, &[])).unwrap();
        lower
    });
    assert_eq!(verdict["result"], "failure", "{verdict}");
    assert_eq!(payload.ending(), (Outcome::Failed, Some(FailureKind::Downgrade)));
    assert_eq!(payload.asked("restart"), 1, "the start alone");
}

/// It speaks a protocol of which this daemon knows nothing.
#[test]
fn an_application_that_never_connects_is_rolled_back_and_the_old_one_reports_that() {
    let later = ["UPLIFT_PSDK_PROTOCOL_LOWEST=7U", "UPLIFT_PSDK_PROTOCOL_HIGHEST=7U"];
    let (payload, verdict) =
        upgraded_by_aircraft("health = \"bridge\"\n", |payload| payload.new_application(&later));
    assert_eq!(
        (&verdict["result"], &verdict["version_after"]),
        (&json!("failure"), &json!(OLD)),
        "{verdict}"
    );
    let report = payload.last_report();
    assert_eq!(report.outcome, Outcome::RolledBack);
    let failure = report.failure.unwrap();
    assert!(failure.to_string().contains("did not show itself at the bridge"), "{failure}");
}

/// At each step of the daemon's a new one takes over, and the host notices nothing.
#[test]
fn a_daemon_that_is_killed_at_any_phase_goes_on() {
    for phase in [Phase::Preparing, Phase::Receiving, Phase::Trial] {
        let sections = "health = \"bridge\"\n";
        let (mut payload, aircraft) =
            upgrade(&setup(sections), Transfer::Dcftp, |payload| payload.new_application(&[]));
        payload.wait_for_phase(phase);
        payload.restart_daemon();
        let verdict = aircraft.verdict();
        assert_eq!(verdict["result"], "success", "{phase}: {verdict}\n{}", payload.logs());
        assert_eq!(payload.ending(), (Outcome::Succeeded, None), "{phase}");
    }
}

#[test]
fn a_daemon_that_hangs_for_a_while_costs_the_host_repetitions_alone() {
    for phase in [Phase::Preparing, Phase::Receiving, Phase::Trial] {
        let sections = "health = \"bridge\"\n";
        let (payload, aircraft) =
            upgrade(&setup(sections), Transfer::Dcftp, |payload| payload.new_application(&[]));
        payload.wait_for_phase(phase);
        payload.signal_daemon(Signal::SIGSTOP);
        std::thread::sleep(Duration::from_millis(700)); // what is tested is how long it hangs
        payload.signal_daemon(Signal::SIGCONT);
        aircraft.hears("success");
        assert_eq!(payload.ending(), (Outcome::Succeeded, None), "{phase}");
    }
}

/// The library's new process knows nothing of the file, and the host begins again.
#[test]
fn an_application_that_dies_in_the_transfer_is_upgraded_by_the_next_try() {
    let (payload, aircraft) =
        upgrade(&setup(""), Transfer::Dcftp, |payload| payload.new_application(&[]));
    payload.wait_for_phase(Phase::Receiving);
    payload.start_unit();
    aircraft.hears("failure");
    let again = payload.plug(Transfer::Dcftp, &payload.new_application(&[]));
    payload.start_unit();
    again.hears("success");
    assert_eq!(payload.ending(), (Outcome::Succeeded, None));
}

/// Nothing of a file is there yet, and the daemon knows who has entered.
#[test]
fn an_application_that_dies_before_the_transfer_goes_on() {
    let (payload, aircraft) =
        upgrade(&setup(""), Transfer::Dcftp, |payload| payload.new_application(&[]));
    payload.wait_for_phase(Phase::Preparing);
    payload.start_unit();
    aircraft.hears("success");
    assert_eq!(payload.ending(), (Outcome::Succeeded, None));
}

/// Its next start shows itself, and its host hears the end all the same.
#[test]
fn an_application_that_dies_in_its_trial_shows_itself_once_more() {
    let (payload, aircraft) =
        upgrade(&setup("health = \"bridge\"\n"), Transfer::Dcftp, |payload| {
            payload.new_application(&[])
        });
    payload.wait_for_phase(Phase::Trial);
    payload.start_unit();
    aircraft.hears("success");
    let report = payload.last_report();
    assert_eq!(report.outcome, Outcome::Succeeded);
    assert!(report.evidence.unwrap().bridge.is_some());
}

#[test]
fn an_application_whose_library_offers_ftp_is_upgraded_over_it() {
    let (payload, aircraft) =
        upgrade(&ftp_setup(), Transfer::Ftp, |payload| payload.new_application(&[]));
    aircraft.hears("success");
    assert_eq!(payload.ending(), (Outcome::Succeeded, None));
}
