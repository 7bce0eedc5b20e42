//! A bad serial line: one bit in ten thousand turned over, one frame in twenty lost and one
//! doubled, in both directions. The upgrade takes longer and still succeeds, through the real
//! daemon, its restart, and the acknowledgement of its report.

use std::path::Path;
use std::thread;

use uplift_sim::Version;
use uplift_sim::aircraft::{self, Options, Patience, Step, Transfer, Verdict};
use uplift_sim::line::{Damage, Line, LineOptions, Port, PtyLine};
use uplift_sim::sandbox::{Sandbox, free_address};

const BAD: Damage = Damage { bit_error_rate: 1e-4, drop: 0.05, duplicate: 0.05 };
/// Small: each frame that does not get through costs a fifth of a second.
const SIZE: u64 = 16 << 10;

fn sandbox(baud: &str) -> Sandbox {
    let mut sandbox = Sandbox::new(Path::new(env!("CARGO_BIN_EXE_uplift"))).unwrap();
    let sections = sandbox.link_sections(&baud, free_address().unwrap());
    sandbox.install_by_hand(Version([1, 0, 0, 0])).unwrap();
    sandbox.configure(&sandbox.restart_line(), &sections).unwrap();
    sandbox.start_program().unwrap();
    sandbox
}

/// One upgrade from V01 to V02 over such a line. `replug` pulls the adapter out during the restart.
fn upgrade(sandbox: &mut Sandbox, line: &LineOptions, replug: bool) -> (Verdict, Vec<Step>) {
    let version = Version([2, 0, 0, 0]);
    // On such a line many a frame is lost, and a host that backs off takes long.
    let options = Options {
        patience: Patience::impatient(),
        ..Options::new(sandbox.firmware(version, Some(SIZE)).unwrap())
    };
    let pty = PtyLine::new(sandbox.root().join("run/ttyPayload")).unwrap();
    let line = Line::new(Port::made(pty.clone()), line);
    sandbox.start_daemon().unwrap();
    let aircraft = thread::spawn(move || {
        let mut steps = Vec::new();
        let verdict = aircraft::run(&options, line, &mut |step| steps.push(step.clone()));
        (verdict, steps)
    });
    let restarted = sandbox.wait_for_restart_request().and_then(|()| {
        if replug {
            pty.unplug();
        }
        sandbox.reboot()
    });
    if replug {
        pty.plug().unwrap();
    }
    let (verdict, steps) = aircraft.join().unwrap();
    let log = std::fs::read_to_string(sandbox.log("daemon")).unwrap_or_default();
    assert!(restarted.is_ok(), "{restarted:?}\n{verdict:?}\n{log}");
    assert!(verdict.is_success(), "{verdict:?}\n{log}");
    assert_eq!(sandbox.reported_version().unwrap(), "V02.00.00.00");
    (verdict, steps)
}

#[test]
fn an_upgrade_over_the_link_survives_a_bad_line() {
    for seed in 1..=3 {
        let mut sandbox = sandbox("921600");
        let (verdict, _) = upgrade(
            &mut sandbox,
            &LineOptions { damage: BAD, seed, ..LineOptions::default() },
            false,
        );
        assert_eq!(verdict.transfer, Some(Transfer::Dcftp));
        assert!(verdict.repeats > 0, "the line was not bad at all");
    }
}

#[test]
fn an_upgrade_by_ftp_survives_a_bad_line() {
    let mut sandbox = sandbox("921600");
    sandbox.start_ftp_server().unwrap();
    let (verdict, _) = upgrade(
        &mut sandbox,
        &LineOptions { damage: BAD, seed: 4, ..LineOptions::default() },
        false,
    );
    assert_eq!(verdict.transfer, Some(Transfer::Ftp));
}

#[test]
fn the_daemon_finds_the_speed_and_an_adapter_that_was_away() {
    let mut sandbox = sandbox("\"auto\"");
    let (_, steps) = upgrade(
        &mut sandbox,
        &LineOptions { answer_baud: Some(460_800), ..LineOptions::default() },
        true,
    );
    assert!(steps.contains(&Step::PortLost), "{steps:?}");
}
