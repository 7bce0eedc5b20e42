//! Bytes of a module, cut into lines and data (QT-1).

use super::line::Said;

/// Longest line that is looked at; what is longer is passed over to its end.
const LONGEST_LINE: usize = 1024;
/// Most bytes of a message of the platform that are passed over as data. A larger number is no
/// reason to be deaf.
const LONGEST_MESSAGE: u64 = 64 << 10;
/// What data of a file begin with.
const DATA: &[u8] = b"+QIOTOTARD:";
/// What a message of the platform begins with that follows as it is.
const MESSAGES: [&[u8]; 2] = [b"+QIOTEVT: 5,10200,", b"+QIOTEVT: 5,10210,"];

/// What was heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    /// A line.
    Said(Said),
    /// Bytes of the file.
    Data {
        /// The first one's place in the file.
        start: u64,
        /// They.
        bytes: Vec<u8>,
    },
}

/// Reads what a module says.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    mode: Mode,
    line: Vec<u8>,
    /// The line is longer than any that is looked at.
    is_too_long: bool,
    /// Most bytes of a file that may come: as many as were asked for.
    expected: u32,
}

#[derive(Debug, Default)]
enum Mode {
    #[default]
    Line,
    /// Behind a line after which data follow, which ends with both characters.
    LineFeed(Following),
    Following(Following),
}

#[derive(Debug)]
enum Following {
    File { start: u64, bytes: Vec<u8>, left: usize },
    Message { left: u64 },
}

impl Parser {
    /// So many bytes were asked for; data of more are none.
    pub(crate) fn expect(&mut self, most: u32) {
        self.expected = most;
    }

    /// What was begun is given up: the next byte begins a line.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }

    /// Takes bytes; what they bring goes to `heard`.
    pub(crate) fn take(&mut self, mut bytes: &[u8], heard: &mut Vec<Heard>) {
        while let Some((&first, rest)) = bytes.split_first() {
            match std::mem::take(&mut self.mode) {
                Mode::Line => {
                    bytes = rest;
                    self.take_character(first, heard);
                }
                Mode::LineFeed(following) => {
                    // Anything else begins a line: this was none behind which data come.
                    if first == b'\n' {
                        bytes = rest;
                        self.mode = Mode::Following(following);
                    }
                }
                Mode::Following(following) => {
                    self.mode = Mode::Following(following);
                    self.take_following(&mut bytes, heard);
                }
            }
        }
    }

    fn take_character(&mut self, character: u8, heard: &mut Vec<Heard>) {
        if !matches!(character, b'\r' | b'\n') {
            if self.line.len() < LONGEST_LINE {
                self.line.push(character);
            } else {
                self.is_too_long = true;
            }
            return;
        }
        let line = std::mem::take(&mut self.line);
        if std::mem::take(&mut self.is_too_long) || line.is_empty() {
            return;
        }
        match self.followed(&line).filter(|_| character == b'\r') {
            Some(following) => self.mode = Mode::LineFeed(following),
            None => heard.push(Heard::Said(Said::parse(&line))),
        }
    }

    /// What follows behind a line.
    fn followed(&self, line: &[u8]) -> Option<Following> {
        if let Some(numbers) = line.strip_prefix(DATA) {
            let (start, count) = std::str::from_utf8(numbers).ok()?.trim().split_once(',')?;
            let (start, left) = (start.parse().ok()?, count.parse().ok()?);
            let fits = left > 0 && left <= usize::try_from(self.expected).unwrap_or_default();
            return fits.then(|| Following::File { start, bytes: Vec::with_capacity(left), left });
        }
        let count = MESSAGES.iter().find_map(|message| line.strip_prefix(*message))?;
        let left = std::str::from_utf8(count).ok()?.trim().parse().ok()?;
        (1..=LONGEST_MESSAGE).contains(&left).then_some(Following::Message { left })
    }

