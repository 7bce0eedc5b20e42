//! The last words of a unit, from the journal: what a person reads first about a program that failed.

use std::time::Duration;

use tokio::time::timeout;

use crate::host;

/// How many lines are kept.
const LINES: usize = 50;
/// Bytes that are kept of a line, as it is shown. The history keeps a hundred reports: with fifty lines each, and each byte
/// as an escape of two in JSON, that stays well below the largest file that is read back (4 MiB).
const LONGEST_LINE: usize = 240;
/// Bytes that are read: a program may have logged a megabyte in a line.
const MOST_BYTES: u64 = 1 << 20;
/// Longest wait for the journal; on a slow card with a large one it takes seconds.
const DEADLINE: Duration = Duration::from_secs(10);

/// Which part of the journal is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// What the unit wrote in this boot.
    ThisBoot,
    /// All that is kept: the program may have failed in boots before this one.
    Ever,
}

/// The last lines that a unit wrote, oldest first, without control characters. None where the journal can't be read: they
/// explain a failure, and nothing depends on them.
pub async fn last_lines(unit: &str, since: Since) -> Vec<String> {
    match timeout(DEADLINE, read(unit, since)).await {
        Ok(Ok(bytes)) => lines(&bytes),
        Ok(Err(error)) => none(unit, &error),
        Err(late) => none(unit, &late.into()),
    }
}

fn none(unit: &str, error: &std::io::Error) -> Vec<String> {
    tracing::warn!("the journal of {unit} can't be read: {error}");
    Vec::new()
}

async fn read(unit: &str, since: Since) -> std::io::Result<Vec<u8>> {
    let (lines, unit) = (format!("--lines={LINES}"), format!("--unit={unit}"));
    let mut arguments = vec!["--quiet", "--no-pager", "--output=cat", &lines, &unit];
    if since == Since::ThisBoot {
        arguments.push("--boot");
    }
    host::first_bytes("journalctl", &arguments, MOST_BYTES).await
}

fn lines(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].iter().map(|line| visible(line)).collect()
}

/// The line, bounded, with control characters as they are written in source code: a log must not steer a terminal.
fn visible(line: &str) -> String {
    let mut text = String::new();
    for c in line.chars() {
        let before = text.len();
        if c.is_control() {
            text.extend(c.escape_default());
        } else {
            text.push(c);
        }
        if text.len() > LONGEST_LINE {
            text.truncate(before);
            text.push('…');
            break;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded_in_number_and_length_and_can_not_steer_a_terminal() {
        let many: String = (0..60).map(|n| format!("line {n}\n")).collect();
        let kept = lines(many.as_bytes());
        assert_eq!((kept.len(), kept[0].as_str(), kept[49].as_str()), (50, "line 10", "line 59"));
        assert_eq!(lines(b"\x1b[31mred\ttab\xff\n"), ["\\u{1b}[31mred\\ttab\u{fffd}"]);
        assert_eq!(lines("x".repeat(240).as_bytes()), ["x".repeat(240)]);
        for hostile in ["x", "\x1b", "é", "\u{1f600}"] {
            let long = &lines(hostile.repeat(241).as_bytes())[0];
            assert!(long.ends_with('…') && long.len() <= 240 + '…'.len_utf8(), "{long}");
        }
        assert_eq!(lines(b""), Vec::<String>::new());
    }
}
