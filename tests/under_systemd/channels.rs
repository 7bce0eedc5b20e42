//! The process of the network channels: the daemon has it started, and its sandbox lets it do its work.

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

use uplift::model::Outcome;
use uplift_sim::signer::Signer;

use crate::machine::{Machine, NEW, PRODUCT, program};
use crate::{assert_succeeded, configuration, start};

const MODEM: &str = "/run/modem";

#[test]
fn it_is_started_where_a_channel_is_configured_and_upgrades_from_its_sandbox() {
    let machine = Machine::boot();
    let signer = Signer::new(Path::new(env!("CARGO_BIN_EXE_uplift"))).unwrap();
    let sections = format!(
        "[package]\n{}\n[channel.loopback]\nsocket = \"/run/uplift-channels/offers.sock\"\n[trial]\nwindow = \"1s\"",
        signer.trusted_section()
    );
    let configured = configuration("restart = \"unit\"", &sections);
    machine.write("/etc/uplift/uplift.toml", configured.as_bytes());
    start(&machine);
    machine.wait_for("the channel works", || {
        machine.done(&["uplift", "status"]).contains("loopback: works")
    });
    assert_eq!(machine.done(&["systemctl", "is-active", "uplift-channels.service"]), "active\n");
    let pid = machine.done(&[
        "systemctl",
        "show",
        "--property=MainPID",
        "--value",
        "uplift-channels.service",
    ]);
    let user = machine.done(&["stat", "--format=%U", &format!("/proc/{}", pid.trim())]);
    assert_eq!(user, "uplift-channels\n");
    let firmware = sealed(&machine, &signer);
    let offers = machine.inside("/run/uplift-channels/offers.sock");
    writeln!(UnixStream::connect(offers).unwrap(), "{firmware}").unwrap();
    machine.wait_for("the report", || {
        machine.done(&["uplift", "history", "--json"]).contains("succeeded")
    });
    let report = machine.report();
    assert_eq!((report.outcome, report.request.channel.as_str()), (Outcome::Succeeded, "loopback"));
    assert_succeeded(&machine, &report);
}

/// The port is let in by what `uplift config sandbox` writes, and nothing else is.
#[test]
fn a_module_at_a_serial_port_is_read_from_the_sandbox() {
    let machine = Machine::boot();
    let signer = Signer::new(Path::new(env!("CARGO_BIN_EXE_uplift"))).unwrap();
    let firmware = sealed(&machine, &signer);
    let module = ["uplift-sim", "module", "quectel", "--make-pty", MODEM, "--battery", "0"];
    let plan = ["--component", "PAYLOAD", "--target", "2_0_0_0", "--firmware", &firmware];
    let unit = ["systemd-run", "--quiet", "--unit=module", "--"];
    machine.done(&[&unit[..], &module, &plan].concat());
    machine.wait_for("the port", || machine.output(&["test", "-e", MODEM]).status.success());
    // A port belongs to a group that the unit is given; a pseudo-terminal has none.
    machine.done(&["chmod", "666", MODEM]);
    let sections = format!(
        "[package]\n{}\n[channel.quectel]\ndevice = \"{MODEM}\"\ncomponents = {{ PAYLOAD = \"program\" }}\n[trial]\nwindow = \"1s\"",
        signer.trusted_section()
    );
    let configured = configuration("restart = \"unit\"", &sections);
    machine.write("/etc/uplift/uplift.toml", configured.as_bytes());
    let said = machine.done(&["uplift", "config", "sandbox", "--write"]);
    assert!(said.contains("uplift-channels.service.d"), "{said}");
    machine.done(&["systemctl", "daemon-reload"]);
    start(&machine);
    machine.wait_for("the report", || {
        machine.done(&["uplift", "history", "--json"]).contains("succeeded")
    });
    let report = machine.report();
    assert_eq!((report.outcome, report.request.channel.as_str()), (Outcome::Succeeded, "quectel"));
    assert_succeeded(&machine, &report);
    machine.wait_for("the module to hear of it", || {
        !machine.output(&["systemctl", "--quiet", "is-active", "module"]).status.success()
    });
    let show = ["systemctl", "show", "--property=DevicePolicy,DeviceAllow", "--value"];
    let allowed = machine.done(&[&show[..], &["uplift-channels.service"]].concat());
    assert!(allowed.contains("closed") && allowed.contains("char-pts rw"), "{allowed}");
}

/// A firmware file that was sealed elsewhere; its path, where the process without rights may read.
fn sealed(machine: &Machine, signer: &Signer) -> String {
    let outside = tempfile::tempdir().unwrap();
    let sealed = outside.path().join(format!("{PRODUCT}_{NEW}.bin"));
    std::fs::write(&sealed, program(NEW).filled_to(600_000).bytes()).unwrap();
    signer.seal_file(&sealed).unwrap();
    let firmware = format!("/srv/{PRODUCT}_{NEW}.bin");
    machine.write(&firmware, &std::fs::read(sealed).unwrap());
    firmware
}
