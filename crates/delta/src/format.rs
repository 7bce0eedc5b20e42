//! What a delta says, in which order, and with which chances: one [`Session`], which writes a delta where
//! it has a plan and otherwise reads one.
//!
//! The new program is a row of segments: bytes of the old one from some place on, most of which are as
//! they were or as the shift of a field says, and then bytes that are told or were there before.

use std::io::{self, Read, Write};

use crate::base::{Base, Chunk};
use crate::coder::{Bits, Chance, Decoder, Encoder, MIXED, Mixer, Number, code_tree};
use crate::field::{Field, KINDS, MARGIN, Sense, Shifts, Unit, WIDTH};
use crate::made::Made;
use crate::{DeltaError, WINDOWS};

/// Units that were right in a row before a run of right ones is counted.
const HISTORY: u32 = 0xfff;
/// Ways from the new program to the old one that are remembered.
const WAYS: usize = 4;
/// Shifts that are remembered.
const SHIFTS: usize = 8;
/// Shortest repetition.
pub(crate) const SHORTEST: u64 = 3;
/// Shortest piece of the old program in a gap.
pub(crate) const SHORTEST_OLD: u64 = 4;

/// A part of the new program.
#[derive(Debug, Clone, Default)]
pub(crate) struct Segment {
    /// Where its bytes stand in the old program, and how many.
    pub(crate) old: u64,
    pub(crate) length: u64,
    /// What follows them, in bytes and in tokens.
    pub(crate) gap: u64,
    pub(crate) tokens: Vec<Token>,
}

/// A piece of what is not in the old program.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Token {
    /// One byte.
    Literal,
    /// What stood there that many bytes before.
    Repeat { distance: u64, length: u64 },
    /// What stands at a place of the old program.
    Old { place: u64, length: u64 },
}

/// What a new program is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan<'a> {
    pub(crate) new: &'a [u8],
    pub(crate) segments: &'a [Segment],
}

/// Applies a delta: writes exactly `size` bytes, or fewer and an error. `base` is the old program, of
/// which `base_size` bytes are read and no more; `window` is the one that the delta was made with.
/// The delta must end with its input.
pub fn apply(
    base: &(impl Base + ?Sized),
    base_size: u64,
    size: u64,
    window: u64,
    mut input: impl Read,
    mut output: impl Write,
) -> Result<(), DeltaError> {
    apply_here((&base, base_size), size, window, &mut input, &mut output)
}

/// What is generic is compiled where it is called, as small as can be, and inlining would have it there, too:
/// this is as fast as can be (`Cargo.toml`).
#[inline(never)]
fn apply_here(
    (base, base_size): (&dyn Base, u64),
    size: u64,
    window: u64,
    input: &mut dyn Read,
    output: &mut dyn Write,
) -> Result<(), DeltaError> {
    let bits = Decoder::new(input)?;
    Session::new(bits, base, base_size, size, window, output)?.run(None)?.finish()
}

/// Writes the delta of a plan.
pub(crate) fn write(
    old: &[u8],
    plan: Plan<'_>,
    window: u64,
    sense: Sense,
    output: impl Write,
    progress: impl FnMut(u64),
) -> Result<(), DeltaError> {
    let (bits, size) = (Encoder::new(output), plan.new.len() as u64);
    let counted = Counted { progress, done: 0 };
    let mut session = Session::new(bits, old, old.len() as u64, size, window, counted)?;
    session.sense = sense;
    session.run(Some(plan))?.finish()
}

/// What is written of the new program while its delta is.
struct Counted<P> {
    progress: P,
    done: u64,
}

impl<P: FnMut(u64)> Write for Counted<P> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.done += bytes.len() as u64;
        (self.progress)(self.done);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Session<'a, C, B: ?Sized, W> {
    bits: C,
    base: &'a B,
    base_size: u64,
    size: u64,
    sense: Sense,
    new: Option<&'a [u8]>,
    made: Made<W>,
    chunk: Chunk,
    shifts: Shifts,
    models: Box<Models>,
    /// Which of the last units were wrong, the last one lowest.
    history: u32,
    /// How far off the last bytes were, the last one first.
    off: [u8; 8],
    ways: [i64; WAYS],
    recent: [u32; SHIFTS],
    distance: u64,
    /// Where the last bytes of the old program ended.
    old_end: u64,
}

