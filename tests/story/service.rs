//! What systemd sees of the daemon: readiness, a status line, the watchdog's word, a quick end.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::world::payload::Payload;
use crate::world::watched::Watched as _;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use uplift_sim::line::PtyLine;

/// Longest wait for anything, far above what it takes.
const PATIENCE: Duration = Duration::from_secs(30);
/// The watchdog's limit in these tests; the daemon gives its word twice as often.
const WATCHDOG: Duration = Duration::from_millis(400);
/// The same where a late word is a failure: a machine that is busy with something else may delay one.
const PATIENT_WATCHDOG: Duration = Duration::from_secs(4);

struct Service {
    payload: Payload,
    daemon: Child,
    notifications: UnixDatagram,
}

impl Service {
    fn start() -> Self {
        Self::start_with(&[], "", WATCHDOG)
    }

    /// Run by another program, if one is given; with these sections in its configuration.
    fn start_with(wrapper: &[&str], sections: &str, watchdog: Duration) -> Self {
        let payload = Payload::setup().sections(sections).stopped();
        let notifications = UnixDatagram::bind(payload.root().join("notify")).unwrap();
        notifications.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { daemon: spawn_daemon(&payload, wrapper, watchdog), payload, notifications }
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

    /// A client that has asked to install a file of a million bytes, and may send.
    fn client(&self) -> UnixStream {
        let mut client = UnixStream::connect(self.payload.control_socket()).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.write_all(b"{\"request\":\"install\",\"file_name\":\"PSDK_APPALIAS_V02.00.00.00.bin\",\"size\":1000000}\n").unwrap();
        let mut answer = [0; 64];
        let length = client.read(&mut answer).unwrap();
        assert_eq!(&answer[..length], b"{\"answer\":\"send\"}\n");
        client
    }

    fn wait_for(&self, wanted: &str) -> String {
        std::iter::repeat_with(|| self.next()).find(|message| message.contains(wanted)).unwrap()
    }
}

fn spawn_daemon(payload: &Payload, wrapper: &[&str], watchdog: Duration) -> Child {
    let daemon = payload.command(&["daemon"]);
    let placed = |word: &&str| word.replace("ROOT", payload.root().to_str().unwrap()).into();
    let mut words = wrapper.iter().map(placed).chain([daemon.get_program().to_owned()]);
    let mut command = Command::new(words.next().unwrap());
    command.args(words).args(daemon.get_args()).stdin(Stdio::null()).stderr(Stdio::null());
    command
        .env("NOTIFY_SOCKET", payload.root().join("notify"))
        .env("WATCHDOG_USEC", watchdog.as_micros().to_string());
    command.spawn().unwrap()
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
    let service = Service::start_with(&[], "", PATIENT_WATCHDOG);
    service.wait_for("READY=1");
    let mut client = service.client();
    // A slow client: a percent every 100 ms, so that the status changes twenty times between two words
    // for the watchdog.
    let percent = PATIENT_WATCHDOG / 40;
    let sender = std::thread::spawn(move || {
        for _ in 0..90 {
            client.write_all(&[0; 10_000]).unwrap();
            std::thread::sleep(percent);
        }
        client
    });
    let (mut words, mut lines) = (0, 0);
    let begun = Instant::now();
    let mut last = begun;
    while !sender.is_finished() {
        let message = service.next();
        if message.contains("WATCHDOG=1") {
            assert!(last.elapsed() < PATIENT_WATCHDOG, "systemd would have killed the daemon");
            (words, last) = (words + 1, Instant::now());
        }
        lines += u64::from(message.contains("STATUS=receiving"));
    }
    assert!(words >= 3, "only {words} words");
    let longest = begun.elapsed().as_secs() + 2;
    assert!((1..=longest).contains(&lines), "ninety percents are one line a second, not {lines}");
    sender.join().unwrap();
}

/// The engine waits for the disk when it writes down its state, and this one takes two seconds for
/// it.
const STATE_IS_SLOW: [&str; 10] = [
    "strace",
    "-D",
    "-f",
    "-qq",
    "-o",
    "/dev/null",
    "-P",
    "ROOT/state/state.json.new",
    "-e",
    "inject=fsync:delay_enter=2000000:when=1",
];

#[test]
fn an_engine_that_hangs_is_not_spoken_for() {
    let service = Service::start_with(&STATE_IS_SLOW, "", WATCHDOG);
    service.wait_for("READY=1");
    let mut client = service.client();
    service.wait_for("WATCHDOG=1");
    client.write_all(&[0; 1_000_000]).unwrap();
    // With the file received, it writes down that it checks it. It answers again when that is done.
    let (mut last, end) = (Instant::now(), Instant::now() + PATIENCE);
    loop {
        service.wait_for("WATCHDOG=1");
        if last.elapsed() > 3 * WATCHDOG {
            break;
        }
        last = Instant::now();
        assert!(last < end, "it was spoken for all the time");
    }
}

#[test]
fn it_is_ready_when_the_socket_is_there_and_tells_how_the_link_is() {
    let service =
        Service::start_with(&[], "[channel.psdk]\ndevice = \"ROOT/run/ttyPayload\"\n", WATCHDOG);
    service.wait_for("READY=1");
    let link = || service.payload.status().unwrap().link;
    // The link begins when the version that it tells is known, for which nobody waits.
    service.payload.wait_for("the link's first word", || link().notice.is_some());
    let link = link();
    assert_eq!(service.wait_for("STATUS=").matches(", link ").count(), 1);
    let line = PtyLine::new(service.payload.root().join("run/ttyPayload")).unwrap();
    let state = service.wait_for("looking for the aircraft");
    assert!(
        state.contains(&format!(", link {}: looking for the aircraft", link.device)),
        "{state}"
    );
    drop(line);
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
    let state = service.payload.root().join("state");
    let held = Flock::lock(File::open(&state).unwrap(), FlockArg::LockExclusiveNonblock).unwrap();
    let opened = Inotify::init(InitFlags::IN_CLOEXEC).unwrap();
    opened.add_watch(&state, AddWatchFlags::IN_OPEN).unwrap();
    service.daemon = spawn_daemon(&service.payload, &[], WATCHDOG);
    opened.read_events().unwrap();
    drop(held);
    service.wait_for("READY=1");
}
