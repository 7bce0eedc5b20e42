//! Where the entries of a history stand in its text: found while it passes, of JSON that somebody
//! else proves to be JSON.

use std::ops::Range;

/// The field whose elements are looked for.
const FIELD: &[u8] = b"reports";

/// The places so far.
#[derive(Debug, Default)]
pub(super) struct Places {
    found: Vec<Range<u64>>,
    /// Bytes so far.
    at: u64,
    /// Objects and lists around what comes next.
    depth: u32,
    text: Text,
    /// The last string of the outermost object, as far as it may be the field's name.
    name: Vec<u8>,
    /// In the field's list.
    inside: bool,
    /// Where the element that passes began, and where it ends as far as it has come.
    element: Option<Range<u64>>,
}

/// Whether a string passes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Text {
    #[default]
    Outside,
    Inside,
    /// Behind a backslash.
    Escaped,
}

impl Places {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.take(*byte);
            self.at += 1;
        }
    }

    /// All of them, in their order.
    pub(super) fn found(self) -> Vec<Range<u64>> {
        self.found
    }

    fn take(&mut self, byte: u8) {
        match (self.text, byte) {
            (Text::Inside, b'\\') => self.text = Text::Escaped,
            (Text::Inside, b'"') => self.text = Text::Outside,
            (Text::Inside, _) if self.depth == 1 && self.name.len() <= FIELD.len() => {
                self.name.push(byte);
            }
            (Text::Inside, _) => {}
            (Text::Escaped, _) => self.text = Text::Inside,
            (Text::Outside, b'"') => {
                self.text = Text::Inside;
                if self.depth == 1 {
                    self.name.clear();
                }
            }
            (Text::Outside, b'[' | b'{') => {
                self.depth += 1;
                if self.depth == 2 && byte == b'[' && self.name == FIELD {
                    self.inside = true;
                    return;
                }
            }
            (Text::Outside, b']' | b'}') => {
                if self.inside && self.depth == 2 {
                    self.found.extend(self.element.take());
                    self.inside = false;
                }
                self.depth = self.depth.saturating_sub(1);
            }
            (Text::Outside, b',') if self.inside && self.depth == 2 => {
                self.found.extend(self.element.take());
                return;
            }
            (Text::Outside, b' ' | b'\t' | b'\r' | b'\n') => return,
            (Text::Outside, _) => {}
        }
        if self.inside {
            let from = self.element.as_ref().map_or(self.at, |element| element.start);
            self.element = Some(from..self.at + 1);
        }
    }
}
