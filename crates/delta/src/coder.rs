//! Bits of which each has its own probability: a binary range coder as LZMA has it, with adaptive
//! models.
//!
//! What a delta is made of is written down once, in [`crate::format`]: whoever writes gives each value
//! and gets it back, whoever reads gives any value and gets the one that was written.

use std::io::{self, Read, Write};

use crate::DeltaError;

/// Bytes that are read or written at once.
const BUFFER: usize = 64 * 1024;
/// Largest number that can be written has fewer bits.
const LONGEST_NUMBER: u32 = 40;

/// A writer or a reader of bits. One that has failed goes on with any bits, because to look at each for a
/// failure costs a fifteenth of the time; whoever codes looks at it now and then.
pub(crate) trait Bits {
    /// The next bit, of which `one` of 65536 are ones; neither none nor all of them.
    fn bit(&mut self, one: u32, value: bool) -> bool;

    /// Why it has failed, if it has.
    fn check(&mut self) -> Result<(), DeltaError>;
}

/// Writes bits.
#[derive(Debug)]
pub(crate) struct Encoder<W> {
    low: u64,
    range: u32,
    /// The last byte that a carry could still change, and how many 0xFF stand behind it.
    cache: u8,
    pending: u64,
    buffer: Vec<u8>,
    output: W,
    failure: Option<io::Error>,
}

impl<W: Write> Encoder<W> {
    pub(crate) fn new(output: W) -> Self {
        let buffer = Vec::with_capacity(BUFFER);
        Self { low: 0, range: u32::MAX, cache: 0, pending: 1, buffer, output, failure: None }
    }

    fn shift(&mut self) {
        if self.low < 0xff00_0000 || self.low > u64::from(u32::MAX) {
            let carry = u8::from(self.low > u64::from(u32::MAX));
            self.buffer.push(self.cache.wrapping_add(carry));
            let filler = 0xff_u8.wrapping_add(carry);
            for _ in 1..self.pending {
                self.buffer.push(filler);
            }
            self.cache = self.low.to_le_bytes()[3];
            self.pending = 0;
            if self.buffer.len() >= BUFFER {
                let written = self.output.write_all(&self.buffer);
                self.failure = self.failure.take().or(written.err());
                self.buffer.clear();
            }
        }
        self.pending += 1;
        self.low = (self.low & 0x00ff_ffff) << 8;
    }

    /// Writes what is left.
    pub(crate) fn finish(mut self) -> Result<(), DeltaError> {
        for _ in 0..5 {
            self.shift();
        }
        self.check()?;
        let written = self.output.write_all(&self.buffer);
        written.and_then(|()| self.output.flush()).map_err(DeltaError::Output)
    }
}

impl<W: Write> Bits for Encoder<W> {
    #[inline]
    fn bit(&mut self, one: u32, value: bool) -> bool {
        let bound = (self.range >> 16) * one;
        if value {
            self.range = bound;
        } else {
            self.low += u64::from(bound);
            self.range -= bound;
        }
        while self.range < 1 << 24 {
            self.range <<= 8;
            self.shift();
        }
        value
    }

    fn check(&mut self) -> Result<(), DeltaError> {
        self.failure.take().map_or(Ok(()), |error| Err(DeltaError::Output(error)))
    }
}

/// Reads bits.
#[derive(Debug)]
pub(crate) struct Decoder<R> {
    code: u32,
    range: u32,
    input: R,
    buffer: Vec<u8>,
    /// Of the buffer: what was used, and what is there.
    used: usize,
    filled: usize,
    failure: Option<DeltaError>,
}

impl<R: Read> Decoder<R> {
    pub(crate) fn new(input: R) -> Result<Self, DeltaError> {
        let buffer = vec![0; BUFFER];
        let mut new =
            Self { code: 0, range: u32::MAX, input, buffer, used: 0, filled: 0, failure: None };
        let first = new.byte();
        for _ in 0..4 {
            new.code = new.code << 8 | u32::from(new.byte());
        }
        new.check()?;
        match first {
            0 => Ok(new),
            _ => Err(DeltaError::Wrong("its first byte is not zero")),
        }
    }

