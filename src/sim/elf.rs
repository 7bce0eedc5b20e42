//! Tiny programs that upgrades are shown and tested with: valid, whole, statically linked ELF files
//! that run.
//!
//! Started with any argument, one writes its version to its standard output and ends; started
//! without, it waits until a signal ends it. Assembled by hand, because a payload has no compiler;
//! written from the ELF specification and the kernel's calling conventions, and not from the
//! daemon's ELF reader, which is tested with these files.

use std::io::{self, Write};
use std::ops::Range;

use crate::model::version::Version;

/// The machines that there is code for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// 64 bit Intel and AMD.
    X86_64,
    /// 64 bit ARM.
    Aarch64,
    /// 32 bit ARM with the EABI (armhf, armel).
    Arm,
}

/// There is no code for this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the simulation has no machine code for {}; it has some for x86-64, AArch64 and ARM",
    std::env::consts::ARCH
)]
pub struct UnknownMachine;

impl Architecture {
    /// Every architecture.
    pub const ALL: [Self; 3] = [Self::X86_64, Self::Aarch64, Self::Arm];

    /// The machine that this runs on.
    pub fn host() -> Result<Self, UnknownMachine> {
        match std::env::consts::ARCH {
            "x86_64" => Ok(Self::X86_64),
            "aarch64" => Ok(Self::Aarch64),
            "arm" => Ok(Self::Arm),
            _ => Err(UnknownMachine),
        }
    }

    /// `e_machine`
    const fn number(self) -> u16 {
        match self {
            Self::X86_64 => 62,
            Self::Aarch64 => 183,
            Self::Arm => 40,
        }
    }

    /// `e_flags`: EABI version 5 on ARM, nothing elsewhere.
    const fn flags(self) -> u32 {
        if self.is_64() { 0 } else { 0x0500_0000 }
    }

    const fn is_64(self) -> bool {
        !matches!(self, Self::Arm)
    }

    /// Sizes of file header, program header and section header.
    const fn header_sizes(self) -> (u16, u16, u16) {
        if self.is_64() { (64, 56, 64) } else { (52, 32, 40) }
    }

    /// The code; the text follows it directly.
    fn code(self) -> Vec<u8> {
        match self {
            Self::X86_64 => CODE_X86_64.to_vec(),
            Self::Aarch64 => CODE_AARCH64.iter().flat_map(|word| word.to_le_bytes()).collect(),
            Self::Arm => CODE_ARM.iter().flat_map(|word| word.to_le_bytes()).collect(),
        }
    }
}

impl Architecture {
    /// Makes the branch to `wait`, which is for a start without arguments, one that is always
    /// taken.
    fn always_wait(self, code: &mut [u8]) {
        match self {
            Self::X86_64 => code[8] = 0xeb, // jmp wait
            Self::Aarch64 => code[8..12].copy_from_slice(&0x1400_0009_u32.to_le_bytes()), // b wait
            Self::Arm => code[11] = 0xea,   // b wait
        }
    }
}

/// `V01.02.03.04` and a line feed.
const TEXT: u8 = 13;

// At the start the stack pointer points to the number of arguments, the program's name included.

#[rustfmt::skip]
const CODE_X86_64: [u8; 52] = [
    0x48, 0x8b, 0x04, 0x24,                   // mov  rax, [rsp]
    0x48, 0x83, 0xf8, 0x02,                   // cmp  rax, 2
    0x7c, 0x21,                               // jl   wait
    0xb8, 0x01, 0x00, 0x00, 0x00,             // mov  eax, 1 (write)
    0xbf, 0x01, 0x00, 0x00, 0x00,             // mov  edi, 1 (standard output)
    0x48, 0x8d, 0x35, 0x19, 0x00, 0x00, 0x00, // lea  rsi, [rip + 25] (the text)
    0xba, TEXT, 0x00, 0x00, 0x00,             // mov  edx, TEXT
    0x0f, 0x05,                               // syscall
    0x31, 0xff,                               // xor  edi, edi
    0xb8, 0x3c, 0x00, 0x00, 0x00,             // mov  eax, 60 (exit)
    0x0f, 0x05,                               // syscall
    0xb8, 0x22, 0x00, 0x00, 0x00,             // wait: mov eax, 34 (pause)
    0x0f, 0x05,                               // syscall
    0xeb, 0xf7,                               // jmp  wait
];

