//! Sections `[broker.NAME]`: brokers of MQTT, which channels name.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::Size;
use super::error::Mistake;
use super::values::{absolute_if_any, duration, password_file};
use crate::model::BrokerName;

/// Longest name of ours at a broker in bytes. The protocol promises 23; all brokers take more.
const LONGEST_CLIENT_ID: usize = 128;
/// Longest host in bytes, as of DNS.
const LONGEST_HOST: usize = 253;
/// Least that a command needs, with room.
const LEAST_MESSAGE: u64 = 16 << 10;
/// Most that may come: several of them wait in memory.
const MOST_MESSAGE: u64 = 4 << 20;
/// The keep-alive of the protocol has 16 bits of seconds; less than this is a flood.
const KEEP_ALIVE: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(5)..=Duration::from_secs(u16::MAX as u64);

/// Section `[broker.NAME]`: a broker of MQTT 3.1.1, and who we are there. Channels that name the same
/// one share a connection.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Broker {
    /// Where it is.
    pub url: BrokerUrl,
    /// Our name there, which nobody else may have.
    #[serde(deserialize_with = "client_id")]
    pub client_id: String,
    /// The user, where the broker asks for one.
    #[serde(default)]
    pub user: Option<String>,
    /// A file with the user in its first line, where that is a secret, such as an access token.
    #[serde(default, deserialize_with = "password_file")]
    pub user_file: Option<PathBuf>,
    /// A file with the password in its first line, such as a systemd credential.
    #[serde(default, deserialize_with = "password_file")]
    pub password_file: Option<PathBuf>,
    /// Certificates of those who are trusted, in PEM, instead of the system's.
    #[serde(default, deserialize_with = "absolute_if_any")]
    pub ca_file: Option<PathBuf>,
    /// Our own certificate and those that lead to its issuer, in PEM.
    #[serde(default, deserialize_with = "absolute_if_any")]
    pub client_certificate: Option<PathBuf>,
    /// Its private key in PEM, such as a systemd credential; by default it stands in the same file.
    #[serde(default, deserialize_with = "password_file")]
    pub client_key: Option<PathBuf>,
    /// Time without a word after which either side asks whether the other is there.
    #[serde(default = "default_keep_alive", deserialize_with = "keep_alive")]
    pub keep_alive: Duration,
    /// Whether the broker forgets us when the connection ends. One that does not may bring commands
    /// that are days old.
    #[serde(default = "yes")]
    pub clean_session: bool,
    /// Largest message that may come; a larger one costs the connection.
    #[serde(default = "default_message", deserialize_with = "message")]
    pub largest_message: Size,
    /// Over how long the connections of many devices are spread that start or lose their broker
    /// together. With "0s" a single device comes back after a second, and then ever later.
    #[serde(default = "default_spread", deserialize_with = "duration")]
    pub spread: Duration,
}

/// Where a broker is: `mqtt://HOST[:PORT]` or, with TLS, `mqtts://HOST[:PORT]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerUrl {
    /// Whether TLS is spoken.
    pub has_tls: bool,
    /// Name or address.
    pub host: String,
    /// Port: by default 1883, and 8883 with TLS.
    pub port: u16,
}

/// Whom we believe, and who we are, as files in PEM.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificates of those who are trusted, instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Our own certificate and those that lead to its issuer.
    pub client_certificate: Option<PathBuf>,
    /// Its private key; by default it stands in the same file.
    pub client_key: Option<PathBuf>,
}

impl Broker {
    /// Whom we believe, and who we are.
    pub fn tls_files(&self) -> TlsFiles {
        TlsFiles {
            ca_file: self.ca_file.clone(),
            client_certificate: self.client_certificate.clone(),
            client_key: self.client_key.clone(),
        }
    }

    /// What no field can know by itself.
    pub(super) fn check(&self, name: BrokerName) -> Result<(), Mistake> {
        let mistake =
            |field: &str, why: &str| Err(Mistake::new(&[format!("broker.{name}.{field}")], why));
        if self.user.is_some() && self.user_file.is_some() {
            return mistake("user_file", "there is a `user` already: leave one of the two away");
        }
        let has_user = self.user.is_some() || self.user_file.is_some();
        if self.password_file.is_some() && !has_user {
            return mistake("password_file", "a password needs a `user`");
        }
        self.tls_files().check(&format!("broker.{name}"))?;
        let (ca, certificate) = (&self.ca_file, &self.client_certificate);
        if !self.url.has_tls && (ca.is_some() || certificate.is_some()) {
            let why = "certificates are used with TLS alone: expected mqtts:// as the beginning";
            return mistake("url", why);
        }
        Ok(())
    }
}

impl TlsFiles {
    /// What no field of this section can know by itself.
    pub(super) fn check(&self, section: &str) -> Result<(), Mistake> {
        if self.client_key.is_none() || self.client_certificate.is_some() {
            return Ok(());
        }
        let why = "a key without its certificate proves nothing: name that in `client_certificate`";
        Err(Mistake::new(&[format!("{section}.client_key")], why))
    }
}

