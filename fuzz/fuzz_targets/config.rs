//! Any text as a configuration: an error always says where, and never more than the text has lines.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use uplift::config::{Config, ConfigError};

fuzz_target!(|text: &str| {
    if let Err(ConfigError::Invalid { line, .. }) = Config::parse(text, Path::new("fuzz.toml")) {
        assert!(line >= 1 && line <= 1 + text.matches('\n').count());
    }
});
