//! Several programs on one payload: the file's product chooses, and each has a memory of its own.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Output;

use crate::world::watched::Watched as _;
use uplift::model::{ComponentName, FailureKind, Installed, Outcome, Report};
use uplift_fixtures::elf::{Architecture, Program};
use uplift_fixtures::executable;
use uplift_sim::sandbox::Sandbox;

const OLD: &str = "V01.00.00.00";
const NEW: &str = "V02.00.00.00";
const CAMERA: &str = "camera";

/// A payload with two programs, one called `camera`.
fn payload() -> Sandbox {
    let sandbox = Sandbox::new(Path::new(env!("CARGO_BIN_EXE_uplift"))).unwrap();
    sandbox.install_by_hand(OLD.parse().unwrap()).unwrap();
    executable::write(&sandbox.root().join("bin/camera"), &program(OLD)).unwrap();
    let camera = format!(
        "[component.camera]\nproduct = \"CAMERA\"\npath = \"{}/bin/camera\"\nversion_command = [\"--version\"]\nisolate_commands = \"never\"\n{}\n",
        sandbox.root().display(),
        sandbox.restart_line()
    );
    sandbox.configure(&sandbox.restart_line(), &camera).unwrap();
    sandbox
}

fn program(version: &str) -> Vec<u8> {
    let version = version.parse::<uplift_sim::Version>().unwrap();
    Program::new(Architecture::host().unwrap(), version.0).bytes()
}

fn file(sandbox: &Sandbox, product: &str, version: &str) -> PathBuf {
    let path = sandbox.root().join(format!("{product}_{version}.bin"));
    write(&path, program(version)).unwrap();
    path
}

fn installed(sandbox: &Sandbox, name: &str) -> Installed {
    let name: ComponentName = name.parse().unwrap();
    sandbox.status().unwrap().component(name).unwrap().clone()
}

fn version_of(sandbox: &Sandbox, name: &str) -> String {
    installed(sandbox, name).version.unwrap().to_string()
}

