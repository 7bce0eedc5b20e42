//! `uplift history`: the last upgrades, newest first, or one of them in full. The daemon tells them
//! oldest first, as they came.

use clap::Args;

use crate::cli::output::Mistake;
use crate::cli::{paint, view};
use crate::config::Config;
use crate::control::{Client, ControlAnswer, ControlRequest};
use crate::model::{Entry, Report};

/// So many a person sees who does not say how many.
const MOST_SHOWN: usize = 10;
/// Letters of an id that tell one upgrade from the others of a payload.
const SHORT_ID: usize = 8;
/// Width of the longest outcome.
const OUTCOME_WIDTH: usize = 11;

/// Which reports, and how.
#[derive(Debug, Args)]
pub struct HistoryArguments {
    /// Show this upgrade alone, in full; the first letters of its id are enough.
    #[arg(value_name = "ID")]
    pub id: Option<String>,
    /// Show so many, the newest [default: 10; with --json all].
    #[arg(short = 'n', value_name = "N", conflicts_with = "id")]
    pub number: Option<usize>,
    /// Print JSON, a list in any case.
    #[arg(long)]
    pub json: bool,
}

/// Prints the history, as JSON where wanted.
pub(super) fn run(config: &Config, arguments: &HistoryArguments) -> anyhow::Result<()> {
    let mut entries = ask(config)?;
    entries.reverse();
    let all = entries.len();
    match (&arguments.id, arguments.number) {
        (Some(id), _) => entries = vec![find(entries, id)?],
        (None, Some(number)) => entries.truncate(number),
        (None, None) if arguments.json => {}
        (None, None) => entries.truncate(MOST_SHOWN),
    }
    if arguments.json {
        view::print(serde_json::to_string_pretty(&entries)?)?;
    } else if let (Some(_), [entry]) = (&arguments.id, &*entries) {
        view::say(in_full(entry).trim_end())?;
    } else if all == 0 {
        view::say("no upgrade yet")?;
    } else {
        entries.iter().try_for_each(|entry| view::say(in_short(entry).trim_end()))?;
        if arguments.number.is_none() && all > entries.len() {
            view::say(format!("{} older ones: `uplift history -n {all}`", all - entries.len()))?;
        }
    }
    Ok(())
}

/// The reports, oldest first.
fn ask(config: &Config) -> anyhow::Result<Vec<Entry>> {
    let mut client = Client::connect(&config.paths.control)?;
    client.ask(&ControlRequest::History {})?;
    match client.answer()? {
        ControlAnswer::History { reports } => Ok(reports),
        ControlAnswer::Failure { failure } => Err(failure.into()),
        _ => anyhow::bail!("the daemon's answer is not its history"),
    }
}

/// The one entry whose id begins so.
fn find(entries: Vec<Entry>, id: &str) -> Result<Entry, Mistake> {
    let mut found = entries.into_iter().filter(|entry| entry.key().starts_with(id));
    match (found.next(), found.next()) {
        (Some(entry), None) => Ok(entry),
        (Some(_), Some(_)) => Err(Mistake::new(
            format!("the ids of several upgrades begin with {id:?}"),
            "give more letters; `uplift history --json` has the whole ids",
        )),
        (None, _) => Err(Mistake::new(
            format!("no upgrade of the history has an id that begins with {id:?}"),
            "`uplift history` begins each with its id",
        )),
    }
}

/// One entry in a line, with what went wrong below it.
fn in_short(entry: &Entry) -> String {
    let report = match entry {
        Entry::Known(report) => report,
        Entry::Foreign(value) => return foreign(&short(&entry.key()), value),
    };
    let outcome = paint::outcome(report.outcome);
    // Colours would count as width.
    let gap = " ".repeat(OUTCOME_WIDTH.saturating_sub(report.outcome.to_string().len()));
    let mut text = format!(
        "{}  {}  {outcome}{gap}  {}\n",
        paint::heading(&short(&report.id.0)),
        minute(&report.ended),
        view::change(report)
    );
    if let Some(failure) = &report.failure {
        text += &format!("{}{}: {failure}\n", " ".repeat(SHORT_ID + 2), failure.kind);
    }
    text + &view::program_log(report)
}

/// One entry with all that a person may ask.
fn in_full(entry: &Entry) -> String {
    let report = match entry {
        Entry::Known(report) => report,
        Entry::Foreign(value) => return foreign(&entry.key(), value),
    };
    let mut text = view::report(report);
    for (label, value) in facts(report) {
        text += &format!("  {}  {value}\n", paint::heading(&format!("{label:<9}")));
    }
    if let Some(failure) = &report.failure {
        text += &format!("{} {}\n", paint::hint("hint:"), paint::plain(failure.hint()));
    }
    text
}

fn facts(report: &Report) -> Vec<(&'static str, String)> {
    let request = &report.request;
    let caller = request.caller.as_ref().map(|caller| format!(": {caller}")).unwrap_or_default();
    let forced = if request.forced { ", forced" } else { "" };
    let mut facts = vec![
        ("id", report.id.to_string()),
        ("asked by", format!("{} ({}{caller}){forced}", request.channel, request.requester)),
        ("began", report.began.clone()),
        ("ended", report.ended.clone()),
    ];
    facts.extend(report.file_name.as_ref().map(|name| ("file", format!("{name:?}"))));
    if let Some(package) = &report.package {
        facts.push(("size", format!("{} bytes", package.size)));
        facts.push(("file is", format!("SHA-256 {}", package.file_digest)));
        facts.push(("program", format!("SHA-256 {}", package.program_digest)));
        facts.extend(package.trusted_key.map(|key| ("sealed by", format!("key {key}"))));
    }
    facts
}

/// What can be told of a report in the form of another version: the fields that it may have.
fn foreign(id: &str, entry: &serde_json::Value) -> String {
    let word = |name| entry.get(name).and_then(serde_json::Value::as_str);
    let ended = word("ended").map_or_else(|| "at an unknown time".to_owned(), minute);
    let what = word("file_name").unwrap_or("an upgrade");
    let outcome = word("outcome").unwrap_or("ended");
    format!(
        "{}  {}  {:<OUTCOME_WIDTH$}  {what:?}, in a report of another version of uplift",
        paint::heading(&paint::plain(id)),
        paint::plain(&ended),
        paint::plain(outcome)
    )
}

fn short(id: &str) -> String {
    id.chars().take(SHORT_ID).collect()
}

/// An RFC 3339 stamp to the minute, as a person reads it; what is none as it is.
fn minute(stamp: &str) -> String {
    match (stamp.get(..10), stamp.get(10..11), stamp.get(11..16), stamp.ends_with('Z')) {
        (Some(day), Some("T"), Some(time), true) => format!("{day} {time} UTC"),
        _ => stamp.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: &str) -> Entry {
        Entry::Foreign(serde_json::json!({ "id": id }))
    }

    #[test]
    fn the_first_letters_of_an_id_are_enough_where_they_are_of_one() {
        let entries = || vec![entry("ab12"), entry("ab34"), entry("cd")];
        assert_eq!(find(entries(), "ab3").unwrap(), entry("ab34"));
        assert_eq!(find(entries(), "cd").unwrap(), entry("cd"));
        assert!(find(entries(), "ab").unwrap_err().to_string().contains("several"));
        assert!(find(entries(), "x").unwrap_err().to_string().contains("no upgrade"));
    }

    #[test]
    fn a_stamp_is_told_to_the_minute() {
        assert_eq!(minute("2026-11-30T08:01:59Z"), "2026-11-30 08:01 UTC");
        assert_eq!(minute("long ago"), "long ago");
    }
}
