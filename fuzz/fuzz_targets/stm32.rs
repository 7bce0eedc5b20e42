//! Any bytes as what a microcontroller answers, as the record in its flash, and as a program for it:
//! the promises that `component::mcu::fuzz` checks.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

fuzz_target!(|bytes: &[u8]| {
    let directory = TempDir::new().expect("a directory can be made");
    uplift::component::mcu::fuzz(&directory.path().join("mcu/motor"), bytes);
});
