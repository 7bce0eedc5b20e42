//! The demonstration as anybody may start it: with or without rights, whole or ended in the middle,
//! and nothing is left behind.

use std::fs::{self, Permissions};
use std::io::{self, BufRead as _, BufReader};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use tempfile::TempDir;

/// A user that owns nothing.
const NOBODY: u32 = 65534;
/// How long processes that the kernel has killed may take to go. Generous: a loaded machine is no
/// failure.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks for processes of which no event tells.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// A place where a user without rights finds the program and may make files.
struct Place {
    directory: TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { directory: TempDir::new().unwrap() };
        fs::set_permissions(place.directory.path(), Permissions::from_mode(0o755)).unwrap();
        // The build may be where only its owner can look. Another process copies it: of a file that
        // this one writes, the children of other tests may hold a descriptor for an instant.
        let copied = Command::new("install")
            .args(["-m", "755", env!("CARGO_BIN_EXE_uplift")])
            .arg(crate::world::programs::uplift_sim())
            .arg(place.directory.path())
            .status()
            .unwrap();
        assert!(copied.success());
        fs::create_dir(place.temporary()).unwrap();
        if geteuid().is_root() {
            chown(place.temporary(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        place
    }

    fn uplift(&self) -> PathBuf {
        self.directory.path().join("uplift")
    }

    fn temporary(&self) -> PathBuf {
        self.directory.path().join("tmp")
    }

    /// The demonstration, about to run without rights.
    fn demo(&self) -> Command {
        let mut command = if geteuid().is_root() {
            let mut command = Command::new("setpriv");
            command
                .args([
                    format!("--reuid={NOBODY}"),
                    format!("--regid={NOBODY}"),
                    "--clear-groups".to_owned(),
                ])
                .arg(self.uplift());
            command
        } else {
            Command::new(self.uplift())
        };
        self.prepare(&mut command);
        command
    }

    /// The same with the rights of the test: root's, usually.
    fn demo_with_rights(&self) -> Command {
        let mut command = Command::new(self.uplift());
        self.prepare(&mut command);
        command
    }

    fn prepare(&self, command: &mut Command) {
        command.arg("demo").env("TMPDIR", self.temporary()).current_dir("/");
        // As anybody starts it who has no sources.
        command.env_remove("CARGO");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    }

    fn leftovers(&self) -> Vec<PathBuf> {
        fs::read_dir(self.temporary()).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    /// The command lines of processes that work in this place.
    fn processes(&self) -> Vec<String> {
        let place = self.directory.path().to_str().unwrap();
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let lines =
            processes.filter_map(|process| fs::read_to_string(process.path().join("cmdline")).ok());
        lines.filter(|line| line.contains(place)).collect()
    }
}

/// Runs until a line with these words is told, and sends the signal to the process alone.
fn signalled(demo: &mut Child, words: &str, signal: Signal) -> ExitStatus {
    let mut told = Vec::new();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    while !told.last().is_some_and(|line: &String| line.contains(words)) {
        told.push(lines.next().unwrap_or_else(|| panic!("no {words:?} in {told:?}")).unwrap());
    }
    kill(Pid::from_raw(demo.id().try_into().unwrap()), signal).unwrap();
    // Whatever is told still: a full pipe must not stop it.
    lines.for_each(drop);
    demo.wait().unwrap()
}

fn assert_tells(said: &str, wanted: &[&str]) {
    let mut rest = said;
    for words in wanted {
        let at =
            rest.find(words).unwrap_or_else(|| panic!("no {words:?}, in its place, in\n{said}"));
        rest = &rest[at + words.len()..];
    }
}

#[test]
fn it_needs_no_rights_and_no_terminal_and_leaves_nothing() {
    shows_all(Place::demo);
}

/// Where systemd runs, it would run a program for root as a user that can't reach the sandbox.
#[test]
fn with_rights_it_shows_the_same() {
    shows_all(Place::demo_with_rights);
}

#[track_caller]
fn shows_all(demo: fn(&Place) -> Command) {
    let place = Place::new();
    let output = demo(&place).output().unwrap();
    let (said, complaints) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!((output.status.code(), complaints.as_str()), (Some(0), ""), "{said}");
    let upgrade = |version: &'static str, transfer| {
        ["Upgrade to ", version, transfer, "  it runs ", version, " now\n"]
    };
    let end = [
        "Upgrade to V04.00.00.00 by DCFTP, as a change of V03.00.00.00",
        "V04.00.00.00 did not work, so V03.00.00.00 came back",
        "The payload runs V03.00.00.00 now",
        "history",
        "rolled back  V03.00.00.00 -> V04.00.00.00",
        "succeeded    V02.00.00.00 -> V03.00.00.00",
        "succeeded    V01.00.00.00 -> V02.00.00.00",
    ];
    let story =
        [&upgrade("V02.00.00.00", " by FTP\n")[..], &upgrade("V03.00.00.00", " by DCFTP"), &end]
            .concat();
    assert_tells(&said, &story);
    assert_eq!((place.leftovers(), place.processes()), (vec![], vec![]));
}

#[test]
fn with_a_microcontroller_it_shows_its_upgrade_a_cut_and_a_refusal() {
    let place = Place::new();
    let output = place.demo().arg("--mcu").output().unwrap();
    let (said, complaints) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!((output.status.code(), complaints.as_str()), (Some(0), ""), "{said}");
    let story = [
        "Upgrade of the motor to V02.00.00.00",
        "the chip runs V02.00.00.00 now",
        "Upgrade of the motor to V03.00.00.00",
        "the chip's flash: ",
        "one was cut off",
        "the chip runs V03.00.00.00 now",
        "Upgrade of the motor to V04.00.00.00",
        "the chip's flash: 0 operations",
        "failed",
        "succeeded",
        "succeeded",
    ];
    assert_tells(&said, &story);
    assert_eq!((place.leftovers(), place.processes()), (vec![], vec![]));
}

#[test]
fn without_the_peers_it_says_what_is_missing() {
    let place = Place::new();
    let sim = place.directory.path().join("uplift-sim");
    fs::remove_file(&sim).unwrap();
    let output = place.demo().output().unwrap();
    let complaints = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{complaints}");
    assert_eq!(
        complaints,
        format!(
            "uplift: {} does not exist, and it has the demonstration\nhint: install the package uplift-sim\n",
            sim.display()
        )
    );
}

/// `cargo run -- demo`, with what Cargo tells the programs that it runs.
#[test]
fn from_the_sources_cargo_is_asked_for_the_peers() {
    let place = Place::new();
    let (release, cargo) = (place.temporary().join("release"), place.temporary().join("cargo"));
    fs::create_dir(&release).unwrap();
    let uplift = release.join("uplift");
    fs::rename(place.uplift(), &uplift).unwrap();
    fs::write(&cargo, "#!/bin/sh\necho \"$@\"\n").unwrap();
    fs::set_permissions(&cargo, Permissions::from_mode(0o755)).unwrap();
    let mut demo = Command::new(&uplift);
    place.prepare(&mut demo);
    demo.env("CARGO", &cargo);
    demo.env("CARGO_PKG_NAME", "uplift").env("CARGO_MANIFEST_DIR", "/sources");
    let output = demo.output().unwrap();
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        format!(
            "run --package uplift-sim --profile release --manifest-path /sources/Cargo.toml -- demo --uplift {}\n",
            uplift.display()
        )
    );
}

#[test]
fn ended_by_a_signal_it_leaves_nothing_either() {
    for (signal, words, code) in [
        (Signal::SIGINT, "waiting for a payload", 130),
        (Signal::SIGTERM, "it is in upgrade mode", 143),
        (Signal::SIGHUP, "the payload restarts", 129),
    ] {
        let place = Place::new();
        let mut demo = place.demo().spawn().unwrap();
        let status = signalled(&mut demo, words, signal);
        let complaints = io::read_to_string(demo.stderr.take().unwrap()).unwrap();
        assert_eq!(status.code(), Some(code), "{signal} at {words:?}: {complaints}");
        assert_eq!(
            (place.leftovers(), place.processes()),
            (vec![], vec![]),
            "{signal} at {words:?}: {complaints}"
        );
    }
}

#[test]
fn killed_it_takes_its_processes_along() {
    let place = Place::new();
    let mut demo = place.demo().spawn().unwrap();
    signalled(&mut demo, "it is in upgrade mode", Signal::SIGKILL);
    let deadline = Instant::now() + PATIENCE;
    while !place.processes().is_empty() {
        assert!(Instant::now() < deadline, "{:?} go on", place.processes());
        thread::sleep(LOOK_INTERVAL);
    }
}
