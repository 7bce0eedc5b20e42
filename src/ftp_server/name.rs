//! Paths as clients write them. The area is flat: a path is the root or one file in it, and all
//! else is refused here.
//!
//! Pure; whether the file exists is for the area.

use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::command::has_controls;

/// The longest name that Linux file systems take, in bytes.
const LONGEST_NAME: usize = 255;

/// The name of a file in the area: one path component that begins with no dot. Bytes, as on the
/// disk.
///
/// Names with a leading dot don't exist for clients: that refuses `.` and `..`, and hides uploads
/// that are not complete.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FileName(Vec<u8>);

impl FileName {
    pub(crate) fn parse(name: &[u8]) -> Option<Self> {
        let plain = !name.is_empty() && name.len() <= LONGEST_NAME && !name.starts_with(b".");
        let single = !name.contains(&b'/') && !has_controls(name);
        (plain && single).then(|| Self(name.to_vec()))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// In quotes, as far as it is text.
impl fmt::Debug for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
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
    /// Clients see the area as `/`. The path of the area on this machine is understood as well,
    /// from the root or not, because the vendor's set-up with vsftpd shows it to clients
    /// (`/upgrade`), and a host may have it built in.
    pub(crate) fn parse(path: &[u8], home: &Path) -> Option<Self> {
        // What says nothing: a slash more, and the directory itself.
        let names = |path| {
            split(path).filter(|name: &&[u8]| !name.is_empty() && *name != b".").collect::<Vec<_>>()
        };
        let (path_names, home_names) = (names(path), names(home.as_os_str().as_bytes()));
        match path_names.strip_prefix(&home_names[..]).unwrap_or(&path_names) {
            [] => Some(Self::Root),
            [name] if split(path).next_back() == Some(*name) => {
                FileName::parse(name).map(Self::File)
            }
            _ => None,
        }
    }
}

fn split(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Option<RemotePath> {
        RemotePath::parse(text.as_bytes(), Path::new("/upgrade"))
    }

    fn file(text: &str) -> Option<RemotePath> {
        Some(RemotePath::File(FileName(text.into())))
    }

    #[test]
    fn the_root_and_its_files() {
        for root in [
            "/",
            ".",
            "",
            "./",
            "//",
            "/upgrade",
            "/upgrade/",
            "upgrade",
            "./upgrade",
            "//upgrade//",
        ] {
            assert_eq!(parse(root), Some(RemotePath::Root), "{root}");
        }
        for path in [
            "a.bin",
            "/a.bin",
            "/upgrade/a.bin",
            "./a.bin",
            "//a.bin",
            "/upgrade//a.bin",
            "upgrade/./a.bin",
        ] {
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
            "a/",
            "/upgrade/../a",
            "/upgrade/upgrade/a",
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
            if let Some(name) = FileName::parse(text.as_bytes()) {
                let path = Path::new(std::ffi::OsStr::from_bytes(name.as_bytes()));
                prop_assert_eq!(path.components().count(), 1);
                prop_assert_eq!(path.file_name(), Some(std::ffi::OsStr::new(&text)));
            }
        }
    }
}
