//! Trees (docs/use/trees.md): a directory is replaced as a whole, tried, and comes back where it
//! fails; and what is no tree is refused.

mod arriving;
mod hostile;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use uplift::model::{FailureKind, Outcome, Phase, ProgramDigest, RunningEvidence};
use uplift::tree::{Owners, Scan};

use crate::world::payload::{NEW, OLD, Payload, Setup};

const TRIAL: &str = "window = \"100ms\"\ndeadline = \"20s\"";
const UNIT: &str = "restart = \"unit\"\nrestart_deadline = \"10s\"";

/// A payload whose unit runs `bin/payload`, and of which `bin` is replaced as a whole.
fn setup(trial: &str) -> Setup {
    Payload::setup().with_systemd().program(UNIT).version("kind = \"tree\"").trial(trial)
}

fn of_tree(payload: &Payload) {
    payload.edit_config(|text| text.replace("/bin/payload\"", "/bin\""));
    fill(&tree(payload), OLD);
}

fn start(setup: &Setup) -> Payload {
    let mut payload = setup.stopped();
    of_tree(&payload);
    setup.run(&mut payload);
    payload
}

fn tree(payload: &Payload) -> PathBuf {
    payload.root().join("bin")
}

/// What a tree has beside its program.
fn fill(tree: &Path, version: &str) {
    fs::create_dir_all(tree.join("share/models")).unwrap();
    fs::write(tree.join("share/models/detector"), version.repeat(10_000)).unwrap();
    fs::write(tree.join("share/version"), version).unwrap();
    let mut random = fastrand::Rng::with_seed(1);
    let weights: Vec<u8> = (0..200_000).map(|_| random.u8(..)).collect();
    fs::write(tree.join("share/weights"), weights).unwrap();
    symlink("models/detector", tree.join("share/detector")).unwrap();
    fs::set_permissions(tree.join("share"), fs::Permissions::from_mode(0o750)).unwrap();
}

/// A directory with a tree of this version.
fn made(payload: &Payload, version: &str) -> PathBuf {
    let made = payload.root().join(format!("made-{version}"));
    fs::create_dir(&made).unwrap();
    let firmware = payload.firmware_of(version, 50_000);
    fs::copy(&firmware, made.join("payload")).unwrap();
    fs::set_permissions(made.join("payload"), fs::Permissions::from_mode(0o755)).unwrap();
    fill(&made, version);
    made
}

/// The firmware file of a directory.
fn packed(payload: &Payload, made: &Path, version: &str, more: &[&str]) -> PathBuf {
    packed_as(payload, made, version, &[&["--unsigned"], more].concat())
}

fn packed_as(payload: &Payload, made: &Path, version: &str, how: &[&str]) -> PathBuf {
    let firmware = payload.firmware_of(version, 10_000);
    let name = firmware.file_stem().unwrap().to_str().unwrap();
    let (product, _) = name.rsplit_once('_').unwrap();
    let words = ["pack", "--product", product, "--version", version, "--force"];
    let out = ["--out", payload.root().to_str().unwrap(), made.to_str().unwrap()];
    let (code, said) = payload.uplift(&[&words[..], how, &out].concat());
    assert_eq!(code, Some(0), "{said}");
    payload.root().join(firmware.file_name().unwrap())
}

fn known_by(tree: &Path) -> ProgramDigest {
    Scan::of(tree, Owners::Theirs).unwrap().manifest().digest().unwrap()
}

fn version_in(payload: &Payload) -> String {
    fs::read_to_string(tree(payload).join("share/version")).unwrap()
}

