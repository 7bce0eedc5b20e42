//! What the journal keeps of an upgrade: a real journald, in a mount namespace of its own, is asked
//! with the real `journalctl`. And the catalogue that explains the messages knows all of them, and
//! no others.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::world::payload::Payload;
use crate::world::running::Running;

const CATALOGUE: &str = include_str!("../../systemd/uplift.catalog");
const MESSAGES: &str = include_str!("../../src/log/message.rs");

/// A loaded machine is no failure.
const PATIENCE: Duration = Duration::from_secs(30);
const PHASES: [&str; 8] = [
    "preparing",
    "receiving",
    "checking",
    "ready",
    "installing",
    "restarting",
    "trial",
    "concluded",
];

/// The id of a message by its name in the code.
fn id(name: &str) -> &'static str {
    let declaration = MESSAGES
        .split_once(&format!("const {name}: &str = \""))
        .unwrap_or_else(|| panic!("there is no message {name}"));
    declaration.1.split('"').next().unwrap()
}

fn ids_of_code() -> BTreeSet<&'static str> {
    MESSAGES.split(": &str = \"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

#[test]
fn the_catalogue_has_a_text_for_every_message_and_for_no_other() {
    let entries: Vec<(&str, &str)> =
        CATALOGUE.split("\n-- ").skip(1).map(|entry| entry.split_once('\n').unwrap()).collect();
    let ids: BTreeSet<&str> = entries.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids.len(), entries.len(), "an id stands twice");
    assert_eq!(ids, ids_of_code());
    assert!(ids.iter().all(|id| id.len() == 32
        && id.bytes().all(|byte| byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase())));
    for (id, text) in entries {
        assert!(text.starts_with("Subject: ") && text.contains("\nDefined-By: uplift\n\n"), "{id}");
        let fields = text.split('@').skip(1).step_by(2);
        let known = ["UPLIFT_UPGRADE_ID", "UPLIFT_CHANNEL", "UPLIFT_VERSION", "UPLIFT_KIND"];
        assert!(
            fields.into_iter().all(|field| known.contains(&field)),
            "{id} names a field that is not there"
        );
    }
}

