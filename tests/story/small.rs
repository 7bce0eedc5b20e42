//! A small computer: what the daemon does not make it do.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use uplift::model::{Installed, Outcome};

use crate::world::payload::{NEW, OLD, Payload, Transfer};
use crate::world::servers::vsftpd::Vsftpd;
use crate::world::watched::Watched as _;

fn program(payload: &Payload) -> Installed {
    payload.status().unwrap().components.remove(0)
}

/// As a program that takes long to read: who reads a pipe waits for its writer.
fn make_unreadable_for_now(program: &Path) {
    fs::remove_file(program).unwrap();
    assert!(Command::new("mkfifo").arg(program).status().unwrap().success());
}

#[test]
fn a_daemon_is_ready_before_it_has_read_the_program_and_tells_no_version_meanwhile() {
    let mut payload = Payload::setup().link("921600", None).stopped();
    make_unreadable_for_now(&payload.program());
    payload.start_daemon().unwrap();
    let seen = program(&payload);
    assert!(seen.looking && seen.version.is_none() && seen.digest.is_none(), "{seen:?}");
    let (code, text) = payload.uplift(&["status"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("looks at it still") && !text.contains("no program"), "{text}");
    let (_, text) = payload.uplift(&["check", payload.new_firmware().to_str().unwrap()]);
    assert!(text.contains("looks at the program still"), "{text}");
    // An upgrade hangs on what is installed, and waits.
    let mut install = payload.install();
    let status = payload.status().unwrap();
    assert!(status.components[0].looking && status.upgrade.is_none(), "{status:?}");
    assert!(install.try_wait().unwrap().is_none());
    // The daemon has the pipe open by then; what lies at the path when it comes to the upgrade is a
    // program again.
    let mut pipe = fs::File::options().write(true).open(payload.program()).unwrap();
    fs::remove_file(payload.program()).unwrap();
    payload.install_by_hand(OLD.parse().unwrap()).unwrap();
    pipe.write_all(b"all of it").unwrap();
    drop(pipe);
    payload.wait_for_restart_request().unwrap();
    assert_eq!(
        payload.status().unwrap().upgrade.unwrap().package.unwrap().version.to_string(),
        NEW
    );
}

/// Somebody has left ten thousand files: firmware of this product and of others, and what is none.
fn fill(area: &Path) {
    for number in 0..10_000 {
        let name = match number % 3 {
            0 => format!("PSDK_APPALIAS_V01.00.{:02}.{:02}.bin", number / 100, number % 100),
            1 => format!("OTHER_V01.00.{:02}.{:02}.bin", number / 100, number % 100),
            _ => format!("{number}.log"),
        };
        fs::write(area.join(name), "left").unwrap();
    }
}

/// An upgrade over FTP by a host that comes upon a full upload area.
fn is_upgraded_over_ftp(payload: &mut Payload) {
    let aircraft = payload.aircraft(Transfer::Ftp, &payload.new_firmware(), &[]);
    if let Err(error) = payload.wait_for_restart_request() {
        panic!("{error:#}\n{}", aircraft.verdict());
    }
    payload.reboot();
    let verdict = aircraft.verdict();
    assert_eq!(
        (verdict["result"].as_str(), verdict["transfer"].as_str()),
        (Some("success"), Some("ftp")),
        "{verdict}"
    );
}

#[test]
fn ten_thousand_files_in_the_upload_area_of_vsftpd_keep_no_host_from_ftp() {
    let server = Vsftpd::start();
    fill(&server.home());
    let mut payload = Payload::setup().link("921600", Some(server.address())).start();
    is_upgraded_over_ftp(&mut payload);
    let left = fs::read_dir(server.home()).unwrap().count();
    assert!(left < 10_000, "they are deleted in pieces: {left}");
    let log = fs::read_to_string(payload.log("daemon")).unwrap();
    assert!(log.contains("files lay in the upload area"), "{log}");
}

#[test]
fn ten_thousand_files_in_the_upload_area_of_its_own_server_keep_no_host_from_ftp() {
    let mut payload = Payload::setup().link("921600", None).ftp_server(true).start();
    fill(&payload.root().join("upgrade"));
    is_upgraded_over_ftp(&mut payload);
    let left = fs::read_dir(payload.root().join("upgrade")).unwrap().count();
    assert!(left < 10_000, "they are deleted in pieces: {left}");
    let log = fs::read_to_string(payload.log("ftp-server")).unwrap();
    assert!(log.contains("files too many are in the upload area"), "{log}");
}

/// Bytes of a program that is large beside all else that the daemon reads.
const LARGE: u64 = 32 << 20;

/// Bytes that the daemon has read by now, of files, pipes and sockets (of these as far as it does not
/// `recv`).
fn read_by_daemon(payload: &Payload) -> f64 {
    let pid = payload.daemon_pid().unwrap();
    let counts = fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
    counts.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap().parse().unwrap()
}

/// The daemon remembers what it has read only where every change is bound to show.
fn remembers(payload: &Payload) -> bool {
    let kind = Command::new("stat").args(["-f", "-c", "%T"]).arg(payload.root()).output().unwrap();
    let kind = String::from_utf8(kind.stdout).unwrap();
    let known = ["ext2/ext3", "xfs", "btrfs", "f2fs"].contains(&kind.trim());
    if !known {
        uplift_fixtures::untested::say("the temporary directory is on another file system");
    }
    known
}

/// How often all of a program is read, by what the daemon has read.
fn passes(bytes: f64) -> f64 {
    bytes / LARGE as f64
}

/// One pass as the file comes, and one that is the evidence; the rest is what systemd says and what
/// the configuration is.
#[test]
fn behind_a_restart_of_the_machine_the_program_is_read_once() {
    let mut payload = Payload::setup().start();
    if !remembers(&payload) {
        return;
    }
    let firmware = payload.firmware_of(NEW, LARGE);
    let before = read_by_daemon(&payload);
    let _install = payload.install_file(&firmware);
    payload.wait_for_restart_request().unwrap();
    let received = passes(read_by_daemon(&payload) - before);
    payload.reboot();
    let status = payload.wait_until_settled().unwrap();
    assert_eq!(status.last.unwrap().outcome, Outcome::Succeeded);
    let proved = passes(read_by_daemon(&payload));
    assert!(received < 1.02 && (1.0..1.03).contains(&proved), "{received} and {proved}");
}

#[test]
fn behind_a_restart_of_its_unit_the_program_is_read_once() {
    let payload = Payload::with_trial("restart = \"unit\"", "window = \"500ms\"");
    if !remembers(&payload) {
        return;
    }
    let firmware = payload.firmware_of(NEW, LARGE);
    let before = read_by_daemon(&payload);
    let install = payload.install_file(&firmware);
    assert!(install.wait_with_output().unwrap().status.success());
    assert_eq!(payload.last_report().outcome, Outcome::Succeeded);
    let read = passes(read_by_daemon(&payload) - before);
    assert!((1.0..2.05).contains(&read), "{read}");
}
