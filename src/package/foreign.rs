//! What a file is that is no ELF program, by its first bytes: for a sentence and a hint that fit.
//!
//! A guess for people, and for the cover that `uplift pack` gives a file. Nothing else is decided by it.

use std::fmt;

use crate::tree;

/// How many of a file's first bytes are looked at: the first block of a tar archive.
pub const LOOKED_AT: u64 = 512;
/// Most characters of a script's first line that are quoted.
const LONGEST_INTERPRETER: usize = 80;

/// What a file is that is no ELF program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Foreign {
    /// A script, and what it names as its interpreter.
    Script(String),
    /// A zip file that is started as a script, such as Python's zipapp makes.
    ScriptWithZip(String),
    /// An archive or a compressed file, by its usual name.
    Archive(&'static str),
    /// A package of a distribution, by its usual name.
    Package(&'static str),
    /// A program for something else than Linux, by its usual name.
    OtherProgram(&'static str),
    /// Text, by its usual name.
    Text(&'static str),
    /// A directory as one file, as `uplift pack` makes it.
    Tree,
    /// Nothing but zeros, as far as was looked.
    Zeros,
    /// Anything else.
    Unknown,
}

/// First bytes, and what begins with them.
const MAGICS: [(&[u8], Foreign); 22] = [
    (&tree::MAGIC, Foreign::Tree),
    (b"PK\x03\x04", Foreign::Archive("zip archive")),
    (b"PK\x05\x06", Foreign::Archive("zip archive")),
    (b"\x1f\x8b", Foreign::Archive("gzip file")),
    (b"\xfd7zXZ\0", Foreign::Archive("xz file")),
    (b"BZh", Foreign::Archive("bzip2 file")),
    (b"\x28\xb5\x2f\xfd", Foreign::Archive("Zstandard file")),
    (b"7z\xbc\xaf\x27\x1c", Foreign::Archive("7z archive")),
    (b"hsqs", Foreign::Archive("squashfs image")),
    (b"070701", Foreign::Archive("cpio archive")),
    (b"070702", Foreign::Archive("cpio archive")),
    (b"!<arch>\ndebian-binary", Foreign::Package("Debian package")),
    (b"!<arch>\n", Foreign::Archive("ar archive")),
    (b"\xed\xab\xee\xdb", Foreign::Package("RPM package")),
    (b"MZ", Foreign::OtherProgram("program for Windows")),
    (b"\xcf\xfa\xed\xfe", Foreign::OtherProgram("program for macOS")),
    (b"\xce\xfa\xed\xfe", Foreign::OtherProgram("program for macOS")),
    (b"\0asm", Foreign::OtherProgram("WebAssembly module")),
    (b"<!DOCTYPE", Foreign::Text("web page")),
    (b"<!doctype", Foreign::Text("web page")),
    (b"<html", Foreign::Text("web page")),
    (b"untrusted comment:", Foreign::Text("key or signature of minisign")),
];
/// Where a tar archive says that it is one.
const TAR_MAGIC: (usize, &[u8]) = (257, b"ustar");
/// Begins a Java class, and a program for several of Apple's machines, which then counts them: few.
const CLASS_OR_FAT: &[u8] = b"\xca\xfe\xba\xbe\0\0\0";
const MOST_APPLE_MACHINES: u8 = 20;

/// What a file with these first bytes is; [`LOOKED_AT`] of them, or all of a smaller file.
pub fn recognise(head: &[u8]) -> Foreign {
    if let Some(script) = head.strip_prefix(b"#!") {
        return recognise_script(script);
    }
    if let Some((_, foreign)) = MAGICS.iter().find(|(magic, _)| head.starts_with(magic)) {
        return foreign.clone();
    }
    if head.get(TAR_MAGIC.0..).is_some_and(|rest| rest.starts_with(TAR_MAGIC.1)) {
        return Foreign::Archive("tar archive");
    }
    if let Some(count) = head.strip_prefix(CLASS_OR_FAT).and_then(|rest| rest.first()) {
        return Foreign::OtherProgram(if *count < MOST_APPLE_MACHINES {
            "program for macOS"
        } else {
            "Java class"
        });
    }
    match head {
        [] => Foreign::Unknown,
        _ if head.iter().all(|&byte| byte == 0) => Foreign::Zeros,
        _ if is_text(head) => Foreign::Text("text"),
        _ => Foreign::Unknown,
    }
}

fn recognise_script(script: &[u8]) -> Foreign {
    let mut parts = script.splitn(2, |&byte| byte == b'\n');
    let line = String::from_utf8_lossy(parts.next().unwrap_or_default());
    let interpreter = line.trim().chars().take(LONGEST_INTERPRETER).collect();
    if parts.next().is_some_and(|rest| rest.starts_with(b"PK")) {
        Foreign::ScriptWithZip(interpreter)
    } else {
        Foreign::Script(interpreter)
    }
}

/// UTF-8 without control characters other than those of lines; its last character may be cut off.
fn is_text(head: &[u8]) -> bool {
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    !text.is_empty()
        && !text
            .chars()
            .any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t' | '\x0c' | '\x1b'))
}

impl Foreign {
    /// What to do instead of sending such a file.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Script(_) => {
                "a component with `format = \"script\"` takes scripts that `uplift pack` sealed; for this one build a program that contains \
                 the script and its interpreter"
            }
            Self::ScriptWithZip(_) => {
                "a component with `format = \"script\"` takes such files where `uplift pack` sealed them; for this one build a program that \
                 contains the application and its interpreter"
            }
            Self::Archive(_) => "send the program itself, unpacked",
            Self::Package(_) => {
                "send the program that is in the package; a component with `format = \"any\"` takes packages that `uplift pack` sealed"
            }
            Self::OtherProgram(_) => "build the program for Linux on this machine",
            Self::Text(_) => {
                "send the program itself; this may be a message that was saved in its place"
            }
            Self::Tree => "a component of the kind \"tree\" takes it",
            Self::Zeros => "the file was not written completely; build and send it again",
            Self::Unknown => "build the program for this machine",
        }
    }
}

