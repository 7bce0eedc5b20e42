//! What a person is asked who has not said it on the command line.

use std::fs;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use super::InitArguments;
use super::proposal::Link;
use crate::cli::output::Mistake;
use crate::config::{product_name, service_name};

/// The name that the udev rule gives the adapter of the payload link.
const NAMED: &str = "/dev/uplift-link";
/// Where the kernel and udev have serial adapters.
const BY_ID: &str = "/dev/serial/by-id";

/// Everything that must be known.
pub(super) struct Answers {
    pub(super) unit: String,
    pub(super) product: String,
    pub(super) link: Link,
}

impl Answers {
    /// From the command line, else from the terminal.
    pub(super) fn of(arguments: &InitArguments) -> anyhow::Result<Self> {
        let unit = match &arguments.unit {
            Some(unit) => unit.clone(),
            None => asked("The systemd unit of the payload's program", "--unit", service_name)?,
        };
        let product = match &arguments.product {
            Some(product) => product.clone(),
            None => asked(
                "Its product name, as in PRODUCT_V01.00.00.00.bin",
                "--product",
                product_name,
            )?,
        };
        Ok(Self { unit, product, link: arguments.link.clone().unwrap_or_else(found) })
    }
}

/// The adapter that is there, where it is the only one.
fn found() -> Link {
    if Path::new(NAMED).exists() {
        return Link::Serial(NAMED.into());
    }
    let entries = fs::read_dir(BY_ID).into_iter().flatten().filter_map(Result::ok);
    let adapters: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    match adapters.as_slice() {
        [one] => Link::Serial(one.clone()),
        _ => Link::None,
    }
}

/// Asks until the answer is one.
fn asked(
    question: &str,
    option: &str,
    parse: fn(&str) -> Result<String, String>,
) -> anyhow::Result<String> {
    if !io::stdin().is_terminal() {
        let sentence = format!("{option} is missing, and there is no terminal to ask at");
        return Err(Mistake::new(sentence, format!("give {option}")).into());
    }
    loop {
        eprint!("{question}: ");
        io::stderr().flush()?;
        let mut line = String::new();
        if io::stdin().lock().read_line(&mut line)? == 0 {
            anyhow::bail!("nothing was written");
        }
        match parse(line.trim()) {
            Ok(answer) => return Ok(answer),
            Err(wrong) => eprintln!("{wrong}"),
        }
    }
}
