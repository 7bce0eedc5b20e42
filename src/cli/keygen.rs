//! `uplift keygen`: a pair of keys for sealing, as minisign's own tool makes them.

use std::path::{Path, PathBuf};

use anyhow::ensure;
use clap::Args;

use super::output::{Mistake, NewFile, ask_password, read_password};
use crate::cli::view;
use crate::seal::signing::NewKeys;

/// Mode of a file that only its owner reads.
const SECRET_MODE: u32 = 0o600;
const PUBLIC_MODE: u32 = 0o644;

// Documentation here would take the place of what the subcommand says of itself.
#[derive(Debug, Args)]
pub struct KeygenArguments {
    /// Path of the two files without their ends: NAME.key is the secret key, NAME.pub the public
    /// one.
    #[arg(long, value_name = "NAME", default_value = "uplift")]
    out: PathBuf,
    /// File with the password of the secret key in its first line, instead of asking for it.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Write the secret key without a password. Everybody who can read the file can sign then.
    #[arg(long, conflicts_with = "password_file")]
    no_password: bool,
    /// Replace files that exist already. A secret key that is replaced is lost.
    #[arg(long)]
    force: bool,
}

/// Makes the keys and says what to do with them.
pub(super) fn run(arguments: &KeygenArguments) -> anyhow::Result<()> {
    let KeygenArguments { out, force, .. } = arguments;
    // Both names are taken before a password is asked for.
    let secret = NewFile::create(&with_end(out, "key"), SECRET_MODE, *force)?;
    let public = NewFile::create(&with_end(out, "pub"), PUBLIC_MODE, *force)?;
    let keys = NewKeys::generate(password(arguments)?)?;
    secret.finish_with(keys.secret_text.as_bytes())?;
    public.finish_with(keys.public_text.as_bytes())?;
    let line = keys.public_text.lines().nth(1).unwrap_or_default();
    // A section of its own, which can stand at the end of any configuration.
    view::print(format_args!(
        "Key {}: secret in {}, public in {}.\n\
         Keep the secret one off the payload. The payload trusts the public one with these lines at the end of\n\
         its configuration; with `seal = \"required\"` in the section [package] it refuses files without a seal.\n\n\
         [[package.keys]]\npublic = \"{line}\"\n# note = \"whose key it is\"",
        keys.public.id(),
        with_end(out, "key").display(),
        with_end(out, "pub").display(),
    ))?;
    Ok(())
}

/// The end is put behind the name, whatever dots are in it.
fn with_end(name: &Path, end: &str) -> PathBuf {
    let mut path = name.as_os_str().to_owned();
    path.push(".");
    path.push(end);
    path.into()
}

fn password(arguments: &KeygenArguments) -> anyhow::Result<Option<String>> {
    let password = match &arguments.password_file {
        _ if arguments.no_password => return Ok(None),
        Some(file) => read_password(file)?,
        None => {
            let hint = "give it with --password-file, or make a key without one with --no-password";
            let password = ask_password("Password for the secret key: ", hint)?;
            ensure!(
                ask_password("The password again: ", hint)? == password,
                "the two passwords differ"
            );
            password
        }
    };
    if password.is_empty() {
        return Err(
            Mistake::new("the password is empty", "--no-password makes a key without one").into()
        );
    }
    Ok(Some(password))
}
