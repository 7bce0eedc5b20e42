//! A component that another updater installs: a command of the configuration, here a script that
//! writes down what it was told. Real updaters are in tests/updaters.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;

use crate::world::payload::Payload;
use crate::world::running::Running;
use crate::world::watched::Watched as _;
use uplift::model::{FailureKind, Installed, Outcome, Phase, Report, RunningEvidence};
use uplift_fixtures::executable;

/// What the updater does with `$1`: it keeps it, and tells its version by the first line.
const INSTALL: &str =
    "rm -f \"$0/installed\"; cp \"$1\" \"$0/installed\"; echo \"$1\" >>\"$0/handed\"";

impl Payload {
    /// A payload whose modem another updater installs. `install` and `revert` are shell scripts,
    /// with the modem's directory as `$0`; `more` is for the component's section.
    pub(crate) fn with_updater(install: &str, revert: Option<&str>, more: &str) -> Self {
        let revert = revert.map_or_else(String::new, |revert| {
            format!("revert = {:?}", ["/bin/sh", "-c", revert, "ROOT/modem"])
        });
        let section = format!(
            "[component.modem]\nkind = \"command\"\nproduct = \"MODEM\"\nsuffix = \".fw\"\nisolate_commands = \"never\"\n\
             install = [\"/bin/sh\", \"-c\", {install:?}, \"ROOT/modem\", \"{{file}}\"]\n\
             version_command = [\"/usr/bin/head\", \"-n1\", \"ROOT/modem/installed\"]\n{revert}\n{more}\n[package]\nallow_unproven_end = true\n"
        );
        let mut payload = Self::setup().sections(&section).stopped();
        fs::create_dir(payload.modem_path("")).unwrap();
        fs::write(payload.modem_path("installed"), "V01.00.00.00\n").unwrap();
        executable::write(&payload.modem_path("install"), script(install).as_bytes()).unwrap();
        payload.start_daemon().unwrap();
        payload
    }

    pub(crate) fn modem_path(&self, name: &str) -> PathBuf {
        self.root().join("modem").join(name)
    }

    /// A file of this version, which says so in its first line.
    fn modem_file(&self, version: &str) -> PathBuf {
        let path = self.root().join(format!("MODEM_{version}.bin"));
        fs::write(&path, format!("{version}\n{}", "x".repeat(5000))).unwrap();
        path
    }

    pub(crate) fn install_modem(&self, version: &str) -> Running {
        self.install_file(&self.modem_file(version))
    }

    /// Installs, and the report of it.
    fn upgrade_modem(&self, version: &str) -> (Output, Report) {
        let output = self.install_modem(version).wait_with_output().unwrap();
        (output, self.status().unwrap().last.unwrap())
    }

    fn modem(&self) -> Installed {
        self.status().unwrap().component("modem".parse().unwrap()).unwrap().clone()
    }

    fn told(&self) -> String {
        self.modem().version.map_or_else(String::new, |version| version.to_string())
    }

    fn next_report(&self, before: Option<&Report>) -> Report {
        let is_new = |status: &uplift::model::Status| {
            status.phase == Phase::Idle
                && status
                    .last
                    .as_ref()
                    .is_some_and(|last| before.is_none_or(|one| one.id != last.id))
        };
        self.wait_for_status(is_new).unwrap().last.unwrap()
    }
}

