//! Trees that are right, and those that are not.

use std::fs::{self, File};
use std::io::{Seek as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use proptest::prelude::*;

use super::manifest::{MOST_ENTRIES, Root};
use super::*;
use crate::digest::program_digest;
use crate::disk::LocalDisk;
use crate::disk::faulty::FaultyDisk;
use crate::model::FileDigest;
use crate::model::ProgramDigest;

const ROOT: Root = Root { mode: 0o755, user: 0, group: 0 };

fn directory(path: &str) -> Entry {
    Entry::Directory { path: path.into(), mode: 0o755, user: 0, group: 0 }
}

fn file(path: &str) -> Entry {
    let (sha256, capabilities) = (FileDigest([7; 32]), None);
    Entry::File { path: path.into(), mode: 0o644, user: 0, group: 0, size: 3, sha256, capabilities }
}

fn link(path: &str, target: &str) -> Entry {
    Entry::Link { path: path.into(), target: target.into() }
}

fn refused(entries: Vec<Entry>) -> String {
    let manifest = Manifest { root: ROOT, entries };
    let error = Manifest::parse(&manifest.text().unwrap()).unwrap_err();
    assert_eq!(manifest.check().unwrap_err().to_string(), error.to_string());
    error.to_string()
}

/// A directory with something of all that may be in a tree.
fn sample() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    fs::set_permissions(root, fs::Permissions::from_mode(0o750)).unwrap();
    for name in ["bin", "empty", "share/model"] {
        fs::create_dir_all(root.join(name)).unwrap();
    }
    for (name, bytes, mode) in [
        ("bin/run", &b"#!/bin/sh\n"[..], 0o755),
        ("share/model/a", b"", 0o600),
        ("z", b"end", 0o440),
    ] {
        File::create(root.join(name)).unwrap().write_all(bytes).unwrap();
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    symlink("../bin/run", root.join("share/program")).unwrap();
    directory
}

fn archive(root: &Path) -> File {
    let mut file = tempfile::tempfile().unwrap();
    Scan::of(root, Owners::Theirs).unwrap().write_archive(&mut file).unwrap();
    file
}

fn digest_of(root: &Path) -> ProgramDigest {
    Scan::of(root, Owners::Theirs).unwrap().manifest().digest().unwrap()
}

#[test]
fn a_name_that_leads_out_is_none_of_a_tree() {
    for (path, why) in [
        ("../a", "it leads elsewhere"),
        ("a/../../b", "it leads elsewhere"),
        (".", "it leads elsewhere"),
        ("..", "it leads elsewhere"),
        ("/etc/passwd", "it is absolute"),
        ("a//b", "a name in it is empty"),
        ("a/", "a name in it is empty"),
        ("", "a name in it is empty"),
        ("a\nb", "a control character is in it"),
        ("a\0b", "a control character is in it"),
        (&"n".repeat(256), "longer than 255 bytes"),
        (&"n/".repeat(600), "longer than 1024 bytes"),
    ] {
        let error = refused(vec![file(path)]);
        assert!(error.contains(why), "{path:?}: {error}");
    }
}

#[test]
fn each_path_stands_there_once_and_in_its_order() {
    assert!(refused(vec![file("a"), file("a")]).contains("each path stands there once"));
    assert!(refused(vec![file("a"), directory("a")]).contains("each path stands there once"));
    assert!(refused(vec![file("b"), file("a")]).contains("in their order"));
    assert!(refused(vec![file("A"), file("a")]).contains("by its case alone"));
    assert!(refused(vec![directory("a"), file("a/É"), file("a/é")]).contains("by its case alone"));
}

#[test]
fn nothing_lies_below_what_is_no_directory() {
    assert!(refused(vec![link("a", "b"), file("a/b")]).contains("no directory of the tree"));
    assert!(refused(vec![file("a"), file("a/b")]).contains("no directory of the tree"));
    assert!(refused(vec![file("a/b")]).contains("no directory of the tree"));
}

#[test]
fn a_link_leads_to_what_is_in_the_tree() {
    for target in ["b", "../b", "c/d", "../x/y", ".."] {
        let manifest = Manifest { root: ROOT, entries: vec![directory("a"), link("a/l", target)] };
        manifest.check().unwrap();
    }
    for (target, why) in [
        ("/etc", "absolute"),
        ("../..", "outside of the tree"),
        ("../../b", "outside of the tree"),
        // Where `b` is a link to `..` the way goes on from there.
        ("b/../c", "at the beginning alone"),
        ("./b", "at the beginning alone"),
        ("", "at the beginning alone"),
        ("b/", "at the beginning alone"),
        ("b\0", "at the beginning alone"),
    ] {
        let error = refused(vec![directory("a"), link("a/l", target)]);
        assert!(error.contains(why), "{target}: {error}");
    }
    assert!(refused(vec![link("l", "..")]).contains("outside of the tree"));
}

#[test]
fn a_tree_has_limits() {
    let many: Vec<Entry> = (0..=MOST_ENTRIES).map(|i| file(&format!("{i:08}"))).collect();
    assert!(refused(many).contains("it has 20001 entries"));
    let mut large = file("a");
    if let Entry::File { size, .. } = &mut large {
        *size = u64::MAX;
    }
    assert!(refused(vec![large, file("b")]).contains("more bytes than can be counted"));
    assert!(matches!(
        Manifest::parse(&vec![b' '; LARGEST_MANIFEST + 1]),
        Err(TreeError::LargeManifest(_))
    ));
    let mut mode = file("a");
    if let Entry::File { mode, .. } = &mut mode {
        *mode = 0o100_644;
    }
    assert!(refused(vec![mode]).contains("none of permissions"));
}

#[test]
fn devices_fifos_and_sockets_are_no_part_of_a_tree() {
    let directory = sample();
    let fifo = directory.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRUSR).unwrap();
    let scan = Scan::of(directory.path(), Owners::Theirs).unwrap();
    let error = scan.manifest().check().unwrap_err().to_string();
    assert_eq!(error, "\"fifo\" is a FIFO, which a tree can't have");
    assert!(Manifest::parse(&scan.manifest().text().unwrap()).is_err());
}

