//! The file on its way, and the answer that its transfer begins with.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use super::host::Host;
use super::{Options, Trouble, words};
use crate::frame::Command;

/// Between two such tries.
const READY_AGAIN: Duration = Duration::from_millis(100);
/// The file on its way.
pub(super) struct Firmware {
    pub(super) file: File,
    pub(super) name: String,
    pub(super) size: u64,
}

/// Opens the file that is to be sent.
pub(super) fn open(options: &Options) -> Result<Firmware, Trouble> {
    let path = options.firmware.as_path();
    let trouble = |cause| Trouble::File { path: path.to_owned(), cause };
    let file = File::open(path).map_err(trouble)?;
    let size = file.metadata().map_err(trouble)?.len();
    let name = options.claims.name.clone().unwrap_or_else(|| file_name(path));
    Ok(Firmware { file, name, size })
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Asks for the first thing of a transfer until the payload has its store ready; returns the answer
/// behind the return code.
pub(super) fn when_ready(
    host: &mut Host<'_>,
    command: Command,
    payload: &[u8],
    deadline: Instant,
) -> Result<Vec<u8>, Trouble> {
    loop {
        match accept(host, command, payload.to_vec()) {
            Err(Trouble::Refused { .. }) if Instant::now() < deadline => {
                host.idle(Instant::now() + READY_AGAIN);
            }
            other => return other,
        }
    }
}

/// Asks, and returns the answer behind a return code of success.
pub(super) fn accept(
    host: &mut Host<'_>,
    command: Command,
    payload: Vec<u8>,
) -> Result<Vec<u8>, Trouble> {
    let answer = host.request(command, payload)?;
    match words::accepted(&answer) {
        Ok(rest) => Ok(rest.to_vec()),
        Err(Some(code)) => Err(Trouble::Refused { command, code, reason: None }),
        Err(None) => Err(Trouble::Malformed { command, answer: answer.to_vec() }),
    }
}
