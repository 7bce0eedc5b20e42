//! Upgrades over the payload link through the real binaries: the simulated aircraft with Assistant 2 at one end of a
//! pseudo-terminal, the daemon at the other; a line that errs, and hosts that say what is not so.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can't go on panics")]

use std::path::Path;
use std::thread::{self, JoinHandle};

use uplift::model::{FailureKind, Report};
use uplift::package::version::Version;
use uplift::sim::aircraft::{self, Claims, Options, Verdict, Via};
use uplift::sim::line::{Damage, Line, LineOptions, Port, PtyLine};
use uplift::sim::sandbox::Sandbox;

const SIZE: u64 = 40_000;

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

/// A payload that runs V01.00.00.00 and takes files over the link.
fn payload() -> Sandbox {
    let mut sandbox = Sandbox::new(Path::new(env!("CARGO_BIN_EXE_uplift"))).unwrap();
    let link = format!("[link]\ndevice = \"{}\"\ntransfer = \"dcftp\"\n", device(&sandbox));
    sandbox.install_by_hand(version("V01.00.00.00")).unwrap();
    sandbox.configure(&sandbox.restart_line(), &link).unwrap();
    sandbox.start_daemon().unwrap();
    sandbox
}

fn device(sandbox: &Sandbox) -> String {
    sandbox.root().join("run/ttyPayload").display().to_string()
}

/// An aircraft at work, in a thread of its own.
fn aircraft(sandbox: &Sandbox, options: Options, damage: Damage) -> JoinHandle<Verdict> {
    let port = Port::made(PtyLine::new(device(sandbox)).unwrap());
    let line = Line::new(port, &LineOptions { damage, seed: 7, ..LineOptions::default() });
    thread::spawn(move || aircraft::run(&options, line, &mut |_| {}))
}

fn options(sandbox: &Sandbox, version_text: &str) -> Options {
    let firmware = sandbox.firmware(version(version_text), Some(SIZE)).unwrap();
    Options { via: Via::Dcftp, ..Options::new(firmware) }
}

fn succeeds_with(damage: Damage) -> Verdict {
    let mut sandbox = payload();
    let aircraft = aircraft(&sandbox, options(&sandbox, "V02.00.00.00"), damage);
    let restarted = sandbox.wait_for_restart_request().and_then(|()| sandbox.reboot());
    let verdict = aircraft.join().unwrap();
    assert!(verdict.is_success(), "{}; {restarted:?}", verdict.message);
    assert_eq!(sandbox.reported_version().unwrap(), "V02.00.00.00");
    verdict
}

/// The payload as it is after an upgrade that was refused.
fn refused(version_text: &str, claims: Claims) -> Sandbox {
    let sandbox = payload();
    let options = Options { claims, ..options(&sandbox, version_text) };
    let verdict = aircraft(&sandbox, options, Damage::default()).join().unwrap();
    assert!(!verdict.is_success(), "{}", verdict.message);
    assert_eq!(sandbox.reported_version().unwrap(), "V01.00.00.00");
    sandbox
}

/// Why the last upgrade failed, by the daemon's own report.
fn reported(sandbox: &Sandbox) -> FailureKind {
    let output = sandbox.command(&["history", "--json"]).output().unwrap();
    let history: Vec<Report> = serde_json::from_slice(&output.stdout).unwrap();
    history.last().expect("a report").failure.as_ref().expect("a failure").kind
}

#[test]
fn a_quiet_line() {
    let verdict = succeeds_with(Damage::default());
    assert_eq!(verdict.repeats, 0, "nothing had to be sent twice");
}

#[test]
fn serial_noise_of_one_bit_in_ten_thousand() {
    let verdict = succeeds_with(Damage { bit_error_rate: 1e-4, ..Damage::default() });
    assert!(verdict.repeats > 0, "the line was too good");
}

#[test]
fn one_frame_in_twenty_lost() {
    let verdict = succeeds_with(Damage { drop: 0.05, ..Damage::default() });
    assert!(verdict.repeats > 0, "the line was too good");
}

#[test]
fn one_frame_in_five_comes_twice() {
    succeeds_with(Damage { duplicate: 0.2, ..Damage::default() });
}

#[test]
fn a_wrong_md5_is_refused() {
    refused("V02.00.00.00", Claims { md5: Some([0; 16]), ..Claims::default() });
}

#[test]
fn one_byte_more_or_less_than_announced_is_refused() {
    let size = u32::try_from(SIZE).unwrap();
    for size in [size - 1, size + 1] {
        refused("V02.00.00.00", Claims { size: Some(size), ..Claims::default() });
    }
}

#[test]
fn a_name_is_never_a_path() {
    let outside = std::env::temp_dir().join("P_V02.00.00.00.bin");
    for name in [format!("../../..{}", outside.display()), outside.display().to_string(), String::new()] {
        let sandbox = refused("V02.00.00.00", Claims { name: Some(name), ..Claims::default() });
        assert_eq!(reported(&sandbox), FailureKind::NameInvalid);
    }
    assert!(!outside.exists());
}

#[test]
fn an_older_version_and_the_same_are_refused_for_what_they_are() {
    assert_eq!(reported(&refused("V00.09.00.00", Claims::default())), FailureKind::Downgrade);
    assert_eq!(reported(&refused("V01.00.00.00", Claims::default())), FailureKind::SameVersion);
}
