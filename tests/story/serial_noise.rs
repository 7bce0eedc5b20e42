//! A bad serial line: one bit in ten thousand turned over, one frame in twenty lost and one
//! doubled, in both directions. The upgrade takes longer and still succeeds, through the real
//! daemon, its restart, and the acknowledgement of its report.

use std::thread;

use uplift_sim::Version;
use uplift_sim::aircraft::{self, Options, Patience, Step, Transfer, Verdict};
use uplift_sim::line::{Damage, Line, LineOptions, Port, PtyLine};

use crate::world::payload::Payload;

const BAD: Damage = Damage { bit_error_rate: 1e-4, drop: 0.05, duplicate: 0.05 };
/// Small: each frame that does not get through costs a fifth of a second.
const SIZE: u64 = 16 << 10;

fn payload(baud: &str) -> Payload {
    let mut payload = Payload::setup().link(baud, None).stopped();
    payload.start_program().unwrap();
    payload
}

/// One upgrade from V01 to V02 over such a line. `replug` pulls the adapter out during the restart.
fn upgrade(payload: &mut Payload, line: &LineOptions, replug: bool) -> (Verdict, Vec<Step>) {
    let version = Version([2, 0, 0, 0]);
    // On such a line many a frame is lost, and a host that backs off takes long.
    let options = Options {
        patience: Patience::impatient(),
        ..Options::new(payload.firmware(version, Some(SIZE)).unwrap())
    };
    let pty = PtyLine::new(payload.root().join("run/ttyPayload")).unwrap();
    let line = Line::new(Port::made(pty.clone()), line);
    payload.start_daemon().unwrap();
    let aircraft = thread::spawn(move || {
        let mut steps = Vec::new();
        let verdict = aircraft::run(&options, line, &mut |step| steps.push(step.clone()));
        (verdict, steps)
    });
    let asked = payload.wait_for_restart_request();
    if replug {
        pty.unplug();
    }
    payload.reboot();
    if replug {
        pty.plug().unwrap();
    }
    let (verdict, steps) = aircraft.join().unwrap();
    assert!(asked.is_ok(), "{asked:?}\n{verdict:?}");
    assert!(verdict.is_success(), "{verdict:?}");
    assert_eq!(payload.reported_version().unwrap(), "V02.00.00.00");
    (verdict, steps)
}

#[test]
fn an_upgrade_over_the_link_survives_a_bad_line() {
    for seed in 1..=3 {
        let mut payload = payload("921600");
        let (verdict, _) = upgrade(
            &mut payload,
            &LineOptions { damage: BAD, seed, ..LineOptions::default() },
            false,
        );
        assert_eq!(verdict.transfer, Some(Transfer::Dcftp));
        assert!(verdict.repeats > 0, "the line was not bad at all");
    }
}

#[test]
fn an_upgrade_by_ftp_survives_a_bad_line() {
    let mut payload = payload("921600");
    payload.start_ftp_server().unwrap();
    let (verdict, _) = upgrade(
        &mut payload,
        &LineOptions { damage: BAD, seed: 4, ..LineOptions::default() },
        false,
    );
    assert_eq!(verdict.transfer, Some(Transfer::Ftp));
}

#[test]
fn the_daemon_finds_the_speed_and_an_adapter_that_was_away() {
    let mut payload = payload("\"auto\"");
    let (_, steps) = upgrade(
        &mut payload,
        &LineOptions { answer_baud: Some(460_800), ..LineOptions::default() },
        true,
    );
    assert!(steps.contains(&Step::PortLost), "{steps:?}");
}
