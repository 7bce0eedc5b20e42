//! Sealed files: each way in which a seal can be wrong, and what a right one proves.

use super::signer::Signer;
use super::*;
use crate::seal::{Manifest, Seal};

/// The program's manifest, changed, and sealed.
pub(super) fn sealed(
    signer: &Signer,
    program: &[u8],
    change: impl FnOnce(&mut Manifest),
) -> Vec<u8> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(program).unwrap();
    let mut manifest = signer.manifest(RIGHT.parse().unwrap(), &file).unwrap();
    change(&mut manifest);
    [program, &signer.seal(&manifest).unwrap()].concat()
}

fn trusting(signer: &Signer, package: &str) -> Payload {
    Payload::new(&format!("[package]\n{package}\n{}", signer.trusted_section()))
}

#[test]
fn a_sealed_program_is_let_in_and_its_identity_is_the_program() {
    let (signer, program) = (Signer::new().unwrap(), program("V02.00.00.00"));
    let file = sealed(&signer, &program, |_| {});
    for payload in
        [trusting(&signer, "seal = \"required\""), trusting(&signer, ""), Payload::new("")]
    {
        let checked = payload.check(RIGHT, &file).unwrap();
        assert_eq!(checked.summary().program_digest, program_digest(&program[..]).unwrap());
        assert_ne!(checked.summary().file_digest.0, checked.summary().program_digest.0);
        let trusted_key = (!payload.rules.keys.is_empty()).then(|| signer.public().id());
        assert_eq!(
            checked.summary().trusted_key,
            trusted_key,
            "who signed counts where it is checked"
        );
    }
}

#[test]
fn the_ends_of_a_file_tell_whether_a_trusted_key_sealed_one_for_this_payload() {
    let (signer, other, program) =
        (Signer::new().unwrap(), Signer::new().unwrap(), program("V02.00.00.00"));
    let right = sealed(&signer, &program, |_| {});
    for (package, file, trusted) in [
        (trusting(&signer, ""), right.clone(), true),
        (trusting(&signer, "seal = \"optional\""), right.clone(), true),
        (Payload::new(""), right, false),
        (
            trusting(&signer, ""),
            sealed(&signer, &program, |manifest| manifest.product = "OTHER".into()),
            false,
        ),
        (trusting(&signer, ""), sealed(&other, &program, |_| {}), false),
        (trusting(&signer, ""), program.clone(), false),
        (trusting(&signer, ""), Vec::new(), false),
    ] {
        assert_eq!(package.rules.trusts_ends(&file, &file, file.len() as u64), trusted);
    }
}

