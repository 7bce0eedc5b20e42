//! Any bytes as messages of ThingsPanel: the promises that `channel::thingspanel::fuzz` checks.
#![no_main]

use libfuzzer_sys::fuzz_target;
use uplift::channel::thingspanel;

fuzz_target!(|bytes: &[u8]| thingspanel::fuzz(bytes));
