//! What the headers of a program say: machine, interpreter, and where the file must end.
//!
//! Reads the headers and tables only, never the whole file, and does a bounded amount of work
//! whatever they claim. Knows no rules: whether a machine is the right one is for
//! [`super::check`].

use std::ffi::OsStr;
use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use object::elf::{self, FileHeader32, FileHeader64};
use object::endian::{Endian as _, Endianness};
use object::read::elf::{FileHeader, ProgramHeader as _, SectionHeader as _};
use object::read::{ReadCache, ReadRef as _};

use super::foreign::{self, Foreign};

/// Most program headers that are looked at; programs have about a dozen.
const MOST_SEGMENTS: u64 = 1 << 10;
/// Most section headers that are looked at (1 MiB of table); programs have a few dozen.
const MOST_SECTIONS: u64 = 1 << 14;
/// Largest page that a file is filled up to: the largest one that Linux has on the machines of
/// payloads.
const LARGEST_PAGE: u64 = 64 * 1024;
/// Longest interpreter path, the kernel's own limit (PATH_MAX).
const LONGEST_INTERPRETER: u64 = 4096;

/// The machine that a program is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    architecture: u16,
    is_64: bool,
    big_endian: bool,
}

/// What the headers of an executable file say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elf {
    /// The machine that it is for.
    pub machine: Machine,
    /// The program that the kernel starts it with; none for a static one.
    pub interpreter: Option<PathBuf>,
    /// Whether the file is whole.
    pub end: End,
}

/// What the headers prove of the file's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The file ends where its headers, segments and sections end.
    Proven,
    /// The file ends where its headers say, and this many zeros fill its last page, as Go's linker
    /// leaves it. Any number of them may be missing: nothing needs them.
    Filled(u64),
    /// There is no section table, so something that no segment needs may be missing. The file goes
    /// on for this many bytes behind its segments.
    NoSectionTable(u64),
    /// The file goes on for this many bytes that no header accounts for.
    DataBehind(u64),
    /// This many bytes that the headers account for are missing.
    Missing(u64),
    /// The headers contradict themselves.
    Contradictory(&'static str),
}

/// Why a file is no executable for any machine.
#[derive(Debug, thiserror::Error)]
pub enum ElfError {
    /// The file can't be read.
    #[error("the file can't be read")]
    Unreadable(#[from] io::Error),
    /// Something else: a script, an archive, a picture.
    #[error("the file is {0}")]
    NotElf(Foreign),
    /// It begins as ELF and ends inside the first header.
    #[error("the file ends inside its first header")]
    CutOff,
    /// ELF, but not a program: an object file, a core dump.
    #[error("the file is {}, not a program", object_kind(*.0))]
    NotExecutable(u16),
}

fn object_kind(kind: u16) -> String {
    match kind {
        elf::ET_REL => "an object file".into(),
        elf::ET_CORE => "a core dump".into(),
        other => format!("ELF of type {other}"),
    }
}

impl ElfError {
    /// What a person can do about it, where the hint of the failure's kind does not fit.
    pub const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NotElf(foreign) => Some(foreign.hint()),
            Self::NotExecutable(elf::ET_REL) => {
                Some("link the object file into a program, and send that")
            }
            Self::NotExecutable(_) => Some("send the program itself"),
            Self::Unreadable(_) | Self::CutOff => None,
        }
    }
}

