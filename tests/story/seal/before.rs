//! Seals that stand before the payload: of a Debian package, a script, a bundle, and a program that
//! reads its own end.

use std::fs;

use serde_json::Value;

use super::shop::{Shop, assert_done, refused};

const NAME: &str = "DEMO_V02.00.00.00.bin";
const SCRIPT: &[u8] = b"#!/bin/sh\necho V02.00.00.00\n";

/// A package as Debian's own tool makes it.
const PACKAGE: &str = "mkdir -p deb/DEBIAN && printf 'Package: p\\nVersion: 1\\nArchitecture: all\\nMaintainer: m <m@e.org>\\nDescription: d\\n' > deb/DEBIAN/control && dpkg-deb -b deb modem.deb";

/// With a payload of each kind.
fn shop() -> Shop {
    let shop = Shop::with_key();
    assert_done(&shop.run("sh", &["-c", PACKAGE]));
    shop.file("script", SCRIPT);
    // A bundle of RAUC is a squashfs image with a signature and its size behind it.
    shop.file("bundle", &[&b"hsqs"[..], &[7; 300_000], &[0, 0, 0, 0, 0, 0, 5, 1]].concat());
    shop
}

fn pack(shop: &Shop, file: &str, more: &[&str]) -> std::process::Output {
    let label =
        ["pack", file, "--product", "DEMO", "--version", "V02.00.00.00", "--key", "release.key"];
    shop.uplift(&[&label[..], &["--force"], more].concat())
}

fn checked(shop: &Shop) -> Value {
    serde_json::from_slice(&shop.check_alone(&["--json", NAME]).stdout).unwrap()
}

#[test]
fn what_is_no_program_is_sealed_before_it_and_says_what_takes_it() {
    let shop = shop();
    for (file, what) in [
        (
            "modem.deb",
            "It is a Debian package and no ELF program, so a component with `format = \"any\"`",
        ),
        (
            "bundle",
            "It is a squashfs image and no ELF program, so a component with `format = \"any\"`",
        ),
    ] {
        let said = assert_done(&pack(&shop, file, &[]));
        assert!(said.contains("stands before the payload") && said.contains(what), "{said}");
        let (sealed, payload) =
            (fs::read(shop.path(NAME)).unwrap(), fs::read(shop.path(file)).unwrap());
        assert!(sealed.ends_with(&payload), "{file} is untouched");
        // On the machine that makes releases there is no configuration.
        let explained = assert_done(&shop.check_alone(&[NAME]));
        assert!(
            explained.contains("is right as far as it can be judged here")
                && explained.contains("sealed as     product \"DEMO\", version V02.00.00.00")
                && explained.contains("for           \"any\""),
            "{explained}"
        );
        let document = checked(&shop);
        assert_eq!(document["seal"]["manifest"]["place"], "before");
        assert_eq!(document["seal"]["manifest"]["sha256"], document["program_digest"]);
        assert_ne!(document["program_digest"], document["file_digest"]);
        assert!(refused(&pack(&shop, NAME, &[])).contains("sealed already: as \"DEMO\""));
    }
    assert_eq!(shop.left_behind(), Vec::<String>::new());
    // A payload of programs says what it is.
    shop.configure("required", &["release"]);
    let message = refused(&shop.uplift(&["check", NAME]));
    assert!(message.contains("a squashfs image, not an ELF program"), "{message}");
}

/// What somebody can do with standard tools alone, as docs/use/seal.md tells it.
#[test]
fn it_is_cut_off_again_by_hand() {
    let shop = shop();
    assert_done(&pack(&shop, "modem.deb", &[]));
    let script = format!(
        "set -e; f={NAME}; number() {{ tail -c +$1 $f | head -c 4 | od -An -tu4 --endian=little | tr -d ' '; }}
         m=$(number 13); s=$(number 17); tail -c +33 $f | head -c $m > by-hand; tail -c +$((m + 33)) $f | head -c $s > by-hand.minisig
         tail -c +$((m + s + 33)) $f > by-hand.deb; cmp by-hand.deb modem.deb; dpkg-deb --info by-hand.deb"
    );
    assert!(assert_done(&shop.run("sh", &["-c", &script])).contains("Package: p"));
    assert_done(&shop.run("minisign", &["-V", "-p", "release.pub", "-m", "by-hand"]));
}

#[test]
fn a_program_may_have_it_there_too_and_keeps_its_end() {
    let shop = shop();
    let with_data = [&fs::read(shop.path("program")).unwrap()[..], b"data"].concat();
    for bytes in [fs::read(shop.path("program")).unwrap(), with_data] {
        shop.file("program", &bytes);
        let output = pack(&shop, "program", &["--seal-place", "before"]);
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "nothing stands behind it");
        assert_done(&output);
        shop.configure("required", &["release"]);
        let explained = assert_done(&shop.uplift(&["check", NAME]));
        assert!(
            explained.contains("would be accepted")
                && explained.contains("once it lies there without"),
            "{explained}"
        );
    }
}

#[test]
fn a_seal_behind_what_is_no_program_is_not_made() {
    let shop = shop();
    for file in ["script", "modem.deb"] {
        let message = refused(&pack(&shop, file, &["--seal-place", "behind"]));
        assert!(
            message.contains("is no ELF program") && message.contains("hint: --seal-place before"),
            "{message}"
        );
    }
    for (file, bytes) in [("page", &b"<html>404</html>\n"[..]), ("zeros", &[0; 500])] {
        shop.file(file, bytes);
        assert!(refused(&pack(&shop, file, &[])).contains("--seal-place before seals it all the"));
        assert_done(&pack(&shop, file, &["--seal-place", "before"]));
    }
    // A server may want to recognise it; its updater is handed it without the seal.
    shop.file("archive", b"070701 and so on");
    assert_done(&pack(&shop, "archive", &["--seal-place", "behind"]));
    shop.file("nothing", b"");
    assert!(refused(&pack(&shop, "nothing", &["--seal-place", "before"])).contains("it is empty"));
    assert_eq!(shop.left_behind(), Vec::<String>::new());
}

#[test]
fn minisign_signs_it_elsewhere() {
    let shop = shop();
    let label = ["--product", "DEMO", "--version", "V02.00.00.00", "--public", "release.pub"];
    assert_done(&shop.uplift(&[&["pack", "modem.deb", "--manifest-only"], &label[..]].concat()));
    let manifest = "DEMO_V02.00.00.00.manifest";
    assert!(fs::read_to_string(shop.path(manifest)).unwrap().contains("\"place\": \"before\""));
    assert_done(&shop.run("minisign", &["-S", "-W", "-s", "release.key", "-m", manifest]));
    let signature = format!("{manifest}.minisig");
    let attach = ["pack", "modem.deb", "--attach", &signature, "--public", "release.pub"];
    assert!(assert_done(&shop.uplift(&attach)).contains("stands before the payload"));
    assert_done(&shop.check_alone(&[NAME]));
}

#[test]
fn without_a_seal_it_needs_the_configuration_s_word() {
    let shop = shop();
    let unsigned =
        ["pack", "modem.deb", "--product", "DEMO", "--version", "V02.00.00.00", "--unsigned"];
    let said = assert_done(&shop.uplift(&unsigned));
    assert!(said.contains("`allow_unproven_end = true`") && said.contains("format = \"any\""));
    assert_eq!(fs::read(shop.path(NAME)).unwrap(), fs::read(shop.path("modem.deb")).unwrap());
}
