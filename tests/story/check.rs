//! `uplift check FILE`: each bad file gets its name, a reason and a hint; a good one is accepted.

mod go;
mod machine;
mod no_program;
pub(crate) mod small;

use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use uplift::model::version::Version;
use uplift_fixtures::elf::{Architecture, Program};

use crate::world::payload::Payload;

const RIGHT: &str = "DEMO_V02.00.00.00.bin";

fn program(version: &str) -> Vec<u8> {
    Program::new(Architecture::host().unwrap(), version.parse::<Version>().unwrap().numbers())
        .filled_to(4000)
        .bytes()
}

/// A directory with a configuration, an installed program of V01.00.00.00 and the file to check.
struct Sandbox(tempfile::TempDir);

impl Sandbox {
    fn new(more: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let sandbox = Self(directory);
        let installed = sandbox.file("program", &program("V01.00.00.00"));
        let text = format!(
            "[component.program]\npath = {installed:?}\nproduct = \"DEMO\"\nversion_command = [\"--version\"]\nisolate_commands = \"never\"\n{more}"
        );
        sandbox.file("uplift.toml", text.as_bytes());
        sandbox
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        let mut file = File::create(&path).unwrap();
        file.write_all(bytes).unwrap();
        file.set_permissions(Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn check(&self, name: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_uplift"));
        command.arg("--config").arg(self.0.path().join("uplift.toml")).arg("check").args(arguments);
        command.arg(self.0.path().join(name)).output().unwrap()
    }

    /// Another subcommand, in the sandbox's directory; it must succeed. What it printed.
    fn uplift(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_uplift"));
        let output = command.args(arguments).current_dir(self.0.path()).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Checks a file that must be accepted, and returns what was printed.
    fn accepted(&self, name: &str) -> String {
        let output = self.check(name, &[]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Checks a file that must be refused, and returns its failure: kind and sentence.
    fn refused(&self, name: &str) -> (String, String) {
        let output = self.check(name, &["--json"]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("hint: "), "{output:?}");
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(document["accepted"], false);
        let findings = document["findings"].as_array().unwrap();
        let failure =
            &findings.iter().find(|finding| finding["result"] == "failed").unwrap()["detail"];
        (failure["kind"].as_str().unwrap().into(), failure["sentence"].as_str().unwrap().into())
    }

    /// What a person is told to do about a file that is refused.
    fn hint(&self, name: &str) -> String {
        let output = self.check(name, &[]);
        let text = String::from_utf8(output.stderr).unwrap();
        text.split_once("\nhint: ")
            .unwrap_or_else(|| panic!("no hint: {text}"))
            .1
            .trim_end()
            .to_owned()
    }

    fn assert_refused(&self, name: &str, kind: &str, reason: &str) {
        let failure = self.refused(name);
        assert!(failure.0 == kind && failure.1.contains(reason), "{failure:?}");
    }
}

#[test]
fn a_right_file_is_accepted_with_a_line_for_each_check() {
    let sandbox = Sandbox::new("");
    sandbox.file(RIGHT, &program("V02.00.00.00"));
    let output = sandbox.check(RIGHT, &[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    for line in [
        "  ok      version     V02.00.00.00, V01.00.00.00 runs",
        "the program prints version V02.00.00.00",
    ] {
        assert!(text.contains(line), "{text}");
    }
    // What a person wants to know comes first.
    assert!(
        text.starts_with(&format!("{RIGHT:?} would be accepted.\nIt would replace ")),
        "{text}"
    );
    assert_eq!(text.lines().filter(|line| line.starts_with("  ok ")).count(), 9, "{text}");
    assert!(
        text.contains("  skipped known bad   only the daemon knows")
            && text.contains("because the daemon does not run"),
        "{text}"
    );
}

/// The configuration says nothing of what was installed and rolled back; the daemon's journal does.
#[test]
fn a_daemon_that_runs_is_asked_what_runs_and_what_failed_here() {
    let mut payload = Payload::setup().stopped();
    let bad = payload.firmware("V02.00.00.00".parse().unwrap(), None).unwrap();
    let good = payload.firmware("V03.00.00.00".parse().unwrap(), None).unwrap();
    let digest = uplift::digest::program_digest(File::open(&bad).unwrap()).unwrap();
    let state = format!(
        r#"{{"format":1,"upgrade":null,"unacknowledged":[],"installed":null,"known_bad":["{digest}"]}}"#
    );
    fs::write(payload.state().join("state.json"), state).unwrap();
    payload.start_daemon().unwrap();
    let check = |file: &PathBuf| {
        let output =
            payload.command(&["check", "--json", file.to_str().unwrap()]).output().unwrap();
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let refused = check(&bad);
    assert_eq!(
        (&refused["accepted"], &refused["daemon"]),
        (&false.into(), &true.into()),
        "{refused}"
    );
    let failed = refused["findings"]
        .as_array()
        .unwrap()
        .iter()
        .find(|finding| finding["result"] == "failed")
        .unwrap();
    assert_eq!(failed["detail"]["kind"], "known-bad");
    let accepted = check(&good);
    assert_eq!(
        (&accepted["accepted"], &accepted["running"]),
        (&true.into(), &"V01.00.00.00".into()),
        "{accepted}"
    );
}

/// On a terminal of 60 columns, played by `script`.
#[test]
fn on_a_terminal_lines_break_between_words() {
    let sandbox = Sandbox::new("");
    sandbox.file(RIGHT, &program("V02.00.00.00"));
    let directory = sandbox.0.path().display();
    let command = format!(
        "stty cols 60 rows 24; {} --config {directory}/uplift.toml check {directory}/{RIGHT}",
        env!("CARGO_BIN_EXE_uplift")
    );
    let output = Command::new("script")
        .args(["--quiet", "--command", &command, "/dev/null"])
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap().replace('\r', "");
    let text = text.split_once(" would be accepted.\n").unwrap().1; // behind the bar of the hashing
    assert!(text.lines().all(|line| line.chars().count() <= 60), "{text}");
    let plain = sandbox.accepted(RIGHT);
    assert!(plain.lines().any(|line| line.chars().count() > 60), "{plain}");
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    // What is longer than a line, such as a digest, is broken within.
    let missing: Vec<String> = words(plain.split_once('\n').unwrap().1)
        .into_iter()
        .filter(|word| !words(text).contains(word))
        .collect();
    let missing: Vec<String> = missing.into_iter().filter(|word| word.len() < 30).collect();
    assert!(missing.is_empty(), "{missing:?}: {text}");
}

#[test]
fn the_verdict_on_a_wrong_file_comes_first() {
    let sandbox = Sandbox::new("");
    sandbox.file(RIGHT, &program("V02.00.00.00")[..2000]);
    let text = String::from_utf8(sandbox.check(RIGHT, &[]).stdout).unwrap();
    assert!(
        text.starts_with(&format!("{RIGHT:?} would be refused: the file is cut off: at least ")),
        "{text}"
    );
}

/// `uplift` without `--config`, where there is no configuration, be it that this machine has one.
fn uplift_without_configuration(sandbox: &Sandbox, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_uplift"));
    if Path::new(uplift::config::DEFAULT_PATH).exists() {
        command = Command::new("unshare");
        command.args([
            "--mount",
            "--map-root-user",
            "sh",
            "-c",
            "mount -t tmpfs tmpfs /etc/uplift; exec \"$@\"",
            "sh",
        ]);
        command.arg(env!("CARGO_BIN_EXE_uplift"));
    }
    command.args(arguments).current_dir(sandbox.0.path()).output().unwrap()
}

/// As on the machine that makes releases, right after `pack`.
#[test]
fn without_a_configuration_a_file_is_judged_by_what_is_in_it() {
    let sandbox = Sandbox::new("");
    sandbox.file("sensor", &program("V02.00.00.00"));
    sandbox.uplift(&["keygen", "--out", "release", "--no-password"]);
    let label = ["--product", "DEMO", "--version", "V02.00.00.00", "--key", "release.key"];
    sandbox.uplift(&[&["pack", "sensor"], &label[..]].concat());
    let output = uplift_without_configuration(&sandbox, &["check", RIGHT]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.starts_with(&format!("{RIGHT:?} is right as far as it can be judged here.\n")),
        "{text}"
    );
    let not_judged = "Not judged: product, version, machine, known bad, preflight; nor whether a payload trusts the seal.";
    assert!(
        text.contains(not_judged)
            && text.contains("there is no configuration /etc/uplift/uplift.toml"),
        "{text}"
    );
    assert!(text.contains("  sealed as     product \"DEMO\", version V02.00.00.00"), "{text}");
    let json = uplift_without_configuration(&sandbox, &["check", "--json", RIGHT]);
    let document: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((&document["accepted"], &document["configuration"]), (&true.into(), &false.into()));

    // What is wrong in itself is refused all the same.
    let sealed = fs::read(sandbox.0.path().join(RIGHT)).unwrap();
    let mut flipped = sealed.clone();
    flipped[3000] ^= 1;
    for (name, bytes, kind) in [
        (RIGHT, &sealed[..sealed.len() - 1], "truncated"),
        (RIGHT, &flipped, "digest-mismatch"),
        ("DEMO_V03.00.00.00.bin", &sealed, "wrong-version"),
        ("DEMO.bin", &sealed, "name-invalid"),
        (RIGHT, b"#!/bin/sh\n", "wrong-machine"),
    ] {
        sandbox.file(name, bytes);
        let output = uplift_without_configuration(&sandbox, &["check", name]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(
            String::from_utf8_lossy(&output.stdout).contains(&format!("[{kind}]")),
            "{kind}: {output:?}"
        );
    }
    // A configuration that was named must be there.
    let output = uplift_without_configuration(&sandbox, &["--config", "none.toml", "check", RIGHT]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[test]
fn the_json_has_a_finding_for_each_check() {
    let sandbox = Sandbox::new("");
    sandbox.file(RIGHT, &program("V02.00.00.00"));
    let document: Value =
        serde_json::from_slice(&sandbox.check(RIGHT, &["--json"]).stdout).unwrap();
    assert_eq!(
        (&document["schema"], &document["accepted"], &document["running"]),
        (&1.into(), &true.into(), &"V01.00.00.00".into())
    );
    let checks: Vec<_> = document["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| finding["check"].as_str().unwrap())
        .collect();
    let expected = [
        "name",
        "product",
        "version",
        "size",
        "machine",
        "interpreter",
        "complete",
        "seal",
        "digest",
        "known-bad",
        "preflight",
    ];
    assert_eq!(checks, expected);
}

#[test]
fn an_empty_file() {
    let sandbox = Sandbox::new("");
    sandbox.file(RIGHT, b"");
    sandbox.assert_refused(RIGHT, "truncated", "empty");
}

#[test]
fn a_huge_file_is_refused_without_being_read() {
    let sandbox = Sandbox::new("");
    let sparse = File::create(sandbox.0.path().join(RIGHT)).unwrap();
    sparse.set_len(1 << 42).unwrap(); // reading 4 TiB would not end in a test's life
    sandbox.assert_refused(RIGHT, "too-large", "the limit is 2147483648");
}

#[test]
fn a_file_that_is_cut_off() {
    let sandbox = Sandbox::new("");
    let bytes = program("V02.00.00.00");
    for length in [10, 100, 150, bytes.len() / 2, bytes.len() - 1] {
        sandbox.file(RIGHT, &bytes[..length]);
        sandbox.assert_refused(RIGHT, "truncated", "");
    }
}

#[test]
fn a_file_with_something_behind_its_end() {
    let sandbox = Sandbox::new("");
    sandbox.file(RIGHT, &[&program("V02.00.00.00")[..], b"appended"].concat());
    sandbox.assert_refused(RIGHT, "truncated", "8 bytes stand behind the program's end");
}

#[test]
fn a_program_for_another_machine() {
    const E_MACHINE: usize = 18;
    let sandbox = Sandbox::new("");
    let mut bytes = program("V02.00.00.00");
    bytes[E_MACHINE] = 243;
    sandbox.file(RIGHT, &bytes);
    sandbox.assert_refused(RIGHT, "wrong-machine", "the file is for RISC-V");
    assert!(sandbox.hint(RIGHT).starts_with("build the program for "));
}

#[test]
fn a_file_for_another_product() {
    let sandbox = Sandbox::new("");
    sandbox.file("OTHER_V02.00.00.00.bin", &program("V02.00.00.00"));
    sandbox.assert_refused(
        "OTHER_V02.00.00.00.bin",
        "wrong-product",
        "\"OTHER\", this payload is \"DEMO\"",
    );
}

#[test]
fn files_with_a_wrong_name() {
    let sandbox = Sandbox::new("");
    for name in [
        "firmware.bin",
        "DEMO_V2.0.0.0.bin",
        "DEMO_V02.00.00.00",
        "_V02.00.00.00.bin",
        "DEMO_V02.00.00.00\n.bin",
    ] {
        sandbox.file(name, &program("V02.00.00.00"));
        sandbox.assert_refused(name, "name-invalid", "is not the name of a firmware file");
    }
}

#[test]
fn an_older_and_the_same_version() {
    let sandbox = Sandbox::new("");
    sandbox.file("DEMO_V00.99.00.00.bin", &program("V00.99.00.00"));
    sandbox.assert_refused("DEMO_V00.99.00.00.bin", "downgrade", "lower than V01.00.00.00");
    sandbox.file("DEMO_V01.00.00.00.bin", &program("V01.00.00.00"));
    sandbox.assert_refused("DEMO_V01.00.00.00.bin", "same-version", "runs already");
}

#[test]
fn a_program_that_tells_another_version_than_its_name() {
    let sandbox = Sandbox::new("");
    sandbox.file(RIGHT, &program("V02.00.00.01"));
    sandbox.assert_refused(
        RIGHT,
        "wrong-version",
        "the program prints version V02.00.00.01, its name says V02.00.00.00",
    );
}

#[test]
fn a_program_that_does_not_start() {
    const ENTRY: usize = 24;
    let sandbox = Sandbox::new("");
    let mut bytes = program("V02.00.00.00");
    bytes[ENTRY..ENTRY + 4].copy_from_slice(&[0; 4]);
    sandbox.file(RIGHT, &bytes);
    sandbox.assert_refused(RIGHT, "preflight-failed", "ended by signal 11");
}

#[test]
fn a_file_that_may_not_be_executed_is_neither_run_nor_changed() {
    let sandbox = Sandbox::new("");
    let path = sandbox.file(RIGHT, &program("V02.00.00.01"));
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    let output = sandbox.check(RIGHT, &[]);
    assert_eq!(output.status.code(), Some(0));
    assert!(
        String::from_utf8_lossy(&output.stdout)
            .contains("skipped preflight   the file is not executable"),
        "{output:?}"
    );
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o644);
}

#[test]
fn what_is_no_file_at_all() {
    let sandbox = Sandbox::new("");
    nix::unistd::mkfifo(&sandbox.0.path().join("fifo"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    for (name, reason) in [
        ("nothing", "can't be read: No such file"),
        ("", "not a regular file"),
        ("fifo", "not a regular file"),
    ] {
        let output = sandbox.check(name, &[]);
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&output.stderr).contains(reason), "{output:?}");
    }
}
