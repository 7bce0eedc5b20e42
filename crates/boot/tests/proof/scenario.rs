//! What is done to a chip, and what must come of it.

use uplift_boot::{Order as Ordered, Record};

use super::candidate::{Candidate, core};
use super::host::{Order, operations, work};
use super::nor::{Fault, Nor, Tear};
use super::world::{Outcome, World};

/// One way to look for a flaw: a name, and what is done.
pub(crate) type Scenario = (&'static str, fn(&mut Trial<'_>));

/// The quickest first.
pub(crate) const ALL: &[Scenario] = &[
    ("a wrong record", wrong_record),
    ("a wrong store", wrong_store),
    ("a wrong application", wrong_application),
    ("the erase of a record, cut short", torn_record),
    ("the order is lost in the copy", lost_order),
    ("a bit that will not clear", worn_bit),
    ("power cuts of host and bootloader", power_cuts),
    ("a third cut", third_cut),
    ("a flash operation that fails", failures),
];

/// How often what came out, and the first flaw.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) runs: u64,
    pub(crate) old: u64,
    pub(crate) new: u64,
    pub(crate) waits: u64,
    pub(crate) flaw: Option<String>,
}

/// A candidate, looked at in one world.
pub(crate) struct Trial<'a> {
    pub(crate) candidate: Candidate,
    pub(crate) world: &'a World,
    pub(crate) order: Order,
    pub(crate) tally: &'a mut Tally,
}

impl Trial<'_> {
    /// Resets and counts; anything but a good outcome is a flaw, unless it is allowed to wait.
    fn judge(&mut self, nor: &mut Nor, may_wait: bool, what: impl Fn() -> String) -> Outcome {
        let outcome = self.world.boot(self.candidate, nor, None, 0);
        self.count(outcome, may_wait, what);
        outcome
    }

    fn count(&mut self, outcome: Outcome, may_wait: bool, what: impl Fn() -> String) {
        self.tally.runs += 1;
        match outcome {
            Outcome::Old => self.tally.old += 1,
            Outcome::New => self.tally.new += 1,
            Outcome::None if may_wait => self.tally.waits += 1,
            Outcome::None | Outcome::Mixed => self.flaw(|| format!("{outcome:?}: {}", what())),
        }
    }

    fn expect(&mut self, outcome: Outcome, wanted: Outcome, what: impl Fn() -> String) {
        self.tally.runs += 1;
        let is_same = self.world.old == self.world.new && outcome.is_good() && wanted.is_good();
        if outcome != wanted && !is_same {
            self.flaw(|| format!("{outcome:?} for {wanted:?}: {}", what()));
        }
    }

    fn flaw(&mut self, what: impl Fn() -> String) {
        self.tally.flaw.get_or_insert_with(|| {
            let (chip, new) = (self.world.chip.name, self.world.new.len());
            format!("{}; chip: {chip}, {new} bytes", what())
        });
    }

    fn is_over(&self) -> bool {
        self.tally.flaw.is_some()
    }

    /// A chip from the programmer; one that was upgraded before; and one whose application took the
    /// order away, as the vendor's does.
    fn starts(&self) -> [Nor; 3] {
        let mut upgraded = self.world.fresh();
        work(&mut upgraded, &operations(self.world, &self.world.old, Order::Right), None, 0);
        self.world.boot(core(), &mut upgraded, None, 0);
        let mut cleared = upgraded.clone();
        for sector in self.world.chip.map.record.sectors() {
            let _ = cleared.erase(sector);
        }
        [self.world.fresh(), upgraded, cleared]
    }

    /// The old program runs, the store holds the new one, and the order stands.
    fn ordered(&self) -> Nor {
        let mut nor = self.world.fresh();
        work(&mut nor, &operations(self.world, &self.world.new, Order::Right), None, 0);
        nor
    }

    /// How many operations the bootloader needs from here on.
    fn length(&self, nor: &Nor) -> usize {
        let mut nor = nor.clone();
        self.world.boot(self.candidate, &mut nor, None, 0);
        nor.operations
    }

    fn says_copied(&self, nor: &Nor) -> bool {
        let map = &self.world.chip.map;
        let words = nor.words_at(map.record.address).first_chunk::<{ Record::WORDS }>();
        words.is_some_and(|words| matches!(Ordered::parse(*words, map), Ordered::Copied(_)))
    }
}

/// ST-7, ST-18, ST-22: each operation of the host cut, in four ways; then each of the bootloader's.
pub(crate) fn power_cuts(trial: &mut Trial<'_>) {
    let host = operations(trial.world, &trial.world.new, trial.order);
    for (start, nor) in trial.starts().into_iter().enumerate() {
        for (at, tear) in cuts(host.len() + 1) {
            let mut nor = nor.clone();
            work(&mut nor, &host, Some((at, Fault::Cut(tear))), seed(at, start));
            let what = || format!("start {start}, host cut at {at} ({tear:?})");
            second_cut(trial, &nor, what);
            host_again(trial, nor, &host, at == host.len(), what);
            if trial.is_over() {
                return;
            }
        }
    }
}

