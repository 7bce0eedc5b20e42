//! The example application in its own unit, with its own configuration, as docs/use/psdk-app.md
//! installs it: a simulated aircraft upgrades it through the stand-in for the vendor's library and
//! the bridge.

use uplift::model::Outcome;

use crate::example::psdk_app;
use crate::machine::{Machine, NEW, OLD, PRODUCT};

const UNIT: &str = include_str!("../../examples/psdk-app/psdk-app.service");
const CONFIGURATION: &str = include_str!("../../examples/psdk-app/uplift.toml");
const CREDENTIALS: &str = include_str!("../../examples/psdk-app/credentials.example");
const PROGRAM: &str = "/usr/local/bin/psdk-app";
const PORT: &str = "/run/aircraft";

#[test]
fn an_aircraft_upgrades_the_example_in_its_own_unit() {
    let machine = Machine::boot();
    machine.write("/etc/uplift/uplift.toml", CONFIGURATION.as_bytes());
    machine.write("/etc/psdk-app/credentials", CREDENTIALS.as_bytes());
    machine.done(&["chmod", "600", "/etc/psdk-app/credentials"]);
    let unit = UNIT.replace("/dev/ttyUSB0", PORT);
    machine.write("/etc/systemd/system/psdk-app.service", unit.as_bytes());
    machine.write_executable(PROGRAM, &psdk_app(OLD, &[]));
    let firmware = format!("/root/{PRODUCT}_{NEW}.bin");
    machine.write(&firmware, &psdk_app(NEW, &[]));
    machine.done(&["systemctl", "daemon-reload"]);
    machine.done(&["systemctl", "enable", "--now", "psdk-app.service"]);

    let aircraft = ["uplift-sim", "aircraft", "--make-pty", PORT, "--firmware", &firmware];
    machine.done(&[&["systemd-run", "--quiet", "--unit=aircraft", "--"][..], &aircraft].concat());
    machine
        .wait_for("the aircraft's port", || machine.output(&["test", "-e", PORT]).status.success());
    // As a serial adapter is.
    machine.done(&["chgrp", "dialout", PORT]);
    machine.done(&["chmod", "660", PORT]);

    let report = machine.report();
    assert_eq!(report.outcome, Outcome::Succeeded, "{report:?}\n{}", machine.journal());
    assert!(report.request.channel.as_str() == "psdk", "{report:?}");
    let version = format!("psdk-app {NEW}");
    assert_eq!(machine.running("psdk-app.service"), version);
    // Nobody's, and with the rights that its unit gives it.
    let pid =
        machine.done(&["systemctl", "show", "--property=MainPID", "--value", "psdk-app.service"]);
    let user = machine.done(&["stat", "--format=%U", &format!("/proc/{}", pid.trim())]);
    assert_eq!(user, "psdk-app\n");
    // The host heard of it, too.
    machine.wait_for("the aircraft's end", || {
        !machine.output(&["systemctl", "--quiet", "is-active", "aircraft"]).status.success()
    });
    let verdict = machine.journal();
    assert!(verdict.contains("success: the payload runs the new firmware"), "{verdict}");
}
