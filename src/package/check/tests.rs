use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::config::Config;
use crate::digest::program_digest;
use crate::model::FailureKind;
use crate::model::version::Version;
use crate::stage::{Announced, Stage};
use uplift_fixtures::elf::{Architecture, Program};

mod formats;
mod seals;
pub(crate) mod signer;
mod unstaged;

/// A payload whose program is this test's own, with a staging area.
struct Payload {
    directory: tempfile::TempDir,
    rules: Rules,
}

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

fn program(version_told: &str) -> Vec<u8> {
    Program::new(Architecture::host().unwrap(), version(version_told).numbers()).bytes()
}

impl Payload {
    fn new(more: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("program");
        let text = format!(
            "[component.program]\npath = {path:?}\nproduct = \"DEMO\"\naliases = [\"DEMO_2\"]\nisolate_commands = \"never\"\n{more}"
        );
        let config = Config::parse(&text, Path::new("test.toml")).unwrap();
        Self {
            directory,
            rules: Rules::new(config.components.iter().next().unwrap(), &config.package)
                .running(Some(version("V01.00.00.00"))),
        }
    }

    fn stage(&self, name: &str, bytes: &[u8]) -> Staged {
        let announced = Announced::named(name, Some(bytes.len() as u64));
        let stage = Stage::beside(&self.directory.path().join("program"), 1 << 30);
        let mut receiving = stage.receive(announced, Box::new(|_| {})).unwrap();
        receiving.write(bytes).unwrap();
        receiving.finish(None).unwrap()
    }

    fn check(&self, name: &str, bytes: &[u8]) -> Result<Checked, Failure> {
        check(self.stage(name, bytes), &self.rules)
    }

    fn kind(&self, name: &str, bytes: &[u8]) -> FailureKind {
        self.check(name, bytes).unwrap_err().kind
    }
}

const RIGHT: &str = "DEMO_V02.00.00.00.bin";

/// A real program, as a client in text mode sends it.
#[test]
fn a_program_that_came_in_text_mode_is_told_to_have() {
    let program = std::fs::read("/bin/true").unwrap();
    let text: Vec<u8> = program
        .iter()
        .flat_map(|&byte| if byte == b'\n' { vec![b'\r', b'\n'] } else { vec![byte] })
        .collect();
    let failure = Payload::new("").check(RIGHT, &text).unwrap_err();
    assert!(
        failure.sentence.contains("text mode")
            && failure.hint.as_deref().is_some_and(|hint| hint.contains("binary")),
        "{failure:?}"
    );
    // One that is cut off is only that.
    let failure = Payload::new("").check(RIGHT, &program[..program.len() - 1]).unwrap_err();
    assert!(!failure.sentence.contains("text mode"), "{failure}");
}

#[test]
fn a_right_file_is_checked_and_summarised() {
    let bytes = program("V02.00.00.00");
    let checked = Payload::new("version_command = [\"--version\"]").check(RIGHT, &bytes).unwrap();
    let summary = checked.summary();
    assert_eq!(
        (summary.product.as_str(), summary.version, summary.size),
        ("DEMO", version("V02.00.00.00"), bytes.len() as u64)
    );
    assert_eq!(summary.file_digest.0, summary.program_digest.0);
    assert!(
        Payload::new("").check("DEMO_2_V02.00.00.00.bin", &bytes).is_ok(),
        "an alias is ours too"
    );
}

