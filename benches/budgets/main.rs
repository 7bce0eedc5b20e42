//! Measures uplift against its budgets and prints one table. `benches/run` builds what it needs and
//! starts it.
//!
//! Each part returns its rows; nothing here asserts, and no test depends on a time.

mod check;
mod dcftp;
mod decoding;
mod hashing;
mod hostile;
mod idle;
mod memory;
mod payload;
mod process;
mod processors;
mod restart;
mod rollback;
mod sealed;
mod small;
mod statistics;
mod swap;
mod table;
mod upload;
#[allow(clippy::unwrap_used, reason = "shared with tests, where what can't go on panics")]
#[path = "../../tests/world/servers/vsftpd.rs"]
mod vsftpd;
#[path = "../../tests/world/watched.rs"]
mod watched;

use std::process::ExitCode;

use anyhow::{Result, ensure};

use self::table::{Row, Table};

/// A part, by the name that the command line has for it.
type Part = (&'static str, fn() -> Result<Vec<Row>>);

const PARTS: [Part; 13] = [
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
    (SMALL, small::measure),
];

/// The part that needs a machine made for it, and is measured only where it is named.
const SMALL: &str = "small";

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
        let unless_told = wanted.is_empty() && name != SMALL;
        if unless_told || wanted.iter().any(|wanted| wanted == name) {
            eprintln!("measuring {name} ...");
            table.extend(measure()?);
        }
    }
    print!("{table}");
    Ok(if table.is_passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
