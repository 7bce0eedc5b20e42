//! Programs with data behind the end of their ELF file: some look for it at the end of their own
//! file, where a seal stands once they are sealed.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;

use uplift_fixtures::elf::{Architecture, Program};

use super::shop::{Shop, assert_done, refused};

const NAME: &str = "DEMO_V02.00.00.00.bin";
/// The last 24 bytes of its own file are its version, as runtimes keep the program that they carry;
/// without them it is bare.
const READS_ITS_END: &str = r#"
#include <stdio.h>
#include <string.h>
int main(void) {
    char end[24] = "";
    FILE *self = fopen("/proc/self/exe", "rb");
    if (!self || fseek(self, -24, SEEK_END) || fread(end, 1, 24, self) != 24) return 3;
    puts(memcmp(end, "PAYLOAD: ", 9) ? "bare runtime 1.1.0" : end + 9);
    return 0;
}
"#;
/// How it is packed so where `pack` itself would take a container.
const SO: [&str; 2] = ["--seal-place", "behind"];
const BEHIND: &[u8; 24] = b"PAYLOAD: V02.00.00.00\0\0\0";

/// A shop with a key, whose program is this.
fn shop(program: &[u8]) -> Shop {
    let shop = Shop::with_key();
    shop.file("program", program);
    shop
}

fn tiny() -> Program {
    Program::new(Architecture::host().unwrap(), [2, 0, 0, 0])
}

fn followed(program: &Program) -> Vec<u8> {
    [&program.bytes()[..], b"data"].concat()
}

fn note(output: &Output) -> String {
    assert_done(output);
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn one_that_looks_for_them_there_is_not_sealed_without_force() {
    let shop = shop(b"");
    shop.file("reads.c", READS_ITS_END.as_bytes());
    assert_done(&shop.run("cc", &["-o", "reads", "reads.c"]));
    shop.file("program", &[&fs::read(shop.path("reads")).unwrap()[..], BEHIND].concat());
    assert_eq!(assert_done(&shop.run("./program", &[])), "V02.00.00.00\n");

    let message = refused(&shop.pack("release", &SO));
    let wanted = [
        "24 bytes stand behind the end of the ELF file",
        "prints \"V02.00.00.00\", and sealed it prints \"bare runtime 1.1.0\"",
        "--force",
    ];
    assert!(wanted.iter().all(|part| message.contains(part)), "{message}");
    assert!(!shop.path(NAME).exists());
    assert_eq!(shop.left_behind(), Vec::<String>::new());

    assert!(
        note(&shop.pack("release", &[SO[0], SO[1], "--force"]))
            .contains("sealed it prints \"bare runtime")
    );
    assert_eq!(assert_done(&shop.run(&format!("./{NAME}"), &[])), "bare runtime 1.1.0\n");
    assert_eq!(shop.left_behind(), Vec::<String>::new());

    // The way that leaves it as it is.
    let label = [
        "pack",
        "program",
        "--product",
        "DEMO",
        "--version",
        "V02.00.00.00",
        "--unsigned",
        "--force",
    ];
    assert!(assert_done(&shop.uplift(&label)).contains("`allow_unproven_end = true`"));
    assert_eq!(assert_done(&shop.run(&format!("./{NAME}"), &[])), "V02.00.00.00\n");
    // And the one that is taken by itself, under a seal.
    let said = assert_done(&shop.pack("release", &["--force"]));
    assert!(
        said.contains(
            "program goes into a container, which leaves it as it is: 24 bytes stand behind"
        ) && said.contains("sealed by key"),
        "{said}"
    );
    assert_done(&shop.uplift(&["unpack", NAME, "--out", "back"]));
    assert_eq!(assert_done(&shop.run("./back", &[])), "V02.00.00.00\n");
}

#[test]
fn one_that_does_not_care_is_sealed_with_a_note() {
    let shop = shop(&followed(&tiny()));
    let note = note(&shop.pack("release", &SO));
    assert!(
        note.contains("note: 4 bytes stand behind") && note.contains("prints the same as before"),
        "{note}"
    );
    let told = assert_done(&shop.run(&format!("./{NAME}"), &["--version"]));
    assert_eq!(told, "V02.00.00.00\n");
}

#[test]
fn nothing_is_said_of_one_without() {
    let shop = Shop::with_key();
    assert_eq!(note(&shop.pack("release", &[])), "");
    // `uplift` among them: a payload whose version knows no containers takes it.
    let label = ["--product", "DEMO", "--version", "V02.00.00.00", "--key", "release.key"];
    let itself = ["pack", env!("CARGO_BIN_EXE_uplift"), "--force"];
    let said = assert_done(&shop.uplift(&[&itself[..], &label].concat()));
    assert!(!said.contains("container"), "{said}");
    assert!(fs::read(shop.path(NAME)).unwrap().starts_with(b"\x7fELF"));
}

/// It gives its own name in its answer, and that differs.
#[test]
fn the_name_that_a_program_prints_is_no_difference() {
    let shop = shop(b"");
    let source = "#include <stdio.h>\nint main(int n, char **names) { puts(names[0]); return 2; }";
    shop.file("names.c", source.as_bytes());
    assert_done(&shop.run("cc", &["-o", "names", "names.c"]));
    shop.file("program", &[&fs::read(shop.path("names")).unwrap()[..], b"data"].concat());
    assert!(note(&shop.pack("release", &SO)).contains("prints the same as before"));
}

#[test]
fn one_that_can_not_be_run_here_is_sealed_with_a_note() {
    let shop = shop(&followed(&tiny()));
    fs::set_permissions(shop.path("program"), Permissions::from_mode(0o644)).unwrap();
    let text = note(&shop.pack("release", &SO));
    assert!(
        text.contains("can't be tried here (Permission denied)")
            && text.contains("try the file before you send it"),
        "{text}"
    );
}

#[test]
fn one_that_does_not_end_is_not_waited_for_for_ever() {
    let shop = shop(&followed(&tiny().hanging()));
    assert!(
        note(&shop.pack("release", &SO)).contains("can't be tried here (it did not end in time)")
    );
}

#[test]
fn who_signs_elsewhere_hears_of_them_twice() {
    let shop = shop(&followed(&tiny()));
    let made = [
        "pack",
        "program",
        "--product",
        "DEMO",
        "--version",
        "V02.00.00.00",
        "--manifest-only",
        "--public",
        "release.pub",
        SO[0],
        SO[1],
    ];
    assert!(note(&shop.uplift(&made)).contains("4 bytes stand behind"));
    assert_done(
        &shop.run(
            "minisign",
            &["-S", "-W", "-s", "release.key", "-m", "DEMO_V02.00.00.00.manifest"],
        ),
    );
    let attach = [
        "pack",
        "program",
        "--attach",
        "DEMO_V02.00.00.00.manifest.minisig",
        "--public",
        "release.pub",
    ];
    assert!(note(&shop.uplift(&attach)).contains("prints the same as before"));
}
