//! `uplift init`: a configuration from what the payload's unit says, which `uplift config check` passes;
//! nothing that somebody wrote is replaced.

use std::fs;
use std::path::PathBuf;
use std::process::{Output, Stdio};

use uplift_sim::sandbox::Sandbox;

use crate::config_check::{sandbox, systemd};

const SENSOR: &str = "Id=sensor.service\nLoadState=loaded\nActiveState=active\nRestart=no\nTimeoutStopUSec=1min 30s\n\
    TimeoutStartUSec=2min\nInactiveExitTimestampMonotonic=1000000\nActiveEnterTimestampMonotonic=200000000\n\
    ExecStart={ path=/usr/local/bin/sensor ; argv[]=/usr/local/bin/sensor ; ignore_errors=no ; pid=0 ; code=(null) }\n";

fn machine() -> (Sandbox, PathBuf) {
    let mut sandbox = sandbox();
    systemd(&mut sandbox, &[("sensor.service", SENSOR), ("empty.service", "LoadState=loaded\n")]);
    let file = sandbox.config();
    (sandbox, file)
}

fn init(sandbox: &Sandbox, arguments: &[&str]) -> Output {
    sandbox.command(&["init"]).args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_configuration_is_written_from_what_the_unit_says_and_can_be_used() {
    let (sandbox, file) = machine();
    let said =
        init(&sandbox, &["--unit", "sensor.service", "--product", "SENSOR", "--link", "none"]);
    let (out, errors) = (text(&said.stdout), text(&said.stderr));
    assert!(said.status.success(), "{out}{errors}");
    let written = fs::read_to_string(&file).unwrap();
    for line in [
        "name = \"sensor\"",
        "product = \"SENSOR\"",
        "unit = \"sensor.service\"",
        "restart = \"unit\"",
        "deadline = \"2m 30s\"",
    ] {
        assert!(written.lines().any(|one| one == line), "{line}: {written}");
    }
    assert!(!written.contains("[channel.psdk]"), "{written}");
    // The same as `config check` says, with advice; and what is left, which is not done unasked.
    assert!(out.contains("\nadvice: component.program.trial: a new program passes"), "{out}");
    assert!(
        out.contains("advice: component.program.unit: sensor.service has no `Restart=`"),
        "{out}"
    );
    assert!(out.contains("sensor.service took 3m 19s to start the last time"), "{out}");
    assert!(out.contains("\n0 errors"), "{out}");
    assert!(out.contains("  systemctl mask --now uplift-ftp.socket\n"), "{out}");
    assert!(out.contains("/etc/systemd/system/sensor.service.d/uplift.conf\n"), "{out}");
    assert!(out.ends_with("  systemctl enable --now uplift\n"), "{out}");
}

#[test]
fn what_somebody_wrote_is_never_replaced_and_what_the_package_laid_there_is() {
    let (sandbox, file) = machine();
    let options = ["--unit", "sensor.service", "--product", "SENSOR", "--link", "/dev/ttyUSB7"];
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, "# mine\n").unwrap();
    let said = init(&sandbox, &options);
    assert!(!said.status.success());
    let errors = text(&said.stderr);
    assert!(errors.contains("exists already, and is never replaced"), "{errors}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "# mine\n");

    fs::write(&file, include_str!("../../config/uplift.toml")).unwrap();
    let said = init(&sandbox, &options);
    let written = fs::read_to_string(&file).unwrap();
    assert!(written.contains("[channel.psdk]\ndevice = \"/dev/ttyUSB7\""), "{said:?} {written}");
}

#[test]
fn what_is_missing_or_wrong_is_said_with_what_would_be_right() {
    let (sandbox, file) = machine();
    for (options, right) in [
        (&["--product", "SENSOR"][..], "--unit is missing, and there is no terminal"),
        (&["--unit", "sensor.service"], "--product is missing, and there is no terminal"),
        (
            &["--unit", "other.service", "--product", "SENSOR"],
            "systemd knows no unit other.service",
        ),
        (
            &["--unit", "empty.service", "--product", "SENSOR"],
            "give the program's file with --path",
        ),
        (&["--unit", "sensor.timer", "--product", "SENSOR"], "is no service"),
        (&["--unit", "sensor.service", "--product", "a/b"], "expected a name such as"),
        (
            &["--unit", "sensor.service", "--product", "S", "--link", "tty"],
            "\"bridge\" or \"none\"",
        ),
        (&["--unit", "sensor.service", "--product", "S", "--key", "/dev/null"], "is no public key"),
    ] {
        let said = init(&sandbox, options);
        let errors = text(&said.stderr);
        assert!(!said.status.success() && errors.contains(right), "{options:?}: {errors}");
        assert!(!file.exists(), "{options:?}");
    }
}