impl Foreign {
    /// What the file is, as a sentence that begins with "the file is" goes on; `None` where nothing
    /// is known but what it is not.
    pub fn name(&self) -> Option<String> {
        let with_article = |name: &str| {
            let article = if name.starts_with(['a', 'R', 'x']) { "an" } else { "a" };
            format!("{article} {name}")
        };
        match self {
            Self::Script(interpreter) => Some(format!("a script for {interpreter:?}")),
            Self::ScriptWithZip(interpreter) => {
                Some(format!("a zip application for {interpreter:?}"))
            }
            Self::Archive(name) | Self::Package(name) | Self::OtherProgram(name) => {
                Some(with_article(name))
            }
            Self::Text(name @ "text") => Some((*name).to_owned()),
            Self::Text(name) => Some(with_article(name)),
            Self::Tree => Some("a tree".to_owned()),
            Self::Zeros | Self::Unknown => None,
        }
    }
}

impl fmt::Display for Foreign {
    /// What the file is, as the rest of a sentence that begins with "the file is".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.name(), self) {
            (Some(name), _) => write!(f, "{name}, not an ELF program"),
            (None, Self::Zeros) => {
                f.write_str("not an ELF program: it begins with nothing but zeros")
            }
            (None, _) => f.write_str("not an ELF program"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_kind_has_a_hint_of_its_own() {
        let name = || String::from("/bin/sh");
        let hints = [
            Foreign::Script(name()),
            Foreign::ScriptWithZip(name()),
            Foreign::Archive("tar archive"),
            Foreign::Package("RPM package"),
            Foreign::OtherProgram("Java class"),
            Foreign::Text("text"),
            Foreign::Zeros,
            Foreign::Unknown,
        ]
        .map(|foreign| foreign.hint());
        let different: std::collections::BTreeSet<_> = hints.iter().collect();
        assert!(different.len() == hints.len() && hints.iter().all(|hint| hint.len() > 20));
    }

    /// Those that the test of `uplift check` has no tool for.
    #[test]
    fn what_no_tool_here_makes_is_recognised_by_its_first_bytes() {
        for (head, sentence) in [
            (&b"7z\xbc\xaf\x27\x1c\0\x04"[..], "a 7z archive, not an ELF program"),
            (b"\xed\xab\xee\xdb\x03\0", "an RPM package, not an ELF program"),
            (b"MZ\x90\0\x03\0", "a program for Windows, not an ELF program"),
            (b"\xcf\xfa\xed\xfe\x0c\0\0\x01", "a program for macOS, not an ELF program"),
            (b"\xca\xfe\xba\xbe\0\0\0\x02", "a program for macOS, not an ELF program"),
            (b"\xca\xfe\xba\xbe\0\0\0\x13", "a program for macOS, not an ELF program"),
            (b"\xca\xfe\xba\xbe\0\0\0\x14", "a Java class, not an ELF program"),
            (b"\xca\xfe\xba\xbe\0\0\0\x41", "a Java class, not an ELF program"),
            (b"words, and \xff in between", "not an ELF program"),
            (b"\0asm\x01\0\0\0", "a WebAssembly module, not an ELF program"),
            (b"#!/bin/sh", "a script for \"/bin/sh\", not an ELF program"),
            (b"\0\0\0\0", "not an ELF program: it begins with nothing but zeros"),
            (b"\xff\xff\0\x01", "not an ELF program"),
            (b"", "not an ELF program"),
            ("gr\u{fc}\u{df}e\n".as_bytes(), "text, not an ELF program"),
            (&"\u{fc}".as_bytes()[..1], "not an ELF program"),
        ] {
            assert_eq!(recognise(head).to_string(), sentence, "{head:?}");
        }
        let cut_in_a_character = &"a text that ends with an \u{fc}".as_bytes()[..26];
        assert_eq!(recognise(cut_in_a_character), Foreign::Text("text"));
        assert_eq!(
            recognise(format!("#! {}\n", "x".repeat(400)).as_bytes()),
            Foreign::Script("x".repeat(80))
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_something(head in prop::collection::vec(any::<u8>(), 0..600)) {
            prop_assert!(!recognise(&head).to_string().is_empty());
        }
    }
}
