//! `uplift channels`: the network channels, until SIGTERM or SIGINT.

use anyhow::Context as _;
use sd_notify::NotifyState;
use tokio::task::JoinSet;

use crate::channel::loopback::Loopback;
use crate::channel::platform::{Runner, Settings};
use crate::channel::{hawkbit, luatos};
use crate::config::{Component, Config};
use crate::host::stop::Stop;
use crate::log;
use crate::service::notify;
use crate::transfer::http::Client;
use crate::wire::local_socket::{self, CHANNELS};

/// Serves until a signal stops it.
pub(super) fn run(config: &Config) -> anyhow::Result<()> {
    log::install("uplift-channels");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime can't be started")?;
    let served = runtime.block_on(serve(config));
    runtime.shutdown_background();
    served
}

async fn serve(config: &Config) -> anyhow::Result<()> {
    let mut stop = Stop::listen().context("SIGTERM can't be handled")?;
    let mut channels = JoinSet::new();
    let settings = |spread| Settings {
        daemon: config.paths.channels(),
        most: config.package.max_size.0,
        spread,
    };
    if let Some(hawkbit) = &config.hawkbit {
        let (server, client) = (hawkbit::Server::new(hawkbit)?, Client::new(&config.http)?);
        channels.spawn(Runner::new(server, client, settings(hawkbit.spread)).run());
    }
    if let Some(luatos) = &config.luatos {
        let component = config.components.get(luatos.component);
        let product = component.map(Component::product).unwrap_or_default();
        let server = luatos::Server::new(luatos, product, config.paths.of_channels())?;
        let client = Client::new(&config.http)?;
        channels.spawn(Runner::new(server, client, settings(luatos.spread)).run());
    }
    if let Some(loopback) = &config.loopback {
        let (path, field) = (&loopback.socket, "channel.loopback.socket");
        let offers = local_socket::bind(path, CHANNELS, "socket of offers", field)?;
        channels.spawn(Loopback::new(offers, config.paths.channels()).run());
    }
    anyhow::ensure!(
        !channels.is_empty(),
        "the configuration has no network channel, so there is nothing to do"
    );
    tracing::info!("{} network channels are at work", channels.len());
    notify(&[NotifyState::Ready]);
    tokio::select! {
        () = stop.wanted() => {}
        ended = channels.join_next() => anyhow::bail!("a channel stopped: {ended:?}"),
    }
    notify(&[NotifyState::Stopping]);
    tracing::info!("stopping");
    Ok(())
}
