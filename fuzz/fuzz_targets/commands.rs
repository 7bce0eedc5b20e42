//! Any bytes as a command of the payload link, of the FTP server, and as a request of the control socket.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use uplift::channel::psdk::frame::CommandId;
use uplift::channel::psdk::message::Command;
use uplift::control::ControlRequest;
use uplift::transfer::ftp_server;

fuzz_target!(|bytes: &[u8]| {
    if let [set, id, payload @ ..] = bytes {
        let _ = Command::parse(CommandId::new(*set, *id), &Bytes::copy_from_slice(payload));
    }
    if let [piece, line @ ..] = bytes {
        ftp_server::fuzz(line, usize::from(*piece).max(1));
    }
    let _ = serde_json::from_slice::<ControlRequest>(bytes);
});
