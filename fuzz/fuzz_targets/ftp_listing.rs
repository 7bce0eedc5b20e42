//! Any answer to NLST: what is ours has a right name, every line is sorted, and a failure shows
//! what lies there without a character that a terminal would obey.
#![no_main]

use libfuzzer_sys::fuzz_target;
use uplift::model::file_name::FileName;
use uplift::transfer::ftp_client::Listing;

fuzz_target!(|answer: &[u8]| {
    let listing = Listing::read(answer, |product| product.len() % 2 == 0).expect("it is in memory");
    for name in &listing.ours {
        let parsed: FileName = name.parse().expect("ours have a right name");
        assert!(parsed.to_string() == *name && !name.contains(['/', '\0', '\r', '\n']));
    }
    assert!(
        listing.ours.len() + listing.others.len()
            <= 1 + answer.iter().filter(|&&byte| byte == b'\n').count()
    );
    match listing.only_one() {
        Ok(name) => assert_eq!(listing.ours, [name]),
        Err(failure) => assert!(!failure.to_string().chars().any(char::is_control)),
    }
});
