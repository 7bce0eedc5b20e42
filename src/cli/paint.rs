//! Colours: few, and only where a terminal has them. What they mean stands in the words as well.
//! Texts are made with their colours, and lose them where they go to something else.

use std::borrow::Cow;
use std::ffi::OsString;

use anstream::stream::RawStream;
use anstream::{AutoStream, adapter::strip_str};
use anstyle::{AnsiColor, Style};
use clap::ColorChoice;

use crate::model::Outcome;

const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default();
const WAITING: Style = AnsiColor::Yellow.on_default();
const HINT: Style = AnsiColor::Cyan.on_default();
const HEADING: Style = Style::new().bold();

/// Where colours are wanted from now on; `auto`: where a terminal has them and `NO_COLOR` is not set.
pub(super) fn choose(choice: ColorChoice) {
    match choice {
        ColorChoice::Auto => anstream::ColorChoice::Auto,
        ColorChoice::Always => anstream::ColorChoice::Always,
        ColorChoice::Never => anstream::ColorChoice::Never,
    }
    .write_global();
}

/// [`choose`] by a command line that could not be parsed, or asks for help: that is coloured, too.
pub(super) fn choose_by(words: impl IntoIterator<Item = OsString>) {
    let (mut words, option) = (words.into_iter(), "--color");
    while let Some(word) = words.next().filter(|word| word != "--") {
        let value = match word.to_str().and_then(|word| word.strip_prefix(option)) {
            Some("") => words.next(),
            Some(rest) => rest.strip_prefix('=').map(OsString::from),
            None => None,
        };
        let value = value.as_ref().and_then(|value| value.to_str());
        if let Some(choice) = value.and_then(|value| value.parse().ok()) {
            choose(choice);
        }
    }
}

/// A text as this stream shows it.
pub(super) fn shown<'a>(text: &'a str, stream: &impl RawStream) -> Cow<'a, str> {
    match AutoStream::choice(stream) {
        anstream::ColorChoice::Never => Cow::Owned(strip_str(text).to_string()),
        _ => Cow::Borrowed(text),
    }
}

/// The word for how an upgrade ended.
pub(super) fn outcome(outcome: Outcome) -> String {
    let style = match outcome {
        Outcome::Succeeded => GOOD,
        Outcome::Failed | Outcome::RolledBack => BAD,
    };
    paint(style, &outcome.to_string())
}

/// A word for what is right.
pub(super) fn good(text: &str) -> String {
    paint(GOOD, text)
}

/// A word for what went wrong.
pub(super) fn bad(text: &str) -> String {
    paint(BAD, text)
}

/// A word for what waits, or should be looked at.
pub(super) fn waiting(text: &str) -> String {
    paint(WAITING, text)
}

/// The word before what a person can do.
pub(super) fn hint(text: &str) -> String {
    paint(HINT, text)
}

/// What names the text behind it or below it.
pub(super) fn heading(text: &str) -> String {
    paint(HEADING, text)
}

/// Without what would move a terminal's cursor.
pub(super) fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

/// Blanks around it stay plain: rows are broken there.
fn paint(style: Style, text: &str) -> String {
    let word = text.trim();
    if word.is_empty() {
        return text.to_owned();
    }
    let (before, after) = text.split_once(word).unwrap_or_default();
    format!("{before}{style}{word}{style:#}{after}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_around_a_word_stay_plain() {
        assert_eq!(heading("   Phase"), "   \x1b[1mPhase\x1b[0m");
        assert_eq!(heading("        "), "        ");
        assert_eq!(bad("rolled back "), "\x1b[31mrolled back\x1b[0m ");
    }
}
