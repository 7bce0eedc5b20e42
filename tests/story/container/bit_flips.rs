//! 100,000 changed containers, and none is let in where a seal is required.

use std::fs;
use std::path::Path;

use fastrand::Rng;
use uplift::config::Config;
use uplift::package::check::{Doorkeeper, Rules};
use uplift::package::unpack::front_of;
use uplift::stage::Watch as _;

use uplift_fixtures::elf::{Architecture, Program};

use super::new_signer;
use crate::world::changes::change;

const NAME: &str = "DEMO_V02.00.00.00.bin";
const CHANGES: usize = 100_000;
/// Of so many changed ones, one is given to `uplift unpack` too.
const TRIED: usize = 1000;
/// Any will do; each run makes the same changes.
const SEED: u64 = 0xc047;

/// Whether all is right that is seen of a container before its first byte is decoded.
fn reaches_a_decoder(rules: &Rules, path: &Path, bytes: &[u8]) -> bool {
    fs::write(path, bytes).unwrap();
    let Ok(Some(_)) = front_of(&fs::File::open(path).unwrap()) else { return false };
    let mut doorkeeper = Doorkeeper::new(rules.clone(), Some(NAME.to_owned()));
    bytes.chunks(1000).try_for_each(|piece| doorkeeper.update(piece).map(drop)).is_ok()
}

#[test]
fn no_changed_bit_reaches_a_decoder() {
    let signer = new_signer();
    let memory = Path::new("/dev/shm");
    let directory =
        if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    let directory = directory.unwrap();
    let (path, old) = (directory.path().join(NAME), directory.path().join("old"));
    let text = format!(
        "[component.program]\npath = {old:?}\nproduct = \"DEMO\"\n[package]\nseal = \"required\"\n{}",
        signer.trusted_section()
    );
    let config = Config::parse(&text, Path::new("test.toml")).unwrap();
    let rules = Rules::new(config.components.iter().next().unwrap(), &config.package);
    let program = Program::new(Architecture::host().unwrap(), [2, 0, 0, 0]).filled_to(4000);
    fs::write(&path, program.bytes()).unwrap();
    fs::write(&old, program.bytes()).unwrap();
    let new = Program::new(Architecture::host().unwrap(), [2, 0, 0, 1]).filled_to(4000);
    signer.compress(&path).unwrap();
    let whole = fs::read(&path).unwrap();
    fs::write(&path, new.bytes()).unwrap();
    signer.change(&path, ("V01.00.00.00", &old), true).unwrap();
    let change = fs::read(&path).unwrap();
    for honest in [whole, change] {
        none_is_let_in(&rules, directory.path(), &honest);
    }
}

fn none_is_let_in(rules: &Rules, directory: &Path, honest: &[u8]) {
    let (path, out) = (directory.join(NAME), directory.join("out"));
    assert!(reaches_a_decoder(rules, &path, honest));
    let mut random = Rng::with_seed(SEED);
    for nth in 0..CHANGES {
        let mut file = honest.to_vec();
        change(&mut random, &mut file);
        if file == honest {
            continue;
        }
        assert!(!reaches_a_decoder(rules, &path, &file), "{nth}");
        if nth % TRIED == 0 {
            let mut unpack = std::process::Command::new(env!("CARGO_BIN_EXE_uplift"));
            let unpack = unpack.arg("unpack").arg(&path).arg("--out").arg(&out);
            let unpack = unpack.arg("--from").arg(directory.join("old"));
            assert!(!unpack.output().unwrap().status.success() && !out.exists(), "{nth}");
        }
    }
}
