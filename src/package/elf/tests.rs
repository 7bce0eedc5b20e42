use std::fs::{self, File};
use std::io::Cursor;

use proptest::prelude::*;

use super::*;
use uplift_fixtures::elf::{Architecture, Program};

fn tiny(architecture: Architecture) -> Vec<u8> {
    Program::new(architecture, [1, 2, 3, 4]).filled_to(5000).bytes()
}

fn read_bytes(bytes: &[u8]) -> Result<Elf, ElfError> {
    read(Cursor::new(bytes))
}

fn end_of_bytes(bytes: &[u8]) -> End {
    read_bytes(bytes).unwrap().end
}

/// Offsets in a 64 bit header.
const E_TYPE: usize = 16;
const E_MACHINE: usize = 18;
const E_PHOFF: usize = 32;
const E_SHOFF: usize = 40;
const E_PHNUM: usize = 56;
const E_SHNUM: usize = 60;
/// Offsets of the first segment's fields in the file.
const P_TYPE: usize = 64;
const P_OFFSET: usize = 64 + 8;
const P_FILESZ: usize = 64 + 32;
const P_ALIGN: usize = 64 + 48;

fn patched(offset: usize, value: &[u8]) -> Vec<u8> {
    let mut bytes = tiny(Architecture::X86_64);
    bytes[offset..offset + value.len()].copy_from_slice(value);
    bytes
}

#[test]
fn each_architecture_is_told_apart() {
    for (architecture, machine) in [
        (Architecture::X86_64, "x86-64, 64 bit, little endian"),
        (Architecture::Aarch64, "AArch64, 64 bit, little endian"),
        (Architecture::Arm, "ARM, 32 bit, little endian"),
    ] {
        let elf = read_bytes(&tiny(architecture)).unwrap();
        assert_eq!(elf.machine.to_string(), machine);
        assert_eq!((elf.interpreter, elf.end), (None, End::Proven));
    }
    let unknown = read_bytes(&patched(E_MACHINE, &[0xab, 0xcd])).unwrap();
    assert_eq!(unknown.machine.to_string(), "machine 52651, 64 bit, little endian");
}

#[test]
fn a_kernel_runs_its_own_programs_and_the_32_bit_ones_beside_them() {
    let machine =
        |architecture: u16, is_64: bool| Machine { architecture, is_64, big_endian: false };
    let (amd64, i386, x32) = (
        machine(elf::EM_X86_64, true),
        machine(elf::EM_386, false),
        machine(elf::EM_X86_64, false),
    );
    let (arm64, arm) = (machine(elf::EM_AARCH64, true), machine(elf::EM_ARM, false));
    for (kernel, runs) in [
        ("x86_64", [true, true, false, false, false]),
        ("aarch64", [false, false, false, true, true]),
        ("riscv64", [false; 5]),
    ] {
        assert_eq!(
            [amd64, i386, x32, arm64, arm].map(|machine| machine.may_run_on(kernel)),
            runs,
            "{kernel}"
        );
    }
    assert!(!Machine { big_endian: true, ..arm }.may_run_on("aarch64"));
}

#[test]
fn the_programs_of_this_machine_are_whole_and_name_an_interpreter_that_exists() {
    for path in ["/bin/true", "/bin/sh", "/usr/bin/env", "/proc/self/exe"] {
        let elf = read(File::open(path).unwrap()).unwrap();
        assert_eq!(elf.end, End::Proven, "{path}");
        assert!(elf.interpreter.unwrap().is_file(), "{path}");
    }
}

#[test]
fn a_file_cut_off_anywhere_is_never_proven() {
    for bytes in
        [tiny(Architecture::X86_64), tiny(Architecture::Arm), fs::read("/bin/true").unwrap()]
    {
        for length in 0..bytes.len() {
            match read_bytes(&bytes[..length]) {
                Err(ElfError::NotElf(_)) => assert!(length < 4, "{length}"),
                Err(ElfError::CutOff) => assert!(length < 64, "{length}"),
                Ok(Elf { end: End::Missing(missing), .. }) => {
                    assert!(missing as usize <= bytes.len() - length, "{length}");
                }
                other => panic!("{length}: {other:?}"),
            }
        }
    }
}

#[test]
fn what_follows_the_program_does_not_count() {
    let whole = tiny(Architecture::X86_64);
    let followed = [&whole[..], &[7; 100]].concat();
    for size in 0..whole.len() {
        let cut_off = read_bytes(&whole[..size]).map_err(|error| error.to_string());
        assert_eq!(
            read_first(Cursor::new(&followed), size as u64).map_err(|error| error.to_string()),
            cut_off,
            "{size}"
        );
    }
    assert_eq!(read_first(Cursor::new(&followed), whole.len() as u64).unwrap().end, End::Proven);
}

