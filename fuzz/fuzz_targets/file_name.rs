//! Any text as the name of a firmware file, and as what a program prints of its version: what is
//! read can be written and read again, a name is never a path, and what is said of a wrong one has
//! nothing in it that a terminal would obey.
#![no_main]

use libfuzzer_sys::fuzz_target;
use uplift::model::file_name::FileName;
use uplift::package::preflight::find_version;

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    match text.parse::<FileName>() {
        Ok(name) => assert!(name.to_string() == text && !text.contains(['/', '\0', '\r', '\n'])),
        Err(error) => assert!(!error.into_failure(&text).to_string().chars().any(char::is_control)),
    }
    if let Some(version) = find_version(&text) {
        assert_eq!(find_version(&version.to_string()), Some(version));
    }
});
