//! The connections to brokers that a configuration's channels name: one for each, however many name
//! it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use tokio::task::JoinSet;

use crate::channel::secret;
use crate::config::{Broker, Config};
use crate::model::{BrokerName, Failure, FailureKind};
use crate::transfer::tls::Tls;
use crate::wire::mqtt::{self, Connection, Login};
use crate::wire::spread::Chance;

/// Connections that are not made yet.
pub(crate) struct Brokers<'a> {
    config: &'a Config,
    chance: Chance,
    connections: BTreeMap<BrokerName, Connection>,
}

impl<'a> Brokers<'a> {
    /// None yet.
    pub(crate) fn new(config: &'a Config, chance: Chance) -> Self {
        Self { config, chance, connections: BTreeMap::new() }
    }

    /// The connection to a broker, for a channel to subscribe. Its secrets are read now.
    pub(crate) fn to(&mut self, name: BrokerName) -> Result<&mut Connection, Failure> {
        use std::collections::btree_map::Entry;
        match self.connections.entry(name) {
            Entry::Occupied(there) => Ok(there.into_mut()),
            Entry::Vacant(place) => {
                let broker = self.config.brokers.get(&name).ok_or_else(|| {
                    let sentence = format!("there is no section [broker.{name}]");
                    Failure::new(FailureKind::Internal, sentence)
                })?;
                Ok(place.insert(Connection::new(broker_of(broker)?, self.chance)))
            }
        }
    }

    /// Makes all of them.
    pub(crate) fn run(self, at_work: &mut JoinSet<()>) {
        for connection in self.connections.into_values() {
            at_work.spawn(connection.run());
        }
    }
}

fn broker_of(config: &Broker) -> Result<mqtt::Broker, Failure> {
    let tls = if config.url.has_tls {
        Some(Arc::clone(&Tls::new(&config.tls_files())?.config()?))
    } else {
        None
    };
    Ok(mqtt::Broker {
        host: config.url.host.clone(),
        port: config.url.port,
        tls,
        client_id: config.client_id.clone(),
        login: login(config)?,
        keep_alive: config.keep_alive,
        clean_session: config.clean_session,
        largest: usize::try_from(config.largest_message.0).unwrap_or(usize::MAX),
        spread: config.spread,
    })
}

fn login(config: &Broker) -> Result<Option<Login>, Failure> {
    let user = match (&config.user, &config.user_file) {
        (Some(user), _) => user.clone(),
        (None, Some(file)) => first_line(file, "user")?,
        (None, None) => return Ok(None),
    };
    let password = config.password_file.as_deref().map(|file| first_line(file, "password"));
    Ok(Some(Login { user, password: password.transpose()?.unwrap_or_default() }))
}

fn first_line(file: &Path, what: &str) -> Result<String, Failure> {
    let line = secret::read(file, &format!("the broker's {what}"))?;
    Ok(line.reveal().to_owned())
}

#[cfg(test)]
mod tests;
