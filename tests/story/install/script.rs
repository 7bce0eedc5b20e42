//! A component that is a script: sealed before it, installed without, and rolled back.

use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Output, Stdio};

use uplift::model::{FailureKind, Outcome, Phase};
use uplift_sim::sandbox::Sandbox;

use crate::world::watched::Watched as _;

use super::{history, run, status, text, version};

fn script(version: &str) -> String {
    format!("#!/bin/sh\necho {version}\nexit 0\n")
}

fn write(path: &Path, content: &str) {
    let mut file = File::create(path).unwrap();
    file.write_all(content.as_bytes()).unwrap();
    file.set_permissions(Permissions::from_mode(0o751)).unwrap();
}

/// A payload whose program is a script of V01.00.00.00, and a key that it trusts.
fn sandbox() -> Sandbox {
    let mut sandbox = Sandbox::new(Path::new(env!("CARGO_BIN_EXE_uplift"))).unwrap();
    let key = sandbox.root().join("release");
    done(&sandbox, &["keygen", "--no-password", "--out", key.to_str().unwrap()]);
    let public = fs::read_to_string(sandbox.root().join("release.pub")).unwrap();
    let trusted = format!("[[package.keys]]\npublic = {:?}\n", public.lines().nth(1).unwrap());
    let program = format!("format = \"script\"\n{}", sandbox.restart_line());
    sandbox.configure(&program, &trusted).unwrap();
    fs::create_dir_all(sandbox.program().parent().unwrap()).unwrap();
    write(&sandbox.program(), &script("V01.00.00.00"));
    sandbox.start_daemon().unwrap();
    sandbox
}

fn done(sandbox: &Sandbox, arguments: &[&str]) -> String {
    let output = run(&mut sandbox.command(arguments));
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// `uplift pack` of a script of this version; the new file.
fn pack(sandbox: &Sandbox, version: &str) -> String {
    let (source, root) = (sandbox.root().join("script"), sandbox.root().to_str().unwrap());
    write(&source, &script(version));
    let key = sandbox.root().join("release.key");
    done(
        sandbox,
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

/// The command, during which the machine restarts.
fn through_a_restart(sandbox: &mut Sandbox, arguments: &[&str]) -> Output {
    let mut command = sandbox.command(arguments);
    let client = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    sandbox.wait_for_restart_request().unwrap();
    sandbox.reboot().unwrap();
    client.wait_with_output().unwrap()
}

#[test]
fn a_script_is_installed_without_its_seal_and_rolled_back() {
    let mut sandbox = sandbox();
    let firmware = pack(&sandbox, "V02.00.00.00");
    assert!(done(&sandbox, &["check", &firmware]).contains("would be accepted"));
    let output = through_a_restart(&mut sandbox, &["install", &firmware]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let program = sandbox.program();
    assert_eq!(fs::read_to_string(&program).unwrap(), script("V02.00.00.00"));
    assert_eq!(program.metadata().unwrap().permissions().mode() & 0o777, 0o751);
    let report = history(&sandbox).pop().unwrap();
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

    let output = through_a_restart(&mut sandbox, &["rollback", "--yes"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(fs::read_to_string(&program).unwrap(), script("V01.00.00.00"));
    let now = sandbox.wait_for_status(|status| status.phase == Phase::Idle).unwrap();
    assert_eq!(now.components[0].version, Some(version("V01.00.00.00")));
    assert_eq!(status(&sandbox).components[0].known_bad.len(), 1);
    // The same script, sealed anew, is the one that was rolled back.
    fs::remove_file(&firmware).unwrap();
    let output = run(&mut sandbox.command(&["install", &pack(&sandbox, "V02.00.00.00")]));
    assert!(!output.status.success());
    let failure = history(&sandbox).pop().unwrap().failure.unwrap();
    assert_eq!(failure.kind, FailureKind::KnownBad, "{failure}");
}

#[test]
fn a_script_that_tells_another_version_than_its_name_is_never_installed() {
    let sandbox = sandbox();
    let firmware = pack(&sandbox, "V02.00.00.00");
    let other = firmware.replace("V02", "V03");
    fs::rename(&firmware, &other).unwrap();
    let output = run(&mut sandbox.command(&["install", &other]));
    assert!(!output.status.success());
    let failure = history(&sandbox).pop().unwrap().failure.unwrap();
    assert_eq!(failure.kind, FailureKind::WrongVersion, "{failure}");
    assert_eq!(fs::read_to_string(sandbox.program()).unwrap(), script("V01.00.00.00"));
}
