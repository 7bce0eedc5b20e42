//! Lines of the control connection, bounded: what is longer is dropped up to its end and reported
//! as such. Pure.

/// The longest line: a verb, a space, and the longest name that Linux has (255 bytes) leave ample
/// room.
pub(crate) const LONGEST_LINE: usize = 512;

/// A line without its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// Its bytes.
    Complete(Vec<u8>),
    /// It was longer than [`LONGEST_LINE`].
    TooLong,
}

/// Bytes that came, cut into lines that end in LF, or in CR LF.
#[derive(Debug, Default)]
pub(crate) struct LineBuffer {
    bytes: Vec<u8>,
    skipping: bool,
}

impl LineBuffer {
    /// Where the next bytes go. Take the lines out after each read, or the bound does not hold.
    pub(crate) fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// The next line that is complete.
    pub(crate) fn take_line(&mut self) -> Option<Line> {
        let Some(end) = self.bytes.iter().position(|&byte| byte == b'\n') else {
            // The CR of the line's end may be there, and its LF on the way.
            if self.bytes.len() > LONGEST_LINE + 1 {
                self.bytes.clear();
                self.skipping = true;
            }
            return None;
        };
        let mut line: Vec<u8> = self.bytes.drain(..=end).collect();
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        let too_long = std::mem::take(&mut self.skipping) || line.len() > LONGEST_LINE;
        Some(if too_long { Line::TooLong } else { Line::Complete(line) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of bytes that arrive in pieces of this size.
    fn lines(bytes: &[u8], piece: usize) -> Vec<Line> {
        let (mut buffer, mut lines) = (LineBuffer::default(), Vec::new());
        for piece in bytes.chunks(piece) {
            buffer.bytes().extend_from_slice(piece);
            lines.extend(std::iter::from_fn(|| buffer.take_line()));
            assert!(buffer.bytes.len() <= LONGEST_LINE + 1);
        }
        lines
    }

    fn complete(text: &str) -> Line {
        Line::Complete(text.into())
    }

    #[test]
    fn lines_end_in_lf_with_or_without_cr() {
        for piece in 1..8 {
            assert_eq!(lines(b"NOOP\r\nQUIT\nrest", piece), [complete("NOOP"), complete("QUIT")]);
            assert_eq!(lines(b"\r\n\n", piece), [complete(""), complete("")]);
        }
    }

    #[test]
    fn an_over_long_line_is_one_error_and_the_next_one_is_read() {
        for length in [LONGEST_LINE + 1, 10 * LONGEST_LINE, 1 << 20] {
            let text = format!("{}\r\nNOOP\r\n", "x".repeat(length));
            for piece in [1, 100, LONGEST_LINE, usize::MAX] {
                assert_eq!(
                    lines(text.as_bytes(), piece),
                    [Line::TooLong, complete("NOOP")],
                    "{length} {piece}"
                );
            }
        }
    }

    #[test]
    fn the_longest_line_is_one_however_it_arrives() {
        let longest = "x".repeat(LONGEST_LINE);
        for end in ["\n", "\r\n"] {
            for piece in [1, 2, 100, LONGEST_LINE, LONGEST_LINE + 1, usize::MAX] {
                let text = format!("{longest}{end}");
                assert_eq!(lines(text.as_bytes(), piece), [complete(&longest)], "{end:?} {piece}");
            }
        }
    }
}
