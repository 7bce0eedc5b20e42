//! Paths as clients write them. The area is flat: a path is the root or one file in it, and all else is refused here.
//!
//! Pure; whether the file exists is for the area.

use std::fmt;
use std::path::Path;

/// The longest name that Linux file systems take, in bytes.
const LONGEST_NAME: usize = 255;

/// The name of a file in the area: one path component that begins with no dot.
///
/// Names with a leading dot don't exist for clients: that refuses `.` and `..`, and hides uploads that are not complete.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FileName(String);

impl FileName {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let plain = !text.is_empty() && text.len() <= LONGEST_NAME && !text.starts_with('.');
        let single = !text.contains(|character: char| character == '/' || character.is_control());
        (plain && single).then(|| Self(text.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a client's path names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum RemotePath {
    /// The one directory.
    Root,
    /// A file in it, which may exist or not.
    File(FileName),
}

impl RemotePath {
    /// Parses a client's path; `None` means that it leads out of the area.
    ///
    /// Clients see the area as `/`. The path of the area on this machine is understood as well, because the vendor's set-up with
    /// vsftpd shows it to clients (`/upgrade`), and a host may have it built in.
    pub(crate) fn parse(text: &str, home: &Path) -> Option<Self> {
        let inside = home.to_str().and_then(|home| text.strip_prefix(home.trim_end_matches('/')));
        let inside = inside.filter(|rest| rest.is_empty() || rest.starts_with('/')).unwrap_or(text);
        match inside {
            "" | "/" | "." | "./" => Some(Self::Root),
            path => FileName::parse(path.strip_prefix('/').unwrap_or(path)).map(Self::File),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Option<RemotePath> {
        RemotePath::parse(text, Path::new("/upgrade"))
    }

    fn file(text: &str) -> Option<RemotePath> {
        Some(RemotePath::File(FileName(text.into())))
    }

    #[test]
    fn the_root_and_its_files() {
        for root in ["/", ".", "", "/upgrade", "/upgrade/"] {
            assert_eq!(parse(root), Some(RemotePath::Root), "{root}");
        }
        for path in ["a.bin", "/a.bin", "/upgrade/a.bin"] {
            assert_eq!(parse(path), file("a.bin"), "{path}");
        }
        assert_eq!(parse("/upgrades"), file("upgrades"));
    }

    #[test]
    fn everything_else_is_refused() {
        let long = "x".repeat(256);
        let names = [
            "..",
            "../a",
            "/../a",
            "a/b",
            "/a/b",
            "./a/../b",
            "//a",
            "/upgrade/../a",
            "/upgrade//a",
            ".hidden",
            "a\0b",
            "a\nb",
            "/..",
            &long,
        ];
        for name in names {
            assert_eq!(parse(name), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn a_name_is_one_component(text in ".*") {
            if let Some(name) = FileName::parse(&text) {
                prop_assert_eq!(Path::new(name.as_str()).components().count(), 1);
                prop_assert_eq!(Path::new(name.as_str()).file_name(), Some(std::ffi::OsStr::new(&text)));
            }
        }
    }
}
