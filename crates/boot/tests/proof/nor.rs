//! A NOR flash whose power can fail in the middle of an operation, and whose operations can fail
//! with the power on.

use std::ops::Range;

/// What an operation that was torn, or that failed, left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tear {
    Nothing,
    All,
    /// One half of what it would have changed.
    Half,
    /// Any of the bits that it would have changed; few, half or most of them.
    Random,
}

impl Tear {
    pub(crate) const ALL: [Self; 4] = [Self::Nothing, Self::All, Self::Half, Self::Random];
}

/// What happens at an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The power fails: nothing is done from then on.
    Cut(Tear),
    /// The flash says that it failed, and works afterwards.
    Fails(Tear),
    /// The flash says nothing.
    FailsSilently(Tear),
}

#[derive(Debug, Clone)]
pub(crate) struct Nor {
    pub(crate) base: u32,
    pub(crate) words: Vec<u32>,
    /// Of `words`.
    pub(crate) sectors: Vec<Range<usize>>,
    /// Programs and erases so far.
    pub(crate) operations: usize,
    fault: Option<(usize, Fault)>,
    is_off: bool,
    /// Bits of a word that are never cleared.
    pub(crate) stuck: Option<(usize, u32)>,
    random: fastrand::Rng,
}

pub(crate) struct Failed;

impl Nor {
    pub(crate) fn new(base: u32, sectors: &[usize], seed: u64) -> Self {
        let mut ranges = Vec::new();
        let mut end = 0;
        for words in sectors {
            ranges.push(end..end + words);
            end += words;
        }
        Self {
            base,
            words: vec![u32::MAX; end],
            sectors: ranges,
            operations: 0,
            fault: None,
            is_off: false,
            stuck: None,
            random: fastrand::Rng::with_seed(seed),
        }
    }

    /// The power comes back; the operation with this number, counted from now, goes wrong.
    pub(crate) fn start(&mut self, fault: Option<(usize, Fault)>, seed: u64) {
        (self.operations, self.fault, self.is_off) = (0, fault, false);
        self.random = fastrand::Rng::with_seed(seed);
    }

    pub(crate) fn index(&self, address: u32) -> Result<usize, Failed> {
        let index = (address.wrapping_sub(self.base) / 4) as usize;
        if !address.is_multiple_of(4) || index >= self.words.len() {
            return Err(Failed);
        }
        Ok(index)
    }

    pub(crate) fn read(&self, address: u32) -> Result<u32, Failed> {
        let index = self.index(address)?;
        if self.is_off { Err(Failed) } else { Ok(self.words[index]) }
    }

    pub(crate) fn program(&mut self, address: u32, word: u32) -> Result<(), Failed> {
        let index = self.index(address)?;
        self.operate(index..index + 1, |before| before & word)
    }

    pub(crate) fn erase(&mut self, sector: u8) -> Result<(), Failed> {
        let words = self.sectors.get(usize::from(sector)).cloned().ok_or(Failed)?;
        self.operate(words, |_| u32::MAX)
    }

    /// The words, from an address on.
    pub(crate) fn words_at(&self, address: u32) -> &[u32] {
        self.index(address).map_or(&[], |index| &self.words[index..])
    }

    fn operate(&mut self, words: Range<usize>, after: impl Fn(u32) -> u32) -> Result<(), Failed> {
        if self.is_off {
            return Err(Failed);
        }
        let number = self.operations;
        self.operations += 1;
        let fault = self.fault.filter(|(at, _)| *at == number).map(|(_, fault)| fault);
        let (tear, result) = match fault {
            None => (Tear::All, Ok(())),
            Some(Fault::Cut(tear)) => (tear, Err(Failed)),
            Some(Fault::Fails(tear)) => (tear, Err(Failed)),
            Some(Fault::FailsSilently(tear)) => (tear, Ok(())),
        };
        self.is_off = matches!(fault, Some(Fault::Cut(_)));
        self.tear(words, tear, after);
        result
    }

    fn tear(&mut self, words: Range<usize>, tear: Tear, after: impl Fn(u32) -> u32) {
        let (weight, is_first) = (self.random.u32(1..8), self.random.bool());
        let count = words.len();
        for (place, index) in words.enumerate() {
            let before = self.words[index];
            let changed = before ^ after(before);
            let mask = match tear {
                Tear::Nothing => 0,
                Tear::All => u32::MAX,
                Tear::Half if count == 1 => {
                    if is_first {
                        0xFFFF
                    } else {
                        0xFFFF_0000
                    }
                }
                Tear::Half => {
                    if (place < count / 2) == is_first {
                        u32::MAX
                    } else {
                        0
                    }
                }
                Tear::Random => self.mask(weight),
            };
            let worn =
                self.stuck.filter(|(at, _)| *at == index).map_or(0, |(_, bits)| bits & before);
            self.words[index] = before ^ (changed & mask) | worn;
        }
    }

    /// Each bit with a probability of `weight` eighths.
    fn mask(&mut self, weight: u32) -> u32 {
        let mut mask = 0;
        for bit in 0..3 {
            let random = self.random.u32(..);
            mask = if weight >> bit & 1 == 1 { mask | random } else { mask & random };
        }
        mask
    }
}
