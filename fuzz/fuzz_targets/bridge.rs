//! Whatever an application sends over the bridge: read alike at once and byte by byte, and no field
//! beyond its limit.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use uplift::channel::psdk::bridge::wire::{Broken, Said, Word, next};

fuzz_target!(|bytes: &[u8]| {
    let at_once = read(&[bytes]);
    let bytewise: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(at_once, read(&bytewise));
    for said in &at_once.0 {
        match &said.word {
            Word::Hello { name, .. } => assert!(name.chars().count() <= 64),
            Word::Start(offer) => assert!(offer.name.chars().count() <= 255),
            Word::Data { data, .. } => assert!((1..=4096).contains(&data.len())),
            _ => {}
        }
    }
});

/// All messages, and what ended them.
fn read(pieces: &[&[u8]]) -> (Vec<Said>, Option<Broken>) {
    let (mut buffer, mut all) = (BytesMut::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match next(&mut buffer) {
                Ok(Some(said)) => all.push(said),
                Ok(None) => break,
                Err(broken) => return (all, Some(broken)),
            }
        }
    }
    (all, None)
}