#[test]
fn each_wrong_seal_has_its_kind() {
    let (signer, other, program) =
        (Signer::new().unwrap(), Signer::new().unwrap(), program("V02.00.00.00"));
    let right = sealed(&signer, &program, |_| {});
    let mut damaged = right.clone();
    damaged[program.len() + 20] ^= 1;
    let mut other_program = right.clone();
    other_program[program.len() - 80] ^= 1; // in the table of sections, behind everything that is looked at
    let seal = right[program.len()..].to_vec();
    let mut shorter = program[..program.len() - 1].to_vec();
    shorter.extend_from_slice(&seal);
    // Whoever holds no key can still sign with another one and claim the trusted id.
    let claim = |manifest: &mut Manifest| manifest.key_id = Some(signer.public().id());
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&program).unwrap();
    let mut claimed = other.manifest(RIGHT.parse().unwrap(), &file).unwrap();
    claim(&mut claimed);
    assert!(other.seal(&claimed).is_err(), "a manifest and a signature of two keys are no seal");
    let payload = trusting(&signer, "seal = \"required\"");
    for (bytes, kind, reason) in [
        (program.clone(), FailureKind::SealMissing, "sealed files only"),
        (right[..right.len() - 1].to_vec(), FailureKind::Truncated, "behind the program's end"),
        (damaged, FailureKind::SealInvalid, "the checksum differs"),
        (sealed(&other, &program, |_| {}), FailureKind::SealInvalid, "(the simulation)"),
        (
            sealed(&signer, &program, |manifest| manifest.product = "DEMO_2".into()),
            FailureKind::WrongProduct,
            "sealed for \"DEMO_2\"",
        ),
        (
            sealed(&signer, &program, |manifest| manifest.version = version("V03.00.00.00")),
            FailureKind::WrongVersion,
            "V03.00.00.00",
        ),
        (
            sealed(&signer, &program, |manifest| manifest.machine = "Z80".into()),
            FailureKind::WrongMachine,
            "sealed for \"Z80\"",
        ),
        (
            sealed(&signer, &program, |manifest| manifest.size += 1),
            FailureKind::Truncated,
            "when it was sealed",
        ),
        (other_program, FailureKind::DigestMismatch, "when it was sealed"),
        (shorter, FailureKind::Truncated, "bytes are missing"),
        (
            sealed(&signer, &program, |manifest| {
                manifest.replaces_from = Some(version("V01.50.00.00"));
            }),
            FailureKind::WrongVersion,
            "V01.00.00.00 runs; install one in between first",
        ),
    ] {
        let failure = payload.check(RIGHT, &bytes).unwrap_err();
        assert!(
            failure.kind == kind && failure.to_string().contains(reason),
            "{kind}: {failure:?}"
        );
    }
    let trusted_alone = format!("this payload trusts only {}", signer.public().id());
    let failure = payload.check(RIGHT, &sealed(&other, &program, |_| {})).unwrap_err();
    assert!(failure.sentence.contains(&trusted_alone), "{failure}");
}

/// A signature of the trusted key over another manifest, put behind this one.
#[test]
fn a_signature_over_something_else_does_not_hold() {
    let (signer, program) = (Signer::new().unwrap(), program("V02.00.00.00"));
    let of = |bytes: &[u8]| Seal::read(std::io::Cursor::new(bytes)).unwrap().unwrap();
    let signed = of(&sealed(&signer, &program, |_| {}));
    let wanted = of(&sealed(&signer, &program, |manifest| {
        manifest.replaces_from = Some(version("V00.00.00.00"));
    }));
    let seal = Seal::to_bytes(&wanted.manifest_text, signed.signature.text()).unwrap();
    let failure = trusting(&signer, "").check(RIGHT, &[program, seal].concat()).unwrap_err();
    assert_eq!(failure.kind, FailureKind::SealInvalid);
    assert!(failure.sentence.contains("does not hold"), "{failure}");
}

#[test]
fn a_seal_that_is_there_must_be_right_even_where_none_is_required() {
    let (signer, other, program) =
        (Signer::new().unwrap(), Signer::new().unwrap(), program("V02.00.00.00"));
    assert_eq!(
        trusting(&signer, "").kind(RIGHT, &program),
        FailureKind::SealMissing,
        "where nothing is said, a key is enough"
    );
    let payload = trusting(&signer, "seal = \"optional\"");
    assert!(payload.check(RIGHT, &program).is_ok());
    assert_eq!(payload.kind(RIGHT, &sealed(&other, &program, |_| {})), FailureKind::SealInvalid);
    let without_keys = Payload::new("");
    assert!(without_keys.check(RIGHT, &sealed(&other, &program, |_| {})).is_ok());
    let wrong = sealed(&other, &program, |manifest| manifest.product = "OTHER".into());
    assert_eq!(without_keys.kind(RIGHT, &wrong), FailureKind::WrongProduct);
}

#[test]
fn without_keys_the_finding_says_that_the_signer_is_not_checked() {
    let (signer, payload) = (Signer::new().unwrap(), Payload::new(""));
    let staged = payload.stage(RIGHT, &sealed(&signer, &program("V02.00.00.00"), |_| {}));
    let subject = Subject {
        file_name: Some(RIGHT),
        path: staged.path(),
        size: staged.size,
        digests: Some(staged.digests),
        owned: true,
    };
    let examination = examine(subject, &payload.rules);
    let finding = examination.findings.iter().find(|finding| finding.check == Check::Seal).unwrap();
    let Verdict::Passed(text) = &finding.verdict else { panic!("{finding:?}") };
    assert_eq!(
        *text,
        format!(
            "signed by key {}, which is not checked: no keys are configured",
            signer.public().id()
        )
    );
    assert_eq!(examination.seal.unwrap().manifest.product, "DEMO");
}

