//! Finds what the new program has of the old one, and what of the rest was there before.
//!
//! The search for what is nearly equal is that of bsdiff, with a table of hashes in place of a sorted
//! list of all ends: it takes the alignment that is right of the most bytes, not the longest equal ones.

use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;

use crate::DeltaError;
use crate::field::Sense;
use crate::format::{self, Plan, SHORTEST, SHORTEST_OLD, Segment, Token};

/// Bytes of the new program that are looked for at once, by one thread. Fixed, so that the delta does
/// not depend on how many there are.
const PART: usize = 4 << 20;
/// Bytes that must be equal to be found in the old program, and in the new one.
const OLD_KEY: usize = 8;
const NEW_KEY: usize = 4;
/// Of so many places with an equal key the longest equal bytes are taken.
const DEPTH: usize = 128;
/// Equal bytes that are enough not to look for more.
const ENOUGH: usize = 4096;
/// Bytes by which another alignment must be better.
const BETTER: usize = 14;
/// What a byte costs on its own, in bits; and what a repetition and a piece of the old program do besides
/// the bits of their distance.
const BYTE: i64 = 6;
const REPEAT: i64 = 11;
const OLD: i64 = 10;
/// No place.
const NOWHERE: u32 = u32::MAX;

/// Writes the delta that makes `new` of `old`. Besides them it has the memory of four times both and of
/// 64 MiB, and `threads` look for what they have in common; the delta does not depend on how many these are.
/// `progress` hears of how much of all work is done, in thousandths, from any of them.
pub fn make(
    old: &[u8],
    new: &[u8],
    window: u64,
    threads: usize,
    mut output: impl Write,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<(), DeltaError> {
    make_here((old, new), window, threads, &mut output, progress)
}

/// Not where it is called, for the reason that [`format::apply`] has.
#[inline(never)]
fn make_here(
    (old, new): (&[u8], &[u8]),
    window: u64,
    threads: usize,
    output: &mut dyn Write,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<(), DeltaError> {
    let size = (new.len() as u64).max(1);
    let done = AtomicU64::new(0);
    // Seven tenths of the time goes by while both are looked through.
    let looked = |bytes: usize| {
        let done = done.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
        progress((done * 350 / size).min(700));
    };
    let (indexed, before) = (Index::of(old, OLD_KEY), Index::of(new, NEW_KEY));
    let segments = in_parts(new.len(), threads, |from, to| {
        let mut segments = Search { old, new: &new[from..to], index: &indexed }.run();
        looked(to - from);
        let mut at = from;
        for segment in &mut segments {
            at += segment.length as usize;
            let end = at + segment.gap as usize;
            let gap = Gap { new, before: &before, old: &indexed, window, end };
            segment.tokens = gap.tokens(at, (segment.old + segment.length) as usize);
            at = end;
        }
        looked(to - from);
        segments
    });
    drop((indexed, before));
    let plan = Plan { new, segments: &segments };
    let written = |bytes: u64| progress(700 + bytes * 300 / size);
    format::write(old, plan, window, Sense::of(new), output, written)
}

/// What a function says of each part, in their order.
fn in_parts(
    size: usize,
    threads: usize,
    look: impl Fn(usize, usize) -> Vec<Segment> + Sync,
) -> Vec<Segment> {
    let starts: Vec<usize> = (0..size).step_by(PART).collect();
    let (next, found) = (AtomicUsize::new(0), Mutex::new(vec![Vec::new(); starts.len()]));
    let work = || {
        while let Some(&from) = starts.get(next.fetch_add(1, Ordering::Relaxed)) {
            let segments = look(from, size.min(from + PART));
            if let Ok(mut found) = found.lock() {
                found[from / PART] = segments;
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads.clamp(1, starts.len().max(1)) {
            scope.spawn(work);
        }
        work();
    });
    found.into_inner().unwrap_or_default().into_iter().flatten().collect()
}

/// Where in some bytes such a key stands: last, and before each place.
struct Index<'a> {
    bytes: &'a [u8],
    last: Vec<u32>,
    before: Vec<u32>,
    key: usize,
}

impl<'a> Index<'a> {
    fn of(bytes: &'a [u8], key: usize) -> Self {
        let bits = (bytes.len().max(1 << 10).ilog2() + 1).min(23);
        let mut index =
            Self { bytes, last: vec![NOWHERE; 1 << bits], before: vec![NOWHERE; bytes.len()], key };
        for at in 0..bytes.len() {
            if let Some(hash) = index.hash(&bytes[at..]) {
                index.before[at] = index.last[hash];
                index.last[hash] = at as u32;
            }
        }
        index
    }

    fn hash(&self, bytes: &[u8]) -> Option<usize> {
        let mut word = [0; 8];
        word[..self.key].copy_from_slice(bytes.get(..self.key)?);
        let mixed = u64::from_le_bytes(word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Some((mixed >> (64 - self.last.len().ilog2())) as usize)
    }

    /// Of the places from `first` on downwards, which have an equal key most of the time, the one with
    /// the most equal bytes, and of several the nearest one: how many, and where.
    fn longest(&self, first: u32, lowest: usize, near: usize, wanted: &[u8]) -> (usize, usize) {
        let (mut best, mut place, mut at) = (0, 0_usize, first);
        for _ in 0..DEPTH {
            let Some(bytes) = self.bytes.get(at as usize..).filter(|_| at as usize >= lowest)
            else {
                break;
            };
            if best == 0 || bytes.get(best - 1) == wanted.get(best - 1) {
                let equal = equal(bytes, wanted);
                let is_nearer = (at as usize).abs_diff(near) < place.abs_diff(near);
                if equal > best || equal == best && is_nearer {
                    (best, place) = (equal, at as usize);
                }
                if best >= ENOUGH {
                    break;
                }
            }
            at = self.before[at as usize];
        }
        (best, place)
    }

    fn find(&self, near: usize, wanted: &[u8]) -> (usize, usize) {
        self.hash(wanted).map_or((0, 0), |hash| self.longest(self.last[hash], 0, near, wanted))
    }
}

/// How many bytes both begin with.
fn equal(one: &[u8], other: &[u8]) -> usize {
    let words =
        one.chunks_exact(8).zip(other.chunks_exact(8)).take_while(|(one, other)| one == other);
    let from = words.count() * 8;
    from + one[from..].iter().zip(&other[from..]).take_while(|(one, other)| one == other).count()
}

/// The search for what a part of the new program has of the old one.
struct Search<'a> {
    old: &'a [u8],
    new: &'a [u8],
    index: &'a Index<'a>,
}

/// An alignment: places in the new and in the old program that belong together.
#[derive(Debug, Clone, Copy, Default)]
struct Pair {
    new: usize,
    old: usize,
}

impl Search<'_> {
    fn run(&self) -> Vec<Segment> {
        let mut segments = Vec::new();
        let (mut last, mut skip) = (Pair::default(), 0);
        loop {
            let (found, length, is_other) = self.next(last, skip);
            let is_over = found.new >= self.new.len();
            skip = found.new + length;
            if !is_other && !is_over {
                continue;
            }
            let (forwards, back) = self.extents(last, found);
            let start = found.new - back;
            let gap = start - (last.new + forwards);
            if forwards + gap > 0 {
                segments.push(Segment {
                    old: last.old as u64,
                    length: forwards as u64,
                    gap: gap as u64,
                    tokens: Vec::new(),
                });
            }
            if is_over {
                return segments;
            }
            last = Pair { new: start, old: found.old - back };
        }
    }

    /// Whether a byte of the new program is right in the alignment of a pair.
    fn is_right(&self, at: usize, pair: Pair) -> bool {
        // Places behind the pair are added, and ones before it taken away.
        let old = (pair.old + at).checked_sub(pair.new);
        old.and_then(|old| self.old.get(old)) == Some(&self.new[at])
    }

    /// From a place on: the next one at which bytes stand that are in the old program, and how many;
    /// whether that is a better alignment than the last one.
    fn next(&self, last: Pair, from: usize) -> (Pair, usize, bool) {
        let (mut at, mut counted, mut right) = (from, from, 0_usize);
        while at < self.new.len() {
            let wanted = &self.new[at..];
            let here = (last.old + at).checked_sub(last.new);
            let (mut length, mut old) = self.index.find(here.unwrap_or_default(), wanted);
            // Of equally long ones the one at hand.
            if let Some(here) = here
                && let Some(bytes) = self.old.get(here..)
                && equal(bytes, wanted) >= length.max(1)
            {
                (length, old) = (equal(bytes, wanted), here);
            }
            while counted < at + length {
                right += usize::from(self.is_right(counted, last));
                counted += 1;
            }
            if length == right && length > 0 || length > right + BETTER {
                return (Pair { new: at, old }, length, length != right);
            }
            right -= usize::from(right > 0 && self.is_right(at, last));
            at += 1;
            counted = counted.max(at);
        }
        (Pair { new: at, old: 0 }, 0, true)
    }

    /// How far the last alignment goes on, and from where the one that was found holds.
    fn extents(&self, last: Pair, found: Pair) -> (usize, usize) {
        let between = found.new - last.new;
        let mut forwards = best_length(
            (0..between.min(self.old.len() - last.old))
                .map(|at| self.old[last.old + at] == self.new[last.new + at]),
        );
        let mut back = match found.new < self.new.len() {
            true => best_length(
                (1..=between.min(found.old))
                    .map(|by| self.old[found.old - by] == self.new[found.new - by]),
            ),
            false => 0,
        };
        if let Some(overlap) = (forwards + back).checked_sub(between).filter(|both| *both > 0) {
            let (from, start) = (last.new + forwards - overlap, last.old + forwards - overlap);
            let other = found.old - back;
            let (mut score, mut most, mut kept) = (0_i64, 0, 0);
            for at in 0..overlap {
                score += i64::from(self.new[from + at] == self.old[start + at]);
                score -= i64::from(self.new[from + at] == self.old[other + at]);
                if score > most {
                    (most, kept) = (score, at + 1);
                }
            }
            forwards -= overlap - kept;
            back -= kept;
        }
        (forwards, back)
    }
}

/// Of a row of right and wrong bytes, how many to take: twice as many right ones as bytes, at best.
fn best_length(right: impl Iterator<Item = bool>) -> usize {
    let (mut score, mut most, mut length) = (0_i64, 0, 0);
    for (at, is_right) in right.enumerate() {
        score += if is_right { 1 } else { -1 };
        if score > most {
            (most, length) = (score, at + 1);
        }
    }
    length
}

/// Bytes of the new program up to `end` that no segment has.
struct Gap<'a> {
    new: &'a [u8],
    before: &'a Index<'a>,
    old: &'a Index<'a>,
    window: u64,
    end: usize,
}

