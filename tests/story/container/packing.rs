//! What a developer does with containers: pack, sign elsewhere, look, unpack.

use std::fs;

use serde_json::Value;

use crate::seal::shop::{Shop, assert_done, refused};

const NAME: &str = "DEMO_V02.00.00.00.bin";

#[test]
fn what_was_packed_is_explained_and_unpacked() {
    let shop = Shop::with_key();
    let program = fs::read(shop.path("program")).unwrap();
    shop.file("program", &[&program[..], &[7; 100_000]].concat());
    let said = assert_done(&shop.pack("release", &["--compress"]));
    assert!(
        said.contains("It is a container of") && said.contains("packed without --compress"),
        "{said}"
    );
    shop.configure("required", &["release"]);
    let explained = assert_done(&shop.uplift(&["check", NAME]));
    for part in [
        "would be accepted",
        "bytes are sent",
        "stream        the whole program",
        "(release), trusted here",
        "ok      complete    the seal gives size and digest",
    ] {
        assert!(explained.contains(part), "{part}: {explained}");
    }
    let document: Value =
        serde_json::from_str(&assert_done(&shop.uplift(&["check", "--json", NAME]))).unwrap();
    assert_eq!(document["container"]["program_size"], 104_000);
    assert_eq!(document["container"]["size"], shop.path(NAME).metadata().unwrap().len());
    assert_eq!(document["seal"]["manifest"]["sha256"], document["program_digest"]);
    assert_done(&shop.uplift(&["unpack", NAME]));
    let unpacked = fs::read(shop.path("DEMO_V02.00.00.00")).unwrap();
    assert!(unpacked == fs::read(shop.path("program")).unwrap());
    assert!(refused(&shop.uplift(&["unpack", NAME])).contains("exists already"));
    fs::copy(shop.path(NAME), shop.path("program")).unwrap();
    assert!(
        refused(&shop.pack("release", &["--force"]))
            .contains("it is a container already, of \"DEMO\"")
    );
    assert_eq!(shop.left_behind(), Vec::<String>::new());
}

#[test]
fn a_seal_is_taken_off_and_a_bare_program_has_nothing_to_unpack() {
    let shop = Shop::with_key();
    let program = fs::read(shop.path("program")).unwrap();
    for place in ["before", "behind"] {
        assert_done(&shop.pack("release", &["--force", "--seal-place", place]));
        assert_done(&shop.uplift(&["unpack", NAME, "--force", "--out", "back"]));
        assert!(fs::read(shop.path("back")).unwrap() == program, "{place}");
    }
    let message = refused(&shop.uplift(&["unpack", "program", "--out", "other"]));
    assert!(message.contains("it is the program itself"), "{message}");
    assert!(!shop.path("other").exists());
}

/// The key need not be where the container is made: the stream is the same each time.
#[test]
fn minisign_signs_it_elsewhere() {
    let shop = Shop::with_key();
    let label = ["--product", "DEMO", "--version", "V02.00.00.00", "--public", "release.pub"];
    let pack = ["pack", "program", "--compress", "--manifest-only"];
    assert_done(&shop.uplift(&[&pack[..], &label].concat()));
    let manifest = "DEMO_V02.00.00.00.manifest";
    assert_done(&shop.run("minisign", &["-S", "-s", "release.key", "-m", manifest]));
    let signature = format!("{manifest}.minisig");
    let attach = ["pack", "program", "--attach", &signature, "--public", "release.pub"];
    assert_done(&shop.uplift(&attach));
    shop.configure("required", &["release"]);
    assert_done(&shop.uplift(&["check", NAME]));
    assert_done(&shop.uplift(&["unpack", NAME, "--out", "back"]));
    assert!(fs::read(shop.path("back")).unwrap() == fs::read(shop.path("program")).unwrap());
    assert_eq!(shop.left_behind(), Vec::<String>::new());
}

