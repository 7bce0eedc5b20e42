//! What a process without rights sends to hand over a file: the promises that `handover::fuzz`
//! checks.
#![no_main]

use libfuzzer_sys::fuzz_target;
use uplift::handover;

fuzz_target!(|bytes: &[u8]| handover::fuzz(bytes));
