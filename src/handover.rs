//! Handing a file over to the daemon through a local socket (docs/wire/hand-over.md).
//!
//! Whatever comes from outside is received by a process without rights, and reaches the daemon
//! here. Each kind of process has a socket of its own, and a socket has the requests that its
//! clients may make and no others. Both ends share these types. The room knows how bytes are
//! handed over, and nothing of where they come from.

mod blocking;
pub(crate) mod channel_client;
mod channel_server;
pub(crate) mod channels;
pub(crate) mod client;
pub(crate) mod delivery;
pub(crate) mod passing;
mod pieces;
mod server;

pub(crate) use channel_server::serve_channels;
pub(crate) use server::serve_uploads;

use std::io;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::model::{Failure, FailureKind};

/// Longest line in either direction: two names of a file at their longest, and room for the rest.
const LONGEST_LINE: usize = 8192;

/// The same of a channel: a note at its longest, each byte of it as an escape of six.
const LONGEST_CHANNEL_LINE: usize = 64 << 10;

/// What an upload server may ask, over `uploads.sock`; one a line.
///
/// | `request` | fields | answers |
/// |---|---|---|
/// | `upload` | `file_name`; `owner`: whose it is; `offset` | `send`, then the client sends pieces, then `stored`; or `elsewhere`; or `nothing-to-go-on` |
/// | `look` | – | `upload` |
/// | `rename` | `from`, `to` | `done` |
/// | `remove` | `file_name` | `done` |
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum UploadRequest {
    /// Bytes for the upgrade that waits for them.
    Upload {
        /// The file's name.
        file_name: String,
        /// Whose it is: nobody else may go on with it.
        owner: String,
        /// Behind how many bytes of what came before it goes on.
        offset: u64,
    },
    /// What there is of an upload.
    Look {},
    /// Another name for the file.
    Rename {
        /// Its name.
        from: String,
        /// Its new one.
        to: String,
    },
    /// Throws the file away.
    Remove {
        /// Its name.
        file_name: String,
    },
}

/// What the daemon answers; one a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub(crate) enum UploadAnswer {
    /// Send the pieces now.
    Send,
    /// No upgrade waits for this file here; it may lie in the upload area.
    Elsewhere {
        /// Why, for the log.
        why: String,
    },
    /// So many bytes of it never came.
    NothingToGoOn,
    /// The file is whole and durable.
    Stored {
        /// Its size in bytes.
        size: u64,
    },
    /// What there is.
    Upload {
        /// Nothing where there is none.
        upload: Option<Uploaded>,
    },
    /// It is done.
    Done,
    /// It failed; the connection ends.
    Failure {
        /// Why.
        failure: Failure,
    },
}

/// An upload that the daemon has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Uploaded {
    /// The file's name.
    pub(crate) file_name: String,
    /// Whose it is.
    pub(crate) owner: String,
    /// Bytes that are there.
    pub(crate) size: u64,
    /// When the last of them came, in nanoseconds since 1970.
    pub(crate) modified: u64,
    /// Whether bytes come.
    pub(crate) is_arriving: bool,
}

/// Why a client has no answer to its request.
enum Ended {
    /// It is told this.
    Failed(Failure),
    /// It is there no more, or does not do what it should.
    BrokeOff(anyhow::Error),
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<anyhow::Error> for Ended {
    fn from(error: anyhow::Error) -> Self {
        Self::BrokeOff(error)
    }
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Self::BrokeOff(error.into())
    }
}

/// A request, which must be one of those that a socket has.
fn parse<T: DeserializeOwned>(line: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(line).map_err(|error| {
        let sentence = "the request is none that may be made over this socket";
        Failure::new(FailureKind::Internal, sentence).because(error)
    })
}

/// For the fuzzer: takes bytes as a client's request and the pieces behind it. Panics where a
/// promise is broken.
#[doc(hidden)]
pub fn fuzz(bytes: &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (line, rest) = bytes.split_at(end);
    reads_what_it_writes::<UploadRequest>(line);
    reads_what_it_writes::<channels::ChannelRequest>(line);
    pieces::fuzz(rest.get(1..).unwrap_or_default());
}

fn reads_what_it_writes<T: PartialEq + Serialize + DeserializeOwned>(line: &[u8]) {
    let Ok(request) = serde_json::from_slice::<T>(line) else { return };
    let written = serde_json::to_vec(&request).unwrap_or_default();
    let again = serde_json::from_slice::<T>(&written);
    assert!(again.is_ok_and(|again| again == request), "what was written is read");
    assert!(!written.contains(&b'\n'), "a request is a line");
}