/// What a gap may go on with, and how many bits that saves.
#[derive(Debug, Clone, Copy)]
struct Choice {
    token: Token,
    length: usize,
    saved: i64,
}

impl Gap<'_> {
    /// What its bytes from a place on are, where the last ones of the old program ended at `old_end`.
    fn tokens(&self, from: usize, mut old_end: usize) -> Vec<Token> {
        let (mut tokens, mut at, mut last) = (Vec::new(), from, 1);
        while at < self.end {
            let mut choice = self.best(at, last, old_end);
            let next = choice.length > 1 && at + 1 < self.end;
            if next && self.best(at + 1, last, old_end).saved > choice.saved + BYTE {
                choice = Choice { token: Token::Literal, length: 1, saved: 0 };
            }
            tokens.push(choice.token);
            at += choice.length;
            match choice.token {
                Token::Literal => {}
                Token::Repeat { distance, .. } => last = distance,
                Token::Old { place, .. } => old_end = place as usize + choice.length,
            }
        }
        tokens
    }

    fn best(&self, at: usize, last: u64, old_end: usize) -> Choice {
        let wanted = &self.new[at..self.end];
        let window = usize::try_from(self.window).unwrap_or(usize::MAX);
        let lowest = at.saturating_sub(window);
        let (length, place) = self.before.longest(self.before.before[at], lowest, at, wanted);
        let same = at.checked_sub(last as usize);
        let same = same.map_or(0, |place| equal(&self.new[place..], wanted));
        if same as u64 >= SHORTEST && same + 2 >= length {
            let token = Token::Repeat { distance: last, length: same as u64 };
            return Choice { token, length: same, saved: same as i64 * BYTE - REPEAT };
        }
        let mut best = Choice { token: Token::Literal, length: 1, saved: 0 };
        let mut offer = |token, length: usize, cost: i64, away: usize| {
            let saved = length as i64 * BYTE - cost - i64::from(away.max(1).ilog2());
            if saved > best.saved {
                best = Choice { token, length, saved };
            }
        };
        if length >= NEW_KEY {
            let distance = at - place;
            let token = Token::Repeat { distance: distance as u64, length: length as u64 };
            offer(token, length, REPEAT, distance);
        }
        let (length, place) = self.old.find(old_end, wanted);
        if length as u64 >= SHORTEST_OLD {
            let token = Token::Old { place: place as u64, length: length as u64 };
            offer(token, length, OLD, place.abs_diff(old_end));
        }
        best
    }
}
