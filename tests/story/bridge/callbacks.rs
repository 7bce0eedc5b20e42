//! The whole way of [`super::application`]; at each callback of the vendor's library the daemon is
//! killed or hangs, or the application is killed.
//!
//! Whatever the host hears, what runs agrees with it, and the next try succeeds.

mod observer;

use std::any::Any;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use uplift::model::{LinkState, Outcome, Phase, Report};

use super::application;
use crate::world::payload::{Aircraft, NEW, OLD, Payload, Transfer};
use crate::world::watched::Watched as _;
use Fault::{ApplicationDies, ApplicationDiesBehind, DaemonDiesBehind, DaemonHangs, NoDaemon};
use Hears::{Either, Failure, Success};
use observer::{Held, Observer};

/// The callbacks of the library, in the order of an upgrade.
const CALLBACKS: [&str; 7] = [
    "EnterUpgradeMode",
    "start",
    "transfer",
    "finish",
    "CheckFirmware",
    "StartUpgrade",
    "FinishUpgrade",
];
/// Those of a file that comes over the link.
const OF_DCFTP: [&str; 3] = ["start", "transfer", "finish"];
/// What the application says of itself before and after the upgrade.
const OLD_RUNS: &str = "psdk-app V01.00.00.00";
const NEW_RUNS: &str = "psdk-app V02.00.00.00";
/// The chunk at which something happens: more than the bridge keeps has come before it.
const CHUNK: usize = 40;
/// So many upgrades of a test run side by side.
const AT_ONCE: usize = 3;
/// How long a callback may take to come. Generous: a loaded machine is no failure.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks whether the aircraft has ended, of which no event tells.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// So long a daemon hangs after its callback, so that the host and the next ones meet it, too.
const HANGING: Duration = Duration::from_millis(700);

/// What happens at a callback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The daemon is killed before it, and the next one starts behind it.
    NoDaemon,
    /// The daemon is killed behind it, and the next one starts before the host is answered.
    DaemonDiesBehind,
    /// The daemon is stopped before it, and goes on a while behind it.
    DaemonHangs,
    /// The application is killed before it.
    ApplicationDies,
    /// The application is killed behind it, before the host is answered.
    ApplicationDiesBehind,
}

/// What the host hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hears {
    Success,
    Failure,
    /// The daemon was at work, and how far it had come is not known.
    Either,
}

fn host_hears(fault: Fault, callback: &str, transfer: Transfer) -> Hears {
    match (fault, callback, transfer) {
        // The bridge does not promise what nobody is there to keep.
        (NoDaemon, "EnterUpgradeMode", _) => Failure,
        // The daemon forgets an upgrade of which no file has come, and its files with it.
        (DaemonDiesBehind, "EnterUpgradeMode", Transfer::Ftp) => Either,
        // The daemon that received the file is gone, and nobody else has it.
        (NoDaemon, "CheckFirmware", Transfer::Ftp) => Failure,
        // It was just checking, or installing.
        (NoDaemon, "StartUpgrade", _) => Either,
        (DaemonDiesBehind, "CheckFirmware" | "StartUpgrade", _) => Either,
        // The library's next process knows nothing of the file.
        (ApplicationDies | ApplicationDiesBehind, "transfer" | "finish", _) => Failure,
        _ => Success,
    }
}

#[test]
fn the_daemon_is_killed_before_each_callback_and_starts_behind_it() {
    at_each_callback(NoDaemon);
}

#[test]
fn the_daemon_is_killed_behind_each_callback() {
    at_each_callback(DaemonDiesBehind);
}

#[test]
fn the_daemon_is_stopped_before_each_callback_and_goes_on_behind_it() {
    at_each_callback(DaemonHangs);
}

#[test]
fn the_application_is_killed_before_each_callback() {
    at_each_callback(ApplicationDies);
}

#[test]
fn the_application_is_killed_behind_each_callback() {
    at_each_callback(ApplicationDiesBehind);
}

