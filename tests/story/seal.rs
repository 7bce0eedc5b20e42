//! `uplift keygen`, `pack` and `check` with seals, against minisign's own tool; and no changed bit
//! is ever let in.

mod before;
mod behind;
mod bit_flips;
pub(crate) mod shop;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;

use uplift::config::Config;

use shop::{Shop, assert_done, refused};

const NAME: &str = "DEMO_V02.00.00.00.bin";
const MANIFEST: &str = "DEMO_V02.00.00.00.manifest";

#[test]
fn keys_are_made_packed_with_and_trusted() {
    let shop = Shop::new();
    let made = assert_done(&shop.uplift(&["keygen", "--out", "release", "--no-password"]));
    assert_eq!(shop.path("release.key").metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let id = shop.key_id("release");
    assert!(made.contains(&id) && made.contains(&shop.public("release")), "{made}");
    assert_done(&shop.pack("release", &["--replaces-from", "V01.00.00.00"]));
    assert_eq!(shop.left_behind(), Vec::<String>::new());
    assert_eq!(
        shop.path(NAME).metadata().unwrap().permissions().mode(),
        shop.path("program").metadata().unwrap().permissions().mode()
    );

    shop.configure("required", &["release"]);
    let explained = assert_done(&shop.uplift(&["check", NAME]));
    for part in [
        "product \"DEMO\", version V02.00.00.00, replaces V01.00.00.00 and higher",
        &format!("key {id} (release), trusted here"),
        "ok      seal        signed by key",
        "the program prints version V02.00.00.00",
        "It would replace",
        "then: reboot.",
    ] {
        assert!(explained.contains(part), "{part}: {explained}");
    }
    let document: Value =
        serde_json::from_str(&assert_done(&shop.uplift(&["check", "--json", NAME]))).unwrap();
    let seal = &document["seal"];
    assert_eq!(
        (&seal["signer"], &seal["key_id"], &seal["note"]),
        (&"trusted".into(), &id.as_str().into(), &"release".into())
    );
    assert_eq!(
        (&seal["manifest"]["product"], &seal["manifest"]["sha256"]),
        (&"DEMO".into(), &document["program_digest"])
    );
    assert_ne!(document["program_digest"], document["file_digest"]);
}

/// What is printed stands at the end of the shipped configuration as it is, for one key and for
/// several.
#[test]
fn what_keygen_prints_can_be_pasted_into_the_shipped_configuration() {
    let shop = Shop::new();
    let mut text = include_str!("../../config/uplift.toml").to_owned();
    for key in ["release", "second"] {
        let printed = assert_done(&shop.uplift(&["keygen", "--out", key, "--no-password"]));
        text += &printed[printed.find("[[").unwrap()..];
        let config = Config::parse(&text, Path::new("uplift.toml")).unwrap();
        assert_eq!(config.package.keys.last().unwrap().public, shop.public(key).parse().unwrap());
        assert_eq!(config.package.keys.len(), if key == "release" { 1 } else { 2 });
    }
}

#[test]
fn an_unsigned_file_is_the_program_under_its_name() {
    let shop = Shop::new();
    let label = ["--product", "DEMO", "--version", "V02.00.00.00", "--unsigned"];
    let said = assert_done(&shop.uplift(&[&["pack", "program"], &label[..]].concat()));
    assert!(
        said.contains("without a seal")
            && said.contains("refuses it")
            && !said.contains("unproven"),
        "{said}"
    );
    assert_eq!(fs::read(shop.path(NAME)).unwrap(), fs::read(shop.path("program")).unwrap());
    shop.configure("optional", &[]);
    assert_done(&shop.uplift(&["check", NAME]));
    // What is no whole program gets no name.
    shop.file("short", &fs::read(shop.path("program")).unwrap()[..2000]);
    assert!(
        refused(&shop.uplift(&[&["pack", "short", "--force"], &label[..]].concat()))
            .contains("cut off")
    );
    assert_eq!(shop.left_behind(), Vec::<String>::new());
}

#[test]
fn a_wrong_key_is_named_before_a_password_is_asked_for() {
    let shop = Shop::with_key();
    shop.file("password", b"correct horse\n");
    shop.file("text", b"a text\nand another\n");
    shop.file("binary", &[0xff; 100]);
    let pack = |key: &str, more: &[&str]| {
        let label =
            ["pack", "program", "--product", "DEMO", "--version", "V02.00.00.00", "--key", key];
        refused(&shop.uplift(&[&label[..], more].concat()))
    };
    for (key, complaint) in [
        (
            "release.pub",
            "the key release.pub can't be used: it is the public half of a key; the secret half signs, a .key file",
        ),
        ("text", "the key text can't be used: it is not a minisign secret key"),
        ("binary", "binary is no secret key: it is not text"),
        ("nokey", "the secret key nokey can't be read: No such file or directory"),
        ("program", "program is no secret key"),
    ] {
        let message = pack(key, &[]);
        assert!(
            message.starts_with(&format!("uplift: {complaint}")) && !message.contains("os error"),
            "{message}"
        );
    }
    assert!(
        pack("release.key", &["--password-file", "none"])
            .contains("the password file none can't be read")
    );
    let secret_as_public = [
        "pack",
        "program",
        "--product",
        "DEMO",
        "--version",
        "V02.00.00.00",
        "--manifest-only",
        "--public",
        "release.key",
    ];
    assert!(refused(&shop.uplift(&secret_as_public)).contains("release.key is no public key"));
}

#[test]
fn without_a_terminal_nobody_is_asked_and_the_hint_says_how_to_do_without() {
    let shop = Shop::new();
    for message in [refused(&shop.uplift(&["keygen"])), {
        shop.file("password", b"correct horse\n");
        assert_done(&shop.uplift(&["keygen", "--out", "release", "--password-file", "password"]));
        refused(&shop.pack("release", &[]))
    }] {
        assert!(
            message.starts_with("uplift: the password can't be asked for: there is no terminal\nhint: give it with --password-file"),
            "{message}"
        );
    }
    assert_eq!(shop.left_behind(), Vec::<String>::new());
}

#[test]
fn a_sealed_program_still_runs_and_is_cut_out_again_by_hand() {
    let shop = Shop::with_key();
    assert_done(&shop.pack("release", &[]));
    let told = std::process::Command::new(shop.path(NAME)).arg("--version").output().unwrap();
    assert_eq!(told.stdout, b"V02.00.00.00\n");
    // As docs/use/seal.md tells it.
    let script = format!(
        "set -e; f={NAME}; number() {{ tail -c $1 $f | head -c 4 | od -An -tu4 --endian=little | tr -d ' '; }}
         m=$(number 28); s=$(number 24); tail -c $((m + s + 32)) $f | head -c $m > by-hand; tail -c $((s + 32)) $f | head -c $s > by-hand.minisig
         head -c -$((m + s + 32)) $f > program-by-hand"
    );
    assert_done(&shop.run("sh", &["-c", &script]));
    assert_eq!(
        fs::read(shop.path("program-by-hand")).unwrap(),
        fs::read(shop.path("program")).unwrap()
    );
    assert_done(&shop.run("minisign", &["-V", "-p", "release.pub", "-m", "by-hand"]));
    fs::OpenOptions::new()
        .append(true)
        .open(shop.path("by-hand"))
        .and_then(|mut file| std::io::Write::write_all(&mut file, b" "))
        .unwrap();
    assert!(!shop.run("minisign", &["-V", "-p", "release.pub", "-m", "by-hand"]).status.success());
}

#[test]
fn minisign_signs_elsewhere() {
    let shop = Shop::new();
    assert_done(&shop.run("minisign", &["-G", "-W", "-p", "offline.pub", "-s", "offline.key"]));
    let made = [
        "--product",
        "DEMO",
        "--version",
        "V02.00.00.00",
        "--manifest-only",
        "--public",
        "offline.pub",
    ];
    assert_done(&shop.uplift(&[&["pack", "program"], &made[..]].concat()));
    let attach = [
        "pack",
        "program",
        "--attach",
        "DEMO_V02.00.00.00.manifest.minisig",
        "--public",
        "offline.pub",
    ];
    assert!(refused(&shop.uplift(&attach)).contains("can't be read"));
    assert_done(&shop.run("minisign", &["-S", "-W", "-s", "offline.key", "-m", MANIFEST]));
    assert_done(&shop.uplift(&attach));
    shop.configure("required", &["offline"]);
    assert_done(&shop.uplift(&["check", NAME]));

    // Another key, another program, an old signature, and a file that is there already.
    assert!(refused(&shop.uplift(&attach)).contains("exists already\nhint: --force"));
    assert_done(&shop.uplift(&["keygen", "--out", "other", "--no-password"]));
    let by_other = [
        "pack",
        "program",
        "--attach",
        "DEMO_V02.00.00.00.manifest.minisig",
        "--public",
        "other.pub",
        "--force",
    ];
    assert!(refused(&shop.uplift(&by_other)).contains("and the public key is"));
    let of_other = [&["pack", "/bin/true"], &attach[2..], &["--force"]].concat();
    assert!(refused(&shop.uplift(&of_other)).contains("is not the program that"));
    assert_done(&shop.run("minisign", &["-S", "-l", "-W", "-s", "offline.key", "-m", MANIFEST]));
    assert!(
        refused(&shop.uplift(&[&attach[..], &["--force"]].concat())).contains("legacy signature")
    );
    assert_done(&shop.uplift(&["check", NAME]));
    assert_eq!(shop.left_behind(), Vec::<String>::new());
}

#[test]
fn keys_of_both_tools_are_the_same_and_passwords_come_from_a_file() {
    let shop = Shop::new();
    shop.file("password", b"correct horse\nnot this line\n");
    shop.file("wrong", b"wrong\n");
    assert_done(&shop.uplift(&["keygen", "--out", "release", "--password-file", "password"]));
    let message = refused(&shop.pack("release", &["--password-file", "wrong"]));
    assert_eq!(
        message.lines().next(),
        Some("uplift: the key release.key can't be used: the password is wrong")
    );
    assert_done(&shop.pack("release", &["--password-file", "password"]));
    // Without a terminal nobody can be asked.
    assert!(refused(&shop.pack("release", &["--force"])).contains("--password-file"));
    // The tool takes both kinds of our keys, and we take its.
    shop.file("message", b"text");
    assert_done(
        &shop.run("sh", &["-c", "echo correct horse | minisign -S -s release.key -m message && minisign -V -p release.pub -m message"]),
    );
    assert_done(&shop.uplift(&["keygen", "--out", "plain", "--no-password"]));
    assert_done(&shop.run("minisign", &["-S", "-W", "-s", "plain.key", "-m", "message"]));
    assert_done(&shop.run("minisign", &["-V", "-p", "plain.pub", "-m", "message"]));
    assert_done(&shop.run("minisign", &["-G", "-W", "-p", "theirs.pub", "-s", "theirs.key"]));
    assert_done(&shop.pack("theirs", &["--force"]));
    shop.configure("required", &["release", "theirs"]);
    assert_done(&shop.uplift(&["check", NAME]));
}

#[test]
fn nothing_is_replaced_and_nothing_half_done_is_left() {
    let shop = Shop::with_key();
    let secret = fs::read(shop.path("release.key")).unwrap();
    assert!(
        refused(&shop.uplift(&["keygen", "--out", "release", "--no-password"]))
            .contains("exists already")
    );
    assert_eq!(fs::read(shop.path("release.key")).unwrap(), secret);
    assert_done(&shop.pack("release", &[]));
    assert!(
        refused(&shop.pack("release", &[])).contains("exists already\nhint: --force replaces it")
    );
    let pack = |program: &str| {
        shop.uplift(&[
            "pack",
            program,
            "--product",
            "DEMO",
            "--version",
            "V03.00.00.00",
            "--key",
            "release.key",
        ])
    };
    assert!(refused(&pack(NAME)).contains("sealed already: as \"DEMO\" V02.00.00.00, by key"));
    let message = refused(&pack("release.pub"));
    assert!(
        message.contains("release.pub is a key or signature of minisign, not an ELF program")
            && message.contains("--seal-place before seals it all the same"),
        "{message}"
    );
    assert!(refused(&pack("nothing")).contains("nothing can't be read"));
    let whole = fs::read(shop.path("program")).unwrap();
    shop.file("short", &whole[..whole.len() - 1]);
    assert!(
        refused(&pack("short")).contains("the program is cut off: at least 1 bytes are missing")
    );
    assert!(!shop.path("DEMO_V03.00.00.00.bin").exists());
    assert_eq!(shop.left_behind(), Vec::<String>::new());
}

#[test]
fn a_wrong_command_line_is_exit_code_2() {
    let shop = Shop::with_key();
    let label = ["--product", "DEMO", "--version", "V02.00.00.00"];
    for (arguments, complaint) in [
        (&["program"][..], "--product"),
        (&[&["program"], &label[..]].concat(), "--key"),
        (&[&["program", "--manifest-only"], &label[..]].concat(), "--public"),
        (&["program", "--attach", "x.minisig"], "--public"),
        (
            &["program", "--product", "DEMO", "--version", "2.0", "--key", "release.key"],
            "is not a version",
        ),
        (
            &[&["program", "--key", "release.key", "--created", "yesterday"], &label[..]].concat(),
            "--created",
        ),
    ] {
        let output = shop.uplift(&[&["pack"], arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        assert!(
            String::from_utf8_lossy(&output.stderr).contains(complaint),
            "{arguments:?}: {output:?}"
        );
    }
    assert!(
        refused(&shop.uplift(&[
            "pack",
            "program",
            "--product",
            "A/B",
            "--version",
            "V01.00.00.00",
            "--key",
            "release.key"
        ]))
        .contains("contains '/'")
    );
}

#[test]
fn each_seal_that_is_not_to_be_believed_is_explained() {
    let shop = Shop::with_key();
    assert_done(&shop.uplift(&["keygen", "--out", "other", "--no-password"]));
    assert_done(&shop.pack("other", &[]));
    shop.configure("optional", &["release"]);
    let output = shop.uplift(&["check", NAME]);
    let explained = String::from_utf8_lossy(&output.stdout);
    assert!(
        explained.contains("not trusted here") && explained.contains("[seal-invalid]"),
        "{explained}"
    );
    assert!(
        refused(&output)
            .contains(&format!("this payload trusts only {} (release)", shop.key_id("release")))
    );
    shop.configure("optional", &[]);
    assert!(
        assert_done(&shop.uplift(&["check", NAME]))
            .contains("which is not checked: no keys are configured")
    );
    shop.configure("required", &["release"]);
    fs::rename(shop.path("program"), shop.path(NAME)).unwrap();
    assert!(
        refused(&shop.uplift(&["check", NAME])).contains("this payload accepts sealed files only")
    );
}