struct Models {
    flags: Vec<Chance>,
    run: Number,
    length: Number,
    gap: Number,
    same_way: [Chance; WAYS],
    backwards: [Chance; 1],
    jump: [Number; 2],
    byte_by_last: Vec<[Chance; 256]>,
    byte_by_eighth: Vec<[Chance; 256]>,
    byte_by_old: Vec<[Chance; 256]>,
    byte: Mixer,
    known_shift: [Chance; KINDS],
    which_shift: [[Chance; SHIFTS]; KINDS],
    field: Vec<[Chance; 256]>,
    repeats: [Chance; 8],
    same_distance: [Chance; 1],
    repeat: [Number; 2],
    distance: [Number; 4],
    is_old: [Chance; 4],
    old_length: Number,
    old_backwards: [Chance; 1],
    old_jump: [Number; 2],
    literal_by_last: Vec<[Chance; 256]>,
    literal_by_two: Vec<[Chance; 256]>,
    literal_by_distant: Vec<[Chance; 256]>,
    literal: Mixer,
}

impl Models {
    fn new() -> Self {
        let bytes = |contexts| vec![[Chance::EVEN; 256]; contexts];
        Self {
            flags: vec![Chance::EVEN; (HISTORY as usize + 1) * (KINDS + 1)],
            run: Number::new(),
            length: Number::new(),
            gap: Number::new(),
            same_way: [Chance::EVEN; WAYS],
            backwards: [Chance::EVEN],
            jump: [(); 2].map(|()| Number::new()),
            byte_by_last: bytes(256),
            byte_by_eighth: bytes(256),
            byte_by_old: bytes(256),
            byte: Mixer::new(),
            known_shift: [Chance::EVEN; KINDS],
            which_shift: [[Chance::EVEN; SHIFTS]; KINDS],
            field: bytes(KINDS * 8),
            repeats: [Chance::EVEN; 8],
            same_distance: [Chance::EVEN],
            repeat: [(); 2].map(|()| Number::new()),
            distance: [(); 4].map(|()| Number::new()),
            is_old: [Chance::EVEN; 4],
            old_length: Number::new(),
            old_backwards: [Chance::EVEN],
            old_jump: [(); 2].map(|()| Number::new()),
            literal_by_last: bytes(256),
            literal_by_two: bytes(1024),
            literal_by_distant: bytes(256),
            literal: Mixer::new(),
        }
    }
}

impl<'a, C: Bits, B: Base + ?Sized, W: Write> Session<'a, C, B, W> {
    fn new(
        bits: C,
        base: &'a B,
        base_size: u64,
        size: u64,
        window: u64,
        output: W,
    ) -> Result<Self, DeltaError> {
        if !window.is_power_of_two() || !WINDOWS.contains(&window) {
            return Err(DeltaError::Wrong("it asks for a window that is none"));
        }
        if base_size > u64::from(u32::MAX) || size > u64::from(u32::MAX) {
            return Err(DeltaError::Wrong("a program of 4 GiB has no delta"));
        }
        Ok(Self {
            bits,
            base,
            base_size,
            size,
            sense: Sense::None,
            new: None,
            made: Made::new(window, output),
            chunk: Chunk::new(Sense::None),
            shifts: Shifts::new(Sense::None, base_size),
            models: Box::new(Models::new()),
            history: 0,
            off: [0; 8],
            ways: [0; WAYS],
            recent: [0; SHIFTS],
            distance: 1,
            old_end: 0,
        })
    }

    /// All of it. What is left to be finished is given back.
    fn run(mut self, plan: Option<Plan<'a>>) -> Result<C, DeltaError> {
        self.new = plan.map(|plan| plan.new);
        let number = code_tree(&mut self.bits, &mut [Chance::EVEN; 4], 2, self.sense.number());
        let unknown = DeltaError::Wrong("it is for a machine that is not known");
        self.sense = Sense::from_number(number).ok_or(unknown)?;
        self.shifts = Shifts::new(self.sense, self.base_size);
        self.chunk = Chunk::new(self.sense);
        let made = self.segments(plan.map_or(&[], |plan| plan.segments));
        // What comes of bits that are none has no say.
        self.bits.check()?;
        made?;
        self.made.finish()?;
        Ok(self.bits)
    }

    fn segments(&mut self, segments: &[Segment]) -> Result<(), DeltaError> {
        let (mut segments, mut end) = (segments.iter(), 0);
        let none = Segment::default();
        while self.made.at < self.size {
            end = self.segment(end, segments.next().unwrap_or(&none))?;
        }
        Ok(())
    }

