//! What changes the program that is installed (docs/wire/container.md, a stream with a base): it is taken
//! by payloads with that program, and refused at the front by others, where the whole is not beside it.

use std::fs;
use std::path::{Path, PathBuf};

use fastrand::Rng;
use uplift::config::Config;
use uplift::model::{FailureKind, Outcome};
use uplift::package::check::{Doorkeeper, Rules};
use uplift::stage::Watch as _;
use uplift_fixtures::executable;
use uplift_sim::signer::Signer;

use super::shop::Parts;
use super::{built, new_signer, trusting};
use crate::world::payload::{NEW, OLD, Payload, Transfer};
use crate::world::watched::Watched as _;

/// A payload that runs a program like the new one, and the new one's file.
fn payload(sections: &str, link: bool, ftp: bool) -> (Payload, PathBuf) {
    let setup = Payload::setup().sections(sections).ftp_server(ftp);
    let setup = if link { setup.link("921600", None) } else { setup };
    let mut payload = setup.stopped();
    let old = built(&payload, OLD);
    executable::write(&payload.program(), &fs::read(&old).unwrap()).unwrap();
    fs::remove_file(old).unwrap();
    setup.run(&mut payload);
    let firmware = built(&payload, NEW);
    (payload, firmware)
}

/// The new program is there, and little more came than the 100,000 bytes that are new in each version.
#[track_caller]
fn is_changed(payload: &Payload, program: &[u8], firmware: &Path) {
    let report = payload.last_report();
    assert_eq!(report.outcome, Outcome::Succeeded, "{report:?}");
    assert!(fs::read(payload.program()).unwrap() == program, "other bytes are installed");
    let package = report.package.unwrap();
    assert_eq!(package.size, firmware.metadata().unwrap().len());
    assert_eq!(package.program_size, Some(program.len() as u64));
    assert!(package.size < 110_000, "{}", package.size);
}

#[test]
fn it_comes_over_dcftp_and_ftp_from_the_aircraft_and_is_rolled_back() {
    let signer = new_signer();
    for transfer in Transfer::BOTH {
        let (mut payload, firmware) = payload(&trusting(&signer), true, transfer == Transfer::Ftp);
        let (old, program) = (payload.program(), fs::read(&firmware).unwrap());
        let before = fs::read(&old).unwrap();
        signer.change(&firmware, (OLD, &old), true).unwrap();
        let aircraft = payload.aircraft(transfer, &firmware, &[]);
        if let Err(error) = payload.wait_for_restart_request() {
            panic!("{error:#}\n{}", aircraft.verdict());
        }
        payload.reboot();
        aircraft.hears("success");
        is_changed(&payload, &program, &firmware);
        payload.through_a_restart(&["rollback", "--yes"]);
        assert!(fs::read(payload.program()).unwrap() == before, "it is not what it was");
    }
}

/// What is installed, of this file, is changed by the next one.
fn the_next_one_is_changed(signer: &Signer, payload: &mut Payload, firmware: &Path) {
    let next = built(payload, "V03.00.00.00");
    let program = fs::read(&next).unwrap();
    signer.change(&next, (NEW, firmware), true).unwrap();
    payload.through_a_restart(&["install", next.to_str().unwrap()]);
    is_changed(payload, &program, &next);
}

/// With the whole beside it, a payload with any program takes the file; and what is installed by a
/// change is a base for the next one.
#[test]
fn the_shell_takes_the_change_where_it_fits_and_else_the_whole() {
    let signer = new_signer();
    let (mut payload, firmware) = payload(&trusting(&signer), false, false);
    let program = fs::read(&firmware).unwrap();
    let other = payload.root().join("other");
    fs::write(&other, [&fs::read(payload.program()).unwrap()[..], b"more"].concat()).unwrap();
    signer.change(&firmware, (OLD, &other), false).unwrap();
    payload.through_a_restart(&["install", firmware.to_str().unwrap()]);
    assert_eq!(payload.last_report().outcome, Outcome::Succeeded, "{:?}", payload.last_report());
    assert!(fs::read(payload.program()).unwrap() == program);
    the_next_one_is_changed(&signer, &mut payload, &firmware);
}

/// The seal behind an installed program is no part of what is changed.
#[test]
fn a_program_that_is_installed_with_its_seal_is_a_base_too() {
    let signer = new_signer();
    let (mut payload, firmware) = payload(&trusting(&signer), false, false);
    signer.seal_file(&firmware).unwrap();
    payload.through_a_restart(&["install", firmware.to_str().unwrap()]);
    the_next_one_is_changed(&signer, &mut payload, &firmware);
}

