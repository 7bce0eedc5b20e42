//! What a payload is by its bytes, and whether that is what is asked for: an ELF program, a script,
//! or anything.
//!
//! Knows no rules of a machine and no seals.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use uplift_boot::Vectors;

use super::elf::{self, Elf, ElfError, Machine};
use super::foreign::{self, Foreign};
use super::stm32::{self, ImageError};
use crate::config::{Format, Stm32Format, TreeFormat};
use crate::model::version::Version;
use crate::seal::ANY_MACHINE;
use crate::tree::{self, Archive, TreeError};

/// Longest first line of a script: what the kernel reads of a file to see how to start it.
const LONGEST_FIRST_LINE: usize = 255;

/// What a payload is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A program for a machine.
    Elf(Elf),
    /// A script, and the interpreter that the kernel starts it with.
    Script(PathBuf),
    /// Something that no more is known of; the machine of an ELF program all the same.
    Any(Option<Machine>),
    /// A program for a microcontroller, how it starts, and the version in it, where it is known
    /// where that stands.
    Stm32(Vectors, Option<Version>),
    /// A tree, which is proved: how many files and other things are in it, and the bytes of its files.
    Tree {
        /// Files.
        files: usize,
        /// Directories and links.
        others: usize,
        /// Bytes of all files.
        size: u64,
    },
}

/// Why a payload is not what is asked for.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the text of each is its documentation")]
pub enum ContentError {
    #[error(transparent)]
    Elf(#[from] ElfError),
    #[error("the file is {}, not a script", .0.name().unwrap_or_else(|| "something else".into()))]
    NoScript(Foreign),
    #[error("the file is an ELF program, not a script")]
    ElfProgram,
    #[error("the script names no interpreter by its absolute path: its first line is {0:?}")]
    NoInterpreter(String),
    #[error("the first line of the script has {0}")]
    FirstLine(&'static str),
    #[error(transparent)]
    Stm32(#[from] ImageError),
    #[error("the file is a tree, which a component of the kind \"tree\" takes")]
    IsTree,
    #[error("the tree is not to be used")]
    Tree(#[from] TreeError),
    #[error("{0:?} in the tree has a set-id bit: who runs it has the rights of its owner")]
    SetId(String),
    #[error("there is nothing in the file but its seal")]
    Empty,
    #[error("the file can't be read")]
    Unreadable(#[from] io::Error),
}

impl ContentError {
    /// What a person can do about it, where that is not plain.
    pub const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Elf(error) => error.hint(),
            Self::NoScript(_) | Self::ElfProgram => Some(
                "a component with `format = \"elf\"` takes programs, one with `format = \"any\"` whatever `uplift pack` sealed",
            ),
            Self::NoInterpreter(_) => Some("begin it with a line such as #!/bin/sh"),
            Self::FirstLine(_) => Some(
                "save it with the line ends of Unix, and begin it with a line such as #!/bin/sh",
            ),
            Self::Stm32(error) => Some(error.hint()),
            Self::IsTree => Some("name the component's product when it is packed"),
            Self::Tree(TreeError::NoArchive) => Some(
                "a component of the kind \"tree\" takes what `uplift pack` makes of a directory",
            ),
            Self::Tree(_) => Some("pack the directory again with `uplift pack`"),
            Self::SetId(_) => Some(
                "take the bit away with `chmod`, or let it in with `set_id = true` in the [component.NAME] section",
            ),
            Self::Empty | Self::Unreadable(_) => None,
        }
    }
}

impl Content {
    /// Reads what this part of `file` is, and whether that is of the format.
    pub fn read(file: File, part: Range<u64>, format: Format) -> Result<Self, ContentError> {
        if part.is_empty() {
            return Err(ContentError::Empty);
        }
        let mut payload = Part::new(file, part);
        if format == Format::Any && beginning(&mut payload)?.starts_with(&tree::MAGIC) {
            return Err(ContentError::IsTree);
        }
        match format {
            Format::Elf => Ok(Self::Elf(elf::read(payload)?)),
            Format::Script => Ok(Self::Script(interpreter(&beginning(&mut payload)?)?)),
            Format::Any => match elf::read(payload) {
                Ok(elf) => Ok(Self::Any(Some(elf.machine))),
                Err(ElfError::Unreadable(error)) => Err(error.into()),
                Err(_) => Ok(Self::Any(None)),
            },
            Format::Stm32(Stm32Format { scheme, version_at }) => {
                let mut image = Vec::new();
                payload.rewind()?;
                payload.take(stm32::LARGEST + 1).read_to_end(&mut image)?;
                let vectors = stm32::check(&image, scheme)?.vectors();
                let version = version_at.map(|at| stm32::version(&image, at)).transpose()?;
                Ok(Self::Stm32(vectors, version))
            }
            Format::Tree(rules) => Self::read_tree(&payload.file, payload.part, rules),
        }
    }

    fn read_tree(file: &File, part: Range<u64>, rules: TreeFormat) -> Result<Self, ContentError> {
        let archive = Archive::open(file, part)?;
        archive.prove()?;
        let manifest = archive.manifest();
        if let Some(path) = manifest.set_id().filter(|_| !rules.set_id) {
            return Err(ContentError::SetId(path.to_owned()));
        }
        let files = manifest.files();
        let others = manifest.entries().len() - files;
        Ok(Self::Tree { files, others, size: manifest.content_size()? })
    }

    /// The machine that it is for, if it says so.
    pub const fn machine(&self) -> Option<Machine> {
        match self {
            Self::Elf(elf) => Some(elf.machine),
            Self::Any(machine) => *machine,
            Self::Script(_) | Self::Stm32(..) | Self::Tree { .. } => None,
        }
    }

    /// The machine as a manifest has it.
    pub fn machine_text(&self) -> String {
        self.machine().map_or_else(|| ANY_MACHINE.to_owned(), |machine| machine.to_string())
    }
}

fn beginning(payload: &mut Part<File>) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    payload.rewind()?;
    payload.take(foreign::LOOKED_AT).read_to_end(&mut head)?;
    Ok(head)
}

/// The interpreter of a script with these first bytes.
fn interpreter(head: &[u8]) -> Result<PathBuf, ContentError> {
    if head.starts_with(&object::elf::ELFMAG) {
        return Err(ContentError::ElfProgram);
    }
    let Some(script) = head.strip_prefix(b"#!") else {
        return Err(ContentError::NoScript(foreign::recognise(head)));
    };
    let line = script.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let wrong = |what| Err(ContentError::FirstLine(what));
    if line.contains(&0) {
        return wrong("a zero byte in it");
    }
    if line.ends_with(b"\r") {
        return wrong("the line end of Windows");
    }
    if line.len() + b"#!".len() > LONGEST_FIRST_LINE {
        return wrong("more than the 255 bytes that the kernel reads");
    }
    let path = line.trim_ascii_start();
    let path = path.split(|byte| matches!(byte, b' ' | b'\t')).next().unwrap_or_default();
    let path = Path::new(OsStr::from_bytes(path));
    if path.is_absolute() {
        return Ok(path.to_owned());
    }
    Err(ContentError::NoInterpreter(format!("#!{}", String::from_utf8_lossy(line))))
}

/// A part of a file that is read as if it were all.
struct Part<F> {
    file: F,
    part: Range<u64>,
    /// From the beginning of the part.
    position: u64,
}

impl<F> Part<F> {
    const fn new(file: F, part: Range<u64>) -> Self {
        Self { file, part, position: 0 }
    }

    const fn size(&self) -> u64 {
        self.part.end.saturating_sub(self.part.start)
    }
}

impl<F: Read + Seek> Read for Part<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.size().saturating_sub(self.position);
        self.file.seek(SeekFrom::Start(self.part.start.saturating_add(self.position)))?;
        let n = self.file.by_ref().take(left).read(buffer)?;
        self.position += n as u64;
        Ok(n)
    }
}

