//! What systemd sees of the daemon: readiness, a status line, the watchdog's word, a quick end.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can't go on should stop where it is")]

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use uplift::package::version::Version;
use uplift::sim::sandbox::Sandbox;

/// Longest wait for anything, far above what it takes.
const PATIENCE: Duration = Duration::from_secs(30);
/// The watchdog's limit in these tests; systemd expects a word twice as often.
const WATCHDOG: Duration = Duration::from_millis(400);

struct Service {
    sandbox: Sandbox,
    daemon: Child,
    notifications: UnixDatagram,
}

impl Service {
    fn start() -> Self {
        let sandbox = Sandbox::new(Path::new(env!("CARGO_BIN_EXE_uplift"))).unwrap();
        sandbox.install_by_hand(Version::new([1, 0, 0, 0]).unwrap()).unwrap();
        sandbox.configure(&sandbox.restart_line(), "").unwrap();
        let notifications = UnixDatagram::bind(sandbox.root().join("notify")).unwrap();
        notifications.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { daemon: spawn_daemon(&sandbox), sandbox, notifications }
    }

    fn kill(&mut self) {
        self.daemon.kill().unwrap();
        self.daemon.wait().unwrap();
    }

    fn next(&self) -> String {
        let mut message = [0; 4096];
        let length = self.notifications.recv(&mut message).expect("the daemon says nothing");
        String::from_utf8_lossy(&message[..length]).into_owned()
    }

    fn wait_for(&self, wanted: &str) -> String {
        std::iter::repeat_with(|| self.next()).find(|message| message.contains(wanted)).unwrap()
    }
}

fn spawn_daemon(sandbox: &Sandbox) -> Child {
    let mut command = sandbox.command(&["daemon"]);
    command.env("NOTIFY_SOCKET", sandbox.root().join("notify")).env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string());
    command.stderr(Stdio::null()).spawn().unwrap()
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

#[test]
fn it_says_that_it_is_ready_and_what_it_does() {
    let service = Service::start();
    service.wait_for("READY=1");
    assert_eq!(service.wait_for("STATUS=").trim(), "STATUS=idle, PSDK_APPALIAS V01.00.00.00");
}

#[test]
fn the_watchdog_hears_of_it_even_while_the_status_changes_all_the_time() {
    let service = Service::start();
    service.wait_for("READY=1");
    let mut client = UnixStream::connect(service.sandbox.root().join("run/control.sock")).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(b"{\"request\":\"install\",\"file_name\":\"PSDK_APPALIAS_V02.00.00.00.bin\",\"size\":1000000}\n").unwrap();
    let mut answer = [0; 64];
    let length = client.read(&mut answer).unwrap();
    assert_eq!(&answer[..length], b"{\"answer\":\"send\"}\n");
    // A slow client: a percent every 20 ms, so that the status changes ten times between two words for the watchdog.
    let end = Instant::now() + 4 * WATCHDOG;
    let sender = std::thread::spawn(move || {
        while Instant::now() < end {
            client.write_all(&[0; 10_000]).unwrap();
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let mut words = 0;
    let mut last = Instant::now();
    while !sender.is_finished() {
        if service.next().contains("WATCHDOG=1") {
            assert!(last.elapsed() < WATCHDOG, "systemd would have killed the daemon");
            (words, last) = (words + 1, Instant::now());
        }
    }
    assert!(words >= 3, "only {words} words");
    sender.join().unwrap();
}

#[test]
fn it_ends_at_once_when_it_is_told_to() {
    let mut service = Service::start();
    service.wait_for("READY=1");
    kill(Pid::from_raw(service.daemon.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    service.wait_for("STOPPING=1");
    assert!(service.daemon.wait().unwrap().success());
}

#[test]
fn it_waits_for_what_is_left_of_a_daemon_that_died() {
    let mut service = Service::start();
    service.wait_for("READY=1");
    service.kill();
    // As a child of the dead daemon does that is about to become another program.
    let state = service.sandbox.root().join("state");
    let held = Flock::lock(File::open(&state).unwrap(), FlockArg::LockExclusiveNonblock).unwrap();
    let opened = Inotify::init(InitFlags::empty()).unwrap();
    opened.add_watch(&state, AddWatchFlags::IN_OPEN).unwrap();
    service.daemon = spawn_daemon(&service.sandbox);
    opened.read_events().unwrap();
    drop(held);
    service.wait_for("READY=1");
}
