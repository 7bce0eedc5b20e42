//! The loader byte by byte, as docs/wire/stm32f4.md has it.

use std::time::Duration;

use super::event::Event;
use super::loader::{Counts, Loader, Rom, Then};
use super::nor::Nor;
use super::options::{Fault, Options, Tear};

const ACK: u8 = 0x79;
const NACK: u8 = 0x1F;
const SILENCE: [u8; 0] = [];

struct Bench {
    loader: Loader,
    nor: Nor,
    options: Options,
    counts: Counts,
    events: Vec<Event>,
    then: Then,
    took: Duration,
}

impl Bench {
    fn new(options: Options) -> Self {
        let nor = Nor::open(None, &options.content, std::sync::Arc::default()).unwrap();
        let counts = Counts::new(&options.faults);
        let (loader, events) = (Loader::new(), Vec::new());
        let mut bench =
            Self { loader, nor, options, counts, events, then: Then::Listen, took: Duration::ZERO };
        assert_eq!(bench.say(&[0x7F]), [ACK]);
        bench
    }

    fn say(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut heard = Vec::new();
        for byte in bytes {
            let (nor, options, counts) = (&mut self.nor, &mut self.options, &mut self.counts);
            if let Some(answer) = self.loader.hear(*byte, &mut Rom { nor, options, counts }) {
                heard.extend(answer.bytes);
                self.events.extend(answer.events);
                self.then = answer.then;
                self.took = answer.after.max(answer.at_least);
            }
        }
        heard
    }

    /// The command, and its complement.
    fn command(&mut self, command: u8) -> Vec<u8> {
        self.say(&[command, !command])
    }

    fn summed(&mut self, bytes: &[u8]) -> Vec<u8> {
        let sum = bytes.iter().fold(0, |sum, byte| sum ^ byte);
        self.say(&[bytes, &[sum]].concat())
    }

    fn write(&mut self, address: u32, block: &[u8]) -> Vec<u8> {
        assert_eq!(self.command(0x31), [ACK]);
        let answer = self.summed(&address.to_be_bytes());
        if answer != [ACK] {
            return answer;
        }
        self.summed(&[&[block.len() as u8 - 1], block].concat())
    }

    fn read(&mut self, address: u32, count: u8) -> Vec<u8> {
        assert_eq!(self.command(0x11), [ACK]);
        let answer = self.summed(&address.to_be_bytes());
        if answer != [ACK] {
            return answer;
        }
        self.say(&[count - 1, !(count - 1)])
    }

    fn erase(&mut self, numbers: &[u8]) -> Vec<u8> {
        assert_eq!(self.command(0x44), [ACK]);
        self.summed(numbers)
    }
}

fn bench() -> Bench {
    Bench::new(Options::default())
}

#[test]
fn it_tells_what_it_is() {
    let mut bench = bench();
    let commands = [0, 1, 2, 0x11, 0x21, 0x31, 0x44, 0x63, 0x73, 0x82, 0x92];
    assert_eq!(bench.command(0), [&[ACK, 11, 0x31], &commands[..], &[ACK]].concat());
    assert_eq!(bench.command(1), [ACK, 0x31, 0, 0, ACK]);
    assert_eq!(bench.command(2), [ACK, 1, 4, 0x13, ACK]);
    assert_eq!(bench.read(0x1FFF_7A22, 2), [ACK, 0, 4]);
    assert_eq!(bench.read(0x1FFF_7A10, 12), b"\x79uplift-sim\0\0");
    assert_eq!(bench.read(0x1FFF_C000, 2), [ACK, 0xEF, 0xAA]);
}

#[test]
fn a_second_0x7f_is_half_a_command() {
    let mut bench = bench();
    assert_eq!(bench.say(&[0x7F]), SILENCE);
    assert_eq!(bench.say(&[0x7F]), [NACK]);
    assert_eq!(bench.command(2).len(), 5);
}

