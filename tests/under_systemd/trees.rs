//! A tree under the packaged units: what they let the daemon do is enough to lay one, with its owners
//! and capabilities, and to exchange it, once the directory above it is opened.

use uplift::model::{FailureKind, Outcome, Report, RunningEvidence};

use super::machine::{Machine, NEW, OLD, PRODUCT, program};
use super::{UNIT, assert_runs, rolled_back_without_daemon};

const PATH: &str = "/opt/sensor";

/// A machine whose payload is a tree, and where its new one is made, with these settings of the trial.
fn sensor(restart: &str, trial: &str) -> Machine {
    let machine = Machine::boot();
    let configuration = format!(
        "[component.sensor]\nkind = \"tree\"\npath = \"{PATH}\"\nproduct = \"{PRODUCT}\"\nunit = \"payload.service\"\n{restart}version = \"{OLD}\"\n[trial]\nwindow = \"1s\"\n{trial}"
    );
    machine.write("/etc/uplift/uplift.toml", configuration.as_bytes());
    machine.done(&["mkdir", "--parents", "/opt/sensor/bin", "/root/made/bin", "/root/made/share"]);
    machine.install_program("/opt/sensor/bin/payload", program(OLD));
    machine.install_program("/root/made/bin/payload", program(NEW));
    let unit = UNIT.replace("/usr/local/bin/payload", "/opt/sensor/bin/payload");
    machine.write("/etc/systemd/system/payload.service", unit.as_bytes());
    machine.done(&["systemctl", "daemon-reload"]);
    machine.done(&["systemctl", "enable", "--now", "payload.service"]);
    machine.done(&["systemctl", "restart", "uplift.service"]);
    machine
}

/// The firmware file of the new tree.
fn packed(machine: &Machine) -> String {
    let pack = ["uplift", "pack", "--unsigned", "--keep-owners", "--product", PRODUCT];
    machine.done(&[&pack[..], &["--version", NEW, "--out", "/root", "/root/made"]].concat());
    format!("/root/{PRODUCT}_{NEW}.bin")
}

/// The units may write the directory above the tree.
fn open(machine: &Machine) {
    machine.done(&["uplift", "config", "sandbox", "--write"]);
    machine.done(&["systemctl", "daemon-reload"]);
    machine.done(&["systemctl", "restart", "uplift.service"]);
}

#[test]
fn a_tree_is_replaced_where_the_unit_may_write_the_directory_above_it() {
    let machine = sensor("restart = \"unit\"\n", "");
    machine.done(&["ln", "--symbolic", "bin/payload", "/root/made/run"]);
    machine.done(&["setcap", "cap_net_raw=ep", "/root/made/bin/payload"]);
    machine.done(&["chown", "games:games", "/root/made/share"]);
    let firmware = packed(&machine);

    assert!(!machine.output(&["uplift", "install", &firmware]).status.success());
    let report = machine.report();
    let failure = report.failure.expect("it was refused");
    assert_eq!(
        (report.outcome, failure.kind),
        (Outcome::Failed, FailureKind::InstallFailed),
        "{failure}"
    );
    assert!(failure.hint().contains("uplift config sandbox"), "{failure}");

    open(&machine);
    machine.done(&["uplift", "install", &firmware]);
    let history = machine.done(&["uplift", "history", "--json"]);
    let reports: Vec<Report> = serde_json::from_str(&history).unwrap();
    assert_runs(&machine, &reports[0], RunningEvidence::Started);
    assert!(machine.done(&["getcap", "/opt/sensor/bin/payload"]).contains("cap_net_raw=ep"));
    let share = machine.done(&["stat", "--format=%U:%G %a", "/opt/sensor/share"]);
    assert_eq!(share, "games:games 755\n");
    machine.done(&["uplift", "rollback", "--yes"]);
    machine.wait_for("the old tree", || machine.running("payload.service") == OLD);
}

/// The daemon is gone for good in the trial's boots, as in the test of a program.
#[test]
fn the_rescue_puts_the_old_tree_back_when_the_daemon_does_not_come() {
    let mut machine = sensor("", "boots = 1\n");
    open(&machine);
    let before = machine.done(&["find", PATH, "-printf", "%P %m %U %G %s\n"]);
    let firmware = packed(&machine);
    rolled_back_without_daemon(&mut machine, &firmware);
    assert_eq!(machine.done(&["find", PATH, "-printf", "%P %m %U %G %s\n"]), before);
}