/// Some side by side, because an upgrade mostly waits.
fn at_each_callback(fault: Fault) {
    let has = |transfer, callback| transfer == Transfer::Dcftp || !OF_DCFTP.contains(callback);
    let cases = Transfer::BOTH.into_iter().flat_map(|transfer| {
        CALLBACKS
            .iter()
            .filter(move |callback| has(transfer, callback))
            .map(move |at| (*at, transfer))
    });
    let cases = Mutex::new(cases);
    let next = || cases.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || {
        while let Some((callback, transfer)) = next() {
            at_callback(fault, callback, transfer);
        }
    };
    let failures: Vec<String> = thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        workers.into_iter().filter_map(|worker| worker.join().err()).map(said).collect()
    });
    // Last of all, behind what each payload of it has printed.
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// What a panic said.
fn said(panic: Box<dyn Any + Send>) -> String {
    panic.downcast::<String>().map_or_else(|_| "it panicked".into(), |text| *text)
}

fn at_callback(fault: Fault, callback: &str, transfer: Transfer) {
    let case = format!("{fault:?} at {callback} over {transfer:?}");
    let began = Instant::now();
    let mut story = Story::begin(transfer);
    story.happens(fault, callback);
    let verdict = story.told();
    println!("{case}: {} ({:.1} s)", verdict["message"], began.elapsed().as_secs_f32());
    let succeeded = verdict["result"] == "success";
    match host_hears(fault, callback, transfer) {
        Success => assert!(succeeded, "{case}: {verdict}"),
        Failure => assert!(!succeeded, "{case}: {verdict}"),
        Either => {}
    }
    if !succeeded {
        let message = verdict["message"].as_str().unwrap();
        assert!(!message.contains("fell silent"), "{case}: it started, and has no end");
        story.next_try_succeeds(&case);
    }
}

/// An application that is upgraded, and whoever looks at it.
struct Story {
    payload: Payload,
    aircraft: Option<Aircraft>,
    observer: Observer,
    transfer: Transfer,
}

impl Story {
    /// All of it runs, and the aircraft begins.
    fn begin(transfer: Transfer) -> Self {
        let setup = match transfer {
            Transfer::Ftp => application::ftp_setup(),
            _ => application::setup("health = \"bridge\"\n"),
        };
        let payload = application::stopped(&setup, transfer);
        let observer = Observer::at(&payload.root().join("run/observer.sock"));
        let path = observer.path().display();
        payload.systemd_has("environment", &format!("PSDK_STAND_IN_OBSERVER={path}"));
        let mut story = Self { payload, aircraft: None, observer, transfer };
        // The application waits for its line.
        setup.run(&mut story.payload);
        story.plug();
        story
    }

    fn plug(&mut self) {
        let firmware = self.payload.new_application(&[]);
        self.aircraft = Some(self.payload.plug_with(self.transfer, &firmware, &[]));
    }

    /// Once the aircraft has ended, how it did.
    fn verdict(&mut self) -> Option<Value> {
        let has_ended = self.aircraft.as_mut().is_some_and(Aircraft::has_ended);
        has_ended.then(|| self.aircraft.take().unwrap().verdict())
    }

