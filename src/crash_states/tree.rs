//! A file tree as data: what a power cut leaves, to be put on a real disk.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::hash::{Hash, Hasher};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use xattr::FileExt as _;

use super::files::STATE;
use crate::disk::DIRECTORY_MODE;
use crate::record::checksum::CRC_32;

/// What a file is, but for its names.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Content {
    pub(crate) bytes: Vec<u8>,
    /// Permission bits.
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) attributes: BTreeMap<OsString, Vec<u8>>,
}

impl Hash for Content {
    /// Of the bytes the checksum alone: the standard hash of them all, in a test's build, took a
    /// fifth of the proof's time.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self { bytes, mode, owner, attributes } = self;
        (CRC_32.checksum(bytes), bytes.len(), mode, owner, attributes).hash(state);
    }
}

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Entry {
    Directory,
    File(Arc<Content>),
    /// The same file as the one of this name, which comes first.
    Link(PathBuf),
}

/// Names, relative to the root. Two trees are equal if no program could tell them apart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Tree(pub(crate) BTreeMap<PathBuf, Entry>);

impl Tree {
    /// The file of this name.
    pub(crate) fn file(&self, path: impl AsRef<Path>) -> Option<&Arc<Content>> {
        match self.0.get(path.as_ref())? {
            Entry::Directory => None,
            Entry::File(content) => Some(content),
            Entry::Link(first) => self.file(first),
        }
    }

    /// The same tree with other bytes in its files.
    pub(crate) fn moved(&self, bytes: &dyn Fn(&[u8]) -> Vec<u8>) -> Self {
        let entry = |entry: &Entry| match entry {
            Entry::File(content) => Entry::File(Arc::new(Content {
                bytes: bytes(&content.bytes),
                ..(**content).clone()
            })),
            other => other.clone(),
        };
        Self(self.0.iter().map(|(path, old)| (path.clone(), entry(old))).collect())
    }

    /// The same tree without the state file, if a trial is under way in that and the history has no
    /// report.
    pub(crate) fn without_state_of_trial(&self) -> Option<Self> {
        let path = |name: &str| Path::new(STATE).join(name);
        let json = |name: &str| -> Option<serde_json::Value> {
            serde_json::from_slice(&self.file(path(name))?.bytes).ok()
        };
        let is_reported = json("history.json").is_some_and(|history| {
            history["reports"].as_array().is_some_and(|all| !all.is_empty())
        });
        if is_reported || json("state.json")?["upgrade"]["swap"].is_null() {
            return None;
        }
        let (removed, mut lost) = (path("state.json"), self.clone());
        let content = Arc::clone(self.file(&removed)?);
        lost.0.remove(&removed);
        // One that was being written may have been this file's second name.
        for entry in lost
            .0
            .values_mut()
            .filter(|entry| matches!(entry, Entry::Link(first) if *first == removed))
        {
            *entry = Entry::File(Arc::clone(&content));
        }
        Some(lost)
    }

    /// Makes it real below `root`, which is empty.
    pub(crate) fn write(&self, root: &Path) {
        for (path, entry) in &self.0 {
            let path = root.join(path);
            match entry {
                Entry::Directory => {
                    fs::DirBuilder::new().mode(DIRECTORY_MODE).create(&path).unwrap();
                }
                Entry::File(content) => content.write(&path),
                Entry::Link(first) => fs::hard_link(root.join(first), &path).unwrap(),
            }
        }
    }
}

impl Content {
    /// The file of this name, if there is one.
    pub(crate) fn read(path: &Path) -> Option<Self> {
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            opened => opened.unwrap(),
        };
        let metadata = file.metadata().unwrap();
        let attributes =
            file.list_xattr().unwrap().filter(|name| name.as_encoded_bytes().starts_with(b"user."));
        Some(Self {
            bytes: fs::read(path).unwrap(),
            mode: metadata.mode() & 0o7777,
            owner: (metadata.uid(), metadata.gid()),
            attributes: attributes
                .map(|name| (name.clone(), file.get_xattr(&name).unwrap().unwrap()))
                .collect(),
        })
    }

    fn write(&self, path: &Path) {
        let mut file = File::create_new(path).unwrap();
        file.write_all(&self.bytes).unwrap();
        chown(path, Some(self.owner.0), Some(self.owner.1)).unwrap();
        file.set_permissions(Permissions::from_mode(self.mode)).unwrap();
        for (name, value) in &self.attributes {
            file.set_xattr(name, value).unwrap();
        }
    }
}
