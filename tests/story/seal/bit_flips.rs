//! 100,000 changed files, and none is let in where a seal is required.

use std::fs;
use std::path::Path;

use fastrand::Rng;
use uplift::config::{Config, Format};
use uplift::digest::{Beside, Hasher};
use uplift::package::check::{Rules, Subject, examine};
use uplift_fixtures::elf::{Architecture, Program};
use uplift_sim::signer::Signer;

use crate::world::changes::change;

const NAME: &str = "DEMO_V02.00.00.00.bin";
const CHANGES: usize = 100_000;
/// Any will do; each run makes the same changes.
const SEED: u64 = 0x5ea1;

fn write(path: &Path, bytes: &[u8]) {
    let file = fs::File::create(path);
    file.and_then(|mut file| std::io::Write::write_all(&mut file, bytes)).unwrap();
}

/// Where a seal is required, for these payloads.
fn judged_by(signer: &Signer, format: Format) -> Rules {
    let text = format!(
        "[component.program]\npath = \"/nonexistent/program\"\nproduct = \"DEMO\"\n[package]\nseal = \"required\"\n{}",
        signer.trusted_section()
    );
    let config = Config::parse(&text, Path::new("test.toml")).unwrap();
    Rules::new(config.components.iter().next().unwrap(), &config.package).format(format)
}

/// A file of these bytes, and whether it is let in.
struct Judge {
    rules: Rules,
    directory: tempfile::TempDir,
}

impl Judge {
    /// In memory, where the file system has one; 100,000 files are written.
    fn new(rules: Rules) -> Self {
        let directory = if Path::new("/dev/shm").is_dir() {
            tempfile::tempdir_in("/dev/shm")
        } else {
            tempfile::tempdir()
        };
        Self { rules, directory: directory.unwrap() }
    }

    fn lets_in(&self, bytes: &[u8]) -> bool {
        let path = self.directory.path().join(NAME);
        write(&path, bytes);
        let mut hasher = Hasher::new(Beside::default());
        hasher.update(bytes);
        let subject = Subject {
            file_name: Some(NAME),
            path: &path,
            size: bytes.len() as u64,
            digests: Some(hasher.finish()),
            owned: false,
        };
        examine(subject, &self.rules).failure().is_none()
    }

    /// Changes in any number, and every byte that can be cut off the end.
    fn refuses_every_change_of(&self, right: &[u8], changes: usize) {
        assert!(self.lets_in(right), "the file as it was sealed");
        let mut random = Rng::with_seed(SEED);
        let mut made = 0;
        while made < changes {
            let mut file = right.to_vec();
            change(&mut random, &mut file);
            if file == right {
                continue;
            }
            made += 1;
            assert!(
                !self.lets_in(&file),
                "change {made} of seed {SEED:#x}, a file of {} bytes, was let in",
                file.len()
            );
        }
        for length in 0..right.len() {
            assert!(!self.lets_in(&right[..length]), "cut off after {length} bytes");
        }
    }
}

#[test]
fn no_changed_file_is_let_in() {
    println!("seed {SEED:#x}");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(NAME);
    let program = Program::new(Architecture::host().unwrap(), [2, 0, 0, 0]).bytes();
    write(&path, &program);
    let signer = Signer::new(Path::new(env!("CARGO_BIN_EXE_uplift"))).unwrap();
    signer.seal_file(&path).unwrap();
    Judge::new(judged_by(&signer, Format::Elf))
        .refuses_every_change_of(&fs::read(&path).unwrap(), CHANGES);
}

/// And every single bit of the header, the manifest, the signature and the payload.
#[test]
fn no_changed_file_with_its_seal_before_it_is_let_in() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(NAME);
    let program = Program::new(Architecture::host().unwrap(), [2, 0, 0, 0]).bytes();
    let signer = Signer::new(Path::new(env!("CARGO_BIN_EXE_uplift"))).unwrap();
    for (format, payload) in [
        (Format::Elf, &program[..]),
        (Format::Script, b"#!/bin/sh\nexit 0\n"),
        (Format::Any, b"!<arch>\ndebian-binary   and more"),
    ] {
        write(&path, payload);
        signer.seal_before(&path).unwrap();
        let right = fs::read(&path).unwrap();
        let judge = Judge::new(judged_by(&signer, format));
        judge.refuses_every_change_of(&right, CHANGES / 10);
        for bit in 0..right.len() * 8 {
            let mut file = right.clone();
            file[bit / 8] ^= 1 << (bit % 8);
            assert!(!judge.lets_in(&file), "bit {bit} of {format:?}");
        }
    }
}
