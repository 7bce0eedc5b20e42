//! An absolute `http` or `https` URL, checked once. Its query and its user are secrets: nothing but
//! [`Url::text`] shows them.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// Longest URL in bytes; one without its query must fit into a note.
const LONGEST: usize = 4096;
/// Longest name of a host (RFC 1035).
const LONGEST_HOST: usize = 253;

/// A checked absolute URL. What shows it hides its query and its user.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Url {
    scheme: Scheme,
    /// Before the `@`, as it is written.
    user: Option<String>,
    /// In small letters; an IPv6 address in its brackets.
    host: String,
    port: Option<u16>,
    /// Begins with `/`, and has no segments of dots.
    path: String,
    query: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
}

/// Why a text is no such URL. Never repeats it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WrongUrl {
    /// Something in it can't be in a URL.
    #[error("it has characters that no URL has")]
    Character,
    /// It has no end.
    #[error("it is longer than {LONGEST} bytes")]
    Long,
    /// It is a file, or something else.
    #[error("it does not begin with http:// or https://")]
    Scheme,
    /// Nobody is asked.
    #[error("it names no host")]
    Host,
    /// Nobody listens there.
    #[error("its port is none")]
    Port,
}

impl Url {
    /// All of it, with its secrets.
    pub(crate) fn text(&self) -> String {
        let user = self.user.as_ref().map_or_else(String::new, |user| format!("{user}@"));
        let query = self.query.as_ref().map_or_else(String::new, |query| format!("?{query}"));
        format!("{}://{user}{}{}{query}", self.scheme.as_str(), self.authority(), self.path)
    }

    /// What a server is asked: all of it without the user.
    pub(super) fn target(&self) -> String {
        let query = self.query.as_ref().map_or_else(String::new, |query| format!("?{query}"));
        self.without_query() + &query
    }

    /// Without query and user: what it is called where others read.
    pub(crate) fn without_query(&self) -> String {
        format!("{}://{}{}", self.scheme.as_str(), self.authority(), self.path)
    }

    /// The user and the password before the `@`, as they are meant.
    pub(super) fn user(&self) -> Option<Vec<u8>> {
        self.user.as_deref().map(decoded)
    }

    /// Where a reference in its answer leads (RFC 3986, 5.2), if that is a URL again.
    pub(crate) fn join(&self, reference: &str) -> Result<Self, WrongUrl> {
        let reference = encoded(reference.split('#').next().unwrap_or_default())?;
        if has_scheme(&reference) {
            return reference.parse();
        }
        let scheme = self.scheme.as_str();
        if reference.starts_with("//") {
            return format!("{scheme}:{reference}").parse();
        }
        let user = self.user.as_ref().map_or_else(String::new, |user| format!("{user}@"));
        let (path, query) = match reference.split_once('?') {
            Some((path, query)) => (path, format!("?{query}")),
            None => (&*reference, String::new()),
        };
        let query = match (&self.query, path, &*query) {
            (Some(own), "", "") => format!("?{own}"),
            _ => query,
        };
        let path = match path {
            "" => self.path.clone(),
            path if path.starts_with('/') => path.to_owned(),
            path => self.path[..=self.path.rfind('/').unwrap_or_default()].to_owned() + path,
        };
        format!("{scheme}://{user}{}{path}{query}", self.authority()).parse()
    }

    /// Whether scheme, host and port are the same: what one may know, the other may.
    pub(crate) fn same_origin(&self, other: &Self) -> bool {
        let origin = |url: &Self| (url.scheme, url.host.clone(), url.port());
        origin(self) == origin(other)
    }

    /// Whether what goes there is encrypted.
    pub(crate) fn is_https(&self) -> bool {
        self.scheme == Scheme::Https
    }

    /// Host and port, where that is not the usual one.
    pub(crate) fn authority(&self) -> String {
        let port = self.port.map_or_else(String::new, |port| format!(":{port}"));
        self.host.clone() + &port
    }

    fn port(&self) -> u16 {
        self.port.unwrap_or(self.scheme.usual_port())
    }

    /// The name of the file that lies there: the last part of the path, as it is meant.
    pub(crate) fn file_name(&self) -> Option<String> {
        let last = decoded(self.path.rsplit('/').next().unwrap_or_default());
        let name = String::from_utf8(last).ok()?;
        let is_name = !matches!(&*name, "" | "." | "..") && !name.contains(['/', '\0']);
        is_name.then_some(name)
    }
}