#[test]
fn each_wrong_file_has_its_kind() {
    let payload = Payload::new("version_command = [\"--version\"]\n[package]\nmax_size = 1000");
    let right = program("V02.00.00.00");
    let mut wrong_machine = right.clone();
    wrong_machine[18] = 0xf3;
    let mut relocatable = right.clone();
    relocatable[16] = 1;
    for (name, bytes, kind) in [
        ("DEMO-2.0.bin", &right[..], FailureKind::NameInvalid),
        ("OTHER_V02.00.00.00.bin", &right, FailureKind::WrongProduct),
        ("DEMO_V00.99.99.99.bin", &right, FailureKind::Downgrade),
        ("DEMO_V01.00.00.00.bin", &right, FailureKind::SameVersion),
        (RIGHT, &[], FailureKind::Truncated),
        (RIGHT, &[1; 1001], FailureKind::TooLarge),
        (RIGHT, b"#!/bin/sh\n", FailureKind::WrongMachine),
        (RIGHT, &wrong_machine, FailureKind::WrongMachine),
        (RIGHT, &relocatable, FailureKind::WrongMachine),
        (RIGHT, &right[..40], FailureKind::Truncated),
        (RIGHT, &right[..right.len() - 1], FailureKind::Truncated),
        (RIGHT, &[&right[..], b"x"].concat(), FailureKind::Truncated),
        ("DEMO_V02.00.00.01.bin", &right, FailureKind::WrongVersion),
    ] {
        assert_eq!(payload.kind(name, bytes), kind, "{name} with {} bytes", bytes.len());
    }
}

#[test]
fn a_wrong_file_is_removed_and_a_right_one_stays() {
    let payload = Payload::new("");
    let files = || payload.directory.path().join(".uplift").read_dir().unwrap().count();
    let checked = payload.check(RIGHT, &program("V02.00.00.00")).unwrap();
    let with_the_right_one = files();
    assert_eq!(payload.kind(RIGHT, b"wrong"), FailureKind::WrongMachine);
    assert_eq!(files(), with_the_right_one);
    drop(checked);
    assert_eq!(files(), with_the_right_one - 1);
}

#[test]
fn a_program_path_that_never_answers_is_not_waited_for() {
    let payload = Payload::new("");
    nix::unistd::mkfifo(&payload.directory.path().join("program"), nix::sys::stat::Mode::S_IRWXU)
        .unwrap();
    assert!(payload.check(RIGHT, &program("V02.00.00.00")).is_ok());
}

#[test]
fn what_is_announced_is_checked_before_a_byte_is_there() {
    let rules = Payload::new("[package]\nmax_size = 1000").rules;
    let announced =
        |name, size| check_announced(Some(name), size, &rules).map_err(|failure| failure.kind);
    assert_eq!(announced(RIGHT, Some(1000)), Ok(()));
    assert_eq!(announced(RIGHT, None), Ok(()), "its size is not known yet");
    assert_eq!(announced(RIGHT, Some(1001)), Err(FailureKind::TooLarge));
    assert_eq!(announced(RIGHT, Some(0)), Err(FailureKind::Truncated));
    for size in [Some(9), None] {
        assert_eq!(announced("DEMO_V00.00.00.01.bin", size), Err(FailureKind::Downgrade));
        assert_eq!(announced("OTHER_V02.00.00.00.bin", size), Err(FailureKind::WrongProduct));
        assert_eq!(announced("../DEMO_V02.00.00.00.bin", size), Err(FailureKind::NameInvalid));
    }
}

#[test]
fn the_configuration_and_a_person_can_let_in_what_they_may() {
    let bytes = program("V01.00.00.00");
    let digest = program_digest(&bytes[..]).unwrap();
    let same = "DEMO_V01.00.00.00.bin";
    assert!(Payload::new("[package]\nallow_same_version = true").check(same, &bytes).is_ok());

    let mut payload = Payload::new("");
    payload.rules = payload.rules.known_bad([digest].into());
    assert_eq!(payload.kind(RIGHT, &bytes), FailureKind::KnownBad);
    payload.rules = payload.rules.forced(true);
    for name in [same, RIGHT, "DEMO_V00.00.00.01.bin"] {
        assert!(payload.check(name, &bytes).is_ok(), "{name}");
    }
    assert_eq!(
        payload.kind(RIGHT, &bytes[..bytes.len() - 1]),
        FailureKind::Truncated,
        "what is cut off is never let in by force"
    );
    assert_eq!(payload.kind("OTHER_V02.00.00.00.bin", &bytes), FailureKind::WrongProduct);

    let longer = [&bytes[..], b"x"].concat();
    assert!(Payload::new("[package]\nallow_unproven_end = true").check(RIGHT, &longer).is_ok());
}

