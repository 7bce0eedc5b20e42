//! Any line as a request of the control socket, or as an answer that a client reads: what is
//! understood is the same again after it was written, on one line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use uplift::control::{ControlAnswer, ControlRequest};

fuzz_target!(|line: &[u8]| {
    if let Ok(request) = serde_json::from_slice::<ControlRequest>(line) {
        let written = serde_json::to_string(&request).expect("a request can be written");
        assert_eq!(
            serde_json::from_str::<ControlRequest>(&written).expect("what was written is read"),
            request
        );
        assert!(!written.contains('\n'));
    }
    if let Ok(answer) = serde_json::from_slice::<ControlAnswer>(line) {
        let written = serde_json::to_string(&answer).expect("an answer can be written");
        assert_eq!(
            serde_json::from_str::<ControlAnswer>(&written).expect("what was written is read"),
            answer
        );
        assert!(!written.contains('\n'));
    }
});