    fn take_following(&mut self, rest: &mut &[u8], heard: &mut Vec<Heard>) {
        let Mode::Following(following) = &mut self.mode else { return };
        match following {
            Following::Message { left } => {
                let count = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                *rest = &rest[count..];
                *left -= count as u64;
                if *left == 0 {
                    self.mode = Mode::Line;
                }
            }
            Following::File { start, bytes, left } => {
                let (these, others) = rest.split_at(rest.len().min(*left));
                bytes.extend_from_slice(these);
                (*rest, *left) = (others, *left - these.len());
                if *left == 0 {
                    let (start, bytes) = (*start, std::mem::take(bytes));
                    self.mode = Mode::Line;
                    self.expected = 0;
                    heard.push(Heard::Data { start, bytes });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::line::Event;
    use super::*;

    fn heard(most: u32, bytes: &[u8], step: usize) -> Vec<Heard> {
        let (mut parser, mut heard) = (Parser::default(), Vec::new());
        parser.expect(most);
        bytes.chunks(step).for_each(|bytes| parser.take(bytes, &mut heard));
        heard
    }

    fn ok() -> Heard {
        Heard::Said(Said::Ok)
    }

    #[test]
    fn qt_1_data_may_hold_words_of_the_wire_and_come_in_any_parts() {
        let data = b"\r\nOK\r\nERROR\r\n+QIOTEVT: 7,10706\r\n+QIOTOTARD: 0,9\r\nx\r";
        let mut bytes = format!("\r\n+QIOTOTARD: 1024,{}\r\n", data.len()).into_bytes();
        bytes.extend_from_slice(data);
        bytes.extend_from_slice(b"\r\n\r\nOK\r\n+QIOTEVT: 7,10702\r\n");
        for step in 1..=bytes.len() {
            let all = heard(1024, &bytes, step);
            let downloading = Heard::Said(Said::Event(Event::Downloading));
            let file = Heard::Data { start: 1024, bytes: data.to_vec() };
            assert_eq!(all, [file, ok(), downloading], "{step}");
        }
    }

    #[test]
    fn qt_1_data_that_nobody_asked_for_are_lines() {
        let all = heard(4, b"+QIOTOTARD: 0,5\r\nOK\r\nOK\r\n", 3);
        assert_eq!(all, [Heard::Said(Said::Other), ok(), ok()]);
        let all = heard(0, b"+QIOTOTARD: 0,4294967296\r\nOK\r\n", 7);
        assert_eq!(all, [Heard::Said(Said::Other), ok()]);
    }

    #[test]
    fn qt_1_lines_of_any_length_are_passed_over_and_take_no_room() {
        let mut bytes = vec![b'A'; 10 << 20];
        bytes.extend_from_slice(b"OK\r\nOK\r\n");
        let (mut parser, mut heard) = (Parser::default(), Vec::new());
        parser.take(&bytes, &mut heard);
        assert_eq!(heard, [ok()]);
        assert!(parser.line.capacity() <= LONGEST_LINE);
    }

    #[test]
    fn a_message_of_the_platform_is_passed_over_to_its_last_byte() {
        let bytes = b"+QIOTEVT: 5,10200,12\r\nOK\r\nERROR\r\n\x00OK\r\n";
        assert_eq!(heard(0, bytes, 1), [ok()]);
        let bytes = b"+QIOTEVT: 5,10200,99999999\r\nOK\r\n";
        assert_eq!(
            heard(0, bytes, 4),
            [Heard::Said(Said::Event(Event::Connection(5, 10200))), ok()]
        );
    }

    #[test]
    fn qt_3_commands_that_are_repeated_are_no_answers() {
        let all = heard(
            0,
            b"AT\r\r\nOK\r\nATE0\rOK\r\nAT+QIOTSTATE?\r\r\n+QIOTSTATE: 8\r\n\r\nOK\r\n",
            5,
        );
        let said = all.into_iter().filter(|heard| *heard != Heard::Said(Said::Other));
        assert!(said.eq([ok(), ok(), Heard::Said(Said::State(8)), ok()]));
    }
}
