//! Where an answer leads, and whether that way is gone (DL-10).

use ureq::http::HeaderMap;
use ureq::http::header::LOCATION;

use super::trouble::Trouble;
use super::url::Url;

/// The URL that an answer leads to, if it leads anywhere.
pub(super) fn next(url: &Url, status: u16, headers: &HeaderMap) -> Result<Option<Url>, Trouble> {
    if !matches!(status, 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let location = headers.get(LOCATION).ok_or(Trouble::Nowhere(status))?;
    let location =
        std::str::from_utf8(location.as_bytes()).map_err(|_| Trouble::Nowhere(status))?;
    let next = url.join(location.trim())?;
    if url.is_https() && !next.is_https() {
        return Err(Trouble::Downgraded);
    }
    Ok(Some(next))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next_of(from: &str, status: u16, location: Option<&str>) -> Result<Option<String>, String> {
        let mut headers = HeaderMap::new();
        if let Some(location) = location {
            headers.insert(LOCATION, location.parse().unwrap());
        }
        next(&from.parse().unwrap(), status, &headers)
            .map(|next| next.map(|url| url.text()))
            .map_err(|trouble| format!("{trouble:?}"))
    }

    #[test]
    fn dl_10_a_redirect_leads_to_http_and_never_from_https_to_http() {
        let to = |text: &str| Ok(Some(text.to_owned()));
        let not = |text: &str| Err(text.to_owned());
        for (from, status, location, expected) in [
            ("http://h/a/b", 302, Some("c"), to("http://h/a/c")),
            ("http://h/a", 301, Some("https://s/x?y"), to("https://s/x?y")),
            ("https://h/a", 307, Some("//other/x"), to("https://other/x")),
            ("http://h/a", 308, Some("http://other:8080/"), to("http://other:8080/")),
            ("https://h/a", 302, Some("http://h/a"), not("Downgraded")),
            ("http://h/a", 302, Some("file:///etc/passwd"), not("Redirect(Scheme)")),
            ("http://h/a", 303, None, not("Nowhere(303)")),
            ("http://h/a", 200, Some("c"), Ok(None)),
            ("http://h/a", 304, Some("c"), Ok(None)),
        ] {
            assert_eq!(next_of(from, status, location), expected, "{from} {location:?}");
        }
    }
}
