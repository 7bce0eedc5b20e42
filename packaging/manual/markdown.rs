//! Markdown as a part of a manual page. A table becomes a list of its first column's terms, which
//! is what fits a terminal.

use anyhow::Context as _;
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
use roff::{Inline, Roff};

use super::page::{piece, verbatim};

/// What stands below a heading, up to the next of its level or above.
pub(super) fn part<'a>(document: &'a str, heading: &str) -> anyhow::Result<&'a str> {
    let level = heading.bytes().take_while(|&byte| byte == b'#').count();
    let start = document
        .find(&format!("\n{heading}\n"))
        .with_context(|| format!("no part is called {heading}"))?;
    let rest = &document[start + heading.len() + 2..];
    let ends = (1..=level).filter_map(|level| rest.find(&format!("\n{} ", "#".repeat(level))));
    Ok(&rest[..ends.min().unwrap_or(rest.len())])
}

/// A document below its title.
pub(super) fn without_title(document: &str) -> &str {
    document.split_once('\n').map_or("", |(_title, rest)| rest)
}

/// The text as a piece of a page. Headings become subsections, whatever their level.
pub(super) fn render(text: &str) -> String {
    piece(|roff| {
        let mut page = Page {
            roff,
            line: Vec::new(),
            font: Inline::Roman,
            table: Table::default(),
            lists: Vec::new(),
            in_code: false,
        };
        for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
            match event {
                Event::Start(tag) => page.begin(&tag),
                Event::End(tag) => page.end(tag),
                Event::Text(text) => page.text(&text),
                Event::Code(text) => page.line.push(Inline::Bold(text.into_string())),
                Event::SoftBreak => page.text(" "),
                Event::HardBreak => page.line.push(Inline::LineBreak),
                _ => {}
            }
        }
    })
}

/// What is being read.
struct Page<'a> {
    roff: &'a mut Roff,
    /// Of the paragraph, the cell or the heading.
    line: Vec<Inline>,
    font: fn(String) -> Inline,
    table: Table,
    /// The next number of each list around; none where it has bullets.
    lists: Vec<Option<u64>>,
    in_code: bool,
}

#[derive(Default)]
struct Table {
    titles: Vec<String>,
    in_head: bool,
    column: usize,
}

impl Page<'_> {
    fn begin(&mut self, tag: &Tag) {
        match tag {
            // The first one of an item stands beside its mark.
            Tag::Paragraph if self.lists.is_empty() => self.control("PP", &[]),
            Tag::CodeBlock(_) => {
                self.flush();
                self.in_code = true;
            }
            Tag::List(first) => {
                self.flush();
                self.lists.push(*first);
            }
            Tag::Item => self.item(),
            Tag::Table(_) => self.table = Table::default(),
            Tag::TableHead => self.table.in_head = true,
            Tag::TableRow => self.table.column = 0,
            Tag::Strong => self.font = Inline::Bold,
            Tag::Emphasis => self.font = Inline::Italic,
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Paragraph | TagEnd::Item => self.flush(),
            TagEnd::Heading(_) => {
                let title = self.plain();
                self.control("SS", &[&title]);
            }
            TagEnd::CodeBlock => self.in_code = false,
            TagEnd::List(_) => drop(self.lists.pop()),
            TagEnd::TableHead => self.table.in_head = false,
            TagEnd::TableCell => self.cell(),
            TagEnd::Strong | TagEnd::Emphasis => self.font = Inline::Roman,
            _ => {}
        }
    }

    fn text(&mut self, text: &str) {
        if self.in_code {
            verbatim(self.roff, text.lines());
        } else {
            self.line.push((self.font)(text.to_owned()));
        }
    }

    fn item(&mut self) {
        match self.lists.last_mut() {
            Some(Some(number)) => {
                let mark = format!("{number}.");
                *number += 1;
                self.control("IP", &[&mark, "4"]);
            }
            _ => self.control("IP", &["\\(bu", "2"]),
        }
    }

    /// The first one of a row is a term, the others explain it: each after the title of its column,
    /// unless that says nothing.
    fn cell(&mut self) {
        if self.table.in_head {
            let title = self.plain();
            return self.table.titles.push(title);
        }
        let column = self.table.column;
        self.table.column += 1;
        if column == 0 {
            self.control("TP", &[]);
            return self.flush();
        }
        if ["", "–"].contains(&self.plain_text().as_str()) {
            return self.line.clear();
        }
        if column > 1 {
            self.control("br", &[]);
        }
        let title = self.table.titles.get(column).cloned().unwrap_or_default();
        if self.table.titles.len() > 2 && !["meaning", "what happened"].contains(&title.as_str()) {
            self.line.insert(0, Inline::Italic(format!("{title}: ")));
        }
        self.flush();
    }

    fn flush(&mut self) {
        if !self.line.is_empty() {
            self.roff.text(std::mem::take(&mut self.line));
        }
    }

    fn control(&mut self, name: &str, arguments: &[&str]) {
        self.roff.control(name, arguments.iter().copied());
    }

    fn plain_text(&self) -> String {
        let text = |inline: &Inline| match inline {
            Inline::Roman(text) | Inline::Bold(text) | Inline::Italic(text) => text.clone(),
            Inline::LineBreak => " ".to_owned(),
        };
        self.line.iter().map(text).collect()
    }

    /// The line's text, taken.
    fn plain(&mut self) -> String {
        let text = self.plain_text();
        self.line.clear();
        text
    }
}
