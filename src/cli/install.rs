//! `uplift install FILE`: an upgrade asked for at the shell, through the same engine as every
//! other.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, ensure};

use crate::cli::follow::{self, View, follow};
use crate::config::Config;
use crate::control::{Client, ClientError, ControlAnswer, ControlRequest};
use crate::digest::BUFFER_SIZE;
use crate::model::Outcome;

/// Sends the file to the daemon and follows the upgrade to its end.
pub(super) fn run(config: &Config, file: &Path, force: bool, json: bool) -> anyhow::Result<()> {
    // Asked before it is opened: opening a FIFO would wait for ever.
    let metadata = file.metadata().with_context(|| format!("{} can't be read", file.display()))?;
    ensure!(metadata.is_file(), "{} is not a regular file", file.display());
    let mut source =
        File::open(file).with_context(|| format!("{} can't be opened", file.display()))?;
    let size = metadata.len();
    let mut client = Client::connect(&config.paths.control)?;
    let file_name = file
        .file_name()
        .and_then(|name| name.to_str())
        .context("the file's name is not UTF-8 text")?
        .to_owned();
    client.ask(&ControlRequest::Install { file_name, size, force })?;
    match client.answer()? {
        ControlAnswer::Send => {}
        ControlAnswer::Failure { failure } => return Err(failure.into()),
        _ => anyhow::bail!("the daemon's answer does not accept the file"),
    }
    let mut view = View::sending(json, size);
    let report = send(&mut client, &mut source, size, &mut view)
        .and_then(|()| follow(config, client, &mut view));
    drop(view);
    let report = report?;
    follow::print(&report, json)?;
    match report.failure {
        Some(failure) if report.outcome != Outcome::Succeeded => Err(failure.into()),
        _ => Ok(()),
    }
}

/// Sends the bytes that were announced. A file that somebody has cut off meanwhile is an error at
/// once: the daemon would wait for the rest.
fn send(client: &mut Client, source: &mut File, size: u64, view: &mut View) -> anyhow::Result<()> {
    let mut buffer = vec![0; BUFFER_SIZE];
    let mut source = source.take(size);
    loop {
        let n = source.read(&mut buffer).context("the file can't be read")?;
        if n == 0 {
            let missing = source.limit();
            ensure!(
                missing == 0,
                "the file became shorter while it was sent: {missing} of {size} bytes are missing; nothing was changed"
            );
            view.all_sent();
            return Ok(());
        }
        match client.send_bytes(&buffer[..n]) {
            // The daemon refuses the rest; its answer says why.
            Err(ClientError::Io(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => {
                return Ok(());
            }
            sent => sent?,
        }
        view.sent(n as u64);
    }
}