#[test]
fn what_is_wrong_is_refused_where_it_is_wrong() {
    let mut bench = bench();
    assert_eq!(bench.say(&[0x11, 0x11]), [NACK]);
    assert_eq!(bench.command(0x43), [NACK], "the older erase is not there");
    assert_eq!(bench.command(0x11), [ACK]);
    assert_eq!(bench.say(&[8, 0, 0, 0, 9]), [NACK], "sum");
    for address in [0x0810_0000, 0x2000_0000, 0x1FFF_0000, 0] {
        assert_eq!(bench.read(address, 4), [NACK], "{address:#x}");
    }
    assert_eq!(bench.write(0x0801_0002, &[0; 4]), [NACK], "not aligned");
    assert_eq!(bench.write(0x0801_0000, &[0; 3]), [NACK], "no whole words");
    assert_eq!(bench.write(0x080F_FFFC, &[0; 8]), [NACK], "beyond the end");
    assert_eq!(bench.command(0x31), [ACK]);
    assert_eq!(bench.summed(&0x0801_0000_u32.to_be_bytes()), [ACK]);
    assert_eq!(bench.say(&[3, 1, 2, 3, 4, 0]), [NACK], "sum of the block");
    assert_eq!(bench.erase(&[0, 0, 0, 12]), [NACK], "no such sector");
    assert_eq!(bench.nor.operations(), 0);
    assert_eq!(bench.command(2).len(), 5, "and it goes on");
}

#[test]
fn flash_is_nor() {
    let mut bench = bench();
    assert_eq!(bench.write(0x0801_0000, &[0xF0, 0x0F, 0xFF, 0x00]), [ACK]);
    assert_eq!(bench.nor.operations(), 4, "a byte at a time after power-up");
    assert_eq!(bench.write(0x0801_0000, &[0xFF, 0xF0, 0xAA, 0xFF]), [ACK]);
    assert_eq!(bench.read(0x0801_0000, 5), [ACK, 0xF0, 0x00, 0xAA, 0x00, 0xFF]);
    assert_eq!(bench.erase(&[0, 1, 0, 4, 0, 5]), [ACK]);
    assert_eq!(bench.events.last(), Some(&Event::Erased { sectors: vec![4, 5] }));
    assert_eq!(bench.read(0x0801_0000, 1), [ACK, 0xFF]);
    assert_eq!(bench.took, Duration::ZERO);
}

#[test]
fn a_voltage_makes_it_quicker() {
    let mut bench = bench();
    assert_eq!(bench.write(0x0801_0000, &[0; 4]), [ACK]);
    let slow = bench.took;
    assert_eq!(bench.write(0xFFFF_0000, &[3]), [ACK]);
    assert_eq!(bench.write(0x0801_0004, &[0; 4]), [ACK]);
    assert_eq!(slow, bench.took * 4);
    assert_eq!(bench.nor.operations(), 5);
    assert_eq!(bench.erase(&[0, 0, 0, 4]), [ACK]);
    assert_eq!(bench.took, Duration::from_millis(550));
}

#[test]
fn protection_from_reading_refuses_at_the_command() {
    let mut bench = Bench::new(Options { is_read_protected: true, ..Options::default() });
    for command in [0x11, 0x21, 0x31, 0x44, 0x63, 0x73] {
        assert_eq!(bench.command(command), [NACK], "{command:#x}");
    }
    assert_eq!(bench.command(2).len(), 5);
}

#[test]
fn taking_that_protection_away_erases_everything() {
    let content = vec![(0x0800_0000, vec![0; 64])];
    let options = Options { is_read_protected: true, content, ..Options::default() };
    let mut bench = Bench::new(options);
    assert_eq!(bench.command(0x92), [ACK, ACK]);
    assert_eq!(bench.then, Then::Reset);
    assert!(bench.events.contains(&Event::MassErase));
    assert!(bench.nor.bytes().iter().all(|byte| *byte == 0xFF));
}

