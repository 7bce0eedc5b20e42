//! The swap on the disk of the machine that runs the tests; faults and other file systems have
//! files of their own.

mod faults;
mod file_systems;
mod older;
mod trees;

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::*;
use crate::stage::{Announced, Stage};

const OLD: &[u8] = b"the old program";
const NEW: &[u8] = b"the new program, longer";

/// A program's directory, and the program in it.
struct Payload {
    directory: PathBuf,
    program: Program,
    stage: Stage,
    _temporary: Option<TempDir>,
}

impl Payload {
    fn new() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let payload = Self::at(temporary_path(&temporary), Arc::new(LocalDisk));
        Self { _temporary: Some(temporary), ..payload }
    }

    fn at(directory: PathBuf, disk: Arc<dyn Disk>) -> Self {
        let path = directory.join("demo");
        let stage = Stage::beside(&path, 1 << 30);
        Self { directory, program: Program::on(disk, path), stage, _temporary: None }
    }

    fn with_program(content: &[u8]) -> Self {
        let payload = Self::new();
        payload.put(content);
        payload
    }

    /// Installs by hand.
    fn put(&self, content: &[u8]) {
        let mut file = File::create(self.program.path()).unwrap();
        file.write_all(content).unwrap();
        file.set_permissions(Permissions::from_mode(0o750)).unwrap();
    }

    fn staged(&self, content: &[u8]) -> Staged {
        let announced = Announced::named("DEMO_V01.00.00.00.bin", Some(content.len() as u64));
        let mut receiving = self.stage.receive(announced, Box::new(|_| {})).unwrap();
        receiving.write(content).unwrap();
        receiving.finish(None).unwrap()
    }

    fn checked(&self, content: &[u8]) -> Checked {
        let staged = self.staged(content);
        let summary = summary(&staged);
        Checked::for_test(staged, summary)
    }

    fn install(&self, content: &[u8]) -> Result<Swapped, Failure> {
        self.program.install(self.checked(content))
    }

    /// What is at the path.
    fn content(&self) -> Option<Vec<u8>> {
        fs::read(self.program.path()).ok()
    }

    /// What is in the staging area under `demo<suffix>`.
    fn beside(&self, suffix: &str) -> Option<Vec<u8>> {
        fs::read(self.program.beside(suffix)).ok()
    }

    /// Names in the staging area, sorted.
    fn area(&self) -> Vec<String> {
        let entries = fs::read_dir(self.directory.join(".uplift")).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn metadata(&self) -> Metadata {
        fs::metadata(self.program.path()).unwrap()
    }
}

fn temporary_path(temporary: &TempDir) -> PathBuf {
    temporary.path().to_owned()
}

fn summary(staged: &Staged) -> PackageSummary {
    PackageSummary {
        file_name: staged.file_name.clone().unwrap(),
        product: "DEMO".into(),
        version: "V01.00.00.00".parse().unwrap(),
        size: staged.size,
        file_digest: staged.digests.file,
        program_size: None,
        program_digest: staged.digests.program,
        trusted_key: None,
    }
}

fn digest(content: &[u8]) -> ProgramDigest {
    program_digest(content).unwrap()
}

/// Gives the program an attribute of a person's.
fn set_origin(program: &Path) {
    let set = xattr::set(program, "user.origin", b"factory");
    set.expect("the file system of temporary files must have user attributes; set TMPDIR to a directory on one that has");
}

#[test]
fn the_new_program_is_at_the_path_and_the_old_one_kept() {
    let payload = Payload::with_program(OLD);
    assert!(!payload.program.was_replaced());
    let swapped = payload.install(NEW).unwrap();
    assert!(payload.program.was_replaced());
    assert_eq!(swapped.means, Means::Exchange);
    assert_eq!(payload.program.digest().unwrap(), Some(swapped.summary.program_digest));
    assert_eq!(payload.content().unwrap(), NEW);
    assert_eq!(payload.beside(".previous").unwrap(), OLD);
    assert_eq!(payload.area(), ["demo.previous", "lock"]);
}

