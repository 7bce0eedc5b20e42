//! What must hold of any bytes of a module, for the fuzzer.

use std::time::{Duration, Instant};

use super::dialogue::{Dialogue, News, Resumed, Settings};
use super::words::{Command, Heard, Parser};
use crate::config::QuectelVersions;
use crate::model::version::Version;

const HOUR: Duration = Duration::from_secs(3600);
/// The most that is read at a time.
const BLOCK: u32 = 256;

/// Takes bytes as what a module says, in parts of as many as the first byte says, while each command
/// goes out and whatever is offered is accepted. Panics where a promise is broken.
#[doc(hidden)]
pub fn fuzz(bytes: &[u8]) {
    let Some((&first, bytes)) = bytes.split_first() else { return };
    let mut world = World::new(first & 1 == 0);
    bytes.chunks(usize::from(first).max(1)).for_each(|part| world.hear(part));
    world.falls_silent();
}

struct World {
    parser: Parser,
    dialogue: Dialogue,
    now: Instant,
    /// The byte of the file that is to come next.
    next: Option<u64>,
}

impl World {
    fn new(resumes: bool) -> Self {
        let settings = Settings {
            product: Vec::new(),
            form: QuectelVersions::default(),
            period: HOUR,
            block: BLOCK,
            baud: 115_200,
            sha256: true,
        };
        let (mut dialogue, now) = (Dialogue::new(settings), Instant::now());
        let version = Version::new([1, 0, 0, 0]);
        let truth = version.map(|version| [("P".to_owned(), version)].into());
        dialogue.set_truth(truth);
        dialogue.opened();
        if resumes {
            dialogue.resume("P", "2_0_0", Resumed::Accepted);
        }
        let mut world = Self { parser: Parser::default(), dialogue, now, next: None };
        world.speak();
        world
    }

    fn hear(&mut self, part: &[u8]) {
        let mut heard = Vec::new();
        self.parser.take(part, &mut heard);
        for heard in heard {
            match heard {
                Heard::Said(said) => self.dialogue.hear(said, self.now),
                Heard::Data { start, bytes } => {
                    assert!(bytes.len() <= BLOCK as usize, "more than was asked for");
                    self.dialogue.data(start, bytes);
                }
            }
            self.follow();
        }
        self.now += Duration::from_millis(200);
        if self.dialogue.tick(self.now) {
            self.parser.reset();
        }
        self.follow();
    }

    fn follow(&mut self) {
        while let Some(news) = self.dialogue.news() {
            match news {
                News::Plan(..) => self.dialogue.answer(true),
                News::File(file) => {
                    assert!(file.length > 0);
                    self.next = Some(0);
                    self.dialogue.begin_at(0);
                }
                News::Bytes { start, bytes } => {
                    assert_eq!(self.next, Some(start), "bytes come in order");
                    let next = start + bytes.len() as u64;
                    self.next = Some(next);
                    if self.dialogue.file().is_some_and(|file| file.length == next) {
                        self.dialogue.install();
                    }
                }
                News::MayInstall => assert!(self.dialogue.runs()),
                News::Refused | News::Over(_) | News::Broken(_) | News::Announced => {}
            }
        }
        self.speak();
    }

    fn speak(&mut self) {
        if let Some(command) = self.dialogue.next(true, self.now) {
            if let Command::Read { length, .. } = command {
                self.parser.expect(length);
            }
            let text = command.encode();
            assert!(
                text.ends_with('\r') && !text.trim_end().contains(char::is_control),
                "{text:?}"
            );
            if matches!(command, Command::Announce(..)) {
                assert!(!self.dialogue.runs(), "nothing is announced while a plan is processed");
            }
            assert_eq!(self.dialogue.next(true, self.now), None, "one command is under way");
        }
    }

    /// Whatever was said, a module that is silent then is sought, and no plan waits for it for ever.
    fn falls_silent(&mut self) {
        for _ in 0..64 {
            let Some(deadline) = self.dialogue.deadline(self.now) else { break };
            self.now = deadline.max(self.now + Duration::from_millis(1));
            if self.dialogue.tick(self.now) {
                self.parser.reset();
            }
            self.follow();
        }
        let is_sought = self.dialogue.deadline(self.now).is_some();
        assert!(is_sought || self.dialogue.is_updating(), "somebody is sought");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Found by fuzzing: nobody missed a module that had gone while a plan waited for this side.
    #[test]
    fn a_module_that_is_silent_while_a_plan_waits_is_missed() {
        fuzz(include_bytes!("../../../fuzz/corpus/quectel/silence_while_a_plan_waits"));
    }

    /// A few thousand ways in which a whole upgrade can be damaged on the line.
    #[test]
    fn a_dialogue_that_is_damaged_anywhere_keeps_the_promises() {
        let whole: &[u8] = include_bytes!("../../../fuzz/corpus/quectel/upgrade");
        fuzz(whole);
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..4000 {
            let mut bytes = whole.to_vec();
            bytes[0] = random.u8(..);
            for _ in 0..random.usize(1..4) {
                let from = random.usize(1..bytes.len());
                let to = (from + random.usize(0..60)).min(bytes.len());
                match random.u8(0..3) {
                    0 => drop(bytes.drain(from..to)),
                    1 => bytes[from] = random.u8(..),
                    _ => {
                        let again = bytes[from..to].to_vec();
                        bytes.extend_from_slice(&again);
                    }
                }
            }
            fuzz(&bytes);
        }
    }
}
