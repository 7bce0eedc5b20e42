//! What systemd sees: a socket handed over, readiness, the end.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;

use super::server::{PATIENCE, Server, write_config};

/// Hands over listening sockets as systemd does, then becomes the program.
const HAND_OVER: &str = r#"
import fcntl, os, socket, sys
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(sys.argv[1]))]
# To high numbers first, so that none is overwritten that is still needed.
high = [fcntl.fcntl(each.fileno(), fcntl.F_DUPFD, 50) for each in sockets]
for index, each in enumerate(high):
    os.dup2(each, 3 + index)
os.environ.update(LISTEN_FDS=str(len(sockets)), LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"#;

fn handing_over(sockets: u8) -> Command {
    let mut program = Command::new("python3");
    program.args(["-c", HAND_OVER, &sockets.to_string(), env!("CARGO_BIN_EXE_uplift")]);
    program
}

/// No test machine has this address, so only a socket that was handed over can work.
const NOT_OURS: &str = "listen = \"192.0.2.1:21\"";

#[test]
fn a_socket_that_systemd_opened_is_served() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("upgrade");
    std::fs::create_dir(&home).unwrap();
    let server = Server::launch(directory, home, NOT_OURS, handing_over(1));
    server.login().upload("a.bin", b"content");
    assert_eq!(server.content("a.bin"), b"content");
}

#[test]
fn two_sockets_are_refused_with_a_hint() {
    let directory = tempfile::tempdir().unwrap();
    let config = write_config(directory.path(), directory.path(), NOT_OURS);
    let output = handing_over(2).args(["ftp-server", "--config"]).arg(config).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.code() == Some(1)
            && text.contains("2 sockets")
            && text.contains("ListenStream="),
        "{text}"
    );
}

#[test]
fn readiness_is_told_once_it_listens_and_stopping_when_it_stops() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("upgrade");
    std::fs::create_dir(&home).unwrap();
    let socket_path = directory.path().join("notify");
    let socket = UnixDatagram::bind(&socket_path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_uplift"));
    program.env("NOTIFY_SOCKET", Path::new(&socket_path));
    let mut server = Server::launch(directory, home, "", program);
    assert!(message(&socket).contains("READY=1"));
    server.login();
    assert!(server.stop(nix::sys::signal::Signal::SIGTERM).success());
    assert!(message(&socket).contains("STOPPING=1"));
}

fn message(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).unwrap();
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}
