//! Every system call of whole upgrades is one that the units' filters let in: daemon, upload server
//! and rescue under `strace`, and the filters as systemd expands them. What a filter leaves out
//! fails, and an upgrade might fail of it on a payload alone.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use uplift_sim::ports::free_address;

use crate::world::payload::{NEW, OLD, Payload, Transfer};
use crate::world::running::Running;

/// Generous: a loaded machine is no failure.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// The tracer is a grandchild, so that what is ended is the traced program itself; it follows
/// children, and appends.
const TRACER: [&str; 9] = ["strace", "-D", "-f", "-q", "-A", "-s", "0", "-e", "signal=none"];

/// A filter, or one of systemd's groups of calls, with all that is in it.
fn expanded(name: &str) -> BTreeSet<String> {
    if !name.starts_with('@') {
        return [name.to_owned()].into();
    }
    let output = Command::new("systemd-analyze")
        .args(["syscall-filter", name])
        .output()
        .expect("`tests/run` installs systemd");
    assert!(output.status.success(), "{name}: {output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let words = text
        .lines()
        .skip(1)
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    words.flat_map(expanded).collect()
}

/// What a unit lets in, by its lines in their order.
fn allowed(unit: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd").join(unit))
        .unwrap();
    // systemd adds what every program needs.
    let mut allowed = expanded("@default");
    for line in text.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")) {
        let (taken_away, words) =
            line.strip_prefix('~').map_or((false, line), |words| (true, words));
        for call in words.split_whitespace().flat_map(expanded) {
            if taken_away {
                allowed.remove(&call);
            } else {
                allowed.insert(call);
            }
        }
    }
    allowed
}

/// Each call of a trace, whether it succeeded or not.
fn called(trace: &Path) -> BTreeSet<String> {
    wait_for("the end of the tracer", || !is_traced_to(trace));
    let text = fs::read_to_string(trace).unwrap();
    let name = |line: &str| {
        let call = line.split_once(' ')?.1.trim_start();
        let name = call.strip_prefix("<... ").unwrap_or(call).split(['(', ' ']).next()?;
        name.chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
            .then(|| name.to_owned())
    };
    text.lines().filter_map(name).collect()
}

/// Whether a tracer still writes to this file.
fn is_traced_to(trace: &Path) -> bool {
    let words =
        |entry: fs::DirEntry| fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
    fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .map(words)
        .any(|words| words.starts_with("strace") && words.contains(trace.to_str().unwrap()))
}

#[track_caller]
fn assert_allowed(unit: &str, trace: &Path, evidence: &[&str]) {
    let (allowed, called) = (allowed(unit), called(trace));
    let forbidden: Vec<&String> = called.difference(&allowed).collect();
    assert!(forbidden.is_empty(), "{unit} forbids {forbidden:?}");
    for call in evidence {
        assert!(called.contains(*call), "{call} is missing in the trace for {unit}: {called:?}");
    }
}

fn traced(trace: &Path) -> Vec<&str> {
    [&TRACER[..], &["-o", trace.to_str().unwrap()]].concat()
}

#[track_caller]
fn wait_for(what: &str, mut is_there: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_there() {
        assert!(Instant::now() < end, "{what} did not come");
        sleep(LOOK_INTERVAL);
    }
}

#[test]
fn daemon_and_upload_server_in_an_upgrade_whose_upload_goes_straight_through() {
    upgrade_over_ftp(
        "uplift.toml",
        &["renameat2", "fchown", "fchmod", "statfs", "flock", "connect", "ioctl", "execve"],
        &["accept4", "recvfrom", "connect", "sendto"],
    );
}

#[test]
fn daemon_and_upload_server_in_an_upgrade_whose_upload_is_pulled() {
    upgrade_over_ftp(
        "elsewhere.toml",
        &["renameat2", "fchown", "fchmod", "fallocate", "flock", "connect", "ioctl", "execve"],
        &["accept4", "recvfrom", "renameat", "unlinkat", "fstatfs"],
    );
}

/// An upgrade by an upload server of this configuration: `elsewhere.toml` is that of a daemon which
/// is not there. The calls that have to be seen of the daemon and of the server.
fn upgrade_over_ftp(server_config: &str, of_daemon: &[&str], of_server: &[&str]) {
    let server = free_address().unwrap();
    let mut payload = Payload::setup().link("115200", Some(server)).stopped();
    let root = payload.root().to_owned();
    let firmware = payload.firmware(NEW.parse().unwrap(), Some(600_000)).unwrap();
    let (daemon, ftp) = (root.join("daemon.trace"), root.join("ftp.trace"));
    let text = std::fs::read_to_string(payload.config()).unwrap();
    let elsewhere = text.replace("run/control.sock", "run/nowhere/control.sock");
    std::fs::write(root.join("elsewhere.toml"), elsewhere).unwrap();
    let words = traced(&ftp);
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).arg("--").arg(env!("CARGO_BIN_EXE_uplift"));
    let command = command.args(["ftp-server", "--config"]).arg(root.join(server_config));
    let server_process = Running::start(command.stdin(Stdio::null()).stderr(Stdio::null()));
    wait_for("the upload server", || TcpStream::connect(server).is_ok());
    payload.wrap_daemon(&traced(&daemon));
    payload.start_daemon().unwrap();
    let aircraft = payload.aircraft(Transfer::Ftp, &firmware, &[]);
    payload.restart_when_asked();
    aircraft.hears("success");
    payload.kill_daemon();
    drop(server_process);
    assert_allowed("uplift.service", &daemon, of_daemon);
    assert_allowed("uplift-ftp.service", &ftp, of_server);
}

/// A trial that nobody concludes, seen at the boot and put back after the deadline.
#[test]
fn the_rescue_in_a_rollback() {
    let mut payload = Payload::setup().stopped();
    let run = payload.root().join("run");
    let firmware = payload.firmware(NEW.parse().unwrap(), None).unwrap();
    payload.start_daemon().unwrap();
    let _client = payload.install_file(&firmware);
    payload.wait_for_restart_request().unwrap();
    payload.kill_daemon();
    payload.boots(2);
    // A systemd that does as it is told.
    symlink("/bin/true", run.join("systemctl")).unwrap();
    let path = format!("{}:{}", run.display(), std::env::var("PATH").unwrap());
    let rescue = |call: &str, seconds: u64| -> PathBuf {
        let trace = run.join(format!("{call}.trace"));
        payload.clock(seconds);
        let mut command = payload.rescue(&[&traced(&trace)[..], &["--"]].concat(), call);
        let output = command.env("PATH", &path).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        trace
    };
    let (boot, deadline) = (rescue("boot", 9), rescue("deadline", 9999));
    assert_eq!(payload.reported_version().unwrap(), OLD);
    assert_allowed("uplift-rescue.service", &boot, &["fsync", "rename"]);
    assert_allowed(
        "uplift-rescue-deadline.service",
        &deadline,
        &["renameat2", "flock", "fsync", "execve"],
    );
}

#[test]
fn a_filter_is_read_as_systemd_reads_it() {
    let daemon = allowed("uplift.service");
    let has = |call: &str| daemon.contains(call);
    assert!(has("read") && has("renameat2") && has("fchown") && has("execve"));
    assert!(
        !has("setuid") && !has("mount") && !has("ptrace") && !has("setpriority") && !has("reboot")
    );
    assert!(!allowed("uplift-ftp.service").contains("fchown"));
}
