//! When an upgrade may begin: holds, the maintenance window, readiness, free space, through the real
//! binaries.

use std::fs;

use uplift::model::{FailureKind, Outcome, Phase};

use crate::world::payload::{NEW, OLD, Payload};
use crate::world::watched::Watched as _;

/// A policy whose readiness command answers by files in the sandbox: it is not ready while there is
/// one called `flying`, nor once it was asked as often as `lands` says.
const READY: &str = "ready_deadline = \"20s\"\nisolate_commands = \"never\"\nready_command = [\"/bin/sh\", \"-c\", \
    'echo >>\"$0/asked\"; if test -e \"$0/flying\"; then echo in flight; exit 1; fi; \
     if test -e \"$0/lands\" && test \"$(wc -l <\"$0/asked\")\" -gt \"$(cat \"$0/lands\")\"; then echo in flight again; exit 1; fi', \"ROOT\"]";

fn with_policy(lines: &str) -> Payload {
    Payload::setup().sections(&format!("[policy]\n{lines}\n")).start()
}

impl Payload {
    /// Is refused at its beginning, for this reason.
    fn may_not_begin(&self, reason: &str) {
        let (code, output) = self.uplift(&["install", self.new_firmware().to_str().unwrap()]);
        assert_eq!(code, Some(1), "{output}");
        assert!(output.contains(reason), "{output}");
        assert!(output.contains("hint: "), "{output}");
        let status = self.status().unwrap();
        assert_eq!((status.phase, status.last), (Phase::Idle, None), "there was no upgrade");
    }

    fn is_upgraded(&mut self, arguments: &[&str]) {
        let firmware = self.new_firmware();
        let arguments = [arguments, &[firmware.to_str().unwrap()]].concat();
        let output = self.through_a_restart(&arguments);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(self.reported_version().unwrap(), NEW);
    }
}

#[test]
fn a_hold_keeps_a_person_from_upgrading_until_it_is_released() {
    let mut payload = Payload::setup().start();
    let (code, output) = payload.uplift(&["hold", "--for", "2h", "in", "the air"]);
    assert_eq!(code, Some(0), "{output}");
    assert!(output.contains("in the air, for 2 h more"), "{output}");
    payload.may_not_begin("no upgrade may begin now: upgrades are held by uid ");
    // It outlives the daemon, and another boot.
    payload.kill_daemon();
    fs::write(payload.root().join("boot_id"), "another\n").unwrap();
    payload.start_daemon().unwrap();
    payload.may_not_begin(": in the air");
    let (_, status) = payload.uplift(&["status"]);
    assert!(status.contains("    Hold  upgrades are held by uid "), "{status}");
    let hold = payload.status().unwrap().policy.hold.unwrap();
    assert_eq!(hold.reason.as_deref(), Some("in the air"));
    let left = hold.seconds_left.unwrap();
    assert!((1..=7200).contains(&left), "{left}");
    let (code, output) = payload.uplift(&["release"]);
    assert_eq!(code, Some(0), "{output}");
    assert!(output.starts_with("released: upgrades were held by uid "), "{output}");
    let (code, output) = payload.uplift(&["release", "--json"]);
    assert_eq!(code, Some(0), "{output}");
    assert!(output.contains("\"hold\": null"), "{output}");
    assert!(payload.status().unwrap().policy.hold.is_none());
    payload.is_upgraded(&["install"]);
    let logs = payload.logs();
    assert!(logs.contains("upgrades are held by") && logs.contains("; released by uid "), "{logs}");
}

#[test]
fn a_host_is_refused_under_a_hold_and_may_come_back() {
    let payload = Payload::setup().link("921600", None).start();
    let (code, output) = payload.uplift(&["hold"]);
    assert_eq!(code, Some(0), "{output}");
    assert!(output.contains("until `uplift release`"), "{output}");
    let verdict = payload.plug_aircraft().hears("failure");
    assert!(verdict.to_string().contains("refuses upgrade mode"), "{verdict}");
    let status = payload.status().unwrap();
    assert_eq!((status.phase, status.last), (Phase::Idle, None));
    assert!(payload.logs().contains("no upgrade may begin now"), "{}", payload.logs());
    assert_eq!(payload.uplift(&["release"]).0, Some(0));
    let aircraft = payload.plug_aircraft();
    payload.wait_for_phase(Phase::Restarting);
    drop(aircraft);
}

/// Who insists goes on, and the way back is never held.
#[test]
fn a_person_may_insist_and_go_back_under_a_hold() {
    let mut payload = Payload::setup().start();
    assert_eq!(payload.uplift(&["hold"]).0, Some(0));
    payload.is_upgraded(&["install", "--force"]);
    let output = payload.through_a_restart(&["rollback", "--yes"]);
    assert_eq!(payload.last_report().outcome, Outcome::RolledBack, "{output:?}");
    assert_eq!(payload.reported_version().unwrap(), OLD);
}

#[test]
fn a_hold_that_can_not_be_read_holds() {
    let mut payload = Payload::setup().start();
    payload.kill_daemon();
    fs::write(payload.state().join("hold.json"), "{}").unwrap();
    payload.start_daemon().unwrap();
    payload.may_not_begin("hold.json can't be read");
    assert_eq!(payload.uplift(&["release"]).0, Some(0));
    payload.is_upgraded(&["install"]);
}

