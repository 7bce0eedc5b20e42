//! What a payload may be besides an ELF program, and seals that stand before it.

use super::signer::Signer;
use super::*;
use crate::config::Format;
use crate::seal::{Manifest, Place};

const SCRIPT: &[u8] = b"#!/bin/sh\necho V02.00.00.00\n";
const PACKAGE: &[u8] = b"!<arch>\ndebian-binary   and what else is in one";

/// The payload with a seal by this signer, which says this besides.
fn sealed_as(signer: &Signer, payload: &[u8], change: impl FnOnce(&mut Manifest)) -> Vec<u8> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(payload).unwrap();
    let mut manifest = signer.manifest(RIGHT.parse().unwrap(), &file).unwrap();
    manifest.place = Place::Before;
    change(&mut manifest);
    let seal = signer.seal(&manifest).unwrap();
    match manifest.place {
        Place::Before => [&seal, payload].concat(),
        Place::Behind => [payload, &seal].concat(),
    }
}

fn sealed(signer: &Signer, payload: &[u8]) -> Vec<u8> {
    sealed_as(signer, payload, |_| {})
}

fn payload(signer: &Signer, format: Format, program: &str) -> Payload {
    let mut payload = Payload::new(&format!("{program}\n[package]\n{}", signer.trusted_section()));
    payload.rules = payload.rules.format(format);
    payload
}

fn without_seals(format: Format, package: &str) -> Payload {
    let mut payload = Payload::new(&format!("[package]\n{package}"));
    payload.rules = payload.rules.format(format);
    payload
}

/// The file, and what of it somebody else is handed.
fn handed_on(checked: Checked) -> (Staged, Vec<u8>) {
    let (file, length) = checked.into_payload();
    let mut read = std::fs::read(file.path()).unwrap();
    read.truncate(length as usize);
    (file, read)
}

