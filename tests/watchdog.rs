//! systemd's watchdog hears the daemon while the status changes all the time.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can't go on panics")]

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use uplift::sim::aircraft::{self, Options, Stage, Via};
use uplift::sim::line::{Line, LineOptions, Port, PtyLine};
use uplift::sim::sandbox::Sandbox;

/// The daemon reports twice as often: still less often than the status changes.
const WATCHDOG: Duration = Duration::from_secs(1);
/// For anything that must come.
const DEADLINE: Duration = Duration::from_secs(30);
/// Three seconds of the line's time, in which the percentage changes every 200 ms.
const SIZE: u64 = 225_000;

struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn next_message(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).unwrap();
    String::from_utf8(buffer[..length].to_vec()).unwrap()
}

#[test]
fn the_watchdog_is_fed_while_a_file_is_received() {
    let sandbox = Sandbox::new(Path::new(env!("CARGO_BIN_EXE_uplift"))).unwrap();
    let device = sandbox.root().join("run/ttyPayload");
    sandbox.install_by_hand("V01.00.00.00".parse().unwrap()).unwrap();
    sandbox.configure("", &format!("[link]\ndevice = {device:?}\nbaud = 921600\ntransfer = \"dcftp\"\n")).unwrap();
    let firmware = sandbox.firmware("V02.00.00.00".parse().unwrap(), Some(SIZE)).unwrap();
    let path = sandbox.root().join("run/notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut command = sandbox.command(&["daemon"]);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string()).stderr(Stdio::null());
    let _daemon = Daemon(command.spawn().unwrap());
    let line = Line::new(Port::made(PtyLine::new(device).unwrap()), &LineOptions { baud: Some(921_600), ..LineOptions::default() });
    let options = Options { via: Via::Dcftp, abort_at: Some(Stage::Check), ..Options::new(firmware) };
    let aircraft = thread::spawn(move || aircraft::run(&options, line, &mut |_| {}));

    while !next_message(&socket).contains("STATUS=receiving") {}
    let mut fed = 0;
    loop {
        let message = next_message(&socket);
        fed += u32::from(message.contains("WATCHDOG=1"));
        if message.contains("STATUS=") && !message.contains("STATUS=receiving") {
            break;
        }
    }
    assert!(fed > 0, "not a word to the watchdog during the whole transfer");
    aircraft.join().unwrap();
}
