//! A directory in the place of a program: the exchange of two directories and the way back, each cut
//! off at every change, in every state that the disk can be in then. The journal around it is the one
//! of programs, whose stories are the others.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;

use super::enumerate::{crash_states, nothing_lost};
use super::firmware::ourselves;
use super::model::Model;
use super::payload::FIRST_BOOT;
use super::stories::all_of;
use super::tree::{Content, Entry, Tree};
use crate::component::program::{Program, Reverted};
use crate::disk::recording::{Change, Moment, RecordingDisk};
use crate::disk::{Disk, LocalDisk};
use crate::model::{Form, PackageSummary, ProgramDigest};
use crate::package::check::Checked;
use crate::stage::{Announced, Stage};
use crate::tree::{Owners, Scan};

/// The directory that is replaced.
const PATH: &str = "opt/sensor";
/// What is left beside it when all is done.
const KNOWN: [&str; 3] = ["lock", "sensor.failed", "sensor.previous"];

/// A directory on a disk of its own.
struct Place {
    directory: TempDir,
}

impl Place {
    fn new(tree: &Tree) -> Self {
        let memory = Path::new("/dev/shm");
        let directory = match memory.is_dir() {
            true => tempfile::tempdir_in(memory),
            false => tempfile::tempdir(),
        };
        let place = Self { directory: directory.unwrap() };
        tree.write(place.directory.path());
        place
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join(PATH)
    }

    fn program(&self, disk: Arc<dyn Disk>) -> Program {
        Program::on(disk, self.path()).in_form(Form::Tree)
    }

    fn local(&self) -> Program {
        self.program(Arc::new(LocalDisk))
    }

    /// The tree of this word, received and checked.
    fn checked(&self, word: &str) -> Checked {
        let archive = archive(word);
        let stage = Stage::beside(&self.path(), 1 << 30);
        let announced = Announced::named("P_V02.00.00.00.bin", Some(archive.len() as u64));
        let mut receiving = stage.receive(announced, Box::new(|_| {})).unwrap();
        receiving.write(&archive).unwrap();
        let staged = receiving.finish(None).unwrap();
        let summary = PackageSummary {
            file_name: "P_V02.00.00.00.bin".into(),
            product: "P".into(),
            version: "V02.00.00.00".parse().unwrap(),
            size: staged.size,
            file_digest: staged.digests.file,
            program_size: None,
            program_digest: staged.digests.program,
            trusted_key: None,
        };
        assert_eq!(summary.program_digest, known_by(word));
        Checked::for_test(staged, summary)
    }

    fn install(&self, disk: Arc<dyn Disk>, word: &str) {
        self.program(disk).install(self.checked(word)).unwrap();
    }

    /// What is there now.
    fn tree(&self) -> Tree {
        let mut tree = Tree::default();
        self.add_to(&mut tree, Path::new(""));
        tree
    }

    fn add_to(&self, tree: &mut Tree, below: &Path) {
        for entry in fs::read_dir(self.directory.path().join(below)).unwrap() {
            let path = below.join(entry.unwrap().file_name());
            let place = self.directory.path().join(&path);
            if place.is_dir() {
                tree.0.insert(path.clone(), Entry::Directory);
                self.add_to(tree, &path);
            } else {
                let content = Content::read(&place).unwrap();
                tree.0.insert(path, Entry::File(Arc::new(content)));
            }
        }
    }

    fn stray(&self) -> Vec<String> {
        let area = fs::read_dir(self.path().with_file_name(".uplift")).into_iter().flatten();
        let names = area.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| !KNOWN.contains(&name.as_str())).collect()
    }
}

fn content(word: &str) -> Entry {
    let content = Content {
        bytes: word.repeat(10).into_bytes(),
        mode: 0o640,
        owner: ourselves(),
        ..Content::default()
    };
    Entry::File(Arc::new(content))
}

