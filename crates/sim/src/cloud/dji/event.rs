//! What happened at the simulated platform, in a form that stays: its JSON is what scripts read.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The broker is gone.
    BrokerLost,
    /// The broker is back.
    BrokerThere,
    /// A gateway told its topology.
    Topology {
        /// Which gateway.
        gateway: String,
        /// Its message's `data`.
        data: Value,
    },
    /// A command was sent.
    Sent {
        /// To which gateway.
        gateway: String,
        /// Name of the message.
        tid: String,
        /// Name of what it is about.
        bid: String,
        /// The command.
        method: String,
    },
    /// A gateway answered a command.
    Replied {
        /// To which message.
        tid: String,
        /// About what.
        bid: String,
        /// The code.
        result: i64,
        /// The word, if it has one.
        status: Option<String>,
        /// After so many milliseconds.
        after_ms: u64,
    },
    /// A gateway told how an upgrade fares.
    Progress {
        /// Name of the message.
        tid: String,
        /// Of which request.
        bid: String,
        /// The word.
        status: String,
        /// Of all of it.
        percent: i64,
        /// The step, in whatever field it came.
        step: Option<Value>,
        /// The code.
        result: i64,
        /// Whether the gateway was known to be there.
        is_online: bool,
    },
    /// A device told how it is.
    State {
        /// Which device.
        sn: String,
        /// Its message's `data`.
        data: Value,
    },
    /// A device told its properties.
    Osd {
        /// Which device.
        sn: String,
        /// Its message's `data`.
        data: Value,
    },
    /// A file was sent.
    Served {
        /// Status of the answer.
        status: u16,
        /// Where in the file the bytes begin.
        from: u64,
        /// Bytes that were sent.
        sent: u64,
        /// Bytes of the file.
        of: u64,
    },
    /// A gateway did what it should not.
    Fault {
        /// The rule.
        rule: String,
        /// What it did.
        what: String,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BrokerLost => formatter.write_str("the broker is gone"),
            Self::BrokerThere => formatter.write_str("the broker is there"),
            Self::Topology { gateway, .. } => write!(formatter, "{gateway} is there"),
            Self::Sent { gateway, bid, method, .. } => {
                write!(formatter, "{method} {bid} to {gateway}")
            }
            Self::Replied { bid, result, status, after_ms, .. } => {
                let status = status.as_deref().unwrap_or_default();
                write!(formatter, "{bid} is answered after {after_ms} ms: {result} {status}")
            }
            Self::Progress { bid, status, percent, step, result, .. } => {
                let step = step.as_ref().map(ToString::to_string).unwrap_or_default();
                write!(formatter, "{bid} is {status}, {percent} %, {step}, result {result}")
            }
            Self::State { sn, data } => write!(formatter, "{sn} is {data}"),
            Self::Osd { sn, data } => write!(formatter, "{sn} tells {data}"),
            Self::Served { status, from, sent, of } => {
                write!(formatter, "sent: {status}, {sent} of {of} bytes from {from} on")
            }
            Self::Fault { rule, what } => write!(formatter, "against {rule}: {what}"),
        }
    }
}
