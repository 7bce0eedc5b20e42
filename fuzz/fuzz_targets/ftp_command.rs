//! What a client sends to the FTP server before and after it logged in, in pieces of the first
//! byte's length: the promises that `ftp_server::fuzz` checks.
#![no_main]

use libfuzzer_sys::fuzz_target;
use uplift::ftp_server;

fuzz_target!(|bytes: &[u8]| {
    if let [piece, lines @ ..] = bytes {
        ftp_server::fuzz(lines, usize::from(*piece).max(1));
    }
});
