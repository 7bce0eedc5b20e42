//! Any bytes as what a module of Quectel's says, in any parts: the promises that
//! `channel::quectel::fuzz` checks.
#![no_main]

use libfuzzer_sys::fuzz_target;
use uplift::channel::quectel;

fuzz_target!(|bytes: &[u8]| quectel::fuzz(bytes));