impl Machine {
    /// Whether a kernel of this name, as `uname` gives it, may run such programs: its own, and the
    /// 32 bit ones beside them. Not every kernel and processor can do the latter; whether one does,
    /// only a program shows. What an emulator runs is not meant.
    pub fn may_run_on(self, kernel: &str) -> bool {
        let Self { architecture, is_64, big_endian } = self;
        let its_own_or_32_bit = match kernel {
            "x86_64" => {
                matches!((architecture, is_64), (elf::EM_X86_64, true) | (elf::EM_386, false))
            }
            "aarch64" => {
                matches!((architecture, is_64), (elf::EM_AARCH64, true) | (elf::EM_ARM, false))
            }
            _ => false,
        };
        its_own_or_32_bit && !big_endian
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.architecture {
            elf::EM_386 => f.write_str("i386"),
            elf::EM_ARM => f.write_str("ARM"),
            elf::EM_X86_64 => f.write_str("x86-64"),
            elf::EM_AARCH64 => f.write_str("AArch64"),
            elf::EM_RISCV => f.write_str("RISC-V"),
            elf::EM_MIPS => f.write_str("MIPS"),
            elf::EM_PPC64 => f.write_str("PowerPC64"),
            elf::EM_LOONGARCH => f.write_str("LoongArch"),
            other => write!(f, "machine {other}"),
        }?;
        let bits = if self.is_64 { 64 } else { 32 };
        write!(f, ", {bits} bit, {} endian", if self.big_endian { "big" } else { "little" })
    }
}

/// Reads what the headers of `file` say, all of which is a program.
pub fn read(mut file: impl Read + Seek) -> Result<Elf, ElfError> {
    let size = file.seek(SeekFrom::End(0))?;
    read_first(file, size)
}

/// Reads what the headers say of a program that is the first `size` bytes of `file`.
fn read_first(mut file: impl Read + Seek, size: u64) -> Result<Elf, ElfError> {
    file.rewind()?;
    let mut head = Vec::new();
    file.by_ref().take(size.min(foreign::LOOKED_AT)).read_to_end(&mut head)?;
    let Some(rest) = head.strip_prefix(&elf::ELFMAG) else {
        return Err(ElfError::NotElf(foreign::recognise(&head)));
    };
    let [class, data, ..] = *rest else { return Err(ElfError::CutOff) };
    let endian = match data {
        elf::ELFDATA2LSB => Endianness::Little,
        elf::ELFDATA2MSB => Endianness::Big,
        _ => return Err(ElfError::NotElf(Foreign::Unknown)),
    };
    match class {
        elf::ELFCLASS32 => {
            Headers::<FileHeader32<Endianness>, _>::read(&ReadCache::new(file), endian, size)
        }
        elf::ELFCLASS64 => {
            Headers::<FileHeader64<Endianness>, _>::read(&ReadCache::new(file), endian, size)
        }
        _ => Err(ElfError::NotElf(Foreign::Unknown)),
    }
}

/// A header, and the file that it is read from.
struct Headers<'data, H, F: Read + Seek> {
    header: &'data H,
    endian: Endianness,
    data: &'data ReadCache<F>,
    size: u64,
}

/// What the segments say.
struct Segments {
    interpreter: Option<PathBuf>,
    /// Furthest end of header, program headers and segments.
    end: u64,
    /// Largest alignment of a segment, as far as pages go.
    alignment: u64,
}

/// The part of a file that something takes; `None` where its end is above 2^64.
fn end_of(offset: u64, size: u64) -> Result<u64, End> {
    offset.checked_add(size).ok_or(End::Contradictory("a part ends beyond the largest file"))
}

impl<'data, H: FileHeader<Endian = Endianness>, F: Read + Seek> Headers<'data, H, F> {
    fn read(data: &'data ReadCache<F>, endian: Endianness, size: u64) -> Result<Elf, ElfError> {
        if size < size_of::<H>() as u64 {
            return Err(ElfError::CutOff);
        }
        let header: &H =
            data.read_at(0).map_err(|()| io::Error::other("its first header can't be read"))?;
        let kind = header.e_type(endian);
        if kind != elf::ET_EXEC && kind != elf::ET_DYN {
            return Err(ElfError::NotExecutable(kind));
        }
        let machine = Machine {
            architecture: header.e_machine(endian),
            is_64: header.is_type_64(),
            big_endian: endian.is_big_endian(),
        };
        let headers = Self { header, endian, data, size };
        let (interpreter, end) = match headers.segments() {
            Ok(segments) => {
                (segments.interpreter.clone(), headers.end(&segments).unwrap_or_else(|end| end))
            }
            Err(end) => (None, end),
        };
        Ok(Elf { machine, interpreter, end })
    }

