//! The sense of executables: numbers in a program that say where something else lies, and what becomes
//! of them when that moves.
//!
//! A function that grows moves all that stands behind it, and every call across it changes. Which
//! numbers these are is guessed from the old program alone; a guess that is wrong costs a few bits.

/// Bytes that must be there on either side of a place to look for a field.
pub(crate) const MARGIN: usize = 8;
/// Bytes of every field.
pub(crate) const WIDTH: u64 = 4;
/// Bits of the places that a shift is known for; a place is 256 bytes, or a page.
const PLACE_BITS: u32 = 17;
/// Addresses in a program may be that much above its size.
const SLACK: i64 = 8 << 20;
/// A place of which nothing is known.
const UNKNOWN: u32 = 1 << 31;

/// Whose instructions are understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sense {
    None,
    X86,
    Arm64,
}

impl Sense {
    /// That of an ELF file.
    pub(crate) fn of(program: &[u8]) -> Self {
        match (program.starts_with(b"\x7fELF"), program.get(18..20)) {
            (true, Some([3 | 62, 0])) => Self::X86,
            (true, Some([183, 0])) => Self::Arm64,
            _ => Self::None,
        }
    }

    /// Where fields may stand: not 0 for each such place of the old program from `old` on, of which
    /// `bytes` are there, with a margin on both sides. Much quicker than to look for one at each.
    pub(crate) fn mark(self, bytes: &[u8], old: u64, marks: &mut [u8]) {
        let aligned = |to: u64| (to - old % to) as usize % to as usize;
        match self {
            Self::None => marks.fill(0),
            Self::X86 => {
                let words = |from: usize| bytes[from..].as_chunks::<8>().0.iter().map(word_of);
                let pairs = words(MARGIN - 2).zip(words(MARGIN - 1));
                for (marks, (first, second)) in marks.chunks_mut(8).zip(pairs) {
                    let one = ones(second, 0xfe, 0xe8) | ones(second, 0xc7, 0x05);
                    let two = ones(second, 0xf0, 0x80) & ones(first, 0xff, 0x0f);
                    marks.copy_from_slice(&(one | two).to_le_bytes()[..marks.len()]);
                }
                let places = (aligned(8)..marks.len()).step_by(8);
                for place in places.filter(|place| bytes[MARGIN + place + 4..][..4] == [0; 4]) {
                    marks[place] = 1;
                }
            }
            Self::Arm64 => {
                marks.fill(0);
                for place in (aligned(4)..marks.len()).step_by(4) {
                    let (highest, next) = (bytes[MARGIN + place + 3], &bytes[MARGIN + place + 4..]);
                    let instruction = highest & 0x7c == 0x14 || highest & 0x9f == 0x90;
                    marks[place] = u8::from(instruction || next[..4] == [0; 4]);
                }
            }
        }
    }

    pub(crate) const fn number(self) -> u32 {
        match self {
            Self::None => 0,
            Self::X86 => 1,
            Self::Arm64 => 2,
        }
    }

    pub(crate) const fn from_number(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::None),
            1 => Some(Self::X86),
            2 => Some(Self::Arm64),
            _ => None,
        }
    }
}

fn word_of(bytes: &[u8; 8]) -> u64 {
    u64::from_le_bytes(*bytes)
}

/// A byte of 1 for each one of a word that is `value` under `mask`, and of 0 for each other: eight at once,
/// because in a program that is linked as one, for its size, the compiler does not do that.
fn ones(word: u64, mask: u8, value: u8) -> u64 {
    let each = |byte: u8| u64::from_ne_bytes([byte; 8]);
    let others = (word & each(mask)) ^ each(value);
    let is_other = ((others & each(0x7f)) + each(0x7f)) | others;
    (!is_other >> 7) & each(1)
}

/// What a field is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The low half of an address of 64 bits.
    Pointer = 0,
    /// What an instruction of x86 adds to the address behind it.
    Relative = 1,
    /// `b` and `bl` of Arm64: words.
    Branch = 2,
    /// `adrp` of Arm64: pages.
    Page = 3,
}

/// How many of them there are.
pub(crate) const KINDS: usize = 4;

/// A number in the old program.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field {
    pub(crate) kind: Kind,
    place: usize,
    /// The four bytes, and what of them is the number.
    pub(crate) word: u32,
    value: u32,
    /// What the way of the field itself takes from the number.
    moved: u32,
}

/// A byte of the old program, or four of them that are a field.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Unit {
    Byte(u8),
    Field(Field, u32),
}

impl Unit {
    /// In bytes.
    pub(crate) const fn width(&self) -> u64 {
        match self {
            Self::Byte(_) => 1,
            Self::Field(..) => WIDTH,
        }
    }
}

