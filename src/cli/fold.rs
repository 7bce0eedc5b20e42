//! Lines that are longer than a terminal is wide. Pure: rows from text.

/// Furthest place where the text of a line may begin behind its label.
const WIDEST_LABEL: usize = 24;

/// A line in rows of this width, broken between words where that is possible; all but the first are
/// indented.
pub(super) fn fold(line: &str, indent: usize, columns: usize) -> Vec<String> {
    let columns = columns.max(indent + 1);
    let (mut rows, mut row, mut rest) = (Vec::new(), String::new(), line);
    loop {
        let room = columns - row.chars().count();
        let Some((end, _)) = rest.char_indices().nth(room) else {
            rows.push(row + rest);
            return rows;
        };
        // A blank within the label is no place to break.
        let first = if rows.is_empty() {
            rest.char_indices().nth(indent).map_or(end, |(at, _)| at)
        } else {
            0
        };
        let blank = || rest[..end].rfind(' ').filter(|at| *at > first).unwrap_or(end);
        let (head, tail) = rest.split_at(if rest[end..].starts_with(' ') { end } else { blank() });
        rows.push(row + head);
        row = " ".repeat(indent);
        rest = tail.trim_start_matches(' ');
    }
}

/// Where the text of a line begins behind its label, which two blanks or more end; a little further
/// in where there is no label.
pub(super) fn text_indent(line: &str) -> usize {
    let begins = |at: usize| line[..at].ends_with("  ") && !line[at..].starts_with(' ');
    let places =
        line.char_indices().enumerate().take(WIDEST_LABEL).filter(|(_, (at, _))| begins(*at));
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
        assert_eq!(
            fold("   Phase  one two three", 10, 18),
            ["   Phase  one two", "          three"]
        );
        assert_eq!(
            fold("   Phase  one two three", 10, 17),
            ["   Phase  one two", "          three"]
        );
        assert_eq!(
            fold("   Phase  abcdefgh ij", 10, 15),
            ["   Phase  abcde", "          fgh", "          ij"]
        );
        assert_eq!(fold("   Phase  äöü", 10, 11), ["   Phase  ä", "          ö", "          ü"]);
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
            ("                                   far", 2),
            ("", 2),
        ] {
            assert_eq!(text_indent(line), indent, "{line}");
        }
    }
}