#[rustfmt::skip]
const CODE_AARCH64: [u32; 18] = [
    0xf940_03e0,                              // ldr  x0, [sp]
    0xf100_081f,                              // cmp  x0, 2
    0x5400_012b,                              // b.lt wait
    0xd280_0020,                              // mov  x0, 1 (standard output)
    0x1000_01c1,                              // adr  x1, . + 56 (the text)
    0xd280_0002 | (TEXT as u32) << 5,         // mov  x2, TEXT
    0xd280_0808,                              // mov  x8, 64 (write)
    0xd400_0001,                              // svc  0
    0xd280_0000,                              // mov  x0, 0
    0xd280_0ba8,                              // mov  x8, 93 (exit)
    0xd400_0001,                              // svc  0
    0xd280_0000,                              // wait: mov x0, 0
    0xd280_0001,                              // mov  x1, 0
    0xd280_0002,                              // mov  x2, 0
    0xd280_0003,                              // mov  x3, 0
    0xd280_0928,                              // mov  x8, 73 (ppoll, with nothing to wait for)
    0xd400_0001,                              // svc  0
    0x17ff_fffa,                              // b    wait
];

#[rustfmt::skip]
const CODE_ARM: [u32; 14] = [
    0xe59d_0000,                              // ldr  r0, [sp]
    0xe350_0002,                              // cmp  r0, 2
    0xba00_0007,                              // blt  wait
    0xe3a0_0001,                              // mov  r0, 1 (standard output)
    0xe28f_1020,                              // add  r1, pc, 32 (the text)
    0xe3a0_2000 | TEXT as u32,                // mov  r2, TEXT
    0xe3a0_7004,                              // mov  r7, 4 (write)
    0xef00_0000,                              // svc  0
    0xe3a0_0000,                              // mov  r0, 0
    0xe3a0_7001,                              // mov  r7, 1 (exit)
    0xef00_0000,                              // svc  0
    0xe3a0_701d,                              // wait: mov r7, 29 (pause)
    0xef00_0000,                              // svc  0
    0xeaff_fffc,                              // b    wait
];

/// Where the program lies in memory; also the alignment of its segment, so that any page size will
/// do.
const BASE: u64 = 0x1_0000;
/// Names of the sections, at the offsets that [`Program::section_table`] gives.
const SECTION_NAMES: &[u8] = b"\0.text\0.fill\0.shstrtab\0";
/// Sections: none, code, filling, names.
const SECTIONS: u16 = 4;
const BLOCK: usize = 64 * 1024;

/// A tiny program of one version.
#[derive(Debug, Clone, Copy)]
pub struct Program {
    architecture: Architecture,
    version: Version,
    size: u64,
    hangs: bool,
}

impl Program {
    /// The smallest program that tells `version`.
    pub fn new(architecture: Architecture, version: Version) -> Self {
        Self { architecture, version, size: 0, hangs: false }
    }

    /// Filled up to `size` bytes with what does not compress, the same for the same version; never
    /// smaller than it is.
    #[must_use]
    pub fn filled_to(self, size: u64) -> Self {
        Self { size, ..self }
    }

    /// One that waits whatever it is asked.
    #[must_use]
    pub fn hanging(self) -> Self {
        Self { hangs: true, ..self }
    }