#[test]
fn another_program_is_told_at_the_front_over_the_link() {
    let signer = new_signer();
    let (payload, firmware) = payload(&trusting(&signer), true, false);
    let old = payload.root().join("another");
    // Of which enough is new that much of the file would come.
    let mut bytes = fs::read(payload.program()).unwrap();
    let mut random = Rng::with_seed(9);
    bytes.truncate(bytes.len() / 2);
    bytes.extend((0..1000).map(|_| random.u8(..)));
    fs::write(&old, bytes).unwrap();
    signer.change(&firmware, ("V01.02.00.00", &old), true).unwrap();
    payload.aircraft(Transfer::Dcftp, &firmware, &[]).hears("failure");
    // The host may begin again with another file.
    let upgrade = payload.status().unwrap().upgrade.expect("it waits for the host");
    let failure = upgrade.failure.expect("it is told why");
    assert_eq!(failure.kind, FailureKind::WrongBase, "{failure}");
    assert_eq!(
        failure.sentence,
        "the file is only what changes V01.02.00.00 into V02.00.00.00, and V01.00.00.00 is here"
    );
    assert!(!payload.logs().contains("checking"), "it never was whole");
}

/// The same version, and a byte of it is another one: a change of it would make something else.
#[test]
fn a_program_that_was_modified_is_not_changed() {
    let signer = new_signer();
    let (payload, firmware) = payload(&trusting(&signer), false, false);
    signer.change(&firmware, (OLD, &payload.program()), true).unwrap();
    let file = fs::read(&firmware).unwrap();
    let mut modified = fs::read(payload.program()).unwrap();
    let last = modified.len() - 1;
    modified[last] ^= 1;
    let beside = payload.root().join("modified");
    executable::write(&beside, &modified).unwrap();
    fs::rename(&beside, payload.program()).unwrap();
    payload.install_file(&firmware).wait_with_output().unwrap();
    let failure = payload.last_report().failure.unwrap();
    assert_eq!(failure.kind, FailureKind::WrongBase);
    let words = "another program of version V01.00.00.00 is here, with SHA-256";
    assert!(failure.sentence.contains(words), "{failure}");
    let (_, explained) = payload.uplift(&["check", firmware.to_str().unwrap()]);
    assert!(explained.contains(words) && explained.contains("wrong-base"), "{explained}");
    assert!(fs::read(payload.program()).unwrap() == modified);
    // As much of it was taken as the front has.
    let config = Config::load(&payload.root().join("uplift.toml")).unwrap();
    let rules = Rules::new(config.components.iter().next().unwrap(), &config.package);
    let name = Some(format!("PSDK_APPALIAS_{NEW}.bin"));
    let mut doorkeeper = Doorkeeper::new(rules, name);
    let taken = file.chunks(500).position(|piece| doorkeeper.update(piece).is_err()).unwrap() * 500;
    assert!(taken < 2500, "{taken}");
}

/// Every piece is right, and the stream itself is not, or not one of these programs.
#[test]
fn a_stream_that_is_none_or_of_another_program_is_refused() {
    let (payload, firmware) = payload("", false, false);
    let new = fs::read(&firmware).unwrap();
    let old = fs::read(payload.program()).unwrap();
    let packed = super::shop::packed_from(&firmware, OLD, &payload.program());
    let parts = || Parts::of(&packed);
    let stream = parts().stream;
    let delta = |old: &[u8], new: &[u8]| {
        let mut delta = Vec::new();
        uplift_delta::make(old, new, 4 << 20, 1, &mut delta, &|_| ()).unwrap();
        delta
    };
    let half = stream.len() / 2;
    let (longer, other) = ([&new[..], b"x"].concat(), [&new[..new.len() - 1], b"x"].concat());
    let beyond = delta(&[&vec![7; 1 << 20], &new[..]].concat(), &new);
    for (stream, kind, words) in [
        (vec![0; 100], FailureKind::SealInvalid, "can't be unpacked"),
        (vec![7; 100], FailureKind::SealInvalid, "its first byte is not zero"),
        (stream[..half].to_vec(), FailureKind::SealInvalid, "it ends before its end"),
        ([&stream[..], b"x"].concat(), FailureKind::SealInvalid, "behind its end"),
        (delta(&old, &longer), FailureKind::SealInvalid, "can't be unpacked"),
        (delta(&old, &other), FailureKind::DigestMismatch, "had"),
        (beyond, FailureKind::SealInvalid, "outside of the old program"),
    ] {
        let file = parts().with_stream(stream).bytes();
        super::refused::offer(&payload, &firmware, &file, kind, words);
    }
    let wide = parts().with(|one| one.streams[0].base.as_mut().unwrap().size += 1).bytes();
    super::refused::offer(&payload, &firmware, &wide, FailureKind::WrongBase, "another program");
}
