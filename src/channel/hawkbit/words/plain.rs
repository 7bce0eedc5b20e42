//! Text as each server takes it (HB-7): some refuse what looks like markup, all have limits.

/// Most details of one feedback.
pub(super) const MOST_DETAILS: usize = 10;
/// Longest detail in characters.
pub(super) const LONGEST_DETAIL: usize = 400;

/// A sentence in the alphabet that no server takes for markup. Quotation marks are left out, what
/// else is not in it becomes `_`.
pub(super) fn detail(text: &str) -> String {
    let mut plain = String::new();
    for c in text.chars().filter(|c| !['"', '\'', '`', '“', '”', '„', '’'].contains(c)) {
        let c = match c {
            c if c.is_whitespace() || c.is_control() => ' ',
            c if is_plain(c) => c,
            _ => '_',
        };
        if c != ' ' || !plain.ends_with(' ') {
            plain.push(c);
        }
        if plain.len() > LONGEST_DETAIL {
            plain.truncate(LONGEST_DETAIL - 3);
            plain.push_str("...");
            break;
        }
    }
    plain.trim().to_owned()
}

/// Details of one feedback: none is empty, and the last one says where there were more.
pub(super) fn details(texts: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut details: Vec<String> =
        texts.into_iter().map(|text| detail(&text)).filter(|text| !text.is_empty()).collect();
    if details.len() > MOST_DETAILS {
        let more = details.len() - (MOST_DETAILS - 1);
        details.truncate(MOST_DETAILS - 1);
        details.push(format!("and {more} more lines"));
    }
    details
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || " .,:;%_/()=+-".contains(c)
}

#[cfg(test)]
pub(super) fn is_detail(text: &str) -> bool {
    (1..=LONGEST_DETAIL).contains(&text.len()) && text.chars().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// HB-7.
    #[test]
    fn a_detail_is_in_the_alphabet_that_all_servers_take() {
        for (text, plain) in [
            ("Downloaded 40%", "Downloaded 40%"),
            (
                "the file is for product \"X\", this payload is 'Y'",
                "the file is for product X, this payload is Y",
            ),
            ("<script>alert(1)</script>", "_script_alert(1)_/script_"),
            ("a\n\r\t  b\0c", "a b c"),
            ("Größe 😀 [x] {y} a@b #1 & 2!", "Gr__e _ _x_ _y_ a_b _1 _ 2_"),
            ("  ", ""),
            ("", ""),
        ] {
            assert_eq!(detail(text), plain);
        }
    }

    /// HB-7.
    #[test]
    fn a_long_detail_is_cut_and_says_so() {
        assert_eq!(detail(&"x".repeat(400)), "x".repeat(400));
        let cut = detail(&"x".repeat(1 << 20));
        assert_eq!((cut.len(), &cut[396..]), (400, "x..."));
    }

    /// HB-7.
    #[test]
    fn ten_details_and_no_more() {
        let lines = |count: usize| (0..count).map(|n| format!("line {n}"));
        assert_eq!(details(lines(10)).last().unwrap(), "line 9");
        let cut = details(lines(13).chain([String::new()]));
        assert_eq!((cut.len(), cut[9].as_str()), (10, "and 4 more lines"));
    }
}
