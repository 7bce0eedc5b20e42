//! Lines of the control connection, bounded: what is longer is dropped up to its end and reported as such.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest line: a verb, a space, and the longest name that Linux has (255 bytes) leave ample room.
pub(crate) const LONGEST_LINE: usize = 512;

/// A line without its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// Its bytes.
    Complete(Vec<u8>),
    /// It was longer than [`LONGEST_LINE`].
    TooLong,
}

/// Reads lines that end in LF, or in CR LF.
#[derive(Debug)]
pub(crate) struct LineReader<R> {
    source: R,
    buffer: Vec<u8>,
    skipping: bool,
}

impl<R: AsyncRead + Unpin> LineReader<R> {
    pub(crate) fn new(source: R) -> Self {
        Self { source, buffer: Vec::with_capacity(LONGEST_LINE), skipping: false }
    }

    /// The next line, or `None` when the peer closed the connection. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            if let Some(line) = self.take_line() {
                return Ok(Some(line));
            }
            if self.source.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }

    fn take_line(&mut self) -> Option<Line> {
        let Some(end) = self.buffer.iter().position(|&byte| byte == b'\n') else {
            if self.buffer.len() > LONGEST_LINE {
                self.buffer.clear();
                self.skipping = true;
            }
            return None;
        };
        let mut line: Vec<u8> = self.buffer.drain(..=end).collect();
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

    async fn lines(bytes: &[u8]) -> Vec<Line> {
        let mut reader = LineReader::new(bytes);
        let mut lines = Vec::new();
        while let Some(line) = reader.next().await.unwrap() {
            lines.push(line);
        }
        lines
    }

    fn complete(text: &str) -> Line {
        Line::Complete(text.into())
    }

    #[tokio::test]
    async fn lines_end_in_lf_with_or_without_cr() {
        assert_eq!(lines(b"NOOP\r\nQUIT\nrest").await, [complete("NOOP"), complete("QUIT")]);
        assert_eq!(lines(b"\r\n\n").await, [complete(""), complete("")]);
    }

    #[tokio::test]
    async fn an_over_long_line_is_one_error_and_the_next_one_is_read() {
        for length in [LONGEST_LINE + 1, 10 * LONGEST_LINE, 1 << 20] {
            let text = format!("{}\r\nNOOP\r\n", "x".repeat(length));
            assert_eq!(lines(text.as_bytes()).await, [Line::TooLong, complete("NOOP")], "{length}");
        }
        let longest = "x".repeat(LONGEST_LINE);
        assert_eq!(lines(format!("{longest}\n").as_bytes()).await, [complete(&longest)]);
    }
}