/// The names of a tree of this word, below this path.
fn tree_of(path: &str, word: &str) -> Vec<(PathBuf, Entry)> {
    let path = Path::new(path);
    vec![
        (path.to_owned(), Entry::Directory),
        (path.join("run"), content(word)),
        (path.join("share"), Entry::Directory),
        (path.join("share/model"), content(&word.repeat(2))),
    ]
}

fn before(word: Option<&str>) -> Tree {
    let mut tree = Tree([("opt".into(), Entry::Directory)].into());
    tree.0.extend(word.into_iter().flat_map(|word| tree_of(PATH, word)));
    tree
}

fn archive(word: &str) -> Vec<u8> {
    let place = Place::new(&before(Some(word)));
    let mut archive = Vec::new();
    Scan::of(&place.path(), Owners::Theirs).unwrap().write_archive(&mut archive).unwrap();
    archive
}

fn known_by(word: &str) -> ProgramDigest {
    let place = Place::new(&before(Some(word)));
    Scan::of(&place.path(), Owners::Theirs).unwrap().manifest().digest().unwrap()
}

/// What is done to a payload with these files once the tree of a word has been received, as changes,
/// and the files before them.
fn recorded(
    tree: &Tree,
    received: Option<&str>,
    act: impl FnOnce(Program, Option<Checked>),
) -> (Model, Vec<Change>) {
    let place = Place::new(tree);
    let checked = received.map(|word| place.checked(word));
    let tree = place.tree();
    let clock = || Moment { boot: FIRST_BOOT.into(), start: None };
    let disk = Arc::new(RecordingDisk::new(place.directory.path(), Box::new(clock), &[]));
    act(place.program(Arc::clone(&disk) as Arc<dyn Disk>), checked);
    let changes = disk.changes().into_iter().map(|recorded| recorded.change).collect();
    (Model::of(&tree), changes)
}

/// Every state that a power cut or a death can leave, with the number of changes before it.
fn states(before: &Model, changes: &[Change]) -> Vec<(usize, Tree)> {
    let mut model = before.clone();
    let (mut all, mut seen) = (Vec::new(), BTreeSet::new());
    for n in 0..=changes.len() {
        if let Some(change) = n.checked_sub(1).map(|last| &changes[last]) {
            model.apply(change).unwrap();
        }
        let cut = crash_states(&model).into_iter().chain([nothing_lost(&model)]);
        all.extend(cut.filter(|tree| seen.insert(tree.clone())).map(|tree| (n, tree)));
    }
    all
}

/// What a payload was, and what it is upgraded to.
#[derive(Clone, Copy)]
struct Words {
    old: Option<&'static str>,
    new: &'static str,
}

/// In this state the path names one of the two, whole; from the new one a way leads back to the old
/// one, and from there the next one can be installed.
fn prove(words: Words, tree: &Tree) -> Result<(), String> {
    let place = Place::new(tree);
    let (program, new, old) = (place.local(), known_by(words.new), words.old.map(known_by));
    let at_path = program.digest().map_err(|error| format!("it can't be read: {error}"))?;
    if at_path == Some(new) {
        let reverted = program.revert(new, old).map_err(|failure| failure.to_string())?;
        let expected = if old.is_some() { Reverted::PutBack } else { Reverted::Removed };
        if reverted != expected {
            return Err(format!("the way back ended as {reverted:?}"));
        }
    } else if at_path == old {
        let package = summary_of(&place, words.new);
        program.finish(&package, false).map_err(|failure| failure.to_string())?;
    } else {
        return Err("neither the old nor the new tree is at the path".into());
    }
    if program.digest().ok().flatten() != old {
        return Err("the old tree is not at the path".into());
    }
    Stage::beside(&place.path(), 1 << 30).clean().map_err(|failure| failure.to_string())?;
    place.install(Arc::new(LocalDisk), "next");
    program.forget_older().map_err(|error| error.to_string())?;
    match place.stray().as_slice() {
        [] if program.digest().ok().flatten() == Some(known_by("next")) => Ok(()),
        [] => Err("the next tree is not at the path".into()),
        stray => Err(format!("{stray:?} is left")),
    }
}

