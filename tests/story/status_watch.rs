//! `uplift status --watch`, piped: calm lines that follow the daemon over its restart.

use std::io::{BufRead as _, BufReader};
use std::process::{ChildStdout, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::world::payload::Payload;
use crate::world::running::Running;
use crate::world::watched::Watched as _;
use uplift::model::{Phase, Status};

/// A loaded machine is no failure.
const PATIENCE: Duration = Duration::from_secs(30);

/// A watch that runs, and its lines.
struct Watch {
    _process: Running,
    lines: Receiver<String>,
}

impl Watch {
    fn start(payload: &Payload, arguments: &[&str]) -> Self {
        let mut process = Running::start(payload.command(arguments).stdout(Stdio::piped()));
        let (sender, lines) = channel();
        let out: BufReader<ChildStdout> = BufReader::new(process.stdout.take().unwrap());
        thread::spawn(move || {
            out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Self { _process: process, lines }
    }

    /// The lines up to the first one that is wanted.
    fn until(&self, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let mut seen = Vec::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => seen.push(line),
                Err(error) => panic!("{error}, after {seen:?}"),
            }
            if seen.last().is_some_and(|line| wanted(line)) {
                return seen;
            }
        }
    }
}

fn payload() -> Payload {
    Payload::setup().start()
}

fn install(payload: &Payload, version: &str) -> Running {
    payload.install_file(&payload.firmware_of(version, 30_000_000))
}

#[test]
fn an_upgrade_is_a_few_plain_lines_and_a_restart_does_not_end_them() {
    let mut payload = payload();
    let watch = Watch::start(&payload, &["status", "--watch"]);
    watch.until(|line| line == "idle, PSDK_APPALIAS V01.00.00.00");
    let mut client = install(&payload, "V02.00.00.00");
    payload.wait_for_restart_request().unwrap();
    let before = watch.until(|line| line.starts_with("restarting"));
    assert!(before.len() < 20 && before.iter().all(|line| !line.contains('\x1b')), "{before:?}");
    payload.reboot();
    let after = watch.until(|line| line == "idle, PSDK_APPALIAS V02.00.00.00");
    assert!(after.contains(&"the daemon went away; waiting for it".to_owned()), "{after:?}");
    assert!(client.wait().unwrap().success());
}

#[test]
fn json_is_one_status_a_line() {
    let payload = payload();
    let watch = Watch::start(&payload, &["status", "--watch", "--json"]);
    let status: Status = serde_json::from_str(&watch.until(|_| true)[0]).unwrap();
    assert_eq!(status.phase, Phase::Idle);
    let client = install(&payload, "V02.00.00.00");
    watch.until(|line| serde_json::from_str::<Status>(line).unwrap().phase == Phase::Restarting);
    drop(client);
}

#[test]
fn a_reader_that_has_seen_enough_ends_the_watch_quietly() {
    let payload = payload();
    let mut process = payload
        .command(&["status", "--watch"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap(); // and closes the pipe
    let client = install(&payload, "V02.00.00.00");
    let output = process.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    drop(client);
}

#[test]
fn the_seconds_that_are_left_become_fewer_whenever_somebody_asks() {
    let payload = payload();
    let client = install(&payload, "V02.00.00.00");
    payload.wait_for_restart_request().unwrap();
    let left = || payload.status().unwrap().upgrade.unwrap().seconds_left.unwrap();
    let (first, end) = (left(), Instant::now() + PATIENCE);
    while left() >= first {
        assert!(Instant::now() < end, "it says {first} s for ever");
        thread::sleep(Duration::from_millis(20)); // time itself is what is waited for
    }
    drop(client);
}
