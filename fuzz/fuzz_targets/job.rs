//! Any bytes as what happens to a network platform, the daemon and the process between them: the
//! promises that `channel::job::fuzz` checks.
#![no_main]

use libfuzzer_sys::fuzz_target;
use uplift::channel::job;

fuzz_target!(|bytes: &[u8]| job::fuzz(bytes));
