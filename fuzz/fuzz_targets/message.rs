//! Any payload of any command: read without a byte that is not in it, and bytes behind the fields
//! of a command change nothing.
//!
//! Two bytes of command set and id, then the payload.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use uplift::channel::psdk::serial::frame::CommandId;
use uplift::channel::psdk::serial::wire::aircraft_type;
use uplift::channel::psdk::words::Command;

fuzz_target!(|input: &[u8]| {
    let [set, id, payload @ ..] = input else { return };
    let parse = |payload: &[u8]| {
        Command::parse(CommandId::new(*set, *id), &Bytes::copy_from_slice(payload))
    };
    let _ = aircraft_type(payload);
    let Ok(command) = parse(payload) else { return };
    match &command {
        Command::DcftpData { data, .. } => assert!(!data.is_empty() && payload.ends_with(data)),
        command => {
            if let Command::DcftpStart(offer) = command {
                assert!(offer.name.chars().count() <= usize::from(u8::MAX));
            }
            assert_eq!(parse(&[payload, &[0xA5]].concat()).as_ref(), Ok(command));
        }
    }
});
