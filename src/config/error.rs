//! Why a configuration can't be used, and where it says so.
//!
//! The text of an error comes to the journal, so a line of the file is shown only where no password
//! can stand in it.

use std::fmt;
use std::iter;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Characters of a line that are shown: what a terminal has beside the line's number.
const WIDTH: usize = 120;
/// Characters of an explanation: one that repeats what the file says could be as long as the file.
const LONGEST_EXPLANATION: usize = 600;

/// Why a configuration can't be used. The text names file, line, field and what would be right.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("the configuration {} can't be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file's text is not a configuration.
    #[error("the configuration {}, line {line}{}: {explanation}", path.display(), Clause(field))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Line, counted from 1.
        line: usize,
        /// The field, such as `channel.psdk.baud`; empty where the text as a whole is wrong.
        field: String,
        /// What is wrong and what would be right; then the line with a caret under the place,
        /// unless a password may stand there.
        explanation: String,
    },
}

impl ConfigError {
    /// Whether there is no such file.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Unreadable { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
    }
}

struct Clause<'a>(&'a str);

impl fmt::Display for Clause<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, ", field {}", self.0) }
    }
}

/// What is wrong although each field by itself is right.
#[derive(Debug)]
pub(super) struct Mistake {
    /// The fields that it is about; it is told of the first one that the file gives.
    fields: Vec<String>,
    explanation: String,
}

impl Mistake {
    pub(super) fn new<F: ToString>(fields: &[F], explanation: impl Into<String>) -> Self {
        Self {
            fields: fields.iter().map(ToString::to_string).collect(),
            explanation: explanation.into(),
        }
    }
}

/// A configuration as it is written, for errors about it.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) text: &'a str,
    pub(super) path: &'a Path,
}

impl Source<'_> {
    /// The parser's error.
    pub(super) fn invalid(self, error: &toml::de::Error) -> ConfigError {
        let place = error.span().unwrap_or_default();
        let field = DeTable::parse(self.text)
            .ok()
            .and_then(|table| field_in_table(table.get_ref(), &place))
            .unwrap_or_default();
        self.error(place, &field, error.message())
    }

    pub(super) fn mistaken(self, mistake: Mistake) -> ConfigError {
        let Mistake { mut fields, explanation } = mistake;
        let given = fields.iter().position(|field| self.place(field).is_some()).unwrap_or_default();
        let field = if fields.is_empty() { String::new() } else { fields.swap_remove(given) };
        // Where the field itself is missing, its section, or the one around that.
        let outward = iter::successors(Some(field.as_str()), |field| {
            field.rsplit_once('.').map(|(section, _)| section)
        });
        let place = outward.filter_map(|field| self.place(field)).next().unwrap_or_default();
        self.error(place, &field, &explanation)
    }

    fn error(self, place: Range<usize>, field: &str, message: &str) -> ConfigError {
        let start = place.start.min(self.text.len());
        let line = 1 + self.text.as_bytes()[..start].iter().filter(|&&byte| byte == b'\n').count();
        let mut explanation: String =
            message.chars().map(plain).take(LONGEST_EXPLANATION).collect();
        if let Some(excerpt) =
            self.excerpt(place, line).filter(|_| !is_unknown_field(message) && !is_secret(field))
        {
            explanation.push('\n');
            explanation.push_str(&excerpt);
        }
        let field = field.chars().map(plain).take(WIDTH).collect();
        ConfigError::Invalid { path: self.path.to_owned(), line, field, explanation }
    }

    /// Where a field such as `package.keys[1].public` has its value, in bytes.
    fn place(self, field: &str) -> Option<Range<usize>> {
        let table = DeTable::parse(self.text).ok()?;
        let mut found: Option<&Spanned<DeValue<'_>>> = None;
        for part in field.split(['.', '[']) {
            found = Some(match (found, part.strip_suffix(']')) {
                (None, _) => table.get_ref().get(part)?,
                (Some(list), Some(index)) => list.get_ref().get(index.parse::<usize>().ok()?)?,
                (Some(section), None) => section.get_ref().get(part)?,
            });
        }
        found.map(Spanned::span)
    }

    /// The line of a place with carets under it, or the part around it of a line that is long.
    fn excerpt(self, place: Range<usize>, number: usize) -> Option<String> {
        let before = self.text.get(..place.start)?;
        let begin = before.rfind('\n').map_or(0, |end| end + 1);
        let line = self.text[begin..].lines().next().filter(|line| !line.trim().is_empty())?;
        if !may_be_shown(&self.text[..begin], line) {
            return None;
        }
        let column = self.text[begin..place.start].chars().count();
        let first = if line.chars().count() > WIDTH { column.saturating_sub(WIDTH / 2) } else { 0 };
        let shown: String = line
            .chars()
            .skip(first)
            .take(WIDTH)
            .map(|c| if c == '\t' { ' ' } else { plain(c) })
            .collect();
        let column = column - first;
        let marked = self
            .text
            .get(place)
            .map_or(1, |marked| marked.chars().take_while(|&c| c != '\n').take(WIDTH).count());
        let carets = marked.min(shown.chars().count().saturating_sub(column)).max(1);
        let (margin, gap) = (" ".repeat(number.to_string().len()), " ".repeat(column));
        Some(format!("{margin} |\n{number} | {shown}\n{margin} | {gap}{}", "^".repeat(carets)))
    }
}

/// The field whose name or value is at a place; none where the text as a whole is wrong.
fn field_in_table(table: &DeTable<'_>, place: &Range<usize>) -> Option<String> {
    table.iter().find_map(|(name, value)| {
        let rest = rest_of_field(value, place)
            .or_else(|| covers(&name.span(), place).then(String::new))?;
        Some(format!("{}{rest}", name.get_ref()))
    })
}

