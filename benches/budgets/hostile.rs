//! Peers that mean harm: connections without end whose answers nobody reads, at the control socket
//! and at the FTP server. What they cost in memory, and how long a person's `install` has to wait
//! meanwhile.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::json;
use uplift::control::{Client, ControlAnswer, ControlRequest};
use uplift::model::{Failure, FailureKind, Outcome, Report, Request, UpgradeId};

use super::payload::Payload;
use super::process::{peak_resident_kib, resident_kib};
use super::table::Row;

const CONNECTIONS: usize = 1500;
const DEADLINE: Duration = Duration::from_secs(30);
/// Connects so many times, asks for the history ten times on each connection, and keeps them all.
const MEMBER: &str = r#"
import socket, sys
path, number, kept = sys.argv[1], int(sys.argv[2]), []
for index in range(number):
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    try:
        connection.sendall(b'{"request":"history"}\n' * 10)
    except OSError:
        pass
    kept.append(connection)
    if index == number // 2:
        print("half", flush=True)
"#;

pub(crate) fn measure() -> Result<Vec<Row>> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    let mut payload = Payload::new(None)?;
    fill_history(&payload.sandbox.state().join("history.json"))?;
    payload.sandbox.start_ftp_server()?;
    payload.sandbox.start_daemon()?;
    let mut rows = control(&mut payload)?;
    rows.extend(ftp(&payload)?);
    Ok(rows)
}

/// As many reports as there can be, with as many last words as a program may have.
fn fill_history(path: &Path) -> Result<()> {
    let reports: Vec<Report> = (0..100).map(report).collect();
    let text = json!({"format": 1, "reports": reports}).to_string();
    Ok(std::fs::File::create(path)?.write_all(text.as_bytes())?)
}

fn report(number: usize) -> Report {
    Report {
        id: UpgradeId(number.to_string()),
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
    }
}

fn control(payload: &mut Payload) -> Result<Vec<Row>> {
    let daemon = payload.sandbox.daemon_pid().context("no daemon runs")?;
    let idle = resident_kib(daemon)?;
    let socket = payload.sandbox.root().join("run/control.sock");
    let mut hostile = member(payload.sandbox.root(), &socket)?;
    let firmware = payload.next_firmware(100_000)?;
    let started = install_starts(&socket, &firmware)?;
    ensure!(hostile.wait()?.success(), "the hostile member failed");
    let peak = peak_resident_kib(daemon)?.saturating_sub(idle);
    Ok(vec![
        Row::below(
            format!("{CONNECTIONS} unread histories: peak of the daemon above idle"),
            peak as f64 / 1024.0,
            12.0,
            "MiB",
        ),
        Row::below("an install meanwhile: asked -> may send", started.as_secs_f64(), 1.0, "s"),
    ])
}

/// A member of the group, as far as the socket's mode goes; what it asks for it never reads.
fn member(root: &Path, socket: &Path) -> Result<Child> {
    for (path, mode) in [(root, 0o755), (&root.join("run"), 0o755), (socket, 0o666)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    }
    let mut command = Command::new("setpriv");
    command.args([
        "--reuid=65534",
        "--clear-groups",
        "--pdeathsig=KILL",
        "--",
        "/usr/bin/python3",
        "-c",
        MEMBER,
    ]);
    let mut child =
        command.arg(socket).arg(CONNECTIONS.to_string()).stdout(Stdio::piped()).spawn()?;
    // Half of them are there when it says so.
    child.stdout.as_mut().context("a pipe")?.read_exact(&mut [0])?;
    Ok(child)
}

fn ftp(payload: &Payload) -> Result<Vec<Row>> {
    let server = payload.sandbox.ftp_server_pid().context("no FTP server runs")?;
    let address = payload.ftp;
    let idle = resident_kib(server)?;
    let kept = in_background(move || unread(address))
        .join()
        .map_err(|_| anyhow::anyhow!("the hostile thread crashed"))??;
    let began = Instant::now();
    greeted(address)?;
    let greeted = began.elapsed();
    let peak = peak_resident_kib(server)?.saturating_sub(idle);
    drop(kept);
    Ok(vec![
        Row::below(
            format!("{CONNECTIONS} unread FEATs: peak of the FTP server above idle"),
            peak as f64 / 1024.0,
            12.0,
            "MiB",
        ),
        Row::note("a host behind all of them: connected -> greeted", greeted.as_secs_f64(), "s"),
    ])
}

type Hostile<T> = thread::JoinHandle<Result<Vec<T>>>;

fn in_background<T: Send + 'static>(
    connect: impl Fn() -> Result<T> + Send + 'static,
) -> Hostile<T> {
    thread::spawn(move || (0..CONNECTIONS).map(|_| connect()).collect())
}

fn unread(address: SocketAddr) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nonblocking(true)?;
    let commands = b"FEAT\r\n".repeat(1000);
    while stream.write(&commands).is_ok_and(|length| length == commands.len()) {}
    Ok(stream)
}

fn greeted(address: SocketAddr) -> Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    let mut code = [0; 3];
    stream.read_exact(&mut code)?;
    ensure!(&code == b"220", "the server said {:?}", String::from_utf8_lossy(&code));
    Ok(())
}

/// From the request to the word that the file may be sent; it is not sent.
fn install_starts(socket: &Path, firmware: &PathBuf) -> Result<Duration> {
    let file_name = firmware
        .file_name()
        .and_then(|name| name.to_str())
        .context("a firmware file without a name")?
        .to_owned();
    let size = std::fs::metadata(firmware)?.len();
    let began = Instant::now();
    let mut client = Client::connect(socket)?;
    client.ask(&ControlRequest::Install { file_name, size, force: false })?;
    match client.answer_within(DEADLINE)? {
        ControlAnswer::Send => Ok(began.elapsed()),
        other => bail!("instead of the word to send came {other:?}"),
    }
}
