//! Every tree that a power cut can leave of a [`Model`], each once.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::model::{Inode, Model, Names, Node, Versions};
use super::tree::{Content, Entry, Tree};

/// What a power cut keeps or loses whole.
pub(crate) const BLOCK: usize = 4096;
/// Operations on names that may be pending at a time. More would still be right, but nobody should
/// wait for it.
const MOST_OPERATIONS: usize = 10;
/// Blocks of a file that may be pending at a time.
const MOST_BLOCKS: usize = 6;

/// Every state of the disk after a power cut at this moment.
pub(crate) fn crash_states(model: &Model) -> BTreeSet<Tree> {
    let contents: BTreeMap<&Inode, Vec<Arc<Content>>> =
        model.files.iter().map(|(inode, file)| (inode, contents(file))).collect();
    names(model).iter().flat_map(|names| trees(&reachable(names), &contents)).collect()
}

/// The state of the disk if nothing that is pending is lost.
pub(crate) fn nothing_lost(model: &Model) -> Tree {
    let contents = model
        .files
        .iter()
        .map(|(inode, file)| (inode, vec![Arc::new(file.now().clone())]))
        .collect();
    trees(&model.now, &contents).swap_remove(0)
}

/// The names after every subset of the pending operations, in every order. What is durable is in
/// each, in its own order.
fn names(model: &Model) -> BTreeSet<Names> {
    let operations = &model.operations;
    assert!(
        operations.len() <= MOST_OPERATIONS,
        "{} operations on names are pending",
        operations.len()
    );
    let durable: u32 =
        (0..operations.len()).filter(|&i| operations[i].is_durable()).map(|i| 1 << i).sum();
    let (mut seen, mut complete) = (BTreeSet::new(), BTreeSet::new());
    let mut open = vec![(0_u32, model.durable.clone())];
    while let Some((applied, names)) = open.pop() {
        if !seen.insert((applied, names.clone())) {
            continue;
        }
        if applied & durable == durable {
            complete.insert(names.clone());
        }
        for (i, operation) in operations.iter().enumerate() {
            let earlier_durable = durable & ((1 << i) - 1);
            let in_order = !operation.is_durable() || applied & earlier_durable == earlier_durable;
            if applied & 1 << i == 0 && in_order {
                let mut names = names.clone();
                operation.apply(&mut names);
                open.push((applied | 1 << i, names));
            }
        }
    }
    complete
}

/// A file whose directory is lost is lost.
fn reachable(names: &Names) -> Names {
    let is_there = |path: &Path| {
        path.ancestors()
            .skip(1)
            .all(|above| above == Path::new("") || names.get(above) == Some(&Node::Directory))
    };
    names
        .iter()
        .filter(|(path, _)| is_there(path))
        .map(|(path, node)| (path.clone(), node.clone()))
        .collect()
}

/// Every combination of what the files that have names can be.
fn trees(names: &Names, contents: &BTreeMap<&Inode, Vec<Arc<Content>>>) -> Vec<Tree> {
    let mut first_names: BTreeMap<&Inode, &PathBuf> = BTreeMap::new();
    let mut trees = vec![Tree::default()];
    for (path, node) in names {
        let entries = match node {
            Node::Directory => vec![Entry::Directory],
            Node::File(inode) => match first_names.get(inode) {
                Some(first) => vec![Entry::Link((*first).clone())],
                None => {
                    first_names.insert(inode, path);
                    contents[inode].iter().cloned().map(Entry::File).collect()
                }
            },
        };
        trees = combine(&trees, path, &entries);
    }
    trees
}

fn combine(trees: &[Tree], path: &Path, entries: &[Entry]) -> Vec<Tree> {
    let with = |tree: &Tree, entry: &Entry| {
        let mut tree = tree.clone();
        tree.0.insert(path.to_owned(), entry.clone());
        tree
    };
    trees.iter().flat_map(|tree| entries.iter().map(move |entry| with(tree, entry))).collect()
}

/// Everything that a file can be: each piece of its metadata and each block as it was at some time
/// since the last sync, independently of the others; blocks can be zero as well.
fn contents(file: &Versions) -> Vec<Arc<Content>> {
    if file.since.is_empty() {
        return vec![Arc::new(file.durable.clone())];
    }
    let versions: Vec<&Content> = std::iter::once(&file.durable).chain(&file.since).collect();
    let modes: BTreeSet<u32> = versions.iter().map(|version| version.mode).collect();
    let owners: BTreeSet<(u32, u32)> = versions.iter().map(|version| version.owner).collect();
    let attributes: BTreeSet<_> = versions.iter().map(|version| &version.attributes).collect();
    let mut contents = Vec::new();
    for bytes in data(&versions) {
        for &mode in &modes {
            for &owner in &owners {
                for &attributes in &attributes {
                    contents.push(Arc::new(Content {
                        bytes: bytes.clone(),
                        mode,
                        owner,
                        attributes: attributes.clone(),
                    }));
                }
            }
        }
    }
    contents
}

fn data(versions: &[&Content]) -> BTreeSet<Vec<u8>> {
    sizes(versions).into_iter().flat_map(|size| data_of_size(versions, size)).collect()
}

/// The sizes that the file had, and what a write that is torn at the end of a block leaves.
fn sizes(versions: &[&Content]) -> BTreeSet<usize> {
    let had: BTreeSet<usize> = versions.iter().map(|version| version.bytes.len()).collect();
    let (least, most) = (had.first().copied().unwrap_or(0), had.last().copied().unwrap_or(0));
    had.into_iter().chain((least..most).filter(|size| size % BLOCK == 0)).collect()
}

fn data_of_size(versions: &[&Content], size: usize) -> Vec<Vec<u8>> {
    let mut data = vec![Vec::with_capacity(size)];
    let mut pending = 0;
    for start in (0..size).step_by(BLOCK) {
        let blocks = blocks(versions, start..size.min(start + BLOCK));
        pending += usize::from(blocks.len() > 1);
        data = data
            .iter()
            .flat_map(|before| blocks.iter().map(move |block| [before.as_slice(), block].concat()))
            .collect();
    }
    assert!(pending <= MOST_BLOCKS, "{pending} blocks of one file are pending");
    data
}

/// What a block can be: what it was in any version (zero where the version did not have it), or
/// zero if any wrote it.
fn blocks(versions: &[&Content], range: Range<usize>) -> BTreeSet<Vec<u8>> {
    let of = |version: &&Content| {
        let mut block = version
            .bytes
            .get(range.start.min(version.bytes.len())..range.end.min(version.bytes.len()))
            .unwrap_or(&[])
            .to_vec();
        block.resize(range.len(), 0);
        block
    };
    let mut blocks: BTreeSet<Vec<u8>> = versions.iter().map(of).collect();
    if blocks.len() > 1 {
        blocks.insert(vec![0; range.len()]);
    }
    blocks
}

#[cfg(test)]
mod tests;
