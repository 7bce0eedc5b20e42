//! Pieces of manual pages, joined to pages. The crate `roff` escapes the text.

use roff::{Inline, Roff};

/// What each text of the crate begins with: the apostrophe of this formatter.
fn preamble() -> String {
    Roff::new().render()
}

/// A piece of a page.
pub(super) fn piece(fill: impl FnOnce(&mut Roff)) -> String {
    let mut roff = Roff::new();
    fill(&mut roff);
    without_preamble(&roff.render())
}

/// A text of the crate's as a piece.
pub(super) fn without_preamble(text: &str) -> String {
    text.strip_prefix(&preamble()).unwrap_or(text).to_owned()
}

/// A heading.
pub(super) fn heading(text: &str) -> String {
    piece(|roff| {
        roff.control("SH", [text]);
    })
}

/// Widest line of what stays as it is, so that a terminal of 80 columns has room for it.
const WIDTH: usize = 66;

/// Lines that stay as they are, as an example; longer ones go on in the next line as a shell would
/// read them.
pub(super) fn verbatim<'a>(roff: &mut Roff, lines: impl IntoIterator<Item = &'a str>) {
    roff.control("PP", []).control("RS", ["4"]).control("EX", []);
    for line in lines.into_iter().flat_map(folded) {
        roff.text([Inline::Roman(line)]);
    }
    roff.control("EE", []).control("RE", []);
}

fn folded(line: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in line.split_inclusive(' ') {
        let last = lines.last().map_or(0, |line| line.chars().count());
        if last > 0 && last + word.trim_end().chars().count() > WIDTH {
            lines.push("    ".to_owned());
        }
        if let Some(line) = lines.last_mut() {
            line.push_str(word);
        }
    }
    let count = lines.len();
    lines
        .iter()
        .enumerate()
        .map(|(number, line)| if number + 1 < count { format!("{line}\\") } else { line.clone() })
        .collect()
}

/// A page: its title line and its parts. Words are not hyphenated: the long ones are names, to be
/// searched for and copied.
pub(super) fn assemble(title: &[&str], parts: &[String]) -> String {
    let begin = piece(|roff| {
        let (command, arguments) =
            title.split_first().map_or(("TH", title), |(first, rest)| (*first, rest));
        roff.control("nr", ["HY", "0"])
            .control(command, arguments.iter().copied())
            .control("ad", ["l"]);
    });
    format!("{}{begin}{}", preamble(), tidy(&parts.concat()))
}

/// Without the breaks and paragraphs that mean nothing where they stand, and with places to break
/// the longest words at.
fn tidy(text: &str) -> String {
    let mut tidy = String::new();
    let mut before = "";
    for line in text.lines() {
        let after_heading = before.starts_with(".SH") || before.starts_with(".SS");
        if line.is_empty() || (line == ".PP" && after_heading) || (line == ".br" && before == ".br")
        {
            continue;
        }
        for word in line.split_inclusive(' ') {
            tidy += &if word.len() > WIDTH { word.replace(',', ",\\:") } else { word.to_owned() };
        }
        tidy.push('\n');
        before = line;
    }
    tidy
}
