//! What is in a tree. Read once, and right from then on: no name leads out, none stands there twice,
//! and each lies in a directory of the tree.

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use super::LARGEST_MANIFEST;
use crate::model::{Failure, FailureKind, FileDigest, ProgramDigest};

/// Most entries of a tree.
pub(super) const MOST_ENTRIES: usize = 20_000;
/// Bytes of the longest path in a tree. A program's way to it, `/opt/sensor/`, comes before it, and
/// the kernel's limit is 4096.
const LONGEST_PATH: usize = 1024;
/// Bytes of the longest name, which is the limit of the file systems of Linux.
const LONGEST_NAME: usize = 255;
/// Bits of a mode that are permissions.
pub(super) const PERMISSIONS: u32 = 0o7777;
/// Those that give a program another's rights.
const SET_ID: u32 = 0o6000;
/// Bytes of the largest attribute with capabilities; the kernel's have 20 or 24.
const LARGEST_CAPABILITIES: usize = 64;

/// One thing in a tree. Stored as a JSON object with these fields, in this order:
///
/// | field | JSON | of | what |
/// |---|---|---|---|
/// | `type` | string | all | `directory`, `file`, `link` |
/// | `path` | string | all | from the tree on, names separated by `/` |
/// | `mode` | string | directory, file | permissions, four octal digits |
/// | `user`, `group` | number | directory, file | its owner |
/// | `size` | number | file | bytes |
/// | `sha256` | string | file | digest of its bytes |
/// | `capabilities` | string, may be absent | file | value of the attribute `security.capability`, in hexadecimal |
/// | `target` | string | link | what it points to, from the directory on in which it lies |
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the table above")]
pub enum Entry {
    Directory {
        path: String,
        #[serde(with = "octal")]
        mode: u32,
        user: u32,
        group: u32,
    },
    File {
        path: String,
        #[serde(with = "octal")]
        mode: u32,
        user: u32,
        group: u32,
        size: u64,
        sha256: FileDigest,
        #[serde(default, with = "hexadecimal", skip_serializing_if = "Option::is_none")]
        capabilities: Option<Vec<u8>>,
    },
    Link {
        path: String,
        target: String,
    },
    /// What lies in a directory, and can't be in a tree. It has a part in the digest of the
    /// directory, and no manifest that is read has it.
    Other {
        path: String,
        what: String,
    },
}

/// Mode and owner of the tree's own directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Root {
    #[serde(with = "octal")]
    pub(super) mode: u32,
    pub(super) user: u32,
    pub(super) group: u32,
}

/// All that is in a tree. Its text is the JSON object of `root` and `entries`, these by their paths,
/// without a space: one tree has one text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub(super) root: Root,
    pub(super) entries: Vec<Entry>,
}

