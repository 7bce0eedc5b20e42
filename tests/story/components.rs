//! Several programs on one payload: the file's product chooses, and each has a memory of its own.

use std::fs;
use std::path::PathBuf;

use crate::world::payload::{NEW, OLD, Payload};
use crate::world::watched::Watched as _;
use uplift::model::{FailureKind, Outcome, Report};
use uplift_fixtures::elf::{Architecture, Program};
use uplift_fixtures::executable;

const CAMERA: &str = "camera";

/// A payload with two programs, one called `camera`.
fn payload() -> Payload {
    let mut payload = Payload::setup()
        .sections("[component.camera]\nproduct = \"CAMERA\"\npath = \"ROOT/bin/camera\"\nversion_command = [\"--version\"]\nisolate_commands = \"never\"\nRESTART\n")
        .stopped();
    executable::write(&payload.root().join("bin/camera"), &program(OLD)).unwrap();
    payload.start_daemon().unwrap();
    payload
}

fn program(version: &str) -> Vec<u8> {
    let version = version.parse::<uplift_sim::Version>().unwrap();
    Program::new(Architecture::host().unwrap(), version.0).bytes()
}

fn file(payload: &Payload, product: &str, version: &str) -> PathBuf {
    let path = payload.root().join(format!("{product}_{version}.bin"));
    fs::write(&path, program(version)).unwrap();
    path
}

/// Runs a command that restarts the payload, and that restart.
fn through_a_restart(payload: &mut Payload, arguments: &[&str]) -> Report {
    let before = payload.status().unwrap().last.map(|report| report.id);
    payload.through_a_restart(arguments);
    let is_new = |status: &uplift::model::Status| {
        status.last.as_ref().is_some_and(|last| Some(&last.id) != before.as_ref())
    };
    payload.wait_for_status(is_new).unwrap().last.unwrap()
}

#[test]
fn the_product_chooses_the_component_and_the_other_one_is_left_alone() {
    let mut payload = payload();
    let new = file(&payload, "CAMERA", NEW);
    let report = through_a_restart(&mut payload, &["install", new.to_str().unwrap()]);
    assert_eq!(report.outcome, Outcome::Succeeded, "{report:?}");
    assert_eq!(report.component().as_str(), CAMERA);
    assert_eq!(report.from.unwrap().to_string(), OLD);
    assert_eq!(
        (payload.version_of(CAMERA), payload.version_of("program")),
        (NEW.to_owned(), OLD.to_owned())
    );
    assert_eq!(fs::read(payload.program()).unwrap(), program(OLD));
    assert_eq!(fs::read(payload.root().join("bin/camera")).unwrap(), program(NEW));
    // A version that the camera has is none that the program has.
    let same = file(&payload, uplift_sim::sandbox::PRODUCT, NEW);
    let report = through_a_restart(&mut payload, &["install", same.to_str().unwrap()]);
    assert_eq!((report.outcome, report.component().as_str()), (Outcome::Succeeded, "program"));
    let status = payload.uplift(&["status"]).1;
    assert!(
        status.contains("Camera  CAMERA V02") && status.contains("Program  PSDK_APPALIAS V02"),
        "{status}"
    );
    let history = payload.uplift(&["history"]).1;
    assert!(history.contains("camera V01.00.00.00 -> V02.00.00.00"), "{history}");
}

#[test]
fn each_component_goes_back_by_itself_and_remembers_what_failed() {
    let mut payload = payload();
    for product in ["CAMERA", uplift_sim::sandbox::PRODUCT] {
        let new = file(&payload, product, NEW);
        through_a_restart(&mut payload, &["install", new.to_str().unwrap()]);
    }
    let (code, unnamed) = payload.uplift(&["rollback", "--yes"]);
    assert_ne!(code, Some(0), "{unnamed}");
    assert!(
        unnamed.contains("there are several components, and none is named")
            && unnamed.contains("camera (product CAMERA), program (product PSDK_APPALIAS)"),
        "{unnamed}"
    );
    let (_, unknown) = payload.uplift(&["rollback", "--yes", "--component", "modem"]);
    assert!(unknown.contains("there is no component modem"), "{unknown}");
    let report = through_a_restart(&mut payload, &["rollback", "--yes", "--component", CAMERA]);
    assert_eq!(report.outcome, Outcome::RolledBack, "{report:?}");
    // The same file is bad for the one and good for the other, also for a daemon that starts anew.
    payload.restart_daemon();
    let (camera, other) = (payload.component(CAMERA), payload.component("program"));
    assert_eq!(
        (camera.version.unwrap().to_string(), other.version.unwrap().to_string()),
        (OLD.to_owned(), NEW.to_owned())
    );
    assert_eq!((camera.known_bad.len(), other.known_bad.len()), (1, 0));
    let again = file(&payload, "CAMERA", NEW);
    let (_, refused) = payload.uplift(&["install", again.to_str().unwrap()]);
    assert!(refused.contains("failed here before"), "{refused}");
    let last = payload.status().unwrap().last.unwrap();
    assert_eq!(last.failure.unwrap().kind, FailureKind::KnownBad);
}