fn script(text: &str) -> String {
    format!("#!/bin/sh\n{text}\n")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn the_updater_is_handed_a_file_of_its_own_and_what_it_installs_is_asked_for_its_version() {
    let payload = Payload::with_updater(INSTALL, None, "");
    assert_eq!(payload.told(), "V01.00.00.00");
    let (output, report) = payload.upgrade_modem("V02.00.00.00");
    assert_eq!(report.outcome, Outcome::Succeeded, "{report:?}");
    assert!(text(&output).contains("V02.00.00.00 runs now."), "{}", text(&output));
    let evidence = report.evidence.unwrap();
    assert_eq!(evidence.running, RunningEvidence::VersionTold);
    assert!(!evidence.restarted && !evidence.digest_at_path);
    assert_eq!(payload.told(), "V02.00.00.00");
    let handed = fs::read_to_string(payload.modem_path("handed")).unwrap();
    assert!(handed.trim().ends_with("MODEM_V02.00.00.00.fw"), "{handed}");
    // Once it is over nothing is left of it, and the program was not touched.
    assert!(!Path::new(handed.trim()).exists());
    let status = payload.status().unwrap();
    assert_eq!(status.components[1].version.unwrap().to_string(), "V01.00.00.00");
    let mode = fs::metadata(payload.modem_path("installed")).unwrap().permissions().mode();
    assert_eq!(mode & 0o222, 0, "the copy was read-only");
    // The version that is there is not installed again, and a lower one neither.
    for version in ["V02.00.00.00", "V01.00.00.00"] {
        let (_, report) = payload.upgrade_modem(version);
        let kind = report.failure.unwrap().kind;
        assert!(matches!(kind, FailureKind::SameVersion | FailureKind::Downgrade), "{kind}");
    }
}

#[test]
fn an_exit_code_says_that_nothing_was_changed_and_any_other_that_it_may_have() {
    let payload = Payload::with_updater(
        "echo refused; exit 3",
        Some("echo back >>\"$0/went\""),
        "unchanged_exit_codes = [3]",
    );
    let (_, report) = payload.upgrade_modem("V02.00.00.00");
    assert_eq!(report.outcome, Outcome::Failed);
    let failure = report.failure.unwrap();
    assert!(failure.to_string().contains("exit code 3: refused"), "{failure}");
    assert!(!payload.modem_path("went").exists());
    let payload = Payload::with_updater("echo half; exit 4", Some("echo back >>\"$0/went\""), "");
    let (_, report) = payload.upgrade_modem("V02.00.00.00");
    assert_eq!(report.outcome, Outcome::RolledBack, "{report:?}");
    assert_eq!(report.program_log, ["half"]);
    assert_eq!(fs::read_to_string(payload.modem_path("went")).unwrap(), "back\n");
    let payload = Payload::with_updater("exit 4", None, "");
    let (_, report) = payload.upgrade_modem("V02.00.00.00");
    assert_eq!(report.outcome, Outcome::Failed);
    assert!(report.failure.unwrap().to_string().contains("there is no `revert` command"));
}

#[test]
fn what_does_not_tell_the_new_version_goes_back() {
    let payload = Payload::with_updater(
        "true",
        Some("echo back >>\"$0/went\""),
        "trial = { deadline = \"2s\" }",
    );
    let (_, report) = payload.upgrade_modem("V02.00.00.00");
    assert_eq!(report.outcome, Outcome::RolledBack, "{report:?}");
    let failure = report.failure.unwrap();
    assert_eq!(failure.kind, FailureKind::Unhealthy);
    assert!(failure.to_string().contains("V01.00.00.00 is told, not V02.00.00.00"), "{failure}");
    assert_eq!(fs::read_to_string(payload.modem_path("went")).unwrap(), "back\n");
    // It failed here, so that it is not tried again unless somebody insists.
    let (_, report) = payload.upgrade_modem("V02.00.00.00");
    assert_eq!(report.failure.unwrap().kind, FailureKind::KnownBad);
}

/// A package may restart the daemon in the middle: kill it, and start it again.
#[test]
fn a_daemon_that_is_killed_meanwhile_reads_the_result() {
    let mut payload = Payload::with_updater(
        "mkfifo \"$0/go-on\"; echo percent 40; echo >\"$0/began\"; read x <\"$0/go-on\"; cp \"$1\" \"$0/installed\"",
        None,
        "",
    );
    let client = payload.install_modem("V02.00.00.00");
    payload
        .wait_for_status(|status| {
            status.upgrade.as_ref().is_some_and(|upgrade| upgrade.percent == Some(40))
        })
        .unwrap();
    payload.restart_daemon();
    assert_eq!(payload.status().unwrap().phase, Phase::Installing);
    uplift_sim::sandbox::wait_for_file(&payload.modem_path("began")).unwrap();
    fs::write(payload.modem_path("go-on"), "\n").unwrap();
    let report = payload.next_report(None);
    assert_eq!(report.outcome, Outcome::Succeeded, "{report:?}");
    let output = client.wait_with_output().unwrap();
    assert!(text(&output).contains("V02.00.00.00 runs now."), "{}", text(&output));
}

/// The machine restarts between the installation and the trial, as an updater with two systems
/// needs it.
#[test]
fn a_trial_outlives_the_restart_of_the_machine() {
    let mut payload = Payload::with_updater(
        INSTALL,
        Some("echo V01.00.00.00 >\"$0/installed.new\"; mv \"$0/installed.new\" \"$0/installed\""),
        "RESTART",
    );
    let client = payload.install_modem("V02.00.00.00");
    payload.restart_when_asked();
    let report = payload.next_report(None);
    client.wait_with_output().unwrap();
    assert_eq!(report.outcome, Outcome::Succeeded, "{report:?}");
    assert!(report.evidence.as_ref().unwrap().restarted);
    // By hand it goes back, with a restart too.
    let back = payload.spawn(&["rollback", "--yes", "--component", "modem"]);
    payload.restart_when_asked();
    let report = payload.next_report(Some(&report));
    back.wait_with_output().unwrap();
    assert_eq!(report.outcome, Outcome::RolledBack, "{report:?}");
    assert_eq!(payload.told(), "V01.00.00.00");
    assert_eq!(payload.modem().known_bad.len(), 1);
}

#[test]
fn nothing_is_known_of_an_updater_that_was_cut_off() {
    let mut payload = Payload::with_updater(
        "mkfifo \"$0/go-on\"; echo $$ >\"$0/pid.new\"; mv \"$0/pid.new\" \"$0/pid\"; read x <\"$0/go-on\"",
        Some("echo back >>\"$0/went\""),
        "",
    );
    let client = payload.install_modem("V02.00.00.00");
    uplift_sim::sandbox::wait_for_file(&payload.modem_path("pid")).unwrap();
    payload.kill_daemon();
    let begun = fs::read(payload.state().join("change/begun.json")).unwrap();
    let begun: serde_json::Value = serde_json::from_slice(&begun).unwrap();
    let kill = |process| {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(process), nix::sys::signal::SIGKILL)
    };
    kill(i32::try_from(begun["runner"].as_i64().unwrap()).unwrap()).unwrap();
    let updater = fs::read_to_string(payload.modem_path("pid")).unwrap().trim().parse().unwrap();
    // A booted systemd ends what a service leaves when its process dies, and may have done so already.
    assert!(matches!(kill(updater), Ok(()) | Err(nix::errno::Errno::ESRCH)));
    payload.start_daemon().unwrap();
    let report = payload.next_report(None);
    client.wait_with_output().unwrap();
    assert_eq!(report.outcome, Outcome::RolledBack, "{report:?}");
    assert_eq!(report.failure.unwrap().kind, FailureKind::Interrupted);
    assert_eq!(fs::read_to_string(payload.modem_path("went")).unwrap(), "back\n");
}

/// Nothing else leads away from what has failed.
#[test]
fn a_way_back_that_was_cut_off_is_begun_once_more() {
    let revert = |cut: &str| {
        format!(
            "echo back >>\"$0/went\"; {cut} || {{ kill -9 $PPID; exit; }}; echo V01.00.00.00 >\"$0/installed\""
        )
    };
    // Cut off the first time, and each time.
    for (cut, outcome, version) in [
        ("[ -e \"$0/cut\" ] || ! touch \"$0/cut\"", Outcome::RolledBack, "V01.00.00.00"),
        ("false", Outcome::Failed, "V02.00.00.00"),
    ] {
        let install = format!("{INSTALL}; exit 1");
        let payload = Payload::with_updater(&install, Some(&revert(cut)), "");
        let (output, report) = payload.upgrade_modem("V02.00.00.00");
        assert_eq!(report.outcome, outcome, "{report:?}");
        let went = fs::read_to_string(payload.modem_path("went")).unwrap();
        assert_eq!(went, "back\nback\n", "{}", text(&output));
        assert_eq!(payload.told(), version);
    }
}
