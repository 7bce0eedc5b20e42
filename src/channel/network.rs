//! The channels of the network that a configuration has, made and set to work. What they do is not
//! known here.

use std::time::Duration;

use tokio::task::JoinSet;

use super::broker::Brokers;
use super::loopback::Loopback;
use super::platform::Platform;
use super::runner::{Runner, Settings};
use super::{dji_cloud, hawkbit, luatos, quectel, thingspanel};
use crate::config::{Component, Config};
use crate::model::Failure;
use crate::transfer::http::Client;
use crate::wire::local_socket::{self, CHANNELS};
#[doc(hidden)]
pub use crate::wire::mqtt::fuzz as fuzz_mqtt;
pub use crate::wire::spread::Chance;

/// Begins all of them; none ends by itself. `chance` spreads the devices of a fleet.
///
/// Fails where a secret or a certificate can't be read, or a socket not be made.
pub fn start(config: &Config, chance: Chance, at_work: &mut JoinSet<()>) -> anyhow::Result<()> {
    let mut brokers = Brokers::new(config, chance);
    if let Some(hawkbit) = &config.hawkbit {
        let server = hawkbit::Server::new(hawkbit, &config.components)?;
        at_work.spawn(runner(server, config, hawkbit.spread, chance)?.run());
    }
    if let Some(luatos) = &config.luatos {
        let component = config.components.get(luatos.component);
        let product = component.map(Component::product).unwrap_or_default();
        let server = luatos::Server::new(luatos, product, config.paths.of_channels(), chance)?;
        at_work.spawn(runner(server, config, luatos.spread, chance)?.run());
    }
    if let Some(dji) = &config.dji_cloud {
        let connection = brokers.to(dji.broker)?;
        let (server, gateway) =
            dji_cloud::open(dji, &config.components, &config.paths, connection)?;
        at_work.spawn(runner(server, config, Duration::ZERO, chance)?.run());
        at_work.spawn(gateway.run());
    }
    if let Some(section) = &config.quectel {
        at_work.spawn(quectel::Channel::new(config, section)?.run());
    }
    if let Some(thingspanel) = &config.thingspanel {
        let (connection, directory) = (brokers.to(thingspanel.broker)?, config.paths.of_channels());
        let server =
            thingspanel::Server::new(thingspanel, &config.components, connection, directory)?;
        let spread = config.brokers.get(&thingspanel.broker).map(|broker| broker.spread);
        at_work.spawn(runner(server, config, spread.unwrap_or_default(), chance)?.run());
    }
    if let Some(loopback) = &config.loopback {
        let (path, field) = (&loopback.socket, "channel.loopback.socket");
        let offers = local_socket::bind(path, CHANNELS, "socket of offers", field)?;
        at_work.spawn(Loopback::new(offers, config.paths.channels()).run());
    }
    brokers.run(at_work);
    Ok(())
}

fn runner<P: Platform>(
    platform: P,
    config: &Config,
    spread: Duration,
    chance: Chance,
) -> Result<Runner<P>, Failure> {
    let most = config.package.max_size.0;
    let settings = Settings { daemon: config.paths.channels(), most, spread, chance };
    Ok(Runner::new(platform, Client::new(&config.http)?, settings))
}
