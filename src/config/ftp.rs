//! Sections `[transfer.ftp]` and `[ftp_server]`: where uploads are pulled from, and uplift's own server for
//! them.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error as _};

use super::error::Mistake;
use super::values::{absolute, address, largest, password_file, server, some_time};
use super::{PassivePorts, Password, Size};

/// Account name of the vendor's tutorial.
pub const VENDOR_ACCOUNT: &str = "psdk_payload_ftp";
/// Account name of the vendor's newer header and API reference.
pub const VENDOR_ACCOUNT_NEWER: &str = "dji_payload_ftp";
/// Password of the vendor's tutorial; public, so it protects nothing.
const VENDOR_PASSWORD: &str = "DJi_#$31";
const DEFAULT_CONNECTIONS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(7);
/// Each may have five descriptors and a thread: the limits of uplift-ftp.service are for so many.
const MOST_CONNECTIONS: usize = 96;

/// Section `[transfer.ftp]`: the FTP server that the daemon pulls from.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ftp {
    /// Address of the server, and the port that the host is told; never 0.
    #[serde(deserialize_with = "server")]
    pub address: SocketAddr,
    /// Account.
    pub user: String,
    /// Password; `password_file` is better for one that is secret.
    pub password: Password,
    /// A file with the password in its first line, such as a systemd credential.
    #[serde(deserialize_with = "password_file")]
    pub password_file: Option<PathBuf>,
    /// Directory on the server; "" is where the login lands.
    pub directory: String,
    /// Longest wait for one answer or for the next bytes; not zero.
    #[serde(deserialize_with = "some_time")]
    pub timeout: Duration,
}

impl Default for Ftp {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 21)),
            user: VENDOR_ACCOUNT.into(),
            password: Password::vendors(VENDOR_PASSWORD),
            password_file: None,
            directory: String::new(),
            timeout: Duration::from_secs(10),
        }
    }
}

/// Section `[ftp_server]`: the upload server `uplift ftp-server`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FtpServer {
    /// Address to listen on; a socket that systemd hands over comes first.
    #[serde(deserialize_with = "address")]
    pub listen: SocketAddr,
    /// The directory that clients see, and nothing outside it.
    #[serde(deserialize_with = "absolute")]
    pub home: PathBuf,
    /// Account names that are accepted: one at least.
    #[serde(deserialize_with = "accounts")]
    pub users: BTreeSet<String>,
    /// Password of these accounts; `password_file` is better for one that is secret.
    pub password: Password,
    /// A file with the password in its first line, such as a systemd credential.
    #[serde(deserialize_with = "password_file")]
    pub password_file: Option<PathBuf>,
    /// First and last port of passive data connections; `[0, 0]` lets the kernel choose.
    pub passive_ports: PassivePorts,
    /// Largest upload; not zero.
    #[serde(deserialize_with = "largest")]
    pub max_size: Size,
    /// Space that an upload must leave free on the file system of `home`.
    pub keep_free: Size,
    /// Connections at a time, at most 96; this machine itself has two more, for the daemon. Whoever
    /// has most makes room for a newcomer: first who has not logged in, then who asks for nothing.
    #[serde(deserialize_with = "connections")]
    pub max_connections: NonZeroUsize,
    /// A connection without a command for this long is closed; not zero.
    #[serde(deserialize_with = "some_time")]
    pub idle_timeout: Duration,
    /// A data connection without a byte for this long is broken off; so is an upload slower than 1
    /// KiB a second over this time.
    #[serde(deserialize_with = "some_time")]
    pub stall_timeout: Duration,
}

impl Default for FtpServer {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 21)),
            home: "/upgrade".into(),
            users: [VENDOR_ACCOUNT, VENDOR_ACCOUNT_NEWER].map(String::from).into(),
            password: Password::vendors(VENDOR_PASSWORD),
            password_file: None,
            passive_ports: PassivePorts::ANY,
            max_size: Size(2 << 30),
            keep_free: Size(16 << 20),
            max_connections: DEFAULT_CONNECTIONS,
            idle_timeout: Duration::from_secs(120),
            stall_timeout: Duration::from_secs(20),
        }
    }
}

impl FtpServer {
    /// What the password file says is for whoever reads it.
    pub(super) fn check_password(&self) -> Result<(), Mistake> {
        if self.password_file.is_none() && self.password.reveal().is_empty() {
            let explanation =
                "the password is empty, so anybody could log in: give one, or a `password_file`";
            return Err(Mistake::new(&["ftp_server.password"], explanation));
        }
        Ok(())
    }
}

