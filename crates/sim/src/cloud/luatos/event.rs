//! What happened at the simulated platform, in a form that stays: its JSON is what scripts read.

use std::fmt;

use serde::Serialize;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A device asked for an upgrade.
    Asked {
        /// `imei`, `mac` or `uid`, and what it says.
        identity: Option<(String, String)>,
        /// The version that runs.
        version: Option<String>,
        /// `firmware_upgrade` or `turnkey_fota`.
        resource: String,
        /// The header, where there is one.
        range: Option<String>,
        /// Status of the answer; 0 where there was none.
        status: u16,
        /// The code of the answer, where it is one.
        code: Option<i64>,
    },
    /// A file was sent.
    Sent {
        /// Status of the answer.
        status: u16,
        /// Where in the file the bytes begin.
        from: u64,
        /// Bytes that were sent.
        sent: u64,
        /// Bytes of the file.
        of: u64,
    },
    /// A device told a result, by the newer protocol.
    Result {
        /// Which upgrade.
        fota_sn: String,
        /// 1 success, 2 failure.
        result: String,
        /// Code of the answer.
        code: i64,
    },
    /// Somebody asked for something else.
    Refused {
        /// The method.
        method: String,
        /// The path, without the query.
        path: String,
        /// Status of the answer.
        status: u16,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked { identity, version, resource, range, status, code } => {
                let (name, value) = identity.clone().unwrap_or_default();
                let version = version.as_deref().unwrap_or("no version");
                let range = range.as_ref().map_or_else(String::new, |range| format!(", {range}"));
                let code = code.map_or_else(String::new, |code| format!(", code {code}"));
                write!(
                    formatter,
                    "{name} {value} asks {resource} with {version}{range}: {status}{code}"
                )
            }
            Self::Sent { status, from, sent, of } => {
                write!(formatter, "sent: {status}, {sent} of {of} bytes from {from} on")
            }
            Self::Result { fota_sn, result, code } => {
                write!(formatter, "result of {fota_sn}: {result}; answered with {code}")
            }
            Self::Refused { method, path, status } => {
                write!(formatter, "refused: {method} {path}: {status}")
            }
        }
    }
}