/// What is staged is the payload alone, in the only file that is left in the stage.
#[test]
fn a_seal_before_the_payload_is_taken_away() {
    let signer = Signer::new().unwrap();
    let version_command = "version_command = [\"--version\"]";
    for (format, command, bytes) in [
        (Format::Elf, version_command, program("V02.00.00.00")),
        (Format::Script, version_command, SCRIPT.to_vec()),
        (Format::Any, version_command, PACKAGE.to_vec()),
        (Format::Any, "", [7; 100_000].to_vec()),
    ] {
        let payload = payload(&signer, format, command);
        let file = sealed(&signer, &bytes);
        let checked = payload.check(RIGHT, &file).unwrap();
        let summary = checked.summary().clone();
        assert_eq!(summary.program_digest, program_digest(&bytes[..]).unwrap());
        assert_eq!((summary.size, summary.file_name.as_str()), (file.len() as u64, RIGHT));
        assert_eq!(summary.trusted_key, Some(signer.public().id()));
        let area = payload.directory.path().join(".uplift");
        assert_eq!(area.read_dir().unwrap().count(), 1);
        let staged = checked.staged.path().to_owned();
        assert_eq!(std::fs::read(&staged).unwrap(), bytes);
        assert_eq!(staged.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let (file, handed_on) = handed_on(checked);
        assert_eq!(handed_on, bytes);
        drop(file);
        assert_eq!(area.read_dir().unwrap().count(), 0);
    }
}

/// Behind an ELF program it stays, for the swap; who hands the payload on does so without it.
#[test]
fn a_seal_behind_a_program_is_not_read_as_a_part_of_it() {
    let (signer, program) = (Signer::new().unwrap(), program("V02.00.00.00"));
    let file = sealed_as(&signer, &program, |manifest| manifest.place = Place::Behind);
    for format in [Format::Elf, Format::Any] {
        let payload = payload(&signer, format, "");
        let checked = payload.check(RIGHT, &file).unwrap();
        assert_eq!(std::fs::read(checked.staged.path()).unwrap(), file);
        assert_eq!(handed_on(checked).1, program);
    }
}

#[test]
fn each_wrong_file_of_a_format_has_its_kind_and_says_what_to_do() {
    let (signer, program) = (Signer::new().unwrap(), program("V02.00.00.00"));
    let behind =
        |payload: &[u8]| sealed_as(&signer, payload, |manifest| manifest.place = Place::Behind);
    let machine = |payload: &[u8]| sealed_as(&signer, payload, |m| m.machine = "Z80".into());
    let (sealed, unsealed) = (|bytes: &[u8]| sealed(&signer, bytes), |bytes: &[u8]| bytes.to_vec());
    let mut damaged = sealed(PACKAGE);
    *damaged.last_mut().unwrap() ^= 1;
    use FailureKind::{DigestMismatch, SealInvalid, SealMissing, Truncated, WrongMachine};
    for (format, bytes, kind, reason) in [
        (Format::Elf, sealed(SCRIPT), WrongMachine, "a script for \"/bin/sh\", not an ELF program"),
        (Format::Elf, sealed(PACKAGE), WrongMachine, "a Debian package, not an ELF program"),
        (Format::Script, sealed(&program), WrongMachine, "an ELF program, not a script"),
        (Format::Script, sealed(PACKAGE), WrongMachine, "a Debian package, not a script"),
        (Format::Script, sealed(b"#!sh\n"), WrongMachine, "names no interpreter"),
        (Format::Script, sealed(b"#!/no/sh\n"), WrongMachine, "the interpreter \"/no/sh\""),
        (Format::Script, unsealed(SCRIPT), Truncated, "nothing else proves that it is whole"),
        (
            Format::Script,
            behind(SCRIPT),
            SealInvalid,
            "stands behind a file that is no ELF program",
        ),
        (Format::Script, machine(SCRIPT), WrongMachine, "is for any, and sealed for \"Z80\""),
        (Format::Any, unsealed(PACKAGE), Truncated, "nothing else proves that it is whole"),
        (Format::Any, unsealed(&program), Truncated, "nothing else proves that it is whole"),
        (Format::Any, behind(PACKAGE), SealInvalid, "stands behind a file that is no ELF program"),
        (Format::Any, machine(&program), WrongMachine, "and sealed for \"Z80\""),
        (Format::Any, damaged, DigestMismatch, "when it was sealed"),
        (Format::Any, sealed(PACKAGE)[..400].to_vec(), SealInvalid, "larger than the file"),
    ] {
        let payload = payload(&signer, format, "");
        let failure = payload.check(RIGHT, &bytes).unwrap_err();
        assert!(
            failure.kind == kind && failure.to_string().contains(reason),
            "{format:?}, {reason}: {failure:?}"
        );
        assert!(kind != Truncated || failure.hint().contains("`uplift pack`"), "{failure:?}");
        assert!(!reason.contains("/no/sh") || failure.hint().contains("first line"), "{failure:?}");
        assert_eq!(payload.directory.path().join(".uplift").read_dir().unwrap().count(), 0);
    }
    let only = payload(&signer, Format::Any, "").rules;
    let failure =
        examine_at(&without_seals(Format::Any, "allow_unproven_end = true"), PACKAGE, &only);
    assert_eq!(failure.unwrap_err().kind, SealMissing);
}

fn examine_at(payload: &Payload, bytes: &[u8], rules: &Rules) -> Result<Checked, Failure> {
    let mut rules = rules.clone();
    rules.allow_unproven_end = true;
    check(payload.stage(RIGHT, bytes), &rules)
}

#[test]
fn the_configuration_can_let_in_what_has_no_seal() {
    for (format, bytes) in [(Format::Script, SCRIPT), (Format::Any, PACKAGE)] {
        let payload = without_seals(format, "allow_unproven_end = true");
        let checked = payload.check(RIGHT, bytes).unwrap();
        assert_eq!(std::fs::read(checked.staged.path()).unwrap(), bytes);
    }
}

/// A header alone: nothing was sealed that could be installed.
#[test]
fn an_empty_payload_is_none() {
    let (signer, payload) = (Signer::new().unwrap(), without_seals(Format::Any, ""));
    let file = sealed_as(&signer, b"x", |manifest| manifest.size = 0);
    let failure = payload.check(RIGHT, &file[..file.len() - 1]).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Truncated);
    assert!(failure.sentence.contains("nothing in the file but its seal"), "{failure}");
}

