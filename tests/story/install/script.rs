//! A component that is a script: sealed before it, installed without, and rolled back.

use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use uplift::model::{FailureKind, Outcome, Phase};

use crate::world::payload::Payload;

use super::{run, status, text, version};

fn script(version: &str) -> String {
    format!("#!/bin/sh\necho {version}\nexit 0\n")
}

fn write(path: &Path, content: &str) {
    let mut file = File::create(path).unwrap();
    file.write_all(content.as_bytes()).unwrap();
    file.set_permissions(Permissions::from_mode(0o751)).unwrap();
}

/// A payload whose program is a script of V01.00.00.00, and a key that it trusts.
fn payload() -> Payload {
    let format = "format = \"script\"";
    let mut payload = Payload::setup().without_program().program(format).stopped();
    let key = payload.root().join("release");
    done(&payload, &["keygen", "--no-password", "--out", key.to_str().unwrap()]);
    let public = fs::read_to_string(payload.root().join("release.pub")).unwrap();
    let key = public.lines().nth(1).unwrap();
    payload.edit_config(|text| format!("{text}[[package.keys]]\npublic = {key:?}\n"));
    write(&payload.program(), &script("V01.00.00.00"));
    payload.start_daemon().unwrap();
    payload
}

fn done(payload: &Payload, arguments: &[&str]) -> String {
    let output = run(&mut payload.command(arguments));
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// `uplift pack` of a script of this version; the new file.
fn pack(payload: &Payload, version: &str) -> String {
    let (source, root) = (payload.root().join("script"), payload.root().to_str().unwrap());
    write(&source, &script(version));
    let key = payload.root().join("release.key");
    done(
        payload,
        &[
            "pack",
            source.to_str().unwrap(),
            "--product",
            "PSDK_APPALIAS",
            "--version",
            version,
            "--key",
            key.to_str().unwrap(),
            "--out",
            root,
        ],
    );
    format!("{root}/PSDK_APPALIAS_{version}.bin")
}

#[test]
fn a_script_is_installed_without_its_seal_and_rolled_back() {
    let mut payload = payload();
    let firmware = pack(&payload, "V02.00.00.00");
    assert!(done(&payload, &["check", &firmware]).contains("would be accepted"));
    let output = payload.through_a_restart(&["install", &firmware]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let program = payload.program();
    assert_eq!(fs::read_to_string(&program).unwrap(), script("V02.00.00.00"));
    assert_eq!(program.metadata().unwrap().permissions().mode() & 0o777, 0o751);
    let report = payload.last_report();
    assert_eq!(report.outcome, Outcome::Succeeded, "{report:?}");
    let (package, size) = (report.package.unwrap(), fs::metadata(&firmware).unwrap().len());
    assert_eq!(package.size, size, "of the file as it was sent");
    assert!(package.trusted_key.is_some());
    let left: Vec<_> = fs::read_dir(program.parent().unwrap().join(".uplift"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("incoming"))
        .collect();
    assert!(left.is_empty(), "{left:?}");

    let output = payload.through_a_restart(&["rollback", "--yes"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(fs::read_to_string(&program).unwrap(), script("V01.00.00.00"));
    let now = payload.wait_for_phase(Phase::Idle);
    assert_eq!(now.components[0].version, Some(version("V01.00.00.00")));
    assert_eq!(status(&payload).components[0].known_bad.len(), 1);
    // The same script, sealed anew, is the one that was rolled back.
    fs::remove_file(&firmware).unwrap();
    let output = run(&mut payload.command(&["install", &pack(&payload, "V02.00.00.00")]));
    assert!(!output.status.success());
    let failure = payload.last_report().failure.unwrap();
    assert_eq!(failure.kind, FailureKind::KnownBad, "{failure}");
}

#[test]
fn a_script_that_tells_another_version_than_its_name_is_never_installed() {
    let payload = payload();
    let firmware = pack(&payload, "V02.00.00.00");
    let other = firmware.replace("V02", "V03");
    fs::rename(&firmware, &other).unwrap();
    let output = run(&mut payload.command(&["install", &other]));
    assert!(!output.status.success());
    let failure = payload.last_report().failure.unwrap();
    assert_eq!(failure.kind, FailureKind::WrongVersion, "{failure}");
    assert_eq!(fs::read_to_string(payload.program()).unwrap(), script("V01.00.00.00"));
}