#[test]
fn durable_things_are_synced_before_what_hangs_on_them() {
    use crate::disk::faulty::FaultyDisk;
    let temporary = tempfile::tempdir().unwrap();
    let disk = Arc::new(FaultyDisk::sound());
    let payload = Payload::at(temporary_path(&temporary), disk.clone());
    payload.put(OLD);
    payload.install(NEW).unwrap();
    let expected = [
        "SetOwner",
        "SetMode",
        "Sync",
        "Rename",
        "SyncDirectory",
        "Exchange",
        "Rename",
        "SyncDirectory",
        "SyncDirectory",
    ];
    assert_eq!(disk.log(), expected);
}

#[test]
fn owner_mode_and_attributes_survive() {
    let payload = Payload::with_program(OLD);
    let path = payload.program.path();
    let root = nix::unistd::geteuid().is_root();
    if root {
        std::os::unix::fs::chown(path, Some(12345), Some(54321)).unwrap();
    }
    fs::set_permissions(path, Permissions::from_mode(0o4751)).unwrap();
    set_origin(path);
    let before = payload.metadata();
    payload.install(NEW).unwrap();
    let after = payload.metadata();
    assert_eq!(
        (after.uid(), after.gid(), after.mode()),
        (before.uid(), before.gid(), before.mode())
    );
    assert_eq!(xattr::get(path, "user.origin").unwrap().unwrap(), b"factory");
}

#[test]
fn file_capabilities_survive_although_the_owner_is_set() {
    if !nix::unistd::geteuid().is_root() {
        uplift_fixtures::untested::say("only root may set file capabilities");
        return;
    }
    let payload = Payload::with_program(OLD);
    let path = payload.program.path();
    std::os::unix::fs::chown(path, Some(12345), Some(54321)).unwrap();
    run(Command::new("/sbin/setcap").arg("cap_net_bind_service,cap_sys_nice=ep").arg(path));
    let before = xattr::get(path, "security.capability").unwrap().unwrap();
    payload.install(NEW).unwrap();
    assert_eq!(xattr::get(path, "security.capability").unwrap().unwrap(), before);
    let listed = Command::new("/sbin/getcap").arg(path).output().unwrap().stdout;
    assert!(String::from_utf8(listed).unwrap().contains("cap_net_bind_service,cap_sys_nice=ep"));
}

fn run(command: &mut Command) {
    let status = command.status();
    assert!(
        status.as_ref().is_ok_and(std::process::ExitStatus::success),
        "{command:?}: {status:?}; Debian has it in libcap2-bin"
    );
}

/// Ends the process that a test started.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn started(command: &mut Command) -> Child {
    crate::host::command::spawn(command, Instant::now() + Duration::from_secs(5)).unwrap()
}

#[test]
fn a_running_program_is_swapped_and_runs_on_and_the_new_one_starts() {
    let sleep = fs::read("/bin/sleep").unwrap();
    let payload = Payload::with_program(&sleep);
    let path = payload.program.path().to_owned();
    let running = Running(started(Command::new(&path).arg("60")));
    let executable = format!("/proc/{}/exe", running.0.id());
    let inode = fs::metadata(&executable).unwrap().ino();
    payload.install(&fs::read("/bin/true").unwrap()).unwrap();
    assert_eq!(fs::metadata(&executable).unwrap().ino(), inode);
    assert_ne!(payload.metadata().ino(), inode);
    assert!(started(&mut Command::new(&path)).wait().unwrap().success());
}

#[test]
fn a_first_installation_is_executable_and_its_rollback_removes_it() {
    let payload = Payload::new();
    assert_eq!(payload.program.digest().unwrap(), None);
    assert_eq!(payload.install(NEW).unwrap().means, Means::FirstInstallation);
    assert_eq!(payload.metadata().mode() & 0o7777, 0o755);
    assert_eq!(payload.program.revert(digest(NEW), None).unwrap(), Reverted::Removed);
    assert_eq!(payload.content(), None);
    assert_eq!(payload.beside(".failed").unwrap(), NEW);
    assert_eq!(
        payload.program.revert(digest(NEW), Some(digest(OLD))).unwrap(),
        Reverted::NotOnTrial
    );
}

