use super::*;
use crate::disk::recording::{Change, Created};

const FILE: Created = Created(0);

/// `d/old` says "old"; then these changes, and the power is cut.
fn after(changes: &[Change]) -> BTreeSet<Tree> {
    let mut tree = Tree::default();
    tree.0.insert("d".into(), Entry::Directory);
    tree.0.insert("e".into(), Entry::Directory);
    tree.0.insert(
        "d/old".into(),
        Entry::File(Arc::new(Content { bytes: b"old".into(), ..Content::default() })),
    );
    let mut model = Model::of(&tree);
    changes.iter().for_each(|change| model.apply(change).unwrap());
    crash_states(&model)
}

/// What is read under a name in each of the states, each once.
fn read(states: &BTreeSet<Tree>, path: &str) -> BTreeSet<Option<String>> {
    let text = |tree: &Tree| {
        tree.file(path).map(|content| String::from_utf8(content.bytes.clone()).unwrap())
    };
    states.iter().map(text).collect()
}

fn texts<const N: usize>(texts: [Option<&str>; N]) -> BTreeSet<Option<String>> {
    texts.map(|text| text.map(String::from)).into()
}

fn create(path: &str) -> Change {
    Change::Create { path: path.into(), file: FILE, mode: 0, owner: (0, 0) }
}

fn write(offset: usize, bytes: &[u8]) -> Change {
    Change::Write { file: FILE, offset, bytes: bytes.into() }
}

fn rename(from: &str, to: &str) -> Change {
    Change::Rename { from: from.into(), to: to.into() }
}

fn sync_directory(path: &str) -> Change {
    Change::SyncDirectory { path: path.into() }
}

const SYNC: Change = Change::Sync { file: FILE };

#[test]
fn a_synced_file_may_have_no_name() {
    assert_eq!(
        read(&after(&[create("d/new"), write(0, b"new"), SYNC]), "d/new"),
        texts([None, Some("new")])
    );
}

#[test]
fn a_synced_name_may_stand_for_nothing_or_zeros() {
    let states = after(&[create("d/new"), write(0, b"new"), sync_directory("d")]);
    assert_eq!(read(&states, "d/new"), texts([Some(""), Some("\0\0\0"), Some("new")]));
}

#[test]
fn a_rename_over_a_name_is_the_old_file_or_the_new_one_whatever_else_is_lost() {
    let states = after(&[create("d/new"), write(0, b"new"), SYNC, rename("d/new", "d/old")]);
    assert_eq!(read(&states, "d/old"), texts([Some("old"), Some("new")]));
    let states = after(&[
        create("d/new"),
        write(0, b"new"),
        SYNC,
        rename("d/new", "d/old"),
        sync_directory("d"),
    ]);
    assert_eq!((states.len(), read(&states, "d/old")), (1, texts([Some("new")])));
}

#[test]
fn operations_take_place_in_any_order_and_each_whole() {
    // Only a disk that loses or reorders one of them can leave the file with two names.
    let states = after(&[rename("d/old", "d/b"), rename("d/b", "d/c")]);
    let names: BTreeSet<Vec<&str>> = states
        .iter()
        .map(|tree| {
            tree.0.keys().skip(1).filter_map(|path| path.to_str()?.strip_prefix("d/")).collect()
        })
        .collect();
    assert_eq!(names, [vec!["old"], vec!["b"], vec!["c"], vec!["c", "old"], vec!["b", "c"]].into());
}

#[test]
fn an_operation_in_two_directories_is_durable_when_both_are_synced() {
    let moved = |syncs: &[Change]| after(&[&[rename("d/old", "e/new")], syncs].concat()).len();
    assert_eq!(
        [
            moved(&[]),
            moved(&[sync_directory("d")]),
            moved(&[sync_directory("d"), sync_directory("e")])
        ],
        [2, 2, 1]
    );
}

#[test]
fn a_sync_of_data_leaves_the_mode_pending() {
    let set_mode = Change::SetMode { file: FILE, mode: 0o755 };
    let modes = |sync| {
        let states = after(&[
            create("d/new"),
            write(0, b"new"),
            set_mode.clone(),
            sync,
            sync_directory("d"),
        ]);
        states.iter().map(|tree| tree.file("d/new").unwrap().mode).collect::<Vec<_>>()
    };
    assert_eq!(
        (modes(Change::SyncData { file: FILE }), modes(SYNC)),
        (vec![0, 0o755], vec![0o755])
    );
}

#[test]
fn blocks_are_lost_one_by_one() {
    let states = after(&[create("d/new"), sync_directory("d"), write(0, &[1; 3 * BLOCK])]);
    // For each size in blocks, each block is new or zero.
    assert_eq!(states.len(), 1 + 2 + 4 + 8);
}

#[test]
fn a_file_in_a_lost_directory_is_lost() {
    let changes = [
        Change::MakeDirectory { path: "d/sub".into() },
        create("d/sub/new"),
        write(0, b"new"),
        SYNC,
        sync_directory("d/sub"),
    ];
    assert_eq!(read(&after(&changes), "d/sub/new"), texts([None, Some("new")]));
}