/// A script and a program are asked for their version as they will lie there.
#[test]
fn what_had_a_seal_before_it_is_asked_for_its_version_without() {
    let signer = Signer::new().unwrap();
    let other = b"#!/bin/sh\necho V03.00.00.00\n";
    let command = "version_command = [\"--version\"]";
    for (format, bytes) in [(Format::Script, &other[..]), (Format::Elf, &program("V03.00.00.00"))] {
        let failure =
            payload(&signer, format, command).check(RIGHT, &sealed(&signer, bytes)).unwrap_err();
        assert_eq!(failure.kind, FailureKind::WrongVersion);
        assert!(failure.sentence.contains("prints version V03.00.00.00"), "{failure}");
    }
    let package = sealed(&signer, PACKAGE);
    assert!(payload(&signer, Format::Any, command).check(RIGHT, &package).is_ok());
}

/// `uplift check` of a file of somebody's own does not cut it.
#[test]
fn a_file_that_is_only_explained_is_not_run_with_its_seal_before_it() {
    let signer = Signer::new().unwrap();
    let file = sealed(&signer, SCRIPT);
    for (format, said) in [(Format::Script, "once it lies there without"), (Format::Elf, "failed")]
    {
        let payload = payload(&signer, format, "version_command = []");
        let path = payload.directory.path().join("file");
        File::create(&path).unwrap().write_all(&file).unwrap();
        let size = file.len() as u64;
        let subject =
            Subject { file_name: Some(RIGHT), path: &path, size, digests: None, owned: false };
        let examination = examine(subject, &payload.rules);
        let Verdict::Skipped(why) = &examination.findings.last().unwrap().verdict else {
            panic!("{examination:?}")
        };
        assert!(why.contains(said), "{why}");
        assert_eq!(examination.findings.len(), Check::ALL.len());
    }
}

#[test]
fn sealing_before_does_not_make_a_known_bad_payload_new() {
    let (signer, program) = (Signer::new().unwrap(), program("V02.00.00.00"));
    let mut payload = payload(&signer, Format::Elf, "");
    payload.rules = payload.rules.known_bad([program_digest(&program[..]).unwrap()].into());
    assert_eq!(payload.kind(RIGHT, &sealed(&signer, &program)), FailureKind::KnownBad);
}

/// As on the machine that makes releases.
#[test]
fn where_no_payload_is_known_a_sealed_file_is_judged_by_what_it_is() {
    let (signer, payload) = (Signer::new().unwrap(), Payload::new(""));
    let mut rules = Rules::without_payload(&crate::config::Package::default());
    let check = |rules: &Rules, bytes: &[u8]| check(payload.stage(RIGHT, bytes), rules).map(drop);
    for bytes in [SCRIPT, PACKAGE, &program("V02.00.00.00")] {
        assert_eq!(check(&rules, &sealed(&signer, bytes)), Ok(()));
    }
    let failure = check(&rules, &sealed(&signer, b"#!sh\n")).unwrap_err();
    assert!(failure.sentence.contains("names no interpreter"), "{failure}");
    rules.allow_unproven_end = true;
    let failure = check(&rules, PACKAGE).unwrap_err();
    assert!(failure.sentence.contains("a Debian package, not an ELF program"), "{failure}");
}

/// Whoever installs it never sees the seal.
#[test]
fn a_seal_may_stand_behind_what_another_updater_is_handed() {
    let signer = Signer::new().unwrap();
    let text = format!(
        "[component.modem]\nkind = \"command\"\nproduct = \"DEMO\"\ninstall = [\"true\", \"{{file}}\"]\n[package]\n{}",
        signer.trusted_section()
    );
    let config = Config::parse(&text, Path::new("test.toml")).unwrap();
    let component = config.components.iter().next().unwrap();
    let payload = Payload { rules: Rules::new(component, &config.package), ..Payload::new("") };
    let bytes = sealed_as(&signer, PACKAGE, |manifest| manifest.place = Place::Behind);
    let checked = check(payload.stage(RIGHT, &bytes), &payload.rules).unwrap();
    assert!(handed_on(checked).1 == PACKAGE);
}
