//! The last words of a unit, from the journal: what a person reads first about a program that
//! failed.

use std::borrow::Cow;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tokio::time::timeout;

use crate::host;

/// How many lines are kept.
pub(crate) const LINES: usize = 50;
/// Bytes that are kept of a line, as it is shown. The history keeps a hundred reports: with fifty
/// lines each, and each byte as an escape of two in JSON, that stays well below the largest file
/// that is read back (4 MiB).
const LONGEST_LINE: usize = 240;
/// Bytes that are read: a program may have logged a megabyte in a line.
const MOST_BYTES: u64 = 1 << 20;
/// Longest wait for the journal; on a slow card with a large one it takes seconds.
const DEADLINE: Duration = Duration::from_secs(10);

/// Longest wait for a unit's own name, of that time.
const NAME_DEADLINE: Duration = Duration::from_secs(3);

/// The last lines that a unit wrote since its start `before`, an invocation id, was over: what came
/// up to then was another program's. Oldest first, without control characters. None where the
/// journal can't be read: they explain a failure, and nothing depends on them. Who has seen the
/// unit knows its `own_name`; else systemd is asked.
pub async fn last_lines(unit: &str, own_name: Option<&str>, before: Option<&str>) -> Vec<String> {
    match timeout(DEADLINE, read(unit, own_name)).await {
        Ok(Ok(bytes)) => lines(&bytes, before),
        Ok(Err(error)) => none(unit, &error),
        Err(late) => none(unit, &late.into()),
    }
}

fn none(unit: &str, error: &std::io::Error) -> Vec<String> {
    tracing::warn!("the journal of {unit} can't be read: {error}");
    Vec::new()
}

/// The newest entries first.
async fn read(unit: &str, own_name: Option<&str>) -> std::io::Result<Vec<u8>> {
    // The journal knows a unit by its own name, and by no alias.
    let asked = match own_name {
        Some(_) => None,
        None => timeout(NAME_DEADLINE, super::show(unit)).await.ok().and_then(Result::ok),
    };
    let told = asked.and_then(|unit| unit.id);
    let name = own_name.or(told.as_deref()).unwrap_or(unit);
    let (most, unit) = (format!("--lines={LINES}"), format!("--unit={name}"));
    let arguments =
        ["--quiet", "--no-pager", "--output=json", "--all", FIELDS, "--reverse", &most, &unit];
    host::first_bytes("journalctl", &arguments, MOST_BYTES).await
}

const FIELDS: &str = "--output-fields=MESSAGE,_SYSTEMD_INVOCATION_ID,INVOCATION_ID";

/// An entry of the journal: by a process of the unit, or by systemd about it.
#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "MESSAGE", default)]
    message: Value,
    #[serde(rename = "_SYSTEMD_INVOCATION_ID", default)]
    of_process: Value,
    #[serde(rename = "INVOCATION_ID", default)]
    of_unit: Value,
}

/// By the order in which the journal took them, whatever the clock said.
fn lines(newest_first: &[u8], before: Option<&str>) -> Vec<String> {
    let is_before = |entry: &Entry| {
        before.is_some()
            && [&entry.of_process, &entry.of_unit].iter().any(|id| id.as_str() == before)
    };
    let entries = newest_first
        .split(|&byte| byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<Entry>(line).ok());
    let mut kept: Vec<String> = Vec::new();
    for entry in entries.take_while(|entry| !is_before(entry)) {
        let message = text(&entry.message);
        let room = LINES - kept.len();
        kept.extend(message.lines().rev().take(room).map(visible));
    }
    kept.reverse();
    kept
}

/// What is no text of UTF-8 is a list of bytes there.
fn text(message: &Value) -> Cow<'_, str> {
    match message {
        Value::String(text) => Cow::Borrowed(text),
        Value::Array(bytes) => {
            let bytes: Vec<u8> = bytes
                .iter()
                .filter_map(|byte| byte.as_u64().and_then(|byte| u8::try_from(byte).ok()))
                .collect();
            Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
        }
        _ => Cow::Borrowed(""),
    }
}

/// The line, bounded, with control characters as they are written in source code: a log must not
/// steer a terminal.
pub(crate) fn visible(line: &str) -> String {
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

    fn entries(messages: &[&str]) -> Vec<u8> {
        messages
            .iter()
            .rev()
            .map(|message| format!("{}\n", serde_json::json!({ "MESSAGE": message })))
            .collect::<String>()
            .into()
    }

    #[test]
    fn lines_are_bounded_in_number_and_length_and_can_not_steer_a_terminal() {
        let many: Vec<String> = (0..60).map(|n| format!("line {n}")).collect();
        let of = |messages: &[&str]| lines(&entries(messages), None);
        let kept = of(&many.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!((kept.len(), kept[0].as_str(), kept[49].as_str()), (50, "line 10", "line 59"));
        assert_eq!(of(&["one\ntwo", "three"]), ["one", "two", "three"]);
        assert_eq!(of(&["x", &"y\n".repeat(60)]), ["y"; 50]);
        assert_eq!(of(&["\x1b[31mred\ttab\u{fffd}"]), ["\\u{1b}[31mred\\ttab\u{fffd}"]);
        assert_eq!(of(&[&"x".repeat(240)]), ["x".repeat(240)]);
        for hostile in ["x", "\x1b", "é", "\u{1f600}"] {
            let long = &of(&[&hostile.repeat(241)])[0];
            assert!(long.ends_with('…') && long.len() <= 240 + '…'.len_utf8(), "{long}");
        }
    }

    #[test]
    fn what_is_no_entry_is_passed_over_and_bytes_are_text() {
        assert_eq!(lines(b"", None), Vec::<String>::new());
        assert_eq!(
            lines(b"{\"MESSAGE\":[104,105,255]}\n{\"MESSAGE\":null}\n{}\nnonsense\n{\"MESS", None),
            ["hi\u{fffd}"]
        );
    }

    #[test]
    fn the_lines_of_an_earlier_start_and_what_came_before_it_are_left_out() {
        let journal = br#"{"MESSAGE":"failed","INVOCATION_ID":"c"}
{"MESSAGE":"panicked","_SYSTEMD_INVOCATION_ID":"c"}
{"MESSAGE":"dumped core"}
{"MESSAGE":"Started","INVOCATION_ID":"c"}
{"MESSAGE":"Stopped","INVOCATION_ID":"b"}
{"MESSAGE":"works","_SYSTEMD_INVOCATION_ID":"b"}
{"MESSAGE":"of a version before","_SYSTEMD_INVOCATION_ID":"a"}
"#;
        assert_eq!(lines(journal, Some("b")), ["Started", "dumped core", "panicked", "failed"]);
        assert_eq!(lines(journal, Some("c")), Vec::<String>::new());
        assert_eq!(lines(journal, None).len(), 7);
    }
}
