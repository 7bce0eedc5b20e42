//! Any text as a configuration: an error always says where, and never behind the end of the text.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use uplift::config::{Config, ConfigError};

fuzz_target!(|text: &str| {
    match Config::parse(text, Path::new("fuzz.toml")) {
        Ok(config) => {
            assert!(config.components.iter().next().is_some());
            for component in &config.components {
                let trial = &component.common().trial;
                assert!(!trial.deadline.is_zero() && trial.boots > 0);
                assert!(!component.product().is_empty());
                assert!(component.program().is_none_or(|program| {
                    program.path.is_absolute() && program.window < trial.deadline
                }));
            }
        }
        Err(ConfigError::Invalid { line, .. }) => {
            assert!(line >= 1 && line <= 1 + text.matches('\n').count())
        }
        Err(other) => panic!("a text that is there can be read: {other}"),
    }
});
