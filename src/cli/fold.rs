//! Lines that are longer than a terminal is wide. Pure: rows from text.

/// Furthest place where the text of a line may begin behind its label.
const WIDEST_LABEL: usize = 24;

/// A line in rows of this width, broken between words; all but the first are indented. A word that no
/// row has room for is broken behind a slash where it has one, as paths have, and anywhere otherwise.
pub(super) fn fold(line: &str, indent: usize, columns: usize) -> Vec<String> {
    let columns = columns.max(indent + 1);
    // On a narrow terminal text needs the room more than labels do.
    let hanging = indent.min(columns / 3);
    let (mut rows, mut row, mut rest) = (Vec::new(), String::new(), line);
    loop {
        let room = columns - width(&row);
        let Some((end, _)) = visible(rest).nth(room) else {
            rows.push(row + rest);
            return rows;
        };
        // A blank within the label is no place to break.
        let first = if rows.is_empty() { at_column(rest, indent).min(end) } else { 0 };
        let (head, tail) = rest.split_at(break_at(rest, first, end, columns - hanging));
        rows.push(row + head.trim_end_matches(' '));
        row = " ".repeat(hanging);
        rest = tail.trim_start_matches(' ');
    }
}

/// Where to break what has room up to `end` only, and whose text begins at `first`; the row below has
/// `room` columns.
fn break_at(text: &str, first: usize, end: usize, room: usize) -> usize {
    if text[end..].starts_with(' ') {
        return end;
    }
    let blank = text[..end].rfind(' ').filter(|at| *at > first);
    let word = blank.map_or(first, |at| at + 1);
    let length = text[word..].find(' ').map_or(text.len(), |length| word + length);
    // Behind a label alone it may be too long, and have room below.
    let fits_below = word > 0 && width(&text[word..length]) <= room;
    match blank {
        Some(at) => at,
        None if fits_below => first,
        None => text[first..end].rfind('/').map_or(end, |at| first + at + 1),
    }
}

/// Columns that a text takes on a terminal.
pub(super) fn width(text: &str) -> usize {
    visible(text).count()
}

/// The characters that take a column each, with their places: what sets a colour takes none.
fn visible(text: &str) -> impl Iterator<Item = (usize, char)> {
    let mut in_escape = false;
    text.char_indices().filter(move |(_, letter)| {
        let begins = *letter == '\x1b';
        let is_visible = !begins && !in_escape;
        in_escape = if in_escape { *letter != 'm' } else { begins };
        is_visible
    })
}

/// The place of a column.
fn at_column(text: &str, column: usize) -> usize {
    visible(text).nth(column).map_or(text.len(), |(at, _)| at)
}

/// Where the text of a line begins behind its label, which two blanks or more end; a little further
/// in where there is no label.
pub(super) fn text_indent(line: &str) -> usize {
    let begins = |at: usize| line[..at].ends_with("  ") && !line[at..].starts_with(' ');
    let places = visible(line).enumerate().take(WIDEST_LABEL).filter(|(_, (at, _))| begins(*at));
    match places.last() {
        Some((column, (at, _))) if !line[..at].trim().is_empty() => column,
        Some((column, _)) => column + 2,
        None => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_broken_between_words_and_within_one_that_is_too_long() {
        assert_eq!(fold("   Phase  idle", 10, 80), ["   Phase  idle"]);
        assert_eq!(fold("   Phase  one two three", 10, 30), ["   Phase  one two three"]);
        for columns in [17, 18] {
            assert_eq!(
                fold("   Phase  one two three", 10, columns),
                ["   Phase  one two", &format!("{}three", " ".repeat(columns / 3))]
            );
        }
        assert_eq!(
            fold("   Phase  abcdefgh ij", 10, 15),
            ["   Phase", "     abcdefgh", "     ij"],
            "it has room below the label"
        );
        assert_eq!(
            fold("   Phase  abcdefghijkl", 10, 15),
            ["   Phase  abcde", "     fghijkl"],
            "it has room nowhere"
        );
        assert_eq!(
            fold("   Phase  /usr/local/bin/sensor", 10, 21),
            ["   Phase  /usr/local/", "       bin/sensor"]
        );
        assert_eq!(fold("   Phase  äöü", 10, 11), ["   Phase", "   äöü"]);
        assert_eq!(
            fold("  \x1b[1mPhase\x1b[0m  one \x1b[32mtwo\x1b[0m three", 9, 16),
            ["  \x1b[1mPhase\x1b[0m  one \x1b[32mtwo\x1b[0m", "     three"],
            "what sets a colour takes no room"
        );
        assert_eq!(fold("", 10, 1), [""]);
    }

    #[test]
    fn what_is_folded_stands_below_where_its_text_begins() {
        for (line, indent) in [
            ("a sentence without a label", 2),
            ("  - a point of a list", 4),
            ("  ok      name        product", 22),
            ("  skipped known bad   only the daemon", 22),
            ("  sealed as     product  \"two  blanks\"", 16),
            ("  \x1b[1mPhase\x1b[0m  idle", 9),
            ("                                   far", 2),
            ("", 2),
        ] {
            assert_eq!(text_indent(line), indent, "{line}");
        }
    }
}