fn accounts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<String>, D::Error> {
    let accounts = BTreeSet::<String>::deserialize(deserializer)?;
    if accounts.is_empty() || accounts.contains("") {
        return Err(D::Error::custom(format!(
            "nobody could log in: expected account names, such as [\"{VENDOR_ACCOUNT}\"]"
        )));
    }
    Ok(accounts)
}

fn connections<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NonZeroUsize, D::Error> {
    let connections = usize::deserialize(deserializer)?;
    if connections > MOST_CONNECTIONS {
        return Err(D::Error::custom(format!(
            "`max_connections` must be at most {MOST_CONNECTIONS}: one upload is all that an upgrade needs"
        )));
    }
    NonZeroUsize::new(connections).ok_or_else(|| {
        D::Error::custom("nobody could connect: `max_connections` must be at least 1")
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Config;
    use super::*;

    fn parse(section: &str, field: &str) -> Result<Config, String> {
        let text = format!(
            "[component.program]\nname = \"demo\"\nproduct = \"P\"\n[{section}]\n{field}\n"
        );
        Config::parse(&text, Path::new("uplift.toml")).map_err(|error| error.to_string())
    }

    #[test]
    fn a_value_with_which_nothing_can_work_is_an_error_with_what_would_be_right() {
        for (section, name, value, right) in [
            ("transfer.ftp", "address", "\"127.0.0.1:0\"", "such as 127.0.0.1:21"),
            (
                "transfer.ftp",
                "address",
                "\"localhost:21\"",
                "expected an IP address and a port, such as 127.0.0.1:21",
            ),
            (
                "transfer.ftp",
                "address",
                "21",
                "expected an IP address and a port, such as 127.0.0.1:21",
            ),
            ("transfer.ftp", "timeout", "\"0s\"", "such as \"20s\""),
            ("transfer.ftp", "timeout", "10", "such as \"20s\""),
            ("transfer.ftp", "password_file", "\"secret\"", "must be absolute, not \"secret\""),
            ("ftp_server", "listen", "21", "expected an IP address and a port"),
            ("ftp_server", "home", "\"upgrade\"", "must be absolute, not \"upgrade\""),
            ("ftp_server", "users", "[]", "expected account names"),
            ("ftp_server", "users", "[\"\"]", "expected account names"),
            ("ftp_server", "password", "\"\"", "give one, or a `password_file`"),
            ("ftp_server", "passive_ports", "[5, 2]", "the smaller one first"),
            ("ftp_server", "passive_ports", "[0, 2]", "the smaller one first"),
            ("ftp_server", "passive_ports", "[5]", "expected two ports, such as [50000, 50100]"),
            (
                "ftp_server",
                "passive_ports",
                "[5, 6, 7]",
                "expected two ports, such as [50000, 50100]",
            ),
            (
                "ftp_server",
                "passive_ports",
                "\"5-6\"",
                "expected two ports, such as [50000, 50100]",
            ),
            ("ftp_server", "max_size", "0", "such as \"512MiB\""),
            ("ftp_server", "max_connections", "0", "at least 1"),
            ("ftp_server", "max_connections", "97", "at most 96"),
            ("ftp_server", "idle_timeout", "\"0s\"", "such as \"20s\""),
            ("ftp_server", "stall_timeout", "\"0ms\"", "such as \"20s\""),
        ] {
            let error = parse(section, &format!("{name} = {value}")).unwrap_err();
            let place = format!("uplift.toml, line 5, field {section}.{name}: ");
            assert!(error.contains(&place) && error.contains(right), "{value}: {error}");
        }
    }

    #[test]
    fn what_borders_on_the_impossible_is_possible() {
        let server = |field: &str| parse("ftp_server", field).unwrap().ftp_server;
        assert_eq!(server("passive_ports = [5, 5]").passive_ports.range(), 5..=5);
        assert_eq!(server("passive_ports = [0, 0]").passive_ports, PassivePorts::ANY);
        assert_eq!(server("max_connections = 1").max_connections.get(), 1);
        assert_eq!(server("listen = \"[::1]:0\"").listen.port(), 0);
        assert_eq!(server("keep_free = 0").keep_free, Size(0));
        assert_eq!(server("").max_connections.get(), 8);
        assert!(
            server("password = \"\"\npassword_file = \"/run/secret\"").password.reveal().is_empty()
        );
    }

    #[test]
    fn a_password_never_shows_itself() {
        assert!(!format!("{:?}", Ftp::default()).contains(VENDOR_PASSWORD));
    }

    #[test]
    fn a_password_file_without_an_end_is_not_read_to_it() {
        assert!(Password::read(Path::new("/dev/zero")).is_err());
        assert_eq!(
            Password::read(Path::new("/no/such/file")).unwrap_err().kind(),
            std::io::ErrorKind::NotFound
        );
    }
}
