//! A reply on the control connection: three digits and text (RFC 959, section 4.2). It knows no
//! command.

use std::borrow::Cow;

/// A reply; [`Reply::to_bytes`] is what goes over the wire, line ends included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    code: u16,
    text: Cow<'static, str>,
    /// Lines between the first and the last; each is sent with a leading space (RFC 2389, section
    /// 3.2).
    body: Vec<Vec<u8>>,
}

impl Reply {
    /// A reply of one line. The text must not hold a line end; one that does is sent with spaces
    /// instead.
    pub fn new(code: u16, text: impl Into<Cow<'static, str>>) -> Self {
        Self { code, text: text.into(), body: Vec::new() }
    }

    /// The reply with lines of its own between the first one and a closing `End`.
    #[must_use]
    pub fn with_body(mut self, body: Vec<Vec<u8>>) -> Self {
        self.body = body;
        self
    }

    /// What it says.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The three digits.
    pub fn code(&self) -> u16 {
        self.code
    }

    /// What goes over the wire.
    pub fn to_bytes(&self) -> Vec<u8> {
        let (code, text) = (self.code, self.text.replace(['\r', '\n'], " "));
        if self.body.is_empty() {
            return format!("{code} {text}\r\n").into_bytes();
        }
        let first = format!("{code}-{text}\r\n").into_bytes();
        let body = self.body.iter().map(|line| [b" ", line.as_slice(), b"\r\n"].concat());
        let last = format!("{code} End\r\n").into_bytes();
        std::iter::once(first).chain(body).chain([last]).collect::<Vec<_>>().concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_and_several() {
        assert_eq!(Reply::new(200, "Done").to_bytes(), b"200 Done\r\n");
        let several = Reply::new(211, "Features").with_body(vec!["SIZE".into(), "UTF8".into()]);
        assert_eq!(several.to_bytes(), b"211-Features\r\n SIZE\r\n UTF8\r\n211 End\r\n");
    }

    #[test]
    fn text_from_a_peer_can_t_forge_a_second_reply() {
        assert_eq!(Reply::new(550, "a\r\n226 b".to_owned()).to_bytes(), b"550 a  226 b\r\n");
    }
}
