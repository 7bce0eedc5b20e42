//! Containers that other programs wrote, from docs/wire/container.md and docs/wire/delta.md alone.

use std::fs;
use std::path::Path;
use std::process::Command;

use uplift::model::Outcome;
use uplift_fixtures::executable;
use uplift_sim::signer::Signer;

use super::{built, new_signer, trusting};
use crate::world::payload::{NEW, OLD, Payload};

/// A short script, how long it may be.
const WRITER: (&str, usize) =
    (concat!(env!("CARGO_MANIFEST_DIR"), "/tests/container/write.py"), 80);
const WRITER_OF_DELTAS: (&str, usize) =
    (concat!(env!("CARGO_MANIFEST_DIR"), "/tests/container/delta.py"), 130);

/// Has the script pack a firmware file, in its place.
fn write(payload: &Payload, signer: &Signer, firmware: &Path, more: &[&str]) {
    for (script, most) in [WRITER, WRITER_OF_DELTAS] {
        let lines = fs::read_to_string(script).unwrap().lines().count();
        assert!(lines <= most, "{script} has {lines} lines");
    }
    // As `check` names it: the one that the installed program is for.
    let (_, told) = payload.uplift(&["check", firmware.to_str().unwrap()]);
    let line = told.lines().find_map(|line| line.split_once("machine     ")).unwrap().1;
    let machine = line.split_once(", as").unwrap().0;
    let written = payload.root().join("written");
    let mut writer = Command::new("python3");
    writer.args(["-B", WRITER.0]).arg(firmware).arg(&written);
    writer.args([NEW, machine]).arg(signer.secret_key()).arg(signer.id()).args(more);
    let output = writer.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    fs::rename(&written, firmware).unwrap();
}

/// The daemon takes it, and has the program then.
#[track_caller]
fn is_installed(payload: &mut Payload, firmware: &Path, program: &[u8]) {
    payload.through_a_restart(&["install", firmware.to_str().unwrap()]);
    assert_eq!(payload.last_report().outcome, Outcome::Succeeded, "{:?}", payload.last_report());
    assert!(fs::read(payload.program()).unwrap() == program);
}

#[test]
fn a_daemon_takes_what_a_short_script_writes() {
    let signer = new_signer();
    let mut payload = Payload::setup().sections(&trusting(&signer)).start();
    let firmware = built(&payload, NEW);
    let program = fs::read(&firmware).unwrap();
    write(&payload, &signer, &firmware, &[]);
    is_installed(&mut payload, &firmware, &program);
}

/// docs/wire/delta.md: what changes its program, with bytes that moved, that changed and that are new.
#[test]
fn a_daemon_takes_a_delta_that_a_short_script_writes() {
    let signer = new_signer();
    let setup = Payload::setup().sections(&trusting(&signer));
    let mut payload = setup.stopped();
    let mut random = fastrand::Rng::with_seed(6);
    let mut behind: Vec<u8> = (0..200_000).map(|_| random.u8(..)).collect();
    let built = |version: &str, behind: &[u8]| {
        let firmware = payload.firmware_of(version, 8000);
        fs::write(&firmware, [&fs::read(&firmware).unwrap()[..], behind].concat()).unwrap();
        firmware
    };
    let old = built(OLD, &behind);
    executable::write(&payload.program(), &fs::read(&old).unwrap()).unwrap();
    fs::remove_file(old).unwrap();
    for _ in 0..300 {
        behind[random.usize(..200_000)] = random.u8(..);
    }
    behind.splice(50_000..60_000, (0..700).map(|_| random.u8(..)));
    behind.extend_from_within(20_000..40_000);
    let firmware = built(NEW, &behind);
    setup.run(&mut payload);
    let program = fs::read(&firmware).unwrap();
    let old = payload.program();
    write(&payload, &signer, &firmware, &[old.to_str().unwrap(), OLD]);
    let size = firmware.metadata().unwrap().len();
    assert!(size < 20_000, "{size} bytes of {}", program.len());
    is_installed(&mut payload, &firmware, &program);
}