#[test]
fn systemd_takes_the_catalogue() {
    let root = tempfile::tempdir().unwrap();
    let (source, database) =
        (root.path().join("usr/lib/systemd/catalog"), root.path().join("var/lib/systemd/catalog"));
    fs::create_dir_all(&source).unwrap();
    fs::create_dir_all(database).unwrap();
    fs::write(source.join("uplift.catalog"), CATALOGUE).unwrap();
    let journalctl = |action: &str| {
        let output =
            Command::new("journalctl").arg("--root").arg(root.path()).arg(action).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    journalctl("--update-catalog");
    assert_eq!(
        journalctl("--list-catalog").lines().filter(|line| line.contains(" uplift: ")).count(),
        ids_of_code().len()
    );
}

/// A journald that has /run for itself.
struct Journald(Running);

impl Journald {
    fn start(directory: &Path) -> Self {
        assert!(
            nix::unistd::geteuid().is_root(),
            "this test runs a journald in a mount namespace: run it as root"
        );
        let script = "set -e
            mount -t tmpfs tmpfs /run
            touch /run/of-its-own
            mkdir -p /run/systemd/journald.conf.d /run/systemd/journal /run/log/journal
            printf '[Journal]\\nStorage=volatile\\nReadKMsg=no\\nAudit=no\\nRateLimitBurst=0\\n' > /run/systemd/journald.conf.d/test.conf
            mount -t tmpfs tmpfs /usr/lib/systemd/catalog
            mount -t tmpfs tmpfs /var/lib/systemd/catalog
            cp \"$1\" /usr/lib/systemd/catalog/uplift.catalog
            journalctl --update-catalog
            exec /lib/systemd/systemd-journald";
        let catalogue = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/uplift.catalog");
        let mut command = Command::new("setpriv");
        command.args([
            "--pdeathsig",
            "KILL",
            "--",
            "unshare",
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            script,
            "sh",
        ]);
        let log = fs::File::create(directory.join("journald.log")).unwrap();
        let process = Running::start(command.arg(catalogue).stdin(Stdio::null()).stderr(log));
        let journald = Self(process);
        let run = PathBuf::from(format!("/proc/{}/root/run", journald.0.id()));
        let end = Instant::now() + PATIENCE;
        // Until it is in its namespace, a machine where systemd has booted shows its own socket
        // there.
        while !run.join("of-its-own").exists() || !run.join("systemd/journal/socket").exists() {
            assert!(
                Instant::now() < end,
                "{}",
                fs::read_to_string(directory.join("journald.log")).unwrap()
            );
            std::thread::sleep(Duration::from_millis(5)); // no event tells of a socket in another namespace
        }
        journald
    }

    /// The words that run a program in its namespace.
    fn wrapper(&self) -> [String; 3] {
        ["nsenter".into(), format!("--mount=/proc/{}/ns/mnt", self.0.id()), "--".into()]
    }

    fn ask(&self, arguments: &[&str]) -> String {
        let [program, words @ ..] = self.wrapper();
        let mut command = Command::new(program);
        let output = command
            .args(words)
            .args(["journalctl", "--no-pager", "-q"])
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The entries of a process, as soon as there is one of this message.
    fn entries(&self, process: &str, message: &str) -> Vec<Value> {
        let end = Instant::now() + PATIENCE;
        loop {
            let text = self.ask(&["-o", "json", "-t", process]);
            let entries: Vec<Value> =
                text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            if entries.iter().any(|entry| entry["MESSAGE_ID"] == id(message)) {
                return entries;
            }
            assert!(Instant::now() < end, "no {message} in {entries:#?}");
            std::thread::sleep(Duration::from_millis(20)); // journald takes its time to write
        }
    }
}

/// A payload whose daemon logs to this journald.
fn payload(journald: &Journald) -> Payload {
    let port = "[channel.psdk]\ndevice = \"ROOT/run/no-such-port\"\n";
    let mut payload = Payload::setup().sections(port).stopped();
    let stderr = fs::File::create(payload.log("daemon")).unwrap().metadata().unwrap();
    payload.set_environment("JOURNAL_STREAM", &format!("{}:{}", stderr.dev(), stderr.ino()));
    payload.wrap_daemon(&journald.wrapper().each_ref().map(String::as_str));
    payload.start_daemon().unwrap();
    payload
}

fn install(payload: &Payload, version: &str) -> Running {
    payload.install_file(&payload.firmware_of(version, 100_000))
}

fn place(entries: &[Value], message: &str) -> usize {
    let found = entries.iter().position(|entry| entry["MESSAGE_ID"] == id(message));
    found.unwrap_or_else(|| panic!("no {message} in {entries:#?}"))
}

#[test]
fn every_entry_of_an_upgrade_has_its_fields_and_the_catalogue_explains_it() {
    let directory = tempfile::tempdir().unwrap();
    let journald = Journald::start(directory.path());
    let mut payload = payload(&journald);
    let mut client = install(&payload, "V02.00.00.00");
    payload.restart_when_asked();
    assert!(client.wait().unwrap().success());
    let entries = journald.entries("uplift", "SUCCEEDED");
    assert_eq!(
        entries[place(&entries, "DEVICE_MISSING")].get("UPLIFT_UPGRADE_ID"),
        None,
        "nothing was under way"
    );

    let upgrade = &entries[place(&entries, "BEGAN")..=place(&entries, "SUCCEEDED")];
    let name = upgrade[0]["UPLIFT_UPGRADE_ID"].as_str().unwrap();
    let mut phases: Vec<&str> = Vec::new();
    // Between the two the machine restarts, and a daemon that starts knows of the upgrade only when
    // it has read its state.
    for entry in upgrade.iter().filter(|entry| entry["MESSAGE_ID"] != id("DEVICE_MISSING")) {
        assert!(
            entry["UPLIFT_UPGRADE_ID"] == name && entry["UPLIFT_CHANNEL"] == "shell",
            "{entry:#}"
        );
        let phase = entry["UPLIFT_PHASE"].as_str().unwrap();
        if ["ready", "installing", "restarting", "trial", "concluded"].contains(&phase) {
            assert_eq!(entry["UPLIFT_VERSION"], "V02.00.00.00", "{entry:#}");
        }
        phases.push(phase);
    }
    phases.dedup();
    assert_eq!(phases, PHASES);
    for message in ["SWAPPED", "RESUMED", "TRIAL"] {
        place(upgrade, message);
    }

    assert!(!install(&payload, "V01.50.00.00").wait().unwrap().success());
    journald.entries("uplift", "FAILED");
    let found = journald.ask(&["-o", "json", "UPLIFT_KIND=downgrade"]);
    let found: Value = serde_json::from_str(found.trim()).expect("one entry");
    assert!(
        found["MESSAGE_ID"] == id("FAILED")
            && found["UPLIFT_PHASE"] == "concluded"
            && found["UPLIFT_UPGRADE_ID"] != name,
        "{found:#}"
    );
    let explained = journald.ask(&["--catalog", &format!("MESSAGE_ID={}", id("SUCCEEDED"))]);
    assert!(explained.contains("Subject: The firmware upgrade succeeded"), "{explained}");
    assert!(explained.contains("The program of version V02.00.00.00 runs"), "{explained}");
}

#[test]
fn a_request_that_is_refused_is_not_about_the_upgrade_that_runs() {
    let directory = tempfile::tempdir().unwrap();
    let journald = Journald::start(directory.path());
    let payload = payload(&journald);
    let client = install(&payload, "V02.00.00.00");
    payload.wait_for_restart_request().unwrap();
    assert!(!install(&payload, "V03.00.00.00").wait().unwrap().success());
    let entries = journald.entries("uplift", "REFUSED");
    let refused = &entries[place(&entries, "REFUSED")];
    assert!(
        refused["UPLIFT_KIND"] == "busy" && refused["UPLIFT_CHANNEL"] == "shell",
        "{refused:#}"
    );
    assert_eq!(refused.get("UPLIFT_UPGRADE_ID"), None, "{refused:#}");
    drop(client);
}

#[test]
fn the_rescue_says_which_upgrade_it_rolls_back() {
    let directory = tempfile::tempdir().unwrap();
    let journald = Journald::start(directory.path());
    let mut payload = payload(&journald);
    let client = install(&payload, "V02.00.00.00");
    payload.wait_for_restart_request().unwrap();
    payload.power_off();
    drop(client);
    let began = journald.entries("uplift", "SWAPPED");
    let name = &began[place(&began, "SWAPPED")]["UPLIFT_UPGRADE_ID"];

    let stderr = fs::File::create(directory.path().join("rescue.log")).unwrap();
    let stream =
        format!("{}:{}", stderr.metadata().unwrap().dev(), stderr.metadata().unwrap().ino());
    let uptime = directory.path().join("uptime");
    let [program, words @ ..] = journald.wrapper();
    for seconds in ["100.0 1.0\n", "1000000.0 1.0\n"] {
        fs::write(&uptime, seconds).unwrap();
        let mut command = Command::new(&program);
        command
            .args(&words)
            .arg(env!("CARGO_BIN_EXE_uplift-rescue"))
            .args(["deadline", "--state"])
            .arg(payload.state());
        command
            .arg("--boot-id")
            .arg(payload.root().join("run/boot_id"))
            .arg("--uptime")
            .arg(&uptime);
        command
            .env("JOURNAL_STREAM", &stream)
            .stderr(stderr.try_clone().unwrap())
            .status()
            .unwrap();
    }
    assert_eq!(payload.reported_version().unwrap(), "V01.00.00.00");
    let entries = journald.entries("uplift-rescue", "RESCUE_ROLLS_BACK");
    let rolled_back = &entries[place(&entries, "RESCUE_ROLLS_BACK")];
    assert_eq!(&rolled_back["UPLIFT_UPGRADE_ID"], name, "{rolled_back:#}");
    assert!(
        rolled_back["UPLIFT_CHANNEL"] == "shell" && rolled_back["UPLIFT_VERSION"] == "V02.00.00.00",
        "{rolled_back:#}"
    );
    assert!(
        rolled_back["UPLIFT_PHASE"] == "reverting" && rolled_back["UPLIFT_KIND"].is_string(),
        "{rolled_back:#}"
    );
}
