//! What a module is told.

use std::fmt;

use crate::config::Password;

/// A command; one is under way at a time.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Command {
    /// Whether it is there.
    Attention,
    /// It repeats commands no more.
    EchoOff,
    /// Which product this is: key and secret.
    Product(Password, Password),
    /// Where the platform is, `host:port`.
    Server(String),
    /// It connects now and at every power-on.
    Register,
    /// How it stands with the platform.
    State,
    /// How good the signal is.
    Signal,
    /// How many bytes may be read at a time.
    ReadLimits,
    /// Which version of a component it announces.
    VersionOf(String),
    /// The version of a component that runs.
    Announce(String, String),
    /// It asks for a plan; true: with the SHA-256 of files.
    Request(bool),
    /// The plan is refused.
    Refuse,
    /// The plan is accepted.
    Accept,
    /// The next piece may come.
    NextPiece,
    /// The file is there, and is being installed from now on.
    Install,
    /// Bytes of the file.
    Read {
        /// The first one, from the file's beginning.
        start: u64,
        /// How many.
        length: u32,
    },
}

impl Command {
    /// As it goes over the wire.
    pub(crate) fn encode(&self) -> String {
        match self {
            Self::Attention => "AT\r".into(),
            Self::EchoOff => "ATE0\r".into(),
            Self::Product(key, secret) => {
                let (key, secret) = (key.reveal(), secret.reveal());
                format!("AT+QIOTCFG=\"productinfo\",\"{key}\",\"{secret}\"\r")
            }
            Self::Server(server) => format!("AT+QIOTCFG=\"server\",1,\"{server}\"\r"),
            Self::Register => "AT+QIOTREG=2\r".into(),
            Self::State => "AT+QIOTSTATE?\r".into(),
            Self::Signal => "AT+CSQ\r".into(),
            Self::ReadLimits => "AT+QIOTOTARD=?\r".into(),
            Self::VersionOf(component) => format!("AT+QIOTMCUVER=\"{component}\"\r"),
            Self::Announce(component, version) => {
                format!("AT+QIOTMCUVER=\"{component}\",\"{version}\"\r")
            }
            Self::Request(true) => "AT+QIOTOTAREQ=1\r".into(),
            Self::Request(false) => "AT+QIOTOTAREQ\r".into(),
            Self::Refuse => "AT+QIOTUPDATE=0\r".into(),
            Self::Accept => "AT+QIOTUPDATE=1\r".into(),
            Self::NextPiece => "AT+QIOTUPDATE=2\r".into(),
            Self::Install => "AT+QIOTUPDATE=3\r".into(),
            Self::Read { start, length } => format!("AT+QIOTOTARD={start},{length}\r"),
        }
    }
}

/// Without the product's secret.
impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Product(..) => f.write_str("AT+QIOTCFG=\"productinfo\",…"),
            other => f.write_str(other.encode().trim_end()),
        }
    }
}
