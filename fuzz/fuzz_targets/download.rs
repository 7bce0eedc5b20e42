//! The head of any answer to any request for a file: the promises that `transfer::http::fuzz` checks.
#![no_main]

use libfuzzer_sys::fuzz_target;
use uplift::transfer::http;

fuzz_target!(|bytes: &[u8]| http::fuzz(bytes));
