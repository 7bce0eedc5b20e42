//! The local socket: requests in, status and progress out (docs/wire/control-protocol.md).
//!
//! One JSON object a line in both directions over a UNIX stream socket. Who may connect is the
//! socket's mode; who did is written into the upgrade. The room knows the engine's handle, and
//! neither files nor the machine.

mod client;
mod server;

pub use client::{Client, ClientError};
pub use server::serve;

use serde::{Deserialize, Serialize};

use crate::model::version::Version;
use crate::model::{ComponentName, Entry, Failure, HoldStatus, Report, Status};

/// Longest answer: a whole history, with the last words of each program that failed. A longer one
/// ends the connection.
pub const LONGEST_LINE: usize = 4 << 20;

/// What a client asks; one a line. A connection may ask one thing after the other.
///
/// | `request` | fields | answers |
/// |---|---|---|
/// | `status` | – | one `status` |
/// | `watch` | – | a `status` now and after each change, until the client closes |
/// | `history` | – | one `history` |
/// | `install` | `file_name`, `size`, `force` (optional) | `send`; then the client sends `size` bytes; then a `status` at each change, and `report` |
/// | `confirm` | – | `confirmed` |
/// | `forget` | `what`: `minimum-version`; `component` (optional) | `forgotten` |
/// | `hold` | `reason` (optional), `seconds` (optional) | `held` |
/// | `release` | – | `released` |
/// | `rollback` | `component` (optional) | a `status` now and at each change, and `report` |
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case", deny_unknown_fields)]
// Braces without fields: serde lets any field pass for a unit variant.
pub enum ControlRequest {
    /// The status, once.
    Status {},
    /// The status now and after each change.
    Watch {},
    /// The last reports.
    History {},
    /// Installs a file whose bytes follow.
    Install {
        /// The file's name, `Product_Vaa.bb.cc.dd.bin`.
        file_name: String,
        /// Its size in bytes.
        size: u64,
        /// Lets in a lower version, the same one, and a program that failed here before, whatever the
        /// policy says.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        force: bool,
    },
    /// Says that the program on trial works.
    Confirm {},
    /// Forgets what keeps something from being installed, for a repair.
    Forget {
        /// What.
        what: Forgettable,
        /// Of which component; absent: of the only one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        component: Option<ComponentName>,
    },
    /// Holds upgrades: none begins, none is installed.
    Hold {
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// For how long; absent: until it is released.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seconds: Option<u64>,
    },
    /// Ends the hold.
    Release {},
    /// Ends the trial that runs, or else puts the program back that was there before the last
    /// upgrade.
    Rollback {
        /// Of which component; absent: of the only one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        component: Option<ComponentName>,
    },
}

/// What a person may have forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Forgettable {
    /// The lowest version that is let in.
    MinimumVersion,
}

/// What the daemon answers; one a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
#[allow(clippy::large_enum_variant, reason = "lives for one line")]
pub enum ControlAnswer {
    /// The status.
    Status {
        /// As in `uplift status --json`.
        status: Status,
    },
    /// The last reports, oldest first.
    History {
        /// As in `uplift history --json`.
        reports: Vec<Entry>,
    },
    /// The request to install was accepted; send the bytes now.
    Send,
    /// The confirmation is written down.
    Confirmed,
    /// It is forgotten, and that is written down.
    Forgotten {
        /// The lowest version as it was; absent: there was none.
        minimum_version: Option<Version>,
    },
    /// Upgrades are held, and that is written down.
    Held {
        /// The hold.
        hold: HoldStatus,
    },
    /// Nobody holds upgrades.
    Released {
        /// The hold as it was; absent: there was none.
        hold: Option<HoldStatus>,
    },
    /// The upgrade ended.
    Report {
        /// How.
        report: Report,
    },
    /// The request failed; the connection ends.
    Failure {
        /// Why.
        failure: Failure,
    },
}
