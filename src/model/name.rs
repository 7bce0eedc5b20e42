//! Names of channels and components: open text, so that a file which names one that this version
//! does not have can still be read.

use std::fmt;
use std::marker::PhantomData;

use serde::{Deserialize, Serialize};

/// Longest name in bytes.
const LONGEST_NAME: usize = 32;

/// The name of something of the kind `Of`: small letters, digits and hyphens.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String", bound = "Of: Named")]
pub struct Name<Of> {
    /// Filled up with zeros.
    text: [u8; LONGEST_NAME],
    length: usize,
    of: PhantomData<Of>,
}

/// What can have a [`Name`].
pub trait Named: Copy {
    /// What it is, for an error.
    const WHAT: &'static str;
    /// One of its names, for an error.
    const SUCH_AS: &'static str;
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Channel {}

impl Named for Channel {
    const WHAT: &'static str = "channel";
    const SUCH_AS: &'static str = "psdk";
}

/// What is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Component {}

impl Named for Component {
    const WHAT: &'static str = "component";
    const SUCH_AS: &'static str = "program";
}

/// Names of brokers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Broker {}

impl Named for Broker {
    const WHAT: &'static str = "broker";
    const SUCH_AS: &'static str = "cloud";
}

/// The name of a broker, `NAME` of `[broker.NAME]`.
pub type BrokerName = Name<Broker>;

/// The name of a channel.
pub type ChannelName = Name<Channel>;

/// The name of a component, `NAME` of `[component.NAME]`.
pub type ComponentName = Name<Component>;

impl ChannelName {
    /// The payload link: DJI Assistant 2 through the aircraft.
    pub const PSDK: Self = Self::of(b"psdk");
    /// A person or a program on this machine, through the control socket.
    pub const SHELL: Self = Self::of(b"shell");
    /// A hawkBit server, or one that speaks as it does.
    pub const HAWKBIT: Self = Self::of(b"hawkbit");
    /// The LuatOS platform, or a server that speaks as it does.
    pub const LUATOS: Self = Self::of(b"luatos");
    /// The QuecThing platform behind a module of the mobile network.
    pub const QUECTEL: Self = Self::of(b"quectel");
    /// DJI's Cloud API, in the role of a gateway.
    pub const DJI_CLOUD: Self = Self::of(b"dji-cloud");
    /// ThingsPanel.
    pub const THINGSPANEL: Self = Self::of(b"thingspanel");
    /// A network channel for tests, whose network is this machine.
    pub const LOOPBACK: Self = Self::of(b"loopback");
}

impl ComponentName {
    /// The payload's program, where nobody says another name; the only one that version 0.1.0 has.
    pub const PROGRAM: Self = Self::of(b"program");
}

impl<Of> Name<Of> {
    const fn of(name: &[u8]) -> Self {
        let mut text = [0; LONGEST_NAME];
        text.split_at_mut(name.len()).0.copy_from_slice(name);
        Self { text, length: name.len(), of: PhantomData }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        // It is made of plain letters.
        std::str::from_utf8(&self.text[..self.length]).unwrap_or_default()
    }
}

impl<Of> fmt::Display for Name<Of> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl<Of> fmt::Debug for Name<Of> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

impl<Of: Named> TryFrom<String> for Name<Of> {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let is_plain =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(is_plain) {
            Ok(Self::of(name.as_bytes()))
        } else {
            let (what, such_as) = (Of::WHAT, Of::SUCH_AS);
            Err(format!(
                "{name:?} is not the name of a {what}: expected small letters, such as {such_as:?}"
            ))
        }
    }
}

impl<Of: Named> std::str::FromStr for Name<Of> {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::try_from(name.to_owned())
    }
}

impl<Of> From<Name<Of>> for String {
    fn from(name: Name<Of>) -> Self {
        name.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_plain() {
        for name in ["", "Psdk", "a b", "ä", "a\n", &"a".repeat(33)] {
            assert!(ChannelName::try_from(name.to_owned()).is_err(), "{name:?}");
            let error = ComponentName::try_from(name.to_owned()).unwrap_err();
            assert!(error.contains("is not the name of a component"), "{error}");
        }
        assert!(ChannelName::try_from("a".repeat(32)).is_ok());
        assert_eq!("modem-2".parse::<ComponentName>().unwrap().as_str(), "modem-2");
    }
}
