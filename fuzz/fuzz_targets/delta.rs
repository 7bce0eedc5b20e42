//! Any bytes as a delta, and any two programs: what comes of a delta is never more than was said, and
//! what was made of two programs gives the second one back. The first five bytes choose what is done,
//! the machine, the size, and what of the rest is the old program.
#![no_main]

use libfuzzer_sys::fuzz_target;
use uplift_delta::{apply, make};

const WINDOW: u64 = 1 << 12;

/// A program that is for this machine by its first bytes.
fn program(machine: u8, bytes: &[u8]) -> Vec<u8> {
    let mut program = b"\x7fELF".to_vec();
    program.resize(20, 0);
    program[18] = machine;
    program.extend_from_slice(bytes);
    program
}

fuzz_target!(|input: &[u8]| {
    let Some((&[how, size_low, size_high, old_low, old_high], rest)) =
        input.split_first_chunk::<5>()
    else {
        return;
    };
    let number = |low, high| usize::from(u16::from_le_bytes([low, high]));
    let (old, rest) = rest.split_at(number(old_low, old_high).min(rest.len()));
    let machine = [0, 62, 183][usize::from(how >> 1) % 3];
    if how & 1 == 0 {
        let (old, new) = (program(machine, old), program(machine, rest));
        let (mut delta, mut back) = (Vec::new(), Vec::new());
        make(&old, &new, WINDOW, 1, &mut delta, &|_| ()).expect("both are in memory");
        let (old_size, size) = (old.len() as u64, new.len() as u64);
        apply(&old[..], old_size, size, WINDOW, &delta[..], &mut back).expect("it was made");
        assert!(back == new);
        return;
    }
    let (size, mut new) = (number(size_low, size_high), Vec::new());
    // Every delta begins with a zero.
    let delta = [&[0], rest].concat();
    let result = apply(old, old.len() as u64, size as u64, WINDOW, &delta[..], &mut new);
    assert!(new.len() <= size && (result.is_err() || new.len() == size));
});