#[test]
fn bytes_behind_the_end_and_a_missing_section_table_prove_nothing() {
    let mut longer = tiny(Architecture::X86_64);
    longer.extend_from_slice(b"more");
    assert_eq!(end_of_bytes(&longer), End::DataBehind(4));
    let behind_the_segment = 5000 - (64 + 56 + 52 + 13); // headers, code and text
    assert_eq!(end_of_bytes(&patched(E_SHOFF, &[0; 8])), End::NoSectionTable(behind_the_segment));
}

/// A program of 5000 bytes with segments of this alignment, and with these bytes behind it.
fn followed_by(alignment: u64, behind: &[u8]) -> Vec<u8> {
    [&patched(P_ALIGN, &alignment.to_le_bytes())[..], behind].concat()
}

#[test]
fn zeros_up_to_the_next_page_belong_to_the_program_and_no_others() {
    for (alignment, page) in
        [(0x1000, 8192), (0x2000, 8192), (0x1_0000, 0x1_0000), (0x20_0000, 0x1_0000)]
    {
        let zeros = page - 5000;
        for fewer in [0, 1, zeros / 2, zeros - 1] {
            // One that was cut off inside the zeros is as whole.
            assert_eq!(
                end_of_bytes(&followed_by(alignment, &vec![0; zeros - fewer])),
                End::Filled((zeros - fewer) as u64),
                "{alignment}"
            );
        }
        assert_eq!(end_of_bytes(&followed_by(alignment, &[])), End::Proven);
        assert_eq!(
            end_of_bytes(&followed_by(alignment, &vec![0; zeros + 1])),
            End::DataBehind(zeros as u64 + 1),
            "{alignment}"
        );
        for other in [0, zeros / 2, zeros - 1] {
            let mut behind = vec![0; zeros];
            behind[other] = 1;
            assert_eq!(
                end_of_bytes(&followed_by(alignment, &behind)),
                End::DataBehind(zeros as u64),
                "{alignment}: {other}"
            );
        }
    }
    // Without an alignment that is one there is no page to fill; where the program ends with one,
    // neither.
    for (alignment, zeros) in [(0, 1), (1, 1), (0x1001, 1), (u64::MAX, 1), (8, 1)] {
        assert_eq!(
            end_of_bytes(&followed_by(alignment, &vec![0; zeros])),
            End::DataBehind(zeros as u64),
            "{alignment}"
        );
    }
    // A seal may follow the zeros.
    let sealed = [&followed_by(0x1000, &[0; 3192])[..], b"a seal"].concat();
    assert_eq!(read_first(Cursor::new(&sealed), 8192).unwrap().end, End::Filled(3192));
    // Zeros prove nothing of a file that has no section table, and stand for nothing either.
    let mut bare = followed_by(0x1000, &[]);
    bare.truncate(64 + 56 + 52 + 13);
    bare[E_SHOFF..E_SHOFF + 8].copy_from_slice(&[0; 8]);
    bare.resize(0x1000, 0);
    assert_eq!(end_of_bytes(&bare), End::NoSectionTable(0));
}

#[test]
fn what_is_no_program_is_refused() {
    for bytes in [
        &b""[..],
        b"\x7fEL",
        b"#!/bin/sh\n",
        &[0; 4096],
        b"MZ\x90\0",
        b"\x7fELF\x03\x01\x01",
        b"\x7fELF\x02\x03\x01",
    ] {
        assert!(matches!(read_bytes(bytes), Err(ElfError::NotElf(_))), "{bytes:?}");
    }
    for object_file_or_core in [1, 4] {
        assert!(matches!(
            read_bytes(&patched(E_TYPE, &[object_file_or_core, 0])),
            Err(ElfError::NotExecutable(_))
        ));
    }
}

#[test]
fn headers_that_can_not_be_true_are_refused_without_work() {
    let contradictory = |bytes: Vec<u8>| {
        assert!(
            matches!(end_of_bytes(&bytes), End::Contradictory(_)),
            "{:?}",
            end_of_bytes(&bytes)
        );
    };
    contradictory(patched(E_PHNUM, &[0, 0]));
    contradictory(patched(E_PHNUM, &[0xff, 0xff]));
    contradictory(patched(E_SHNUM, &[0, 0]));
    contradictory(patched(E_SHNUM, &[0xff, 0xff]));
    contradictory(patched(E_PHOFF, &[0xff; 8]));
    contradictory(patched(E_SHOFF, &[0xff; 8]));
    let mut beyond_all = patched(P_FILESZ, &[0xff; 8]);
    assert_eq!(end_of_bytes(&beyond_all), End::Missing(u64::MAX - 5000));
    beyond_all[P_OFFSET] = 1;
    contradictory(beyond_all);
}