#[test]
fn a_protected_sector_is_acknowledged_and_stays() {
    let content = vec![(0x0801_0000, vec![0x55; 8])];
    let mut bench = Bench::new(Options { content, write_protected: vec![4], ..Options::default() });
    assert_eq!(bench.write(0x0801_0000, &[0; 4]), [ACK]);
    assert_eq!(bench.erase(&[0, 0, 0, 4]), [ACK]);
    assert_eq!(bench.read(0x0801_0000, 4), [ACK, 0x55, 0x55, 0x55, 0x55]);
}

#[test]
fn a_mass_erase_is_told() {
    let mut bench = bench();
    assert_eq!(bench.erase(&[0xFF, 0xFE]), [NACK], "no second bank");
    assert_eq!(bench.erase(&[0xFF, 0xFF]), [ACK]);
    assert!(bench.events.contains(&Event::MassErase));
}

#[test]
fn go_starts_a_program() {
    let mut bench = bench();
    assert_eq!(bench.command(0x21), [ACK]);
    assert_eq!(bench.summed(&0x0801_0000_u32.to_be_bytes()), [ACK]);
    assert_eq!(bench.then, Then::Go(0x0801_0000));
}

#[test]
fn a_block_that_is_not_whole_is_waited_for() {
    let mut bench = bench();
    assert_eq!(bench.command(0x31), [ACK]);
    assert_eq!(bench.summed(&0x0801_0000_u32.to_be_bytes()), [ACK]);
    assert_eq!(bench.say(&[255, 1, 2, 3]), SILENCE);
    // A host that comes anew feeds the block, until it is whole.
    assert_eq!(bench.say(&[0x7F; 253]), SILENCE);
    assert_eq!(bench.say(&[0x7F]), [NACK]);
}

#[test]
fn faults_come_when_they_are_asked_for() {
    let with = |fault| Bench::new(Options { faults: vec![fault], ..Options::default() });
    let mut refused = with(Fault::RefusedBlock(2));
    let answers = [0, 4, 4, 8].map(|at| refused.write(0x0801_0000 + at, &[0; 4]));
    assert_eq!(answers, [[ACK], [NACK], [ACK], [ACK]]);
    let mut lost = with(Fault::LostAck(1));
    assert_eq!(lost.write(0x0801_0000, &[0; 4]), SILENCE);
    assert_eq!(lost.read(0x0801_0000, 1), [ACK, 0]);
    let mut garbled = with(Fault::GarbledRead(2));
    assert_eq!(garbled.read(0x0801_0000, 2), [ACK, 0xFF, 0xFF]);
    assert_eq!(garbled.read(0x0801_0000, 2), [ACK, 0xFF, 0xEF]);
    let mut slow = with(Fault::SlowErase(Duration::from_secs(8)));
    assert_eq!(slow.erase(&[0, 0, 0, 2]), [ACK]);
    assert_eq!(slow.took, Duration::from_secs(8));
    let mut resets = with(Fault::ResetAfter(1));
    assert_eq!(resets.write(0x0801_0000, &[0; 4]), [ACK]);
    assert_eq!(resets.then, Then::Reset);
}

#[test]
fn a_cut_says_nothing_more() {
    let mut bench = bench();
    bench.nor.set_trap(2, Tear::Nothing, true);
    assert_eq!(bench.write(0x0801_0000, &[0; 4]), SILENCE);
    assert_eq!(bench.then, Then::Off);
    assert_eq!(bench.nor.bytes()[0x1_0000..0x1_0004], [0, 0, 0xFF, 0xFF]);
}

#[test]
fn a_bit_that_sticks_is_never_cleared() {
    let mut bench = bench();
    bench.nor.stick(0x0801_0001, 3);
    assert_eq!(bench.write(0x0801_0000, &[0; 4]), [ACK]);
    assert_eq!(bench.read(0x0801_0000, 4), [ACK, 0, 8, 0, 0]);
}
