//! Any bytes as the state file and as the rescue's own file: the promises that `rescue::fuzz`
//! checks.
//!
//! `state.json`, and behind a zero byte `rescue.json`.
#![no_main]

use std::fs;

use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

fuzz_target!(|bytes: &[u8]| {
    let directory = TempDir::new().expect("a directory can be made");
    let mut parts = bytes.splitn(2, |&byte| byte == 0);
    for name in ["state.json", "rescue.json"] {
        if let Some(text) = parts.next() {
            fs::write(directory.path().join(name), text).expect("a file can be written");
        }
    }
    uplift::rescue::fuzz(directory.path());
});