#[test]
fn a_window_is_closed_while_the_clock_can_not_be_trusted() {
    // The whole day, but for the minutes that nobody can hit: two windows that meet.
    let mut payload = with_policy(
        "window_utc = [\"00:00-12:00\", \"12:00-00:00\"]\nclock_file = \"ROOT/clock-is-set\"",
    );
    payload.may_not_begin("UTC counts as closed, because the clock was not set since the boot");
    let (_, status) = payload.uplift(&["status"]);
    assert!(
        status.contains(
            "  Window  00:00-12:00, 12:00-00:00 UTC, closed, because the clock can't be trusted"
        ),
        "{status}"
    );
    fs::write(payload.root().join("clock-is-set"), "").unwrap();
    let (_, status) = payload.uplift(&["status"]);
    assert!(status.contains("12:00-00:00 UTC, open"), "{status}");
    payload.is_upgraded(&["install"]);
}

#[test]
fn a_payload_that_is_not_ready_refuses_and_says_why() {
    let mut payload = with_policy(READY);
    fs::write(payload.root().join("flying"), "").unwrap();
    payload.may_not_begin("the payload is not ready: \"in flight\"");
    fs::remove_file(payload.root().join("flying")).unwrap();
    payload.is_upgraded(&["install"]);
}

#[test]
fn a_payload_that_is_not_ready_any_more_is_not_installed_on() {
    let payload = with_policy(READY);
    fs::write(payload.root().join("lands"), "1").unwrap();
    let (code, output) = payload.uplift(&["install", payload.new_firmware().to_str().unwrap()]);
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains("in flight again"), "{output}");
    assert_eq!(payload.ending(), (Outcome::Failed, Some(FailureKind::NotNow)));
    assert_eq!(payload.reported_version().unwrap(), OLD);
}

/// It took off between the swap and the restart: the old program comes back, and nothing restarts.
#[test]
fn a_machine_that_may_not_restart_has_the_old_program_back() {
    let payload = Payload::setup()
        .program("restart_deadline = \"1s\"\nRESTART\n")
        .sections(&format!("[policy]\n{READY}\n"))
        .start();
    fs::write(payload.root().join("lands"), "2").unwrap();
    let (code, output) = payload.uplift(&["install", payload.new_firmware().to_str().unwrap()]);
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains("in flight again"), "{output}");
    assert_eq!(payload.ending(), (Outcome::RolledBack, Some(FailureKind::NotNow)));
    assert_eq!(payload.reported_version().unwrap(), OLD);
    assert!(!payload.restart_requested(), "neither to the new program nor back");
    let component = &payload.status().unwrap().components[0];
    assert!(component.known_bad.is_empty(), "the program is not to blame: {component:?}");
}

/// What another updater has installed never ran, and goes back without a restart, too.
#[test]
fn a_machine_that_may_not_restart_has_an_updater_go_back() {
    let install = "cp \"$1\" \"$0/next\"";
    let mut payload = Payload::with_updater(
        install,
        Some("rm \"$0/next\""),
        "restart = [\"touch\", \"ROOT/run/restart\"]\nrestart_deadline = \"1s\"",
    );
    let policy = READY.replace("ROOT", payload.root().to_str().unwrap());
    payload.edit_config(|text| format!("{text}\n[policy]\n{policy}\n"));
    payload.restart_daemon();
    fs::write(payload.root().join("lands"), "2").unwrap();
    let output = payload.install_modem("V02.00.00.00").wait_with_output().unwrap();
    assert!(!output.status.success());
    assert_eq!(payload.ending(), (Outcome::RolledBack, Some(FailureKind::NotNow)));
    assert!(!payload.modem_path("next").exists() && payload.modem_path("installed").exists());
    assert!(!payload.root().join("run/restart").exists(), "neither there nor back");
}

#[test]
fn a_machine_that_may_restart_in_time_does() {
    let mut payload = Payload::setup()
        .program("restart_deadline = \"10m\"\nRESTART\n")
        .sections(&format!("[policy]\n{READY}\n"))
        .start();
    fs::write(payload.root().join("lands"), "2").unwrap();
    let client = payload.install();
    let is_asked_again = || {
        fs::read_to_string(payload.root().join("asked"))
            .is_ok_and(|asked| asked.lines().count() > 2)
    };
    payload.wait_for("the question before the restart", is_asked_again);
    assert_eq!(payload.status().unwrap().phase, Phase::Restarting);
    assert!(!payload.restart_requested());
    fs::remove_file(payload.root().join("lands")).unwrap();
    payload.restart_when_asked();
    assert!(client.wait_with_output().unwrap().status.success());
    assert_eq!(payload.reported_version().unwrap(), NEW);
}

#[test]
fn too_little_space_is_told_before_a_byte_is_sent() {
    let payload = with_policy("min_free_space = \"8388608GiB\"");
    let (code, output) =
        payload.uplift(&["install", "--force", payload.new_firmware().to_str().unwrap()]);
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains("`min_free_space` wants 9007199254740992"), "{output}");
    assert!(payload.status().unwrap().last.is_none());
}
