//! `uplift channels`: the network channels, until SIGTERM or SIGINT.

use anyhow::Context as _;
use sd_notify::NotifyState;
use tokio::task::JoinSet;

use crate::channel::network;
use crate::config::Config;
use crate::host::stop::Stop;
use crate::log;
use crate::service::notify;

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
    network::start(config, fastrand::f64, &mut channels)?;
    anyhow::ensure!(
        !channels.is_empty(),
        "the configuration has no network channel, so there is nothing to do"
    );
    tracing::info!("{} network channels are at work", config.networks().count());
    notify(&[NotifyState::Ready]);
    tokio::select! {
        () = stop.wanted() => {}
        ended = channels.join_next() => anyhow::bail!("a channel stopped: {ended:?}"),
    }
    notify(&[NotifyState::Stopping]);
    tracing::info!("stopping");
    Ok(())
}