    /// The next byte; any behind the last one.
    #[inline]
    fn byte(&mut self) -> u8 {
        if self.used == self.filled {
            self.fill();
        }
        let byte = self.buffer[self.used];
        self.used += 1;
        byte
    }

    /// Reads more, or fails.
    #[cold]
    fn fill(&mut self) {
        match self.read() {
            Ok(n) if n > 0 => self.filled = n,
            Ok(_) => self.fail(DeltaError::CutOff),
            Err(error) => self.fail(DeltaError::Input(error)),
        }
        self.used = 0;
    }

    fn read(&mut self) -> io::Result<usize> {
        loop {
            match self.input.read(&mut self.buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    fn fail(&mut self, failure: DeltaError) {
        // There are bytes for whoever looks later.
        self.filled = self.buffer.len();
        self.failure.get_or_insert(failure);
    }

    /// Whether it ends here, and was written like that.
    pub(crate) fn finish(mut self) -> Result<(), DeltaError> {
        self.check()?;
        if self.used < self.filled || self.read().map_err(DeltaError::Input)? > 0 {
            return Err(DeltaError::Behind);
        }
        match self.code {
            0 => Ok(()),
            _ => Err(DeltaError::Wrong("its last bytes are not right")),
        }
    }
}

impl<R: Read> Bits for Decoder<R> {
    #[inline]
    fn bit(&mut self, one: u32, _: bool) -> bool {
        let bound = (self.range >> 16) * one;
        let value = self.code < bound;
        if value {
            self.range = bound;
        } else {
            // A stream that nobody wrote may be above its range.
            self.code = self.code.wrapping_sub(bound);
            self.range -= bound;
        }
        while self.range < 1 << 24 {
            self.range <<= 8;
            self.code = self.code << 8 | u32::from(self.byte());
        }
        value
    }

    #[inline]
    fn check(&mut self) -> Result<(), DeltaError> {
        self.failure.take().map_or(Ok(()), Err)
    }
}

/// The probability of a one, as the mean of one that learns quickly and one that learns slowly.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chance {
    quick: u16,
    slow: u16,
}

impl Chance {
    pub(crate) const EVEN: Self = Self { quick: 1 << 15, slow: 1 << 15 };

    /// Of 65536; the updates keep it from both ends.
    #[inline]
    fn one(self) -> u32 {
        (u32::from(self.quick) + u32::from(self.slow)) >> 1
    }

    #[inline]
    fn learn(&mut self, bit: bool) {
        if bit {
            self.quick += (u16::MAX - self.quick) >> 4;
            self.slow += (u16::MAX - self.slow) >> 6;
        } else {
            self.quick -= self.quick >> 4;
            self.slow -= self.slow >> 6;
        }
    }

    /// A bit.
    #[inline]
    pub(crate) fn code(&mut self, bits: &mut impl Bits, value: bool) -> bool {
        let value = bits.bit(self.one(), value);
        self.learn(value);
        value
    }
}

/// A value of `length` bits, highest first, with a chance for each node of the tree.
pub(crate) fn code_tree(
    bits: &mut impl Bits,
    chances: &mut [Chance],
    length: u32,
    value: u32,
) -> u32 {
    let mut node = 1_usize;
    for at in (0..length).rev() {
        let bit = chances[node].code(bits, value >> at & 1 == 1);
        node = node << 1 | usize::from(bit);
    }
    node as u32 & ((1 << length) - 1)
}

/// Numbers of any size below 2^40: how many bits, the three bits below the highest one, the rest as it
/// is.
#[derive(Debug)]
pub(crate) struct Number {
    lengths: Vec<Chance>,
    highs: Vec<Chance>,
}

impl Number {
    pub(crate) fn new() -> Self {
        Self { lengths: vec![Chance::EVEN; 64], highs: vec![Chance::EVEN; 64 * 8] }
    }

    pub(crate) fn code(&mut self, bits: &mut impl Bits, value: u64) -> Result<u64, DeltaError> {
        let value = value.saturating_add(1);
        let length = code_tree(bits, &mut self.lengths, 6, value.ilog2());
        if length >= LONGEST_NUMBER {
            return Err(DeltaError::Wrong("a number of it is too large"));
        }
        let high = length.min(3);
        let rest = length - high;
        let chances = &mut self.highs[length as usize * 8..][..8];
        let mut read = 1 << high
            | u64::from(code_tree(bits, chances, high, (value >> rest) as u32 & ((1 << high) - 1)));
        for at in (0..rest).rev() {
            read = read << 1 | u64::from(bits.bit(1 << 15, value >> at & 1 == 1));
        }
        Ok(read - 1)
    }
}

/// What stretch and squash are made of: a logistic curve, at every 128th of 4095.
const CURVE: [i32; 33] = [
    1, 2, 3, 6, 10, 16, 27, 45, 73, 120, 194, 310, 488, 747, 1101, 1546, 2047, 2549, 2994, 3348,
    3607, 3785, 3901, 3975, 4022, 4050, 4068, 4079, 4085, 4089, 4092, 4093, 4094,
];
/// How many chances a mixer mixes.
pub(crate) const MIXED: usize = 3;

/// A byte that several models have an opinion of, mixed by how right each was so far.
#[derive(Debug)]
pub(crate) struct Mixer {
    stretched: Box<[i16; 4096]>,
    squashed: Box<[u16; 4096]>,
    /// For each node.
    weights: Box<[[i32; MIXED]; 256]>,
}

impl Mixer {
    pub(crate) fn new() -> Self {
        let mut squashed = Box::new([0; 4096]);
        for (x, to) in (-2048..).zip(&mut *squashed) {
            *to = squash(x);
        }
        let mut stretched = Box::new([2047; 4096]);
        let mut from = 0;
        for (x, &to) in (-2048..2048_i16).zip(&*squashed) {
            if let Some(values) = stretched.get_mut(from..=usize::from(to)) {
                values.fill(x.max(-2047));
            }
            from = from.max(usize::from(to) + 1);
        }
        Self { stretched, squashed, weights: Box::new([[1 << 15, 1 << 15, 1 << 14]; 256]) }
    }

    /// A byte; `models` has for each a table of chances and where in it those of its context begin,
    /// 256 of them.
    #[inline]
    pub(crate) fn code(
        &mut self,
        bits: &mut impl Bits,
        mut models: [&mut [Chance; 256]; MIXED],
        value: u8,
    ) -> u8 {
        let mut node = 1_usize;
        for at in (0..8).rev() {
            let weights = &mut self.weights[node & 255];
            let (mut stretched, mut sum) = ([0; MIXED], 0);
            for ((to, model), weight) in stretched.iter_mut().zip(&models).zip(&*weights) {
                *to = i32::from(self.stretched[(model[node & 255].one() >> 4) as usize & 4095]);
                sum += weight.wrapping_mul(*to) >> 16;
            }
            let one = self.squashed[(sum.clamp(-2047, 2047) + 2048) as usize & 4095];
            let bit = bits.bit(u32::from(one) * 16 + 8, value >> at & 1 == 1);
            let error = (i32::from(bit) << 12) - i32::from(one);
            for ((from, model), weight) in stretched.iter().zip(&mut models).zip(weights) {
                let learned = (from * error + (1 << 13)) >> 12;
                *weight = (*weight + learned).clamp(-(1 << 19), 1 << 19);
                model[node & 255].learn(bit);
            }
            node = node << 1 | usize::from(bit);
        }
        node as u8
    }
}

fn squash(x: i32) -> u16 {
    let x = x.clamp(-2047, 2047);
    let (low, weight) = ((x >> 7) + 16, x & 127);
    let at = |index: i32| CURVE[index.clamp(0, 32) as usize];
    ((at(low) * (128 - weight) + at(low + 1) * weight + 64) >> 7) as u16
}
