//! Archives that no honest writer makes, in containers that are right.

use std::fs;
use std::path::PathBuf;

use sha2::Digest as _;
use uplift::model::{FailureKind, Outcome};
use uplift::tree::MAGIC;

use super::{TRIAL, known_by, setup, start, tree};
use crate::world::payload::{NEW, Payload};

/// An archive of these entries, which are JSON, and the bytes of its files.
fn archive(entries: &[String], content: &[u8]) -> Vec<u8> {
    let text = format!(
        r#"{{"root":{{"mode":"0755","user":0,"group":0}},"entries":[{}]}}"#,
        entries.join(",")
    );
    let size = u32::try_from(text.len()).unwrap().to_le_bytes();
    [&MAGIC[..], &1u32.to_le_bytes(), &size, text.as_bytes(), content].concat()
}

fn directory(path: &str) -> String {
    format!(r#"{{"type":"directory","path":"{path}","mode":"0755","user":0,"group":0}}"#)
}

fn file(path: &str, mode: &str, content: &[u8]) -> String {
    let digest: [u8; 32] = sha2::Sha256::digest(content).into();
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let size = content.len();
    format!(
        r#"{{"type":"file","path":"{path}","mode":"{mode}","user":0,"group":0,"size":{size},"sha256":"{digest}"}}"#
    )
}

fn link(path: &str, target: &str) -> String {
    format!(r#"{{"type":"link","path":"{path}","target":"{target}"}}"#)
}

/// The archive in a container of its own.
fn contained(payload: &Payload, archive: &[u8]) -> PathBuf {
    let firmware = payload.firmware_of(NEW, 10_000);
    let (_, version) = firmware.file_stem().unwrap().to_str().unwrap().rsplit_once('_').unwrap();
    let name = firmware.file_name().unwrap().to_str().unwrap().to_owned();
    let product = name.rsplit_once('_').unwrap().0.to_owned();
    let bare = payload.root().join("archive");
    fs::write(&bare, archive).unwrap();
    let out = payload.root().to_str().unwrap();
    let (code, said) = payload.uplift(&[
        "pack",
        "--unsigned",
        "--compress",
        "--force",
        "--product",
        &product,
        "--version",
        version,
        "--out",
        out,
        bare.to_str().unwrap(),
    ]);
    assert_eq!(code, Some(0), "{said}");
    payload.root().join(name)
}

#[test]
fn what_leads_out_or_is_not_as_it_says_is_refused_and_touches_nothing() {
    let payload = start(&setup(TRIAL));
    let before = known_by(&tree(&payload));
    let many: Vec<String> = (0..=20_000).map(|i| directory(&format!("{i:06}"))).collect();
    let a = || file("a", "0644", b"a");
    for (entries, content, kind, words) in [
        (
            vec![file("../evil", "0644", b"a")],
            &b"a"[..],
            FailureKind::SealInvalid,
            "leads elsewhere",
        ),
        (vec![file("/tmp/evil", "0644", b"a")], b"a", FailureKind::SealInvalid, "it is absolute"),
        (vec![a(), a()], b"aa", FailureKind::SealInvalid, "stands there once"),
        (vec![file("A", "0644", b"a"), a()], b"aa", FailureKind::SealInvalid, "case alone"),
        (
            vec![link("a", "b"), file("a/b", "0644", b"a")],
            b"a",
            FailureKind::SealInvalid,
            "lies below",
        ),
        (vec![link("a", "/etc")], b"", FailureKind::SealInvalid, "absolute"),
        (vec![link("a", "../etc")], b"", FailureKind::SealInvalid, "outside of the tree"),
        (
            vec![a().replace("file", "device")],
            b"a",
            FailureKind::SealInvalid,
            "manifest can't be read",
        ),
        (
            vec![r#"{"type":"other","path":"a","what":"a device"}"#.to_owned()],
            b"",
            FailureKind::SealInvalid,
            "a device, which a tree can't have",
        ),
        (vec![file("a", "4755", b"a")], b"a", FailureKind::SealInvalid, "set-id bit"),
        (vec![a()], b"b", FailureKind::DigestMismatch, "other bytes"),
        (vec![a()], b"", FailureKind::Truncated, "its manifest speaks of"),
        (vec![a()], b"aa", FailureKind::Truncated, "its manifest speaks of"),
        (many, b"", FailureKind::TooLarge, "the limit is 20000"),
    ] {
        let file = contained(&payload, &archive(&entries, content));
        payload.install_file(&file).wait_with_output().unwrap();
        let report = payload.last_report();
        let failure = report.failure.unwrap();
        assert_eq!((report.outcome, failure.kind), (Outcome::Failed, kind), "{failure}");
        assert!(failure.to_string().contains(words), "{words}: {failure}");
        assert_eq!(known_by(&tree(&payload)), before);
        let out = payload.root().join("out");
        let words_of_unpack = ["unpack", file.to_str().unwrap(), out.to_str().unwrap()];
        let (code, said) = payload.uplift(&words_of_unpack);
        let is_taken_out = words == "set-id bit";
        assert_eq!((code == Some(0), out.exists()), (is_taken_out, is_taken_out), "{said}");
        if is_taken_out {
            fs::remove_dir_all(&out).unwrap();
        }
    }
}

#[test]
fn a_program_is_no_tree_and_a_tree_no_program() {
    let payload = start(&setup(TRIAL));
    let file = payload.new_firmware();
    payload.install_file(&file).wait_with_output().unwrap();
    let failure = payload.last_report().failure.unwrap();
    assert_eq!(failure.kind, FailureKind::SealInvalid);
    assert!(failure.to_string().contains("a tree comes in one"), "{failure}");
    let file = contained(&payload, &fs::read(&file).unwrap());
    payload.install_file(&file).wait_with_output().unwrap();
    let failure = payload.last_report().failure.unwrap();
    assert!(failure.to_string().contains("does not begin as an archive"), "{failure}");

    let payload = Payload::setup().start();
    let file = contained(&payload, &archive(&[], b""));
    payload.install_file(&file).wait_with_output().unwrap();
    let failure = payload.last_report().failure.unwrap();
    assert_eq!(failure.kind, FailureKind::WrongMachine, "{failure}");
}
