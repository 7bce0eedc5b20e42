//! Files that are not as they were: what a bad line, a bad disk or a bad person makes of them.

use fastrand::Rng;

/// Changes some bits, cuts some bytes off, or adds some, anywhere. May do and undo: the caller
/// compares.
pub(crate) fn change(random: &mut Rng, file: &mut Vec<u8>) {
    match random.u8(..6) {
        0..3 => flip(random, file, 1),
        3 => {
            let bits = random.usize(2..=64);
            flip(random, file, bits);
        }
        4 => {
            let start = random.usize(..file.len());
            let end = random.usize(start + 1..=file.len());
            // At the end, at the start, and in the middle.
            file.drain(if random.bool() { start..file.len() } else { start..end });
        }
        _ => {
            let at = if random.bool() { file.len() } else { random.usize(..=file.len()) };
            let more: Vec<u8> = (0..random.usize(1..=100)).map(|_| random.u8(..)).collect();
            file.splice(at..at, more);
        }
    }
}

fn flip(random: &mut Rng, file: &mut [u8], bits: usize) {
    for _ in 0..bits {
        let at = random.usize(..file.len());
        file[at] ^= 1 << random.u8(..8);
    }
}
