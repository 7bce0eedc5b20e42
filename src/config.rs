//! The configuration file `/etc/uplift/uplift.toml`: every field with its unit, default and reason.
//!
//! Parsed into types that can't be wrong; an error names file, line, field and what would be right.
//! Unknown fields are errors, so that a misspelt one is never silently a default. Nothing here
//! looks at the machine: whether a device exists or a unit is known is for whoever uses the value.

mod broker;
mod command;
mod common;
mod component;
mod dji_cloud;
mod error;
mod fields;
mod ftp;
mod hawkbit;
mod http;
mod link;
mod luatos;
mod network;
mod package;
mod policy;
mod program;
mod quectel;
#[cfg(test)]
mod shipped;
mod stm32;
#[cfg(test)]
mod tests;
mod thingspanel;
mod trial;
mod unit_name;
mod values;
mod window;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::model::{BrokerName, ChannelName, ComponentName};
use broker::check_broker;
pub use broker::{Broker, BrokerUrl, TlsFiles};
pub use command::{AWAY, Command, FILE};
pub use common::Common;
pub use component::{Component, Components};
pub use dji_cloud::{DeviceKind, DjiCloud, DjiVersionForm, Serial, StepForm, SubDevice, Topology};
pub use error::ConfigError;
use error::{Mistake, Source};
pub use fields::product_name;
pub use ftp::{Ftp, FtpServer, VENDOR_ACCOUNT, VENDOR_ACCOUNT_NEWER};
pub use hawkbit::{Hawkbit, HawkbitConfirm, HawkbitLink, HawkbitNames, ServerUrl};
pub(crate) use hawkbit::{LONGEST_ATTRIBUTE, LONGEST_POLL, MOST_ATTRIBUTES, SHORTEST_POLL, units};
pub use http::Http;
pub use link::{Baud, Door, Link, TransferChoice, VersionOf};
use link::{announce, check_bridge};
pub use luatos::{Codes, Device, Identity, Luatos, LuatosServer, RequestUrl, VersionForm};
pub use network::{Loopback, Network, Unsealed};
pub use package::{Format, MachineRule, Package, SealRule, Stm32Format, TreeFormat, TrustedKey};
pub use policy::{Clock, Policy};
pub use program::Program;
pub(crate) use program::RESTART_ROOM;
pub(crate) use quectel::LONGEST_VERSION;
pub use quectel::{Quectel, QuectelCrc, VersionForm as QuectelVersions};
use stm32::check_ports;
pub(crate) use thingspanel::is_device_key;
pub use thingspanel::{
    DeviceKey, Generation, PlatformVersion, TaskNames, ThingsPanel, Topic, Topics, WHOLE_FIRMWARE,
};
pub use trial::Trial;
use trial::TrialFields;
pub use unit_name::service_name;
pub(crate) use values::CREDENTIALS;
pub use values::{PassivePorts, Password, Size};
use values::{absolute, absolute_if_any, read_text, timer};
pub use window::Window;

/// Where the configuration lies unless `--config` names another file.
pub const DEFAULT_PATH: &str = "/etc/uplift/uplift.toml";

/// The packaged timer of `uplift-rescue`.
pub const RESCUE_TIMER: &str = "uplift-rescue.timer";

/// The whole configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// What is upgraded, by name.
    pub components: Components,
    /// What a firmware file may be.
    pub package: Package,
    /// When an upgrade may begin.
    pub policy: Policy,
    /// The payload link on the serial port. Without this section there is none.
    pub link: Option<Link>,
    /// A hawkBit server. Without this section none is asked.
    pub hawkbit: Option<Hawkbit>,
    /// A network channel for tests.
    pub loopback: Option<Loopback>,
    /// The LuatOS platform, or a server of its kind.
    pub luatos: Option<Luatos>,
    /// DJI's Cloud API, in the role of a gateway.
    pub dji_cloud: Option<DjiCloud>,
    /// The QuecThing platform behind a module of the mobile network.
    pub quectel: Option<Quectel>,
    /// ThingsPanel, at a broker.
    pub thingspanel: Option<ThingsPanel>,
    /// Brokers of MQTT, by name.
    pub brokers: BTreeMap<BrokerName, Broker>,
    /// People and programs on this machine.
    pub shell: Shell,
    /// The FTP server that the daemon pulls from.
    pub ftp: Ftp,
    /// Downloads from servers of the network.
    pub http: Http,
    /// The upload server `uplift ftp-server`.
    pub ftp_server: FtpServer,
    /// What monitoring may read.
    pub metrics: Metrics,
    /// Where the daemon keeps its own files.
    pub paths: Paths,
}

