//! The head of an answer, as far as this channel looks at it.

/// What an answer says of its body: the status, and the values of those headers that it has, as
/// they came.
#[derive(Debug, Clone, Copy, Default)]
#[allow(missing_docs, reason = "each is the header of its name")]
pub(crate) struct Head<'a> {
    pub(crate) status: u16,
    pub(crate) content_length: Option<&'a str>,
    pub(crate) content_range: Option<&'a str>,
    pub(crate) content_encoding: Option<&'a str>,
    pub(crate) etag: Option<&'a str>,
    pub(crate) last_modified: Option<&'a str>,
}