/// Why something is no tree.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the text of each is its documentation")]
pub enum TreeError {
    #[error("it has {0} entries, the limit is {MOST_ENTRIES}")]
    Many(usize),
    #[error("its manifest has {0} bytes, the limit is {LARGEST_MANIFEST}")]
    LargeManifest(usize),
    #[error("its files have more bytes than can be counted")]
    Size,
    #[error("its manifest can't be read")]
    Json(#[from] serde_json::Error),
    #[error("its manifest is not written in the one way in which a tree is")]
    NotCanonical,
    #[error("{0:?} is no path in a tree: {1}")]
    Path(String, &'static str),
    #[error("{0:?} does not come behind {1:?}: each path stands there once, in their order")]
    Order(String, String),
    #[error(
        "{0:?} differs from another path by its case alone, and some file systems can't keep both"
    )]
    Case(String),
    #[error("{0:?} lies below what is no directory of the tree")]
    Parent(String),
    #[error("the link {0:?} leads to {1:?}: {2}")]
    Link(String, String, &'static str),
    #[error("{0:?} has the mode {1:o}, which is none of permissions")]
    Mode(String, u32),
    #[error("{0:?} has capabilities of {1} bytes, the limit is {LARGEST_CAPABILITIES}")]
    Capabilities(String, usize),
    #[error("{0:?} is {1}, which a tree can't have")]
    Other(String, String),
    #[error("it does not begin as an archive of a tree")]
    NoArchive,
    #[error("it has {found} bytes, and its manifest speaks of {expected}")]
    Archive { found: u64, expected: u64 },
    #[error("{0:?} has other bytes than the manifest says")]
    Content(String),
    #[error("it can't be read")]
    Unreadable(#[from] io::Error),
}

impl Entry {
    /// Where it lies, from the tree on.
    pub fn path(&self) -> &str {
        match self {
            Self::Directory { path, .. }
            | Self::File { path, .. }
            | Self::Link { path, .. }
            | Self::Other { path, .. } => path,
        }
    }

    /// Its bytes in the archive.
    const fn size(&self) -> u64 {
        match self {
            Self::File { size, .. } => *size,
            Self::Directory { .. } | Self::Link { .. } | Self::Other { .. } => 0,
        }
    }

    fn check(&self) -> Result<(), TreeError> {
        let path = self.path();
        check_path(path)?;
        match self {
            Self::Directory { mode, .. } | Self::File { mode, .. } if *mode > PERMISSIONS => {
                Err(TreeError::Mode(path.to_owned(), *mode))
            }
            Self::File { capabilities: Some(bytes), .. }
                if bytes.is_empty() || bytes.len() > LARGEST_CAPABILITIES =>
            {
                Err(TreeError::Capabilities(path.to_owned(), bytes.len()))
            }
            Self::Link { target, .. } => check_target(path, target)
                .map_err(|why| TreeError::Link(path.to_owned(), target.clone(), why)),
            Self::Other { what, .. } => Err(TreeError::Other(path.to_owned(), what.clone())),
            Self::Directory { .. } | Self::File { .. } => Ok(()),
        }
    }
}

impl Manifest {
    /// Of what was found, in any order. Not yet known to be a tree.
    pub(super) fn of(root: Root, mut entries: Vec<Entry>) -> Self {
        entries.sort_by(|one, other| one.path().cmp(other.path()));
        Self { root, entries }
    }

    /// Reads the text of a manifest: that of a tree, in the one way in which it is written.
    pub fn parse(text: &[u8]) -> Result<Self, TreeError> {
        if text.len() > LARGEST_MANIFEST {
            return Err(TreeError::LargeManifest(text.len()));
        }
        let manifest: Self = serde_json::from_slice(text)?;
        manifest.check()?;
        match manifest.text()? == text {
            true => Ok(manifest),
            false => Err(TreeError::NotCanonical),
        }
    }

    /// Whether it is one of a tree.
    pub fn check(&self) -> Result<(), TreeError> {
        if self.entries.len() > MOST_ENTRIES {
            return Err(TreeError::Many(self.entries.len()));
        }
        if self.root.mode > PERMISSIONS {
            return Err(TreeError::Mode(".".to_owned(), self.root.mode));
        }
        let (mut directories, mut folded) = (BTreeSet::from([""]), HashSet::new());
        let mut last = "";
        for entry in &self.entries {
            let path = entry.path();
            entry.check()?;
            if path <= last {
                return Err(TreeError::Order(path.to_owned(), last.to_owned()));
            }
            if !directories.contains(parent(path)) {
                return Err(TreeError::Parent(path.to_owned()));
            }
            if !folded.insert(path.to_lowercase()) {
                return Err(TreeError::Case(path.to_owned()));
            }
            if matches!(entry, Entry::Directory { .. }) {
                directories.insert(path);
            }
            last = path;
        }
        self.content_size().map(drop)
    }

    /// Its text.
    pub fn text(&self) -> Result<Vec<u8>, TreeError> {
        Ok(serde_json::to_vec(self)?)
    }

    /// What the tree is known by.
    pub fn digest(&self) -> Result<ProgramDigest, TreeError> {
        Ok(ProgramDigest(sha2::Sha256::digest(self.text()?).into()))
    }

    /// What is in it, by the paths.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The bytes of all its files.
    pub fn content_size(&self) -> Result<u64, TreeError> {
        let sizes = self.entries.iter().map(Entry::size);
        sizes.into_iter().try_fold(0u64, u64::checked_add).ok_or(TreeError::Size)
    }

    /// The bytes of its archive.
    pub fn archive_size(&self) -> Result<u64, TreeError> {
        let before = (super::HEADER_SIZE + self.text()?.len()) as u64;
        before.checked_add(self.content_size()?).ok_or(TreeError::Size)
    }

    /// How many files are in it.
    pub fn files(&self) -> usize {
        self.entries.iter().filter(|entry| matches!(entry, Entry::File { .. })).count()
    }

    /// The first thing in it that gives another's rights to who runs it.
    pub fn set_id(&self) -> Option<&str> {
        let gives = |entry: &&Entry| match entry {
            Entry::File { mode, .. } => mode & SET_ID != 0,
            _ => false,
        };
        self.entries.iter().find(gives).map(Entry::path)
    }
}

/// The directory in which a path lies; empty for the tree itself.
fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

fn check_path(path: &str) -> Result<(), TreeError> {
    let wrong = |why| Err(TreeError::Path(path.to_owned(), why));
    if path.len() > LONGEST_PATH {
        return wrong("it is longer than 1024 bytes");
    }
    if path.starts_with('/') {
        return wrong("it is absolute");
    }
    for name in path.split('/') {
        match name {
            "" => return wrong("a name in it is empty"),
            "." | ".." => return wrong("it leads elsewhere"),
            name if name.len() > LONGEST_NAME => {
                return wrong("a name in it is longer than 255 bytes");
            }
            name if name.contains(char::is_control) => {
                return wrong("a control character is in it");
            }
            _ => {}
        }
    }
    Ok(())
}

/// A link leads up first and down then: what is up is a directory of the tree, so the way is the one
/// that is written, whatever links are on the way down, of which the same holds.
fn check_target(path: &str, target: &str) -> Result<(), &'static str> {
    if target.len() > LONGEST_PATH {
        return Err("that is longer than 1024 bytes");
    }
    if target.starts_with('/') {
        return Err("that is absolute, and a link may lead to what is in the tree alone");
    }
    let depth = path.matches('/').count();
    let names: Vec<&str> = target.split('/').collect();
    let up = names.iter().take_while(|name| **name == "..").count();
    if up > depth {
        return Err("that is outside of the tree");
    }
    let is_name = |name: &&str| {
        !matches!(*name, "" | "." | "..")
            && name.len() <= LONGEST_NAME
            && !name.contains(char::is_control)
    };
    match names[up..].iter().all(is_name) {
        true => Ok(()),
        false => Err("expected names, with `..` at the beginning alone"),
    }
}

impl TreeError {
    /// The kind of failure that it is.
    const fn kind(&self) -> FailureKind {
        match self {
            Self::Many(_) | Self::LargeManifest(_) | Self::Size => FailureKind::TooLarge,
            Self::Archive { .. } => FailureKind::Truncated,
            Self::Content(_) => FailureKind::DigestMismatch,
            Self::Unreadable(_) => FailureKind::Internal,
            _ => FailureKind::SealInvalid,
        }
    }
}

impl From<TreeError> for Failure {
    fn from(error: TreeError) -> Self {
        Self::new(error.kind(), "the tree is not to be used").because(error)
    }
}

impl TreeError {
    /// The error of reading what stands at a path.
    pub(super) fn at(path: &Path, error: &io::Error) -> Self {
        Self::Unreadable(io::Error::new(error.kind(), format!("{}: {error}", path.display())))
    }
}

/// A mode as four octal digits.
mod octal {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands it in so")]
    pub(super) fn serialize<S: Serializer>(mode: &u32, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{mode:04o}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
        let text = String::deserialize(deserializer)?;
        u32::from_str_radix(&text, 8).map_err(D::Error::custom)
    }
}

/// Bytes as hexadecimal digits.
mod hexadecimal {
    use std::fmt::Write as _;

    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(
        bytes: &Option<Vec<u8>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let mut text = String::new();
        for byte in bytes.iter().flatten() {
            // Text in memory takes what it is given.
            let _ = write!(text, "{byte:02x}");
        }
        serializer.serialize_str(&text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Vec<u8>>, D::Error> {
        let text = String::deserialize(deserializer)?;
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        let byte = |pair: &[u8; 2]| {
            let text = std::str::from_utf8(pair).ok()?;
            u8::from_str_radix(text, 16).ok()
        };
        let bytes: Option<Vec<u8>> = pairs.iter().map(byte).collect();
        let bytes = bytes.filter(|_| rest.is_empty());
        bytes.map(Some).ok_or_else(|| D::Error::custom("expected pairs of hexadecimal digits"))
    }
}