#[test]
fn a_program_of_long_ago_does_not_come_back_by_the_rollback_of_a_first_installation() {
    let payload = Payload::with_program(b"older");
    payload.install(OLD).unwrap();
    fs::remove_file(payload.program.path()).unwrap();
    payload.install(NEW).unwrap();
    assert_eq!(payload.program.revert(digest(NEW), None).unwrap(), Reverted::Removed);
    assert_eq!(payload.content(), None);
}

#[test]
fn a_rollback_puts_the_old_program_back_and_does_nothing_the_second_time() {
    let payload = Payload::with_program(OLD);
    let before = payload.metadata();
    payload.install(NEW).unwrap();
    assert_eq!(payload.program.revert(digest(NEW), Some(digest(OLD))).unwrap(), Reverted::PutBack);
    let state = || {
        (
            payload.content(),
            payload.beside(".failed"),
            payload.beside(".previous"),
            payload.metadata().ino(),
        )
    };
    assert_eq!(state(), (Some(OLD.into()), Some(NEW.into()), None, before.ino()));
    assert_eq!(
        payload.program.revert(digest(NEW), Some(digest(OLD))).unwrap(),
        Reverted::NotOnTrial
    );
    assert_eq!(state(), (Some(OLD.into()), Some(NEW.into()), None, before.ino()));
}

#[test]
fn a_rollback_of_another_program_than_the_one_on_trial_does_nothing() {
    let payload = Payload::with_program(OLD);
    assert_eq!(
        payload.program.revert(digest(NEW), Some(digest(OLD))).unwrap(),
        Reverted::NotOnTrial
    );
    payload.install(NEW).unwrap();
    assert_eq!(
        payload.program.revert(digest(OLD), Some(digest(b"older"))).unwrap(),
        Reverted::NotOnTrial
    );
    assert_eq!(payload.content().unwrap(), NEW);
}

#[test]
fn a_rollback_without_a_program_before_is_a_failure_and_removes_nothing() {
    let payload = Payload::with_program(OLD);
    payload.install(NEW).unwrap();
    fs::remove_file(payload.program.beside(".previous")).unwrap();
    let failure = payload.program.revert(digest(NEW), Some(digest(OLD))).unwrap_err();
    assert!(failure.sentence.contains("no previous program"), "{failure}");
    assert_eq!(payload.content().unwrap(), NEW);
}

/// As `install --force` of the version that runs does: nothing leads back, and nobody is told that
/// it did.
#[test]
fn a_program_that_replaced_its_like_is_not_put_back() {
    let payload = Payload::with_program(OLD);
    payload.install(OLD).unwrap();
    let failure = payload.program.revert(digest(OLD), Some(digest(OLD))).unwrap_err();
    assert!(failure.sentence.contains("no previous program"), "{failure}");
    assert_eq!((payload.content().unwrap(), payload.beside(".failed")), (OLD.into(), None));
}

/// A power cut after the exchange: the old program has the name under which the new one came.
fn cut_off_after_the_exchange() -> Payload {
    let payload = Payload::with_program(b"older");
    payload.install(OLD).unwrap();
    payload.install(NEW).unwrap();
    fs::rename(payload.program.beside(".previous"), payload.program.next(digest(NEW))).unwrap();
    payload
}

#[test]
fn a_swap_that_was_cut_off_after_its_exchange_is_completed_when_the_program_is_held() {
    let payload = cut_off_after_the_exchange();
    assert_eq!(
        payload.program.previous().unwrap(),
        Some(digest(OLD)),
        "and not the one before that"
    );
    drop(payload.program.hold(digest(NEW)).unwrap());
    assert_eq!(payload.area(), ["demo.older", "demo.previous", "lock"]);
    assert_eq!(payload.program.previous().unwrap(), Some(digest(OLD)));
    assert_eq!(payload.program.revert(digest(NEW), Some(digest(OLD))).unwrap(), Reverted::PutBack);
    assert_eq!(payload.content().unwrap(), OLD);
}