fn write(path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
    fs::File::create(path)?.write_all(bytes.as_ref())
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Runs a command that restarts the payload, and that restart.
fn through_a_restart(sandbox: &mut Sandbox, arguments: &[&str]) -> Report {
    let before = sandbox.status().unwrap().last.map(|report| report.id);
    let client = sandbox.command(arguments).spawn().unwrap();
    sandbox.wait_for_restart_request().unwrap();
    sandbox.reboot().unwrap();
    client.wait_with_output().unwrap();
    let is_new = |status: &uplift::model::Status| {
        status.last.as_ref().is_some_and(|last| Some(&last.id) != before.as_ref())
    };
    sandbox.wait_for_status(is_new).unwrap().last.unwrap()
}

#[test]
fn the_product_chooses_the_component_and_the_other_one_is_left_alone() {
    let mut sandbox = payload();
    sandbox.start_daemon().unwrap();
    let new = file(&sandbox, "CAMERA", NEW);
    let report = through_a_restart(&mut sandbox, &["install", new.to_str().unwrap()]);
    assert_eq!(report.outcome, Outcome::Succeeded, "{report:?}");
    assert_eq!(report.component().as_str(), CAMERA);
    assert_eq!(report.from.unwrap().to_string(), OLD);
    assert_eq!(
        (version_of(&sandbox, CAMERA), version_of(&sandbox, "program")),
        (NEW.to_owned(), OLD.to_owned())
    );
    assert_eq!(fs::read(sandbox.program()).unwrap(), program(OLD));
    assert_eq!(fs::read(sandbox.root().join("bin/camera")).unwrap(), program(NEW));
    // A version that the camera has is none that the program has.
    let same = file(&sandbox, uplift_sim::sandbox::PRODUCT, NEW);
    let report = through_a_restart(&mut sandbox, &["install", same.to_str().unwrap()]);
    assert_eq!((report.outcome, report.component().as_str()), (Outcome::Succeeded, "program"));
    let status = text(&sandbox.command(&["status"]).output().unwrap());
    assert!(
        status.contains("Camera  CAMERA V02") && status.contains("Program  PSDK_APPALIAS V02"),
        "{status}"
    );
    let history = text(&sandbox.command(&["history"]).output().unwrap());
    assert!(history.contains("camera V01.00.00.00 -> V02.00.00.00"), "{history}");
}

#[test]
fn each_component_goes_back_by_itself_and_remembers_what_failed() {
    let mut sandbox = payload();
    sandbox.start_daemon().unwrap();
    for product in ["CAMERA", uplift_sim::sandbox::PRODUCT] {
        let new = file(&sandbox, product, NEW);
        through_a_restart(&mut sandbox, &["install", new.to_str().unwrap()]);
    }
    let unnamed = sandbox.command(&["rollback", "--yes"]).output().unwrap();
    assert!(!unnamed.status.success());
    assert!(
        text(&unnamed).contains("there are several components, and none is named")
            && text(&unnamed).contains("camera (product CAMERA), program (product PSDK_APPALIAS)"),
        "{}",
        text(&unnamed)
    );
    let unknown = sandbox.command(&["rollback", "--yes", "--component", "modem"]).output().unwrap();
    assert!(text(&unknown).contains("there is no component modem"), "{}", text(&unknown));
    let report = through_a_restart(&mut sandbox, &["rollback", "--yes", "--component", CAMERA]);
    assert_eq!(report.outcome, Outcome::RolledBack, "{report:?}");
    // The same file is bad for the one and good for the other, also for a daemon that starts anew.
    sandbox.kill_daemon();
    sandbox.start_daemon().unwrap();
    let (camera, other) = (installed(&sandbox, CAMERA), installed(&sandbox, "program"));
    assert_eq!(
        (camera.version.unwrap().to_string(), other.version.unwrap().to_string()),
        (OLD.to_owned(), NEW.to_owned())
    );
    assert_eq!((camera.known_bad.len(), other.known_bad.len()), (1, 0));
    let again = file(&sandbox, "CAMERA", NEW);
    let refused = sandbox.command(&["install", again.to_str().unwrap()]).output().unwrap();
    assert!(text(&refused).contains("failed here before"), "{}", text(&refused));
    let last = sandbox.status().unwrap().last.unwrap();
    assert_eq!(last.failure.unwrap().kind, FailureKind::KnownBad);
}

#[test]
fn a_file_of_no_component_is_refused_with_what_there_is() {
    let mut sandbox = payload();
    sandbox.start_daemon().unwrap();
    let other = file(&sandbox, "MODEM", NEW);
    for arguments in [["check", other.to_str().unwrap()], ["install", other.to_str().unwrap()]] {
        let output = sandbox.command(&arguments).output().unwrap();
        assert!(!output.status.success());
        assert!(
            text(&output).contains("the file is for product \"MODEM\"")
                && text(&output).contains("camera (product CAMERA)"),
            "{arguments:?}: {}",
            text(&output)
        );
    }
    assert_eq!(
        sandbox.status().unwrap().last.unwrap().failure.unwrap().kind,
        FailureKind::WrongProduct
    );
    let right = file(&sandbox, "CAMERA", NEW);
    let output = sandbox.command(&["check", right.to_str().unwrap()]).output().unwrap();
    assert!(text(&output).contains("bin/camera (V01.00.00.00)"), "{}", text(&output));
}

#[test]
fn a_state_that_is_lost_comes_back_from_the_history_for_each_component() {
    let mut sandbox = payload();
    sandbox.start_daemon().unwrap();
    let new = file(&sandbox, "CAMERA", NEW);
    through_a_restart(&mut sandbox, &["install", new.to_str().unwrap()]);
    through_a_restart(&mut sandbox, &["rollback", "--yes", "--component", CAMERA]);
    let before = (installed(&sandbox, CAMERA), installed(&sandbox, "program"));
    sandbox.kill_daemon();
    fs::remove_file(sandbox.state().join("state.json")).unwrap();
    sandbox.start_daemon().unwrap();
    assert_eq!((installed(&sandbox, CAMERA), installed(&sandbox, "program")), before);
    assert_eq!(before.0.known_bad.len(), 1);
}

/// Sections of components that another updater installs, each with a shell script that tells its
/// version.
fn updaters(sandbox: &Sandbox, told_by: &[(&str, &str)]) -> String {
    let section = |(name, script): &(&str, &str)| {
        let command = ["/bin/sh", "-c", *script, &sandbox.root().display().to_string()];
        format!(
            "[component.{name}]\nkind = \"command\"\nproduct = \"{}\"\nisolate_commands = \"never\"\n\
             install = [\"/bin/true\", \"{{file}}\"]\nversion_command = {command:?}\n",
            name.to_uppercase()
        )
    };
    told_by.iter().map(section).collect()
}

#[test]
fn only_the_component_of_the_file_is_asked_for_its_version() {
    let sandbox = Sandbox::new(Path::new(env!("CARGO_BIN_EXE_uplift"))).unwrap();
    sandbox.install_by_hand(OLD.parse().unwrap()).unwrap();
    let told_by = [
        ("modem", "echo modem >>\"$0/asked\"; echo V01.00.00.00"),
        ("radio", "echo radio >>\"$0/asked\"; echo V03.00.00.00"),
    ];
    let sections = updaters(&sandbox, &told_by);
    sandbox.configure(&sandbox.restart_line(), &sections).unwrap();
    let mut sandbox = sandbox;
    sandbox.start_daemon().unwrap();
    let asked = sandbox.root().join("asked");
    let both = fs::read_to_string(&asked).unwrap();
    assert_eq!(both.lines().count(), 2, "at the start, each of them: {both}");
    fs::remove_file(&asked).unwrap();
    // It is lower than what the radio tells: the radio was asked, and the modem was not.
    let lower = file(&sandbox, "RADIO", NEW);
    let refused = sandbox.command(&["install", lower.to_str().unwrap()]).output().unwrap();
    assert!(text(&refused).contains("V03.00.00.00"), "{}", text(&refused));
    assert_eq!(fs::read_to_string(&asked).unwrap(), "radio\n");
}

#[test]
fn a_start_asks_all_components_side_by_side() {
    let mut sandbox = payload();
    // Each tells its version once the other one was asked, too.
    let meet = |mine: &str, other: &str| {
        format!(
            "touch \"$0/{mine}\"; until [ -e \"$0/{other}\" ]; do sleep 0.01; done; echo V01.02.03.04"
        )
    };
    let (modem, radio) = (meet("modem", "radio"), meet("radio", "modem"));
    let sections = updaters(&sandbox, &[("modem", &modem), ("radio", &radio)]);
    sandbox.configure(&sandbox.restart_line(), &sections).unwrap();
    sandbox.start_daemon().unwrap();
    assert_eq!(version_of(&sandbox, "modem"), "V01.02.03.04");
    assert_eq!(version_of(&sandbox, "radio"), "V01.02.03.04");
}
