//! The example application (`examples/psdk-app`) with the bridge, linked to the stand-in for the
//! vendor's library: what a payload team ships, without the vendor's files.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// A version of it with these definitions for the compiler, built once by each test process.
pub(crate) fn psdk_app(version: &str, definitions: &[&str]) -> Vec<u8> {
    static BUILT: Mutex<BTreeMap<String, Vec<u8>>> = Mutex::new(BTreeMap::new());
    let definitions: Vec<String> = definitions.iter().map(|word| format!("-D{word}")).collect();
    let options = [
        format!("-DAPP_VERSION={}", version.trim_start_matches('V')),
        format!("-DCMAKE_C_FLAGS={}", definitions.join(" ")),
    ];
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    built.entry(options.join(" ")).or_insert_with(|| build(&options)).clone()
}

fn build(options: &[String]) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/psdk-app");
    let mut configure = Command::new("cmake");
    configure.arg("-S").arg(source).arg("-B").arg(directory.path());
    done(configure.arg("-DPSDK_STAND_IN=ON").args(options));
    done(Command::new("cmake").arg("--build").arg(directory.path()));
    std::fs::read(directory.path().join("psdk-app")).unwrap()
}

fn done(command: &mut Command) {
    let output = command.output().unwrap();
    let said =
        [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    assert!(output.status.success(), "{command:?}: {said:?}");
}
