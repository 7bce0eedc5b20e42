//! Any bytes as what a broker of MQTT sends: the promises that `wire::mqtt::fuzz` checks.
#![no_main]

use libfuzzer_sys::fuzz_target;
use uplift::channel::network;

fuzz_target!(|bytes: &[u8]| network::fuzz_mqtt(bytes));
