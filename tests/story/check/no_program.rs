//! Files that are no program, as stock tools make them: each is called what it is, with a hint that
//! fits.

use std::fs;
use std::process::Command;

use super::{RIGHT, Sandbox};

/// Makes one of each in the directory where it runs.
const MAKE: &str = r##"
import bz2, gzip, io, lzma, os, shutil, tarfile, zipapp, zipfile
def write(name, data): open(name, "wb").write(data)
app = b"import sys\nprint('V02.00.00.00')\n"
write("script", b"#!/usr/bin/env python3\n" + app)
os.mkdir("app"); write("app/__main__.py", app)
zipapp.create_archive("app", "zipapp", "/usr/bin/python3")
with zipfile.ZipFile("zip", "w") as archive: archive.write("script")
zipfile.ZipFile("empty-zip", "w").close()
for name, mode in [("tar", "w"), ("tar.gz", "w:gz")]:
    with tarfile.open(name, mode) as archive: archive.add("script")
write("gz", gzip.compress(app)); write("bz2", bz2.compress(app)); write("xz", lzma.compress(app))
write("text", app); write("json", b'{"version": 2}\n'); write("page", b"<!DOCTYPE html>\n<html><body>404</body></html>\n")
write("zeros", bytes(5000)); write("object.c", b"int x;\n")
"##;
/// The rest is made by Debian's own tools.
const MAKE_MORE: &str = "set -e; cc -c -o object object.c; ar rc library object
    mkdir -p package/DEBIAN; printf 'Package: p\\nVersion: 1\\nArchitecture: all\\nMaintainer: m <m@e.org>\\nDescription: d\\n' > package/DEBIAN/control
    dpkg-deb --build package deb >/dev/null";

#[test]
fn each_is_called_what_it_is_with_what_to_do_instead() {
    let sandbox = Sandbox::new("");
    for (tool, code) in [("python3", MAKE), ("sh", MAKE_MORE)] {
        let output =
            Command::new(tool).args(["-c", code]).current_dir(sandbox.0.path()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    const CARRY: &str = "a component with `format = \"script\"` takes s";
    const UNPACK: &str = "send the program itself, unpacked";
    for (file, sentence, hint) in [
        ("script", "the file is a script for \"/usr/bin/env python3\", not an ELF program", CARRY),
        (
            "zipapp",
            "the file is a zip application for \"/usr/bin/python3\", not an ELF program",
            CARRY,
        ),
        ("zip", "the file is a zip archive, not an ELF program", UNPACK),
        ("empty-zip", "the file is a zip archive, not an ELF program", UNPACK),
        ("tar", "the file is a tar archive, not an ELF program", UNPACK),
        ("tar.gz", "the file is a gzip file, not an ELF program", UNPACK),
        ("gz", "the file is a gzip file, not an ELF program", UNPACK),
        ("bz2", "the file is a bzip2 file, not an ELF program", UNPACK),
        ("xz", "the file is an xz file, not an ELF program", UNPACK),
        ("library", "the file is an ar archive, not an ELF program", UNPACK),
        (
            "deb",
            "the file is a Debian package, not an ELF program",
            "send the program that is in the package",
        ),
        ("text", "the file is text, not an ELF program", "send the program itself"),
        ("json", "the file is text, not an ELF program", "send the program itself"),
        ("page", "the file is a web page, not an ELF program", "send the program itself"),
        (
            "zeros",
            "the file is not an ELF program: it begins with nothing but zeros",
            "the file was not written completely",
        ),
        (
            "object",
            "the file is an object file, not a program",
            "link the object file into a program",
        ),
    ] {
        fs::rename(sandbox.0.path().join(file), sandbox.0.path().join(RIGHT)).unwrap();
        assert_eq!(sandbox.refused(RIGHT), ("wrong-machine".into(), sentence.into()), "{file}");
        let told = sandbox.hint(RIGHT);
        assert!(told.starts_with(hint), "{file}: {told}");
        // Who packs hears what it is, and is stopped where it came about by mistake.
        let mut pack = Command::new(env!("CARGO_BIN_EXE_uplift"));
        let label =
            ["--unsigned", "--force", "--product", "DEMO", "--version", "V02.00.00.01", RIGHT];
        pack.arg("pack").args(label).current_dir(sandbox.0.path());
        let output = pack.output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        let mistaken = hint.starts_with("send the program itself") && hint != UNPACK
            || hint.starts_with("the file was not");
        assert_eq!(output.status.success(), !mistaken, "{file}: {said}");
        let (what, _) = sentence["the file is ".len()..].split_once(", ").unwrap_or_default();
        let told =
            if mistaken { "seals it all the same" } else { "no ELF program, so a component" };
        let wanted = if file == "object" { "" } else { what };
        assert!(said.contains(wanted) && said.contains(told), "{file}: {said}");
    }
}