    /// A segment, behind one whose bytes of the old program ended at `old`: where its own end.
    fn segment(&mut self, old: u64, segment: &Segment) -> Result<u64, DeltaError> {
        let from = self.way(old, segment.old)?;
        let length = self.models.length.code(&mut self.bits, segment.length)?;
        let end = from.checked_add(length).filter(|end| *end <= self.base_size);
        let end = end.ok_or(DeltaError::Wrong("it reads outside of the old program"))?;
        if length > self.size - self.made.at {
            return Err(DeltaError::Wrong("more comes of it than was said"));
        }
        self.aligned(from, end)?;
        self.old_end = end;
        let gap = self.models.gap.code(&mut self.bits, segment.gap)?;
        if gap > self.size - self.made.at {
            return Err(DeltaError::Wrong("more comes of it than was said"));
        }
        if length + gap == 0 {
            return Err(DeltaError::Wrong("a part of it is empty"));
        }
        self.gap(self.made.at + gap, &segment.tokens)?;
        Ok(end)
    }

    /// Where in the old program a segment begins: on a way that was gone before, or so far from `old`.
    fn way(&mut self, old: u64, wanted: u64) -> Result<u64, DeltaError> {
        let at = self.made.at as i64;
        let way = wanted as i64 - at;
        let known = self.ways.iter().position(|known| *known == way);
        let mut which = 0;
        while which < WAYS
            && !self.models.same_way[which].code(&mut self.bits, known == Some(which))
        {
            which += 1;
        }
        let way = match self.ways.get(which) {
            Some(way) => *way,
            None => {
                let by = wanted as i64 - old as i64;
                let back = self.models.backwards[0].code(&mut self.bits, by < 0);
                let jump = &mut self.models.jump[usize::from(back)];
                let by = jump.code(&mut self.bits, by.unsigned_abs())? as i64;
                old as i64 + if back { -by } else { by } - at
            }
        };
        self.ways[..=which.min(WAYS - 1)].rotate_right(1);
        self.ways[0] = way;
        u64::try_from(at + way)
            .map_err(|_| DeltaError::Wrong("it reads outside of the old program"))
    }

    /// Bytes that stand in the old program, from one place to another.
    fn aligned(&mut self, from: u64, end: u64) -> Result<(), DeltaError> {
        let mut at = from;
        self.chunk.forget();
        while at < end {
            self.bits.check()?;
            if self.history & HISTORY != 0 {
                let unit = self.unit(at, end)?;
                self.told(unit)?;
                at += unit.width();
                continue;
            }
            self.off = [0; 8];
            let most = match self.new {
                Some(_) => u64::MAX,
                None => self.models.run.code(&mut self.bits, 0)?,
            };
            let count;
            (at, count) = self.right(at, end, most)?;
            if self.new.is_some() {
                self.models.run.code(&mut self.bits, count)?;
            }
            if at < end {
                let unit = self.unit(at, end)?;
                self.wrong(unit)?;
                at += unit.width();
            }
        }
        Ok(())
    }

    /// The unit at a place of the old program.
    #[inline(always)]
    fn unit(&mut self, at: u64, end: u64) -> Result<Unit, DeltaError> {
        let index = self.chunk.index(at, end, self.base, self.base_size)?;
        let around = self.chunk.around(index);
        let field = match end - at < MARGIN as u64 || !self.chunk.is_marked(index) {
            true => None,
            false => self.shifts.find(around, at, self.made.at),
        };
        Ok(match field {
            Some(field) => Unit::Field(field, self.shifts.expected(&field)),
            None => Unit::Byte(around[MARGIN]),
        })
    }

    /// What a unit is in the new program, where that is known.
    fn field_in_new(&self) -> Option<u32> {
        let at = usize::try_from(self.made.at).ok()?;
        let bytes = self.new?.get(at..)?.first_chunk()?;
        Some(u32::from_le_bytes(*bytes))
    }

    fn byte_in_new(&self) -> Option<u8> {
        self.new?.get(usize::try_from(self.made.at).ok()?).copied()
    }

