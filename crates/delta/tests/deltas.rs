//! Deltas from outside: what was made gives the new program back, and nothing else comes of anything.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as expected")]

use fastrand::Rng;
use proptest::prelude::*;
use uplift_delta::{DeltaError, apply, make};

const WINDOW: u64 = 64 << 10;

fn delta(old: &[u8], new: &[u8]) -> Vec<u8> {
    let mut delta = Vec::new();
    make(old, new, WINDOW, 2, &mut delta, &|_| ()).unwrap();
    delta
}

/// What comes of it; never more than `size`.
fn applied(old: &[u8], size: usize, delta: &[u8]) -> Result<Vec<u8>, DeltaError> {
    let mut new = Vec::new();
    let result = apply(old, old.len() as u64, size as u64, WINDOW, delta, &mut new);
    assert!(new.len() <= size, "{} of {size}", new.len());
    result.map(|()| new)
}

#[track_caller]
fn comes_back(old: &[u8], new: &[u8]) -> usize {
    let delta = delta(old, new);
    assert!(applied(old, new.len(), &delta).unwrap() == new);
    delta.len()
}

/// A program for this machine: functions of random bytes that call each other, and a table of where
/// they are. One function more or less moves all that follow.
fn program(machine: u8, without: Option<usize>) -> Vec<u8> {
    let mut random = Rng::with_seed(3);
    let functions: Vec<(Vec<u8>, usize)> = (0..600)
        .map(|_| {
            let body = (0..random.usize(40..200) / 4 * 4).map(|_| random.u8(0x20..0x7f)).collect();
            (body, random.usize(..600))
        })
        .collect();
    let mut starts = Vec::new();
    let mut at = 64;
    for (number, (body, _)) in functions.iter().enumerate() {
        starts.push(at);
        at += if without == Some(number) { 0 } else { body.len() + 8 };
    }
    let mut bytes = b"\x7fELF".to_vec();
    bytes.resize(64, 0);
    bytes[18] = machine;
    for (number, (body, called)) in functions.iter().enumerate() {
        if without == Some(number) {
            continue;
        }
        bytes.extend_from_slice(body);
        let here = bytes.len();
        match machine {
            62 => {
                bytes.extend([0x90, 0x90, 0x90, 0xe8]);
                let by = starts[*called] as i64 - (here as i64 + 8);
                bytes.extend((by as i32).to_le_bytes());
            }
            _ => {
                let by = (starts[*called] as i64 - here as i64) / 4;
                bytes.extend((0x9400_0000 | by as u32 & 0x03ff_ffff).to_le_bytes());
                bytes.extend(0xd503_201f_u32.to_le_bytes());
            }
        }
    }
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes.extend(starts.iter().flat_map(|start| (*start as u64 + 0x1000).to_le_bytes()));
    bytes
}

#[test]
fn what_has_moved_costs_little_where_the_machine_is_known() {
    for machine in [62, 183] {
        let (old, new) = (program(machine, None), program(machine, Some(300)));
        let known = comes_back(&old, &new);
        let foreign = |program: &[u8]| [b"none", &program[4..]].concat();
        let unknown = comes_back(&foreign(&old), &foreign(&new));
        assert!(known < unknown * 3 / 4 && known < new.len() / 50, "{machine}: {known}, {unknown}");
    }
}

#[test]
fn the_ends_of_what_can_be_packed_come_back() {
    let text: Vec<u8> = (0..300_000_u32).flat_map(|at| (at / 7).to_le_bytes()).collect();
    for (old, new) in [
        (&b""[..], &b"x"[..]),
        (b"x", b"x"),
        (b"", &text),
        (&text, b"x"),
        (&text, &text),
        (&text, &text[1..]),
        (&text[9..], &text),
        (&[0; 1 << 10], &[0; (5 << 20) + 1]),
    ] {
        comes_back(old, new);
    }
}

