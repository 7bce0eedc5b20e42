//! The swap as whoever owns the payload sees it: through the real daemon, on real file systems.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::Path;
use std::process::Command;

use uplift::model::{FailureKind, Outcome, Report};

use crate::world::mounted::Mounted;
use crate::world::payload::Payload;
use crate::world::running::Running;

/// Nothing is installed.
fn empty_payload() -> Payload {
    Payload::setup().without_program().stopped()
}

fn payload_with_program() -> Payload {
    Payload::setup().stopped()
}

/// Upgrades to V02, restart included.
fn upgrade(payload: &mut Payload) -> Report {
    payload.start_daemon().unwrap();
    let firmware = payload.firmware("V02.00.00.00".parse().unwrap(), None).unwrap();
    let output = payload.through_a_restart(&["install", firmware.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(payload.reported_version().unwrap(), "V02.00.00.00");
    payload.last_report()
}

/// Tries to install V02, `size` bytes long, which must fail; returns the report and what stands on
/// standard error.
fn fail_to_upgrade(payload: &mut Payload, size: Option<u64>) -> (Report, String) {
    payload.start_daemon().unwrap();
    let firmware = payload.firmware("V02.00.00.00".parse().unwrap(), size).unwrap();
    let output = payload.command(&["install", firmware.to_str().unwrap()]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    (payload.last_report(), String::from_utf8(output.stderr).unwrap())
}

fn run(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}; tests/run installs what tests need"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Ends the test without the capability of this number (capability.h).
fn need(capability: u32) {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
    let has = u64::from_str_radix(effective.trim(), 16).unwrap() & 1 << capability != 0;
    assert!(
        has,
        "this test needs capability {capability}, which root has; `tests/run` runs it as root"
    );
}

const CAP_SYS_ADMIN: u32 = 21;
const CAP_SETFCAP: u32 = 31;

#[test]
fn owner_mode_and_capabilities_of_the_program_survive() {
    need(CAP_SETFCAP);
    let mut payload = payload_with_program();
    let program = payload.program();
    chown(&program, Some(12345), Some(54321)).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    run(Command::new("/sbin/setcap").arg("cap_net_bind_service=ep").arg(&program));
    let before = fs::metadata(&program).unwrap();
    assert_eq!(upgrade(&mut payload).outcome, Outcome::Succeeded);
    let after = fs::metadata(&program).unwrap();
    assert_ne!(before.ino(), after.ino());
    assert_eq!(
        (before.uid(), before.gid(), before.mode()),
        (after.uid(), after.gid(), after.mode())
    );
    let capabilities = run(Command::new("/sbin/getcap").arg(&program));
    assert!(capabilities.contains("cap_net_bind_service=ep"), "{capabilities}");
}

/// What `getfacl`, `lsattr` and `ls` show of a file, but for its name.
fn access(path: &Path) -> (String, String, u32, u32, u32) {
    let lists = run(Command::new("getfacl")
        .args(["--omit-header", "--numeric", "--absolute-names"])
        .arg(path));
    let flags =
        run(Command::new("lsattr").arg("-d").arg(path)).split(' ').next().unwrap().to_owned();
    let metadata = fs::metadata(path).unwrap();
    (lists, flags, metadata.uid(), metadata.gid(), metadata.mode() & 0o7777)
}

/// Has the directory give to whatever is made in it an access list, its group, and flags.
fn make_generous(directory: &Path) {
    chown(directory, None, Some(54321)).unwrap();
    fs::set_permissions(directory, fs::Permissions::from_mode(0o2755)).unwrap();
    run(Command::new("setfacl")
        .args(["--default", "--modify", "user:12345:rwx,group:54321:rwx,mask::rwx"])
        .arg(directory));
    run(Command::new("chattr").arg("+dA").arg(directory));
    let made = directory.join("made");
    fs::File::create(&made).unwrap();
    let (lists, flags, _, group, _) = access(&made);
    assert!(
        lists.contains("user:12345:")
            && flags.contains('d')
            && flags.contains('A')
            && group == 54321,
        "{lists} {flags} {group}"
    );
    fs::remove_file(made).unwrap();
}

#[test]
fn a_directory_gives_a_new_program_nothing_that_the_old_one_did_not_have() {
    need(CAP_SYS_ADMIN);
    for list in ["", "user:23456:rx"] {
        let mut payload = payload_with_program();
        let program = payload.program();
        if !list.is_empty() {
            run(Command::new("setfacl").args(["--modify", list]).arg(&program));
            run(Command::new("chattr").arg("+S").arg(&program));
        }
        let before = access(&program);
        make_generous(program.parent().unwrap());
        upgrade(&mut payload);
        assert_eq!(access(&program), before);
    }
}

#[test]
fn a_first_installation_takes_nothing_from_its_directory() {
    need(CAP_SYS_ADMIN);
    let mut payload = empty_payload();
    let program = payload.program();
    make_generous(program.parent().unwrap());
    upgrade(&mut payload);
    let (lists, flags, user, group, mode) = access(&program);
    assert_eq!(
        (lists.trim(), user, group, mode),
        ("user::rwx\ngroup::r-x\nother::r-x", 0, 0, 0o755)
    );
    assert!(!flags.contains('d') && !flags.contains('A'), "{flags}");
}

#[test]
fn a_program_that_runs_is_replaced_and_runs_on_until_it_is_restarted() {
    let mut payload = payload_with_program();
    let old = fs::metadata(payload.program()).unwrap().ino();
    let mut running = Running::start(&mut Command::new(payload.program()));
    upgrade(&mut payload);
    assert!(running.try_wait().unwrap().is_none(), "the old program was disturbed");
    assert_eq!(fs::metadata(format!("/proc/{}/exe", running.id())).unwrap().ino(), old);
}

#[test]
fn a_first_installation_makes_a_program_that_all_may_execute() {
    let mut payload = empty_payload();
    assert_eq!(upgrade(&mut payload).outcome, Outcome::Succeeded);
    assert_eq!(fs::metadata(payload.program()).unwrap().mode() & 0o7777, 0o755);
}

#[test]
fn a_read_only_program_directory_is_install_failed_with_a_sentence_that_names_it() {
    need(CAP_SYS_ADMIN);
    let mut payload = payload_with_program();
    let directory = payload.program().parent().unwrap().to_owned();
    let mounted = Mounted::on(&directory, &["--bind", directory.to_str().unwrap()]);
    mounted.remount("ro");
    let (report, message) = fail_to_upgrade(&mut payload, None);
    assert_eq!(report.failure.unwrap().kind, FailureKind::InstallFailed);
    assert!(message.contains("bin/.uplift can't be written: Read-only file system"), "{message}");
    assert_eq!(payload.reported_version().unwrap(), "V01.00.00.00");
}

#[test]
fn a_full_disk_is_no_space_and_leaves_nothing_of_the_file() {
    need(CAP_SYS_ADMIN);
    let mut payload = empty_payload();
    let directory = payload.program().parent().unwrap().to_owned();
    let _mounted = Mounted::on(&directory, &["-t", "tmpfs", "-o", "size=4m", "tmpfs"]);
    payload.install_by_hand("V01.00.00.00".parse().unwrap()).unwrap();
    let (report, message) = fail_to_upgrade(&mut payload, Some(5_000_000));
    assert_eq!(report.failure.unwrap().kind, FailureKind::NoSpace);
    assert!(message.contains("the file has 5000000 bytes"), "{message}");
    assert_eq!(fs::read_dir(directory.join(".uplift")).unwrap().count(), 0);
    assert_eq!(payload.reported_version().unwrap(), "V01.00.00.00");
}

/// Where the machine restarts, and takes program and state with it, the old program would run
/// again, and nobody would know.
#[test]
fn what_no_restart_of_the_machine_would_leave_is_not_installed() {
    need(CAP_SYS_ADMIN);
    let mut payload = empty_payload();
    let (directory, state) = (payload.program().parent().unwrap().to_owned(), payload.state());
    fs::create_dir_all(&state).unwrap();
    let _mounted =
        [&directory, &state].map(|directory| Mounted::on(directory, &["-t", "tmpfs", "tmpfs"]));
    payload.install_by_hand("V01.00.00.00".parse().unwrap()).unwrap();
    payload.configure("restart = \"reboot\"", "").unwrap();
    // This machine's own boot id is the default.
    payload.edit_config(|text| {
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("boot_id")).collect();
        lines.join("\n")
    });
    let (report, message) = fail_to_upgrade(&mut payload, None);
    assert_eq!(report.failure.unwrap().kind, FailureKind::InstallFailed);
    assert!(
        message.contains("neither the program nor the state outlives the restart of the machine")
            && message.contains("hint: "),
        "{message}"
    );
    assert_eq!(payload.reported_version().unwrap(), "V01.00.00.00");
    let notices = String::from_utf8(payload.command(&["status"]).output().unwrap().stdout).unwrap();
    assert!(
        notices.contains("neither the program nor the state outlives"),
        "told before anybody sends a file: {notices}"
    );
}

#[test]
fn an_immutable_program_is_refused_before_anything_is_received() {
    let mut payload = payload_with_program();
    let program = payload.program();
    run(Command::new("chattr").arg("+i").arg(&program));
    let (report, message) = fail_to_upgrade(&mut payload, None);
    run(Command::new("chattr").arg("-i").arg(&program));
    assert_eq!(report.failure.unwrap().kind, FailureKind::InstallFailed);
    assert!(
        message.contains("bin/payload is immutable") && message.contains("hint: `lsattr"),
        "{message}"
    );
    assert_eq!(report.package, None, "nothing was received");
}

#[test]
fn a_symbolic_link_at_the_path_is_refused_and_stays() {
    let mut payload = payload_with_program();
    let (program, elsewhere) = (payload.program(), payload.root().join("elsewhere"));
    fs::rename(&program, &elsewhere).unwrap();
    symlink(&elsewhere, &program).unwrap();
    let (report, message) = fail_to_upgrade(&mut payload, None);
    assert_eq!(report.failure.unwrap().kind, FailureKind::InstallFailed);
    assert!(
        message.contains("is a symbolic link; give `path` in its [component.NAME] section as"),
        "{message}"
    );
    assert_eq!(fs::read_link(&program).unwrap(), elsewhere);
}
