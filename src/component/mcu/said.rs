//! What the process that works on a microcontroller writes, and what the daemon reads of it: its
//! phases and percentages, as of any updater, and at its end why it failed. Lines that a person can read in the journal, too.

use std::io::{self, Write};

use super::upgrade::Told;
use crate::model::{Failure, FailureKind};

const FAILED: &str = "failed: ";
const CAUSE: &str = "because: ";
const HINT: &str = "hint: ";
const KIND: &str = "kind: ";

/// Says it on standard output; whoever listens may be gone.
pub(super) fn tell(told: &Told) {
    let mut out = io::stdout().lock();
    let _ = match told {
        Told::Phase(phase) => writeln!(out, "phase {phase}"),
        Told::Percent(percent) => writeln!(out, "percent {percent}"),
    };
    let _ = out.flush();
}

/// Says why it failed, as the last lines.
pub(super) fn complain(out: &mut impl Write, failure: &Failure) -> io::Result<()> {
    writeln!(out, "{FAILED}{}", failure.sentence)?;
    for cause in &failure.causes {
        writeln!(out, "{CAUSE}{cause}")?;
    }
    writeln!(out, "{HINT}{}", failure.hint())?;
    writeln!(out, "{KIND}{}", failure.kind)
}

/// The failure in these lines, if it was told to its end.
pub(super) fn failure(lines: &[String]) -> Option<Failure> {
    let begins = lines.iter().rposition(|line| line.starts_with(FAILED))?;
    let mut lines = lines[begins..].iter();
    let sentence = lines.next()?.strip_prefix(FAILED)?;
    let mut failure = Failure::new(FailureKind::InstallFailed, sentence);
    for line in lines {
        if let Some(cause) = line.strip_prefix(CAUSE) {
            failure.causes.push(cause.to_owned());
        } else if let Some(hint) = line.strip_prefix(HINT) {
            failure.hint = Some(hint.to_owned());
        } else if let Some(kind) = line.strip_prefix(KIND) {
            failure.kind = FailureKind::ALL.into_iter().find(|one| one.as_str() == kind)?;
            return Some(failure);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(failure: &Failure) -> Vec<String> {
        let mut text = b"erasing the store\n".to_vec();
        complain(&mut text, failure).unwrap();
        String::from_utf8(text).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_failure_is_read_as_it_was_told() {
        for kind in FailureKind::ALL {
            let told = Failure::new(kind, "it fell silent").with_hint("check the wires");
            assert_eq!(failure(&lines(&told)), Some(told));
        }
        let told = Failure {
            causes: vec!["one".into(), "two".into()],
            ..Failure::new(FailureKind::Timeout, "it").with_hint("h")
        };
        assert_eq!(failure(&lines(&told)), Some(told));
    }

    #[test]
    fn what_was_cut_off_is_no_failure_that_was_told() {
        let mut cut = lines(&Failure::new(FailureKind::Timeout, "it fell silent"));
        cut.pop();
        assert_eq!(failure(&cut), None);
        assert_eq!(failure(&[]), None);
    }
}
