//! What proves that a body that goes on is of the file that began.

use serde::{Deserialize, Serialize};
use ureq::http::HeaderMap;
use ureq::http::header::{ETAG, HeaderName, LAST_MODIFIED};

use super::url::Url;

/// Longest tag or date in bytes that is kept: a longer one proves nothing to us.
const LONGEST: usize = 1024;

/// What proves that a resumed body is of the same file (DL-1). Written as JSON it has less than 8
/// KiB.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Validator {
    /// Where it came from, without query and user.
    url: String,
    /// A strong tag, in its quotation marks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
    /// When it was changed, as the server says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_modified: Option<String>,
    /// Its size in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
}

impl Validator {
    /// What an answer proves.
    pub(super) fn of(url: &Url, headers: &HeaderMap, total: Option<u64>) -> Self {
        Self {
            url: url.without_query(),
            etag: strong_etag(headers),
            last_modified: text(headers, &LAST_MODIFIED),
            total,
        }
    }

    /// The size of the whole file in bytes.
    pub(crate) fn total(&self) -> Option<u64> {
        self.total
    }

    /// The same, where only now the size is known.
    pub(super) fn with_total(self, total: Option<u64>) -> Self {
        Self { total: self.total.or(total), ..self }
    }

    /// Whether it is of what lies there, with this size where one is known.
    pub(super) fn is_of(&self, url: &Url, size: Option<u64>) -> bool {
        let other_size = size.zip(self.total).is_some_and(|(size, total)| size != total);
        self.url == url.without_query() && !other_size
    }

    /// Whether a later download can go on by it.
    pub(crate) fn proves(&self) -> bool {
        self.if_range().is_some()
    }

    /// What `If-Range` says (DL-2), if there is anything to say: without it nothing proves that a
    /// server's file is the same still.
    pub(super) fn if_range(&self) -> Option<&str> {
        self.etag.as_deref().or(self.last_modified.as_deref())
    }

    /// Whether an answer is of another file: a server may not know `If-Range`.
    pub(super) fn contradicts(&self, headers: &HeaderMap) -> bool {
        let differ = |own: &Option<String>, other: Option<String>| {
            own.as_ref().zip(other).is_some_and(|(own, other)| *own != other)
        };
        differ(&self.etag, strong_etag(headers))
            || (self.etag.is_none() && differ(&self.last_modified, text(headers, &LAST_MODIFIED)))
    }
}

/// A weak tag is never kept: `If-Range` must not have one.
fn strong_etag(headers: &HeaderMap) -> Option<String> {
    text(headers, &ETAG).filter(|tag| tag.len() > 2 && tag.starts_with('"') && tag.ends_with('"'))
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let text = headers.get(name)?.to_str().ok()?;
    (!text.is_empty() && text.len() <= LONGEST).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn url() -> Url {
        "https://h/file?token=secret".parse().unwrap()
    }

    #[test]
    fn dl_2_a_strong_tag_comes_before_a_date_and_a_weak_one_is_none() {
        let date = "Sun, 29 Nov 2026 10:00:00 GMT";
        for (pairs, said) in [
            (&[("etag", "\"a\""), ("last-modified", date)][..], Some("\"a\"")),
            (&[("etag", "W/\"a\""), ("last-modified", date)], Some(date)),
            (&[("etag", "W/\"a\"")], None),
            (&[("etag", "\"\"")], None),
            (&[("etag", "a")], None),
            (&[], None),
        ] {
            let validator = Validator::of(&url(), &headers(pairs), None);
            assert_eq!(validator.if_range(), said, "{pairs:?}");
        }
        let long = format!("\"{}\"", "a".repeat(2000));
        assert_eq!(Validator::of(&url(), &headers(&[("etag", &long)]), None).if_range(), None);
    }

    #[test]
    fn dl_1_it_is_of_one_url_and_one_size() {
        let validator = Validator::of(&url(), &headers(&[("etag", "\"a\"")]), Some(7));
        assert!(validator.is_of(&"https://h/file?token=other".parse().unwrap(), Some(7)));
        assert!(validator.is_of(&url(), None));
        assert!(!validator.is_of(&url(), Some(8)));
        assert!(!validator.is_of(&"https://h/other".parse().unwrap(), Some(7)));
    }

    #[test]
    fn another_tag_or_date_contradicts_and_none_does_not() {
        let tagged = Validator::of(&url(), &headers(&[("etag", "\"a\"")]), None);
        assert!(tagged.contradicts(&headers(&[("etag", "\"b\"")])));
        assert!(!tagged.contradicts(&headers(&[("etag", "\"a\"")])));
        assert!(!tagged.contradicts(&headers(&[("etag", "W/\"b\"")])));
        assert!(!tagged.contradicts(&headers(&[])));
        let dated = Validator::of(&url(), &headers(&[("last-modified", "x")]), None);
        assert!(dated.contradicts(&headers(&[("last-modified", "y")])));
    }

    #[test]
    fn the_largest_one_fits_into_a_note_and_none_has_a_secret() {
        let long = format!("https://h/{}?token=secret", "a\"".repeat(1000));
        let tag = format!("\"{}\"", "\\\"".repeat(500));
        let pairs = [("etag", &*tag), ("last-modified", &tag)];
        let url = long.parse().unwrap_or_else(|_| url());
        let validator = Validator::of(&url, &headers(&pairs), Some(u64::MAX));
        let text = serde_json::to_string(&validator).unwrap();
        assert!(text.len() < 8 << 10 && !text.contains("secret"), "{}", text.len());
        assert_eq!(serde_json::from_str::<Validator>(&text).unwrap(), validator);
    }
}