#[test]
fn an_interpreter_without_a_name_or_with_an_endless_one_is_refused() {
    let mut bytes = patched(P_TYPE, &[3]); // PT_INTERP, from the first byte of the file
    let interpreter = read_bytes(&bytes).unwrap().interpreter.unwrap();
    assert_eq!(interpreter.as_os_str().as_bytes(), b"\x7fELF\x02\x01\x01");
    bytes[P_FILESZ..P_FILESZ + 2].copy_from_slice(&4999_u16.to_le_bytes());
    assert!(matches!(end_of_bytes(&bytes), End::Contradictory(_)));
    let mut bytes = patched(P_TYPE, &[3]);
    bytes[P_OFFSET] = 8; // where the header's padding lies: the empty name
    assert!(matches!(end_of_bytes(&bytes), End::Contradictory(_)));
}

/// The largest numbers that are believed are read, and found not to be there.
#[test]
fn as_much_as_a_program_may_have_is_looked_for() {
    let most = |at: usize, most: u64| patched(at, &u16::try_from(most).unwrap().to_le_bytes());
    let missing = |bytes: &[u8]| matches!(end_of_bytes(bytes), End::Missing(_));
    assert!(missing(&most(E_PHNUM, MOST_SEGMENTS)) && missing(&most(E_SHNUM, MOST_SECTIONS)));
    let mut bytes = patched(P_TYPE, &[3]);
    bytes[P_FILESZ..P_FILESZ + 8].copy_from_slice(&LONGEST_INTERPRETER.to_le_bytes());
    assert!(read_bytes(&bytes).unwrap().interpreter.is_some());
}

#[test]
fn a_section_that_reaches_beyond_the_end_is_missing() {
    const SH_SIZE: usize = 32;
    let mut bytes = tiny(Architecture::X86_64);
    let table = u64::from_le_bytes(bytes[E_SHOFF..E_SHOFF + 8].try_into().unwrap());
    let second = usize::try_from(table).unwrap() + 64;
    bytes[second + SH_SIZE..second + SH_SIZE + 8].copy_from_slice(&9000_u64.to_le_bytes());
    assert!(matches!(end_of_bytes(&bytes), End::Missing(_)), "{:?}", end_of_bytes(&bytes));
}

#[test]
fn what_is_no_program_says_what_it_is_and_what_to_do() {
    let of_kind = |kind| read_bytes(&patched(E_TYPE, &[kind, 0])).unwrap_err();
    for (kind, is, hint) in [
        (1, "an object file", "link the object file"),
        (4, "a core dump", "send the program itself"),
        (9, "ELF of type 9", "send the program itself"),
    ] {
        let error = of_kind(kind);
        assert_eq!(error.to_string(), format!("the file is {is}, not a program"));
        assert!(error.hint().unwrap().starts_with(hint), "{error:?}");
    }
    let script = read_bytes(b"#!/bin/sh\n").unwrap_err();
    assert!(script.hint().unwrap().contains("`format = \"script\"`"), "{script:?}");
    assert_eq!(read_bytes(b"\x7fELF").unwrap_err().hint(), None);
}

/// Read in its own order of bytes, the type of a little-endian file is another number.
#[test]
fn a_big_endian_file_is_read_as_one() {
    let error = read_bytes(&patched(5, &[2])).unwrap_err();
    assert!(
        matches!(error, ElfError::NotExecutable(kind) if kind.swap_bytes() == 2 || kind.swap_bytes() == 3),
        "{error:?}"
    );
}

proptest! {
    #[test]
    fn any_bytes_are_read_to_an_answer(mut bytes in prop::collection::vec(any::<u8>(), 0..400), class in 1u8..3, data in 1u8..3) {
        let ident = [0x7f, b'E', b'L', b'F', class, data, 1, 0];
        for (byte, wanted) in bytes.iter_mut().zip(ident) { *byte = wanted; }
        let _ = read_bytes(&bytes);
    }

    #[test]
    fn a_header_with_changed_bytes_is_read_to_an_answer(changes in prop::collection::vec((0usize..120, any::<u8>()), 1..8)) {
        let mut bytes = tiny(Architecture::X86_64);
        for (offset, value) in changes { bytes[offset] = value; }
        let _ = read_bytes(&bytes);
    }
}
