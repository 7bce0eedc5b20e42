//! What must hold of any message, for the fuzzer.

use super::words::{answer, service};

/// The serial number of ours that the fuzzer knows.
const OURS: &str = "A";

/// Takes bytes as a command, and as an answer. Panics where a promise is broken.
#[doc(hidden)]
pub fn fuzz(bytes: &[u8]) {
    let _ = answer(bytes);
    let Ok(command) = service(bytes, |sn| sn == OURS) else { return };
    let call = &command.call;
    let ids = [&call.tid, &call.bid, &call.method];
    assert!(ids.iter().all(|id| (1..=256).contains(&id.len())), "an answer repeats them");
    match command.asked {
        Ok(entries) => {
            assert!(entries.len() == 1, "two are not for one device");
            for entry in entries {
                assert_eq!(entry.sn, OURS);
                let file = entry.file(Some("P"));
                assert!(file.size != Some(0));
                let written = serde_json::to_vec(&entry).unwrap_or_default();
                let read = serde_json::from_slice(&written).ok();
                assert_eq!(read, Some(entry), "a record is read as it was written");
            }
        }
        Err(refusal) => {
            assert_ne!(refusal.code.0, 0);
            assert!(!refusal.why.contains(char::is_control) && refusal.why.len() < 400);
        }
    }
}