#[test]
fn an_unknown_running_version_lets_any_in_and_says_so() {
    let payload = Payload::new("");
    let rules = payload.rules.clone().running(None);
    let staged = payload.stage("DEMO_V00.00.00.00.bin", &program("V00.00.00.00"));
    assert!(check(staged, &rules).is_ok());
}

#[test]
fn the_installed_program_decides_the_machine() {
    let foreign =
        Architecture::ALL.into_iter().find(|&one| one != Architecture::host().unwrap()).unwrap();
    let foreign = Program::new(foreign, version("V02.00.00.00").numbers()).bytes();
    let payload = Payload::new("");
    assert_eq!(payload.kind(RIGHT, &foreign), FailureKind::WrongMachine);
    File::create(payload.directory.path().join("program")).unwrap().write_all(&foreign).unwrap();
    assert!(payload.check(RIGHT, &foreign).is_ok());
    let failure = payload.check(RIGHT, &program("V02.00.00.00")).unwrap_err();
    assert!(failure.sentence.contains("the installed program is for"), "{failure}");
}

/// A program for the 32 bit machine that this kernel may run too; it need not run here.
fn of_32_bits() -> Vec<u8> {
    let mut bytes = Program::new(Architecture::Arm, version("V02.00.00.00").numbers()).bytes();
    if Architecture::host() == Ok(Architecture::X86_64) {
        bytes[18] = 3; // EM_386
    }
    bytes
}

#[test]
fn a_person_can_force_the_step_between_32_and_64_bits_and_no_other() {
    let bytes = of_32_bits();
    let mut payload = Payload::new("");
    let failure = payload.check(RIGHT, &bytes).unwrap_err();
    assert_eq!(failure.kind, FailureKind::WrongMachine);
    assert!(failure.hint().contains("`machine = \"any-runnable\"`"), "{}", failure.hint());
    payload.rules = payload.rules.forced(true);
    assert!(payload.check(RIGHT, &bytes).is_ok());

    let mut foreign = bytes;
    foreign[18] = 243; // EM_RISCV
    assert_eq!(payload.kind(RIGHT, &foreign), FailureKind::WrongMachine, "no kernel here runs it");
    let mut payload =
        Payload::new("version_command = [\"--version\"]\n[package]\nmachine = \"any-runnable\"");
    payload.rules = payload.rules.forced(true);
    let other = Architecture::ALL
        .into_iter()
        .find(|one| *one != Architecture::host().unwrap() && *one != Architecture::Arm)
        .unwrap();
    let failure = payload
        .check(RIGHT, &Program::new(other, version("V02.00.00.00").numbers()).bytes())
        .unwrap_err();
    assert!(
        failure.kind == FailureKind::WrongMachine && !failure.hint().contains("any-runnable"),
        "{failure:?}"
    );
}

/// Who reads the verdict knows whether anybody has tried.
#[test]
fn a_step_between_32_and_64_bits_says_whether_a_preflight_proves_it() {
    for (more, said) in [("", "; forced"), ("version_command = []", "the preflight shows whether")]
    {
        let payload = Payload::new(more);
        let staged = payload.stage(RIGHT, &of_32_bits());
        let (path, size) = (staged.path(), staged.size);
        let subject = Subject { file_name: Some(RIGHT), path, size, digests: None, owned: true };
        let examination = examine(subject, &payload.rules.clone().forced(true));
        let finding = examination.findings.iter().find(|finding| finding.check == Check::Machine);
        let Verdict::Passed(sentence) = &finding.unwrap().verdict else {
            panic!("{examination:?}")
        };
        assert!(sentence.contains(said), "{sentence}");
    }
}