    /// Lets callbacks go on until this event comes for the n-th time.
    fn reach(&mut self, event: &str, times: usize) -> Held {
        let end = Instant::now() + PATIENCE;
        let mut count = 0;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let Some(held) = self.observer.next_within(left) else {
                panic!("{event}: never, and the aircraft says {:?}", self.verdict())
            };
            count += usize::from(held.event == event);
            if count == times {
                return held;
            }
        }
    }

    fn happens(&mut self, fault: Fault, callback: &str) {
        let times = if callback == "transfer" { CHUNK } else { 1 };
        let called = self.reach(&format!("{callback} is called"), times);
        if callback == "FinishUpgrade" {
            assert_eq!(self.payload.running().as_deref(), Some(NEW_RUNS), "{callback}");
        }
        if callback == "EnterUpgradeMode" {
            // What is tested is the callback, not who is first.
            self.payload.wait_for_status(|status| status.link.state == LinkState::Linked).unwrap();
        }
        let application = called.application;
        match fault {
            NoDaemon => {
                self.payload.kill_daemon();
                let _returned = self.return_of(callback, called);
                self.payload.start_daemon().unwrap();
            }
            DaemonDiesBehind => {
                let _returned = self.return_of(callback, called);
                self.payload.restart_daemon();
            }
            DaemonHangs => {
                self.payload.signal_daemon(Signal::SIGSTOP);
                drop(self.return_of(callback, called));
                self.go_on_for(HANGING);
                self.payload.signal_daemon(Signal::SIGCONT);
            }
            ApplicationDies => self.dies(application),
            ApplicationDiesBehind => {
                let _returned = self.return_of(callback, called);
                self.dies(application);
            }
        }
    }

    /// Lets a callback go on until it has returned; nothing, where the daemon was quick and has
    /// restarted the application by then.
    fn return_of(&self, callback: &str, called: Held) -> Option<Held> {
        let (returned, application) = (format!("{callback} has returned"), called.application);
        drop(called);
        while !is_gone(application) {
            match self.observer.next_within(LOOK_INTERVAL) {
                Some(held) if held.event == returned => return Some(held),
                _ => {}
            }
        }
        None
    }

    fn dies(&self, application: Pid) {
        let _ = kill(application, Signal::SIGKILL); // the daemon may have restarted it
        self.payload.wait_for("its end", || is_gone(application));
        self.payload.unit_starts_again();
    }

    /// Lets callbacks go on for so long.
    fn go_on_for(&self, time: Duration) {
        let end = Instant::now() + time;
        while self.observer.next_within(end.saturating_duration_since(Instant::now())).is_some() {}
    }

    /// What the host hears, which agrees with what runs, with the status and with the history.
    fn told(&mut self) -> Value {
        let mut end_of = None;
        let verdict = loop {
            if let Some(verdict) = self.verdict() {
                break verdict;
            }
            let held = self.observer.next_within(LOOK_INTERVAL);
            if held.is_some_and(|held| held.event == "FinishUpgrade is called") {
                end_of = self.payload.running();
            }
        };
        let succeeded = verdict["result"] == "success";
        let (version, runs) = if succeeded { (NEW, NEW_RUNS) } else { (OLD, OLD_RUNS) };
        assert_eq!(self.payload.reported_version().unwrap(), runs, "{verdict}");
        assert!(end_of.is_none_or(|running| running == runs), "{verdict}");
        let status = self.payload.status().unwrap();
        let told = status.components[0].version.map(|version| version.to_string());
        assert_eq!(told.as_deref(), Some(version), "{verdict}");
        let history = self.payload.history();
        if succeeded {
            assert_eq!(verdict["version_after"], json!(NEW));
            assert_eq!(outcomes(&history).last(), Some(&Outcome::Succeeded), "{history:?}");
        } else {
            assert!(!outcomes(&history).contains(&Outcome::Succeeded), "{verdict}: {history:?}");
            let is_over = [Phase::Idle, Phase::Preparing, Phase::Receiving, Phase::Concluded];
            assert!(is_over.contains(&status.phase), "{verdict}: {}", status.phase);
        }
        verdict
    }

    /// Another aircraft comes, and finds the application running.
    fn next_try_succeeds(&mut self, case: &str) {
        self.plug();
        self.payload.start_unit();
        let entering = self.reach("EnterUpgradeMode is called", 1);
        assert_eq!(self.payload.running().as_deref(), Some(OLD_RUNS), "{case}");
        drop(entering);
        let verdict = self.told();
        assert_eq!(verdict["result"], "success", "{case}, the next try: {verdict}");
        let status = self.payload.status().unwrap();
        assert_eq!((status.phase, &status.unacknowledged[..]), (Phase::Idle, &[][..]), "{case}");
    }
}

fn is_gone(process: Pid) -> bool {
    kill(process, None) == Err(Errno::ESRCH)
}

fn outcomes(history: &[Report]) -> Vec<Outcome> {
    history.iter().map(|report| report.outcome).collect()
}
