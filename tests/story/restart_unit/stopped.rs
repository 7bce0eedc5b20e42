//! The daemon is told to stop in each phase: it ends at once, whatever its threads wait for, and
//! the next one goes on.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use uplift::model::{FailureKind, Outcome, Phase};

use crate::world::payload::{NEW, OLD, Payload};
use crate::world::watched::Watched as _;

/// Far below every deadline that the daemon could be waiting for.
const AT_ONCE: Duration = Duration::from_secs(3);
const TRIAL: &str = "window = \"100ms\"\ndeadline = \"60s\"";
const UNIT: &str = "restart = \"unit\"\nrestart_deadline = \"60s\"";

impl Payload {
    /// Waits for a phase, and stops the daemon in it.
    fn stop_in(&mut self, phase: Phase) {
        self.wait_for_phase(phase);
        let pid = self.daemon_pid().unwrap();
        kill(Pid::from_raw(pid.try_into().unwrap()), Signal::SIGTERM).unwrap();
        let end = Instant::now() + AT_ONCE;
        while !has_ended(pid) {
            assert!(Instant::now() < end, "the daemon did not end at once in the phase {phase}");
            std::thread::sleep(Duration::from_millis(5));
        }
        self.kill_daemon();
    }

    /// Starts the daemon again; how the upgrade ends.
    fn go_on(&mut self) -> (Outcome, Option<FailureKind>) {
        self.start_daemon().unwrap();
        self.wait_until_settled().unwrap();
        self.ending()
    }
}

/// Ended, and waiting for its parent to notice.
fn has_ended(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_none_or(|rest| rest.starts_with('Z') || rest.is_empty())
}

/// Stops the daemon while systemd hangs with the restart of the unit.
fn stop_before_the_restart(payload: &mut Payload) {
    payload.systemd_has("hang", "restart");
    let client = payload.install();
    payload.wait_until_hung(1);
    payload.stop_in(Phase::Restarting);
    drop(client);
}

#[test]
fn while_a_file_is_received() {
    let mut payload = Payload::of_unit(UNIT, "");
    let mut client = UnixStream::connect(payload.root().join("run/control.sock")).unwrap();
    client.write_all(b"{\"request\":\"install\",\"file_name\":\"PSDK_APPALIAS_V02.00.00.00.bin\",\"size\":100000}\n").unwrap();
    client.read_exact(&mut [0; 10]).unwrap();
    client.write_all(&[0; 1000]).unwrap();
    payload.stop_in(Phase::Receiving);
    payload.start_daemon().unwrap();
    let status = payload.status().unwrap();
    assert_eq!((status.phase, status.last), (Phase::Idle, None));
    let staged = fs::read_dir(payload.stage()).unwrap().count();
    assert_eq!(staged, 0, "what was received is thrown away");
    assert_eq!(payload.upgrade().outcome, Outcome::Succeeded);
}

#[test]
fn while_it_checks() {
    let mut payload = Payload::unit_setup(UNIT, TRIAL)
        // Asked like this, the program does not answer, and the check goes on for five seconds.
        .version("version_command = []\npreflight_deadline = \"5s\"\nversion = \"V01.00.00.00\"")
        .start();
    let client = payload.install();
    payload.stop_in(Phase::Checking);
    drop(client);
    assert_eq!(payload.go_on(), (Outcome::Failed, Some(FailureKind::Interrupted)));
    assert_eq!(payload.reported_version().unwrap(), OLD);
}

#[test]
fn while_it_waits_for_the_restart() {
    let mut payload = Payload::of_unit(UNIT, "");
    stop_before_the_restart(&mut payload);
    payload.systemd_has("hang", "");
    assert_eq!(payload.go_on(), (Outcome::Succeeded, None));
    assert_eq!(payload.running().as_deref(), Some(NEW));
}

#[test]
fn while_the_new_program_is_on_trial() {
    let mut payload =
        Payload::unit_setup(UNIT, TRIAL).version("version = \"V01.00.00.00\"").start();
    payload.systemd_has("waits", NEW);
    let client = payload.install();
    payload.stop_in(Phase::Trial);
    drop(client);
    payload.start_daemon().unwrap();
    let installed = payload.status().unwrap().components[0].version.unwrap();
    assert_eq!(
        installed.to_string(),
        NEW,
        "not the version that the configuration gives the one before"
    );
    payload.stop_in(Phase::Trial);
    payload.systemd_has("waits", "");
    payload.start_unit();
    assert_eq!(payload.go_on(), (Outcome::Succeeded, None));
    assert_eq!(payload.running().as_deref(), Some(NEW));
}

#[test]
fn while_the_old_program_is_restarted() {
    let mut payload = Payload::of_unit(UNIT, "");
    payload.systemd_has("waits", NEW);
    let client = payload.install();
    payload.wait_for_phase(Phase::Trial);
    payload.systemd_has("hang", "restart");
    payload.wait_until_hung(1);
    payload.stop_in(Phase::Restarting);
    drop(client);
    payload.systemd_has("hang", "");
    assert_eq!(payload.go_on(), (Outcome::RolledBack, Some(FailureKind::Unhealthy)));
    assert_eq!(payload.running().as_deref(), Some(OLD));
}

#[test]
fn while_it_still_starts() {
    let mut payload = Payload::of_unit(UNIT, "");
    // Without an upgrade under way nothing hangs on what systemd says.
    stop_before_the_restart(&mut payload);
    payload.systemd_has("hang", "show");
    // systemd does not answer for ten seconds: so long the daemon finds out what it left, and is
    // not ready.
    let before = payload.asked("show");
    let mut daemon = payload.command(&["daemon"]).spawn().unwrap();
    payload.wait_for("a question to systemd", || payload.asked("show") > before);
    kill(Pid::from_raw(daemon.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    let end = Instant::now() + AT_ONCE;
    while daemon.try_wait().unwrap().is_none() {
        assert!(Instant::now() < end, "the daemon did not end at once");
        std::thread::sleep(Duration::from_millis(5));
    }
}