impl Scheme {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    const fn usual_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl FromStr for Url {
    type Err = WrongUrl;

    fn from_str(text: &str) -> Result<Self, WrongUrl> {
        if text.len() > LONGEST {
            return Err(WrongUrl::Long);
        }
        let (scheme, rest) = text.split_once("://").ok_or(WrongUrl::Scheme)?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return Err(WrongUrl::Scheme),
        };
        let rest = encoded(rest.split('#').next().unwrap_or_default())?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        let (user, place) = match authority.rsplit_once('@') {
            Some((user, place)) => (Some(user.to_owned()), place),
            None => (None, authority),
        };
        let (host, port) = host_and_port(place)?;
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (rest, None),
        };
        let port = port.filter(|port| *port != scheme.usual_port());
        let url = Self { scheme, user, host, port, path: without_dots(path), query };
        if url.text().len() > LONGEST {
            return Err(WrongUrl::Long);
        }
        // Whatever the library does not take is none either.
        let taken = url.target().parse::<ureq::http::Uri>();
        taken.map(|_| url).map_err(|_| WrongUrl::Character)
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let query = if self.query.is_some() { "?…" } else { "" };
        write!(f, "{}{query}", self.without_query())
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Url({self})")
    }
}

fn has_scheme(reference: &str) -> bool {
    let Some((scheme, _)) = reference.split_once(':') else { return false };
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

fn host_and_port(place: &str) -> Result<(String, Option<u16>), WrongUrl> {
    let (host, rest) = match place.strip_prefix('[').and_then(|place| place.split_once(']')) {
        Some((address, rest)) => {
            let address: Ipv6Addr = address.parse().map_err(|_| WrongUrl::Host)?;
            (format!("[{address}]"), rest)
        }
        None => {
            let (host, rest) = place.split_at(place.find(':').unwrap_or(place.len()));
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
            if host.is_empty() || host.len() > LONGEST_HOST || !host.chars().all(is_plain) {
                return Err(WrongUrl::Host);
            }
            (host.to_ascii_lowercase(), rest)
        }
    };
    let port = match rest.strip_prefix(':') {
        None if rest.is_empty() => None,
        None => return Err(WrongUrl::Host),
        Some("") => None,
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            let port: u16 = port.parse().map_err(|_| WrongUrl::Port)?;
            Some(port).filter(|port| *port != 0).ok_or(WrongUrl::Port).map(Some)?
        }
        Some(_) => return Err(WrongUrl::Port),
    };
    Ok((host, port))
}

/// What many servers write although no URL has it: blanks and letters beyond ASCII.
fn encoded(text: &str) -> Result<String, WrongUrl> {
    if text.chars().any(|c| c.is_ascii_control() || c == '\\') {
        return Err(WrongUrl::Character);
    }
    let mut url = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            0x21..=0x7e => url.push(char::from(byte)),
            _ => url.push_str(&format!("%{byte:02X}")),
        }
    }
    Ok(url)
}

fn decoded(text: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((first, behind)) = rest.split_first() {
        let digits = behind.get(..2).filter(|_| *first == b'%');
        let byte = digits
            .filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &behind[2..] } else { behind };
    }
    bytes
}

