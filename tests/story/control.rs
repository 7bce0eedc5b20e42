//! The control socket and clients that behave badly.

use std::fs::Permissions;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::world::local_socket::{self, PATIENCE, answer};
use crate::world::payload::Payload;
use crate::world::watched::Watched as _;
use uplift::model::{Failure, FailureKind, Outcome, Phase, Report, Request, UpgradeId};

const REQUEST: &str =
    "{\"request\":\"install\",\"file_name\":\"PSDK_APPALIAS_V02.00.00.00.bin\",\"size\":100000}\n";

fn payload() -> Payload {
    Payload::setup().start()
}

fn connect(payload: &Payload) -> UnixStream {
    local_socket::connect(&payload.control_socket())
}

fn ask(payload: &Payload, bytes: &[u8]) -> UnixStream {
    local_socket::say(&payload.control_socket(), bytes)
}

/// The upgrade that a bad client began is over, and the next one works.
fn assert_free(mut payload: Payload, what: &str) {
    let status =
        payload.wait_for_status(|status| status.phase == Phase::Idle && status.last.is_some());
    assert!(status.is_ok(), "{what}: the upgrade goes on without anybody: {:?}", payload.status());
    let mut client = payload.install();
    payload.wait_for_restart_request().unwrap_or_else(|error| panic!("{what}: {error:#}"));
    payload.reboot();
    assert!(client.wait().unwrap().success(), "{what}");
}

#[test]
fn bytes_that_nobody_asked_for_end_the_upgrade() {
    let payload = payload();
    let stream = ask(&payload, format!("{REQUEST}too early").as_bytes());
    let mut rest = String::new();
    BufReader::new(&stream).read_to_string(&mut rest).unwrap();
    assert!(rest.contains("\"failure\""), "{rest}");
    assert_free(payload, "with bytes that nobody asked for");
}

#[test]
fn requests_that_are_none() {
    let payload = payload();
    let deep = format!("{{\"request\":{}1{}}}\n", "[".repeat(1500), "]".repeat(1500));
    for request in ["\0\0\0\n", &deep] {
        let answer = answer(&ask(&payload, request.as_bytes()));
        assert_eq!(answer["answer"], "failure", "{answer}");
    }
    // A line without an end is not collected for ever.
    let mut stream = connect(&payload);
    let mut closed = false;
    for _ in 0..100 {
        closed |= stream.write_all(&[b'x'; 10_000]).is_err();
    }
    assert!(
        closed || stream.read(&mut [0]).is_ok_and(|length| length == 0),
        "a megabyte was taken for a request"
    );
    let output = payload.command(&["status"]).output().unwrap();
    assert!(output.status.success());
}

#[test]
fn clients_that_say_nothing_keep_nobody_out() {
    let payload = payload();
    let mut silent: Vec<UnixStream> = (0..40).map(|_| connect(&payload)).collect();
    let watching: Vec<UnixStream> =
        (0..40).map(|_| ask(&payload, b"{\"request\":\"watch\"}\n")).collect();
    let began = Instant::now();
    let output = payload.command(&["status", "--json"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(began.elapsed() < PATIENCE, "it took {:?}", began.elapsed());
    // Those who waited longest made room; the others are still served.
    let last = silent.last_mut().unwrap();
    let _ = last.write_all(b"{\"request\":\"status\"}\n");
    assert_eq!(answer(watching.last().unwrap())["answer"], "status");
}

#[test]
fn an_upgrade_at_the_shell_is_not_sent_away_to_make_room() {
    let mut payload = payload();
    let first = ask(&payload, REQUEST.as_bytes());
    assert_eq!(answer(&first)["answer"], "send");
    let _crowd: Vec<UnixStream> = (0..60).map(|_| connect(&payload)).collect();
    assert!(payload.command(&["status"]).output().unwrap().status.success());
    let firmware = payload.firmware_of("V02.00.00.00", 100_000);
    (&first).write_all(&std::fs::read(firmware).unwrap()).unwrap();
    payload.wait_for_restart_request().unwrap();
    payload.kill_daemon();
}

#[test]
fn a_second_daemon_does_not_touch_the_upgrade_of_the_first() {
    let payload = payload();
    let first = ask(&payload, REQUEST.as_bytes());
    assert_eq!(answer(&first)["answer"], "send");
    // The socket is gone by accident: not even then may two daemons share a state.
    std::fs::remove_file(payload.control_socket()).unwrap();
    let output = payload.command(&["daemon"]).stderr(Stdio::piped()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("another daemon"), "{said}");
    let staged = std::fs::read_dir(payload.stage()).unwrap().flatten();
    assert!(
        staged
            .into_iter()
            .any(|entry| entry.file_name().to_string_lossy().starts_with("incoming-")),
        "the first one's file is gone"
    );
    drop(first);
}

/// Somebody who is nobody here, with a program of his own.
fn another_user(program: &[&str]) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).args(program);
    command
}