#[test]
fn only_the_expected_program_is_held() {
    let payload = Payload::with_program(OLD);
    payload.install(NEW).unwrap();
    drop(payload.program.hold(digest(NEW)).unwrap());
    payload.put(b"somebody else's");
    let failure = payload.program.hold(digest(NEW)).unwrap_err();
    assert_eq!(
        (failure.kind, failure.sentence.contains("not the expected one")),
        (FailureKind::InstallFailed, true),
        "{failure}"
    );
    drop(payload.program.hold(digest(b"somebody else's")).unwrap());
}

/// A directory is opened like a file and can't be read, as a file on a bad block.
#[test]
fn a_program_that_can_not_be_read_gives_way_to_the_one_that_was_there_before_and_to_no_other() {
    for (cut_off, payload) in
        [(true, cut_off_after_the_exchange()), (false, Payload::with_program(OLD))]
    {
        if !cut_off {
            payload.install(NEW).unwrap();
        }
        fs::remove_file(payload.program.path()).unwrap();
        fs::create_dir(payload.program.path()).unwrap();
        let failure = payload.program.revert(digest(NEW), Some(digest(b"another"))).unwrap_err();
        assert!(failure.sentence.contains("reading the program"), "{failure}");
        assert_eq!(
            payload.program.revert(digest(NEW), Some(digest(OLD))).unwrap(),
            Reverted::PutBack
        );
        assert_eq!(payload.content().unwrap(), OLD);
    }
}

#[test]
fn what_a_swap_left_that_was_cut_off_before_its_exchange_never_comes_to_the_path() {
    let payload = Payload::with_program(b"older");
    payload.install(OLD).unwrap();
    File::create(payload.program.next(digest(NEW))).unwrap().write_all(NEW).unwrap();
    assert_eq!(
        payload.program.revert(digest(OLD), Some(digest(b"older"))).unwrap(),
        Reverted::PutBack
    );
    assert_eq!(payload.content().unwrap(), b"older");
    payload.install(OLD).unwrap();
    assert_eq!(payload.area(), ["demo.failed", "demo.previous", "lock"]);
}

#[test]
fn each_swap_keeps_the_program_that_it_replaced() {
    let payload = Payload::with_program(b"1");
    for (new, old) in [(b"2", b"1"), (b"3", b"2"), (b"3", b"3"), (b"4", b"3")] {
        payload.install(new).unwrap();
        assert_eq!(
            (payload.content().unwrap(), payload.beside(".previous").unwrap()),
            (new.to_vec(), old.to_vec())
        );
    }
}

#[test]
fn a_symbolic_link_or_a_directory_at_the_path_is_refused_with_a_reason() {
    let payload = Payload::new();
    let path = payload.program.path();
    let elsewhere = payload.directory.join("elsewhere");
    File::create(&elsewhere).unwrap();
    symlink(&elsewhere, path).unwrap();
    let failure = payload.program.examine().unwrap_err();
    assert!(
        failure.sentence.contains("symbolic link") && failure.sentence.ends_with("elsewhere"),
        "{failure}"
    );
    assert_eq!(payload.install(NEW).unwrap_err(), failure);
    assert_eq!(fs::read_link(path).unwrap(), elsewhere);
    fs::remove_file(&elsewhere).unwrap();
    let sentence = payload.program.examine().unwrap_err().sentence;
    assert!(sentence.ends_with("demo is a symbolic link to nothing"), "{sentence}");
    fs::remove_file(path).unwrap();
    nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRUSR).unwrap();
    let sentence = payload.program.examine().unwrap_err().sentence;
    assert!(sentence.ends_with("demo is not a regular file"), "{sentence}");
    fs::remove_file(path).unwrap();
    fs::create_dir(path).unwrap();
    let failure = payload.install(NEW).unwrap_err();
    assert_eq!(failure.kind, FailureKind::InstallFailed);
    assert!(failure.sentence.ends_with("demo is a directory, not a program"), "{failure}");
    assert!(path.is_dir());
    assert_eq!(payload.area(), ["lock"]);
}

