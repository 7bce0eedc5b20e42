//! The model of a file system: what is certain to be on the disk, and what is still pending.
//!
//! Two things make changes durable, and neither makes the other's: a sync of a file, its data and
//! metadata; a sync of a directory, its names. An operation on names is one atomic set of
//! assignments, durable when every directory that it touches was synced after it. Below a directory
//! of the vfat kind less is promised ([`Model::with_fat`]). docs/design/crash-states.md says how
//! this compares with file systems.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::tree::{Content, Entry, Tree};
use crate::disk::recording::{Change, Created};

/// A file, whatever its names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Inode {
    /// It was there from the beginning, under this name.
    Found(PathBuf),
    Created(Created),
}

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Node {
    Directory,
    File(Inode),
}

/// All names of the file system.
pub(crate) type Names = BTreeMap<PathBuf, Node>;

/// A file: what is durable, and every state that it went through since, the present one last.
#[derive(Debug, Clone)]
pub(crate) struct Versions {
    pub(crate) durable: Content,
    pub(crate) since: Vec<Content>,
}

/// An operation on names that a power cut can undo, or that came after such a one.
#[derive(Debug, Clone)]
pub(crate) struct NameOperation {
    /// `None` removes the name.
    pub(crate) assignments: Vec<(PathBuf, Option<Node>)>,
    /// Directories that change their names, with all that is in them by then.
    moved: Option<Moved>,
    /// The directory that is gone by this, and was empty.
    gone: Option<PathBuf>,
    /// Directories that were not synced since; durable without any.
    unsynced: BTreeSet<PathBuf>,
    /// The file that must be synced too, on a file system of the vfat kind.
    unsynced_file: Option<Inode>,
}

/// A directory takes another name.
#[derive(Debug, Clone)]
struct Moved {
    from: PathBuf,
    to: PathBuf,
    /// What had that name takes the first one; otherwise it is gone.
    exchanges: bool,
}

/// The file system.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    /// What programs see while the power is on.
    pub(crate) now: Names,
    /// Names that no pending operation can touch any more.
    pub(crate) durable: Names,
    /// In the order in which they took place.
    pub(crate) operations: Vec<NameOperation>,
    pub(crate) files: BTreeMap<Inode, Versions>,
    /// The directory below which the file system is of the vfat kind.
    fat: Option<PathBuf>,
}

/// The change is not possible here; of a true recording none is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Impossible;

impl NameOperation {
    fn of(assignments: Vec<(PathBuf, Option<Node>)>, fat: bool) -> Self {
        let unsynced = assignments.iter().map(|(path, _)| parent(path).to_owned()).collect();
        let file = assignments.iter().find_map(|(_, node)| match node {
            Some(Node::File(inode)) => Some(inode.clone()),
            _ => None,
        });
        let (moved, gone, unsynced_file) = (None, None, file.filter(|_| fat));
        Self { assignments, moved, gone, unsynced, unsynced_file }
    }

    fn of_moved(from: &Path, to: &Path, exchanges: bool) -> Self {
        let unsynced = [from, to].map(|path| parent(path).to_owned()).into();
        let moved = Some(Moved { from: from.to_owned(), to: to.to_owned(), exchanges });
        Self { assignments: Vec::new(), moved, gone: None, unsynced, unsynced_file: None }
    }

    fn touched(&self) -> impl Iterator<Item = &Path> {
        let moved = self.moved.iter().flat_map(|moved| [&moved.from, &moved.to]);
        self.assignments.iter().map(|(path, _)| path).chain(moved).map(PathBuf::as_path)
    }

    pub(crate) fn is_durable(&self) -> bool {
        self.unsynced.is_empty() && self.unsynced_file.is_none()
    }

    fn touches(&self, other: &Self) -> bool {
        let moves = self.moved.is_some() || other.moved.is_some();
        let is_below = |one: &Path, two: &Path| one.starts_with(two) || two.starts_with(one);
        self.touched()
            .any(|one| other.touched().any(|two| one == two || moves && is_below(one, two)))
    }

    pub(crate) fn apply(&self, names: &mut Names) {
        for (path, node) in &self.assignments {
            match node {
                Some(node) => names.insert(path.clone(), node.clone()),
                None => names.remove(path),
            };
        }
        if let Some(Moved { from, to, exchanges }) = &self.moved
            && names.contains_key(from)
        {
            let (first, second) = (taken(names, from), taken(names, to));
            names.extend(first.into_iter().map(|(rest, node)| (joined(to, &rest), node)));
            let back = second.into_iter().filter(|_| *exchanges);
            names.extend(back.map(|(rest, node)| (joined(from, &rest), node)));
        }
    }
}

/// Takes a name away, and all that is below it: what they are called from it on.
fn taken(names: &mut Names, path: &Path) -> Vec<(PathBuf, Node)> {
    let all: Vec<PathBuf> = names.keys().filter(|name| name.starts_with(path)).cloned().collect();
    let taken = all.into_iter().filter_map(|name| {
        let node = names.remove(&name)?;
        Some((name.strip_prefix(path).ok()?.to_owned(), node))
    });
    taken.collect()
}