    /// Takes over units that are as expected: as many, or until one is wrong. Where that is, and how
    /// many these were.
    fn right(&mut self, from: u64, end: u64, most: u64) -> Result<(u64, u64), DeltaError> {
        let (mut at, mut count) = (from, 0);
        while at < end && count < most {
            let index = self.chunk.index(at, end, self.base, self.base_size)?;
            let plain =
                self.plain(index, at, end).min(usize::try_from(most - count).unwrap_or(usize::MAX));
            let bytes = &self.chunk.bytes[index..index + plain];
            let equal = match self.new {
                None => plain,
                Some(new) => {
                    let new = &new[usize::try_from(self.made.at).unwrap_or(new.len())..];
                    bytes.iter().zip(new).take_while(|(one, other)| one == other).count()
                }
            };
            self.made.extend(&bytes[..equal])?;
            (at, count) = (at + equal as u64, count + equal as u64);
            if equal < plain {
                break;
            }
            if at == end || count == most || equal > 0 && at == self.chunk.to {
                continue;
            }
            match self.unit(at, end)? {
                Unit::Byte(byte) => {
                    if self.byte_in_new().is_some_and(|new| new != byte) {
                        break;
                    }
                    self.made.push(byte)?;
                    at += 1;
                }
                Unit::Field(field, expected) => {
                    if self.field_in_new().is_some_and(|new| new != expected) {
                        break;
                    }
                    self.put(&field, expected)?;
                    at += WIDTH;
                }
            }
            count += 1;
        }
        Ok((at, count))
    }

    /// How many bytes from there on can be no fields.
    #[inline]
    fn plain(&self, index: usize, at: u64, end: u64) -> usize {
        let there = usize::try_from(self.chunk.to - at).unwrap_or(0);
        if end - at < MARGIN as u64 {
            return there;
        }
        self.chunk.plain(index)
    }

    /// A unit of which it is told whether it is as expected.
    fn told(&mut self, unit: Unit) -> Result<(), DeltaError> {
        let (is_wrong, context) = match unit {
            Unit::Byte(byte) => (self.byte_in_new().is_some_and(|new| new != byte), 0),
            Unit::Field(field, expected) => {
                let is_wrong = self.field_in_new().is_some_and(|new| new != expected);
                (is_wrong, field.kind as usize + 1)
            }
        };
        let context = context << 12 | (self.history & HISTORY) as usize;
        if self.models.flags[context].code(&mut self.bits, is_wrong) {
            return self.wrong(unit);
        }
        self.history <<= 1;
        match unit {
            Unit::Field(field, expected) => self.put(&field, expected),
            Unit::Byte(byte) => {
                self.was_off(0);
                self.made.push(byte)
            }
        }
    }

    fn was_off(&mut self, by: u8) {
        self.off.rotate_right(1);
        self.off[0] = by;
    }

    /// A unit that is not as expected.
    fn wrong(&mut self, unit: Unit) -> Result<(), DeltaError> {
        self.history = self.history << 1 | 1;
        match unit {
            Unit::Byte(byte) => self.wrong_byte(byte),
            Unit::Field(field, _) => self.wrong_field(&field),
        }
    }

    fn wrong_byte(&mut self, old: u8) -> Result<(), DeltaError> {
        let by = self.byte_in_new().unwrap_or_default().wrapping_sub(old);
        let models: [_; MIXED] = [
            &mut self.models.byte_by_last[usize::from(self.off[0])],
            &mut self.models.byte_by_eighth[usize::from(self.off[7])],
            &mut self.models.byte_by_old[usize::from(old)],
        ];
        let by = self.models.byte.code(&mut self.bits, models, by);
        self.was_off(by);
        self.made.push(old.wrapping_add(by))
    }

    /// The shift, where it was seen before, or how far each byte is off.
    fn wrong_field(&mut self, field: &Field) -> Result<(), DeltaError> {
        let kind = field.kind as usize;
        let wanted = self.field_in_new().unwrap_or_default();
        let shift = field.shift_to(wanted);
        let known = self.recent.iter().position(|recent| Some(*recent) == shift);
        if self.models.known_shift[kind].code(&mut self.bits, known.is_some()) {
            let chances = &mut self.models.which_shift[kind];
            let which = code_tree(&mut self.bits, chances, 3, known.unwrap_or_default() as u32);
            let which = which as usize % SHIFTS;
            let word = field.shifted(self.recent[which]);
            self.recent[..=which].rotate_right(1);
            return self.put(field, word);
        }
        let off = wanted.wrapping_sub(field.word).to_le_bytes();
        let (mut read, mut last) = ([0; WIDTH as usize], 0);
        for (at, (read, off)) in read.iter_mut().zip(off).enumerate() {
            let context = (kind * WIDTH as usize + at) * 2 + usize::from(last == 0);
            last = code_tree(&mut self.bits, &mut self.models.field[context], 8, off.into());
            *read = last as u8;
        }
        let word = field.word.wrapping_add(u32::from_le_bytes(read));
        if let Some(shift) = field.shift_to(word) {
            self.recent.rotate_right(1);
            self.recent[0] = shift;
        }
        self.put(field, word)
    }