    /// Its bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // Writing to memory does not fail.
        let _ = self.write(&mut bytes);
        bytes
    }

    /// Writes it, with little memory for any size.
    pub fn write(&self, mut out: impl Write) -> io::Result<()> {
        let image = self.image();
        let loaded = self.code_offset() + image.len() as u64;
        let table_size = u64::from(SECTIONS) * u64::from(self.architecture.header_sizes().2);
        let filled = self.size.saturating_sub(SECTION_NAMES.len() as u64 + table_size).max(loaded);
        out.write_all(&self.headers(loaded, filled + SECTION_NAMES.len() as u64))?;
        out.write_all(&image)?;
        self.write_filling(&mut out, filled - loaded)?;
        out.write_all(SECTION_NAMES)?;
        out.write_all(&self.section_table(loaded, filled))
    }

    /// Code and text.
    fn image(&self) -> Vec<u8> {
        let mut image = self.architecture.code();
        if self.hangs {
            self.architecture.always_wait(&mut image);
        }
        image.extend_from_slice(format!("{}\n", self.version).as_bytes());
        image
    }

    fn write_filling(&self, out: &mut impl Write, size: u64) -> io::Result<()> {
        let mut random =
            fastrand::Rng::with_seed(u32::from_be_bytes(self.version.numbers()).into());
        let mut block = vec![0; BLOCK];
        let mut left = size;
        while left > 0 {
            let part = usize::try_from(left).unwrap_or(BLOCK).min(BLOCK);
            random.fill(&mut block[..part]);
            out.write_all(&block[..part])?;
            left -= part as u64;
        }
        Ok(())
    }

    fn code_offset(&self) -> u64 {
        let (file, segment, _) = self.architecture.header_sizes();
        u64::from(file + segment)
    }

    /// File header and the one program header, which loads everything up to the text's end.
    fn headers(&self, loaded: u64, section_table: u64) -> Vec<u8> {
        const READ_AND_EXECUTE: u32 = 5;
        let is_64 = self.architecture.is_64();
        let (file, segment, section) = self.architecture.header_sizes();
        let mut header = Fields::new(is_64);
        header.bytes(b"\x7fELF").bytes(&[if is_64 { 2 } else { 1 }, 1, 1, 0]).bytes(&[0; 8]);
        header.u16(2).u16(self.architecture.number()).u32(1); // ET_EXEC, EV_CURRENT
        header
            .word(BASE + self.code_offset())
            .word(file.into())
            .word(section_table)
            .u32(self.architecture.flags());
        header.u16(file).u16(segment).u16(1).u16(section).u16(SECTIONS).u16(SECTIONS - 1);
        header.u32(1); // PT_LOAD
        if is_64 {
            header.u32(READ_AND_EXECUTE);
        }
        header.word(0).word(BASE).word(BASE).word(loaded).word(loaded);
        if !is_64 {
            header.u32(READ_AND_EXECUTE);
        }
        header.word(BASE);
        header.bytes
    }

    fn section_table(&self, loaded: u64, filled: u64) -> Vec<u8> {
        const PROGBITS: u32 = 1;
        const STRTAB: u32 = 3;
        const ALLOCATED_CODE: u64 = 6;
        let code = self.code_offset();
        let mut table = Fields::new(self.architecture.is_64());
        table.section(0, 0, 0, 0, 0..0);
        table.section(1, PROGBITS, ALLOCATED_CODE, BASE + code, code..loaded);
        table.section(7, PROGBITS, 0, 0, loaded..filled);
        table.section(13, STRTAB, 0, 0, filled..filled + SECTION_NAMES.len() as u64);
        table.bytes
    }
}

/// Little-endian fields one after the other; a word is as wide as the machine's addresses.
struct Fields {
    bytes: Vec<u8>,
    word: usize,
}

impl Fields {
    fn new(is_64: bool) -> Self {
        Self { bytes: Vec::new(), word: if is_64 { 8 } else { 4 } }
    }

    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    fn u16(&mut self, value: u16) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    fn word(&mut self, value: u64) -> &mut Self {
        let width = self.word;
        self.bytes(&value.to_le_bytes()[..width])
    }

    fn section(&mut self, name: u32, kind: u32, flags: u64, address: u64, range: Range<u64>) {
        self.u32(name)
            .u32(kind)
            .word(flags)
            .word(address)
            .word(range.start)
            .word(range.end - range.start);
        self.u32(0).u32(0).word(1).word(0);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    use super::super::executable;
    use super::*;

    fn version() -> Version {
        "V01.02.03.04".parse().unwrap()
    }

    fn executable(directory: &tempfile::TempDir, program: Program) -> std::path::PathBuf {
        let path = directory.path().join("program");
        executable::write(&path, &program.bytes()).unwrap();
        path
    }

    #[test]
    fn a_program_has_the_size_that_was_asked_for() {
        for architecture in Architecture::ALL {
            let smallest = Program::new(architecture, version());
            assert!(smallest.bytes().len() < 600, "{architecture:?}");
            for size in [1000, 200_001] {
                let bytes = smallest.filled_to(size).bytes();
                assert_eq!(bytes.len() as u64, size);
                assert_eq!(bytes, smallest.filled_to(size).bytes());
            }
        }
    }

    #[test]
    fn a_program_tells_its_version_on_this_machine() {
        let directory = tempfile::tempdir().unwrap();
        for size in [0, 1 << 20] {
            let path = executable(
                &directory,
                Program::new(Architecture::host().unwrap(), version()).filled_to(size),
            );
            let output = Command::new(&path).arg("--version").output().unwrap();
            assert!(output.status.success(), "{output:?}");
            assert_eq!(output.stdout, b"V01.02.03.04\n");
        }
    }

    #[test]
    fn without_an_argument_a_program_waits_until_a_signal_ends_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = executable(&directory, Program::new(Architecture::host().unwrap(), version()));
        let mut child = Command::new(&path).stdout(Stdio::piped()).spawn().unwrap();
        // It is asleep in its system call before it is looked at, or the state below never comes.
        let asleep = || {
            std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap().contains(") S ")
        };
        let began = Instant::now();
        while !asleep() {
            assert!(began.elapsed() < Duration::from_secs(5));
            std::thread::yield_now();
        }
        assert!(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
    }
}
