//! Another wall clock, by libfaketime, for the processes of a payload that are started from now on. How
//! much time passes stays as it is.

use std::fs;
use std::path::{Path, PathBuf};

use super::payload::Payload;

/// The clock says what stands in this file.
pub(crate) fn by_file(payload: &mut Payload, file: &Path) {
    fake(payload);
    payload.set_environment("FAKETIME_TIMESTAMP_FILE", file.to_str().unwrap());
    payload.set_environment("FAKETIME_NO_CACHE", "1");
}

/// Each process begins ten seconds into 1970, as one does on a machine without a battery for its clock.
pub(crate) fn in_1970(payload: &mut Payload) {
    fake(payload);
    payload.set_environment("TZ", "UTC");
    payload.set_environment("FAKETIME", "@1970-01-01 00:00:10");
}

/// The machine's own clock again.
pub(crate) fn is_right(payload: &mut Payload) {
    payload.set_environment("LD_PRELOAD", "");
}

fn fake(payload: &mut Payload) {
    payload.set_environment("LD_PRELOAD", libfaketime().to_str().unwrap());
    payload.set_environment("FAKETIME_DONT_FAKE_MONOTONIC", "1");
}

fn libfaketime() -> PathBuf {
    let library = |entry: fs::DirEntry| {
        Some(entry.path().join("faketime/libfaketimeMT.so.1")).filter(|path| path.exists())
    };
    let found = fs::read_dir("/usr/lib").unwrap().flatten().find_map(library);
    found.expect("tests/install-packages installs libfaketime")
}
