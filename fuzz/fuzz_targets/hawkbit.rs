//! What a hawkBit server answers: the promises that `channel::hawkbit::fuzz` checks.
#![no_main]

use libfuzzer_sys::fuzz_target;
use uplift::channel::hawkbit;

fuzz_target!(|answer: &[u8]| hawkbit::fuzz(answer));