#[test]
fn a_file_of_no_component_is_refused_with_what_there_is() {
    let payload = payload();
    let other = file(&payload, "MODEM", NEW);
    for arguments in [["check", other.to_str().unwrap()], ["install", other.to_str().unwrap()]] {
        let (code, output) = payload.uplift(&arguments);
        assert_ne!(code, Some(0), "{output}");
        assert!(
            output.contains("the file is for product \"MODEM\"")
                && output.contains("camera (product CAMERA)"),
            "{arguments:?}: {output}"
        );
    }
    assert_eq!(
        payload.status().unwrap().last.unwrap().failure.unwrap().kind,
        FailureKind::WrongProduct
    );
    let right = file(&payload, "CAMERA", NEW);
    let (_, output) = payload.uplift(&["check", right.to_str().unwrap()]);
    assert!(output.contains("bin/camera (V01.00.00.00)"), "{output}");
}

#[test]
fn a_state_that_is_lost_comes_back_from_the_history_for_each_component() {
    let mut payload = payload();
    let new = file(&payload, "CAMERA", NEW);
    through_a_restart(&mut payload, &["install", new.to_str().unwrap()]);
    through_a_restart(&mut payload, &["rollback", "--yes", "--component", CAMERA]);
    let before = (payload.component(CAMERA), payload.component("program"));
    payload.kill_daemon();
    fs::remove_file(payload.state().join("state.json")).unwrap();
    payload.start_daemon().unwrap();
    assert_eq!((payload.component(CAMERA), payload.component("program")), before);
    assert_eq!(before.0.known_bad.len(), 1);
}

/// A payload with components that another updater installs, each with a shell script that tells its
/// version.
fn updaters(told_by: &[(&str, &str)]) -> Payload {
    let section = |(name, script): &(&str, &str)| {
        let command = ["/bin/sh", "-c", *script, "ROOT"];
        format!(
            "[component.{name}]\nkind = \"command\"\nproduct = \"{}\"\nisolate_commands = \"never\"\n\
             install = [\"/bin/true\", \"{{file}}\"]\nversion_command = {command:?}\n",
            name.to_uppercase()
        )
    };
    let sections: String = told_by.iter().map(section).collect();
    Payload::setup().sections(&sections).start()
}

#[test]
fn only_the_component_of_the_file_is_asked_for_its_version() {
    let payload = updaters(&[
        ("modem", "echo modem >>\"$0/asked\"; echo V01.00.00.00"),
        ("radio", "echo radio >>\"$0/asked\"; echo V03.00.00.00"),
    ]);
    let asked = payload.root().join("asked");
    payload.status().unwrap(); // it tells of versions: they were asked for
    let both = fs::read_to_string(&asked).unwrap();
    assert_eq!(both.lines().count(), 2, "at the start, each of them: {both}");
    fs::remove_file(&asked).unwrap();
    // It is lower than what the radio tells: the radio was asked, and the modem was not.
    let lower = file(&payload, "RADIO", NEW);
    let (_, refused) = payload.uplift(&["install", lower.to_str().unwrap()]);
    assert!(refused.contains("V03.00.00.00"), "{refused}");
    assert_eq!(fs::read_to_string(&asked).unwrap(), "radio\n");
}

#[test]
fn a_start_asks_all_components_side_by_side() {
    // Each tells its version once the other one was asked, too.
    let meet = |mine: &str, other: &str| {
        format!(
            "touch \"$0/{mine}\"; until [ -e \"$0/{other}\" ]; do sleep 0.01; done; echo V01.02.03.04"
        )
    };
    let (modem, radio) = (meet("modem", "radio"), meet("radio", "modem"));
    let payload = updaters(&[("modem", &modem), ("radio", &radio)]);
    assert_eq!(payload.version_of("modem"), "V01.02.03.04");
    assert_eq!(payload.version_of("radio"), "V01.02.03.04");
}
