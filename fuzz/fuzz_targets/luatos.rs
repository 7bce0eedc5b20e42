//! Any bytes as an answer of the LuatOS platform, with its headers, and as the channel's record of
//! what it asked for: the promises that `channel::luatos::fuzz` checks.
#![no_main]

use libfuzzer_sys::fuzz_target;
use uplift::channel::luatos;

fuzz_target!(|bytes: &[u8]| luatos::fuzz(bytes));
