//! Any bytes as a command of DJI's Cloud API, and as an answer to what was said: the promises that
//! `channel::dji_cloud::fuzz` checks.
#![no_main]

use libfuzzer_sys::fuzz_target;
use uplift::channel::dji_cloud;

fuzz_target!(|bytes: &[u8]| dji_cloud::fuzz(bytes));