fn second_cut(trial: &mut Trial<'_>, nor: &Nor, what: impl Fn() -> String) {
    for (at, tear) in cuts(trial.length(nor)) {
        let mut nor = nor.clone();
        trial.world.boot(trial.candidate, &mut nor, Some((at, Fault::Cut(tear))), seed(at, 7));
        trial.judge(&mut nor, false, || format!("{}, boot cut at {at} ({tear:?})", what()));
    }
}

/// What starts after the cut; and the host, once it is back, brings the new program in.
fn host_again(
    trial: &mut Trial<'_>,
    mut nor: Nor,
    host: &[super::host::Operation],
    is_done: bool,
    what: impl Fn() -> String,
) {
    let outcome = trial.judge(&mut nor, false, &what);
    if is_done {
        trial.expect(outcome, Outcome::New, || format!("{}, and nothing was cut", what()));
        let says = trial.says_copied(&nor);
        if !says {
            trial.flaw(|| "the record does not say that it was copied".to_owned());
        }
        return;
    }
    work(&mut nor, host, None, 0);
    let outcome = trial.world.boot(trial.candidate, &mut nor, None, 0);
    trial.expect(outcome, Outcome::New, || format!("{}, and the host came back", what()));
}

/// ST-22: a cut in the copy that follows a cut in the copy.
fn third_cut(trial: &mut Trial<'_>) {
    let ordered = trial.ordered();
    for (at, tear) in cuts(trial.length(&ordered)) {
        let mut nor = ordered.clone();
        trial.world.boot(trial.candidate, &mut nor, Some((at, Fault::Cut(tear))), seed(at, 11));
        // The tears of the last cut take turns, so that this does not take all of the time.
        for next in 0..trial.length(&nor) {
            let (mut nor, last) = (nor.clone(), Tear::ALL[(at + next) % 4]);
            let fault = Some((next, Fault::Cut(last)));
            trial.world.boot(trial.candidate, &mut nor, fault, seed(next, at));
            let what = || format!("boot cut at {at} ({tear:?}), then at {next} ({last:?})");
            trial.judge(&mut nor, false, what);
        }
        if trial.is_over() {
            return;
        }
    }
}

/// ST-16: whatever bits an erase sets before it is cut, no other order comes of it.
fn torn_record(trial: &mut Trial<'_>) {
    let [_, upgraded, _] = trial.starts();
    let sector = trial.world.chip.map.record.first_sector;
    for number in 0..4000 {
        let mut nor = upgraded.clone();
        nor.start(Some((0, Fault::Cut(Tear::Random))), number);
        let _ = nor.erase(sector);
        trial.judge(&mut nor, false, || format!("random bits of the record set ({number})"));
    }
}

/// ST-19: an operation fails with the power on, loudly or not; the next reset brings the program.
fn failures(trial: &mut Trial<'_>) {
    let ordered = trial.ordered();
    for (at, tear) in cuts(trial.length(&ordered)) {
        for fault in [Fault::Fails(tear), Fault::FailsSilently(tear)] {
            let mut nor = ordered.clone();
            let what = || format!("{fault:?} at {at}");
            let outcome =
                trial.world.boot(trial.candidate, &mut nor, Some((at, fault)), seed(at, 3));
            trial.count(outcome, true, what);
            if fault == Fault::Fails(Tear::Random) {
                second_cut(trial, &nor, what);
            }
            let outcome = trial.world.boot(trial.candidate, &mut nor, None, 0);
            trial.expect(outcome, Outcome::New, || format!("{}, and a reset", what()));
        }
        if trial.is_over() {
            return;
        }
    }
}

/// ST-19: nothing that can't be written right is ever started.
fn worn_bit(trial: &mut Trial<'_>) {
    if trial.world.old == trial.world.new {
        return; // It is there already, and needs no bit cleared.
    }
    let ordered = trial.ordered();
    let first = ordered.index(trial.world.chip.map.application.address).ok().unwrap();
    for (offset, word) in (0..).zip(trial.world.new.as_chunks::<4>().0) {
        let (mut nor, bit) = (ordered.clone(), 1_u32 << (offset * 7 % 32));
        if u32::from_le_bytes(*word) & bit != 0 {
            continue;
        }
        nor.stuck = Some((first + offset, bit));
        for _ in 0..3 {
            let outcome = trial.world.boot(trial.candidate, &mut nor, None, 0);
            // An old program in which the bit is set can't be brought there either: it is gone.
            trial.expect(outcome, Outcome::None, || format!("word {offset} is worn"));
        }
    }
}

