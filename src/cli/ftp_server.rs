//! `uplift ftp-server`: the upload server, until SIGTERM or SIGINT.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use sd_notify::NotifyState;

use crate::config::{self, Config};
use crate::ftp_server::{PLACES_FOR_THIS_MACHINE, Server};
use crate::host::stop::Stop;
use crate::log;

/// How long transfers may take to end after a signal; they are only waiting for the disk by then.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Serves until a signal stops it.
pub(super) fn run(config: &Config) -> anyhow::Result<()> {
    log::install("uplift-ftp");
    let (daemon, config) = (config.paths.uploads(), &config.ftp_server);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // A session has at most one transfer or one question to the disk at a time; one more finds
        // out whose a new one is.
        .max_blocking_threads(
            config.max_connections.get().saturating_add(PLACES_FOR_THIS_MACHINE + 1),
        )
        .build()
        .context("the runtime can't be started")?;
    let served = runtime.block_on(serve(config, &daemon));
    runtime.shutdown_timeout(STOP_TIMEOUT);
    served
}

async fn serve(config: &config::FtpServer, daemon: &Path) -> anyhow::Result<()> {
    let inherited = inherited_socket()?;
    let mut stop = Stop::listen().context("SIGTERM can't be handled")?;
    let server = Server::start(config, daemon, inherited).context("the FTP server can't start")?;
    let address = server.address().context("the FTP server can't tell its address")?;
    tracing::info!("listening on {address}, serving {}", config.home.display());
    notify(&[NotifyState::Ready, NotifyState::Status("Waiting for uploads")]);
    let stop = async {
        stop.wanted().await;
        tracing::info!("stopping");
        notify(&[NotifyState::Stopping]);
    };
    server.serve(stop).await;
    Ok(())
}

/// The socket that systemd opened (`uplift-ftp.socket`), so that the server needs no privilege for
/// port 21.
fn inherited_socket() -> anyhow::Result<Option<std::net::TcpListener>> {
    let mut sockets = listenfd::ListenFd::from_env();
    if sockets.len() > 1 {
        bail!(
            "systemd handed over {} sockets: the unit must have one ListenStream= line (\"[::]:21\" serves IPv4 too)",
            sockets.len()
        );
    }
    if sockets.len() == 0 {
        return Ok(None);
    }
    sockets.take_tcp_listener(0).context(
        "the socket that systemd handed over can't be used: it must be one of TCP that listens",
    )
}

/// Tells systemd, where there is one.
fn notify(states: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!("systemd can't be notified: {error}");
    }
}
