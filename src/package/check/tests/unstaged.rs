//! Files that a person has looked at where they lie, with or without a payload.

use super::examiner::version_told;
use super::seals::sealed;
use super::signer::Signer;
use super::*;
use crate::host::command::CommandError;
use crate::package::preflight::PreflightError;

/// What a check finds in a file with this content and mode.
fn found(payload: &Payload, rules: &Rules, bytes: &[u8], mode: u32, check: Check) -> Verdict {
    let path = payload.directory.path().join("file");
    File::create(&path).unwrap().write_all(bytes).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    let size = bytes.len() as u64;
    let subject =
        Subject { file_name: Some(RIGHT), path: &path, size, digests: None, owned: false };
    let findings = examine(subject, rules).findings;
    findings.into_iter().find(|finding| finding.check == check).unwrap().verdict
}

fn rules_without_payload() -> Rules {
    let text = "[component.program]\nname = \"p\"\nproduct = \"P\"";
    Rules::without_payload(&Config::parse(text, Path::new("test.toml")).unwrap().package)
}

#[test]
fn a_program_is_asked_for_its_version_where_somebody_may_run_it() {
    let payload = Payload::new("version_command = [\"--version\"]");
    let bytes = program("V02.00.00.00");
    let asked = |mode| found(&payload, &payload.rules, &bytes, mode, Check::Preflight);
    for mode in [0o755, 0o700, 0o611] {
        let verdict = asked(mode);
        assert!(
            matches!(&verdict, Verdict::Passed(told) if told.contains("prints version")),
            "{mode:o}: {verdict:?}"
        );
    }
    let verdict = asked(0o644);
    assert!(
        matches!(&verdict, Verdict::Skipped(why) if why.contains("not executable")),
        "{verdict:?}"
    );
}

#[test]
fn a_staged_program_that_can_not_be_run_is_a_wrong_one_and_any_other_may_lie_badly() {
    let told = |is_staged| {
        let not_started = Err(PreflightError::Command(CommandError::NotStarted));
        version_told(not_started, version("V02.00.00.00"), is_staged)
    };
    assert!(matches!(told(false), Ok(Verdict::Skipped(_))));
    assert_eq!(told(true).unwrap_err().kind, FailureKind::PreflightFailed);
}

#[test]
fn what_no_payload_says_is_not_guessed_at() {
    let payload = Payload::new("");
    let (with, without) = (&payload.rules, &rules_without_payload());
    let mut bytes = std::fs::read("/bin/true").unwrap();
    let at = bytes.windows(4).position(|window| window == b"/lib").unwrap();
    bytes[at..at + 4].copy_from_slice(b"/lob");
    let interpreter = |rules| found(&payload, rules, &bytes, 0o644, Check::Interpreter);
    assert!(matches!(interpreter(with), Verdict::Failed(_)));
    assert!(
        matches!(interpreter(without), Verdict::Skipped(why) if why.contains("no payload says"))
    );
    let bytes = program("V02.00.00.00");
    let seal = |rules| found(&payload, rules, &bytes, 0o644, Check::Seal);
    assert!(matches!(seal(with), Verdict::Skipped(why) if why.ends_with("and needs none")));
    assert!(matches!(seal(without), Verdict::Skipped(why) if why.ends_with("may want one")));
    let sealed = sealed(&Signer::new().unwrap(), &bytes, |_| {});
    let seal = |rules| found(&payload, rules, &sealed, 0o644, Check::Seal);
    let no_keys = "which is not checked: no keys are configured";
    assert!(matches!(seal(with), Verdict::Passed(told) if told.ends_with(no_keys)));
    let nobody_says = "no payload says whether it trusts that";
    assert!(matches!(seal(without), Verdict::Passed(told) if told.ends_with(nobody_says)));
}
