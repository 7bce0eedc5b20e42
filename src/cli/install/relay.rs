//! A file of a server on its way to the daemon: each byte goes on as it comes, and lies nowhere here.

use std::io;
use std::time::Duration;

use anyhow::anyhow;

use super::ask;
use crate::cli::follow::{View, follow};
use crate::config::{Config, Http};
use crate::control::{Client, ClientError};
use crate::model::{Failure, FailureKind, Report};
use crate::transfer::http::{self, Sink, Stop, Trouble, Url, Validator, Wanted};
use crate::wire::lines::CLIENT_DEADLINE;

/// Downloads the file, hands it over, and follows the upgrade to its end.
pub(super) fn run(config: &Config, url: &Url, force: bool, json: bool) -> anyhow::Result<Report> {
    let file_name = url.file_name().ok_or_else(|| {
        Failure::new(FailureKind::NameInvalid, "the last part of the URL's path is no file name")
    })?;
    // Where nobody would take the file, nobody is asked for it.
    drop(Client::connect(&config.paths.control)?);
    let client = http::Client::new(&patient(&config.http))?;
    let wanted = Wanted {
        url: url.clone(),
        size: None,
        most: config.package.max_size.0,
        authorization: None,
        pieces: http::Pieces::None,
    };
    let view = View::waiting_for("waiting for the server", json);
    let mut relay =
        Relay { config, file_name, force, json, view, daemon: None, refused: false, failed: None };
    let ended = http::download(&client, &wanted, None, &mut relay, &Stop::default());
    relay.end(ended)
}

/// The daemon leaves a client from which nothing comes: it is told before that.
fn patient(config: &Http) -> Http {
    const MOST: Duration = Duration::from_secs(CLIENT_DEADLINE.as_secs() * 3 / 4);
    Http { patience: config.patience.min(MOST), ..config.clone() }
}

/// Passes on what comes.
struct Relay<'a> {
    config: &'a Config,
    file_name: String,
    force: bool,
    json: bool,
    view: View,
    /// The daemon, once it takes the file.
    daemon: Option<Client>,
    /// It takes no more, and says why.
    refused: bool,
    /// Why it could not be handed over, where that is not the download's failure.
    failed: Option<anyhow::Error>,
}

impl Relay<'_> {
    fn end(mut self, ended: Result<u64, Trouble>) -> anyhow::Result<Report> {
        match (self.daemon, self.failed, ended) {
            (Some(daemon), None, Ok(_)) => {
                self.view.all_sent();
                follow(self.config, daemon, &mut self.view)
            }
            (Some(daemon), _, _) if self.refused => follow(self.config, daemon, &mut self.view),
            (_, Some(error), _) => Err(error),
            (None, None, Ok(_)) => Err(anyhow!("the daemon was not asked to take the file")),
            (daemon, None, Err(trouble)) => {
                drop(self.view);
                if let Some(daemon) = daemon {
                    daemon.leave();
                }
                Err(trouble.into_failure().into())
            }
        }
    }

    fn hand_over(&mut self, total: Option<u64>) -> anyhow::Result<()> {
        let size = total.ok_or_else(size_unknown)?;
        if let Some(daemon) = self.daemon.take() {
            daemon.leave();
            self.view.say("the server begins anew, and so does the upgrade");
        }
        self.daemon = Some(ask(self.config, self.file_name.clone(), size, self.force)?);
        self.view = View::downloading(self.json, size);
        Ok(())
    }
}

/// The daemon refuses at once what is too large, and holds the client to the rest.
fn size_unknown() -> Failure {
    let sentence = "the server does not say how large the file is, and the daemon takes none whose size it does not know";
    Failure::new(FailureKind::TransferFailed, sentence)
        .with_hint("let the server send a Content-Length, or download the file and install it then")
}

impl Sink for Relay<'_> {
    fn begin(&mut self, _: u64, total: Option<u64>, _: &Validator) -> io::Result<()> {
        self.hand_over(total).map_err(|error| {
            self.failed = Some(error);
            io::ErrorKind::Other.into()
        })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(daemon) = &mut self.daemon else { return Err(io::ErrorKind::NotConnected.into()) };
        match daemon.send_bytes(bytes) {
            Ok(()) => {
                self.view.sent(bytes.len() as u64);
                Ok(())
            }
            // Its answer says why.
            Err(ClientError::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.refused = true;
                Err(error)
            }
            Err(ClientError::Io(error)) => Err(error),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    fn pauses(&mut self, trouble: &Trouble, pause: Duration) {
        let seconds = pause.as_secs_f64().ceil();
        self.view.say(&format!("{trouble}; the download goes on in {seconds} s"));
    }
}