#[test]
fn a_seal_proves_a_program_complete_that_can_not_prove_it_by_itself() {
    const E_SHOFF: usize = 40;
    let signer = Signer::new().unwrap();
    let mut stripped = program("V02.00.00.00");
    stripped[E_SHOFF..E_SHOFF + 8].fill(0);
    let with_data_behind = [&program("V02.00.00.00")[..], b"data"].concat();
    for program in [stripped, with_data_behind] {
        let payload = trusting(&signer, "");
        assert_eq!(payload.kind(RIGHT, &program), FailureKind::Truncated);
        assert!(payload.check(RIGHT, &sealed(&signer, &program, |_| {})).is_ok());
    }
}

#[test]
fn what_a_file_may_replace_is_not_guessed_at() {
    let signer = Signer::new().unwrap();
    let file = sealed(&signer, &program("V02.00.00.00"), |manifest| {
        manifest.replaces_from = Some(version("V00.00.00.01"));
    });
    let mut payload = trusting(&signer, "");
    payload.rules = payload.rules.running(None);
    assert!(payload.check(RIGHT, &file).is_ok(), "where nothing is installed nothing is replaced");
    for running in ["V00.00.00.01", "V01.00.00.00"] {
        payload.rules = payload.rules.running(Some(version(running)));
        assert!(payload.check(RIGHT, &file).is_ok(), "{running} may be replaced");
    }
    payload.rules = payload.rules.running(None);
    File::create(payload.directory.path().join("program")).unwrap().write_all(b"a script").unwrap();
    for forced in [false, true] {
        payload.rules = payload.rules.forced(forced);
        let failure = payload.check(RIGHT, &file).unwrap_err();
        assert!(
            failure.kind == FailureKind::WrongVersion
                && failure.sentence.ends_with("the version that runs is not known"),
            "{failure}"
        );
        assert!(failure.hint().contains("version_command"), "{failure:?}");
    }
    let of_any = sealed(&signer, &program("V02.00.00.00"), |_| {});
    assert!(payload.check(RIGHT, &of_any).is_ok());
}

#[test]
fn sealing_a_known_bad_program_again_does_not_make_it_new() {
    let (signer, program) = (Signer::new().unwrap(), program("V02.00.00.00"));
    let mut payload = trusting(&signer, "");
    payload.rules = payload.rules.known_bad([program_digest(&program[..]).unwrap()].into());
    for again in 0..2 {
        let file = sealed(&signer, &program, |manifest| manifest.created = again.to_string());
        assert_eq!(payload.kind(RIGHT, &file), FailureKind::KnownBad);
    }
}

#[test]
fn an_old_version_does_not_come_back_however_it_is_sealed() {
    let (signer, program) = (Signer::new().unwrap(), program("V02.00.00.00"));
    let file = sealed(&signer, &program, |_| {});
    let mut payload = trusting(&signer, "seal = \"required\"");
    for (running, minimum) in [(Some("V01.00.00.00"), "V02.00.00.01"), (None, "V03.00.00.00")] {
        payload.rules = payload.rules.running(running.map(version)).minimum(Some(version(minimum)));
        let failure = payload.check(RIGHT, &file).unwrap_err();
        assert!(
            failure.kind == FailureKind::Downgrade
                && failure.sentence.contains("succeeded here before"),
            "{failure}"
        );
    }
    payload.rules = payload.rules.minimum(Some(version("V02.00.00.00")));
    assert!(payload.check(RIGHT, &file).is_ok(), "the very version that succeeded is not lower");
    payload.rules = payload.rules.minimum(Some(version("V09.00.00.00"))).forced(true);
    assert!(payload.check(RIGHT, &file).is_ok(), "a person may");
    assert_eq!(payload.kind(RIGHT, &program), FailureKind::SealMissing, "but not without a seal");
}