/// A path without `.` and `..` (RFC 3986, 5.2.4).
fn without_dots(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let segments: Vec<&str> = path.strip_prefix('/').unwrap_or(path).split('/').collect();
    for (index, segment) in segments.iter().enumerate() {
        let is_last = index + 1 == segments.len();
        match *segment {
            "." | ".." => {
                if *segment == ".." {
                    parts.pop();
                }
                if is_last {
                    parts.push("");
                }
            }
            segment => parts.push(segment),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn what_is_read_is_written_again() {
        for (text, written) in [
            ("http://h", "http://h/"),
            ("HTTPS://Example.ORG:443/a%20b?q=1#part", "https://example.org/a%20b?q=1"),
            ("https://u:p@h:8443/a/./b/../c", "https://u:p@h:8443/a/c"),
            ("http://[::1]:8080?x", "http://[::1]:8080/?x"),
            ("http://h/a b/\u{e4}", "http://h/a%20b/%C3%A4"),
            ("http://h/..", "http://h/"),
            ("http://h/a/..", "http://h/"),
            ("http://h:80/a/.", "http://h/a/"),
        ] {
            assert_eq!(url(text).text(), written);
        }
    }

    #[test]
    fn what_is_no_url_is_told_without_repeating_it() {
        for (text, why) in [
            ("", WrongUrl::Scheme),
            ("h/file", WrongUrl::Scheme),
            ("file:///etc/passwd", WrongUrl::Scheme),
            ("ftp://h/file", WrongUrl::Scheme),
            ("http:///file", WrongUrl::Host),
            ("http://?secret", WrongUrl::Host),
            ("http://a b/", WrongUrl::Host),
            ("http://[::g]/", WrongUrl::Host),
            ("http://[::1]x/", WrongUrl::Host),
            ("http://h:0/", WrongUrl::Port),
            ("http://h:65536/", WrongUrl::Port),
            ("http://h:+1/", WrongUrl::Port),
            ("http://h/a\r\nX: y", WrongUrl::Character),
            ("http://h\\@evil/", WrongUrl::Character),
        ] {
            assert_eq!(text.parse::<Url>(), Err(why), "{text:?}");
        }
        assert_eq!(format!("http://h/{}", "a".repeat(5000)).parse::<Url>(), Err(WrongUrl::Long));
        let grows = format!("http://h/{}", "\u{e4}".repeat(1500));
        assert_eq!(grows.parse::<Url>(), Err(WrongUrl::Long));
    }

    #[test]
    fn query_and_user_are_shown_to_nobody() {
        let secret = url("https://user:pass@h/a?token=secret");
        assert_eq!(secret.to_string(), "https://h/a?…");
        assert_eq!(format!("{secret:?}"), "Url(https://h/a?…)");
        assert_eq!(secret.without_query(), "https://h/a");
        assert_eq!(secret.target(), "https://h/a?token=secret");
        assert_eq!(url("http://u%40h:p@h/").user().unwrap(), b"u@h:p");
    }

    /// The examples of RFC 3986, 5.4, as far as they lead to HTTP.
    #[test]
    fn a_reference_leads_where_the_standard_says() {
        let base = url("http://a/b/c/d;p?q");
        for (reference, target) in [
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("//g", "http://g/"),
            ("?y", "http://a/b/c/d;p?y"),
            ("g?y", "http://a/b/c/g?y"),
            ("#s", "http://a/b/c/d;p?q"),
            ("g;x?y#s", "http://a/b/c/g;x?y"),
            ("", "http://a/b/c/d;p?q"),
            (".", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../g", "http://a/b/g"),
            ("../../g", "http://a/g"),
            ("../../../g", "http://a/g"),
            ("/./g", "http://a/g"),
            ("g.", "http://a/b/c/g."),
            ("g;x=1/../y", "http://a/b/c/y"),
            ("https://other:8443/x", "https://other:8443/x"),
            ("g?y/../x", "http://a/b/c/g?y/../x"),
        ] {
            assert_eq!(base.join(reference).unwrap().text(), target, "{reference}");
        }
        for foreign in ["file:///etc/passwd", "g:h", "javascript:alert(1)", "data:,x"] {
            assert_eq!(base.join(foreign), Err(WrongUrl::Scheme), "{foreign}");
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let base = url("https://h/a");
        for (other, same) in [
            ("https://H:443/b?c", true),
            ("https://u@h/", true),
            ("http://h/a", false),
            ("https://h:8443/a", false),
            ("https://h.evil/a", false),
        ] {
            assert_eq!(base.same_origin(&url(other)), same, "{other}");
        }
    }

    #[test]
    fn the_file_is_called_by_the_last_part() {
        for (text, name) in [
            ("http://h/dir/APP_V01.00.00.00.bin?token=x/y", Some("APP_V01.00.00.00.bin")),
            ("http://h/a%20b%2", Some("a b%2")),
            ("http://h/a%2Fb", None),
            ("http://h/%2e%2e", None),
            ("http://h/%ff", None),
            ("http://h/", None),
        ] {
            assert_eq!(url(text).file_name().as_deref(), name, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_reads_the_same_again(
            text in "(https?://)?[ -~\\PC]{0,40}", reference in "[ -~\\PC]{0,40}"
        ) {
            if let Ok(url) = text.parse::<Url>() {
                prop_assert_eq!(&url.text().parse::<Url>().unwrap(), &url);
                if let Ok(next) = url.join(&reference) {
                    prop_assert_eq!(next.text().parse::<Url>().unwrap(), next);
                }
            }
        }
    }
}
