//! Makes each mutant: a copy of the core's text with its mistake in it.

use std::error::Error;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

const CORE: &str = "../boot/src";

/// A name, and which texts of which files are replaced by what.
type Mutant = (&'static str, &'static [(&'static str, &'static str, &'static str)]);

const COPY: &str = "                copy(map, flash, record.size)?;\n";
const FINISH: &str = "    let found = run_proved(map, flash, record)?;\n";
const READ_BACK: &str = "if flash.read(to)? == word { Ok(()) } else { Err(Failed) }";
const FAILED: &str = "decide(map, flash).unwrap_or(Boot::Wait(Reason::Failed))";
const STORE: &str = "if proved(map, flash, map.store, record)?.is_none() {";

const MUTANTS: &[Mutant] = &[
    (
        "copied_before_the_copy",
        &[(
            "boot.rs",
            COPY,
            "flash.program(map.record.address + Record::COPIED_OFFSET, 0)?; copy(map, flash, record.size)?;",
        )],
    ),
    ("copied_is_never_said", &[("boot.rs", "if let Boot::Run(_) = found {", "if false {")]),
    (
        "no_crc",
        &[("boot.rs", STORE, "if vectors(map, flash, map.store, record.size)?.is_none() {")],
    ),
    ("the_store_is_not_looked_at", &[("boot.rs", STORE, "if false {")]),
    (
        "a_wrong_store_stops_it",
        &[("boot.rs", "return run(map, flash);", "return Ok(Boot::Wait(Reason::Wrong));")],
    ),
    (
        "what_is_there_is_taken_for_the_copy",
        &[
            (
                "boot.rs",
                "if proved(map, flash, map.application, record)?.is_none()",
                "if vectors(map, flash, map.application, record.size)?.is_none()",
            ),
            ("boot.rs", FINISH, "    let found = run(map, flash)?;\n"),
        ],
    ),
    ("no_erase", &[("boot.rs", "flash.erase(sector)?;", "")]),
    (
        "a_sector_is_not_erased",
        &[("boot.rs", "map.application.sectors()", "map.application.sectors().skip(1)")],
    ),
    (
        "nothing_is_read_back",
        &[
            ("boot.rs", READ_BACK, "Ok(())"),
            ("boot.rs", FINISH, "    let found = run(map, flash)?;\n"),
        ],
    ),
    (
        "a_failure_clears_the_order",
        &[(
            "boot.rs",
            FAILED,
            "decide(map, flash).unwrap_or_else(|_| { for sector in map.record.sectors() { let _ = flash.erase(sector); } Boot::Wait(Reason::Failed) })",
        )],
    ),
    (
        "a_failure_starts_what_is_there",
        &[
            (
                "boot.rs",
                FAILED,
                "decide(map, flash).or_else(|_| run(map, flash)).unwrap_or(Boot::Wait(Reason::Failed))",
            ),
            ("boot.rs", "let mut offset = WORD;", "let mut offset = 0;"),
        ],
    ),
    ("the_first_word_comes_first", &[("boot.rs", "let mut offset = WORD;", "let mut offset = 0;")]),
    (
        "the_first_word_stays",
        &[("boot.rs", "    flash.program(map.application.address, 0)?;\n", "")],
    ),
    (
        "a_known_program_is_not_proved",
        &[(
            "boot.rs",
            "Order::Copied(record) => run_proved(map, flash, record),",
            "Order::Copied(_) => run(map, flash),",
        )],
    ),
    (
        "an_end_mark_that_counts_nothing",
        &[("record.rs", "mark == record.mark()", "mark & 0xFFFF_FF00 == MARK")],
    ),
    ("no_end_mark", &[("record.rs", " && mark == record.mark()", "")]),
    (
        "neither_end_mark_nor_crc",
        &[
            ("record.rs", " && mark == record.mark()", ""),
            ("boot.rs", STORE, "if vectors(map, flash, map.store, record.size)?.is_none() {"),
        ],
    ),
    ("no_key", &[("record.rs", "key == KEY && ", "")]),
    ("any_size", &[("record.rs", " || size > map.application.size", "")]),
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={CORE}");
    println!("cargo::rerun-if-changed=build.rs");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let mut all = String::new();
    for (name, changes) in MUTANTS {
        let directory = out.join(name);
        fs::create_dir_all(&directory)?;
        write_mutant(&directory, name, changes)?;
        writeln!(all, "#[path = {:?}] pub mod {name};", directory.join("lib.rs"))?;
    }
    // One of the tests counts them, so that none is left out of it.
    writeln!(all, "/// How many there are.\npub const COUNT: usize = {};", MUTANTS.len())?;
    File::create(out.join("mutants.rs"))?.write_all(all.as_bytes())?;
    Ok(())
}

fn write_mutant(
    directory: &Path,
    name: &str,
    changes: &[(&str, &str, &str)],
) -> Result<(), Box<dyn Error>> {
    for file in fs::read_dir(CORE)? {
        let file = file?.path();
        let file_name = file.file_name().ok_or("a file without a name")?.to_os_string();
        // Of the crate's root alone.
        let mut text = fs::read_to_string(&file)?.replace("#![no_std]\n", "");
        for (_, from, to) in changes.iter().filter(|(file, ..)| file_name == **file) {
            if text.matches(from).count() != 1 {
                return Err(format!("{name}: {from:?} is not once in {}", file.display()).into());
            }
            text = text.replace(from, to);
        }
        File::create(directory.join(file_name))?.write_all(text.as_bytes())?;
    }
    Ok(())
}
