//! `uplift config check`: what is wrong on this machine is told before the daemon starts, in one list, each with a hint.

#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can't go on says where")]

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::Path;

use uplift::sim::sandbox::{Sandbox, free_address};

/// Exit code, standard output and standard error.
type Said = (Option<i32>, String, String);

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new(Path::new(env!("CARGO_BIN_EXE_uplift"))).unwrap();
    sandbox.install_by_hand("V01.00.00.00".parse().unwrap()).unwrap();
    sandbox
}

fn check(sandbox: &Sandbox, program: &str, sections: &str) -> Said {
    sandbox.configure(program, sections).unwrap();
    said(sandbox, &["config", "check"])
}

fn said(sandbox: &Sandbox, arguments: &[&str]) -> Said {
    let output = sandbox.command(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[track_caller]
fn assert_error(said: &Said, finding: &str) {
    assert_eq!(said.0, Some(1), "{said:?}");
    assert!(said.1.lines().any(|line| line.starts_with("error: ") && line.contains(finding)), "{}", said.1);
}

#[track_caller]
fn assert_warning(said: &Said, finding: &str) {
    assert_eq!(said.0, Some(0), "{said:?}");
    assert!(said.1.lines().any(|line| line.starts_with("warning: ") && line.contains(finding)), "{}", said.1);
}

#[test]
fn warnings_alone_are_no_failure_and_each_has_a_hint() {
    let sandbox = sandbox();
    let said = check(&sandbox, &sandbox.restart_line(), "");
    assert_warning(&said, "program.unit: no unit is named");
    assert!(said.1.contains("0 errors, "), "{}", said.1);
    assert_eq!(said.1.matches("\nwarning: ").count(), said.1.matches("\n  hint: ").count(), "{}", said.1);
}

#[test]
fn all_that_is_wrong_comes_in_one_list() {
    let sandbox = sandbox();
    let server = free_address().unwrap();
    let sections = format!(
        "[link]\ndevice = \"/dev/no-such-port\"\ntransfer = \"ftp\"\n[ftp]\naddress = \"{server}\"\n\
         [trial]\nhealth_command = [\"/no/such/health\", \"--quick\"]\n"
    );
    let said = check(&sandbox, "restart = [\"/no/such/command\"]", &sections);
    assert_error(&said, "program.restart: \"/no/such/command\" is not a program");
    assert_error(&said, "trial.health_command: \"/no/such/health\" is not a program");
    assert_error(&said, &format!("ftp: {server}"));
    assert!(said.1.contains("warning: link.device: /dev/no-such-port is not there"), "{}", said.1);
    assert!(said.1.contains("3 errors, "), "{}", said.1);
}

#[test]
fn an_ftp_server_that_does_not_answer_only_costs_time_where_dcftp_may_be_used() {
    let sandbox = sandbox();
    let server = free_address().unwrap();
    let said = check(&sandbox, &sandbox.restart_line(), &format!("[link]\n[ftp]\naddress = \"{server}\"\n"));
    assert_warning(&said, &format!("ftp: {server}"));
}

#[test]
fn an_ftp_server_that_answers_is_no_finding_and_keeps_its_files() {
    let mut sandbox = sandbox();
    let server = free_address().unwrap();
    let home = sandbox.upload_area();
    let sections = format!("[link]\n[ftp]\naddress = \"{server}\"\n[ftp_server]\nlisten = \"{server}\"\nhome = {home:?}\n");
    sandbox.configure(&sandbox.restart_line(), &sections).unwrap();
    sandbox.start_ftp_server().unwrap();
    fs::File::create(home.join("kept.bin")).unwrap();
    let (code, out, _) = said(&sandbox, &["config", "check"]);
    assert!(code == Some(0) && !out.contains(": ftp"), "{out}");
    assert!(home.join("kept.bin").exists());
}

#[test]
fn a_directory_that_is_missing() {
    let sandbox = sandbox();
    fs::remove_dir_all(sandbox.root().join("bin")).unwrap();
    assert_error(&check(&sandbox, &sandbox.restart_line(), ""), "program.path: ");
}

#[test]
fn a_password_file_that_can_not_be_read() {
    let sandbox = sandbox();
    let said = check(&sandbox, &sandbox.restart_line(), "[ftp]\npassword_file = \"/no/such/file\"\n");
    assert_error(&said, "ftp.password_file: /no/such/file can't be read");
}

#[test]
fn a_program_that_does_not_tell_its_version() {
    let sandbox = sandbox();
    fs::File::create(sandbox.program()).unwrap().write_all(b"#!/bin/sh\n").unwrap();
    assert_warning(&check(&sandbox, &sandbox.restart_line(), ""), "program.version_command: ");
}

#[test]
fn a_second_deadline_that_nobody_keeps() {
    let mut sandbox = sandbox();
    sandbox.set_rescue_timer("uplift-no-such.timer");
    assert_warning(&check(&sandbox, &sandbox.restart_line(), ""), "paths.rescue_timer: no trial has a second deadline");
    sandbox.set_rescue_timer("");
    assert!(!check(&sandbox, &sandbox.restart_line(), "").1.contains("rescue_timer"));
}

/// Told by the check, and by the daemon before anybody sends a file.
#[test]
fn a_symbolic_link_at_the_path() {
    let mut sandbox = sandbox();
    let elsewhere = sandbox.root().join("elsewhere");
    fs::rename(sandbox.program(), &elsewhere).unwrap();
    symlink(&elsewhere, sandbox.program()).unwrap();
    assert_error(&check(&sandbox, &sandbox.restart_line(), ""), "is a symbolic link");
    sandbox.start_daemon().unwrap();
    assert!(said(&sandbox, &["status"]).1.contains("is a symbolic link"));
}

#[test]
fn a_configuration_that_is_missing_or_misspelt_is_a_usage_error_with_the_place() {
    let sandbox = sandbox();
    let (code, _, error) = said(&sandbox, &["config", "check"]);
    assert!(code == Some(2) && error.contains("can't be read") && error.contains("hint: "), "{error}");
    let (code, _, error) = check(&sandbox, "unti = \"x.service\"", "");
    assert!(code == Some(2) && error.contains("line 5, field program") && error.contains("`unit`"), "{error}");
}
