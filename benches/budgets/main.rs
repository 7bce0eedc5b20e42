//! Measures uplift against its budgets and prints one table. `benches/run` builds what it needs and
//! starts it.
//!
//! Each part returns its rows; nothing here asserts, and no test depends on a time.

mod applying;
mod archives;
mod channels;
mod check;
mod commands;
mod cost;
mod dcftp;
mod decoding;
mod disk;
mod download;
mod fetching;
mod group;
mod hashing;
mod hawkbit;
mod hostile;
mod idle;
mod memory;
mod nginx;
mod pairs;
mod payload;
mod process;
mod processors;
mod real;
mod restart;
mod rollback;
mod sealed;
mod small;
mod small_files;
mod start;
mod statistics;
mod stm32;
mod swap;
mod table;
mod unit;
mod updaters;
mod upload;
#[allow(clippy::unwrap_used, reason = "shared with tests, where what can't go on panics")]
#[path = "../../tests/world/servers/vsftpd.rs"]
mod vsftpd;
#[path = "../../tests/world/watched.rs"]
mod watched;
mod world;

use std::process::ExitCode;

use anyhow::{Result, ensure};

use self::table::{Row, Table};

/// A part, by the name that the command line has for it.
type Part = (&'static str, fn() -> Result<Vec<Row>>);

const PARTS: [Part; 24] = [
    ("decoding", decoding::measure),
    ("hashing", hashing::measure),
    ("sealed", sealed::measure),
    ("check", check::measure),
    ("swap", swap::measure),
    ("idle", idle::measure),
    ("restart", restart::measure),
    ("rollback", rollback::measure),
    ("upload", upload::measure),
    ("dcftp", dcftp::measure),
    ("memory", memory::measure),
    ("hostile", hostile::measure),
    ("small", small::measure),
    ("download", download::measure),
    ("updaters", updaters::measure),
    ("hawkbit", hawkbit::measure),
    ("channels", channels::measure),
    ("commands", commands::measure),
    ("start", start::measure),
    ("cost", cost::measure),
    ("stm32", stm32::measure),
    ("applying", applying::measure),
    ("compressed", small_files::over_ftp),
    ("line", small_files::over_dcftp),
];

/// The parts that need much time, or a machine made for them, and are measured only where they are
/// named.
const NAMED: [&str; 11] = [
    "small",
    "download",
    "updaters",
    "hawkbit",
    "commands",
    "start",
    "cost",
    "stm32",
    "applying",
    "compressed",
    "line",
];

fn main() -> Result<ExitCode> {
    // Cargo adds an option of its own.
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    for name in &wanted {
        ensure!(
            PARTS.iter().any(|(part, _)| part == name),
            "there is no part {name:?}; there are {:?}",
            PARTS.map(|(part, _)| part)
        );
    }
    let mut table = Table::default();
    for (name, measure) in PARTS {
        let unless_told = wanted.is_empty() && !NAMED.contains(&name);
        if unless_told || wanted.iter().any(|wanted| wanted == name) {
            eprintln!("measuring {name} ...");
            table.extend(measure()?);
        }
    }
    print!("{table}");
    Ok(if table.is_passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