/// How far the things lie from where they were that fields were seen to point to.
#[derive(Debug)]
pub(crate) struct Shifts {
    known: Vec<[u32; KINDS]>,
    sense: Sense,
    limit: i64,
}

impl Shifts {
    pub(crate) fn new(sense: Sense, base_size: u64) -> Self {
        let places = if sense == Sense::None { 1 } else { 1 << PLACE_BITS };
        let limit = i64::try_from(base_size).unwrap_or(i64::MAX).saturating_add(SLACK);
        Self { known: vec![[UNKNOWN; KINDS]; places], sense, limit }
    }

    /// The field at `old` in the old program, which comes to `new`; `around` are the bytes from
    /// [`MARGIN`] before it to [`MARGIN`] behind its beginning.
    #[inline]
    pub(crate) fn find(&self, around: &[u8; 2 * MARGIN], old: u64, new: u64) -> Option<Field> {
        let [.., a, b, c, d, e, f, g, h, i, j] = *around;
        let word = u32::from_le_bytes([c, d, e, f]);
        let field = |kind, target: i64, value: u32, moved: i64, unit: u32| {
            (0..self.limit).contains(&target).then(|| Field {
                kind,
                place: (target >> unit) as usize & ((1 << PLACE_BITS) - 1),
                word,
                value,
                moved: moved as u32,
            })
        };
        let (from, moved) = (old as i64, (new as i64).wrapping_sub(old as i64));
        match self.sense {
            Sense::None => return None,
            Sense::X86 => {
                if b & 0xfe == 0xe8 || b & 0xc7 == 0x05 || (b & 0xf0 == 0x80 && a == 0x0f) {
                    let target = from.wrapping_add(4 + i64::from(word as i32));
                    if let Some(found) = field(Kind::Relative, target, word, moved, 8) {
                        return Some(found);
                    }
                }
            }
            Sense::Arm64 if (old | new) & 3 == 0 => {
                if word & 0x7c00_0000 == 0x1400_0000 {
                    let words = (word << 6) as i32 >> 6;
                    let target = from.wrapping_add(4 * i64::from(words));
                    return field(Kind::Branch, target, words as u32, moved >> 2, 8);
                }
                if word & 0x9f00_0000 == 0x9000_0000 {
                    let pages = ((word >> 5 & 0x7_ffff) << 2 | word >> 29 & 3) << 11;
                    let pages = pages as i32 >> 11;
                    let target = ((from >> 12) + i64::from(pages)) << 12;
                    let moved = (new >> 12) as i64 - (old >> 12) as i64;
                    return field(Kind::Page, target, pages as u32, moved, 12);
                }
            }
            Sense::Arm64 => {}
        }
        if old & 7 == 0 && [g, h, i, j] == [0; 4] && word >= 4096 {
            return field(Kind::Pointer, i64::from(word), word, 0, 8);
        }
        None
    }

    /// What the four bytes are expected to be.
    #[inline]
    pub(crate) fn expected(&self, field: &Field) -> u32 {
        match self.known[field.place][field.kind as usize] {
            UNKNOWN => field.word,
            shift => field.shifted(shift),
        }
    }

    /// That the four bytes are these.
    #[inline]
    pub(crate) fn learn(&mut self, field: &Field, word: u32) {
        if let Some(shift) = field.shift_to(word) {
            self.known[field.place][field.kind as usize] = shift;
        }
    }
}

impl Field {
    /// The four bytes where what they point to has moved by `shift`.
    #[inline]
    pub(crate) const fn shifted(&self, shift: u32) -> u32 {
        let value = self.value.wrapping_add(shift).wrapping_sub(self.moved);
        match self.kind {
            Kind::Pointer | Kind::Relative => value,
            Kind::Branch => self.word & 0xfc00_0000 | value & 0x03ff_ffff,
            Kind::Page => {
                self.word & 0x9f00_001f | (value & 3) << 29 | (value >> 2 & 0x7_ffff) << 5
            }
        }
    }

    /// The shift that makes the four bytes these, where there is one.
    #[inline]
    pub(crate) fn shift_to(&self, word: u32) -> Option<u32> {
        let value = match self.kind {
            Kind::Pointer | Kind::Relative => word,
            Kind::Branch => ((word << 6) as i32 >> 6) as u32,
            Kind::Page => {
                let pages = ((word >> 5 & 0x7_ffff) << 2 | word >> 29 & 3) << 11;
                (pages as i32 >> 11) as u32
            }
        };
        let shift = value.wrapping_sub(self.value).wrapping_add(self.moved);
        (self.shifted(shift) == word).then_some(shift)
    }
}
