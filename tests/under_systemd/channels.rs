//! The process of the network channels: the daemon has it started, and its sandbox lets it do its work.

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

use uplift::model::Outcome;
use uplift_sim::signer::Signer;

use crate::machine::{NEW, PRODUCT, program};
use crate::{assert_succeeded, configuration, start};

#[test]
fn it_is_started_where_a_channel_is_configured_and_upgrades_from_its_sandbox() {
    let machine = crate::machine::Machine::boot();
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
    // Sealed elsewhere, and where the process without rights may read.
    let outside = tempfile::tempdir().unwrap();
    let sealed = outside.path().join(format!("{PRODUCT}_{NEW}.bin"));
    std::fs::write(&sealed, program(NEW).filled_to(600_000).bytes()).unwrap();
    signer.seal_file(&sealed).unwrap();
    let firmware = format!("/srv/{PRODUCT}_{NEW}.bin");
    machine.write(&firmware, &std::fs::read(sealed).unwrap());
    let offers = machine.inside("/run/uplift-channels/offers.sock");
    writeln!(UnixStream::connect(offers).unwrap(), "{firmware}").unwrap();
    machine.wait_for("the report", || {
        machine.done(&["uplift", "history", "--json"]).contains("succeeded")
    });
    let report = machine.report();
    assert_eq!((report.outcome, report.request.channel.as_str()), (Outcome::Succeeded, "loopback"));
    assert_succeeded(&machine, &report);
}
