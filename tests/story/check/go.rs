//! Programs of Go, built as they usually are: the linker fills the last page of a stripped one with
//! zeros.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{RIGHT, Sandbox};

/// A machine as Go calls it, and an emulator that runs its programs: that of Debian 12 for i386
/// does not.
const MACHINES: [(&str, Option<&str>); 4] = [
    ("amd64", Some("qemu-x86_64-static")),
    ("arm64", Some("qemu-aarch64-static")),
    ("arm", Some("qemu-arm-static")),
    ("386", None),
];
const SOURCE: &str = "package main\n\nfunc main() { println(\"V02.00.00.00\") }\n";

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| {
        panic!("{command:?} can't be run ({error}); `tests/run` installs it")
    });
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

/// Builds without symbols, which is where the zeros are.
fn build(directory: &Path, machine: &str) -> PathBuf {
    let source = directory.join("main.go");
    fs::File::create(&source)
        .and_then(|mut file| std::io::Write::write_all(&mut file, SOURCE.as_bytes()))
        .unwrap();
    let program = directory.join(format!("go-{machine}"));
    // The standard library is compiled once for each machine; a user's cache is not another one's.
    let cache =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("go-{}", nix::unistd::geteuid()));
    let mut go = Command::new("go");
    go.args(["build", "-ldflags=-s -w", "-o"]).arg(&program).arg(&source).current_dir(directory);
    go.envs([
        ("GOARCH", machine),
        ("GOOS", "linux"),
        ("CGO_ENABLED", "0"),
        ("GO111MODULE", "off"),
        ("GOFLAGS", ""),
    ])
    .env("GOCACHE", cache);
    run(&mut go);
    program
}

/// How many zeros stand at its end.
fn zeros(bytes: &[u8]) -> usize {
    bytes.iter().rev().take_while(|&&byte| byte == 0).count()
}

#[test]
fn a_stripped_program_of_go_is_whole_on_each_machine_and_so_is_its_sealed_form() {
    let sandbox = Sandbox::new("");
    let directory = sandbox.0.path();
    sandbox.uplift(&["keygen", "--out", "release", "--no-password"]);
    for (machine, emulator) in MACHINES {
        let program = build(directory, machine);
        let bytes = fs::read(&program).unwrap();
        assert!(
            zeros(&bytes) > 100,
            "{machine}: this linker leaves {} zeros, so this test shows nothing",
            zeros(&bytes)
        );
        // The installed program is one of the same machine, and is not run: this machine may not be
        // able to.
        let installed = sandbox.file("program", &bytes);
        sandbox.file(
            "uplift.toml",
            format!(
                "[component.program]\npath = {installed:?}\nproduct = \"DEMO\"\nversion = \"V01.00.00.00\"\n"
            )
            .as_bytes(),
        );
        sandbox.file(RIGHT, &bytes);
        assert!(sandbox.accepted(RIGHT).contains("zeros fill its last page"), "{machine}");

        let label =
            ["--product", "DEMO", "--version", "V02.00.00.00", "--key", "release.key", "--force"];
        sandbox.uplift(&[&["pack", program.to_str().unwrap()], &label[..]].concat());
        assert!(fs::read(directory.join(RIGHT)).unwrap().len() > bytes.len(), "{machine}");
        assert!(sandbox.accepted(RIGHT).contains("signed by key"), "{machine}");
        if let Some(emulator) = emulator {
            assert_eq!(
                run(Command::new(emulator).arg(directory.join(RIGHT))),
                "V02.00.00.00\n",
                "{machine}"
            );
        }

        for (changed, why) in [
            ([&bytes[..], &[0]].concat(), "one zero more than the page has"),
            ([&bytes[..bytes.len() - 1], b"x"].concat(), "a byte that is none"),
            (bytes[..bytes.len() - zeros(&bytes) - 1].to_vec(), "cut off before the zeros"),
        ] {
            sandbox.file(RIGHT, &changed);
            let (kind, sentence) = sandbox.refused(RIGHT);
            assert_eq!(kind, "truncated", "{machine}, {why}: {sentence}");
        }
        sandbox.file(RIGHT, &bytes[..bytes.len() - 100]);
        sandbox.accepted(RIGHT);
    }
}
