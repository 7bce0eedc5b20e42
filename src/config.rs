//! The configuration file `/etc/uplift/uplift.toml`: every field with its unit, default and reason.
//!
//! Parsed into types that can't be wrong; an error names file, line, field and what would be right.
//! Unknown fields are errors, so that a misspelt one is never silently a default. Nothing here
//! looks at the machine: whether a device exists or a unit is known is for whoever uses the value.

mod command;
mod common;
mod component;
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
#[cfg(test)]
mod shipped;
mod trial;
mod unit_name;
mod values;
mod window;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::model::{ChannelName, ComponentName};
pub use command::{Command, FILE};
pub use common::Common;
pub use component::{Component, Components};
pub use error::ConfigError;
use error::{Mistake, Source};
pub use ftp::{Ftp, FtpServer, VENDOR_ACCOUNT, VENDOR_ACCOUNT_NEWER};
pub use hawkbit::{Hawkbit, HawkbitConfirm, HawkbitLink, HawkbitNames, ServerUrl};
pub(crate) use hawkbit::{LONGEST_ATTRIBUTE, LONGEST_POLL, MOST_ATTRIBUTES, SHORTEST_POLL, units};
pub use http::Http;
pub use link::{Baud, Door, Link, TransferChoice, VersionOf};
use link::{announce, check_bridge};
pub use luatos::{Codes, Device, Identity, Luatos, LuatosServer, RequestUrl, VersionForm};
pub use network::{Loopback, Network, Unsealed};
pub use package::{Format, MachineRule, Package, SealRule, TrustedKey};
pub use policy::{Clock, Policy};
pub use program::Program;
pub(crate) use program::RESTART_ROOM;
pub use trial::Trial;
use trial::TrialFields;
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
const LARGEST_FILE: u64 = 1 << 20;

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
            transfer,
            package,
            policy,
            ftp_server,
            trial,
            metrics,
            paths,
        } = sections;
        let mut components = Components::of(component, &trial)?;
        let (Channels { psdk: link, shell, hawkbit, loopback, luatos }, Transfers { ftp, http }) =
            (channel, transfer);
        let luatos = luatos.map(luatos::Fields::settled).transpose()?;
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
            shell,
            ftp,
            http,
            ftp_server,
            metrics,
            paths,
        };
        for network in config.networks() {
            check_names(network.name.as_str(), &network.components, &config.components)?;
            network.check_key(&config.package)?;
        }
        config.hawkbit.as_ref().map_or(Ok(()), Hawkbit::check)?;
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
        hawkbit.chain(luatos).chain(self.loopback.iter().map(Loopback::network))
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::shipped::{fields, is_field, shipped};
    use super::*;
    use crate::model::Restart;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text, Path::new("uplift.toml")).map_err(|error| error.to_string())
    }

    #[test]
    fn the_smallest_configuration_has_the_documented_defaults() {
        let config =
            parse("[component.program]\nname = \"demo\"\nproduct = \"PSDK_APPALIAS\"").unwrap();
        assert_eq!(
            config.components.programs().next().unwrap().path,
            Path::new("/usr/local/bin/demo")
        );
        assert_eq!(config.components.programs().next().unwrap().restart, Restart::Reboot);
        assert!(config.link.is_none());
        assert_eq!(config.ftp.address.port(), 21);
        assert!(config.ftp_server.users.contains(VENDOR_ACCOUNT_NEWER));
    }

    /// The file that is shipped lists every field with its default: with all comment signs in front
    /// of fields taken away it must still parse, and mean the same as the file itself, but for the
    /// fields that have no default.
    #[test]
    fn the_shipped_configuration_lists_every_field_with_its_default() {
        let (shipped, _) = shipped();
        let shipped = shipped.as_str();
        let without_default = [
            "path",
            "unit",
            "seal",
            "version",
            "version_command",
            "password_file",
            "health_command",
            "health",
            "socket",
            "restart_deadline",
            "components",
            "install",
            "revert",
            "suffix",
            "unchanged_exit_codes",
            "command_deadline",
            "clock_file",
            "ready_command",
            "ca_file",
            "client_certificate",
            "client_key",
        ];
        let all: String = shipped
            .lines()
            .map(|line| match line.strip_prefix("# ").filter(|line| is_field(line)) {
                Some(field) if !without_default.contains(&field.split(' ').next().unwrap()) => {
                    format!("{field}\n")
                }
                _ => format!("{line}\n"),
            })
            .collect();
        assert_eq!(format!("{:?}", parse(&all).unwrap()), format!("{:?}", parse(shipped).unwrap()));
        for section in [
            "component.program",
            "package",
            "channel.psdk",
            "channel.shell",
            "transfer.ftp",
            "transfer.http",
            "ftp_server",
            "policy",
            "trial",
            "metrics",
            "paths",
        ] {
            let start = shipped.find(&format!("\n[{section}]\n")).unwrap();
            let end = shipped[start + 1..].find("\n[").map_or(shipped.len(), |end| start + 1 + end);
            for field in fields(section) {
                assert!(
                    shipped[start..end].contains(&format!("{field} = ")),
                    "[{section}] {field} is not listed"
                );
            }
        }
    }

    #[test]
    fn an_error_names_file_line_field_and_what_would_be_right() {
        let error = parse(
            "[component.program]\nname = \"demo\"\nproduct = \"P\"\n[channel.psdk]\nbuad = 9600\n",
        )
        .unwrap_err();
        assert!(
            error.contains("uplift.toml, line 5, field channel.psdk") && error.contains("`baud`"),
            "{error}"
        );
        let error = parse("[component.program]\nname = \"demo\"\nproduct = \"P\"\n[channel.psdk]\nbaud = \"fast\"\n")
            .unwrap_err();
        assert!(
            error.contains("line 5, field channel.psdk.baud") && error.contains("921600"),
            "{error}"
        );
        let error =
            parse("[component.program]\nname = \"demo\"\nproduct = \"P\"\nrestart = \"unit\"\n")
                .unwrap_err();
        assert!(
            error.contains("field component.program") && error.contains("needs `unit`"),
            "{error}"
        );
        let error = parse("[program\n").unwrap_err();
        assert!(error.contains("line 1"), "{error}");
    }

    #[test]
    fn a_restart_and_its_trial_must_be_announceable() {
        let text = |link: &str| {
            format!(
                "[component.program]\nname = \"demo\"\nproduct = \"P\"\nrestart_deadline = \"2m\"\n{link}\n[trial]\ndeadline = \"136s\""
            )
        };
        assert!(parse(&text("")).is_ok(), "without a link nothing is announced");
        let error = parse(&text("[channel.psdk]")).unwrap_err();
        assert!(
            error.contains("line 7, field trial.deadline") && error.contains("256 s together"),
            "{error}"
        );
    }

    #[test]
    fn a_restart_has_the_time_that_its_unit_may_take() {
        let config = |text: &str| {
            parse(&format!("[component.program]\nname = \"demo\"\nproduct = \"P\"\n{text}"))
                .unwrap()
        };
        let seconds = Duration::from_secs;
        for (text, stop, start, deadline) in [
            ("", seconds(90), seconds(90), 190),
            ("", seconds(2), seconds(3), 60),
            ("", Duration::MAX, seconds(90), 600),
            ("restart_deadline = \"5s\"", seconds(90), seconds(90), 5),
            ("[channel.psdk]", seconds(90), seconds(90), 135),
            ("[channel.psdk]\n[trial]\ndeadline = \"30s\"", seconds(90), Duration::MAX, 225),
        ] {
            assert_eq!(
                config(text).components.programs().next().unwrap().restart_within(stop, start),
                seconds(deadline),
                "{text}"
            );
        }
    }

    #[test]
    fn sizes_and_durations_have_units() {
        let config = parse("[component.program]\npath = \"/opt/p\"\nproduct = \"P\"\nrestart_deadline = \"2m\"\nrestart = [\"/bin/true\"]\n[package]\nmax_size = \"64KiB\"").unwrap();
        assert_eq!(config.package.max_size, Size(65536));
        assert_eq!(
            config.components.programs().next().unwrap().restart_deadline,
            Some(Duration::from_secs(120))
        );
        assert_eq!(
            config.components.programs().next().unwrap().restart,
            Restart::Command(vec!["/bin/true".into()])
        );
        for bad in ["\"64KB\"", "\"-1\"", "\"99999999999999999999GiB\"", "1.5", "\"\u{e9}\""] {
            assert!(
                parse(&format!(
                    "[component.program]\npath = \"/opt/p\"\nproduct = \"P\"\n[package]\nmax_size = {bad}"
                ))
                .is_err(),
                "{bad}"
            );
        }
    }

    #[test]
    fn a_path_is_the_same_for_everybody() {
        for (section, field) in [
            ("channel.psdk", "device"),
            ("metrics", "socket"),
            ("paths", "state"),
            ("paths", "control"),
            ("paths", "boot_id"),
        ] {
            let error = parse(&format!(
                "[component.program]\nname = \"demo\"\nproduct = \"P\"\n[{section}]\n{field} = \"here\""
            ))
            .unwrap_err();
            assert!(
                error.contains(&format!(
                    "line 5, field {section}.{field}: the path must be absolute, not \"here\""
                )),
                "{error}"
            );
        }
    }

    #[test]
    fn a_file_without_an_end_is_not_read_to_it() {
        let error = Config::load(Path::new("/dev/zero")).unwrap_err();
        assert!(
            matches!(&error, ConfigError::Unreadable { source, .. } if source.to_string().contains("too large")),
            "{error:?}"
        );
    }

    #[test]
    fn a_timer_is_named_as_one_or_there_is_none() {
        let timer = |text: &str| {
            let config =
                parse(&format!("[component.program]\nname = \"demo\"\nproduct = \"P\"\n{text}"));
            config.map(|config| config.paths.rescue_timer)
        };
        assert_eq!(timer("").unwrap().as_deref(), Some(RESCUE_TIMER));
        assert_eq!(timer("[paths]\nrescue_timer = \"\"").unwrap(), None);
        let error = timer("[paths]\nrescue_timer = \"uplift-rescue\"").unwrap_err();
        assert!(
            error.contains("field paths.rescue_timer") && error.contains(RESCUE_TIMER),
            "{error}"
        );
    }

    #[test]
    fn metrics_have_a_socket_of_their_own_or_none() {
        let text = |socket| {
            format!("[component.program]\nname = \"demo\"\nproduct = \"P\"\n[metrics]\n{socket}")
        };
        assert_eq!(parse(&text("")).unwrap().metrics.socket, None);
        let error = parse(&text("socket = \"/run/uplift/control.sock\"")).unwrap_err();
        assert!(
            error.contains("line 5, field metrics.socket: this is the control socket"),
            "{error}"
        );
    }
}