fn joined(path: &Path, rest: &Path) -> PathBuf {
    if rest == Path::new("") { path.to_owned() } else { path.join(rest) }
}

impl Versions {
    pub(crate) fn now(&self) -> &Content {
        self.since.last().unwrap_or(&self.durable)
    }

    fn change(&mut self, change: impl FnOnce(&mut Content)) {
        let mut next = self.now().clone();
        change(&mut next);
        self.since.push(next);
    }

    fn sync(&mut self) {
        self.durable = self.now().clone();
        self.since.clear();
    }

    /// Data and size, nothing else.
    fn sync_data(&mut self) {
        let bytes = self.now().bytes.clone();
        for version in std::iter::once(&mut self.durable).chain(&mut self.since) {
            version.bytes.clone_from(&bytes);
        }
    }
}

impl Model {
    /// A disk with these files, all durable.
    pub(crate) fn of(tree: &Tree) -> Self {
        let (mut names, mut files) = (Names::new(), BTreeMap::new());
        for (path, entry) in &tree.0 {
            let node = match entry {
                Entry::Directory => Node::Directory,
                Entry::File(content) => {
                    let inode = Inode::Found(path.clone());
                    files.insert(
                        inode.clone(),
                        Versions { durable: (**content).clone(), since: Vec::new() },
                    );
                    Node::File(inode)
                }
                Entry::Link(first) => Node::File(Inode::Found(first.clone())),
            };
            names.insert(path.clone(), node);
        }
        Self { now: names.clone(), durable: names, operations: Vec::new(), files, fat: None }
    }

    /// The same, but below this directory the file system is of the vfat kind: an entry lies in a
    /// sector of its own, so that of an operation that touches two each may be durable alone; what
    /// an entry stands for is durable when the file was synced after it; and what has no entry any
    /// more is free, whatever entry a power cut brings back.
    pub(crate) fn with_fat(self, directory: &Path) -> Self {
        Self { fat: Some(directory.to_owned()), ..self }
    }

    /// What a program reads now under this name.
    pub(crate) fn read(&self, path: impl AsRef<Path>) -> Option<&[u8]> {
        match self.now.get(path.as_ref())? {
            Node::File(inode) => Some(&self.files[inode].now().bytes),
            Node::Directory => None,
        }
    }

    /// A name of this file.
    pub(crate) fn name(&self, file: Created) -> Option<&Path> {
        let node = Node::File(Inode::Created(file));
        self.now.iter().find(|(_, other)| **other == node).map(|(path, _)| path.as_path())
    }

    /// Lets a change take place.
    pub(crate) fn apply(&mut self, change: &Change) -> Result<(), Impossible> {
        match change {
            Change::Create { path, file, mode, owner } => {
                self.must_be_free(path)?;
                let content = Content { mode: *mode, owner: *owner, ..Content::default() };
                let inode = Inode::Created(*file);
                self.files.insert(inode.clone(), Versions { durable: content, since: Vec::new() });
                self.rename([(path, Some(Node::File(inode)))]);
            }
            Change::Open { path, file } => {
                let Node::File(inode) = self.node(path)? else { return Err(Impossible) };
                self.call(&inode, &Inode::Created(*file));
            }
            Change::MakeDirectory { path } => {
                self.must_be_free(path)?;
                self.rename([(path, Some(Node::Directory))]);
            }
            Change::Allocate { file, size } => self.file(*file)?.change(|content| {
                let size = content.bytes.len().max(*size);
                content.bytes.resize(size, 0);
            }),
            Change::Write { file, offset, bytes } => self.file(*file)?.change(|content| {
                let end = offset + bytes.len();
                let size = content.bytes.len().max(end);
                content.bytes.resize(size, 0);
                content.bytes[*offset..end].copy_from_slice(bytes);
            }),
            Change::SyncData { file } => self.file(*file)?.sync_data(),
            Change::Sync { file } => self.sync(&Inode::Created(*file))?,
            Change::SyncMoved { path } => match self.node(path)? {
                Node::File(inode) => self.sync(&inode)?,
                Node::Directory => return Err(Impossible),
            },
            Change::SyncDirectory { path } => self.sync_directory(path)?,
            Change::SetOwner { file, owner } => {
                self.file(*file)?.change(|content| content.owner = *owner);
            }
            Change::SetMode { file, mode } => {
                self.file(*file)?.change(|content| content.mode = *mode);
            }
            Change::SetAttribute { file, name, value } => self.file(*file)?.change(|content| {
                content.attributes.insert(name.clone(), value.clone());
            }),
            Change::RemoveAttribute { file, name } => self.file(*file)?.change(|content| {
                content.attributes.remove(name);
            }),
            Change::Exchange { one, other } => {
                let (first, second) = (self.node(one)?, self.node(other)?);
                if first == Node::Directory || second == Node::Directory {
                    self.move_directory(one, other, true);
                    return Ok(());
                }
                self.rename([(one, Some(second)), (other, Some(first))]);
            }
            Change::Rename { from, to } => {
                let node = self.node(from)?;
                if node == Node::Directory {
                    self.move_directory(from, to, false);
                    return Ok(());
                }
                // One name of a file renamed to another name of it: POSIX keeps both.
                if self.now.get(to) != Some(&node) {
                    self.rename([(from, None), (to, Some(node))]);
                }
            }
            Change::Link { original, name } => {
                self.must_be_free(name)?;
                let node = self.node(original)?;
                self.rename([(name, Some(node))]);
            }
            Change::MakeLink { .. } => return Err(Impossible), // no tree of these tests has one
            Change::RemoveDirectory { path } => {
                self.node(path)?;
                self.rename([(path, None)]);
                if let Some(operation) = self.operations.last_mut() {
                    operation.gone = Some(path.clone());
                }
            }
            Change::Remove { path } => {
                self.node(path)?;
                self.rename([(path, None)]);
            }
        }
        Ok(())
    }