/// A channel's broker has a section.
pub(super) fn check_broker(
    channel: &str,
    name: BrokerName,
    brokers: &BTreeMap<BrokerName, Broker>,
) -> Result<(), Mistake> {
    if brokers.contains_key(&name) {
        return Ok(());
    }
    let explanation = format!("there is no section [broker.{name}] that says where it is");
    Err(Mistake::new(&[format!("channel.{channel}.broker")], explanation))
}

impl<'de> Deserialize<'de> for BrokerUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const RIGHT: &str = "expected a URL such as \"mqtts://broker.example.org\"; user and password have fields of their own";
        // The text itself is never repeated: it may hold a password.
        let text = String::deserialize(deserializer).map_err(|_| D::Error::custom(RIGHT))?;
        parse_url(&text).ok_or_else(|| D::Error::custom(RIGHT))
    }
}

fn parse_url(text: &str) -> Option<BrokerUrl> {
    let (has_tls, rest) = match text.strip_prefix("mqtts://") {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix("mqtt://")?),
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    // An address of IPv6 stands in brackets, since it has colons itself.
    let (host, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, "")) => (address, None),
        Some((address, port)) => (address, Some(port.strip_prefix(':')?)),
        None => rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port))),
    };
    let is_host = (1..=LONGEST_HOST).contains(&host.len())
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte));
    let port = match port {
        Some(port) => port.parse().ok().filter(|port| *port > 0)?,
        None if has_tls => 8883,
        None => 1883,
    };
    is_host.then(|| BrokerUrl { has_tls, host: host.to_owned(), port })
}

fn client_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic());
    if is_plain && (1..=LONGEST_CLIENT_ID).contains(&text.len()) {
        return Ok(text);
    }
    Err(D::Error::custom(format!(
        "expected a name of 1 to {LONGEST_CLIENT_ID} ASCII characters without spaces, such as the payload's serial number"
    )))
}

fn keep_alive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let time = duration(deserializer)?;
    if KEEP_ALIVE.contains(&time) {
        return Ok(time);
    }
    Err(D::Error::custom("expected 5 seconds to 18 hours, such as \"60s\""))
}

fn message<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Size, D::Error> {
    let size = Size::deserialize(deserializer)?;
    if (LEAST_MESSAGE..=MOST_MESSAGE).contains(&size.0) {
        return Ok(size);
    }
    Err(D::Error::custom("expected 16KiB to 4MiB, such as \"256KiB\""))
}

fn default_keep_alive() -> Duration {
    Duration::from_secs(60)
}

fn yes() -> bool {
    true
}

fn default_message() -> Size {
    Size(256 << 10)
}

fn default_spread() -> Duration {
    Duration::from_secs(10)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Config;
    use super::*;

    fn parse(fields: &str) -> Result<Config, String> {
        let text = format!(
            "[component.program]\nname = \"demo\"\nproduct = \"P\"\n[broker.cloud]\n{fields}\n"
        );
        Config::parse(&text, Path::new("uplift.toml")).map_err(|error| error.to_string())
    }

    #[test]
    fn a_broker_s_url_says_host_port_and_tls() {
        let url = |has_tls, host: &str, port| Some(BrokerUrl { has_tls, host: host.into(), port });
        for (text, right) in [
            ("mqtt://broker", url(false, "broker", 1883)),
            ("mqtts://broker.example.org/", url(true, "broker.example.org", 8883)),
            ("mqtt://127.0.0.1:2883", url(false, "127.0.0.1", 2883)),
            ("mqtts://[::1]:8884", url(true, "::1", 8884)),
            ("mqtt://[fe80::1]", url(false, "fe80::1", 1883)),
            ("mqtt://", None),
            ("tcp://broker", None),
            ("mqtt://user:secret@broker", None),
            ("mqtt://broker:0", None),
            ("mqtt://broker:65536", None),
            ("mqtt://broker:1883/path", None),
            ("mqtt://bro ker", None),
        ] {
            assert_eq!(parse_url(text), right, "{text}");
        }
    }

    #[test]
    fn a_value_with_which_nothing_can_work_is_an_error_with_what_would_be_right() {
        const URL: &str = "url = \"mqtt://b\"\nclient_id = \"c\"\n";
        for (fields, right) in [
            ("url = \"mqtt://user:secret@b\"\nclient_id = \"c\"", "have fields of their own"),
            ("url = \"mqtt://b\"\nclient_id = \"\"", "such as the payload's serial number"),
            (&format!("{URL}keep_alive = \"1s\""), "expected 5 seconds"),
            (&format!("{URL}largest_message = \"1KiB\""), "expected 16KiB"),
            (&format!("{URL}password_file = \"/p\""), "a password needs a `user`"),
            (&format!("{URL}user = \"u\"\nuser_file = \"/u\""), "leave one of the two away"),
            (&format!("{URL}client_key = \"/k\""), "name that in `client_certificate`"),
            (&format!("{URL}ca_file = \"/c\""), "expected mqtts://"),
        ] {
            let error = parse(fields).unwrap_err();
            assert!(error.contains(right) && !error.contains("secret"), "{fields}: {error}");
        }
        assert!(parse(URL).is_ok());
    }
}