    fn put(&mut self, field: &Field, word: u32) -> Result<(), DeltaError> {
        self.shifts.learn(field, word);
        self.made.extend(&word.to_le_bytes())
    }

    /// What is not in the old program, up to a place of the new one.
    fn gap(&mut self, end: u64, tokens: &[Token]) -> Result<(), DeltaError> {
        let (mut tokens, mut context) = (tokens.iter(), 0);
        while self.made.at < end {
            self.bits.check()?;
            let (is_repeat, is_old, from, length) = match tokens.next() {
                None | Some(Token::Literal) => (false, false, 0, 0),
                Some(Token::Repeat { distance, length }) => (true, false, *distance, *length),
                Some(Token::Old { place, length }) => (true, true, *place, *length),
            };
            let is_repeat = self.models.repeats[context].code(&mut self.bits, is_repeat);
            if !is_repeat {
                self.literal()?;
            } else if self.models.is_old[context & 3].code(&mut self.bits, is_old) {
                self.old_piece(from, length, end)?;
            } else {
                self.repeat(from, length, end)?;
            }
            context = (context << 1 | usize::from(is_repeat)) & 7;
        }
        Ok(())
    }

    /// A piece of the old program, as it stands there.
    fn old_piece(&mut self, place: u64, length: u64, end: u64) -> Result<(), DeltaError> {
        let length = length.saturating_sub(SHORTEST_OLD);
        let length = self.models.old_length.code(&mut self.bits, length)? + SHORTEST_OLD;
        let by = place as i64 - self.old_end as i64;
        let back = self.models.old_backwards[0].code(&mut self.bits, by < 0);
        let jump = &mut self.models.old_jump[usize::from(back)];
        let by = jump.code(&mut self.bits, by.unsigned_abs())?;
        let from = match back {
            true => self.old_end.checked_sub(by),
            false => self.old_end.checked_add(by),
        };
        let from = from.filter(|from| from + length <= self.base_size);
        let mut at = from.ok_or(DeltaError::Wrong("it reads outside of the old program"))?;
        if length > end - self.made.at {
            return Err(DeltaError::Wrong("more comes of it than was said"));
        }
        self.old_end = at + length;
        self.chunk.forget();
        while at < self.old_end {
            let index = self.chunk.index(at, self.old_end, self.base, self.base_size)?;
            self.made.extend(self.chunk.rest(index, at))?;
            at = self.chunk.to;
        }
        Ok(())
    }

    fn repeat(&mut self, distance: u64, length: u64, end: u64) -> Result<(), DeltaError> {
        let is_same = self.models.same_distance[0].code(&mut self.bits, distance == self.distance);
        let number = &mut self.models.repeat[usize::from(is_same)];
        let length = number.code(&mut self.bits, length.saturating_sub(SHORTEST))? + SHORTEST;
        if !is_same {
            let number = &mut self.models.distance[(length - SHORTEST).min(3) as usize];
            self.distance = number.code(&mut self.bits, distance.saturating_sub(1))? + 1;
        }
        if self.distance > self.made.at || self.distance > self.made.window() {
            return Err(DeltaError::Wrong("it repeats what is not there"));
        }
        if length > end - self.made.at {
            return Err(DeltaError::Wrong("more comes of it than was said"));
        }
        for _ in 0..length {
            self.made.push(self.made.back(self.distance))?;
        }
        Ok(())
    }

    fn literal(&mut self) -> Result<(), DeltaError> {
        let byte = self.byte_in_new().unwrap_or_default();
        let (last, before) = (usize::from(self.made.back(1)), usize::from(self.made.back(2)));
        let two = (last << 8 | before).wrapping_mul(0x9e37_79b1_usize) >> 9 & 1023;
        let distant = usize::from(self.made.back(self.distance));
        let models: [_; MIXED] = [
            &mut self.models.literal_by_last[last],
            &mut self.models.literal_by_two[two],
            &mut self.models.literal_by_distant[distant],
        ];
        let byte = self.models.literal.code(&mut self.bits, models, byte);
        self.made.push(byte)
    }
}