/// What follows the name of a value in the name of the field, such as `[1].public`; empty where it
/// is the field.
fn rest_of_field(value: &Spanned<DeValue<'_>>, place: &Range<usize>) -> Option<String> {
    let inner = match value.get_ref() {
        DeValue::Table(table) => field_in_table(table, place).map(|field| format!(".{field}")),
        DeValue::Array(list) => list
            .iter()
            .enumerate()
            .find_map(|(n, item)| rest_of_field(item, place).map(|rest| format!("[{n}]{rest}"))),
        _ => None,
    };
    inner.or_else(|| covers(&value.span(), place).then(String::new))
}

fn covers(whole: &Range<usize>, part: &Range<usize>) -> bool {
    whole.start <= part.start && part.end <= whole.end
}

/// What a terminal does not obey.
fn plain(c: char) -> char {
    if c.is_control() && c != '\n' { char::REPLACEMENT_CHARACTER } else { c }
}

/// The message names the field, and the line could show a password under a misspelt name.
fn is_unknown_field(message: &str) -> bool {
    message.starts_with("unknown field")
}

/// Whether a password stands here, or a piece of one; a URL may hold one, too.
fn is_secret(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    text.contains("pass") || text.contains("url") || text.contains("://")
}

/// Whether no password can stand in a line. What comes before it must be complete by itself, or the
/// line may be the inside of a value of several lines; and a password belongs to the sections whose
/// names begin with `transfer` or `ftp`, under whatever misspelt name.
fn may_be_shown(before: &str, line: &str) -> bool {
    let header = before.lines().rev().find(|line| line.trim_start().starts_with('['));
    let belongs_to_ftp = |line: &str| {
        let name = line.trim_start_matches(['[', ' ', '\t', '"', '\'']);
        name.starts_with("transfer") || name.starts_with("ftp")
    };
    !is_secret(line)
        && !belongs_to_ftp(line)
        && !header.is_some_and(belongs_to_ftp)
        && DeTable::parse(before).is_ok()
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    fn error(text: &str) -> String {
        Config::parse(text, Path::new("uplift.toml")).unwrap_err().to_string()
    }

    const PROGRAM: &str = "[component.program]\nname = \"demo\"\nproduct = \"P\"\n";

    /// Whatever is wrong about it: the error goes to the journal.
    #[test]
    fn a_password_is_in_no_error() {
        for section in ["transfer.ftp", "ftp_server"] {
            for wrong in [
                "password = \"s3cret\\q\"",
                "password = 53cret",
                "password = 12345678",
                "password = [\"s3cret\"]",
                "password = s3cret",
                "password = \"s3cret",
                "password \"s3cret\"",
                "password = \"\"\"\ns3cret\\q\"\"\"",
                "password = \"\"\"\n[component.program]\ns3cret\\q\"\"\"",
                "password = \"\"\"\ns3cret",
                "password = '''\n[component.program]\n'''s3cret",
                "pasword = \"s3cret\"",
                "pasword = \"s3cret\\q\"",
                "password_fiel = \"s3cret\"",
                "user = 5 password = \"s3cret\"",
            ] {
                let error = error(&format!("{PROGRAM}[{section}]\n{wrong}\n"));
                for piece in ["s3cret", "53cret", "12345678"] {
                    assert!(!error.contains(piece), "{wrong}: {error}");
                }
                assert!(error.contains("line "), "{error}");
            }
            for wrong in [
                "{ password = \"s3cret\", no = 1 }",
                "{ pasword = \"s3cret\" }",
                "{ password = 12345678 }",
            ] {
                let error = error(&format!("{section} = {wrong}\n{PROGRAM}"));
                assert!(
                    !error.contains("s3cret") && !error.contains("12345678"),
                    "{wrong}: {error}"
                );
            }
            let error = error(&format!("{PROGRAM}[{section}]\npassword = 12345678\n"));
            assert!(
                error.contains(&format!("line 5, field {section}.password: "))
                    && error.contains("quotation marks"),
                "{error}"
            );
        }
    }

    #[test]
    fn other_lines_are_shown_with_the_place() {
        let error = error("[component.program]\nname = \"demo\"\nproduct = 5\n");
        assert!(error.ends_with("\n  |\n3 | product = 5\n  |           ^"), "{error}");
    }

    #[test]
    fn a_field_is_named_by_its_path() {
        for (wrong, field) in [
            ("version = 5", "component.program.version"),
            ("[channel.psdk]\nbaud = true", "channel.psdk.baud"),
            ("[channel.psdk]\nbuad = 9600", "channel.psdk.buad"),
            ("[package]\nkeys = [{ note = \"a\", public = 5 }]", "package.keys[0].public"),
            (
                "[[package.keys]]\npublic = \"b\"\n[[package.keys]]\nother = 5",
                "package.keys[0].public",
            ),
            ("[ftp_server]\npassive_ports = [1,\n \"two\"]", "ftp_server.passive_ports"),
        ] {
            let error = error(&format!("{PROGRAM}{wrong}\n"));
            assert!(error.contains(&format!(", field {field}: ")), "{wrong}: {error}");
        }
        assert!(error("[program").starts_with("the configuration uplift.toml, line 1: "));
    }

    #[test]
    fn a_long_line_is_cut_and_commands_no_terminal() {
        for text in [
            format!("{}\u{1b}[2J = 1", "x".repeat(5_000)),
            format!("[component.program]\n\"{}\" = 1", "x\\u001b".repeat(5_000)),
            format!("[component.program]\nrestart_deadline = \"{}\"", "\\u001b".repeat(5_000)),
        ] {
            let error = error(&text);
            assert!(error.chars().count() < 1_200 && !error.contains('\u{1b}'), "{error}");
        }
    }
}