/// ST-18: what the record does not describe is never copied, and the old program runs.
fn wrong_store(trial: &mut Trial<'_>) {
    let ordered = trial.ordered();
    let first = ordered.index(trial.world.chip.map.store.address).ok().unwrap();
    let words = trial.world.new.len() / 4;
    let mut wrong = Vec::new();
    for bit in 0..words * 32 {
        let mut nor = ordered.clone();
        nor.words[first + bit / 32] ^= 1 << (bit % 32);
        wrong.push((format!("bit {bit} of the store"), nor));
    }
    for blank in 0..words {
        let mut nor = ordered.clone();
        nor.words[first + blank..first + words].fill(u32::MAX);
        if nor.words != ordered.words {
            wrong.push((format!("a store that is blank from word {blank} on"), nor));
        }
    }
    let mut nor = ordered;
    let foreign = trial.world.chip.program(words, 999);
    nor.words[first..first + words].fill(u32::MAX);
    trial.world.place(&mut nor, trial.world.chip.map.store.address, &foreign);
    wrong.push(("another program in the store".to_owned(), nor));
    stays_old(trial, wrong);
}

/// ST-17: a record that is not whole, or whose size can't be, orders nothing.
fn wrong_record(trial: &mut Trial<'_>) {
    let (map, ordered) = (trial.world.chip.map, trial.ordered());
    let place = ordered.index(map.record.address).ok().unwrap();
    let mut wrong = Vec::new();
    for bit in 0..5 * 32 {
        let mut nor = ordered.clone();
        nor.words[place + bit / 32] ^= 1 << (bit % 32);
        wrong.push((format!("bit {bit} of the record"), nor));
    }
    for word in 0..5 {
        for value in [0, u32::MAX] {
            let mut nor = ordered.clone();
            nor.words[place + word] = value;
            wrong.push((format!("word {word} of the record is {value:#x}"), nor));
        }
    }
    let room = map.application.size;
    for size in [0, 4, room + 4, room + 8] {
        let mut nor = ordered.clone();
        let mut crc = uplift_boot::Crc::new();
        let store = nor.words_at(map.store.address).iter().take(size as usize / 4);
        store.for_each(|word| crc.update(&word.to_le_bytes()));
        let record = Record { size, crc: crc.finish() };
        nor.words[place + 1..place + 5].fill(u32::MAX);
        trial.world.place(&mut nor, map.record.address + Record::BODY_OFFSET, &record.body());
        wrong.push((format!("a record with a size of {size}"), nor));
    }
    stays_old(trial, wrong);
}

fn stays_old(trial: &mut Trial<'_>, wrong: Vec<(String, Nor)>) {
    for (what, mut nor) in wrong {
        let outcome = trial.world.boot(trial.candidate, &mut nor, None, 0);
        trial.expect(outcome, Outcome::Old, || what.clone());
        let count = nor.operations;
        let is_same = trial.world.old == trial.world.new;
        if count != 0 && !is_same {
            trial.flaw(|| format!("{count} operations: {what}"));
        }
    }
}

/// ST-20: a program whose CRC is known runs only while it is right.
fn wrong_application(trial: &mut Trial<'_>) {
    let mut copied = trial.ordered();
    trial.world.boot(core(), &mut copied, None, 0);
    let first = copied.index(trial.world.chip.map.application.address).ok().unwrap();
    for bit in 0..trial.world.new.len() * 8 {
        let mut nor = copied.clone();
        nor.words[first + bit / 32] ^= 1 << (bit % 32);
        let outcome = trial.world.boot(trial.candidate, &mut nor, None, 0);
        trial.expect(outcome, Outcome::None, || format!("bit {bit} of the application"));
    }
}

/// A host that takes the order back while it is carried out breaks the rule that it waits. There may
/// be no program then, but what is half copied must not start. Random bits may look like anything,
/// so they are left out; and so is the old program's stack pointer, the first that goes.
fn lost_order(trial: &mut Trial<'_>) {
    let ordered = trial.ordered();
    for (at, tear) in cuts(trial.length(&ordered)).filter(|(_, tear)| *tear != Tear::Random) {
        for number in 0..4 {
            let mut nor = ordered.clone();
            let fault = Some((at, Fault::Cut(tear)));
            trial.world.boot(trial.candidate, &mut nor, fault, number);
            nor.start(None, 0);
            for sector in trial.world.chip.map.record.sectors() {
                let _ = nor.erase(sector);
            }
            let mut outcome = trial.world.boot(trial.candidate, &mut nor, None, 0);
            if outcome == Outcome::Mixed && trial.world.is_old_but_for_its_stack(&nor) {
                outcome = Outcome::Old;
            }
            trial.count(outcome, true, || format!("boot cut at {at} ({tear:?}), order erased"));
        }
    }
}

fn cuts(operations: usize) -> impl Iterator<Item = (usize, Tear)> {
    (0..operations).flat_map(|at| Tear::ALL.map(|tear| (at, tear)))
}

fn seed(at: usize, salt: usize) -> u64 {
    (at * 1_000_003 + salt) as u64
}
