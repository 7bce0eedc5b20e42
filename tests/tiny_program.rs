//! The tiny programs of the simulation run on the machines of payloads (by emulation), and stock
//! tools find them whole.

#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can't go on says where")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use uplift_fixtures::elf::{Architecture, Program};
use uplift_fixtures::executable;

fn write(directory: &Path, architecture: Architecture) -> PathBuf {
    let path = directory.join("program");
    let program = Program::new(architecture, [12, 34, 56, 78]).filled_to(10_000);
    executable::write(&path, &program.bytes()).unwrap();
    path
}

fn run(tool: &str, arguments: &[&str], program: &Path, last: &[&str]) -> Output {
    let result = Command::new(tool).args(arguments).arg(program).args(last).output();
    result.unwrap_or_else(|error| panic!("{tool} can't be run ({error}); `tests/run` installs it"))
}

fn assert_runs_under(emulator: &str, architecture: Architecture) {
    let directory = tempfile::tempdir().unwrap();
    let output = run(emulator, &[], &write(directory.path(), architecture), &["--version"]);
    assert!(output.status.success() && output.stdout == b"V12.34.56.78\n", "{output:?}");
}

#[test]
fn it_runs_on_aarch64() {
    assert_runs_under("qemu-aarch64-static", Architecture::Aarch64);
}

#[test]
fn it_runs_on_arm() {
    assert_runs_under("qemu-arm-static", Architecture::Arm);
}

#[test]
fn it_runs_on_x86_64() {
    assert_runs_under("qemu-x86_64-static", Architecture::X86_64);
}

#[test]
fn readelf_has_nothing_to_complain_about() {
    for architecture in Architecture::ALL {
        let directory = tempfile::tempdir().unwrap();
        let output =
            run("readelf", &["--wide", "--headers"], &write(directory.path(), architecture), &[]);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        assert!(
            [".text", ".fill", ".shstrtab"].iter().all(|section| text.contains(section)),
            "{text}"
        );
    }
}