#[test]
fn a_missing_interpreter_is_told() {
    let mut bytes = std::fs::read("/bin/true").unwrap();
    let at = bytes.windows(4).position(|window| window == b"/lib").unwrap();
    bytes[at..at + 4].copy_from_slice(b"/lob");
    let failure = Payload::new("").check(RIGHT, &bytes).unwrap_err();
    assert_eq!(failure.kind, FailureKind::WrongMachine);
    assert!(failure.sentence.contains("\"/lob"), "{failure}");
}

#[test]
fn the_preflight_leaves_the_mode_of_a_staged_file_as_it_was() {
    let payload = Payload::new("version_command = [\"--version\"]");
    let staged = payload.stage(RIGHT, &program("V02.00.00.00"));
    let path = staged.path().to_owned();
    let mode = || path.metadata().unwrap().permissions().mode();
    let before = mode();
    let checked = check(staged, &payload.rules).unwrap();
    assert_eq!(mode(), before);
    drop(checked);
}

#[test]
fn an_examination_has_every_check_in_order_and_skips_what_builds_on_a_failed_one() {
    let payload = Payload::new("version_command = [\"--version\"]");
    let path = payload.directory.path().join("file");
    File::create(&path).unwrap().write_all(b"text").unwrap();
    let subject =
        Subject { file_name: Some("file"), path: &path, size: 4, digests: None, owned: false };
    let findings = examine(subject, &payload.rules).findings;
    assert_eq!(findings.iter().map(|finding| finding.check).collect::<Vec<_>>(), Check::ALL);
    let results: String = findings
        .iter()
        .map(|finding| match finding.verdict {
            Verdict::Passed(_) => '+',
            Verdict::Failed(_) => '-',
            Verdict::Skipped(_) => '.',
        })
        .collect();
    assert_eq!(results, "-..+-......");
}

#[test]
fn what_is_empty_or_too_large_is_not_read() {
    let payload = Payload::new("[package]\nmax_size = \"1KiB\"");
    let path = payload.directory.path().join("file");
    for size in [0, 1025] {
        File::create(&path).unwrap().write_all(&vec![b'x'; size]).unwrap();
        let size = size as u64;
        let subject =
            Subject { file_name: Some(RIGHT), path: &path, size, digests: None, owned: false };
        let examination = examine(subject, &payload.rules);
        let finding = examination.findings.iter().find(|finding| finding.check == Check::Machine);
        assert!(matches!(finding.unwrap().verdict, Verdict::Skipped(_)), "{examination:?}");
    }
}

#[test]
fn a_file_that_can_not_be_read_is_not_said_to_be_a_wrong_one() {
    let payload = Payload::new("");
    let path = payload.directory.path().join("gone");
    let subject =
        Subject { file_name: Some(RIGHT), path: &path, size: 9, digests: None, owned: false };
    let findings = examine(subject, &payload.rules).findings;
    let machine = findings.iter().find(|finding| finding.check == Check::Machine).unwrap();
    let Verdict::Failed(failure) = &machine.verdict else { panic!("{machine:?}") };
    assert_eq!(failure.kind, FailureKind::Internal, "{failure}");
}

/// A file that was refused is not run.
#[test]
fn a_program_is_asked_only_when_all_else_is_right() {
    let payload = Payload::new("version_command = [\"--version\"]\n");
    let path = payload.directory.path().join("file");
    let bytes = program("V02.00.00.00");
    File::create(&path).unwrap().write_all(&bytes).unwrap();
    let size = bytes.len() as u64;
    for (file_name, is_asked) in [("OTHER_V02.00.00.00.bin", false), (RIGHT, true)] {
        let subject =
            Subject { file_name: Some(file_name), path: &path, size, digests: None, owned: true };
        let examination = examine(subject, &payload.rules);
        let last = &examination.findings.last().unwrap().verdict;
        let others_failed = matches!(last, Verdict::Skipped(why) if why == "other checks failed");
        assert_eq!(others_failed, !is_asked, "{last:?}");
    }
}