fn summary_of(place: &Place, word: &str) -> PackageSummary {
    place.checked(word).summary().clone()
}

fn prove_all(name: &str, words: Words, (before, changes): &(Model, Vec<Change>)) {
    let states = states(before, changes);
    let line =
        format!("crash states: {name:<40} {:>4} changes {:>6} states", changes.len(), states.len());
    writeln!(std::io::stdout(), "{line}").unwrap();
    all_of(&states, |(n, tree)| {
        prove(words, tree).map_err(|why| {
            let last = &changes[n.saturating_sub(6)..*n];
            let names: Vec<_> = tree.0.keys().collect();
            format!("{why}\nin {name:?} after change {n}: {last:#?}\non the disk: {names:?}")
        })
    });
    let changes_hands = changes.iter().any(|change| match change {
        Change::Exchange { other, .. } => other == Path::new(PATH),
        Change::Rename { from, to } => [from, to].into_iter().any(|one| one == Path::new(PATH)),
        _ => false,
    });
    assert!(changes_hands, "{name}");
}

const UPGRADE: Words = Words { old: Some("one"), new: "two" };
const FIRST: Words = Words { old: None, new: "two" };

fn install(tree: &Tree, word: &str) -> (Model, Vec<Change>) {
    recorded(tree, Some(word), |program, checked| {
        program.install(checked.unwrap()).unwrap();
    })
}

fn upgrade() -> (Model, Vec<Change>) {
    install(&before(Some("one")), "two")
}

/// The files of a payload after its upgrade.
fn upgraded(old: Option<&str>) -> Tree {
    let (mut model, changes) = install(&before(old), "two");
    changes.iter().for_each(|change| model.apply(change).unwrap());
    nothing_lost(&model)
}

#[test]
fn no_power_cut_in_an_exchange_of_directories_leaves_half_a_tree() {
    prove_all("tree: exchange", UPGRADE, &upgrade());
}

#[test]
fn nor_does_one_in_a_first_installation() {
    prove_all("tree: first installation", FIRST, &install(&before(None), "two"));
}

#[test]
fn nor_does_one_on_the_way_back() {
    for (name, words) in [("tree: rollback", UPGRADE), ("tree: rollback of the first", FIRST)] {
        let back = recorded(&upgraded(words.old), None, |program, _| {
            program.revert(known_by(words.new), words.old.map(known_by)).unwrap();
        });
        prove_all(name, words, &back);
    }
}

/// The tree before the old one is kept, and has its place again after a rollback.
#[test]
fn nor_does_one_where_another_was_replaced_before() {
    let after_another = install(&upgraded(Some("zero")), "three");
    prove_all("tree: after another", Words { old: Some("two"), new: "three" }, &after_another);
}

/// Each sync of a file and of a directory of the new tree is needed: without it some state is wrong.
#[test]
fn without_one_of_its_syncs_a_tree_is_not_safe() {
    let (before, changes) = upgrade();
    let exchange = changes.iter().rposition(|one| matches!(one, Change::Exchange { .. })).unwrap();
    let laid = changes
        .iter()
        .position(
            |one| matches!(one, Change::MakeDirectory { path } if path.ends_with("sensor.laying")),
        )
        .unwrap();
    // That of the staging area is for names of what was there before.
    let of_tree = |change: &Change| match change {
        Change::Sync { .. } => true,
        Change::SyncDirectory { path } => {
            path.ends_with("share") || path.ends_with("sensor.laying")
        }
        _ => false,
    };
    let syncs: Vec<usize> = (laid..exchange).filter(|&n| of_tree(&changes[n])).collect();
    assert!(syncs.len() >= 4, "{syncs:?}");
    for n in syncs {
        let mut mutant = changes.clone();
        let left_out = mutant.remove(n);
        let wrong = states(&before, &mutant).iter().any(|(_, tree)| prove(UPGRADE, tree).is_err());
        assert!(wrong, "nobody needs {left_out:?}");
    }
}