fn area(payload: &Payload) -> Vec<String> {
    let all = fs::read_dir(payload.root().join(".uplift")).unwrap();
    let mut names: Vec<String> =
        all.map(|one| one.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_directory_is_replaced_as_a_whole_tried_and_goes_back() {
    let payload = start(&setup(TRIAL));
    let before = known_by(&tree(&payload));
    let made = made(&payload, NEW);
    fs::set_permissions(made.join("share/version"), fs::Permissions::from_mode(0o604)).unwrap();
    let file = packed(&payload, &made, NEW, &[]);
    let (_, said) = payload.uplift(&["check", file.to_str().unwrap()]);
    assert!(said.contains("a tree of 4 files, 3 directories and links"), "{said}");
    let output = payload.install_file(&file).wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let report = payload.last_report();
    assert_eq!(report.outcome, Outcome::Succeeded, "{report:?}");
    let evidence = report.evidence.unwrap();
    assert_eq!(evidence.running, RunningEvidence::Started);
    assert!(evidence.digest_at_path && evidence.restarted);
    assert_eq!(payload.running().as_deref(), Some(NEW));
    assert_eq!(version_in(&payload), NEW);
    let at_path = known_by(&tree(&payload));
    assert_eq!(report.package.unwrap().program_digest, at_path);
    let there = fs::symlink_metadata(tree(&payload).join("share/version")).unwrap();
    assert_eq!((there.mode() & 0o7777, there.uid(), there.gid()), (0o604, 0, 0));
    assert_eq!(fs::metadata(tree(&payload).join("share")).unwrap().mode() & 0o7777, 0o750);
    assert_eq!(
        fs::read_link(tree(&payload).join("share/detector")).unwrap(),
        Path::new("models/detector")
    );
    assert_eq!(area(&payload), ["bin.previous", "lock"]);
    assert_eq!(known_by(&payload.root().join(".uplift/bin.previous")), before);
    let (_, status) = payload.uplift(&["status"]);
    assert!(status.contains(NEW), "{status}");
    // The same again is the version that runs, and a person can go back.
    payload.install_file(&file).wait_with_output().unwrap();
    assert_eq!(payload.ending(), (Outcome::Failed, Some(FailureKind::SameVersion)));
    let (_, said) = payload.uplift(&["rollback", "--yes"]);
    payload.wait_for("the old tree", || version_in(&payload) == OLD);
    payload.wait_for_phase(Phase::Idle);
    assert_eq!(known_by(&tree(&payload)), before, "{said}");
    assert_eq!(payload.running().as_deref(), Some(OLD));
    payload.install_file(&file).wait_with_output().unwrap();
    assert_eq!(payload.ending(), (Outcome::Failed, Some(FailureKind::KnownBad)));
}

#[test]
fn one_that_does_not_start_comes_back_whole_and_is_remembered() {
    let payload = start(&setup(TRIAL));
    let before = known_by(&tree(&payload));
    payload.systemd_has("fails", NEW);
    let file = packed(&payload, &made(&payload, NEW), NEW, &[]);
    payload.install_file(&file).wait_with_output().unwrap();
    assert_eq!(payload.ending(), (Outcome::RolledBack, Some(FailureKind::Unhealthy)));
    assert_eq!(known_by(&tree(&payload)), before);
    assert_eq!(payload.running().as_deref(), Some(OLD), "the old program runs again");
    assert_eq!(area(&payload), ["bin.failed", "lock"]);
    payload.install_file(&file).wait_with_output().unwrap();
    assert_eq!(payload.ending(), (Outcome::Failed, Some(FailureKind::KnownBad)));
}

/// Somebody writes into the tree on trial: what runs is not what was proved.
#[test]
fn a_tree_that_is_changed_during_its_trial_is_not_the_one_that_was_installed() {
    let payload = start(&setup("window = \"100ms\"\ndeadline = \"30s\"\nconfirm = \"explicit\""));
    let before = known_by(&tree(&payload));
    let file = packed(&payload, &made(&payload, NEW), NEW, &[]);
    let client = payload.install_file(&file);
    payload.wait_for_phase(Phase::Trial);
    fs::write(tree(&payload).join("share/more"), "more").unwrap();
    let (_, said) = payload.uplift(&["confirm"]);
    client.wait_with_output().unwrap();
    assert_eq!(payload.ending(), (Outcome::RolledBack, Some(FailureKind::InstallFailed)), "{said}");
    assert_eq!(known_by(&tree(&payload)), before);
    assert!(payload.root().join(".uplift/bin.failed/share/more").exists());
    assert_eq!(payload.running().as_deref(), Some(OLD));
}

#[test]
fn only_what_changed_is_sent() {
    let payload = start(&setup(TRIAL));
    let made = made(&payload, NEW);
    let old = tree(&payload);
    let whole = fs::metadata(packed(&payload, &made, NEW, &[])).unwrap().len();
    let from = format!("--from={OLD}={}", old.display());
    let file = packed(&payload, &made, NEW, &[&from, "--delta-only"]);
    let size = fs::metadata(&file).unwrap().len();
    assert!(size < whole / 3, "{size} of {whole}");
    payload.install_file(&file).wait_with_output().unwrap();
    assert_eq!(payload.ending(), (Outcome::Succeeded, None), "{:?}", payload.last_report());
    assert_eq!(version_in(&payload), NEW);
    // To a payload with another tree it says nothing.
    fs::write(old.join("share/version"), "changed by hand").unwrap();
    let next = self::made(&payload, "V03.00.00.00");
    let from = format!("--from={NEW}={}", made.display());
    let file = packed(&payload, &next, "V03.00.00.00", &[&from, "--delta-only"]);
    payload.install_file(&file).wait_with_output().unwrap();
    assert_eq!(payload.ending(), (Outcome::Failed, Some(FailureKind::WrongBase)));
}

/// The second deadline, with the daemon dead.
#[test]
fn the_rescue_puts_a_tree_back() {
    let mut payload =
        start(&setup("window = \"100ms\"\ndeadline = \"1h\"\nconfirm = \"explicit\""));
    let before = known_by(&tree(&payload));
    let file = packed(&payload, &made(&payload, NEW), NEW, &[]);
    let client = payload.install_file(&file);
    payload.wait_for_phase(Phase::Trial);
    payload.kill_daemon();
    drop(client);
    // As what runs there may.
    fs::write(tree(&payload).join("share/cache"), "cached").unwrap();
    payload.clock(100);
    payload.call_rescue("deadline");
    assert_eq!(version_in(&payload), NEW, "there is time left");
    payload.clock(100 + 2 * 3600);
    payload.call_rescue("deadline");
    assert_eq!(known_by(&tree(&payload)), before);
    assert_eq!(payload.running().as_deref(), Some(OLD), "the old program was restarted");
    assert!(payload.root().join(".uplift/bin.failed/payload").exists());
    payload.start_daemon().unwrap();
    payload.wait_for_phase(Phase::Idle);
    assert_eq!(payload.ending().0, Outcome::RolledBack);
    payload.install_file(&file).wait_with_output().unwrap();
    assert_eq!(payload.ending(), (Outcome::Failed, Some(FailureKind::KnownBad)));
}

#[test]
fn the_first_tree_is_installed_where_nothing_is() {
    let setup = setup(TRIAL);
    let mut payload = setup.stopped();
    of_tree(&payload);
    let old = tree(&payload);
    let made = made(&payload, NEW);
    fs::remove_dir_all(&old).unwrap();
    payload.start_daemon().unwrap();
    let file = packed(&payload, &made, NEW, &[]);
    payload.install_file(&file).wait_with_output().unwrap();
    assert_eq!(payload.ending(), (Outcome::Succeeded, None), "{:?}", payload.last_report());
    assert_eq!(version_in(&payload), NEW);
}

#[test]
fn unpack_makes_the_directory_again() {
    let payload = setup(TRIAL).stopped();
    let made = made(&payload, NEW);
    let file = packed(&payload, &made, NEW, &["--keep-owners"]);
    let out = payload.root().join("out");
    let words = ["unpack", file.to_str().unwrap(), out.to_str().unwrap()];
    let (code, said) = payload.uplift(&words);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("a tree of 4 files"), "{said}");
    assert_eq!(known_by(&out), known_by(&made));
    let (code, said) = payload.uplift(&words);
    assert_ne!(code, Some(0));
    assert!(said.contains("exists already"), "{said}");
}

#[test]
fn pack_refuses_what_no_tree_can_have() {
    let payload = setup(TRIAL).stopped();
    let made = made(&payload, NEW);
    let refused = |more: &[&str]| {
        let words = ["pack", "--unsigned", "--product", "P", "--version", NEW, "--out"];
        let rest = [payload.root().to_str().unwrap(), made.to_str().unwrap()];
        let (code, said) = payload.uplift(&[&words[..], &rest, more].concat());
        assert_ne!(code, Some(0), "{said}");
        said
    };
    symlink("/etc/passwd", made.join("link")).unwrap();
    assert!(refused(&[]).contains("the link \"link\" leads to \"/etc/passwd\""));
    fs::remove_file(made.join("link")).unwrap();
    symlink("share/../..", made.join("link")).unwrap();
    assert!(refused(&[]).contains("the link \"link\" leads to"));
    fs::remove_file(made.join("link")).unwrap();
    fs::write(made.join("A"), "").unwrap();
    fs::write(made.join("a"), "").unwrap();
    assert!(refused(&[]).contains("by its case alone"));
    fs::remove_file(made.join("A")).unwrap();
    fs::set_permissions(made.join("a"), fs::Permissions::from_mode(0o4755)).unwrap();
    assert!(refused(&[]).contains("has a set-id bit"));
    fs::remove_file(made.join("a")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(made.join("socket")).unwrap();
    assert!(refused(&[]).contains("\"socket\" is a socket"));
}

#[test]
fn config_check_tells_of_a_tree() {
    let payload = setup(TRIAL).stopped();
    of_tree(&payload);
    let (_, said) = payload.uplift(&["config", "check"]);
    assert!(!said.contains("component.program.path"), "{said}");
    assert!(!said.contains("no trial would succeed"), "{said}");
    fs::remove_dir_all(tree(&payload)).unwrap();
    fs::write(tree(&payload), "a file").unwrap();
    let (code, said) = payload.uplift(&["config", "check"]);
    assert_ne!(code, Some(0));
    assert!(said.contains("is not a directory"), "{said}");
}
