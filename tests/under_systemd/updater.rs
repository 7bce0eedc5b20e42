//! Another updater under the packaged daemon: it writes where the daemon may not, ends the daemon in
//! the middle, and what it has installed is on trial over a restart of the machine.

use uplift::model::{FailureKind, Outcome, RunningEvidence};

use crate::machine::{Machine, NEW, OLD};

/// What a package may do once it is unpacked.
const NOTHING: &str = "true";

/// A machine with the package of the old version, whose daemon hands packages to dpkg.
fn machine(more: &str) -> Machine {
    let machine = Machine::boot();
    let configuration = format!(
        r#"[component.modem]
kind = "command"
product = "MODEM"
suffix = ".deb"
install = ["/usr/bin/dpkg", "--install", "{{file}}"]
revert = ["/usr/bin/dpkg", "--install", "/root/kept.deb"]
version_command = ["/usr/bin/dpkg-query", "--show", "--showformat", "${{Version}}\n", "modem"]
{more}
[package]
allow_unproven_end = true
"#
    );
    machine.write("/etc/uplift/uplift.toml", configuration.as_bytes());
    build(&machine, "/root/kept.deb", "1.0.0.0", NOTHING);
    machine.done(&["dpkg", "--install", "/root/kept.deb"]);
    machine.done(&["systemctl", "start", "uplift.service"]);
    machine
}

/// Makes a package of this version with this `postinst`.
fn build(machine: &Machine, path: &str, version: &str, postinst: &str) {
    let control = format!(
        "Package: modem\nVersion: {version}\nArchitecture: all\nMaintainer: Test <test@example.org>\nDescription: test\n"
    );
    machine.write("/root/modem/DEBIAN/control", control.as_bytes());
    let postinst = format!("#!/bin/sh\nset -e\n{postinst}\n");
    machine.write_executable("/root/modem/DEBIAN/postinst", postinst.as_bytes());
    // The daemon itself may write neither there nor anywhere below it.
    machine.write("/root/modem/usr/lib/modem/version", version.as_bytes());
    machine.done(&["dpkg-deb", "--root-owner-group", "--build", "/root/modem", path]);
}

/// The file of the new version, with this `postinst`.
fn firmware(machine: &Machine, postinst: &str) -> String {
    let path = format!("/root/MODEM_{NEW}.bin");
    build(machine, &path, "2.0.0.0", postinst);
    path
}

#[track_caller]
fn assert_is_over(machine: &Machine, version: &str) {
    let status = machine.done(&["uplift", "status"]);
    assert!(status.contains(&format!("MODEM {version}")), "{status}");
    let left = machine.done(&["find", "/var/lib/uplift/change", "-type", "f"]);
    assert_eq!(left, "/var/lib/uplift/change/lock\n");
    let units = machine.done(&["systemctl", "list-units", "--all", "--plain", "uplift-change-*"]);
    assert!(!units.contains("uplift-change-install"), "{units}");
}

#[test]
fn a_package_restarts_the_daemon_in_the_middle() {
    let machine = machine("");
    let before = machine.done(&["systemctl", "show", "--property=InvocationID", "uplift.service"]);
    let firmware = firmware(&machine, "systemctl restart uplift.service");
    machine.done(&["uplift", "install", &firmware]);
    let report = machine.report();
    assert_eq!(report.outcome, Outcome::Succeeded, "{report:?}\n{}", machine.journal());
    assert_eq!(report.evidence.unwrap().running, RunningEvidence::VersionTold);
    let after = machine.done(&["systemctl", "show", "--property=InvocationID", "uplift.service"]);
    assert_ne!(before, after, "the package has restarted the daemon");
    assert_eq!(machine.read("/usr/lib/modem/version"), "2.0.0.0");
    assert_is_over(&machine, NEW);
}

#[test]
fn the_machine_restarts_and_what_is_ill_after_it_goes_back_over_another_restart() {
    let mut machine = machine(
        "restart = \"reboot\"\ntrial = { deadline = \"3s\", health_command = [\"/usr/bin/test\", \"!\", \"-e\", \"/etc/ill\"] }",
    );
    let firmware = firmware(&machine, "touch /etc/ill");
    // There and back.
    machine.reboots_after(|machine| machine.starts(&["uplift", "install", &firmware]));
    let report = machine.report();
    assert_eq!(report.outcome, Outcome::RolledBack, "{report:?}\n{}", machine.journal());
    assert_eq!(report.failure.unwrap().kind, FailureKind::Unhealthy);
    let boots = machine.done(&["journalctl", "--no-pager", "--list-boots"]);
    let is_boot =
        |line: &&str| line.split_whitespace().next().is_some_and(|nth| nth.parse::<i32>().is_ok());
    assert_eq!(boots.lines().filter(is_boot).count(), 3, "before, on trial and back: {boots}");
    assert_eq!(machine.read("/usr/lib/modem/version"), "1.0.0.0");
    assert_is_over(&machine, OLD);
}