    /// Gives a file another name for the model itself.
    fn call(&mut self, before: &Inode, inode: &Inode) {
        let (old, new) = (Node::File(before.clone()), Node::File(inode.clone()));
        let pending = self.operations.iter_mut().flat_map(|operation| &mut operation.assignments);
        let pending = pending.filter_map(|(_, node)| node.as_mut());
        let names = self.now.values_mut().chain(self.durable.values_mut()).chain(pending);
        names.filter(|node| **node == old).for_each(|node| *node = new.clone());
        let files = self.operations.iter_mut().filter_map(|one| one.unsynced_file.as_mut());
        files.filter(|file| *file == before).for_each(|file| *file = inode.clone());
        if let Some(versions) = self.files.remove(before) {
            self.files.insert(inode.clone(), versions);
        }
    }

    fn file(&mut self, file: Created) -> Result<&mut Versions, Impossible> {
        self.files.get_mut(&Inode::Created(file)).ok_or(Impossible)
    }

    fn node(&self, path: &Path) -> Result<Node, Impossible> {
        self.now.get(path).cloned().ok_or(Impossible)
    }

    fn must_be_free(&self, path: &Path) -> Result<(), Impossible> {
        let parent = self.now.get(parent(path));
        if self.now.contains_key(path) || parent != Some(&Node::Directory) {
            Err(Impossible)
        } else {
            Ok(())
        }
    }

    fn rename<const N: usize>(&mut self, assignments: [(&PathBuf, Option<Node>); N]) {
        let is_fat = self
            .fat
            .as_ref()
            .is_some_and(|fat| assignments.iter().any(|(path, _)| path.starts_with(fat)));
        let assignments = assignments.map(|(path, node)| (path.clone(), node));
        let before = self.now.clone();
        let operations: Vec<NameOperation> = match is_fat {
            true => assignments
                .into_iter()
                .map(|assignment| NameOperation::of(vec![assignment], true))
                .collect(),
            false => vec![NameOperation::of(assignments.into(), false)],
        };
        operations.iter().for_each(|operation| operation.apply(&mut self.now));
        self.operations.extend(operations);
        if is_fat {
            self.free_nameless(&before);
        }
    }

    fn move_directory(&mut self, from: &Path, to: &Path, exchanges: bool) {
        let operation = NameOperation::of_moved(from, to, exchanges);
        operation.apply(&mut self.now);
        self.operations.push(operation);
    }

    /// What had a name before and has none now may be overwritten at once.
    fn free_nameless(&mut self, before: &Names) {
        for node in before.values().filter(|node| !self.now.values().any(|other| other == *node)) {
            if let Node::File(inode) = node
                && let Some(file) = self.files.get_mut(inode)
            {
                file.change(|content| content.bytes.fill(0));
            }
        }
    }

    fn sync(&mut self, inode: &Inode) -> Result<(), Impossible> {
        self.files.get_mut(inode).ok_or(Impossible)?.sync();
        self.operations
            .iter_mut()
            .filter(|operation| operation.unsynced_file.as_ref() == Some(inode))
            .for_each(|operation| operation.unsynced_file = None);
        self.forget_durable();
        Ok(())
    }

    fn sync_directory(&mut self, path: &Path) -> Result<(), Impossible> {
        self.node(path)?;
        for operation in &mut self.operations {
            operation.unsynced.remove(path);
        }
        self.forget_names_in_what_is_gone();
        self.forget_durable();
        Ok(())
    }

    /// A directory that is durably gone takes its names with it, of which nobody can sync it any
    /// more.
    fn forget_names_in_what_is_gone(&mut self) {
        for last in (0..self.operations.len()).rev() {
            let operation = &self.operations[last];
            let Some(gone) = operation.gone.clone().filter(|_| operation.is_durable()) else {
                continue;
            };
            for earlier in &mut self.operations[..last] {
                earlier.unsynced.retain(|directory| !directory.starts_with(&gone));
            }
        }
    }

    fn forget_durable(&mut self) {
        let mut pending: Vec<NameOperation> = Vec::new();
        for operation in self.operations.drain(..) {
            // A pending one that touches the same names may still come after it.
            if operation.is_durable() && !pending.iter().any(|earlier| earlier.touches(&operation))
            {
                operation.apply(&mut self.durable);
            } else {
                pending.push(operation);
            }
        }
        self.operations = pending;
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().expect("no change is made to the root itself")
}