#[test]
fn one_tree_has_one_text() {
    let manifest =
        Manifest { root: ROOT, entries: vec![directory("a"), file("a/b"), link("c", "a")] };
    let text = String::from_utf8(manifest.text().unwrap()).unwrap();
    assert_eq!(Manifest::parse(text.as_bytes()).unwrap(), manifest);
    assert!(text.starts_with(r#"{"root":{"mode":"0755","user":0,"group":0},"entries":[{"type":"directory","path":"a","mode":"0755""#), "{text}");
    for (from, to) in [
        (",", ", "),
        ("\"0755\"", "\"755\""),
        ("\"user\":0", "\"user\":0,\"more\":0"),
        ("0707", "07 07"),
        ("\"type\":\"link\",\"path\":\"c\"", "\"path\":\"c\",\"type\":\"link\""),
    ] {
        let changed = text.replacen(from, to, 1);
        assert!(changed != text && Manifest::parse(changed.as_bytes()).is_err(), "{from}");
    }
}

#[test]
fn what_is_laid_is_what_was_packed_and_is_known_by_the_same_digest() {
    let directory = sample();
    let mut file = archive(directory.path());
    let size = file.metadata().unwrap().len();
    let archive = Archive::open(&file, 0..size).unwrap();
    archive.prove().unwrap();
    assert_eq!(archive.manifest().set_id(), None);
    let to = tempfile::tempdir().unwrap();
    let laid = to.path().join("laid");
    let disk = FaultyDisk::sound();
    take_out(&archive, &disk, &laid, Owners::Theirs).unwrap();
    assert_eq!(digest_of(&laid), digest_of(directory.path()));
    assert_eq!(fs::read(laid.join("share/program")).unwrap(), b"#!/bin/sh\n");
    assert_eq!(fs::metadata(laid.join("z")).unwrap().mode() & 0o7777, 0o440);
    file.rewind().unwrap();
    assert_eq!(program_digest(&file).unwrap(), digest_of(&laid));
    let synced = |name: &str| disk.log().iter().filter(|one| *one == name).count();
    assert_eq!(synced("SyncDirectory"), 5, "each directory");
    assert!(synced("Sync") >= 3, "each file: {:?}", disk.log());
    remove(&LocalDisk, &laid).unwrap();
    assert!(!laid.exists());
}

/// What a file may do comes with it, behind the change of its owner, which would take it away.
#[test]
fn owners_and_capabilities_are_those_of_the_manifest() {
    if !nix::unistd::geteuid().is_root() {
        uplift_fixtures::untested::say("owners and capabilities are root's to give");
        return;
    }
    let directory = sample();
    let run = directory.path().join("bin/run");
    std::os::unix::fs::chown(&run, Some(1234), Some(4321)).unwrap();
    let value = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    xattr::set(&run, "security.capability", &value).unwrap();
    let file = archive(directory.path());
    let archive = Archive::open(&file, 0..file.metadata().unwrap().len()).unwrap();
    let to = tempfile::tempdir().unwrap();
    let laid = to.path().join("laid");
    take_out(&archive, &LocalDisk, &laid, Owners::Theirs).unwrap();
    let (there, found) =
        (laid.join("bin/run"), xattr::get(laid.join("bin/run"), "security.capability"));
    assert_eq!(found.unwrap().as_deref(), Some(&value[..]));
    let metadata = fs::metadata(there).unwrap();
    assert_eq!((metadata.uid(), metadata.gid(), metadata.mode() & 0o7777), (1234, 4321, 0o755));
    assert_eq!(digest_of(&laid), digest_of(directory.path()));
    let ours = Scan::of(directory.path(), Owners::Root).unwrap();
    assert_ne!(ours.manifest().digest().unwrap(), digest_of(&laid));
}

#[test]
fn what_the_fuzzer_begins_with_is_a_tree_or_none() {
    for (text, is_one) in [
        (&include_bytes!("../../fuzz/corpus/tree/empty")[..], true),
        (include_bytes!("../../fuzz/corpus/tree/of-all"), true),
        (include_bytes!("../../fuzz/corpus/tree/link-out"), false),
        (include_bytes!("../../fuzz/corpus/tree/twice"), false),
    ] {
        assert_eq!(Manifest::parse(text).is_ok(), is_one, "{}", String::from_utf8_lossy(text));
    }
}

/// A file of nothing but zeros, or of no bytes, is what a sync of the directories alone leaves.
#[test]
fn each_file_is_synced_behind_its_last_change_and_before_its_directory() {
    let directory = sample();
    let file = archive(directory.path());
    let archive = Archive::open(&file, 0..file.metadata().unwrap().len()).unwrap();
    let to = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::sound();
    take_out(&archive, &disk, &to.path().join("laid"), Owners::Theirs).unwrap();
    let log = disk.log();
    let created: Vec<usize> = (0..log.len()).filter(|&i| log[i] == "create").collect();
    let first_directory = log.iter().position(|one| one == "SyncDirectory").unwrap();
    assert_eq!(created.len(), 3);
    for (at, start) in created.iter().enumerate() {
        let end = created.get(at + 1).copied().unwrap_or(first_directory);
        let of_file = &log[*start..end];
        let last = of_file.iter().rposition(|one| {
            ["create", "Allocate", "Write", "SetOwner", "SetMode", "Sync"].contains(&one.as_str())
        });
        assert_eq!(of_file[last.unwrap()], "Sync", "{of_file:?}");
    }
}

#[test]
fn a_changed_byte_of_a_file_is_noticed_and_none_is_laid_of_it() {
    let directory = sample();
    let mut file = archive(directory.path());
    let size = file.metadata().unwrap().len();
    file.seek(std::io::SeekFrom::End(-1)).unwrap();
    file.write_all(b"?").unwrap();
    let archive = Archive::open(&file, 0..size).unwrap();
    assert!(matches!(archive.prove(), Err(TreeError::Content(path)) if path == "z"));
    let to = tempfile::tempdir().unwrap();
    let laid = take_out(&archive, &LocalDisk, &to.path().join("laid"), Owners::Theirs);
    assert!(matches!(laid, Err(TreeError::Content(_))));
    for part in [0..size - 1, 0..20, 0..4, 1..size] {
        assert!(Archive::open(&file, part).is_err());
    }
    file.set_len(size + 1).unwrap();
    assert!(matches!(Archive::open(&file, 0..size + 1), Err(TreeError::Archive { .. })));
}

#[test]
fn whatever_is_changed_of_a_directory_changes_its_digest() {
    let directory = sample();
    let (root, before) = (directory.path(), digest_of(directory.path()));
    let stamp = Scan::stamp(root).unwrap();
    assert_eq!(Scan::stamp(root).unwrap(), stamp);
    let mut seen = vec![before];
    let mut changed = |change: &dyn Fn()| {
        change();
        let digest = digest_of(root);
        assert!(!seen.contains(&digest));
        seen.push(digest);
        assert_ne!(Scan::stamp(root).unwrap(), stamp);
    };
    changed(&|| fs::set_permissions(root.join("z"), fs::Permissions::from_mode(0o640)).unwrap());
    changed(&|| fs::set_permissions(root, fs::Permissions::from_mode(0o700)).unwrap());
    changed(&|| fs::rename(root.join("z"), root.join("y")).unwrap());
    changed(&|| {
        File::options().append(true).open(root.join("y")).unwrap().write_all(b"!").unwrap();
    });
    changed(&|| fs::create_dir(root.join("more")).unwrap());
    changed(&|| symlink("bin", root.join("link")).unwrap());
    changed(&|| drop(std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap()));
}

proptest! {
    #[test]
    fn no_bytes_make_a_manifest_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Manifest::parse(&bytes);
    }

    #[test]
    fn a_header_is_that_of_its_manifest(size in 0..LARGEST_MANIFEST) {
        prop_assert_eq!(manifest_size(&header(size).unwrap()), Some(size));
    }
}