/// The configuration as it is written, before its fields are held against each other.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sections {
    component: BTreeMap<ComponentName, fields::Fields>,
    #[serde(default)]
    channel: Channels,
    #[serde(default)]
    broker: BTreeMap<BrokerName, Broker>,
    #[serde(default)]
    transfer: Transfers,
    #[serde(default)]
    package: Package,
    #[serde(default)]
    policy: Policy,
    #[serde(default)]
    ftp_server: FtpServer,
    #[serde(default)]
    trial: TrialFields,
    #[serde(default)]
    metrics: Metrics,
    #[serde(default)]
    paths: Paths,
}

/// Sections `[channel.NAME]`: who asks.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Channels {
    psdk: Option<Link>,
    shell: Shell,
    hawkbit: Option<Hawkbit>,
    loopback: Option<Loopback>,
    luatos: Option<luatos::Fields>,
    #[serde(rename = "dji-cloud")]
    dji_cloud: Option<dji_cloud::Fields>,
    quectel: Option<Quectel>,
    thingspanel: Option<thingspanel::Fields>,
}

/// Section `[channel.shell]`: people and programs on this machine.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Shell {
    /// The components that they may replace; all where nothing is said.
    pub components: Option<BTreeSet<ComponentName>>,
}

/// Sections `[transfer.NAME]`: how files come.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Transfers {
    ftp: Ftp,
    http: Http,
}

/// Largest configuration file in bytes; the shipped one, with every field explained, has some six
/// thousand.
pub(crate) const LARGEST_FILE: u64 = 1 << 20;

/// Section `[metrics]`: what monitoring may read.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Metrics {
    /// Socket of the Prometheus text endpoint. Without it there is none.
    #[serde(deserialize_with = "absolute_if_any")]
    pub socket: Option<PathBuf>,
}

/// Section `[paths]`: where the daemon keeps its own files, and what watches over them.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Paths {
    /// Directory of the state file and the history.
    #[serde(deserialize_with = "absolute")]
    pub state: PathBuf,
    /// Control socket.
    #[serde(deserialize_with = "absolute")]
    pub control: PathBuf,
    /// Where the kernel tells the boot id; another file stands for it in a sandbox.
    #[serde(deserialize_with = "absolute")]
    pub boot_id: PathBuf,
    /// The timer of the `uplift-rescue` that serves `state`, started at each swap; `""` is none.
    #[serde(deserialize_with = "timer")]
    pub rescue_timer: Option<String>,
}

impl Paths {
    /// Where the sockets lie, and what a boot may forget.
    pub fn runtime(&self) -> &Path {
        self.control.parent().unwrap_or(Path::new("/"))
    }

    /// Where the payload link is reached.
    pub fn of_link(&self, link: &Link) -> PathBuf {
        match link.door {
            Door::Serial => link.device.clone(),
            Door::Bridge => self.bridge(),
        }
    }

    /// The socket on which an upload server hands over what it receives, beside the control socket.
    pub fn uploads(&self) -> PathBuf {
        self.control.with_file_name("uploads.sock")
    }

    /// The socket over which the channels of the network reach the daemon, beside it.
    pub fn channels(&self) -> PathBuf {
        self.control.with_file_name("channels.sock")
    }

    /// Where the process of the network's channels keeps back-off and counters, beside `state`.
    pub fn of_channels(&self) -> PathBuf {
        let mut name = self.state.clone().into_os_string();
        name.push("-channels");
        name.into()
    }

    /// The socket over which the payload's own application passes the link on, beside it.
    pub fn bridge(&self) -> PathBuf {
        self.control.with_file_name("bridge.sock")
    }
}

impl Default for Paths {
    fn default() -> Self {
        Self {
            state: "/var/lib/uplift".into(),
            control: "/run/uplift/control.sock".into(),
            boot_id: "/proc/sys/kernel/random/boot_id".into(),
            rescue_timer: Some(RESCUE_TIMER.into()),
        }
    }
}

