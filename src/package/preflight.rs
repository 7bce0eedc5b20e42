//! Asks a program for its version: run by itself, without rights where that is configured and
//! systemd can do it, with a deadline and a bound on what it may print.
//!
//! Knows nothing of packages; the program is not trusted.

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use crate::config;
use crate::host::command::{self, CommandError, Isolation, Reach};
use crate::model::version::Version;
use crate::model::{Failure, FailureKind};

/// Why a program did not tell its version.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PreflightError {
    /// It did not run to a successful end, in time.
    #[error("the program did not print its version: {0}")]
    Command(#[from] CommandError),
    /// There was no version in what it printed.
    #[error("the program did not print its version: no version such as V01.00.02.10 in what it printed{}", command::quote(.0))]
    NoVersion(String),
}

impl From<PreflightError> for Failure {
    fn from(error: PreflightError) -> Self {
        let failure = Self::new(FailureKind::PreflightFailed, error.to_string());
        match error {
            PreflightError::Command(CommandError::NotStarted) => failure
                .with_hint("let other users enter the directories above the program (chmod o+x)"),
            _ => failure,
        }
    }
}

/// Asks the installed program for its version, as it is configured; nothing where it can't be
/// asked.
pub(crate) fn installed_version(
    program: &config::Program,
) -> Option<Result<Version, PreflightError>> {
    let arguments = program.common.version_command.as_ref()?;
    Some(printed_version(
        &program.path,
        arguments,
        Reach::Files,
        program.common.isolate_commands,
        program.common.preflight_deadline,
    ))
}

/// Runs `program` with `arguments` and returns the version that it prints, within the deadline.
pub(crate) fn printed_version(
    program: &Path,
    arguments: &[String],
    reach: Reach,
    isolation: Isolation,
    deadline: Duration,
) -> Result<Version, PreflightError> {
    let output = command::run(program.as_os_str(), arguments, reach, isolation, deadline)?;
    find_version(&output).ok_or(PreflightError::NoVersion(output))
}

/// The first `Vaa.bb.cc.dd` of a text; without one the first plain `a.b.c.d` of numbers up to 99,
/// with or without a V.
pub fn find_version(text: &str) -> Option<Version> {
    let words = || {
        text.split(|c: char| !c.is_alphanumeric() && c != '.').map(|word| word.trim_matches('.'))
    };
    words().find_map(|word| word.parse().ok()).or_else(|| words().find_map(plain_version))
}

fn plain_version(word: &str) -> Option<Version> {
    let mut numbers = [0; 4];
    let mut parts = word.strip_prefix(['V', 'v']).unwrap_or(word).split('.');
    for number in &mut numbers {
        let digits = parts.next().filter(|digits| {
            digits.len() <= 2 && digits.bytes().all(|byte| byte.is_ascii_digit())
        })?;
        *number = digits.parse().ok()?;
    }
    if parts.next().is_some() { None } else { Version::new(numbers) }
}

/// Makes a file executable for as long as this value lives; then it has its old mode again.
#[derive(Debug)]
pub(crate) struct Executable {
    file: File,
    mode: u32,
}

impl Executable {
    /// Readable and executable for all: the user that runs it is not ours.
    pub(crate) fn lend(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let mode = file.metadata()?.permissions().mode();
        file.set_permissions(Permissions::from_mode(0o755))?;
        Ok(Self { file, mode })
    }
}

impl Drop for Executable {
    fn drop(&mut self) {
        // The swap sets mode and owner anew and reports it when it can't; here nobody could do
        // anything about it.
        let _ = self.file.set_permissions(Permissions::from_mode(self.mode));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINE: Duration = Duration::from_secs(30);

    fn shell(script: &str) -> Result<Version, Failure> {
        Ok(printed_version(
            Path::new("/bin/sh"),
            &["-c".into(), script.into()],
            Reach::Files,
            Isolation::Never,
            DEADLINE,
        )?)
    }

    #[test]
    fn a_program_that_nobody_else_can_reach_has_a_hint() {
        let failure = |error: CommandError| Failure::from(PreflightError::from(error));
        let hint = |failure: Failure| failure.hint.is_some_and(|hint| hint.contains("chmod o+x"));
        assert!(hint(failure(CommandError::NotStarted)));
        assert!(!hint(failure(CommandError::NotIsolated)));
    }

    #[test]
    fn a_version_is_found_in_what_people_print() {
        for (text, version) in [
            ("V01.02.03.04", "V01.02.03.04"),
            ("speaker V01.02.03.04, built 2026.01.02.03\n", "V01.02.03.04"),
            ("firmware version: 1.2.3.4", "V01.02.03.04"),
            ("v1.0.3.10.", "V01.00.03.10"),
            ("listening on 10.0.0.1, version V02.00.00.00", "V02.00.00.00"),
            ("app_V01.02.03.04.", "V01.02.03.04"),
        ] {
            assert_eq!(find_version(text).unwrap().to_string(), version, "{text}");
        }
        for text in [
            "",
            "1.2.3",
            "127.0.0.1 is no version",
            "1.2.3.4.5",
            "001.2.3.4",
            "V01.02.03",
            "01.02.03.0a",
            "١.٢.٣.٤",
        ] {
            assert_eq!(find_version(text), None, "{text}");
        }
    }

    #[test]
    fn the_version_may_stand_on_either_stream() {
        assert_eq!(shell("echo V01.02.03.04").unwrap().to_string(), "V01.02.03.04");
        assert_eq!(shell("echo V01.02.03.04 >&2").unwrap().to_string(), "V01.02.03.04");
        let chatty = "echo V01.02.03.04; i=0; while [ $i -lt 4000 ]; do echo 'many lines of a chatty program'; i=$((i+1)); done";
        assert_eq!(shell(chatty).unwrap().to_string(), "V01.02.03.04");
    }

    #[test]
    fn what_has_no_version_is_quoted() {
        for (script, reason) in [
            ("echo V01.02.03.04; exit 1", "exit code 1"),
            (
                "echo hello",
                "no version such as V01.00.02.10 in what it printed (it printed \"hello\")",
            ),
            ("true", "no version"),
        ] {
            let failure = shell(script).unwrap_err();
            assert_eq!(failure.kind, FailureKind::PreflightFailed);
            assert!(failure.sentence.contains(reason), "{script}: {failure}");
        }
        let error = printed_version(
            Path::new("/nonexistent/program"),
            &[],
            Reach::Files,
            Isolation::Never,
            DEADLINE,
        )
        .unwrap_err();
        assert!(error.to_string().contains("No such file"), "{error}");
    }
}