#[test]
fn another_user_can_hold_no_lock_of_the_daemon() {
    assert!(nix::unistd::geteuid().is_root(), "this test becomes another user: run it as root");
    let mut payload = payload();
    let open_to_all =
        |path: &Path| std::fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    // As an earlier version has made them: the directories are open to everybody.
    for directory in [payload.root(), &payload.state(), &payload.root().join("bin")] {
        open_to_all(directory);
    }
    payload.kill_daemon();
    let state = payload.state();
    let mut holder = another_user(&[
        "flock",
        "--exclusive",
        state.to_str().unwrap(),
        "sh",
        "-c",
        "echo held; read -r end",
    ]);
    let mut holder = holder.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    BufReader::new(holder.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
    assert_eq!(said, "held\n");
    payload.start_daemon().unwrap();
    let client = payload.install();
    payload.wait_for_restart_request().unwrap();
    let stage = payload.stage();
    open_to_all(&stage);
    payload.kill_daemon();
    drop(client);
    for lock in [state.join("lock"), stage.join("lock")] {
        assert!(lock.exists());
        let output =
            another_user(&["flock", "--shared", "--nonblock", lock.to_str().unwrap(), "true"])
                .output()
                .unwrap();
        assert!(
            !output.status.success()
                && String::from_utf8_lossy(&output.stderr).contains("Permission denied"),
            "{output:?}"
        );
    }
    drop(holder.stdin.take());
    holder.wait().unwrap();
}

#[test]
fn a_lock_that_an_earlier_version_made_for_everybody_is_closed() {
    let mut payload = payload();
    payload.kill_daemon();
    let lock = payload.state().join("lock");
    std::fs::set_permissions(&lock, Permissions::from_mode(0o644)).unwrap();
    payload.start_daemon().unwrap();
    assert_eq!(lock.metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn the_failure_of_a_hopeless_name_stays_small() {
    let payload = payload();
    let name = "\\u0001".repeat(500);
    let stream = ask(
        &payload,
        format!("{{\"request\":\"install\",\"file_name\":\"{name}\",\"size\":1}}\n").as_bytes(),
    );
    let answer = answer(&stream);
    assert_eq!(answer["failure"]["kind"], FailureKind::NameInvalid.as_str(), "{answer}");
    assert!(answer.to_string().len() < 10_000);
}

/// As many reports as there can be, with as many last words of a program as there may be.
fn fill_history(payload: &Payload) -> Vec<Report> {
    let report = |number: usize| Report {
        id: UpgradeId(format!("{number}")),
        request: Request::of_shell("uid 0".into()),
        component: None,
        from: None,
        file_name: None,
        package: None,
        outcome: Outcome::RolledBack,
        failure: Some(Failure::new(FailureKind::Unhealthy, "it failed")),
        evidence: None,
        program_log: vec!["a last word ".repeat(20); 50],
        began: String::new(),
        ended: String::new(),
        phases: Vec::new(),
    };
    let reports: Vec<Report> = (0..100).map(report).collect();
    let text = serde_json::json!({"format": 1, "reports": reports}).to_string();
    std::fs::write(payload.state().join("history.json"), text).unwrap();
    reports
}

/// The sockets of the daemon. What it has open for itself meanwhile are pipes and files.
fn sockets(pid: u32) -> usize {
    let all = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let open = all.filter_map(|one| std::fs::read_link(one.unwrap().path()).ok());
    open.filter(|path| path.to_string_lossy().starts_with("socket:")).count()
}

/// The memory of the daemon in KiB, by a field of its status.
fn memory(pid: u32, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn answers_that_nobody_reads_cost_neither_memory_nor_descriptors() {
    let mut payload = Payload::setup().stopped();
    let reports = fill_history(&payload);
    payload.start_daemon().unwrap();
    let pid = payload.daemon_pid().unwrap();
    let (before, idle) = (sockets(pid), memory(pid, "VmRSS:"));
    // What is answered without being asked for more is enough to fill any socket.
    let mut hostile = Vec::new();
    for _ in 0..300 {
        hostile.push(ask(&payload, &b"{\"request\":\"history\"}\n".repeat(20)));
        let now = sockets(pid);
        let count = hostile.len();
        assert!(now <= before + 16 + 2 + 1, "{before} became {now} with {count} connections");
    }
    let client = payload.install();
    payload.wait_for_restart_request().unwrap();
    let peak = memory(pid, "VmHWM:") - idle;
    assert!(peak < 12 << 10, "{peak} KiB more than when idle");
    drop((hostile, client));
    // Who reads gets all.
    let answer = answer(&ask(&payload, b"{\"request\":\"history\"}\n"));
    assert_eq!(serde_json::from_value::<Vec<Report>>(answer["reports"].clone()).unwrap(), reports);
    payload.kill_daemon();
}

#[test]
fn an_empty_history_is_an_answer() {
    let payload = payload();
    assert_eq!(
        answer(&ask(&payload, b"{\"request\":\"history\"}\n")),
        serde_json::json!({"answer": "history", "reports": []})
    );
}

/// Asks as a member of the group would, again and again, and keeps each connection.
const MEMBER: &str = r#"
import socket, sys
kept = []
for _ in range(40):
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(sys.argv[1])
    connection.sendall(b'{"request":"install","file_name":"PSDK_APPALIAS_V03.00.00.00.bin","size":1000000}\n')
    kept.append(connection)
print("all there", flush=True)
sys.stdin.read()
"#;

#[test]
fn members_of_the_group_keep_root_out_of_nothing() {
    use std::os::unix::fs::PermissionsExt as _;
    assert!(nix::unistd::geteuid().is_root(), "this test connects as another user: run it as root");
    let payload = payload();
    let socket = payload.control_socket();
    for (path, mode) in
        [(payload.root(), 0o755), (&payload.root().join("run"), 0o755), (socket.as_path(), 0o666)]
    {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let mut members = Command::new("setpriv")
        .args([
            "--reuid=65534",
            "--clear-groups",
            "--pdeathsig=KILL",
            "--",
            "/usr/bin/python3",
            "-c",
            MEMBER,
            socket.to_str().unwrap(),
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    BufReader::new(members.stdout.take().unwrap()).read_line(&mut said).unwrap();
    assert_eq!(said, "all there\n");
    let output = payload.command(&["status"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    drop(members.stdin.take());
    members.wait().unwrap();
}
