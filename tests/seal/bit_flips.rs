//! 100,000 changed files, and none is let in where a seal is required.

use std::fs;
use std::path::Path;

use fastrand::Rng;
use uplift::config::Config;
use uplift::digest::Hasher;
use uplift::package::check::{Rules, Subject, examine};
use uplift_fixtures::elf::{Architecture, Program};
use uplift_sim::signer::Signer;

const CHANGES: usize = 100_000;
/// Any will do; each run makes the same changes.
const SEED: u64 = 0x5ea1;

/// Changes some bits, cuts some bytes off, or adds some, anywhere. May do and undo: the caller
/// compares.
fn change(random: &mut Rng, file: &mut Vec<u8>) {
    match random.u8(..6) {
        0..3 => flip(random, file, 1),
        3 => {
            let bits = random.usize(2..=64);
            flip(random, file, bits);
        }
        4 => {
            let start = random.usize(..file.len());
            let end = random.usize(start + 1..=file.len());
            // At the end, at the start, and in the middle.
            file.drain(if random.bool() { start..file.len() } else { start..end });
        }
        _ => {
            let at = if random.bool() { file.len() } else { random.usize(..=file.len()) };
            let more: Vec<u8> = (0..random.usize(1..=100)).map(|_| random.u8(..)).collect();
            file.splice(at..at, more);
        }
    }
}

fn flip(random: &mut Rng, file: &mut [u8], bits: usize) {
    for _ in 0..bits {
        let at = random.usize(..file.len());
        file[at] ^= 1 << random.u8(..8);
    }
}

#[test]
fn no_changed_file_is_let_in() {
    println!("seed {SEED:#x}");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("DEMO_V02.00.00.00.bin");
    let program = Program::new(Architecture::host().unwrap(), [2, 0, 0, 0]).bytes();
    fs::File::create(&path)
        .and_then(|mut file| std::io::Write::write_all(&mut file, &program))
        .unwrap();
    let signer = Signer::new(Path::new(env!("CARGO_BIN_EXE_uplift"))).unwrap();
    signer.seal_file(&path).unwrap();
    let right = fs::read(&path).unwrap();
    let text = format!(
        "[component.program]\npath = {path:?}\nproduct = \"DEMO\"\n[package]\nseal = \"required\"\n{}",
        signer.trusted_section()
    );
    let config = Config::parse(&text, Path::new("test.toml")).unwrap();
    let rules = Rules::new(config.components.iter().next().unwrap(), &config.package);
    // In memory, where the file system has one; 100,000 files are written.
    let path = Path::new("/dev/shm").is_dir().then(|| tempfile::tempdir_in("/dev/shm").unwrap());
    let path = path
        .as_ref()
        .map_or(directory.path(), |memory| memory.path())
        .join("DEMO_V02.00.00.00.bin");

    let is_let_in = |bytes: &[u8]| {
        fs::File::create(&path)
            .and_then(|mut file| std::io::Write::write_all(&mut file, bytes))
            .unwrap();
        let mut hasher = Hasher::new(false);
        hasher.update(bytes);
        let name = "DEMO_V02.00.00.00.bin";
        let subject = Subject {
            file_name: name,
            path: &path,
            size: bytes.len() as u64,
            digests: Some(hasher.finish()),
            owned: false,
        };
        examine(subject, &rules).failure().is_none()
    };
    assert!(is_let_in(&right), "the file as it was sealed");
    let mut random = Rng::with_seed(SEED);
    let mut made = 0;
    while made < CHANGES {
        let mut file = right.clone();
        change(&mut random, &mut file);
        if file == right {
            continue;
        }
        made += 1;
        assert!(
            !is_let_in(&file),
            "change {made} of seed {SEED:#x}, a file of {} bytes, was let in",
            file.len()
        );
    }
    // Every byte that can be cut off its end, the whole seal and more included.
    for length in 0..right.len() {
        assert!(!is_let_in(&right[..length]), "cut off after {length} bytes");
    }
}
