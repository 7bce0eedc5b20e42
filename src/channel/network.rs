//! The channels of the network that a configuration has, made and set to work. What they do is not
//! known here.

use tokio::task::JoinSet;

use super::loopback::Loopback;
use super::platform::{Platform, Runner, Settings};
use super::spread::Chance;
use super::{hawkbit, luatos};
use crate::config::{Component, Config};
use crate::model::Failure;
use crate::transfer::http::Client;
use crate::wire::local_socket::{self, CHANNELS};

/// Begins all of them; none ends by itself. `chance` spreads the devices of a fleet.
///
/// Fails where a secret or a certificate can't be read, or a socket not be made.
pub fn start(config: &Config, chance: Chance, at_work: &mut JoinSet<()>) -> anyhow::Result<()> {
    if let Some(hawkbit) = &config.hawkbit {
        let server = hawkbit::Server::new(hawkbit)?;
        at_work.spawn(runner(server, config, hawkbit.spread, chance)?.run());
    }
    if let Some(luatos) = &config.luatos {
        let component = config.components.get(luatos.component);
        let product = component.map(Component::product).unwrap_or_default();
        let server = luatos::Server::new(luatos, product, config.paths.of_channels(), chance)?;
        at_work.spawn(runner(server, config, luatos.spread, chance)?.run());
    }
    if let Some(loopback) = &config.loopback {
        let (path, field) = (&loopback.socket, "channel.loopback.socket");
        let offers = local_socket::bind(path, CHANNELS, "socket of offers", field)?;
        at_work.spawn(Loopback::new(offers, config.paths.channels()).run());
    }
    Ok(())
}

fn runner<P: Platform>(
    platform: P,
    config: &Config,
    spread: std::time::Duration,
    chance: Chance,
) -> Result<Runner<P>, Failure> {
    let most = config.package.max_size.0;
    let settings = Settings { daemon: config.paths.channels(), most, spread, chance };
    Ok(Runner::new(platform, Client::new(&config.http)?, settings))
}