#[test]
fn the_same_pair_gives_the_same_delta_whatever_the_threads() {
    let mut random = Rng::with_seed(5);
    let old: Vec<u8> = (0..5 << 20).map(|at: u32| (at >> 6) as u8 ^ random.u8(..4)).collect();
    let mut new = old.clone();
    new.splice(1000..2000, *b"something else");
    let made = |threads| {
        let mut delta = Vec::new();
        make(&old, &new, WINDOW, threads, &mut delta, &|_| ()).unwrap();
        delta
    };
    assert!(made(1) == made(7));
    assert!(made(1).len() < 10_000);
}

#[test]
fn a_delta_that_is_cut_off_or_goes_on_is_refused() {
    let (old, new) = (program(62, None), program(62, Some(300)));
    let delta = delta(&old, &new);
    for length in [0, 1, 4, delta.len() / 2, delta.len() - 1] {
        let result = applied(&old, new.len(), &delta[..length]);
        assert!(matches!(result, Err(DeltaError::CutOff)), "{length}: {result:?}");
    }
    let longer = [&delta[..], b"x"].concat();
    assert!(matches!(applied(&old, new.len(), &longer), Err(DeltaError::Behind)));
    for size in [0, 1, new.len() - 1, new.len() + 1] {
        assert!(applied(&old, size, &delta).is_err(), "{size}");
    }
    assert!(matches!(
        apply(&old[..], 9, 9, 1000, &delta[..], Vec::new()),
        Err(DeltaError::Wrong(_))
    ));
}

/// What is not there of the old program is never read, whoever wrote the delta.
#[test]
fn the_old_program_is_read_as_far_as_was_said_and_no_further() {
    let (old, new) = (program(62, None), program(62, Some(300)));
    let delta = delta(&old, &new);
    let size = old.len() as u64 / 2;
    let mut less = Vec::new();
    let result = apply(&old[..], size, new.len() as u64, WINDOW, &delta[..], &mut less);
    assert!(matches!(result, Err(DeltaError::Wrong(_) | DeltaError::CutOff)), "{result:?}");
    let gone = apply(&old[..100], size, new.len() as u64, WINDOW, &delta[..], &mut less);
    assert!(matches!(gone, Err(DeltaError::Base(_))), "{gone:?}");
}

#[test]
fn a_changed_delta_gives_no_more_than_was_said() {
    let (old, new) = (program(62, None), program(62, Some(300)));
    let delta = delta(&old, &new);
    let mut random = Rng::with_seed(11);
    for _ in 0..2000 {
        let mut wrong = delta.clone();
        let at = random.usize(..wrong.len());
        wrong[at] ^= 1 << random.u32(..8);
        // Whoever applies it proves what comes of it.
        let _ = applied(&old, new.len(), &wrong);
    }
}

/// A part of each is a part of the other.
fn pairs() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let piece = || prop::collection::vec(prop_oneof![0_u8..4, any::<u8>()], 0..200);
    let pieces = prop::collection::vec((piece(), any::<bool>(), any::<bool>()), 0..12);
    pieces.prop_map(|pieces| {
        let of = |is_in: fn(&(Vec<u8>, bool, bool)) -> bool| {
            pieces.iter().filter(|piece| is_in(piece)).flat_map(|piece| piece.0.clone()).collect()
        };
        (of(|piece| piece.1), of(|piece| piece.2))
    })
}

proptest! {
    #[test]
    fn any_pair_comes_back((old, new) in pairs(), machine in prop_oneof![Just(62), Just(183), Just(0)]) {
        let mut head = b"\x7fELF".to_vec();
        head.resize(20, 0);
        head[18] = machine;
        comes_back(&[&head[..], &old].concat(), &[&head[..], &new].concat());
        comes_back(&old, &new);
    }

    #[test]
    fn any_bytes_as_a_delta_are_refused_or_give_what_was_said(
        old in prop::collection::vec(any::<u8>(), 0..100), mut delta in prop::collection::vec(any::<u8>(), 0..200),
        size in 0_usize..2000,
    ) {
        if let Some(first) = delta.first_mut() {
            *first = 0;
        }
        if let Ok(new) = applied(&old, size, &delta) {
            prop_assert_eq!(new.len(), size);
        }
    }
}
