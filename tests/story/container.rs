//! Containers (docs/wire/container.md): what is built is what is installed, over every way; and what
//! is wrong of one is refused, early where that can be seen early.

mod bit_flips;
mod by_others;
mod deltas;
mod packing;
mod refused;
mod shop;

use std::fs;
use std::path::{Path, PathBuf};

use uplift::model::{FailureKind, Outcome, ProgramDigest};
use uplift_sim::signer::Signer;

use crate::world::payload::{NEW, Payload, Transfer};
use crate::world::web::python::Python;

const SIZE: u64 = 3 << 20;

fn new_signer() -> Signer {
    Signer::new(Path::new(env!("CARGO_BIN_EXE_uplift"))).unwrap()
}

/// Sections of a payload that takes nothing but what this signer sealed.
fn trusting(signer: &Signer) -> String {
    format!("[package]\nseal = \"required\"\n{}", signer.trusted_section())
}

/// Firmware of this version that compresses, and not to nothing, as it was built. What stands behind
/// its end is lost where anything is appended to it or cut off.
fn built(payload: &Payload, version: &str) -> PathBuf {
    let firmware = payload.firmware_of(version, 100_000);
    let mut random = fastrand::Rng::with_seed(1);
    let mut bytes = fs::read(&firmware).unwrap();
    bytes.extend((0..SIZE).map(|at| (at / 97 % 251) as u8));
    bytes.extend((0..SIZE / 8).map(|_| random.u8(..)));
    fs::write(&firmware, bytes).unwrap();
    firmware
}

/// The bytes at the path are those that were built, and the report says how many came.
#[track_caller]
fn is_installed(payload: &Payload, program: &[u8], sent: u64) {
    assert!(fs::read(payload.program()).unwrap() == program, "other bytes are installed");
    let report = payload.last_report();
    assert_eq!(report.outcome, Outcome::Succeeded, "{report:?}");
    let package = report.package.unwrap();
    assert_eq!((package.size, package.program_size), (sent, Some(program.len() as u64)));
    assert_ne!(ProgramDigest(package.file_digest.0), package.program_digest);
    assert!(sent < program.len() as u64 / 2, "{sent}");
    let (_, status) = payload.uplift(&["status"]);
    assert!(status.contains("came, a container of a program of 3.4 MiB"), "{status}");
    let left: Vec<_> =
        fs::read_dir(payload.stage()).unwrap().map(|one| one.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with("incoming")), "{left:?}");
}

#[test]
fn what_was_built_is_installed_at_the_shell_and_known_by_its_own_digest() {
    let signer = new_signer();
    let mut payload = Payload::setup().sections(&trusting(&signer)).start();
    let firmware = built(&payload, NEW);
    let program = fs::read(&firmware).unwrap();
    signer.compress(&firmware).unwrap();
    let output = payload.through_a_restart(&["install", firmware.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("came, a container of a program of"), "{text}");
    is_installed(&payload, &program, firmware.metadata().unwrap().len());
    // Another cover makes nothing new: it is the version that runs.
    signer
        .compress(&{
            fs::write(&firmware, &program).unwrap();
            firmware.clone()
        })
        .unwrap();
    payload.install_file(&firmware).wait_with_output().unwrap();
    assert_eq!(payload.ending(), (Outcome::Failed, Some(FailureKind::SameVersion)));
}

#[test]
fn it_comes_over_dcftp_and_ftp_from_the_aircraft() {
    let signer = new_signer();
    for transfer in Transfer::BOTH {
        let setup = Payload::setup().link("921600", None).ftp_server(transfer == Transfer::Ftp);
        let mut payload = setup.sections(&trusting(&signer)).start();
        let firmware = built(&payload, NEW);
        let program = fs::read(&firmware).unwrap();
        signer.compress(&firmware).unwrap();
        let aircraft = payload.aircraft(transfer, &firmware, &[]);
        if let Err(error) = payload.wait_for_restart_request() {
            panic!("{error:#}\n{}", aircraft.verdict());
        }
        payload.reboot();
        aircraft.hears("success");
        is_installed(&payload, &program, firmware.metadata().unwrap().len());
    }
}

#[test]
fn it_comes_over_http() {
    let (signer, server) = (new_signer(), Python::start());
    let mut payload = Payload::setup().sections(&trusting(&signer)).start();
    let firmware = built(&payload, NEW);
    let program = fs::read(&firmware).unwrap();
    signer.compress(&firmware).unwrap();
    let name = firmware.file_name().unwrap().to_str().unwrap();
    fs::copy(&firmware, server.files().join(name)).unwrap();
    let url = format!("http://{}/{name}", server.address);
    let output = payload.through_a_restart(&["install", &url]);
    assert!(output.status.success(), "{output:?}");
    is_installed(&payload, &program, firmware.metadata().unwrap().len());
}

/// A program that was rolled back is known as bad in any cover.
#[test]
fn a_program_that_failed_is_refused_in_a_container_too() {
    let signer = new_signer();
    let mut payload = Payload::setup().sections(&trusting(&signer)).start();
    let firmware = built(&payload, NEW);
    let program = fs::read(&firmware).unwrap();
    signer.compress(&firmware).unwrap();
    payload.through_a_restart(&["install", firmware.to_str().unwrap()]);
    assert_eq!(payload.last_report().outcome, Outcome::Succeeded, "{:?}", payload.last_report());
    payload.through_a_restart(&["rollback", "--yes"]);
    for seal in [Signer::seal_before, Signer::compress] {
        fs::write(&firmware, &program).unwrap();
        seal(&signer, &firmware).unwrap();
        payload.install_file(&firmware).wait_with_output().unwrap();
        assert_eq!(payload.ending(), (Outcome::Failed, Some(FailureKind::KnownBad)));
    }
}