impl Config {
    /// Reads a configuration file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = read_text(path, LARGEST_FILE)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        Self::parse(&text, path)
    }

    /// Parses a configuration; `path` is for the error's text only.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let source = Source { text, path };
        let sections: Sections = toml::from_str(text).map_err(|error| source.invalid(&error))?;
        Self::of(sections).map_err(|mistake| source.mistaken(mistake))
    }

    fn of(sections: Sections) -> Result<Self, Mistake> {
        let Sections {
            component,
            channel,
            broker: brokers,
            transfer,
            package,
            policy,
            ftp_server,
            trial,
            metrics,
            paths,
        } = sections;
        let mut components = Components::of(component, &trial, &paths.state)?;
        let Channels { psdk: link, shell, hawkbit, loopback, .. } = channel;
        let Channels { luatos, dji_cloud, quectel, thingspanel, .. } = channel;
        let Transfers { ftp, http } = transfer;
        let luatos = luatos.map(luatos::Fields::settled).transpose()?;
        let dji_cloud = dji_cloud.map(dji_cloud::Fields::settled).transpose()?;
        let thingspanel = thingspanel.map(thingspanel::Fields::settled).transpose()?;
        let link = link.map(Link::settled);
        if let Some(link) = &link {
            check_names("psdk", &link.components, &components)?;
            if let VersionOf::Component(name) = link.version_of
                && !link.components.contains(&name)
            {
                let explanation = format!("{name} is none of the `components` of this section");
                return Err(Mistake::new(&["channel.psdk.version_of"], explanation));
            }
            announce(&mut components, link)?;
        }
        check_bridge(&components, link.as_ref())?;
        check_ports(&components, link.as_ref())?;
        if let Some(names) = &shell.components {
            check_names("shell", names, &components)?;
        }
        let config = Self {
            components,
            package,
            policy,
            link,
            hawkbit,
            loopback,
            luatos,
            dji_cloud,
            quectel,
            thingspanel,
            brokers,
            shell,
            ftp,
            http,
            ftp_server,
            metrics,
            paths,
        };
        config
            .dji_cloud
            .as_ref()
            .map_or(Ok(()), |dji| dji.check(&config.brokers, &config.components))?;
        for network in config.networks() {
            check_names(network.name.as_str(), &network.components, &config.components)?;
            network.check_key(&config.package)?;
        }
        config.brokers.iter().try_for_each(|(name, broker)| broker.check(*name))?;
        if let Some(thingspanel) = &config.thingspanel {
            check_broker("thingspanel", thingspanel.broker, &config.brokers)?;
        }
        config.hawkbit.as_ref().map_or(Ok(()), Hawkbit::check)?;
        config.quectel.as_ref().map_or(Ok(()), Quectel::check)?;
        config.check_sockets()?;
        config.http.check()?;
        config.ftp_server.check_password()?;
        config.package.check_keys()?;
        config.package.check_machine(&config.components)?;
        Ok(config)
    }

    /// The components that a channel may replace.
    pub fn replaceable_by(&self, channel: ChannelName) -> impl Iterator<Item = &Component> {
        self.components.iter().filter(move |component| match channel {
            ChannelName::PSDK => {
                self.link.as_ref().is_some_and(|link| link.components.contains(&component.name()))
            }
            ChannelName::SHELL => {
                let named = self.shell.components.as_ref();
                named.is_none_or(|named| named.contains(&component.name()))
            }
            channel => self
                .network(channel)
                .is_some_and(|network| network.components.contains(&component.name())),
        })
    }

    /// The channels of the network.
    pub fn networks(&self) -> impl Iterator<Item = Network> {
        let hawkbit = self.hawkbit.iter().map(Hawkbit::network);
        let luatos = self.luatos.iter().map(Luatos::network);
        let dji = self.dji_cloud.iter().map(DjiCloud::network);
        let quectel = self.quectel.iter().map(Quectel::network);
        let thingspanel = self.thingspanel.iter().map(ThingsPanel::network);
        let loopback = self.loopback.iter().map(Loopback::network);
        hawkbit.chain(luatos).chain(dji).chain(quectel).chain(thingspanel).chain(loopback)
    }

    /// The channel of the network of this name.
    pub fn network(&self, name: ChannelName) -> Option<Network> {
        self.networks().find(|network| network.name == name)
    }

    fn check_sockets(&self) -> Result<(), Mistake> {
        if self.metrics.socket.as_deref() != Some(&self.paths.control) {
            return Ok(());
        }
        let explanation =
            "this is the control socket, `control` of [paths]; metrics need one of their own";
        Err(Mistake::new(&["metrics.socket"], explanation))
    }
}

/// What a channel may replace is there.
fn check_names(
    channel: &str,
    names: &BTreeSet<ComponentName>,
    components: &Components,
) -> Result<(), Mistake> {
    let Some(name) = names.iter().find(|name| components.get(**name).is_none()) else {
        return Ok(());
    };
    let known: Vec<String> = components.iter().map(|one| format!("\"{}\"", one.name())).collect();
    let explanation = format!(
        "there is no section [component.{name}]: say in `components` of [channel.{channel}] what may be replaced, such as [{}]",
        known.join(", ")
    );
    Err(Mistake::new(&[format!("channel.{channel}.components")], explanation))
}
