//! Any text where a peer gives a name: a file name, the listing of an upload area, what a program prints.
#![no_main]

use libfuzzer_sys::fuzz_target;
use uplift::package::name::FileName;
use uplift::package::preflight::find_version;
use uplift::transfer::ftp_client::Listing;

fuzz_target!(|bytes: &[u8]| {
    let listing = Listing::parse(bytes, |product| product.len() % 2 == 0);
    for name in &listing.ours {
        let parsed: FileName = name.parse().expect("ours have a right name");
        assert!(parsed.to_string() == *name && !name.contains(['/', '\0', '\r', '\n']));
    }
    if let Err(failure) = listing.only_one() {
        assert!(!failure.to_string().chars().any(char::is_control));
    }
    let text = String::from_utf8_lossy(bytes);
    if let Err(error) = text.parse::<FileName>() {
        assert!(!error.into_failure(&text).to_string().chars().any(char::is_control));
    }
    if let Some(version) = find_version(&text) {
        assert_eq!(find_version(&version.to_string()), Some(version));
    }
});