#[test]
fn a_program_that_can_not_be_opened_is_no_missing_one() {
    let payload = Payload::new();
    assert_eq!(payload.program.digest().unwrap(), None);
    symlink("demo", payload.program.path()).unwrap(); // to itself
    assert!(payload.program.digest().is_err());
}

#[test]
fn a_path_that_can_not_be_looked_at_is_no_free_one() {
    let payload = Payload::with_program(OLD);
    let below_a_file = Program::new(payload.program.path().join("demo"));
    let failure = below_a_file.examine().unwrap_err();
    assert!(failure.sentence.contains("looking at the program's path"), "{failure}");
}

#[test]
fn another_file_under_the_staged_name_is_not_installed() {
    let payload = Payload::with_program(OLD);
    let checked = payload.checked(NEW);
    let staged = payload.area().into_iter().find(|name| name.starts_with("incoming-")).unwrap();
    let staged = payload.directory.join(".uplift").join(staged);
    fs::remove_file(&staged).unwrap();
    File::create(&staged).unwrap().write_all(b"the program of a thief!").unwrap();
    let failure = payload.program.install(checked).unwrap_err();
    assert_eq!(failure.kind, FailureKind::InstallFailed);
    assert_eq!(payload.content().unwrap(), OLD);
}

#[test]
fn whoever_holds_the_lock_is_waited_for_but_not_for_ever() {
    let payload = Payload::with_program(OLD);
    payload.install(NEW).unwrap();
    let path = payload.directory.join(".uplift/lock");
    let held = Lock::acquire(&path).unwrap();
    assert_eq!(Lock::acquire_within(Duration::ZERO, &path).unwrap_err().kind, FailureKind::Busy);
    let waiting = std::thread::spawn(move || Lock::acquire(&path));
    drop(held);
    waiting.join().unwrap().unwrap();
}

#[test]
fn the_known_digest_is_that_of_what_lies_there_now() {
    let payload = Payload::new();
    assert_eq!(payload.program.known_digest().unwrap(), None);
    payload.put(OLD);
    let old = payload.program.known_digest().unwrap();
    assert_eq!(old, payload.program.digest().unwrap());
    assert_eq!(payload.program.known_digest().unwrap(), old);
    payload.install(NEW).unwrap();
    let new = payload.program.known_digest().unwrap();
    assert!(new.is_some() && new != old);
    payload.put(OLD);
    assert_eq!(payload.program.known_digest().unwrap(), old);
}

/// Between proof and use: what is written over the program in place, and made to look as old as
/// before, is read again, and so is whatever was read before a restart.
#[test]
fn what_was_proved_is_read_again_after_any_change_and_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("program");
    File::create(&path).unwrap().write_all(b"one").unwrap();
    let program = Program::new(&path);
    let one = program.proved_digest().unwrap().unwrap();
    let times = fs::metadata(&path).unwrap().modified().unwrap();
    let mut file = File::options().write(true).open(&path).unwrap();
    file.write_all(b"two").unwrap();
    file.set_modified(times).unwrap();
    let two = program.proved_digest().unwrap().unwrap();
    assert_ne!(two, one);
    let now = stamp(&fs::metadata(&path).unwrap());
    program.forget_reading();
    assert_eq!(program.proved_digest_of(now), None);
    assert_eq!(program.digest().unwrap(), Some(two));
    assert_eq!(program.proved_digest_of(now), None, "it was read to say what is there");
    let other = directory.path().join("other");
    File::create(&other).unwrap().write_all(b"one").unwrap();
    fs::rename(&other, &path).unwrap();
    assert_eq!(program.proved_digest().unwrap(), Some(one));
}