/// A script, a zip application and a program with a zip file behind its end: whatever reads them reads a
/// seal at their end, too.
const NEED_THEIR_END: &str = "
import os, zipapp, zipfile
os.mkdir('app')
open('app/__main__.py', 'w').write(\"print('V02.00.00.00')\")
zipapp.create_archive('app', 'zipapp', '/usr/bin/env python3')
open('script', 'w').write('#!/bin/sh\\necho V02.00.00.00\\n')
with open('bundled', 'wb') as bundled:
    bundled.write(open('program', 'rb').read())
    zipfile.ZipFile(bundled, 'a').writestr('model', 'weights')
";

#[test]
fn what_a_seal_behind_it_would_break_becomes_a_container_by_itself() {
    let shop = Shop::with_key();
    assert_done(&shop.run("python3", &["-c", NEED_THEIR_END]));
    let label = ["--product", "DEMO", "--version", "V02.00.00.00"];
    for (file, why, takes) in [
        (
            "script",
            "it is a script for \"/bin/sh\"",
            "no ELF program, so a component with `format = \"script\"`",
        ),
        (
            "zipapp",
            "it is a zip application for",
            "no ELF program, so a component with `format = \"script\"`",
        ),
        ("bundled", "bytes stand behind the end of the ELF file", ""),
    ] {
        let key = ["--key", "release.key", "--force"];
        let said = assert_done(&shop.uplift(&[&["pack", file], &label[..], &key].concat()));
        let begins = format!("{file} goes into a container, which leaves it as it is: ");
        let wanted = [begins.as_str(), why, "It is a container of", takes];
        assert!(wanted.iter().all(|part| said.contains(part)), "{said}");
        assert!(!said.contains("smaller without"), "nobody asked for it: {said}");
        assert_done(&shop.uplift(&["unpack", NAME, "--force", "--out", "back"]));
        assert!(fs::read(shop.path("back")).unwrap() == fs::read(shop.path(file)).unwrap());
        // Who signs elsewhere hears of it, and --attach makes the same.
        let elsewhere = ["--public", "release.pub", "--manifest-only", "--force"];
        let said = assert_done(&shop.uplift(&[&["pack", file], &label[..], &elsewhere].concat()));
        assert!(said.contains(&begins), "{said}");
        let manifest = "DEMO_V02.00.00.00.manifest";
        assert_done(&shop.run("minisign", &["-S", "-s", "release.key", "-m", manifest]));
        let signature = format!("{manifest}.minisig");
        let attach = ["pack", file, "--attach", &signature, "--public", "release.pub", "--force"];
        assert!(assert_done(&shop.uplift(&attach)).contains("It is a container of"));
        // Nothing is put behind it there, so nothing needs a cover.
        let unsigned = ["--unsigned", "--force"];
        assert_done(&shop.uplift(&[&["pack", file], &label[..], &unsigned].concat()));
        assert!(fs::read(shop.path(NAME)).unwrap() == fs::read(shop.path(file)).unwrap());
    }
    assert_eq!(shop.left_behind(), Vec::<String>::new());
}

#[test]
fn what_changes_an_old_program_is_kept_where_it_is_smaller_and_taken_out_with_it() {
    let shop = Shop::with_key();
    let mut random = fastrand::Rng::with_seed(4);
    let behind: Vec<u8> = (0..400_000).map(|_| random.u8(..)).collect();
    for name in ["program", "installed"] {
        let bytes = fs::read(shop.path(name)).unwrap();
        shop.file(name, &[&bytes[..], &behind].concat());
    }
    shop.file("unlike", &[1; 100]);
    let said = refused(&shop.pack("release", &["--from", "installed"]));
    assert!(said.contains("does not say which version it is"), "{said}");
    let old = ["--from", "V01.00.00.00=installed", "--from", "V00.00.00.01=unlike"];
    let said = assert_done(&shop.pack("release", &old));
    assert!(said.contains("Put in what changes V01.00.00.00: "), "{said}");
    assert!(said.contains("Left out what changes V00.00.00.01: "), "{said}");
    shop.configure("required", &["release"]);
    let explained = assert_done(&shop.uplift(&["check", NAME]));
    for part in ["would be accepted", "what changed since V01.00.00.00: ", "the whole program: "] {
        assert!(explained.contains(part), "{part}: {explained}");
    }
    let program = fs::read(shop.path("program")).unwrap();
    let unpack = |more: &[&str]| {
        shop.uplift(&[&["unpack", NAME, "--force", "--out", "back"], more].concat())
    };
    for more in [&[][..], &["--from", "installed"], &["--from", "unlike"]] {
        assert_done(&unpack(more));
        assert!(fs::read(shop.path("back")).unwrap() == program, "{more:?}");
    }
    assert_done(&shop.pack("release", &["--force", "--delta-only", old[0], old[1]]));
    assert!(shop.path(NAME).metadata().unwrap().len() < 10_000);
    assert_done(&shop.uplift(&["check", NAME]));
    for more in [&[][..], &["--from", "unlike"]] {
        assert!(refused(&unpack(more)).contains("only what changes V01.00.00.00"), "{more:?}");
    }
    assert_done(&unpack(&["--from", "installed"]));
    assert!(fs::read(shop.path("back")).unwrap() == program);
    let said = refused(&shop.pack("release", &["--force", "--delta-only", old[2], old[3]]));
    assert!(said.contains("no change of an old program is smaller"), "{said}");
    let said = refused(&shop.pack("release", &["--force", "--from", "V01.00.00.00=program"]));
    assert!(said.contains("is the new one itself"), "{said}");
    assert_eq!(shop.left_behind(), Vec::<String>::new());
}
