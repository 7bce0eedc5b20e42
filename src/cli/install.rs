//! `uplift install FILE|URL`: an upgrade asked for at the shell, through the same engine as every
//! other.

mod relay;

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use clap::builder::{PathBufValueParser, TypedValueParser};

use crate::cli::follow::{self, View, follow};
use crate::config::Config;
use crate::control::{Client, ClientError, ControlAnswer, ControlRequest};
use crate::model::{Outcome, Report};
use crate::transfer::http::{Url, WrongUrl};

/// Where the firmware comes from.
#[derive(Debug, Clone)]
pub enum Source {
    /// A file that is here.
    File(PathBuf),
    /// A file of a server.
    Url(Location),
}

/// A URL, which shows itself without its secrets.
#[derive(Debug, Clone)]
pub struct Location(Url);

/// What tells them apart: a scheme, which no path begins with that a person types.
pub(super) fn source() -> impl TypedValueParser<Value = Source> {
    PathBufValueParser::new().try_map(|path| match path.to_str().filter(|text| is_url(text)) {
        Some(text) => text.parse().map(|url| Source::Url(Location(url))),
        None => Ok::<_, WrongUrl>(Source::File(path)),
    })
}

fn is_url(text: &str) -> bool {
    let is_of_scheme = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    text.split_once("://").is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(is_of_scheme)
    })
}

/// Hands the file over to the daemon and follows the upgrade to its end.
pub(super) fn run(config: &Config, source: &Source, force: bool, json: bool) -> anyhow::Result<()> {
    let report = match source {
        Source::File(file) => send_file(config, file, force, json)?,
        Source::Url(Location(url)) => relay::run(config, url, force, json)?,
    };
    follow::print(&report, json)?;
    match report.failure {
        Some(failure) if report.outcome != Outcome::Succeeded => Err(failure.into()),
        _ => Ok(()),
    }
}

fn send_file(config: &Config, file: &Path, force: bool, json: bool) -> anyhow::Result<Report> {
    // Asked before it is opened: opening a FIFO would wait for ever.
    let metadata = file.metadata().with_context(|| format!("{} can't be read", file.display()))?;
    ensure!(metadata.is_file(), "{} is not a regular file", file.display());
    let source = File::open(file).with_context(|| format!("{} can't be opened", file.display()))?;
    let size = metadata.len();
    let file_name = file
        .file_name()
        .and_then(|name| name.to_str())
        .context("the file's name is not UTF-8 text")?
        .to_owned();
    let mut client = ask(config, file_name, size, force)?;
    let mut view = View::sending(json, size);
    send(&mut client, &source, size, &mut view).and_then(|()| follow(config, client, &mut view))
}

/// Asks the daemon to take a file. Its bytes come next.
fn ask(config: &Config, file_name: String, size: u64, force: bool) -> anyhow::Result<Client> {
    let mut client = Client::connect(&config.paths.control)?;
    client.ask(&ControlRequest::Install { file_name, size, force })?;
    match client.answer()? {
        ControlAnswer::Send => Ok(client),
        ControlAnswer::Failure { failure } => Err(failure.into()),
        _ => anyhow::bail!("the daemon's answer does not accept the file"),
    }
}

/// Sends the bytes that were announced. A file that somebody has cut off meanwhile is an error at
/// once: the daemon would wait for the rest.
fn send(client: &mut Client, source: &File, size: u64, view: &mut View) -> anyhow::Result<()> {
    let mut missing = size;
    while missing > 0 {
        let sent = match client.send_from(source, missing) {
            // The daemon refuses the rest; its answer says why.
            Err(ClientError::Io(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => {
                return Ok(());
            }
            sent => sent? as u64,
        };
        ensure!(
            sent > 0,
            "the file became shorter while it was sent: {missing} of {size} bytes are missing; nothing was changed"
        );
        missing -= sent;
        view.sent(sent);
    }
    view.all_sent();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_with_a_scheme_is_a_url_and_all_else_a_file() {
        for (text, is) in [
            ("https://h/A_V01.00.00.00.bin", true),
            ("HTTP://h/a", true),
            ("ftp://h/a", true),
            ("./https://h/a", false),
            ("A_V01.00.00.00.bin", false),
            ("/mnt/a://b", false),
            ("://a", false),
        ] {
            assert_eq!(is_url(text), is, "{text}");
        }
    }
}
