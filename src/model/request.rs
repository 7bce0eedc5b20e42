//! Who asked for an upgrade, over what, and what the engine must know of that to serve any channel.

use serde::{Deserialize, Serialize};

use super::{ChannelName, Reference, TransferKind};

/// Who asked, over what.
///
/// | field | meaning |
/// |---|---|
/// | `channel` | its name |
/// | `requester` | who on that channel, such as "0xed" or "uid 1000" |
/// | `caller` | the process that asked, where a channel's peers are processes of this machine: its own name, number, user. Absent: nothing |
/// | `transfer` | how the bytes come |
/// | `receipt` | `"acknowledged"`: the report is repeated until somebody says that it was seen; `"history"`: whoever wants it reads the history. Absent, in files of version 0.1.0: what follows from the channel |
/// | `rejoins` | whether who asks again under the same name comes back to its upgrade. Absent: the same |
/// | `waits` | whether it may be put off: what is not allowed now waits, as `deferred`, until it is. Absent: `false` |
/// | `resumes` | whether what is received of its file outlives restarts, and is gone on with. Absent: `false` |
/// | `sealed` | whether what it brings needs a seal by a trusted key, whatever the configuration says. Absent: `false` |
/// | `reference` | what the channel must know again with it; opaque. Absent: nothing |
/// | `forced` | a person insists: a lower version, the same one, or a program that failed here before is let in, and now. Absent: `false` |
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written")]
#[allow(missing_docs, reason = "the table above")]
pub struct Request {
    pub channel: ChannelName,
    pub requester: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller: Option<String>,
    pub transfer: TransferKind,
    pub receipt: Receipt,
    pub rejoins: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub waits: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub resumes: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub sealed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<Reference>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub forced: bool,
}

/// How a report reaches whoever asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Receipt {
    /// It is repeated until somebody says that it was seen.
    Acknowledged,
    /// Whoever wants it reads the history.
    History,
}

/// How near to the payload whoever asks is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Nearness {
    Network,
    Link,
    Person,
}

impl Request {
    /// Of a host on the payload link.
    pub fn of_link(requester: String, transfer: TransferKind) -> Self {
        let (channel, receipt) = (ChannelName::PSDK, Receipt::Acknowledged);
        Self { channel, transfer, receipt, rejoins: true, ..Self::of_shell(requester) }
    }

    /// Of somebody on this machine. Two people may share a uid, and neither comes back to an
    /// upgrade.
    pub fn of_shell(requester: String) -> Self {
        Self {
            channel: ChannelName::SHELL,
            requester,
            caller: None,
            transfer: TransferKind::Local,
            receipt: Receipt::History,
            rejoins: false,
            waits: false,
            resumes: false,
            sealed: false,
            reference: None,
            forced: false,
        }
    }

    /// Whether somebody says that the report was seen.
    pub fn is_acknowledged(&self) -> bool {
        self.receipt == Receipt::Acknowledged
    }

    /// Whether it comes before that one where both are asked for: a person before the payload link,
    /// and that before a platform of the network.
    pub fn comes_before(&self, other: &Self) -> bool {
        self.nearness() > other.nearness()
    }

    /// Whether a platform of the network asks.
    pub fn is_of_network(&self) -> bool {
        self.nearness() == Nearness::Network
    }

    fn nearness(&self) -> Nearness {
        match self.channel {
            ChannelName::SHELL => Nearness::Person,
            ChannelName::PSDK => Nearness::Link,
            _ => Nearness::Network,
        }
    }

    /// Whether the same peer asks again, perhaps for another transfer.
    pub fn is_by_requester_of(&self, other: &Self) -> bool {
        self.rejoins && self.channel == other.channel && self.requester == other.requester
    }
}

/// A request in a file, which may be version 0.1.0's.
#[derive(Deserialize)]
struct Written {
    channel: ChannelName,
    requester: String,
    caller: Option<String>,
    transfer: TransferKind,
    receipt: Option<Receipt>,
    rejoins: Option<bool>,
    #[serde(default)]
    waits: bool,
    #[serde(default)]
    resumes: bool,
    #[serde(default)]
    sealed: bool,
    reference: Option<Reference>,
    #[serde(default)]
    forced: bool,
}

impl From<Written> for Request {
    fn from(written: Written) -> Self {
        let Written {
            channel,
            requester,
            caller,
            transfer,
            receipt,
            rejoins,
            waits,
            resumes,
            sealed,
            reference,
            forced,
        } = written;
        let is_link = channel == ChannelName::PSDK;
        let by_channel = if is_link { Receipt::Acknowledged } else { Receipt::History };
        Self {
            channel,
            requester,
            caller,
            transfer,
            receipt: receipt.unwrap_or(by_channel),
            rejoins: rejoins.unwrap_or(is_link),
            waits,
            resumes,
            sealed,
            reference,
            forced,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Request {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_request_of_the_first_version_tells_by_its_channel() {
        let link = read(r#"{"channel":"psdk","requester":"0xed","transfer":"ftp"}"#);
        assert_eq!(link, Request::of_link("0xed".into(), TransferKind::Ftp));
        let shell = read(r#"{"channel":"shell","requester":"uid 0","transfer":"local"}"#);
        assert_eq!(shell, Request::of_shell("uid 0".into()));
    }

    #[test]
    fn a_request_of_a_channel_of_another_version_is_read_and_written_again() {
        let text = r#"{"channel":"hawkbit-2","requester":"device","transfer":"ftp","receipt":"acknowledged","rejoins":true}"#;
        let request = read(text);
        assert!(request.is_acknowledged() && request.is_by_requester_of(&request));
        assert_eq!(serde_json::to_string(&request).unwrap(), text);
    }
}