impl<F> Seek for Part<F> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.size().checked_add_signed(by),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
        };
        self.position = position.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    fn told(head: &[u8]) -> String {
        match interpreter(head) {
            Ok(path) => path.display().to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_script_is_what_the_kernel_starts_with_an_interpreter() {
        let longest = [b"#!/", &[b'x'; 252][..]].concat();
        assert_eq!(told(&longest).len(), 253);
        for (head, expected) in [
            (&b"#!/bin/sh\necho\n"[..], "/bin/sh"),
            (b"#! \t/usr/bin/env python3 -u\n", "/usr/bin/env"),
            (b"#!/bin/sh\t-e", "/bin/sh"),
            (b"#!/bin/sh\n\0\0", "/bin/sh"),
            (b"#!/bin/sh\0\n", "the first line of the script has a zero byte in it"),
            (b"#!/bin/sh\r\n", "the first line of the script has the line end of Windows"),
            (
                &[&longest, &b"x"[..]].concat(),
                "the first line of the script has more than the 255 bytes that the kernel reads",
            ),
            (
                b"#!python3\n",
                "the script names no interpreter by its absolute path: its first line is \"#!python3\"",
            ),
            (
                b"#!\n/bin/sh",
                "the script names no interpreter by its absolute path: its first line is \"#!\"",
            ),
            (b"\x7fELF\x02", "the file is an ELF program, not a script"),
            (b"!<arch>\ndebian-binary", "the file is a Debian package, not a script"),
            (b"echo\n", "the file is text, not a script"),
            (b"\xff\0\x01", "the file is something else, not a script"),
        ] {
            assert_eq!(told(head), expected, "{head:?}");
        }
    }

    #[test]
    fn each_wrong_script_has_a_hint() {
        for head in [&b"#!/bin/sh\r\n"[..], b"#!sh\n", b"text\n", b"\x7fELF"] {
            assert!(interpreter(head).unwrap_err().hint().is_some(), "{head:?}");
        }
        assert!(ContentError::Empty.hint().is_none());
    }

    proptest! {
        /// The part of a file is what its bytes alone are.
        #[test]
        fn a_part_is_read_like_a_file_of_its_own(
            bytes in prop::collection::vec(any::<u8>(), 0..64), start in 0_usize..64,
            length in 0_usize..64, moves in prop::collection::vec((0_u8..3, -70_i64..70, 0_usize..20), 0..12),
        ) {
            let start = start.min(bytes.len());
            let end = (start + length).min(bytes.len());
            let mut whole = Cursor::new(bytes[start..end].to_vec());
            let mut part = Part::new(Cursor::new(bytes), start as u64..end as u64);
            for (how, by, count) in moves {
                let to = match how {
                    0 => SeekFrom::Start(by.unsigned_abs()),
                    1 => SeekFrom::End(by),
                    _ => SeekFrom::Current(by),
                };
                prop_assert_eq!(part.seek(to).ok(), whole.seek(to).ok());
                let (mut one, mut other) = (vec![0; count], vec![0; count]);
                prop_assert_eq!(part.read(&mut one).unwrap(), whole.read(&mut other).unwrap());
                prop_assert_eq!(one, other);
            }
        }
    }
}
