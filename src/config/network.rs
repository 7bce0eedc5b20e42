//! Channels of the network: what each may replace, and that it needs a trusted seal.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::Config;
use super::error::Mistake;
use super::package::Package;
use super::values::absolute;
use crate::model::{ChannelName, ComponentName};

/// What the daemon must know of a channel of the network, whatever its network is.
#[derive(Debug, Clone)]
pub struct Network {
    /// Its name.
    pub name: ChannelName,
    /// The components that it may replace.
    pub components: BTreeSet<ComponentName>,
    /// Whether it may hand over what no trusted key has sealed: on a bench.
    pub unsealed: bool,
}

/// Section `[channel.loopback]`: a channel for tests, whose network is a socket of this machine.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Loopback {
    /// Socket on which offers are taken: the paths of files, one a line.
    #[serde(deserialize_with = "absolute")]
    pub socket: PathBuf,
    /// The components that it may replace.
    #[serde(default = "program_alone")]
    pub components: BTreeSet<ComponentName>,
    /// What may come without a trusted seal.
    #[serde(default)]
    pub unsealed: Unsealed,
}

/// Whether a channel of the network may bring what no trusted key has sealed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unsealed {
    /// Never.
    #[default]
    Never,
    /// On a bench, where whoever is in the network may install anything. The status says so.
    Lab,
}

impl Loopback {
    pub(super) fn network(&self) -> Network {
        Network {
            name: ChannelName::LOOPBACK,
            components: self.components.clone(),
            unsealed: self.unsealed == Unsealed::Lab,
        }
    }
}

impl Config {
    /// Files whose secrets the channels of the network show their servers, with their fields.
    pub fn network_secrets(&self) -> impl Iterator<Item = (String, Option<&Path>)> {
        let key = ("transfer.http.client_key".to_owned(), self.http.client_key.as_deref());
        let of_hawkbit = self.hawkbit.iter().flat_map(|hawkbit| {
            [
                ("target_token_file", hawkbit.target_token_file.as_deref()),
                ("gateway_token_file", hawkbit.gateway_token_file.as_deref()),
            ]
            .map(|(field, file)| (format!("channel.hawkbit.{field}"), file))
        });
        let of_luatos = self.luatos.iter().map(|luatos| {
            let file = luatos.project_key_file().map(PathBuf::as_path);
            ("channel.luatos.project_key_file".to_owned(), file)
        });
        let of_dji = self.dji_cloud.iter().map(|dji| {
            let file = dji.topology.device_secret_file.as_deref();
            ("channel.dji-cloud.device_secret_file".to_owned(), file)
        });
        let of_quectel = self.quectel.iter().map(|quectel| {
            ("channel.quectel.product_file".to_owned(), quectel.product_file.as_deref())
        });
        let of_brokers = self.brokers.iter().flat_map(|(name, broker)| {
            [
                ("user_file", broker.user_file.as_deref()),
                ("password_file", broker.password_file.as_deref()),
                ("client_key", broker.client_key.as_deref()),
            ]
            .map(|(field, file)| (format!("broker.{name}.{field}"), file))
        });
        let of_thingspanel = self.thingspanel.iter().map(|thingspanel| {
            let file = thingspanel.token_file().map(PathBuf::as_path);
            ("channel.thingspanel.token_file".to_owned(), file)
        });
        std::iter::once(key)
            .chain(of_hawkbit)
            .chain(of_luatos)
            .chain(of_dji)
            .chain(of_quectel)
            .chain(of_thingspanel)
            .chain(of_brokers)
    }
}

impl Network {
    /// Whoever takes over the process of the network must not install a program of his own.
    pub(super) fn check_key(&self, package: &Package) -> Result<(), Mistake> {
        if self.unsealed || !package.keys.is_empty() {
            return Ok(());
        }
        let name = self.name;
        let explanation = format!(
            "what comes from the network needs a seal: add a section [[package.keys]] with `public`, the second line of the .pub file \
             that `uplift keygen` or `minisign -G` made; on a bench, `unsealed = \"lab\"` in [channel.{name}] lets in everything"
        );
        Err(Mistake::new(&[format!("channel.{name}")], explanation))
    }
}

pub(super) fn program_alone() -> BTreeSet<ComponentName> {
    [ComponentName::PROGRAM].into()
}