    fn segments(&self) -> Result<Segments, End> {
        let count = u64::from(self.header.e_phnum(self.endian));
        if count == 0 {
            return Err(End::Contradictory("a program without a segment"));
        }
        if count > MOST_SEGMENTS {
            return Err(End::Contradictory("more segments than a program has"));
        }
        let table_size = count * size_of::<H::ProgramHeader>() as u64;
        let mut furthest =
            end_of(self.header.e_phoff(self.endian).into(), table_size)?.max(size_of::<H>() as u64);
        self.within(furthest)?;
        let table = self
            .header
            .program_headers(self.endian, self.data)
            .map_err(|_| End::Contradictory("the program headers"))?;
        let (mut interpreter, mut alignment) = (None, 1);
        for segment in table {
            let aligned: u64 = segment.p_align(self.endian).into();
            if aligned.is_power_of_two() {
                alignment = alignment.max(aligned.min(LARGEST_PAGE));
            }
            let (offset, size) = segment.file_range(self.endian);
            if size == 0 {
                continue;
            }
            furthest = furthest.max(end_of(offset, size)?);
            if segment.p_type(self.endian) == elf::PT_INTERP
                && interpreter.is_none()
                && end_of(offset, size)? <= self.size
            {
                interpreter = Some(self.interpreter(offset, size)?);
            }
        }
        Ok(Segments { interpreter, end: furthest, alignment })
    }

    fn interpreter(&self, offset: u64, size: u64) -> Result<PathBuf, End> {
        const WRONG: End = End::Contradictory("the interpreter's path");
        if size > LONGEST_INTERPRETER {
            return Err(WRONG);
        }
        let bytes = self.data.read_bytes_at(offset, size).map_err(|()| WRONG)?;
        let path = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
        if path.is_empty() { Err(WRONG) } else { Ok(OsStr::from_bytes(path).into()) }
    }

    /// Compares the furthest end of everything with the file's size.
    fn end(&self, segments: &Segments) -> Result<End, End> {
        let offset: u64 = self.header.e_shoff(self.endian).into();
        if offset == 0 {
            self.within(segments.end)?;
            return Ok(match self.behind(segments.end, segments.alignment) {
                End::DataBehind(bytes) => End::NoSectionTable(bytes),
                _ => End::NoSectionTable(0),
            });
        }
        let count = match u64::from(self.header.e_shnum(self.endian)) {
            0 => return Err(End::Contradictory("a section table without a section")),
            count if count > MOST_SECTIONS => {
                return Err(End::Contradictory("more sections than a program has"));
            }
            count => count,
        };
        let mut furthest =
            end_of(offset, count * size_of::<H::SectionHeader>() as u64)?.max(segments.end);
        self.within(furthest)?;
        let table = self
            .header
            .section_headers(self.endian, self.data)
            .map_err(|_| End::Contradictory("the section table"))?;
        for section in table.iter().filter(|section| section.sh_type(self.endian) != elf::SHT_NULL)
        {
            if let Some((offset, size)) = section.file_range(self.endian) {
                furthest = furthest.max(end_of(offset, size)?);
            }
        }
        self.within(furthest)?;
        Ok(self.behind(furthest, segments.alignment))
    }

    /// What stands behind the program's end: nothing, the rest of a page, or something else.
    fn behind(&self, end: u64, alignment: u64) -> End {
        let behind = self.size - end;
        let page = end.checked_next_multiple_of(alignment).unwrap_or(end);
        match behind {
            0 => End::Proven,
            _ if self.size <= page && self.is_zero(end, behind) => End::Filled(behind),
            _ => End::DataBehind(behind),
        }
    }

    fn is_zero(&self, offset: u64, size: u64) -> bool {
        self.data.read_bytes_at(offset, size).is_ok_and(|bytes| bytes.iter().all(|&byte| byte == 0))
    }

    fn within(&self, end: u64) -> Result<(), End> {
        if end > self.size { Err(End::Missing(end - self.size)) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;
